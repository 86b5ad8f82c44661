//! Ways from the engineer to the machine, side by side: every round measures every peer.
//!
//! 1. [`Peer`] is a local address that leads to the machine, and the processes that make it so.
//! 2. [`compare`] runs the rounds over each link model and adds a table for each.
//! 3. [`crowd`] opens connections from many sides at once.

use std::net::SocketAddr;
use std::time::Duration;

use super::child::Program;
use super::link::{Link, Model, Side};
use super::load::{self, Direction, Volume};
use super::proc::cpu_seconds;
use super::report::{Column, Grid};
use super::stats::quantile;
use crate::world::Mishap;

/// A way to the machine.
#[derive(Debug)]
pub struct Peer {
    /// Its name in tables.
    pub name: &'static str,
    /// Where the engineer's programs connect.
    pub at: SocketAddr,
    /// The processes whose time counts, with their descendants.
    pub pids: Vec<u32>,
    /// What must live as long as the peer.
    pub programs: Vec<Program>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds over all peers.
    pub rounds: u32,
    /// How long one bulk transfer takes.
    pub span: Duration,
    /// Round trips of one round.
    pub pings: usize,
    /// Connections of one round.
    pub set_ups: usize,
}

/// Compares the peers in rounds over each model of the link, with ratios to `base`.
///
/// # Errors
/// When a peer breaks, with its name.
pub fn compare(
    link: &Link,
    peers: &[Peer],
    base: &str,
    effort: &Effort,
) -> Result<Vec<(Model, Grid)>, Mishap> {
    compare_over(link, &|model| link.switch(model), peers, ("ways", "Ways to the machine", base), effort)
}

/// As [`compare`], over wires that `switch` gives a model, in tables with another id and title.
///
/// # Errors
/// As [`compare`].
pub fn compare_over(
    link: &Link,
    switch: &dyn Fn(Model) -> Result<(), Mishap>,
    peers: &[Peer],
    (id, title, base): (&str, &str, &str),
    effort: &Effort,
) -> Result<Vec<(Model, Grid)>, Mishap> {
    let mut grids = Vec::new();
    for model in link.models() {
        switch(*model)?;
        let title = format!("{title}, link model: {}", model.word());
        let mut grid = Grid::new(&format!("{id}_{}", model.word()), title, Some(base), &COLUMNS);
        for peer in peers {
            // Fills congestion windows and finds the path's packet size before anything counts.
            bulk(link, peer, Direction::Up, 1, WARM_UP)?;
            bulk(link, peer, Direction::Down, 1, WARM_UP)?;
        }
        for round in 0..effort.rounds {
            eprintln!("  {}: round {} of {}", model.word(), round + 1, effort.rounds);
            for peer in peers {
                measure(link, peer, effort, &mut grid)
                    .map_err(|fault| Mishap::unexpected(peer.name, fault, "a measurement"))?;
            }
        }
        grids.push((*model, grid));
    }
    Ok(grids)
}

/// Opens connections from `sides` threads at once and yields how long each took, in microseconds.
///
/// # Errors
/// When one is not made.
pub fn crowd(link: &Link, at: SocketAddr, sides: usize, each: usize) -> Result<Vec<f64>, Mishap> {
    link.within(Side::Client, || {
        let results: Vec<Result<Vec<f64>, Mishap>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..sides).map(|_| scope.spawn(|| load::set_up(at, each))).collect();
            let broken = |_| Err(Mishap::unexpected("a thread of the load", "a panic", "samples"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(broken)).collect()
        });
        let samples = results.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(samples.concat())
    })
}

/// Latency goes first: after a bulk transfer rows are still being written and windows still drain.
fn measure(link: &Link, peer: &Peer, effort: &Effort, grid: &mut Grid) -> Result<(), Mishap> {
    std::thread::sleep(CALM);
    let at = peer.at;
    let pings = link.within(Side::Client, || load::ping(at, effort.pings))?;
    let set_ups = link.within(Side::Client, || load::set_up(at, effort.set_ups))?;
    for (samples, median, tail) in [(pings, "ping_p50", "ping_p99"), (set_ups, "set_up_p50", "set_up_p99")] {
        for (column, q) in [(median, 0.5), (tail, 0.99)] {
            if let Some(value) = quantile(&samples, q) {
                grid.add(peer.name, column, value);
            }
        }
    }
    for (direction, streams, rate, cost) in [
        (Direction::Up, 1, "up", "up_cpu"),
        (Direction::Down, 1, "down", "down_cpu"),
        (Direction::Up, 16, "up16", "up16_cpu"),
    ] {
        let (volume, cpu) = bulk(link, peer, direction, streams, effort.span)?;
        grid.add(peer.name, rate, volume.mbit_s());
        if !peer.pids.is_empty() {
            grid.add(peer.name, cost, cpu / volume.gib());
        }
    }
    Ok(())
}

fn bulk(
    link: &Link,
    peer: &Peer,
    direction: Direction,
    streams: usize,
    span: Duration,
) -> Result<(Volume, f64), Mishap> {
    let (at, before) = (peer.at, cpu_seconds(&peer.pids));
    let volume = link.within(Side::Client, || load::bulk(at, direction, streams, span))?;
    Ok((volume, cpu_seconds(&peer.pids) - before))
}

const COLUMNS: [Column; 10] = [
    Column { id: "up", title: "up Mbit/s" },
    Column { id: "up_cpu", title: "CPU s/GiB" },
    Column { id: "down", title: "down Mbit/s" },
    Column { id: "down_cpu", title: "CPU s/GiB" },
    Column { id: "up16", title: "16 up Mbit/s" },
    Column { id: "up16_cpu", title: "CPU s/GiB" },
    Column { id: "ping_p50", title: "64 B p50 us" },
    Column { id: "ping_p99", title: "p99 us" },
    Column { id: "set_up_p50", title: "set-up p50 us" },
    Column { id: "set_up_p99", title: "p99 us" },
];
const WARM_UP: Duration = Duration::from_millis(400);
/// Time for the peer before to come to rest.
const CALM: Duration = Duration::from_millis(60);
