//! `postern status`: who is signed in, until when, and whether the hub answers.

use serde::Serialize;

use postern_protocol::time::UnixTime;

use crate::clock;
use crate::directory;
use crate::exit::Exit;
use crate::hub::{GLANCE_WITHIN, HubError};
use crate::login::PassFacts;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Shows it. A pass that is over counts as signed out.
pub(crate) async fn run(profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let now = clock::now();
    let facts = PassFacts::read(&identity.pass);
    let hub = match directory::fetch(&identity, profile, GLANCE_WITHIN).await {
        Ok(_) => HubState::Reachable,
        Err(HubError::Refused(_)) => HubState::UnknownKey,
        Err(HubError::Dial(_) | HubError::Ended(_)) => HubState::Unreachable,
        Err(HubError::Failed(_) | HubError::Declined(_) | HubError::Unexpected) => HubState::Failing,
    };
    let valid = facts.is_some_and(|facts| facts.expires > now) && hub != HubState::UnknownKey;
    let membership = &identity.membership;
    screen.answer(&StatusAnswer {
        signed_in: valid,
        account: membership.account.as_str(),
        user: membership.user.as_str(),
        fleet: membership.fleet.map(|fleet| fleet.to_string()),
        key: identity.key.public().fingerprint().to_string(),
        until: facts.map(|facts| clock::rfc3339(facts.expires)),
        second_factor: facts.and_then(|facts| facts.second_factor).map(clock::rfc3339),
        hub,
    });
    let rows = [
        ("user", format!("{}/{}", membership.account, membership.user)),
        ("signed in", facts.map_or_else(|| "no: the pass is damaged".to_owned(), |facts| until(facts, now))),
        ("second factor", second_factor(facts, now)),
        ("key", identity.key.public().fingerprint().to_string()),
        ("hub", hub.describe().to_owned()),
    ];
    for (what, value) in rows {
        screen.say(&format!("{what:<14}{value}"));
    }
    if !valid {
        screen.note("sign in again with `postern login`");
    }
    Ok(if valid { Exit::Done } else { Exit::SignedOut })
}

fn until(facts: PassFacts, now: UnixTime) -> String {
    let (time, distance) = (clock::local(facts.expires), clock::distance(facts.expires, now));
    if facts.expires > now {
        format!("until {time} ({distance})")
    } else {
        format!("ended {time} ({distance})")
    }
}

fn second_factor(facts: Option<PassFacts>, now: UnixTime) -> String {
    match facts.and_then(|facts| facts.second_factor) {
        Some(at) => format!("used {}", clock::distance(at, now)),
        None => "not used".to_owned(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum HubState {
    Reachable,
    Unreachable,
    UnknownKey,
    Failing,
}

impl HubState {
    const fn describe(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Unreachable => "not reachable; known devices still are",
            Self::UnknownKey => "does not know this computer's key",
            Self::Failing => "reachable, but it does not answer properly",
        }
    }
}

#[derive(Serialize)]
struct StatusAnswer<'a> {
    signed_in: bool,
    account: &'a str,
    user: &'a str,
    fleet: Option<String>,
    key: String,
    until: Option<String>,
    second_factor: Option<String>,
    hub: HubState,
}
