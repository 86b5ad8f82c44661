//! A plant with an engineer elsewhere: the machine stands in a network of its own behind the router, and the engineer's programs run in an
//! office with a wire to the router.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use postern_tests::shim::Conditions;
use postern_tests::world::site::{MACHINE_ADDRESS, NETWORK, Site};
use postern_tests::world::{Call, DEVICE, Fleet, Mishap, Office, Person, Running, Stream, World};
use serde_json::Value;
use tempfile::TempDir;

use super::peers::{missing, programs};
use super::stage::LAB;

/// What an engineer may use in every plant: everything at these ports of the machine, of which [`ECHO`] and [`WEB`] are served, and
/// nothing at [`FORBIDDEN`], which is served as well.
const ALLOWED: [&str; 4] = [
    "\"tcp 192.168.77.10 102\"",
    "\"tcp 192.168.77.10 80\"",
    "\"udp 192.168.77.10 102\"",
    "\"icmp 192.168.77.10\"",
];
pub(crate) const ECHO: u16 = 102;
pub(crate) const WEB: u16 = 80;
pub(crate) const FORBIDDEN: u16 = 103;

/// A running plant. Everything in it ends with it.
pub(crate) struct Plant {
    /// The echo at the machine, which prints how its connections begin and end.
    pub(crate) echo: Running,
    pub(crate) world: World,
    pub(crate) anna: Person,
    pub(crate) site: Site,
    _others: Vec<Running>,
    _pages: TempDir,
}

impl Plant {
    /// Starts the machine, whose page is `page`, and the world at the router. The calling thread must be there.
    pub(crate) async fn start(site: Site, page: &str, path: Option<Conditions>) -> Result<Self, Mishap> {
        let pages = tempfile::tempdir()?;
        std::fs::write(pages.path().join("index.html"), page)?;
        let python = || site.machine("python3").args(["-u"]);
        let script = format!("{}/tests/end_to_end/peers/plant.py", env!("CARGO_MANIFEST_DIR"));
        let mut machines = Vec::new();
        for port in [ECHO, FORBIDDEN] {
            let call = python().args([&script, "echo", MACHINE_ADDRESS, &port.to_string()]);
            machines.push(ready(call, "ready").await?);
        }
        let call = python().args(["-m", "http.server", "--bind", MACHINE_ADDRESS, &WEB.to_string()]);
        machines.push(ready(call.dir(pages.path()), "Serving").await?);
        let echo = machines.remove(0);
        let fleet = Fleet::new().vpn("plant", &ALLOWED).allow("anna", &["plant"]);
        let world = World::reached_at((Office::wan(&site), path), LAB, &fleet, NETWORK).await?;
        let anna = world.person("anna").await?;
        Ok(Self { echo, world, anna, site, _others: machines, _pages: pages })
    }

    /// Brings an adapter up in an office and yields where the machine is there.
    pub(crate) async fn adapter(&self, office: &Office) -> Result<(Running, IpAddr, Value), Mishap> {
        let call = office.at(&self.anna.call(["vpn", DEVICE, "--json"]));
        let running = call.start("postern vpn")?;
        let said = running.line("the networks", |line| line.stream == Stream::Out).await?;
        let said: Value = serde_json::from_str(&said.text).unwrap();
        let here = said["networks"][0]["here"][0].as_str().unwrap();
        let machine = here.split('/').next().unwrap().parse().unwrap();
        Ok((running, machine, said))
    }

    /// Forwards a port of the machine to an office and yields where it listens.
    pub(crate) async fn forward(&self, office: &Office, port: u16) -> Result<(Running, SocketAddr), Mishap> {
        let place = format!("{MACHINE_ADDRESS}:{port}");
        let running =
            office.at(&self.anna.call(["forward", DEVICE, &place, "--json"])).start("postern forward")?;
        let said = running.line("where it listens", |line| line.stream == Stream::Out).await?.text;
        let mut named = said.split('"').filter_map(|word| word.parse::<SocketAddr>().ok());
        let near = named.find(|named| named.ip().is_loopback());
        near.map(|near| (running, near)).ok_or_else(|| Mishap::unexpected("the listener", said, "an address"))
    }
}

async fn ready(call: Call, word: &str) -> Result<Running, Mishap> {
    let running = call.start("machine")?;
    running.line("that it is ready", |line| line.text.contains(word)).await?;
    Ok(running)
}

/// Enters a site, if this has the programs and the rights for it.
pub(crate) fn enter(test: &str, number: u8) -> Result<Option<Site>, Mishap> {
    let found: Option<[PathBuf; 5]> = programs(test, ["python3", "ip", "curl", "nft", "ss"]);
    if found.is_none() {
        return Ok(None);
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        missing(test, "/dev/net/tun");
        return Ok(None);
    }
    let site = Site::enter_one(number)?;
    if site.is_none() {
        missing(test, "the right to make network namespaces (root)");
    }
    Ok(site)
}
