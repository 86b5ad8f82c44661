//! `postern discover DEVICE`: which machines are there, as far as the user's VPN reaches.
//!
//! 1. The VPN is opened, as `postern forward` does; its end is the end of the question.
//! 2. The device tells what it knows, and with `--scan` what it finds; how far it is, a person sees.
//! 3. The machines are listed by address, and what was left out is said ([`report`]).
//!
//! Ctrl-C ends the tunnel, and the device asks nobody any more.

mod report;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use postern_protocol::wire::discovery::{DiscoveryNews, Sighting, Totals};

use self::report::Report;
use super::gateway::Gateway;
use super::session::Session;
use crate::args::DiscoverArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Asks and lists.
pub(crate) async fn run(args: &DiscoverArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let session = Session::start(&args.vpn(), &[], profile, screen).await?;
    let (gateway, scan) = (Arc::clone(&session.gateway), args.scan);
    let (device, service) = (session.device.clone(), session.service.clone());
    let screen = *screen;
    let work = async move {
        let (machines, totals) = discover(&gateway, scan, &screen).await?;
        Report { device: &device, service: &service, is_scan: scan, machines: &machines, totals: &totals }
            .show(&screen);
        Ok(Exit::Done)
    };
    // On the heap: it lies beside what dials again.
    session.run(Box::pin(work)).await
}

async fn discover(
    gateway: &Gateway,
    scan: bool,
    screen: &Screen,
) -> Result<(BTreeMap<IpAddr, Sighting>, Totals), Problem> {
    let device = gateway.teller().device();
    let vpn = gateway.tunnel().await.map_err(|none| none.problem(device))?;
    let mut news = vpn.discover(scan).await?;
    let mut gauge = Gauge::new(scan && screen.has_person());
    let mut machines = BTreeMap::new();
    loop {
        match news.next().await? {
            DiscoveryNews::Seen(sighting) => {
                machines.insert(sighting.ip, sighting);
                gauge.found(machines.len());
            }
            DiscoveryNews::Progress { asked, of } => gauge.advance(asked, of),
            DiscoveryNews::End(totals) => return Ok((machines, totals)),
        }
    }
}

/// How far a scan is, at the terminal of a person; nothing is left of it when it is dropped.
#[derive(Debug)]
struct Gauge {
    is_shown: bool,
    /// From the device's first word about it on.
    bar: Option<ProgressBar>,
    found: usize,
}

impl Gauge {
    const fn new(is_shown: bool) -> Self {
        Self { is_shown, bar: None, found: 0 }
    }

    fn found(&mut self, count: usize) {
        self.found = count;
        if let Some(bar) = &self.bar {
            bar.set_message(counted(count));
        }
    }

    fn advance(&mut self, asked: u16, of: u16) {
        if !self.is_shown {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(of.into()).with_message(counted(self.found));
            match ProgressStyle::with_template(" {bar:32} {pos} of {len} asked, {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_length(of.into());
        bar.set_position(asked.into());
        bar.tick();
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 machine".to_owned() } else { format!("{count} machines") }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
