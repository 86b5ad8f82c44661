//! `postern admin history`: who changed which entity when, as it was and as it is, as far as the user may know of it.
//!
//! The newest come first. A page of the hub may have nothing for this user, and is not the end by that: it is asked on.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use postern_protocol::limits;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, ChangeAuthor, ChangeEntry, ChangeFate, HistoryMark,
};
use postern_protocol::wire::text::readable;

use super::{Desk, told};
use crate::args::{AdminHistory, HistoryPlace};
use crate::clock;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;

/// Lists changes.
pub(super) async fn run(args: &AdminHistory, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let (changes, more) = told(fetch(args, &profile.identity()?).await)?;
    let more = more.map(|mark| HistoryPlace(mark).to_string());
    screen.answer(&Listing { changes: changes.iter().map(Shown::from).collect(), more: more.as_deref() });
    if changes.is_empty() {
        screen.note("no change matches of which you may know");
    }
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    screen.list(&["REVISION", "WHEN", "WHO", "KIND", "NAME", "WHAT"], &rows);
    if let Some(more) = more {
        screen.note(&format!("there may be older ones; `--after {more}` shows them"));
    }
    Ok(Exit::Done)
}

/// Asks page by page until there are as many as are wanted, or no more.
async fn fetch(
    args: &AdminHistory,
    identity: &Identity,
) -> Result<(Vec<ChangeEntry>, Option<HistoryMark>), HubError> {
    let desk = Desk::open(identity).await?;
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut listed, mut after) = (Vec::new(), args.after.map(|HistoryPlace(mark)| mark));
    let outcome = loop {
        let left = wanted.saturating_sub(listed.len()).min(limits::CHANGES);
        let question = AdminQuestion::History {
            kind: args.kind.clone(),
            name: args.name.clone(),
            after,
            limit: u16::try_from(left).unwrap_or(u16::MAX),
        };
        let answer = match desk.ask(question, None).await {
            Ok(answer) => answer,
            Err(error) => break Err(error),
        };
        let AdminAnswer::History { changes, more } = answer else { break Err(HubError::Unexpected) };
        listed.extend(changes);
        // A hub that does not come forward would be asked for ever.
        let more = more.filter(|more| after.is_none_or(|after| is_behind(*more, after)));
        if more.is_none() || listed.len() >= wanted {
            break Ok((listed, more));
        }
        after = more;
    };
    desk.hub.close().await;
    outcome
}

fn is_behind(place: HistoryMark, other: HistoryMark) -> bool {
    place.revision < other.revision || place.revision == other.revision && place.seen > other.seen
}

fn row(change: &ChangeEntry) -> Vec<String> {
    let who = match &change.by {
        ChangeAuthor::User(user) => user.to_string(),
        ChangeAuthor::Operator => "the operator".to_owned(),
        ChangeAuthor::Hidden => "-".to_owned(),
    };
    vec![
        change.revision.to_string(),
        clock::local(change.at),
        who,
        change.kind.to_string(),
        change.name.to_string(),
        readable(&what(change)),
    ]
}

/// What became of it, in words.
fn what(change: &ChangeEntry) -> String {
    let (before, after) = (keys(change.before.as_ref()), keys(change.after.as_ref()));
    match (change.fate, before, after) {
        (ChangeFate::Added, _, Some(after)) => format!("new: {}", all(&after)),
        (ChangeFate::Removed, Some(before), _) => format!("gone: {}", all(&before)),
        (ChangeFate::Changed, Some(before), Some(after)) => {
            let mut lines = Vec::new();
            compare("", &before, &after, &mut lines);
            lines.join("; ")
        }
        (ChangeFate::Added, _, None) => "new, and more than a list shows".to_owned(),
        (ChangeFate::Removed, None, _) => "gone, and more than a list shows".to_owned(),
        (ChangeFate::Changed, _, _) => "changed, and more than a list shows".to_owned(),
    }
}

/// Every key with its value.
fn all(keys: &Map<String, Json>) -> String {
    keys.iter().map(|(key, value)| format!("{key}={}", word(value))).collect::<Vec<_>>().join(" ")
}

/// Each key that differs, by its path.
fn compare(path: &str, before: &Map<String, Json>, after: &Map<String, Json>, lines: &mut Vec<String>) {
    let missing = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(missing) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(Json::Object(before)), Some(Json::Object(after))) => compare(&path, before, after, lines),
            (was, is) if was == is => {}
            (was, is) => {
                let word = |side: Option<&Json>| side.map_or_else(|| "-".to_owned(), word);
                lines.push(format!("{path}: {} -> {}", word(was), word(is)));
            }
        }
    }
}

fn word(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}

fn keys(body: Option<&String>) -> Option<Map<String, Json>> {
    match serde_json::from_str(body?) {
        Ok(Json::Object(keys)) => Some(keys),
        Ok(_) | Err(_) => None,
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    changes: Vec<Shown<'a>>,
    more: Option<&'a str>,
}

#[derive(Serialize)]
struct Shown<'a> {
    revision: u64,
    at: String,
    by: Option<&'a str>,
    by_operator: bool,
    kind: &'a str,
    name: &'a str,
    fate: &'static str,
    before: Option<Map<String, Json>>,
    after: Option<Map<String, Json>>,
}

impl<'a> From<&'a ChangeEntry> for Shown<'a> {
    fn from(change: &'a ChangeEntry) -> Self {
        let (by, by_operator) = match &change.by {
            ChangeAuthor::User(user) => (Some(user.as_str()), false),
            ChangeAuthor::Operator => (None, true),
            ChangeAuthor::Hidden => (None, false),
        };
        let fate = match change.fate {
            ChangeFate::Added => "added",
            ChangeFate::Changed => "changed",
            ChangeFate::Removed => "removed",
        };
        Self {
            revision: change.revision,
            at: clock::rfc3339(change.at),
            by,
            by_operator,
            kind: change.kind.as_str(),
            name: change.name.as_str(),
            fate,
            before: keys(change.before.as_ref()),
            after: keys(change.after.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_protocol::time::UnixTime;

    use super::*;

    fn change(fate: ChangeFate, before: Option<&str>, after: Option<&str>) -> ChangeEntry {
        ChangeEntry {
            revision: 7,
            at: UnixTime::EPOCH,
            by: ChangeAuthor::Operator,
            kind: "device".parse().unwrap(),
            name: "press-7".parse().unwrap(),
            fate,
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        }
    }

    #[test]
    fn what_differs_is_said_key_by_key_and_nothing_else_is() {
        let before = r#"{"account":"acme","label":"Old","service":{"hmi":{"kind":"vnc","tunnels":4}}}"#;
        let after = r#"{"account":"acme","closed":true,"service":{"hmi":{"kind":"vnc","tunnels":8},"web":{"kind":"http"}}}"#;
        assert_eq!(
            what(&change(ChangeFate::Changed, Some(before), Some(after))),
            "label: Old -> -; service.hmi.tunnels: 4 -> 8; service.web: - -> {\"kind\":\"http\"}; closed: - -> true"
        );
        let small = r#"{"account":"acme","devices":["a","b"]}"#;
        let all = r#"account=acme devices=["a","b"]"#;
        assert_eq!(what(&change(ChangeFate::Added, None, Some(small))), format!("new: {all}"));
        assert_eq!(what(&change(ChangeFate::Removed, Some(small), None)), format!("gone: {all}"));
        assert_eq!(what(&change(ChangeFate::Changed, None, None)), "changed, and more than a list shows");
    }
}
