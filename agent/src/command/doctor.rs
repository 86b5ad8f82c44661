//! `doctor`: what stands between this device and its hub, and what to ask of whom.
//!
//! 1. Key and enrolment are read as `check` reads them; nothing is locked and nothing is changed, so a running agent goes on.
//! 2. A running agent is asked how its link is.
//! 3. Every way to each hub is tried, as itself and beside the link: the hub tells what it sees of this device, and begins nothing.
//! 4. What a running agent has given up is shown, and what this kernel did not let it give up.

use std::net::SocketAddr;

use serde::Serialize;

use postern_protocol::path::Path;
use postern_protocol::wire::hub::Whose;
use postern_transport::diagnosis::{
    self, Block, Caller, Examination, Finding, FindingReport, Found, Level, Note, Skip, Step, Verdict,
};

use super::{Trouble, View};
use crate::clock::Clock;
use crate::control::{AskError, Request, ask};
use crate::exit::Exit;
use crate::identity::Keys;
use crate::report::{SandboxReport, Shown, StatusReport, sandbox};
use crate::{daemon, store, surroundings};

/// What was found.
#[derive(Debug, Serialize)]
struct DoctorReport {
    /// The hub that is reached best.
    hub: SocketAddr,
    /// The address from which packets to it leave.
    from: Option<std::net::IpAddr>,
    findings: Vec<FindingReport>,
    /// What the running agent has given up.
    sandbox: Option<SandboxReport>,
    verdict: Verdict,
}

impl Shown for DoctorReport {
    fn text(&self) -> String {
        let mut text = String::new();
        for FindingReport { name, at, result, detail, .. } in &self.findings {
            let at = at.map(|at| at.to_string()).unwrap_or_default();
            let result = if *result == "skipped" { "-" } else { result };
            text.push_str(format!("{name:<15}{result:<9}{at:<23}{detail}").trim_end());
            text.push('\n');
        }
        let (result, detail) = match &self.sandbox {
            Some(report) if report.measures.iter().all(|measure| measure.holds) => ("ok", sandbox(report)),
            Some(report) => ("partial", sandbox(report)),
            None => ("-", "a running agent says what it has given up".to_owned()),
        };
        text.push_str(&format!("{:<15}{result:<9}{:<23}{detail}\n", "sandbox", ""));
        text.push('\n');
        for line in self.verdict.what.iter().chain(&self.verdict.ask) {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

pub(super) fn run(view: &View<'_>) -> Result<Exit, Trouble> {
    let keys = Keys::load(&view.config.state_dir)?;
    let boot = store::peek(&view.config.state_dir)?;
    let root = boot.enrollment.root()?;
    let ladder = surroundings::ladder(view.config.proxies()?);
    let caller = Caller {
        key: &keys.present,
        hub_keys: &root.hubs,
        ladder: &ladder,
        whose: Whose::Device,
        wall: Clock::wall,
    };
    let status = ask(&view.config.control.socket, &Request::Status {});
    let status = status.map(|value| serde_json::from_value::<StatusReport>(value).ok());
    let sandbox = status.as_ref().ok().and_then(|status| Some(status.as_ref()?.sandbox.clone()));
    let link = link(status);
    let mut examined: Vec<(Verdict, Examination)> = daemon::runtime()?.block_on(async {
        let mut examined = Vec::new();
        for hub in &boot.enrollment.hubs {
            let examination = Box::pin(diagnosis::examine(&caller, *hub)).await;
            examined.push((Verdict::of_hub(&examination), examination));
        }
        examined
    });
    examined.sort_by_key(|(verdict, _)| verdict.level);
    let all = examined.iter().flat_map(|(_, examination)| &examination.findings);
    let findings: Vec<FindingReport> = std::iter::once(&link).chain(all).map(Finding::report).collect();
    let mut examined = examined.into_iter();
    let Some((verdict, Examination { from, hub, .. })) = examined.next() else {
        return Err(Trouble::NoHub);
    };
    let exit = exit(&verdict);
    view.show(&DoctorReport { hub, from, findings, sandbox, verdict });
    Ok(exit)
}

/// How the link of a running agent is, in its own words.
fn link(status: Result<Option<StatusReport>, AskError>) -> Finding {
    let (at, found) = match status {
        Ok(Some(status)) => match status.hub {
            Some(hub) => (Some(hub), Found::Passed(Note::Link(status.hub_path.unwrap_or(Path::Direct)))),
            None => (None, Found::Blocked(Block::LinkDown(status.link_error.unwrap_or_default()))),
        },
        Ok(None) => (None, Found::Blocked(Block::OtherVersion)),
        Err(AskError::NotRunning { .. }) => (None, Found::Skipped(Skip::NotRunning)),
        Err(error) => (None, Found::Blocked(Block::Other(error.to_string()))),
    };
    Finding::new(Step::Link, at, found)
}

const fn exit(verdict: &Verdict) -> Exit {
    match verdict.level {
        Level::Best => Exit::Ok,
        Level::Degraded => Exit::Degraded,
        Level::Unusable | Level::Unreachable => Exit::Hub,
    }
}
