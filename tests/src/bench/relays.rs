//! Relays in the middle: what is added to a tunnel by having somebody in between who cannot read it.
//!
//! 1. [`middle`] is the place in between, with a wire to either end and no other way from one to the other but through it.
//! 2. [`peers`] are the ways through it: the kernel's own forwarding, Postern straight and over a relay, and what people use. Every
//!    round measures every peer.
//! 3. [`packets`] is the relay alone: packets that it passes on in a second of one core, beside a forwarder that makes a system call
//!    for each.
//! 4. [`moves`] is a connection that moves between relay and straight way under load, and how long it takes to be connected at all.

use std::path::Path;

use self::middle::Middle;
use self::peers::{DIRECT, RELAYED, RELAYED_TLS, Ways};
use super::link::{Link, Side};
use super::load::{self, Direction};
use super::narrow;
use super::proc::cpu_seconds;
use super::product::Site;
use super::report::{Bound, Column, Grid, Report};
use super::rounds::{self, Effort};
use super::stats::quantile;
use crate::programs::Program;
use crate::shim::Conditions;
use crate::shim::stream::StreamShim;
use crate::world::Mishap;

mod middle;
mod moves;
mod packets;
pub(super) mod peers;
pub(super) mod wall;

pub(super) use self::packets::forward;

/// Measures and judges.
///
/// # Errors
/// When a peer does not come up or breaks, with its name.
pub fn measure(
    (link, site, dir, machine): (&Link, &Site, &Path, u16),
    (effort, is_quick): (Effort, bool),
    report: &mut Report,
) -> Result<(), Mishap> {
    if !link.is_namespaced() {
        eprintln!("NOTE: not root, so no relay is measured: it takes namespaces.");
        return Ok(());
    }
    let packets = packets::measure(link, dir, &site.shelf().path(Program::Cloud), effort.rounds)?;
    for load in packets::LOADS {
        let seen = packets.median(packets::POSTERN, load.column);
        let what = format!("{}: thousands of packets a second of one core", load.title);
        report.judge("P14", what, seen, Bound::AtLeast(300.0));
        let cost = |peer| packets.median(peer, load.column).map(|rate| 1.0 / rate);
        let ratio = cost(packets::POSTERN).zip(cost(packets::ONE_BY_ONE)).map(|(ours, plain)| ours / plain);
        let what = format!("{}: CPU per packet / {}", load.title, packets::ONE_BY_ONE);
        report.judge("P14", what, ratio, Bound::AtMost(0.5));
    }
    report.grids.push(packets);

    let middle = Middle::make(link)?;
    let ways = Ways::open(&middle, site, dir, machine)?;
    let names = ("relays", "Ways with somebody in between", DIRECT);
    let switch = |model| middle.switch(model);
    for (model, grid) in rounds::compare_over(link, &switch, &ways.peers, names, &effort)? {
        for (column, what) in [("up", "up"), ("down", "down"), ("up16", "16 streams up")] {
            let what = format!("{}: relayed, {what}, TLS / UDP", model.word());
            report.judge("P5", what, grid.ratio(RELAYED_TLS, RELAYED, column), Bound::AtLeast(1.0));
        }
        report.grids.push(grid);
    }
    report.grids.push(alone(link, &ways, effort)?);
    let much = if is_quick { (1, 20) } else { (3, 50) };
    report.grids.push(narrow_link(&middle, &ways, much)?);
    report.grids.push(moves::connecting(site, &ways, effort.rounds)?);
    let far = far_away(&middle, site, &ways, report, much)?;
    report.grids.push(far);
    drop(ways);
    let moving = moves::moving(&middle, site, dir, if is_quick { 1 } else { 3 })?;
    let seen = moving.median(moves::TO_DEVICE, "gap");
    report.judge("P5", "longest silence of a move to the device under load, ms", seen, Bound::AtMost(500.0));
    report.grids.push(moving);
    Ok(())
}

