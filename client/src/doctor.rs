//! `postern doctor [DEVICE]`: what stands between this computer and the hub or a device, and what to ask of whom.
//!
//! 1. Every way to each hub is tried, and the hub is asked what it sees of this computer.
//! 2. With a device: its own addresses, the networks of this computer, and a meeting at the relay over UDP and over TLS are tried side by
//!    side. Whoever answers proves the device's key and says whether it lets this user in.
//! 3. Findings are a table, the verdict is a sentence, and what to ask for is another.

mod device;

use serde::Serialize;

use postern_protocol::trust::SecretKey;
use postern_protocol::wire::hub::Whose;
use postern_transport::diagnosis::{self, Caller, Examination, Finding, FindingReport, Level, Verdict};

use crate::args::DeviceRef;
use crate::clock;
use crate::directory;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::{Identity, Profile, ProfileError};
use crate::screen::Screen;

/// Looks, and says what was found.
pub(crate) async fn run(
    device: Option<&DeviceRef>,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let signed_in = profile.identity();
    let Some(membership) = profile.membership()? else { return Err(ProfileError::SignedOut.into()) };
    // Who is not signed in can still find out whether the hub is reached.
    let (key, whose) = match &signed_in {
        Ok(identity) => (identity.key.clone(), Whose::User),
        Err(ProfileError::SignedOut) => (stranger()?, Whose::Nobody),
        Err(_) => return Err(signed_in.map(drop).err().map_or_else(Problem::no_randomness, Problem::from)),
    };
    let hub_keys = [membership.hub_key];
    let caller = Caller { key: &key, hub_keys: &hub_keys, ladder: profile.ladder(), whose, wall: clock::now };
    if screen.has_person() {
        screen.note("trying each way by itself, which takes up to half a minute");
    }
    let mut examined: Vec<(Verdict, Examination)> = Vec::new();
    for hub in &membership.hubs {
        let examination = Box::pin(diagnosis::examine(&caller, *hub)).await;
        examined.push((Verdict::of_hub(&examination), examination));
    }
    examined.sort_by_key(|(verdict, _)| verdict.level);
    let Some((verdict, examination)) = examined.first() else { return Err(ProfileError::SignedOut.into()) };
    let mut findings: Vec<Finding> =
        examined.iter().flat_map(|(_, examination)| examination.findings.clone()).collect();
    let Some(device) = device else {
        let exit = hub_exit(verdict, &signed_in);
        show(&findings, verdict, screen);
        return Ok(exit);
    };
    let identity = signed_in?;
    let known = directory::look_up(device, &identity, profile).await?;
    let is_hub_of_use = verdict.level <= Level::Degraded;
    let of_device = device::examine(&known, &identity, is_hub_of_use).await;
    let verdict = Verdict::of_device(known.entry.name.as_str(), &of_device, examination);
    findings.extend(of_device);
    show(&findings, &verdict, screen);
    Ok(device_exit(&verdict))
}

fn show(findings: &[Finding], verdict: &Verdict, screen: &Screen) {
    let findings: Vec<FindingReport> = findings.iter().map(Finding::report).collect();
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    screen.list(&["CHECK", "RESULT", "WHERE", "DETAIL"], &rows);
    screen.say("");
    for line in verdict.what.iter().chain(&verdict.ask) {
        screen.say(line);
    }
    screen.answer(&Answer { findings, verdict });
}

fn row(finding: &FindingReport) -> Vec<String> {
    let at = finding.at.map(|at| at.to_string()).unwrap_or_default();
    let result = if finding.result == "skipped" { "-" } else { finding.result };
    vec![finding.name.to_owned(), result.to_owned(), at, finding.detail.clone()]
}

fn hub_exit(verdict: &Verdict, signed_in: &Result<Identity, ProfileError>) -> Exit {
    match (verdict.level, verdict.word) {
        (Level::Best | Level::Degraded, _) if signed_in.is_err() => Exit::SignedOut,
        (Level::Best, _) => Exit::Done,
        (Level::Degraded, _) => Exit::Degraded,
        (Level::Unusable, "other_key") => Exit::WrongKey,
        (Level::Unusable, "unknown_key") => Exit::SignedOut,
        (Level::Unusable | Level::Unreachable, _) => Exit::HubUnreachable,
    }
}

fn device_exit(verdict: &Verdict) -> Exit {
    match (verdict.level, verdict.word) {
        (Level::Best, _) => Exit::Done,
        (Level::Degraded, _) => Exit::Degraded,
        (Level::Unusable, "other_key") => Exit::WrongKey,
        (Level::Unusable, "bad_pass") => Exit::SignedOut,
        (Level::Unusable, _) => Exit::Denied,
        (Level::Unreachable, _) => Exit::DeviceUnreachable,
    }
}

/// A key of nobody.
fn stranger() -> Result<SecretKey, Problem> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|_| Problem::no_randomness())?;
    SecretKey::from_seed(*seed).map_err(|fault| ProfileError::from(fault).into())
}

#[derive(Serialize)]
struct Answer<'a> {
    findings: Vec<FindingReport>,
    verdict: &'a Verdict,
}
