//! `postern approvals`, `approve`, `reject` and `revoke`: who waits to be let in, and the word of those who may decide.
//!
//! 1. The hub knows the user by the key; who decides presents the pass of the sign-in as well.
//! 2. Where the hub demands a second factor of who decides, a person at a terminal is asked for the one-time code.
//! 3. What `postern connect` does while it waits is in [`wait`].
//!
//! Deliberately absent: the decision of the device. What is approved here it judges by its signed policy.

pub(crate) mod wait;

use serde::Serialize;

use postern_protocol::id::ApprovalId;
use postern_protocol::wire::approval::{ApprovalEntry, ApprovalStanding, ApprovalVerdict};
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::text::Text;

use crate::args::{ApproveArgs, EndArgs};
use crate::clock;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::interrupt::unless_interrupted;
use crate::login;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;
use crate::step_up;

/// Lists own requests, and those that the user may decide.
pub(crate) async fn list(profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let entries = ask(&identity, &HubRequest::ListApprovals).await?;
    screen.answer(&Listing { approvals: entries.iter().map(Shown::from).collect() });
    if entries.is_empty() {
        screen.note("you wait for no approval, and nobody waits for yours");
    }
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    screen.list(&["APPROVAL", "STATE", "WHO", "WHERE", "MODE", "FOR", "WHY"], &rows);
    Ok(Exit::Done)
}

/// Approves a request.
pub(crate) async fn approve(args: &ApproveArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let for_s = args.for_.map(|span| span.0);
    let verdict = ApprovalVerdict::Approve { view_only: args.view_only, for_s };
    let entry = match (args.id, args.code) {
        (Some(id), _) => decide(id, verdict, profile, screen).await?,
        (None, Some(code)) => by_code(code, profile, screen).await?,
        // The command line demands one of them.
        (None, None) => return Err(HubError::Unexpected.into()),
    };
    let until = match &entry.standing {
        ApprovalStanding::Approved { view_only, until } => {
            let mode = if *view_only { " to look only" } else { "" };
            format!("{mode} until {}", clock::local(*until))
        }
        ApprovalStanding::Pending { .. }
        | ApprovalStanding::Rejected { .. }
        | ApprovalStanding::Revoked { .. }
        | ApprovalStanding::Expired => String::new(),
    };
    screen.say(&format!("{} may use {}/{}{until}", entry.who, entry.device, entry.service));
    Ok(Exit::Done)
}

/// Says no to a request.
pub(crate) async fn reject(args: &EndArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let entry = decide(args.id, ApprovalVerdict::Reject { why: args.why() }, profile, screen).await?;
    screen.say(&format!("the request of {} for {}/{} is rejected", entry.who, entry.device, entry.service));
    Ok(Exit::Done)
}

/// Takes a request or an approval back.
pub(crate) async fn revoke(args: &EndArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let entry = decide(args.id, ApprovalVerdict::Revoke { why: args.why() }, profile, screen).await?;
    screen.say(&format!(
        "{} waits for {}/{} no more, and what was approved is taken back",
        entry.who, entry.device, entry.service
    ));
    Ok(Exit::Done)
}

impl EndArgs {
    fn why(&self) -> Text {
        Text::clean(self.reason.as_deref().unwrap_or_default())
    }
}

async fn by_code(code: ApprovalCode, profile: &Profile, screen: &Screen) -> Result<ApprovalEntry, Problem> {
    unless_interrupted(async {
        let entries = ask(&profile.identity()?, &HubRequest::ApproveByCode { code }).await?;
        let entry = entries.into_iter().next().ok_or(HubError::Unexpected)?;
        screen.answer(&Shown::from(&entry));
        Ok(entry)
    })
    .await
}

async fn decide(
    id: ApprovalId,
    verdict: ApprovalVerdict,
    profile: &Profile,
    screen: &Screen,
) -> Result<ApprovalEntry, Problem> {
    unless_interrupted(async {
        let entries = step_up::deciding(profile, screen, async |identity| {
            let (pass, verdict) = (identity.pass.clone(), verdict.clone());
            ask(identity, &HubRequest::Decide { id, pass, verdict }).await
        });
        let entry = entries.await?.into_iter().next().ok_or(HubError::Unexpected)?;
        screen.answer(&Shown::from(&entry));
        Ok(entry)
    })
    .await
}

