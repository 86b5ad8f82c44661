//! A VPN through a network adapter, beside those that people use: throughput, what it costs, and how long somebody waits.
//!
//! 1. [`plant`] is the machine behind the device, [`peers`] are the ways to it.
//! 2. Every round measures every peer, each time beginning with another: TCP with one stream and with four, datagrams, and round trips
//!    of a connection and of an echo ([`datagrams`]). Both wires behave alike.
//! 3. The same over a narrow and long path, without losses and with some, for those that UDP carries. Transfers there are long: what a
//!    connection does before its first loss says nothing of the path.
//! 4. [`memory`] is what many engineers and many flows take.
//!
//! Everybody has the packet size of its own kind: 1280 Postern, 1420 WireGuard, 1500 OpenVPN and `ssh`. Processor time is that of the processes
//! at both ends; what the kernel does in nobody's name, and the programs that use the VPN, do not count. That is in favour of those who leave
//! TCP to the kernel, which is everybody but Postern.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::peers::{BORINGTUN, Ground, OPENVPN, POSTERN, Peers, WIREGUARD_GO};
use self::plant::Plant;
use super::link::{Link, Model, Side};
use super::load::{self, Direction, Volume};
use super::narrow;
use super::proc::cpu_seconds;
use super::product::Site;
use super::report::{Bound, Column, Grid, Report};
use super::rounds::Peer;
use super::stats::quantile;
use crate::shim::Conditions;
use crate::world::Mishap;

mod datagrams;
mod memory;
mod peers;
mod plant;

pub(super) use self::memory::keep_all;
pub(super) use self::plant::NETWORK;

/// Measures and judges. `agents` are builds of the agent whose memory is looked at, each with a name.
///
/// # Errors
/// When a peer does not come up or breaks, with its name.
pub fn measure(
    (link, site, dir): (&Link, &Site, &Path),
    agents: &[(&str, PathBuf)],
    rounds: u32,
    report: &mut Report,
) -> Result<(), Mishap> {
    if !link.is_namespaced() {
        eprintln!("NOTE: not root, so no VPN is measured: it takes namespaces and adapters.");
        return Ok(());
    }
    let plant = Plant::make(link)?;
    let ground = Ground { link, site, plant: &plant, dir, path: None };
    let peers = Peers::open(ground)?;
    for model in link.models() {
        plant.switch(*model)?;
        let (bulk, small) = compare(link, &peers.all, *model, rounds + rounds / 2)?;
        judge(report, model.word(), &bulk, &small);
        report.grids.extend([bulk, small]);
    }
    drop(peers);
    for (name, loss) in [("narrow", 0.0), ("lossy", LOSS)] {
        let (dir, path) = (dir.join(name), Some(Conditions { loss, ..Conditions::NARROW }));
        let peers = Peers::open(Ground { dir: &dir, path, ..ground })?;
        report.grids.push(far_away(link, &peers.all, name, rounds.min(2))?);
    }
    let mut grid = memory::grid();
    let outcome = agents.iter().try_for_each(|(label, agent)| {
        memory::measure((link, site, dir), (label, agent), plant.at(0), &mut grid)
    });
    // A build that does not start takes nothing from the one before.
    report.grids.push(grid);
    outcome
}

