//! What the gates cost: each beside the same machine through a plain pipe of bytes, and beside the proxy that people put
//! before such a machine today, behind the same pipe.
//!
//! 1. [`origin`] is the machine: a web server, a WebSocket, a screen, and the proxies.
//! 2. Every way is a service of one device: what differs between them is the gate alone.
//! 3. [`talk`] asks for requests, frames and pictures.
//!
//! Deliberately absent: TLS at the machine, and log-ins. They cost what their libraries cost.

use std::path::Path;
use std::time::Duration;

use postern_protocol::policy::{Kind, Target};

use self::origin::Origin;
use super::child::{Program, is_installed};
use super::link::{Link, Side};
use super::load::Volume;
use super::policy::{Content, GATED, Gated};
use super::proc::cpu_seconds;
use super::product::Site;
use super::report::{Bound, Column, Grid, Report};
use super::rounds::Effort;
use super::stats::quantile;
use crate::world::{Mishap, Near};

pub(super) mod origin;
pub(super) mod talk;

/// One way to what is measured.
struct Way {
    name: &'static str,
    near: Near,
    is_bridged: bool,
    /// Client and agent. What stands behind the pipe is not counted.
    pids: [u32; 2],
    _client: Program,
}

impl Way {
    /// Adds the rate of what `carry` carries, and what that costs client and agent.
    fn down(
        &self,
        link: &Link,
        add: &mut dyn FnMut(&str, f64),
        carry: impl FnOnce() -> Result<Volume, Mishap> + Send,
    ) -> Result<(), Mishap> {
        let before = cpu_seconds(&self.pids);
        let volume = link.within(Side::Client, carry)?;
        add("down", volume.mbit_s());
        add("down_cpu", (cpu_seconds(&self.pids) - before) / volume.gib());
        Ok(())
    }
}

/// Measures requests, frames and pictures.
///
/// # Errors
/// When a way does not come up or breaks, with its name.
pub fn measure(
    link: &Link,
    site: &Site,
    dir: &Path,
    effort: Effort,
    report: &mut Report,
) -> Result<(), Mishap> {
    let origin = Origin::start(link, dir)?;
    let content = Content { gated: services(&origin), ..site.content() };
    let device = site.device_under("gates", dir, content)?;
    let ways = |names: &[(&'static str, &'static str)]| -> Result<Vec<Way>, Mishap> {
        let there = names
            .iter()
            .filter(|(_, service)| content.gated.iter().flatten().any(|one| one.name == *service));
        there
            .map(|(name, service)| {
                let (client, near) = site.connect_to(device.name(), service)?;
                let (is_bridged, pids) = (*service == "way-bridge", [client.pid(), device.pid()?]);
                Ok(Way { name, near, is_bridged, pids, _client: client })
            })
            .collect()
    };
    if is_installed("wrk") && origin.web.is_some() {
        let ways = ways(&[(PIPE, "way-web-pipe"), (GATE, "way-web"), (PROXY, "way-web-proxy")])?;
        report.grids.push(web(link, &ways, effort)?);
    } else {
        eprintln!("NOTE: no nginx or no wrk here, so the HTTP gate is not measured.");
    }
    let ways_to = ways(&[(PIPE, "way-live-pipe"), (GATE, "way-live"), (PROXY, "way-live-proxy")])?;
    report.grids.push(live(link, &ways_to, effort)?);
    let ways_to = ways(&[
        (PIPE, "way-screen-pipe"),
        (GATE, "way-screen"),
        (LOOK, "way-screen-look"),
        (BRIDGE, "way-bridge"),
    ])?;
    report.grids.push(screen(link, &ways_to, effort)?);
    judge(report);
    Ok(())
}

/// The services of the device, ascending by name.
fn services(origin: &Origin) -> [Option<Gated>; GATED] {
    let at = |name, kind, address: Option<std::net::SocketAddr>| {
        let target = address.map(|address| Target { ip: address.ip(), port: address.port() });
        target.map(|target| Gated { name, kind, target, view_only: name == "way-screen-look" })
    };
    [
        at("way-bridge", Kind::Vpn, origin.bridge),
        at("way-live", Kind::Websocket, Some(origin.live)),
        at("way-live-pipe", Kind::Vpn, Some(origin.live)),
        at("way-live-proxy", Kind::Vpn, origin.proxy),
        at("way-screen", Kind::Vnc, Some(origin.screen)),
        at("way-screen-look", Kind::Vnc, Some(origin.screen)),
        at("way-screen-pipe", Kind::Vpn, Some(origin.screen)),
        at("way-web", Kind::Http, origin.web),
        at("way-web-pipe", Kind::Vpn, origin.web),
        at("way-web-proxy", Kind::Vpn, origin.proxy),
    ]
}

