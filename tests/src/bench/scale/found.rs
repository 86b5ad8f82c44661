//! The state of an installation with a fleet of any size: every device enrolled, everybody signed in with one key.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use postern_cloud::keys::{self, Origin, Plan};
use postern_cloud::publish::{PublishError, Publisher};
use postern_cloud::store::{DatabaseFile, Store, StoreError};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::SecretKey;

use super::{fleet, refused};
use crate::world::Mishap;

/// Writes the state into an empty directory, or into the empty database that `POSTERN_DATABASE` names.
///
/// # Errors
/// When it cannot be written.
pub fn found(state: &Path, customers: u32) -> Result<(), Mishap> {
    let model = fleet::fleet(customers).map_err(refused("the fleet"))?;
    if let Some(problem) = model.check(&Default::default()).first() {
        return Err(Mishap::unexpected("the fleet", format!("{problem:?}"), "no problem"));
    }
    let plan = Plan {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        advertise: Vec::new(),
        origin: Origin::USUAL,
    };
    let database = std::env::var("POSTERN_DATABASE").ok().map(|url| DatabaseFile::new(&url));
    keys::found_in(state, &plan, database, NOW).map_err(refused("the installation"))?;
    let store = Store::of(state).map_err(refused("the state"))?;
    let roster = fleet::roster(&model).map_err(refused("keys of people"))?;
    let mut routers = Vec::new();
    for (number, device) in (1u64..).zip(model.devices.keys()) {
        let mut seed = [9; 32];
        seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte = number);
        routers.push((device, SecretKey::from_seed(seed).map_err(refused("a router's key"))?.public()));
    }
    let written = store.write::<_, StoreError>(|tx| {
        tx.save_model(&model, NOW, "benchmark", "apply")?;
        for (device, key) in &routers {
            tx.bind_device(device, key, false, NOW)?;
        }
        for (user, enrolled) in &roster.users {
            for key in &enrolled.keys {
                tx.register_key(user, key, NOW)?;
            }
        }
        Ok(())
    });
    written.map_err(refused("writing the fleet"))
}

/// The state that [`found`] wrote, and who signs for it.
///
/// # Errors
/// When it cannot be read.
pub fn open(state: &Path) -> Result<(Store, Publisher), Mishap> {
    let store = Store::of(state).map_err(refused("the state"))?;
    let publisher = store.read::<_, PublishError>(|tx| Publisher::open(state, tx));
    Ok((store, publisher.map_err(refused("the root"))?))
}

/// The time at which everything begins.
pub const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
