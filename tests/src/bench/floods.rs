//! What a flood costs: how fast one tunnel is beside it, and how much of a processor the agent spends on the flood alone.
//!
//! 1. Each round measures the tunnel beside no flood, and beside each kind, so that what disturbs the machine disturbs all.
//! 2. Before a tunnel is loaded the agent has nothing but the flood: its processor time then is the flood's.
//!
//! Whoever floods lives on the same two cores: where agent, client and flood want more than there is, the flood's own work costs the
//! tunnel something that it would not cost on a router. That is why the second number is there.

use std::path::Path;
use std::time::Instant;

use postern_protocol::trust::SecretKey;

use super::link::{Link, Side};
use super::load::{self, Direction};
use super::proc::{cpu_seconds, peak_kib};
use super::product::{Device, Site};
use super::report::{Bound, Column, Grid, Report};
use super::rounds::Effort;
use crate::flood::{Flood, Kind, STRANGERS, Victim};
use crate::world::Mishap;

/// Floods an agent in every way and judges what is left of a tunnel.
///
/// # Errors
/// When a step fails.
pub fn measure(
    (link, site, dir): (&Link, &Site, &Path),
    effort: Effort,
    report: &mut Report,
) -> Result<(), Mishap> {
    let device = site.device("floods", dir)?;
    let (_client, at) = site.connect("floods")?;
    let victim = victim(link, site, &device)?;
    let pid = device.pid()?;
    let mut grid = Grid::new("floods", "One tunnel beside a flood", Some(NONE), &COLUMNS);
    let bulk = || {
        link.within(Side::Client, || {
            let up = load::bulk(at, Direction::Up, 1, effort.span)?.mbit_s();
            Ok((up, load::bulk(at, Direction::Down, 1, effort.span)?.mbit_s()))
        })
    };
    // The first transfer finds the path.
    bulk()?;
    for _ in 0..effort.rounds {
        let (up, down) = bulk()?;
        grid.add(NONE, "up", up);
        grid.add(NONE, "down", down);
        for kind in Kind::ALL {
            let flood = link.within(Side::Client, || Flood::start(kind, &victim, per_s(kind)))?;
            let (began, sent, used) = (Instant::now(), flood.sent(), cpu_seconds(&[pid]));
            std::thread::sleep(effort.span);
            let took = began.elapsed().as_secs_f64();
            grid.add(kind.word(), "cpu", (cpu_seconds(&[pid]) - used) / took * 100.0);
            grid.add(kind.word(), "sent", f64::from(flood.sent().saturating_sub(sent)) / took);
            let (up, down) = bulk()?;
            grid.add(kind.word(), "up", up);
            grid.add(kind.word(), "down", down);
        }
    }
    for kind in Kind::ALL.map(Kind::word) {
        for (column, way) in [("up", "up"), ("down", "down")] {
            let what = format!("a tunnel {way} beside {kind}, of one beside none");
            report.judge("floods", what, grid.ratio(kind, NONE, column), Bound::AtLeast(0.9));
        }
        let what = format!("the agent's processor for {kind} alone, %");
        report.judge("floods", what, grid.median(kind, "cpu"), Bound::AtMost(10.0));
    }
    let peak = peak_kib(pid).map(|peak| peak / 1024.0);
    report.judge("floods", "highest MiB of the agent under all of them", peak, Bound::AtMost(64.0));
    report.grids.push(grid);
    Ok(())
}

fn victim(link: &Link, site: &Site, device: &Device) -> Result<Victim, Mishap> {
    let seed = std::fs::read_to_string(device.state().join("device.key"))?;
    let seed = data_encoding::HEXLOWER.decode(seed.trim().as_bytes()).ok();
    let key = seed.and_then(|seed| SecretKey::from_seed(seed.try_into().ok()?).ok());
    let key = key.ok_or_else(|| Mishap::unexpected("the key of a device", "nonsense", "a key"))?.public();
    let status: serde_json::Value = serde_json::from_str(&device.run(&["status", "--json"])?)
        .map_err(|error| Mishap::unexpected("the status of a device", error, "JSON"))?;
    let id = status.get("device").and_then(serde_json::Value::as_str).and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Mishap::unexpected("the status of a device", &status, "its id"))?;
    let from = match link.address(Side::Client) {
        std::net::IpAddr::V4(address) if link.is_namespaced() => address,
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => STRANGERS,
    };
    Victim { at: device.listen(), key, device: id, insider: None, from }.insider(&site.engineer())
}

/// What the design says, and for the rest a flood that is no trickle.
const fn per_s(kind: Kind) -> u32 {
    match kind {
        Kind::HalfOpen | Kind::Handshakes | Kind::Gaps => 1_000,
        Kind::Noise | Kind::Datagrams => 5_000,
        Kind::Denials => 10_000,
        Kind::Loris => 100,
    }
}

const NONE: &str = "no flood";
const COLUMNS: [Column; 4] = [
    Column { id: "up", title: "up Mbit/s" },
    Column { id: "down", title: "down Mbit/s" },
    Column { id: "cpu", title: "agent's processor for the flood alone %" },
    Column { id: "sent", title: "of the flood a second" },
];
