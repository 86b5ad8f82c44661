//! A small world for one test: a hub, an agent and people, as real processes on loopback.
//!
//! 1. [`World::start`] makes a directory, a hub with a [`Fleet`], an enrolled device and waits until policy is in force.
//! 2. [`World::person`] invites somebody and signs them in.
//! 3. [`Person::connect`] runs the real `postern connect`; [`probe`], [`flow`], [`exchange`] and [`target`] are what is at
//!    both ends, and speak what the service speaks.
//! 4. [`World::apply`] changes the fleet and waits until the device has acknowledged.
//! 5. Dropping the world ends every process, removes the directory, and prints the logs, which a test runner shows
//!    when the test has failed.
//!
//! Every wait is for something that can be seen, with a deadline. Each world has its own loopback address, so that
//! tests run side by side and a restarted process finds its port free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

pub use self::api::{Api, Reply};
pub use self::bus::Bus;
pub use self::device::Device;
pub use self::exchange::Exchange;
pub use self::fleet::{Fleet, Grant, in_seconds};
pub use self::hub::Hub;
pub use self::mishap::{Ending, Mishap};
pub use self::near::{Carries, Near};
pub use self::office::Office;
pub use self::person::{Person, Session};
pub use self::process::{Call, Done, Line, Piped, Running, Stream};
pub use self::site::Site;
pub use self::watch::{Readings, Watch};
use crate::programs::Shelf;
use crate::shim::{Conditions, Shim};

mod api;
mod bus;
mod chunks;
mod device;
pub mod exchange;
mod fleet;
pub mod flow;
mod hub;
mod mishap;
pub mod nats;
mod near;
mod office;
mod person;
pub mod probe;
mod process;
pub mod site;
mod standby;
pub mod target;
mod watch;

/// A running hub, a running agent, and a place for people.
#[derive(Debug)]
pub struct World {
    /// The cloud's end.
    pub hub: Hub,
    /// The device's end.
    pub device: Device,
    /// What lies between people and the device, where the test has put something there.
    pub path: Option<Shim>,
    shelf: Shelf,
    is_loud: bool,
    /// Last, so that it is removed after everything that lives in it has ended.
    dir: TempDir,
}

impl World {
    /// Starts everything: afterwards the device [`DEVICE`] enforces the policy of `fleet`.
    ///
    /// `executable` is the laboratory, which can be every program. The variable `POSTERN_AGENT_BIN`, a command line
    /// split at spaces, replaces the agent.
    ///
    /// # Errors
    /// The first step that failed, with what its program printed.
    pub async fn start(executable: impl AsRef<Path>, fleet: &Fleet) -> Result<Self, Mishap> {
        Self::bare(executable).await?.serving(fleet).await
    }

