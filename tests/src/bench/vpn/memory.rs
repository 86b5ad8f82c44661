//! What many engineers and many flows take: the agent with an open VPN of each, and with flows in all of them; one `postern vpn` with
//! nearly as many flows as there may be in one tunnel.
//!
//! Engineers are `postern proxy`, each with a connection to the device and a VPN of its own. A flow has carried one byte each way and is
//! silent.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::plant::address;
use crate::bench::child::Program;
use crate::bench::link::{Link, Side};
use crate::bench::own_command;
use crate::bench::peers::address_in;
use crate::bench::policy::{Content, PLANT};
use crate::bench::proc::resident_kib;
use crate::bench::product::Site;
use crate::bench::report::{Column, Grid};
use crate::world::Mishap;

/// An empty table for [`measure`].
pub(super) fn grid() -> Grid {
    let title = format!("Resident memory, {ENGINEERS} engineers, {} flows", ENGINEERS * EACH);
    Grid::new("vpn_memory", title, None, &COLUMNS)
}

/// Measures one build of the agent once: thousands of connections are not noise.
pub(super) fn measure(
    (link, site, dir): (&Link, &Site, &Path),
    (label, executable): (&str, &Path),
    machine: SocketAddr,
    grid: &mut Grid,
) -> Result<(), Mishap> {
    eprintln!("  memory of the agent: {label} build");
    allow_many_files()?;
    let (_machine, at) = serve(link, machine)?;
    let content = Content { plant: Some(address(0)), ..site.content() };
    let mut device = site.bring_up(&format!("vpn-memory-{label}"), dir, executable, content)?;
    // Started again: enrolment and the first policy are not what an idle agent has behind it.
    device.stop()?;
    device.start()?;
    site.hub.settled(device.name())?;
    let agent = device.pid()?;
    let mut add = |column, kib: f64| grid.add(label, column, kib / 1024.0);
    let idle = resident(agent)?;
    add("idle", idle);

    // One VPN through an adapter, for the other end of many flows.
    let client = site.vpn(device.name(), PLANT, &[])?;
    let before = resident(client.pid())?;
    add("client", before);
    let flows =
        link.within(Side::Client, || (0..IN_ONE).map(|_| talk(connect(at)?)).collect::<Result<Vec<_>, _>>())?;
    let with = resident(client.pid())?;
    add("client_flows", with);
    drop(flows);
    drop(client);

    let engineers: Vec<(Program, SocketAddr)> =
        (0..ENGINEERS).map(|_| site.proxy(device.name(), PLANT)).collect::<Result<_, _>>()?;
    let connected = resident(agent)?;
    add("vpns", connected);
    let mut flows = Vec::new();
    for (_, proxy) in &engineers {
        let opened = link.within(Side::Client, || {
            (0..EACH).map(|_| talk(through(*proxy, at)?)).collect::<Result<Vec<_>, Mishap>>()
        });
        flows.extend(opened?);
    }
    let full = resident(agent)?;
    add("flows", full);
    let engineer = engineers.first().map(|(program, _)| resident(program.pid())).transpose()?;
    add("engineer", engineer.unwrap_or_default());
    grid.add(label, "each_vpn", (connected - idle) / f64::from(ENGINEERS));
    grid.add(label, "each_flow", (full - connected) / flows.len() as f64);
    grid.add(label, "each_of_client", (with - before) / f64::from(IN_ONE));
    drop((flows, engineers));
    Ok(())
}

/// A machine that echoes the first byte of each connection and keeps it; one thread for all of them, in a process of its own for
/// the sake of its files.
///
/// # Errors
/// When the address is taken.
pub(in crate::bench) fn keep_all(listen: SocketAddr) -> Result<(), Mishap> {
    let listener = TcpListener::bind(listen)?;
    println!("listening on {}", listener.local_addr()?);
    let mut kept = Vec::new();
    for mut stream in listener.incoming().flatten() {
        let mut byte = [0];
        if stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).is_ok() {
            kept.push(stream);
        }
    }
    Ok(())
}

fn serve(link: &Link, machine: SocketAddr) -> Result<(Program, SocketAddr), Mishap> {
    let mut command = own_command(link, Side::Plant)?;
    command.args(["keep-all", &SocketAddr::new(machine.ip(), 0).to_string()]);
    let program = Program::start("the machine of many flows", command)?;
    let at = address_in(&program.line("listening on")?)?;
    Ok((program, at))
}

/// A tunnel takes 400 flows at once and 200 a second after that; what is too much is refused like a machine that is away.
fn connect(at: SocketAddr) -> Result<TcpStream, Mishap> {
    for _ in 0..TRIES {
        match TcpStream::connect(at) {
            Err(error) if error.kind() == ErrorKind::HostUnreachable => std::thread::sleep(AGAIN),
            other => return Ok(other?),
        }
    }
    Err(Mishap::unexpected("a flow", "none", "one"))
}

fn talk(mut stream: TcpStream) -> Result<TcpStream, Mishap> {
    stream.set_read_timeout(Some(WITHIN))?;
    stream.write_all(&[7])?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// A connection through a proxy (SOCKS5, RFC 1928).
fn through(proxy: SocketAddr, to: SocketAddr) -> Result<TcpStream, Mishap> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(WITHIN))?;
    let SocketAddr::V4(to) = to else { return Err(Mishap::unexpected("the machine", to, "an IPv4 address")) };
    stream.write_all(&[5, 1, 0])?;
    stream.read_exact(&mut [0; 2])?;
    let request = [&[5, 1, 0, 1], to.ip().octets().as_slice(), &to.port().to_be_bytes()].concat();
    stream.write_all(&request)?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    if answer.starts_with(&[5, 0]) {
        Ok(stream)
    } else {
        Err(Mishap::unexpected("a flow", format!("{answer:?}"), "an open one"))
    }
}

fn resident(pid: u32) -> Result<f64, Mishap> {
    resident_kib(pid).ok_or_else(|| Mishap::unexpected("a process", "none", "a running one"))
}

/// Agent, machine and this process have a file for each flow.
fn allow_many_files() -> Result<(), Mishap> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < FILES) {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .map_err(|fault| Mishap::io("raising the limit of open files")(fault.into()))?;
    }
    Ok(())
}

const ENGINEERS: u32 = 200;
/// Flows of each engineer.
const EACH: u32 = 50;
/// Flows of the one VPN, below the bound of a tunnel.
const IN_ONE: u32 = 1000;
const FILES: u64 = 12_000;
const TRIES: u32 = 200;
const AGAIN: Duration = Duration::from_millis(20);
const WITHIN: Duration = Duration::from_secs(30);
const COLUMNS: [Column; 9] = [
    Column { id: "idle", title: "agent idle MiB" },
    Column { id: "vpns", title: "with 200 VPNs MiB" },
    Column { id: "flows", title: "with 10,000 flows MiB" },
    Column { id: "each_vpn", title: "KiB per engineer" },
    Column { id: "each_flow", title: "KiB per flow" },
    Column { id: "engineer", title: "`postern proxy`, 50 flows, MiB" },
    Column { id: "client", title: "`postern vpn` idle MiB" },
    Column { id: "client_flows", title: "with 1,000 flows MiB" },
    Column { id: "each_of_client", title: "KiB per flow" },
];
