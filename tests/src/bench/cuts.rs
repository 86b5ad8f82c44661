//! How long a cut takes to be felt: 200 tunnels of each kind, straight and through the relay, carry 100 Mbit/s together when the right goes.
//!
//! 1. Four engineers' programs have fifty tunnels each, every one of which brings half a megabit in a second ([`streams`]).
//! 2. The hub publishes a policy without the grant.
//! 3. What counts is when each stream brought its last byte at the near end, behind every buffer, from the moment of publishing on.
//! 4. The device signs how long it took from the decision until the last tunnel had stopped; that is shown beside it.

use std::path::Path;
use std::time::Duration;

use postern_protocol::policy::{Kind, Target};

use self::streams::{Ending, Streams};
use super::gates::origin;
use super::link::{Link, Side};
use super::machine;
use super::policy::{Content, GATED, Gated};
use super::product::{Device, Site};
use super::relays::peers::Relay;
use super::relays::wall::Wall;
use super::report::{Bound, Column, Grid, Report};
use super::stats::quantile;
use crate::world::Mishap;

mod streams;

/// A way to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Relayed,
}

/// Measures every kind over every path.
///
/// # Errors
/// When the device does not follow or a tunnel lives on.
pub fn measure(
    (link, site, dir, machine): (&Link, &Site, &Path, u16),
    rounds: u32,
    report: &mut Report,
) -> Result<(), Mishap> {
    let title = "Revocation with 200 live tunnels that carry 100 Mbit/s, from publishing at the hub to the engineer's end";
    let mut grid = Grid::new("revocation", title, None, &COLUMNS);
    let (_, screen) = link.within(Side::Device, origin::serve)?;
    let datagrams = machine::serve_datagrams(link, Side::Device)?;
    let web = machine::local(machine);
    let at = |address: std::net::SocketAddr| Target { ip: address.ip(), port: address.port() };
    let gated = |name, kind, target| Some(Gated { name, kind, target, view_only: kind == Kind::Vnc });
    let mut services = [None; GATED];
    for (place, service) in services.iter_mut().zip([
        gated("way-frames", Kind::Websocket, at(web)),
        gated("way-page", Kind::Http, at(web)),
        gated("way-screen", Kind::Vnc, at(screen)),
    ]) {
        *place = service;
    }
    let content = Content { plant: Some(datagrams.ip()), gated: services, ..site.content() };
    let mut relay = None;
    for path in [Way::Direct, Way::Relayed] {
        if path == Way::Relayed {
            if !link.is_namespaced() {
                eprintln!("NOTE: not root, so nothing is relayed: it takes namespaces.");
                continue;
            }
            relay = Some(Relay::start(link, Side::Device, site, dir)?);
        }
        let label = if path == Way::Direct { "cuts" } else { "cuts-relayed" };
        let device = site.device_under(label, dir, content)?;
        if let Some(relay) = &relay {
            site.hub.detour(label, Some(relay.nowhere.local_addr()?))?;
            // Or the relay would introduce both ends to each other, and they would go straight.
            Wall::before(link, label, device.listen())?.close()?;
            let place = relay.place(true);
            site.hub.relay(label, [place.clone(), place], relay.key.clone())?;
        }
        for kind in Streams::ALL {
            let way = if path == Way::Direct { "direct" } else { "relayed" };
            let row = format!("{}, {way}", kind.title());
            for round in 0..rounds {
                eprintln!("  {row}: round {} of {rounds}", round + 1);
                self::round(link, site, &device, (kind, datagrams), content, (&row, &mut grid))
                    .map_err(|fault| Mishap::unexpected(&row, fault, "a measurement"))?;
            }
            report.judge(
                "P8",
                format!("200 tunnels, {row}: published to last byte, p99 ms"),
                grid.median(&row, "byte_p99"),
                Bound::AtMost(100.0),
            );
        }
    }
    report.grids.push(grid);
    Ok(())
}

fn round(
    link: &Link,
    site: &Site,
    device: &Device,
    (kind, datagrams): (Streams, std::net::SocketAddr),
    content: Content,
    (row, grid): (&str, &mut Grid),
) -> Result<(), Mishap> {
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let (client, near) = kind.client(site, device)?;
        for _ in 0..EACH {
            streams.push(link.within(Side::Client, || kind.open(&near, datagrams))?);
        }
        clients.push(client);
    }
    // All of them together carry for a while: what is cut is under way.
    std::thread::sleep(CARRIED);
    let (_, before) = site.hub.stopped(device.name(), 0)?;
    let revoked = Content { is_granted: false, ..content };
    let (begun, acknowledged) = site.hub.publish(device.name(), revoked)?;
    let (mut last_bytes, mut closings) = (Vec::new(), Vec::new());
    for stream in &streams {
        let late = |_| Mishap::unexpected("a revoked tunnel", "still open", "closed within 10 s");
        let Ending { last_byte, closed } = stream.recv_timeout(Duration::from_secs(10)).map_err(late)?;
        last_bytes.push(millis(last_byte.saturating_duration_since(begun)));
        closings.push(millis(closed.saturating_duration_since(begun)));
    }
    grid.add(row, "acknowledged", millis(acknowledged - begun));
    for (samples, column, q) in
        [(&last_bytes, "byte_p50", 0.5), (&last_bytes, "byte_p99", 0.99), (&last_bytes, "byte_max", 1.0)]
            .into_iter()
            .chain(kind.says_its_end().then_some((&closings, "closed_p99", 0.99)))
    {
        if let Some(value) = quantile(samples, q) {
            grid.add(row, column, value);
        }
    }
    let (receipt, _) = site.hub.stopped(device.name(), before + 1)?;
    if let Some(receipt) = receipt {
        grid.add(row, "stopped", f64::from(receipt.stopped_ms));
    }
    drop(clients);
    site.hub.publish(device.name(), content)?;
    Ok(())
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

const CLIENTS: usize = 4;
const EACH: usize = 50;
/// How long all of them carry before the right goes.
const CARRIED: Duration = Duration::from_secs(1);
const COLUMNS: [Column; 6] = [
    Column { id: "acknowledged", title: "acknowledged ms" },
    Column { id: "byte_p50", title: "last byte p50 ms" },
    Column { id: "byte_p99", title: "p99 ms" },
    Column { id: "byte_max", title: "last of all ms" },
    Column { id: "closed_p99", title: "closed p99 ms" },
    Column { id: "stopped", title: "signed: decided to stopped ms" },
];
