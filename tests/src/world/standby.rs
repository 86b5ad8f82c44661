//! Two hubs with the same keys and the state of their installation on one database server: the second waits for the end of the first.

use std::net::IpAddr;
use std::path::Path;

use super::hub::Hub;
use super::mishap::Mishap;
use super::{DEVICE, Device, Fleet, World, free_port, own_address};
use crate::programs::Shelf;

impl World {
    /// A world whose state is in an empty database, with a second hub that does not run yet. Devices and people know both, its own one first.
    ///
    /// # Errors
    /// As [`start`](World::start).
    pub async fn on_a_server(
        database: &str,
        executable: impl AsRef<Path>,
        fleet: &Fleet,
    ) -> Result<(Self, Hub), Mishap> {
        let host = IpAddr::from(own_address());
        let dir = tempfile::Builder::new().prefix("postern-lab-").tempdir()?;
        let shelf = Shelf::fill(dir.path().join("bin"), executable.as_ref())?;
        let at = [free_port(host)?, free_port(host)?];
        let hub = Hub::found_in(&shelf, dir.path().join("hub"), at[0], &at, Some(database)).await?;
        let device = Device::prepare(&shelf, dir.path().join(DEVICE), free_port(host)?)?;
        let world = Self { hub, device, path: None, shelf, is_loud: true, dir };
        let mut world = world.serving(fleet).await?;
        let second = world.hub.twin(world.dir.path().join("hub-2"), at[1])?;
        world.hub.open_metrics();
        Ok((world, second))
    }
}
