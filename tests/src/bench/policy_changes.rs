//! Policy through a real agent: how long a large one takes to be in force, how long a cut takes to be felt, and how
//! long an agent takes from its start to a standing gate.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::decisions::large;
use super::link::{Link, Side};
use super::load;
use super::machine::Habit;
use super::policy::Content;
use super::proc::resident_kib;
use super::product::{Device, Site};
use super::report::{Column, Grid};
use super::stats::quantile;
use crate::world::Mishap;

/// Publishes a policy with 5,000 users again and again, and restarts the agent with it.
///
/// # Errors
/// When the device does not follow.
pub fn large_policy(site: &Site, device: &mut Device, rounds: u32) -> Result<Grid, Mishap> {
    let mut grid = Grid::new("activation_agent", "A policy with 5,000 users in a real agent", None, &LARGE);
    let content = large(site.content().target);
    let before = resident_kib(device.pid()?);
    site.hub.publish(device.name(), content)?;
    let after = resident_kib(device.pid()?);
    if let (Some(before), Some(after)) = (before, after) {
        grid.add("postern", "memory", (after - before) / 1024.0);
    }
    for _ in 0..rounds {
        let (begun, acknowledged) = site.hub.publish(device.name(), content)?;
        grid.add("postern", "push", millis(acknowledged - begun));
    }
    for _ in 0..rounds {
        device.stop()?;
        let begun = Instant::now();
        device.start()?;
        grid.add("postern", "start", millis(begun.elapsed()));
    }
    site.hub.settled(device.name())?;
    site.hub.publish(device.name(), site.content())?;
    Ok(grid)
}

/// Takes the engineer's grant away while 200 tunnels drip, and looks when each falls silent.
///
/// # Errors
/// When the device does not follow or a tunnel lives on.
pub fn revocation(link: &Link, site: &Site, device: &Device, rounds: u32) -> Result<Grid, Mishap> {
    let title = "Revocation with 200 live tunnels, from publishing at the hub to the engineer's end";
    let mut grid = Grid::new("revocation", title, None, &REVOCATION);
    let revoked = Content { is_granted: false, ..site.content() };
    for _ in 0..rounds {
        let clients = (0..CLIENTS).map(|_| site.connect(device.name())).collect::<Result<Vec<_>, _>>()?;
        let ends = clients.iter().map(|(_, at)| tunnels(link, *at)).collect::<Result<Vec<_>, _>>()?;
        // Every tunnel drips by now: each has delivered its first bytes.
        let (begun, acknowledged) = site.hub.publish(device.name(), revoked)?;
        let mut last_bytes = Vec::new();
        let mut closings = Vec::new();
        for tunnel in ends.iter().flatten() {
            let late = |_| Mishap::unexpected("a revoked tunnel", "still open", "closed within 10 s");
            let Ending { last_byte, closed } = tunnel.recv_timeout(Duration::from_secs(10)).map_err(late)?;
            last_bytes.push(millis(last_byte.saturating_duration_since(begun)));
            closings.push(millis(closed.saturating_duration_since(begun)));
        }
        grid.add("postern", "acknowledged", millis(acknowledged - begun));
        for (samples, median, tail) in
            [(last_bytes, "byte_p50", "byte_p99"), (closings, "closed_p50", "closed_p99")]
        {
            for (column, q) in [(median, 0.5), (tail, 0.99)] {
                if let Some(value) = quantile(&samples, q) {
                    grid.add("postern", column, value);
                }
            }
        }
        site.hub.publish(device.name(), site.content())?;
    }
    Ok(grid)
}

/// When a tunnel brought its last byte, and when it was closed.
struct Ending {
    last_byte: Instant,
    closed: Instant,
}

/// Opens tunnels that drip, each watched by a thread.
fn tunnels(link: &Link, at: SocketAddr) -> Result<Vec<Receiver<Ending>>, Mishap> {
    link.within(Side::Client, || {
        (0..EACH)
            .map(|_| {
                let mut stream = load::open(at, Habit::Drip)?;
                let mut block = [0; 4096];
                stream.read_exact(&mut [0])?;
                let (sender, receiver) = channel();
                std::thread::spawn(move || {
                    let mut last_byte = Instant::now();
                    while stream.read(&mut block).is_ok_and(|taken| taken > 0) {
                        last_byte = Instant::now();
                    }
                    // Nobody waits for it when the measurement has failed.
                    let _unheard = sender.send(Ending { last_byte, closed: Instant::now() });
                });
                Ok(receiver)
            })
            .collect()
    })
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

const CLIENTS: usize = 4;
const EACH: usize = 50;
const LARGE: [Column; 3] = [
    Column { id: "push", title: "published to acknowledged ms" },
    Column { id: "start", title: "start to gate ready ms" },
    Column { id: "memory", title: "memory MiB" },
];
const REVOCATION: [Column; 5] = [
    Column { id: "acknowledged", title: "acknowledged ms" },
    Column { id: "byte_p50", title: "last byte p50 ms" },
    Column { id: "byte_p99", title: "p99 ms" },
    Column { id: "closed_p50", title: "closed p50 ms" },
    Column { id: "closed_p99", title: "p99 ms" },
];