/// All peers in rounds over one model of the wires: what bulk transfers come to, and what small things do.
fn compare(link: &Link, peers: &[Peer], model: Model, rounds: u32) -> Result<(Grid, Grid), Mishap> {
    let base = peers.iter().find(|peer| peer.name == WIREGUARD_GO).map(|peer| peer.name);
    let grid = |id: &str, title: &str, columns: &[Column]| {
        let (id, title) =
            (format!("{id}_{}", model.word()), format!("{title}, link model: {}", model.word()));
        Grid::new(&id, title, base, columns)
    };
    let mut bulk = grid("vpn_bulk", "VPNs, TCP through an adapter", &BULK);
    let mut small = grid("vpn_small", "VPNs, datagrams and round trips", &SMALL);
    for peer in peers {
        // Fills congestion windows and finds the path's packet size before anything counts.
        let at = peer.at;
        for direction in [Direction::Up, Direction::Down] {
            link.within(Side::Client, || load::bulk(at, direction, 1, WARM_UP))?;
        }
    }
    for round in 0..rounds {
        eprintln!("  {}: round {} of {rounds}", model.word(), round + 1);
        let mut order: Vec<&Peer> = peers.iter().collect();
        let places = order.len().max(1);
        order.rotate_left(usize::try_from(round).unwrap_or(0) % places);
        for peer in order {
            one(link, peer, (&mut bulk, &mut small))
                .map_err(|fault| Mishap::unexpected(peer.name, fault, "a measurement"))?;
        }
    }
    Ok((bulk, small))
}

/// Latency goes first: after a bulk transfer windows still drain.
fn one(link: &Link, peer: &Peer, (bulk, small): (&mut Grid, &mut Grid)) -> Result<(), Mishap> {
    std::thread::sleep(CALM);
    let at = peer.at;
    let pings = link.within(Side::Client, || load::ping(at, PINGS))?;
    let echoes = link.within(Side::Client, || datagrams::echoes(at.ip(), ECHOES))?;
    for (samples, median, tail) in [(pings, "ping_p50", "ping_p99"), (echoes, "echo_p50", "echo_p99")] {
        for (column, q) in [(median, 0.5), (tail, 0.99)] {
            if let Some(value) = quantile(&samples, q) {
                small.add(peer.name, column, value);
            }
        }
    }
    for (direction, streams, rate, cost) in [
        (Direction::Up, 1, "up", "up_cpu"),
        (Direction::Down, 1, "down", "down_cpu"),
        (Direction::Up, 4, "up4", "up4_cpu"),
        (Direction::Down, 4, "down4", "down4_cpu"),
    ] {
        let work = || load::bulk(at, direction, streams, SPAN);
        carried(link, peer, bulk, (rate, cost), work)?;
    }
    carried(link, peer, small, ("udp_up", "udp_up_cpu"), || datagrams::up(at, SPAN))?;
    carried(link, peer, small, ("udp_down", "udp_down_cpu"), || datagrams::down(at, SPAN))
}

fn carried(
    link: &Link,
    peer: &Peer,
    grid: &mut Grid,
    (rate, cost): (&str, &str),
    work: impl FnOnce() -> Result<Volume, Mishap> + Send,
) -> Result<(), Mishap> {
    let before = cpu_seconds(&peer.pids);
    let volume = link.within(Side::Client, work)?;
    grid.add(peer.name, rate, volume.mbit_s());
    if !peer.pids.is_empty() {
        grid.add(peer.name, cost, (cpu_seconds(&peer.pids) - before) / volume.gib());
    }
    Ok(())
}

