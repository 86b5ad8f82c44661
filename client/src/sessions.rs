//! `postern sessions`: who was where, as devices have told the hub: the user's own, or those of others whom the user may audit.

use serde::Serialize;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::registry::CloseCode;
use postern_protocol::wire::sessions::{
    SessionEntry, SessionOutcome, SessionPage, SessionQuery, SessionUser, SessionsOf,
};

use crate::args::SessionsArgs;
use crate::clock;
use crate::exit::Exit;
use crate::hub::{DIAL_WITHIN, HubError, HubLink};
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;

/// Lists sessions, the newest ones, oldest first.
pub(crate) async fn run(args: &SessionsArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let (mut sessions, more) = fetch(args, &identity).await?;
    sessions.reverse();
    screen.answer(&Sessions { sessions: sessions.iter().map(answer).collect(), more });
    if sessions.is_empty() {
        screen.note("no session matches, as far as devices have told the hub");
    }
    let of_others = args.is_about_others();
    let rows: Vec<Vec<String>> = sessions.iter().map(|entry| row(entry, of_others)).collect();
    if of_others {
        screen.list(&["BEGAN", "DEVICE", "SERVICE", "USER", "WHAT CAME OF IT"], &rows);
    } else {
        screen.list(&["BEGAN", "DEVICE", "SERVICE", "WHAT CAME OF IT"], &rows);
    }
    if more {
        screen.note("there are older ones; `--limit` or `--until` shows them");
    }
    Ok(Exit::Done)
}

/// Asks page by page until there are as many as are wanted, or no more; newest first.
async fn fetch(args: &SessionsArgs, identity: &Identity) -> Result<(Vec<SessionEntry>, bool), HubError> {
    let membership = &identity.membership;
    let hub =
        HubLink::dial(&identity.key, membership.hub_key, &membership.hubs, DIAL_WITHIN, &identity.ladder)
            .await?;
    let wanted = usize::from(args.limit);
    let (mut sessions, mut after) = (Vec::new(), None);
    let outcome = loop {
        let left = wanted.saturating_sub(sessions.len()).min(limits::SESSIONS);
        let query = SessionQuery {
            whose: whose(args, identity),
            device: args.device.clone(),
            from: args.from,
            until: args.until,
            after,
            limit: u16::try_from(left).unwrap_or(u16::MAX),
        };
        match hub.ask(&HubRequest::ListSessions(query)).await {
            Ok(HubAnswer::Sessions(SessionPage { sessions: page, more })) => {
                sessions.extend(page);
                // A hub that names the same place again would be asked for ever.
                let goes_on = more.filter(|more| Some(*more) != after);
                if sessions.len() >= wanted || goes_on.is_none() {
                    break Ok((sessions, more.is_some()));
                }
                after = goes_on;
            }
            Ok(_) => break Err(HubError::Unexpected),
            Err(error) => break Err(error),
        }
    };
    hub.close().await;
    outcome
}

fn whose(args: &SessionsArgs, identity: &Identity) -> SessionsOf {
    let pass = identity.pass.clone();
    match &args.user {
        Some(user) => SessionsOf::User { pass, user: user.clone() },
        None if args.all => SessionsOf::Everybody { pass },
        None => SessionsOf::Mine,
    }
}

fn row(entry: &SessionEntry, of_others: bool) -> Vec<String> {
    let service = entry.service.as_ref().map_or_else(|| "-".to_owned(), Name::to_string);
    let mut row = vec![clock::local(entry.at), entry.device.to_string(), service];
    if of_others {
        row.push(entry.user.as_ref().map_or_else(|| "unknown".to_owned(), person));
    }
    row.push(outcome(&entry.outcome));
    row
}

fn person(user: &SessionUser) -> String {
    match &user.name {
        Some(name) => name.to_string(),
        None => format!("{} (of another company)", user.id),
    }
}

