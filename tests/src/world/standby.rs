//! Two hubs with the same keys and the state of their installation on one database server: the second waits for the end of the first.

use std::net::IpAddr;
use std::path::Path;

use super::bus::Bus;
use super::hub::Hub;
use super::mishap::Mishap;
use super::process::Line;
use super::{DEVICE, Device, Fleet, World, free_port, own_address};
use crate::programs::Shelf;

impl World {
    /// A world whose state is in an empty database, with a second hub that does not run yet. Devices and people know both, its own one first.
    ///
    /// # Errors
    /// As [`start`](World::start).
    pub async fn on_a_server(
        database: &str,
        bus: Option<&Bus>,
        executable: impl AsRef<Path>,
        fleet: &Fleet,
    ) -> Result<(Self, Hub), Mishap> {
        let host = IpAddr::from(own_address());
        let dir = tempfile::Builder::new().prefix("postern-lab-").tempdir()?;
        let shelf = Shelf::fill(dir.path().join("bin"), executable.as_ref())?;
        let at = [free_port(host)?, free_port(host)?];
        let mut hub = Hub::found_in(&shelf, dir.path().join("hub"), at[0], &at, Some(database)).await?;
        if let Some(bus) = bus {
            hub.share(bus);
        }
        let device = Device::prepare(&shelf, dir.path().join(DEVICE), free_port(host)?)?;
        let world = Self { hub, device, path: None, shelf, is_loud: true, dir };
        let world = world.serving(fleet).await?;
        let mut second = world.hub.twin(world.dir.path().join("hub-2"), at[1])?;
        if let Some(bus) = bus {
            second.share(bus);
        }
        Ok((world, second))
    }

    /// A hub without the model, which knows where both may have it.
    ///
    /// # Errors
    /// As [`start`](World::start).
    pub async fn edge_of_two(&self, second: &Hub, bus: &Bus) -> Result<Hub, Mishap> {
        let primaries = [self.hub.address(), second.address()];
        let at = free_port(self.hub.address().ip())?;
        let mut edge = self.hub.edge_of(self.dir.path().join("edge"), at, &primaries).await?;
        edge.share(bus);
        edge.serve().await?;
        let knows = |line: &Line| line.text.contains("all that is published is here");
        edge.running()?.line("that it knows all", knows).await?;
        Ok(edge)
    }
}