/// All peers at the same time, each over a path of its own, which is what limits it.
fn far_away(link: &Link, peers: &[Peer], name: &str, rounds: u32) -> Result<Grid, Mishap> {
    let losses = if name == "lossy" { "0.5 % of the packets lost each way" } else { "no losses" };
    let title = format!("VPNs over 10 Mbit/s, 60 ms, queue of 250 kB, {losses}");
    let mut grid = Grid::new(&format!("vpn_{name}"), title, None, &NARROW);
    for round in 0..rounds {
        eprintln!("  {name}: round {} of {rounds}", round + 1);
        let measured: Vec<Result<_, Mishap>> = std::thread::scope(|scope| {
            let ways = peers.iter().map(|peer| peer.at);
            let threads: Vec<_> = ways.map(|at| scope.spawn(move || distant(link, at))).collect();
            let broken = |_| Err(Mishap::unexpected("a thread of the load", "a panic", "samples"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(broken)).collect()
        });
        for (peer, samples) in peers.iter().zip(measured) {
            let samples = samples.map_err(|fault| Mishap::unexpected(peer.name, fault, "a measurement"))?;
            for (column, value) in samples {
                grid.add(peer.name, column, value);
            }
        }
    }
    Ok(grid)
}

fn distant(link: &Link, at: SocketAddr) -> Result<Vec<(&'static str, f64)>, Mishap> {
    let mut samples = Vec::new();
    let idle = link.within(Side::Client, || load::ping(at, 20))?;
    let up = link.within(Side::Client, || load::bulk(at, Direction::Up, 1, FAR_SPAN))?;
    let down = link.within(Side::Client, || load::bulk(at, Direction::Down, 1, FAR_SPAN))?;
    let busy = narrow::ping_under_bulk(link, at, 20)?;
    samples.extend([("up", up.mbit_s()), ("down", down.mbit_s())]);
    for (column, pings) in [("idle", &idle), ("busy", &busy)] {
        samples.extend(quantile(pings, 0.5).map(|median| (column, median / 1e3)));
    }
    Ok(samples)
}

/// Judges what the comparison says something of.
fn judge(report: &mut Report, model: &str, bulk: &Grid, small: &Grid) {
    for (column, cost, what) in [("up", "up_cpu", "up"), ("down", "down_cpu", "down")] {
        for (peer, times) in [(WIREGUARD_GO, 2.0), (BORINGTUN, 1.2), (OPENVPN, 1.2)] {
            let seen = bulk.ratio(POSTERN, peer, column);
            report.judge("P11", format!("{model}: one stream {what} / {peer}"), seen, Bound::AtLeast(times));
            let seen = bulk.ratio(POSTERN, peer, cost);
            report.judge("P11", format!("{model}: CPU per GiB {what} / {peer}"), seen, Bound::AtMost(1.0));
        }
    }
    for (peer, what) in [(WIREGUARD_GO, ""), (BORINGTUN, ", the aim")] {
        let seen = small.ratio(POSTERN, peer, "ping_p50");
        report.judge("P11", format!("{model}: 64 bytes / {peer}{what}"), seen, Bound::AtMost(1.0));
    }
}

const BULK: [Column; 8] = [
    Column { id: "up", title: "up Mbit/s" },
    Column { id: "up_cpu", title: "CPU s/GiB" },
    Column { id: "down", title: "down Mbit/s" },
    Column { id: "down_cpu", title: "CPU s/GiB" },
    Column { id: "up4", title: "4 up Mbit/s" },
    Column { id: "up4_cpu", title: "CPU s/GiB" },
    Column { id: "down4", title: "4 down Mbit/s" },
    Column { id: "down4_cpu", title: "CPU s/GiB" },
];
const SMALL: [Column; 8] = [
    Column { id: "udp_up", title: "UDP up Mbit/s" },
    Column { id: "udp_up_cpu", title: "CPU s/GiB" },
    Column { id: "udp_down", title: "UDP down Mbit/s" },
    Column { id: "udp_down_cpu", title: "CPU s/GiB" },
    Column { id: "ping_p50", title: "64 B p50 us" },
    Column { id: "ping_p99", title: "p99 us" },
    Column { id: "echo_p50", title: "echo p50 us" },
    Column { id: "echo_p99", title: "p99 us" },
];
const NARROW: [Column; 4] = [
    Column { id: "up", title: "up Mbit/s" },
    Column { id: "down", title: "down Mbit/s" },
    Column { id: "idle", title: "64 B p50 ms" },
    Column { id: "busy", title: "beside an upload p50 ms" },
];
const WARM_UP: Duration = Duration::from_millis(400);
/// Time for the peer before to come to rest.
const CALM: Duration = Duration::from_millis(60);
/// One transfer of a round.
const SPAN: Duration = Duration::from_millis(300);
/// The same where a round trip takes 60 ms.
const FAR_SPAN: Duration = Duration::from_secs(10);
/// The share of packets that the lossy path loses.
const LOSS: f64 = 0.005;
const PINGS: usize = 500;
const ECHOES: u16 = 300;