fn web(link: &Link, ways: &[Way], effort: Effort) -> Result<Grid, Mishap> {
    let columns = [REQUESTS, P50, P99, DOWN, COST];
    rounds(
        "gate_http",
        "HTTP: 1 KiB on 16 connections, on one, and one large body",
        &columns,
        ways,
        effort,
        |way, add| {
            let near = &way.near;
            add("requests", talk::requests(link, near, 16, effort.span)?);
            latency(link.within(Side::Client, || talk::request_times(near, effort.pings))?, add);
            way.down(link, add, || talk::body(near))
        },
    )
}

fn live(link: &Link, ways: &[Way], effort: Effort) -> Result<Grid, Mishap> {
    let columns = [P50, P99, DOWN, COST];
    rounds(
        "gate_websocket",
        "WebSocket: 64 bytes there and back, and frames of 16 KiB",
        &columns,
        ways,
        effort,
        |way, add| {
            let near = &way.near;
            latency(link.within(Side::Client, || talk::echo_times(near, effort.pings))?, add);
            way.down(link, add, || talk::frames(near, effort.span))
        },
    )
}

fn screen(link: &Link, ways: &[Way], effort: Effort) -> Result<Grid, Mishap> {
    let columns = [P50, P99, DOWN, COST];
    rounds(
        "gate_vnc",
        "VNC: one pixel, and whole pictures of 640 x 400",
        &columns,
        ways,
        effort,
        |way, add| {
            let (near, bridged) = (&way.near, way.is_bridged);
            latency(link.within(Side::Client, || talk::pixel_times(near, bridged, effort.pings))?, add);
            way.down(link, add, || talk::pictures(near, bridged, effort.span))
        },
    )
}

fn rounds(
    id: &str,
    title: &str,
    columns: &[Column],
    ways: &[Way],
    effort: Effort,
    mut measure: impl FnMut(&Way, &mut dyn FnMut(&str, f64)) -> Result<(), Mishap>,
) -> Result<Grid, Mishap> {
    let mut grid = Grid::new(id, title, Some(PIPE), columns);
    for round in 0..effort.rounds {
        eprintln!("  {id}: round {} of {}", round + 1, effort.rounds);
        for way in ways {
            std::thread::sleep(CALM);
            measure(way, &mut |column, sample| grid.add(way.name, column, sample))
                .map_err(|fault| Mishap::unexpected(way.name, fault, "a measurement"))?;
        }
    }
    Ok(grid)
}

fn latency(samples: Vec<f64>, add: &mut dyn FnMut(&str, f64)) {
    for (column, q) in [("p50", 0.5), ("p99", 0.99)] {
        if let Some(value) = quantile(&samples, q) {
            add(column, value);
        }
    }
}

fn judge(report: &mut Report) {
    let ratio = |id: &str, way, base, column| {
        report.grids.iter().find(|grid| grid.id() == id)?.ratio(way, base, column)
    };
    let verdicts = [
        ("bytes of the HTTP gate / pipe", ratio("gate_http", GATE, PIPE, "down")),
        ("requests of the HTTP gate / nginx behind the pipe", ratio("gate_http", GATE, PROXY, "requests")),
        ("bytes of the WebSocket gate / pipe", ratio("gate_websocket", GATE, PIPE, "down")),
        ("bytes of the VNC gate / pipe", ratio("gate_vnc", GATE, PIPE, "down")),
        ("bytes of the VNC gate that looks / pipe", ratio("gate_vnc", LOOK, PIPE, "down")),
    ];
    for (what, seen) in verdicts {
        report.judge("P15", what, seen, Bound::AtLeast(0.8));
    }
}

const PIPE: &str = "pipe";
const GATE: &str = "gate";
const LOOK: &str = "gate, view only";
const PROXY: &str = "nginx behind the pipe";
const BRIDGE: &str = "websockify behind the pipe";
const REQUESTS: Column = Column { id: "requests", title: "requests/s" };
const P50: Column = Column { id: "p50", title: "p50 us" };
const P99: Column = Column { id: "p99", title: "p99 us" };
const DOWN: Column = Column { id: "down", title: "down Mbit/s" };
const COST: Column = Column { id: "down_cpu", title: "CPU s/GiB" };
/// Time for the way before to come to rest.
const CALM: Duration = Duration::from_millis(60);