/// One question about approvals.
async fn ask(identity: &Identity, request: &HubRequest) -> Result<Vec<ApprovalEntry>, HubError> {
    let membership = &identity.membership;
    let answer =
        login::ask(&identity.key, membership.hub_key, &membership.hubs, request, &identity.ladder).await?;
    let HubAnswer::Approvals(entries) = answer else { return Err(HubError::Unexpected) };
    Ok(entries)
}

fn row(entry: &ApprovalEntry) -> Vec<String> {
    let state = match &entry.standing {
        ApprovalStanding::Pending { .. } if entry.may_decide => "waits for you".to_owned(),
        ApprovalStanding::Pending { .. } => format!("waits for {}", entry.company),
        ApprovalStanding::Approved { until, .. } => format!("approved until {}", clock::local(*until)),
        ApprovalStanding::Rejected { why } => said("rejected", why),
        ApprovalStanding::Revoked { why } => said("revoked", why),
        ApprovalStanding::Expired => "expired".to_owned(),
    };
    vec![
        entry.id.to_string(),
        state,
        entry.who.to_string(),
        format!("{}/{}", entry.device, entry.service),
        mode(entry).to_owned(),
        span(entry.for_s),
        entry.why.to_string(),
    ]
}

fn said(word: &str, why: &Text) -> String {
    if why.as_str().is_empty() { word.to_owned() } else { format!("{word}: {why}") }
}

const fn mode(entry: &ApprovalEntry) -> &'static str {
    let view_only = match entry.standing {
        ApprovalStanding::Approved { view_only, .. } => view_only,
        ApprovalStanding::Pending { .. }
        | ApprovalStanding::Rejected { .. }
        | ApprovalStanding::Revoked { .. }
        | ApprovalStanding::Expired => entry.view_only,
    };
    if view_only { "view only" } else { "full" }
}

/// A span of time in the largest unit in which it is whole.
fn span(secs: u32) -> String {
    match secs {
        secs if secs > 0 && secs.is_multiple_of(3600) => format!("{} h", secs / 3600),
        secs if secs > 0 && secs.is_multiple_of(60) => format!("{} min", secs / 60),
        secs => format!("{secs} s"),
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    approvals: Vec<Shown<'a>>,
}

/// A request for programs.
#[derive(Serialize)]
struct Shown<'a> {
    id: ApprovalId,
    own: bool,
    may_decide: bool,
    who: &'a str,
    device: &'a str,
    account: &'a str,
    service: &'a str,
    company: &'a str,
    view_only: bool,
    for_s: u32,
    why: &'a str,
    asked: String,
    state: &'static str,
    until: Option<String>,
    answer: Option<&'a str>,
}

impl<'a> From<&'a ApprovalEntry> for Shown<'a> {
    fn from(entry: &'a ApprovalEntry) -> Self {
        let (state, until, answer) = match &entry.standing {
            ApprovalStanding::Pending { lapses } => ("pending", Some(*lapses), None),
            ApprovalStanding::Approved { until, .. } => ("approved", Some(*until), None),
            ApprovalStanding::Rejected { why } => ("rejected", None, Some(why.as_str())),
            ApprovalStanding::Revoked { why } => ("revoked", None, Some(why.as_str())),
            ApprovalStanding::Expired => ("expired", None, None),
        };
        Self {
            id: entry.id,
            own: entry.own,
            may_decide: entry.may_decide,
            who: entry.who.as_str(),
            device: entry.device.as_str(),
            account: entry.account.as_str(),
            service: entry.service.as_str(),
            company: entry.company.as_str(),
            view_only: mode(entry) == "view only",
            for_s: entry.for_s,
            why: entry.why.as_str(),
            asked: clock::rfc3339(entry.asked),
            state,
            until: until.map(clock::rfc3339),
            answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_whole_units() {
        assert_eq!([3600, 7200, 1800, 90, 0].map(span), ["1 h", "2 h", "30 min", "90 s", "0 s"]);
    }
}