    /// The same with a device that may dial another network than the loopback address.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn beside(executable: impl AsRef<Path>, fleet: &Fleet, network: &str) -> Result<Self, Mishap> {
        let mut world = Self::bare(executable).await?;
        world.device.lead_to(network)?;
        world.serving(fleet).await
    }

    /// As [`beside`](Self::beside), with hub and device at `host`, where people reach them from elsewhere, and the device behind a
    /// path where there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn reached_at(
        (host, path): (IpAddr, Option<Conditions>),
        executable: impl AsRef<Path>,
        fleet: &Fleet,
        network: &str,
    ) -> Result<Self, Mishap> {
        let mut world = Self::bare_at(host, executable).await?;
        world.device.lead_to(network)?;
        if let Some(conditions) = path {
            let shim = Shim::before(host, world.device.listen(), conditions)?;
            world.device.say_at(shim.at)?;
            world.path = Some(shim);
            // The way round is no better than the straight one.
            world.hub.relay_behind(free_port(host)?, conditions)?;
        }
        world.serving(fleet).await
    }

    /// As [`start`](Self::start), with hub and people on different sides of a network: the relay is behind it, and so is the device where it
    /// is reached `straight`; otherwise it cannot be dialled.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn behind(
        conditions: Conditions,
        straight: bool,
        executable: impl AsRef<Path>,
        fleet: &Fleet,
    ) -> Result<Self, Mishap> {
        let mut world = Self::bare(executable).await?;
        let host = world.hub.address().ip();
        world.hub.relay_behind(free_port(host)?, conditions)?;
        if straight {
            let shim = Shim::before(host, world.device.listen(), conditions)?;
            world.device.say_at(shim.at)?;
            world.path = Some(shim);
        } else {
            // Nobody has this port: a packet that comes there is refused, and people hear nothing.
            world.device.say_at(free_port(host)?)?;
        }
        world.serving(fleet).await
    }

    /// As [`bare`](Self::bare), with a hub and a device in networks of their own. The calling thread must be where the hub is.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn apart(
        hub: IpAddr,
        device: SocketAddr,
        executable: impl AsRef<Path>,
    ) -> Result<Self, Mishap> {
        Self::bare_with(free_port(hub)?, device, executable).await
    }

    /// The paths between people and the device, and before the relay.
    pub fn paths(&self) -> impl Iterator<Item = &Shim> {
        self.path.iter().chain(self.hub.path())
    }

    async fn serving(mut self, fleet: &Fleet) -> Result<Self, Mishap> {
        self.hub.apply(&fleet.to_toml(), &[]).await?;
        self.hub.serve().await?;
        self.enroll().await?;
        self.device.run().await?;
        self.settle().await?;
        Ok(self)
    }

    /// Makes the directory and an initialised hub, and starts nothing yet.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn bare(executable: impl AsRef<Path>) -> Result<Self, Mishap> {
        Self::bare_at(own_address().into(), executable).await
    }

    /// The same with hub and device at `host`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn bare_at(host: IpAddr, executable: impl AsRef<Path>) -> Result<Self, Mishap> {
        Self::bare_with(free_port(host)?, free_port(host)?, executable).await
    }

    async fn bare_with(
        hub: SocketAddr,
        device: SocketAddr,
        executable: impl AsRef<Path>,
    ) -> Result<Self, Mishap> {
        let dir = tempfile::Builder::new()
            .prefix("postern-lab-")
            .tempdir()
            .map_err(Mishap::io("making a temporary directory"))?;
        let shelf = Shelf::fill(dir.path().join("bin"), executable.as_ref())
            .map_err(Mishap::io("linking the programs"))?;
        let hub = Hub::init(&shelf, dir.path().join("hub"), hub).await?;
        let device = Device::prepare(&shelf, dir.path().join(DEVICE), device)?;
        Ok(Self { hub, device, path: None, shelf, is_loud: true, dir })
    }

    /// Keeps the logs to itself when it ends.
    pub const fn hush(&mut self) {
        self.is_loud = false;
    }

    /// Enrols the device.
    ///
    /// # Errors
    /// When the hub has no such device, or the agent is refused.
    pub async fn enroll(&self) -> Result<(), Mishap> {
        let code = self.hub.enrolment_code(DEVICE).await?;
        self.device.enroll(&code).await?.expect_code(0).map(drop)
    }

    /// Publishes a fleet and waits until the device has it in force.
    ///
    /// # Errors
    /// When the fleet is refused or the device does not follow.
    pub async fn apply(&self, fleet: &Fleet) -> Result<Done, Mishap> {
        let done = self.hub.apply(&fleet.to_toml(), &[]).await?;
        self.settle().await?;
        Ok(done)
    }

    /// Waits until the device has acknowledged the newest policy.
    ///
    /// # Errors
    /// When it does not.
    pub async fn settle(&self) -> Result<(), Mishap> {
        self.hub.until_acknowledged(DEVICE).await
    }

    /// Invites somebody of the fleet, signs them in, and waits until the device knows their key.
    ///
    /// # Errors
    /// When the fleet has no such user, or signing in fails.
    pub async fn person(&self, name: &str) -> Result<Person, Mishap> {
        let person = self.guest(name).await?;
        self.settle().await?;
        Ok(person)
    }

    /// As [`person`](Self::person), where no device is.
    ///
    /// # Errors
    /// As there.
    pub async fn guest(&self, name: &str) -> Result<Person, Mishap> {
        let person = Person::new(&self.shelf, self.dir.path().join("people").join(name), name)?;
        let code = self.hub.invitation_code(name).await?;
        person.login_with_code(&code).await?.expect_code(0)?;
        Ok(person)
    }

    /// Signs somebody in on a second computer, where they have a key of its own, and waits until the device knows it.
    ///
    /// # Errors
    /// When signing in fails.
    pub async fn second_computer(&self, person: &Person) -> Result<Person, Mishap> {
        let name = person.name();
        let home = self.dir.path().join("people").join(format!("{name} elsewhere"));
        let elsewhere = Person::new(&self.shelf, home, name)?;
        elsewhere.login_at(self.hub.address(), &self.hub.key().await?).await?.expect_code(0)?;
        self.settle().await?;
        Ok(elsewhere)
    }

    /// Puts a pass in somebody's profile that the cloud's own key has signed, and that ends sooner or later: a real one
    /// lasts for half a day.
    ///
    /// # Errors
    /// When there is no pass yet.
    pub fn shorten_pass(&self, person: &Person, until: SystemTime) -> Result<(), Mishap> {
        person.hold_until(until, &self.hub.identity()?)
    }

    /// Starts the hub anew, with a relay that is a program of its own and outlives it.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn relay_apart(&mut self) -> Result<Running, Mishap> {
        let relay = self.hub.relay_apart().await?;
        self.hub.stop().await?;
        self.hub.serve().await?;
        Ok(relay)
    }

    /// Somebody with an own home who has not signed in.
    ///
    /// # Errors
    /// When the home cannot be made.
    pub fn stranger(&self, name: &str) -> Result<Person, Mishap> {
        Person::new(&self.shelf, self.dir.path().join("people").join(name), name)
    }

    /// The directory of this world.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The programs.
    #[must_use]
    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Ends hub and agent in order, so that their last rows and words are written.
    ///
    /// # Errors
    /// When one does not end in time.
    pub async fn stop(&mut self) -> Result<(), Mishap> {
        self.device.stop().await?;
        self.hub.stop().await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.is_loud {
            eprintln!("{}{}", self.hub.log(), self.device.log());
        }
    }
}

/// The device of every world.
pub const DEVICE: &str = "press-7";

/// A loopback address that no other process uses: the process id, below 127.64.0.0/10.
fn own_address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low)
}

/// A UDP port of `host` that is free now. Nobody else binds on that address, so it stays free.
pub(crate) fn free_port(host: IpAddr) -> Result<SocketAddr, Mishap> {
    let socket = UdpSocket::bind((host, 0))?;
    Ok(socket.local_addr()?)
}

/// Where a program of this world keeps a file.
fn file_in(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Mishap> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(Mishap::io(format!("writing `{}`", path.display())))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_one_world_differ_and_are_on_its_own_loopback_address() {
        let host = IpAddr::V4(own_address());
        let (first, second) = (free_port(host).unwrap(), free_port(host).unwrap());
        assert_ne!(first, second);
        assert!(host.is_loopback() && first.ip() == host && host != IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