/// What the relay alone costs while a tunnel goes through it.
fn alone(link: &Link, ways: &Ways, effort: Effort) -> Result<Grid, Mishap> {
    let title = "The one in between: processor time for bytes of a tunnel";
    let mut grid = Grid::new("relay_cpu", title, None, &ALONE);
    for _ in 0..effort.rounds {
        for (name, between) in &ways.between {
            let Some(peer) = ways.peers.iter().find(|peer| peer.name == *name) else { continue };
            for (direction, column) in [(Direction::Up, "up"), (Direction::Down, "down")] {
                let (at, before) = (peer.at, cpu_seconds(&[*between]));
                let volume = link.within(Side::Client, || load::bulk(at, direction, 1, effort.span))?;
                grid.add(peer.name, column, (cpu_seconds(&[*between]) - before) / volume.gib());
            }
        }
    }
    Ok(grid)
}

/// A ping beside an upload, where the client's wire is narrow.
fn narrow_link(middle: &Middle, ways: &Ways, (rounds, pings): (u32, usize)) -> Result<Grid, Mishap> {
    let title = "64 bytes beside an upload through 10 Mbit/s with a queue of 250 kB, without delay";
    let mut grid = Grid::new("relays_narrow", title, None, &NARROW);
    middle.narrow(true)?;
    for _ in 0..rounds {
        for peer in &ways.peers {
            let samples = narrow::ping_under_bulk(middle.link(), peer.at, pings)
                .map_err(|fault| Mishap::unexpected(peer.name, fault, "round trips"))?;
            add(&mut grid, peer.name, &samples);
        }
    }
    middle.narrow(false)?;
    Ok(grid)
}

/// The same where the client has 60 ms to the relay, which those that can be led through a path in user space have.
fn far_away(
    middle: &Middle,
    site: &Site,
    ways: &Ways,
    report: &mut Report,
    (rounds, pings): (u32, usize),
) -> Result<Grid, Mishap> {
    let title = "64 bytes beside an upload: 10 Mbit/s, 60 ms, queue of 250 kB";
    let mut grid = Grid::new("relays_far", title, None, &NARROW);
    let (link, relay) = (middle.link(), &ways.relay);
    let datagrams = narrow::before(link, relay.at, Conditions::NARROW)?;
    let (near, beyond) = (link.address(Side::Client), relay.at);
    let stream = link.within(Side::Client, || Ok(StreamShim::before(near, beyond, Conditions::NARROW)?))?;
    for (name, device) in &ways.devices {
        let is_udp = *name == RELAYED;
        let at = match *name {
            RELAYED => datagrams.at,
            RELAYED_TLS => stream.at,
            _ => continue,
        };
        let places = [peers::place(at, is_udp), relay.place(is_udp)];
        site.hub.relay(device.name(), places, relay.key.clone())?;
        let (_program, at) = site.connect(device.name())?;
        for _ in 0..rounds {
            add(&mut grid, name, &narrow::ping_under_bulk(link, at, pings)?);
        }
        let what = format!("{name}: 64 bytes beside an upload, p50 ms");
        report.judge("P17", what, grid.median(name, "p50"), Bound::AtMost(110.0));
    }
    Ok(grid)
}

fn add(grid: &mut Grid, name: &str, samples: &[f64]) {
    for (column, q) in [("p50", 0.5), ("p99", 0.99), ("highest", 1.0)] {
        if let Some(value) = quantile(samples, q) {
            grid.add(name, column, value / 1e3);
        }
    }
}

const ALONE: [Column; 2] =
    [Column { id: "up", title: "up, CPU s/GiB" }, Column { id: "down", title: "down, CPU s/GiB" }];
const NARROW: [Column; 3] = [
    Column { id: "p50", title: "p50 ms" },
    Column { id: "p99", title: "p99 ms" },
    Column { id: "highest", title: "highest ms" },
];