/// What came of it, in words.
fn outcome(outcome: &SessionOutcome) -> String {
    match outcome {
        SessionOutcome::Denied { reason, count: 0 | 1 } => format!("refused: {}", reason.sentence()),
        SessionOutcome::Denied { reason, count } => format!("refused {count} times: {}", reason.sentence()),
        SessionOutcome::Failed { failure, .. } => format!("not opened: {}", failure.sentence()),
        SessionOutcome::Open { recorded, .. } => {
            format!("open, or its end was not told yet{}", remark(*recorded))
        }
        SessionOutcome::Ended { recorded, code, seconds, to_machine, to_client, .. } => {
            let why = CloseCode::from_number(*code).sentence();
            let (sent, got) = (size(*to_machine), size(*to_client));
            let lasted = clock::span(*seconds);
            format!("{lasted}, {sent} to the machine, {got} back, {why}{}", remark(*recorded))
        }
    }
}

const fn remark(recorded: bool) -> &'static str {
    if recorded { ", recorded" } else { "" }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(|| format!("{bytes} B"), |(unit, name)| format!("{} {name}", bytes / unit))
}

#[derive(Serialize)]
struct Sessions<'a> {
    sessions: Vec<Answer<'a>>,
    more: bool,
}

/// One session for programs; what it does not have is left out.
#[derive(Default, Serialize)]
struct Answer<'a> {
    began: String,
    device: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_machine: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_client: Option<u64>,
}

fn answer(entry: &SessionEntry) -> Answer<'_> {
    let SessionEntry { at, device, service, user, outcome } = entry;
    let base = Answer {
        began: clock::rfc3339(*at),
        device: device.as_str(),
        service: service.as_ref().map(Name::as_str),
        user: user.as_ref().and_then(|user| user.name.as_ref()).map(Name::as_str),
        user_id: user.as_ref().map(|user| user.id.to_string()),
        ..Answer::default()
    };
    match *outcome {
        SessionOutcome::Denied { reason, count } => {
            Answer { outcome: "denied", reason: Some(reason.word()), count: Some(count), ..base }
        }
        SessionOutcome::Failed { tunnel, failure } => Answer {
            outcome: "failed",
            tunnel: Some(tunnel.to_string()),
            reason: Some(failure.word()),
            ..base
        },
        SessionOutcome::Open { tunnel, kind, recorded } => Answer {
            outcome: "open",
            tunnel: Some(tunnel.to_string()),
            kind: Some(kind.word()),
            recorded: Some(recorded),
            ..base
        },
        SessionOutcome::Ended { tunnel, kind, recorded, code, seconds, to_machine, to_client } => Answer {
            outcome: "ended",
            tunnel: Some(tunnel.to_string()),
            kind: Some(kind.word()),
            recorded: Some(recorded),
            reason: Some(CloseCode::from_number(code).word()),
            seconds: Some(seconds),
            to_machine: Some(to_machine),
            to_client: Some(to_client),
            ..base
        },
    }
}

#[cfg(test)]
mod tests {
    use postern_protocol::id::{TunnelId, UserId};
    use postern_protocol::policy::{Kind, Reason};
    use postern_protocol::wire::registry::Failure;

    use super::*;

    const TUNNEL: TunnelId = TunnelId::new([7; 8]);

    #[test]
    fn what_came_of_a_session_reads_as_a_sentence() {
        let ended = SessionOutcome::Ended {
            tunnel: TUNNEL,
            kind: Kind::Vnc,
            recorded: true,
            code: 0,
            seconds: 300,
            to_machine: 900,
            to_client: 3 << 20,
        };
        assert_eq!(outcome(&ended), "5 min, 900 B to the machine, 3 MiB back, finished, recorded");
        let denied = |count| outcome(&SessionOutcome::Denied { reason: Reason::NoGrant, count });
        assert_eq!(denied(1), "refused: nothing grants you this service on this device");
        assert_eq!(denied(4), "refused 4 times: nothing grants you this service on this device");
        let failed = SessionOutcome::Failed { tunnel: TUNNEL, failure: Failure::Busy };
        assert_eq!(outcome(&failed), format!("not opened: {}", Failure::Busy.sentence()));
        let open = SessionOutcome::Open { tunnel: TUNNEL, kind: Kind::Http, recorded: false };
        assert_eq!(outcome(&open), "open, or its end was not told yet");
    }

    #[test]
    fn people_of_another_company_are_an_id() {
        let mut user = SessionUser { id: UserId::new([1; 8]), name: Some("otto".parse().unwrap()) };
        assert_eq!(person(&user), "otto");
        user.name = None;
        assert_eq!(person(&user), "usr-0101010101010101 (of another company)");
    }
}
