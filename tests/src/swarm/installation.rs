//! The state of a hub with very many devices, each enrolled with a key of its own, and a fleet file that is edited at one place.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use postern_cloud::keys;
use postern_cloud::publish::{Affected, PublishError, Publisher};
use postern_cloud::signer::Signer;
use postern_cloud::store::{Store, StoreError};
use postern_protocol::audit::Whose;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{PublicKey, Root, SecretKey};

use crate::programs::Shelf;
use crate::world::{Hub, Mishap};

/// A hub's installation, and what its devices know of it.
#[derive(Debug)]
pub struct Installation {
    /// Where the hub is.
    pub at: SocketAddr,
    /// Its key.
    pub hub_key: PublicKey,
    /// The root that devices have.
    pub root: Root,
    /// The devices.
    pub members: Vec<Member>,
}

/// One device.
#[derive(Debug)]
pub struct Member {
    /// Its key.
    pub key: SecretKey,
    /// Whose its log is.
    pub whose: Whose,
}

impl Installation {
    /// Makes the state of a hub that is not started yet, with so many devices.
    ///
    /// # Errors
    /// When a command fails or the state cannot be written.
    pub async fn found(shelf: &Shelf, state: &Path, devices: usize) -> Result<(Hub, Self), Mishap> {
        let at = crate::world::free_port([127, 0, 0, 1].into())?;
        let hub = Hub::init(shelf, state.to_owned(), at).await?;
        hub.apply(&fleet(devices, Edit::None), &[]).await?;
        let members = enrol(state, devices)?;
        let (root, hub_key) = {
            let store = Store::open(&state.join(keys::DATABASE)).map_err(refused("the state"))?;
            let signer = store.read(|tx| Signer::open(state, tx)).map_err(refused("the root"))?;
            let authority = signer.now();
            (authority.root.clone(), authority.keys.hub.public())
        };
        Ok((hub, Self { at, hub_key, root, members }))
    }
}

/// At which place the fleet file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// As it was founded.
    None,
    /// The one category has another service as well: every device is concerned.
    All,
    /// The first device has another service: no other device is concerned.
    One,
}

/// A company with so many devices and one engineer, who may use the screen of all of them.
#[must_use]
pub fn fleet(devices: usize, edit: Edit) -> String {
    let services = if edit == Edit::All { "\"hmi\", \"web\"" } else { "\"hmi\"" };
    let mut text = format!(
        "[account.acme]\ntenant = \"service_provider\"\n[user.anna]\naccount = \"acme\"\n\
         [category.screen]\nservices = [{services}]\n\
         [role.engineer]\ntenant = \"service_provider\"\npermissions = [\"remote-access.use\"]\ncategories = [\"screen\"]\n\
         [assignment.anna]\nuser = \"anna\"\nrole = \"engineer\"\nscope = {{ account = \"acme\" }}\n"
    );
    for number in 0..devices {
        let name = device(number);
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "[device.{name}]\naccount = \"acme\"\n[device.{name}.service.hmi]\nkind = \"vnc\"\ntarget = \"192.168.10.20:5900\"\n\
             [device.{name}.service.web]\nkind = \"http\"\ntarget = \"192.168.10.20:80\""
        );
        if number == 0 && edit == Edit::One {
            let port = "[device.press-0.service.hmi]";
            text = text.replace(port, &format!("{port}\nview-only = true"));
        }
    }
    text
}

fn device(number: usize) -> String {
    format!("press-{number}")
}

/// Gives every device a key, and the engineer one.
fn enrol(state: &Path, devices: usize) -> Result<Vec<Member>, Mishap> {
    let store = Store::open(&state.join(keys::DATABASE)).map_err(refused("the state"))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::from_secs(since.as_secs());
    let mut keys = Vec::with_capacity(devices);
    for number in 0..devices {
        let mut seed = [7; 32];
        seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte = number);
        let name: Name = device(number).parse().map_err(refused("the name of a device"))?;
        keys.push((name, SecretKey::from_seed(seed).map_err(refused("a key"))?));
    }
    let anna: Name = "anna".parse().map_err(refused("a name"))?;
    let hers = SecretKey::from_seed([9; 32]).map_err(refused("a key"))?;
    let members = store.write::<_, PublishError>(|tx| {
        for (name, key) in &keys {
            tx.bind_device(name, &key.public(), false, now)?;
        }
        tx.register_key(&anna, &hers.public(), now)?;
        let publisher = Publisher::open(state, tx)?;
        publisher.publish(tx, Affected::All, now)?;
        let fleet = publisher.signer().now().root.fleet;
        keys.into_iter()
            .map(|(name, key)| {
                let known = tx.device(&name)?.ok_or(StoreError::Damaged { what: "device" })?;
                Ok(Member { key, whose: Whose { fleet, device: known.id } })
            })
            .collect()
    });
    members.map_err(refused("writing the fleet"))
}

fn refused<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Mishap {
    move |fault| Mishap::unexpected(what, fault, "no fault")
}
