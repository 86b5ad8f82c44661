//! Real `nats-server`s with JetStream, one or a cluster of three, and hubs of one installation that share them.
//!
//! 1. [`Bus::start`] makes a directory for each server and waits until they have agreed on who leads.
//! 2. [`World::among`] makes a world whose own hub is the primary, with edges that devices and people try first.
//! 3. [`Bus::kill`] and [`Bus::revive`] are what happens to one server.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hub::Hub;
use super::mishap::Mishap;
use super::process::{Call, Line, Running};
use super::{DEVICE, Device, Fleet, Person, World, free_port, own_address};
use crate::programs::Shelf;

/// Servers, of which some may be dead.
#[derive(Debug)]
pub struct Bus {
    program: PathBuf,
    dir: tempfile::TempDir,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    client: SocketAddr,
    config: PathBuf,
    running: Option<Running>,
}

impl Bus {
    /// Starts one server, or three that are a cluster.
    ///
    /// # Errors
    /// When a server does not come up, with what it printed.
    pub async fn start(program: &Path, count: usize) -> Result<Self, Mishap> {
        let dir = tempfile::Builder::new().prefix("postern-nats-").tempdir()?;
        // Held at once, so that they differ.
        let free = (0..count * 2).map(|_| TcpListener::bind((own_address(), 0)));
        let free = free.collect::<Result<Vec<_>, _>>()?;
        let ports = free.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        drop(free);
        let (clients, routes) = ports.split_at(count);
        let names: Vec<String> = routes.iter().map(|route| format!("nats-route://{route}")).collect();
        let mut servers = Vec::new();
        for (number, (client, route)) in clients.iter().zip(routes).enumerate() {
            let (config, store) =
                (dir.path().join(format!("{number}.conf")), dir.path().join(number.to_string()));
            let cluster = format!("cluster {{ name: postern, listen: \"{route}\", routes: {names:?} }}\n");
            let text = format!(
                "server_name: nats-{number}\nlisten: \"{client}\"\njetstream {{ store_dir: {store:?} }}\n{}",
                if count > 1 { cluster.as_str() } else { "" }
            );
            std::fs::write(&config, text)?;
            servers.push(Server { client: *client, config, running: None });
        }
        let mut bus = Self { program: program.to_owned(), dir, servers };
        for number in 0..count {
            bus.revive(number).await?;
        }
        if count > 1 {
            bus.agreed().await?;
        }
        Ok(bus)
    }

    /// Where the servers are, as programs are told.
    #[must_use]
    pub fn urls(&self) -> String {
        self.servers.iter().map(|server| format!("nats://{}", server.client)).collect::<Vec<_>>().join(",")
    }

    /// How many they are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.servers.len()
    }

    /// Where they keep what they keep.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Which server leads the cluster, by what they have said last.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let led = |server: &Server| {
            let log = server.running.as_ref().map(Running::log)?;
            let line = log.lines().rfind(|line| line.contains("cluster new metadata leader"))?.to_owned();
            let name =
                line.split("leader: ").nth(1)?.split('/').next()?.trim_start_matches("nats-").to_owned();
            if line.contains("Self is new") { None } else { name.parse::<usize>().ok() }
        };
        let own = |server: &Server| {
            let log = server.running.as_ref().map(Running::log).unwrap_or_default();
            let last = log.lines().rfind(|line| line.contains("cluster new metadata leader"));
            last.is_some_and(|line| line.contains("Self is new"))
        };
        self.servers.iter().position(own).or_else(|| self.servers.iter().find_map(led))
    }

    async fn agreed(&self) -> Result<(), Mishap> {
        let begun = std::time::Instant::now();
        while self.leader().is_none() {
            if begun.elapsed() > AGREED_WITHIN {
                let (what, seen) = ("the servers of NATS to agree on a leader".to_owned(), self.log());
                return Err(Mishap::Deadline { what, within: AGREED_WITHIN, seen });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Kills one server as a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, number: usize) -> Result<(), Mishap> {
        let server = self.servers.get_mut(number).and_then(|server| server.running.take());
        let mut server =
            server.ok_or_else(|| Mishap::unexpected("a server of NATS", "none", "a running one"))?;
        server.kill().await.map(drop)
    }

    /// Starts one server again.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn revive(&mut self, number: usize) -> Result<(), Mishap> {
        let missing = || Mishap::unexpected("a server of NATS", "none", "one of its number");
        let server = self.servers.get_mut(number).ok_or_else(missing)?;
        let running = Call::new(&self.program).arg("-c").arg(&server.config).start("nats-server")?;
        running.line("that it is ready", |line| line.text.contains("Server is ready")).await?;
        server.running = Some(running);
        Ok(())
    }

    /// What the servers printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.servers.iter().filter_map(|server| server.running.as_ref()).map(Running::log).collect()
    }
}

impl World {
    /// A world of several hubs: its own one has the model, and `edges` more share the servers. Devices and people know of the edges
    /// first, in their order, and of the primary last. The device cannot be dialled: whoever reaches it does so through a relay.
    ///
    /// # Errors
    /// As [`start`](World::start).
    pub async fn among(
        edges: usize,
        bus: &Bus,
        executable: impl AsRef<Path>,
        fleet: &Fleet,
    ) -> Result<(Self, Vec<Hub>), Mishap> {
        let host = IpAddr::from(own_address());
        let dir = tempfile::Builder::new().prefix("postern-lab-").tempdir()?;
        let shelf = Shelf::fill(dir.path().join("bin"), executable.as_ref())?;
        let at = (0..edges).map(|_| free_port(host)).collect::<Result<Vec<_>, _>>()?;
        let primary = free_port(host)?;
        let known: Vec<SocketAddr> = at.iter().copied().chain([primary]).collect();
        let mut hub = Hub::found(&shelf, dir.path().join("hub"), primary, &known).await?;
        hub.share(bus);
        hub.apply(&fleet.to_toml(), &[]).await?;
        hub.serve().await?;
        let mut others = Vec::new();
        for (number, at) in at.into_iter().enumerate() {
            let mut edge = hub.edge(dir.path().join(format!("edge-{number}")), at).await?;
            edge.share(bus);
            edge.serve().await?;
            let knows = |line: &Line| line.text.contains("all that is published is here");
            edge.running()?.line("that it knows all", knows).await?;
            others.push(edge);
        }
        let mut device = Device::prepare(&shelf, dir.path().join(DEVICE), free_port(host)?)?;
        device.say_at(free_port(host)?)?;
        let mut world = Self { hub, device, path: None, shelf, is_loud: true, dir };
        world.enroll().await?;
        world.device.run().await?;
        world.settle().await?;
        Ok((world, others))
    }

    /// Has somebody sign in on another computer, at one of several hubs, and know that one alone.
    ///
    /// # Errors
    /// When signing in fails.
    pub async fn person_at(&self, name: &str, hub: &Hub) -> Result<Person, Mishap> {
        let first = self.guest(name).await?;
        let home = self.dir.path().join("people").join(format!("{} at {}", first.name(), hub.address()));
        let there = Person::new(&self.shelf, home, name)?;
        there.login_at(hub.address(), &self.hub.key().await?).await?.expect_code(0)?;
        self.settle().await?;
        Ok(there)
    }
}

const AGREED_WITHIN: Duration = Duration::from_secs(30);
