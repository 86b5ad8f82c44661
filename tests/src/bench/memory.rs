//! Resident memory of the agent: idle, for each idle connection and tunnel, and at its highest under load.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::link::{Link, Side};
use super::load::{self, Direction};
use super::machine::Habit;
use super::proc::{peak_kib, resident_kib};
use super::product::{Device, Site};
use super::report::{Column, Grid};
use crate::world::Mishap;

/// Measures one build of the agent and adds a row under `label`.
///
/// # Errors
/// When a step fails.
pub fn measure(
    link: &Link,
    site: &Site,
    state: &Path,
    build: (&str, &Path),
    rounds: u32,
    grid: &mut Grid,
) -> Result<(), Mishap> {
    let (label, executable) = build;
    for round in 0..rounds {
        let name = format!("memory-{label}-{round}");
        let mut device = site.device_with(&name, state, executable)?;
        // Started again: enrolment and the first policy are not what an idle agent has behind it.
        let pid = restarted(site, &mut device)?;
        grid.add(label, "idle", resident(pid)? / 1024.0);

        let (client, at) = site.connect(&name)?;
        for direction in [Direction::Up, Direction::Down] {
            link.within(Side::Client, || load::bulk(at, direction, 16, Duration::from_secs(1)))?;
        }
        if let Some(peak) = peak_kib(pid) {
            grid.add(label, "busy", peak / 1024.0);
        }
        drop(client);

        let pid = restarted(site, &mut device)?;
        // The first connection and the first tunnel bring the program's own pages in; they are not what one more costs.
        let (first, at) = site.connect(&name)?;
        drop(idle_tunnels(link, at, 1)?);
        let before = resident(pid)?;
        let connections = (0..CONNECTIONS).map(|_| site.connect(&name)).collect::<Result<Vec<_>, _>>()?;
        let connected = resident(pid)?;
        grid.add(label, "connection", (connected - before) / f64::from(CONNECTIONS));
        let mut tunnels = Vec::new();
        for (_, at) in connections.iter().take(4) {
            tunnels.extend(idle_tunnels(link, *at, 50)?);
        }
        grid.add(label, "tunnel", (resident(pid)? - connected) / tunnels.len() as f64);
        drop((first, tunnels));
    }
    Ok(())
}

fn restarted(site: &Site, device: &mut Device) -> Result<u32, Mishap> {
    device.stop()?;
    device.start()?;
    site.hub.settled(device.name())?;
    device.pid()
}

fn resident(pid: u32) -> Result<f64, Mishap> {
    resident_kib(pid).ok_or_else(|| Mishap::unexpected("an agent", "none", "a running one"))
}

/// An empty table for [`measure`].
#[must_use]
pub fn grid() -> Grid {
    Grid::new("memory", "Resident memory of the agent", None, &COLUMNS)
}

/// Tunnels over one connection that have carried one byte each way and are silent now.
fn idle_tunnels(link: &Link, at: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Mishap> {
    link.within(Side::Client, || {
        (0..count)
            .map(|_| {
                let mut stream = load::open(at, Habit::Echo)?;
                stream.write_all(&[1])?;
                stream.read_exact(&mut [0])?;
                Ok(stream)
            })
            .collect()
    })
}

const CONNECTIONS: u32 = 16;
const COLUMNS: [Column; 4] = [
    Column { id: "idle", title: "idle MiB" },
    Column { id: "connection", title: "KiB per idle connection" },
    Column { id: "tunnel", title: "KiB per idle tunnel" },
    Column { id: "busy", title: "highest, one connection, 16 streams, MiB" },
];
