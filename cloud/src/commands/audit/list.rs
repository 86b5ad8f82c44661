//! `audit list`: the newest rows that match, oldest first, with the names that the cloud knows.
//!
//! | standard output is | a row is |
//! | --- | --- |
//! | a terminal | a line of a table that fits, and its details below |
//! | piped | one line, with its details at the end |
//! | wanted as `--json` | the fields of `postern-agent audit list --json`, with the device, its log and the names of people |

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use postern_protocol::audit::AuditLine;
use postern_protocol::id::UserId;
use postern_protocol::name::Name;

use crate::args::AuditList;
use crate::clock;
use crate::commands::table::table;
use crate::commands::{Answer, CommandError, known_among, open, operator};
use crate::fleet::Cut;
use crate::model::EntityKind;
use crate::nearest::nearest;
use crate::past::PastUser;
use crate::store::{Manner, StoreError, TrailQuery, TrailRow, Tx, VERDICTS};

/// Users who are known, also those who have left.
type People = BTreeMap<UserId, PastUser>;

/// A row for programs.
#[derive(Serialize)]
struct Entry<'a> {
    device: &'a Name,
    log: String,
    verdict: &'static str,
    received: u64,
    user_name: Option<&'a Name>,
    #[serde(flatten)]
    line: AuditLine,
}

pub(in crate::commands) fn run(state: &Path, asked: &AuditList) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (mut rows, people) = store.read(|tx| {
        let rows = tx.trail_rows(&query(tx, asked)?)?;
        let people = people(tx, &rows)?;
        Ok::<_, CommandError>((rows, people))
    })?;
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.drain(..rows.len().saturating_sub(limit));
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    store.write(|tx| {
        tx.note_reading(&operator(), (Manner::List, &conditions(asked)), Some(count), clock::now())
    })?;
    let entries: Vec<Entry<'_>> = rows.iter().map(|row| entry(row, &people)).collect();
    let mut text = match (entries.is_empty(), width()) {
        (true, _) => "no row matches\n".to_owned(),
        (false, None) => plain(&entries, &people),
        (false, Some(width)) => folded(&entries, &people, width),
    };
    if more && width().is_some() {
        text.push_str(&format!("\nThese are the newest {limit}; `--limit` shows more of them.\n"));
    }
    Ok(Answer { text, json: json!({ "rows": entries, "more": more }) })
}

/// What is asked for, if everything that it names is known. One row more than is shown says whether there are more.
fn query(tx: &Tx<'_>, asked: &AuditList) -> Result<TrailQuery, CommandError> {
    let device = asked.device.as_deref().map(|name| {
        // Also one that left the model: what happened there did happen.
        let names = tx.device_names()?;
        known_among(names.iter().collect(), EntityKind::Device, name)
    });
    let verdict = asked.verdict.as_deref();
    Ok(TrailQuery {
        device: device.transpose()?,
        users: asked.user.as_deref().map(|user| users(tx, user)).transpose()?,
        service: asked.service.as_deref().map(|name| service(tx, name)).transpose()?,
        verdict: verdict.and_then(|word| VERDICTS.iter().copied().find(|known| *known == word)),
        from: asked.from,
        until: asked.until,
        limit: asked.limit.saturating_add(1),
        ..TrailQuery::default()
    })
}

fn users(tx: &Tx<'_>, user: &str) -> Result<Vec<UserId>, CommandError> {
    if let Ok(id) = user.parse() {
        return Ok(vec![id]);
    }
    let names = tx.past_user_names()?;
    Ok(tx.users_called(&known_among(names.iter().collect(), EntityKind::User, user)?)?)
}

fn service(tx: &Tx<'_>, name: &str) -> Result<Name, CommandError> {
    let known = tx.trail_services()?;
    match known.iter().find(|known| known.as_str() == name) {
        Some(service) => Ok(service.clone()),
        None => {
            let nearest = nearest(name, known.iter().map(Name::as_str)).map(str::to_owned);
            Err(CommandError::NoRows { name: Cut(name).to_string(), nearest })
        }
    }
}

fn people(tx: &Tx<'_>, rows: &[TrailRow]) -> Result<People, StoreError> {
    let mut people = People::new();
    for id in rows.iter().filter_map(|row| row.user) {
        if !people.contains_key(&id)
            && let Some(user) = tx.past_user(id)?
        {
            people.insert(id, user);
        }
    }
    Ok(people)
}

/// The conditions as they are typed, for the note about the reading.
fn conditions(asked: &AuditList) -> String {
    let AuditList { user, device, service, verdict, from, until, limit } = asked;
    let said = |name: &str, value: Option<String>| value.map(|value| format!("--{name} {value}"));
    let parts = [
        said("user", user.clone()),
        said("device", device.clone()),
        said("service", service.clone()),
        said("verdict", verdict.clone()),
        said("from", from.map(clock::show)),
        said("until", until.map(clock::show)),
        Some(format!("--limit {limit}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn entry<'a>(row: &'a TrailRow, people: &'a People) -> Entry<'a> {
    let line = AuditLine {
        user: row.user,
        service: row.service.as_ref().map(Name::to_string),
        ..AuditLine::from(row.row.clone())
    };
    Entry {
        device: &row.device,
        log: row.log_id.to_string(),
        verdict: row.verdict(),
        received: row.received.as_secs(),
        user_name: row.user.and_then(|id| people.get(&id)).map(|user| &user.name),
        line,
    }
}

/// The columns that every row has.
fn cells(entry: &Entry<'_>, people: &People, time: String) -> Vec<String> {
    let line = &entry.line;
    let user = line.user.map(|id| match people.get(&id) {
        Some(user) if user.is_here() => user.name.to_string(),
        Some(user) => format!("{} (left)", user.name),
        None => id.to_string(),
    });
    vec![
        time,
        entry.device.to_string(),
        line.event.clone(),
        user.unwrap_or_default(),
        line.service.clone().unwrap_or_default(),
        line.reason.clone().unwrap_or_default(),
    ]
}

/// One line for each row.
fn plain(entries: &[Entry<'_>], people: &People) -> String {
    let row = |entry: &Entry<'_>| {
        let mut cells = cells(entry, people, clock::show(entry.line.at()));
        cells.insert(2, entry.line.seq.to_string());
        cells.push(entry.line.details());
        cells
    };
    let header = ["TIME", "DEVICE", "SEQ", "EVENT", "USER", "SERVICE", "REASON", "DETAILS"];
    table(&header, entries.iter().map(row).collect())
}

/// A line for each row, and its details below, in lines that fit.
fn folded(entries: &[Entry<'_>], people: &People, width: usize) -> String {
    let time = |entry: &Entry<'_>| clock::show(entry.line.at()).replace('T', " ").replace('Z', "");
    let rows = entries.iter().map(|entry| cells(entry, people, time(entry))).collect();
    let lines = table(&["TIME (UTC)", "DEVICE", "EVENT", "USER", "SERVICE", "REASON"], rows);
    let mut text = String::new();
    let mut lines = lines.lines();
    if let Some(header) = lines.next() {
        text.push_str(&format!("{header}\n"));
    }
    for (line, entry) in lines.zip(entries) {
        text.push_str(&format!("{line}\n"));
        let details = format!("row {}, {}", entry.line.seq, entry.line.details());
        text.push_str(&fold(details.trim_end_matches(", "), width));
    }
    text
}

/// Words in lines that fit and are indented; a word that is longer than a line is not broken.
fn fold(words: &str, width: usize) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in words.split(' ') {
        let long = line.chars().count().saturating_add(word.chars().count()).saturating_add(1) > width;
        if long && !line.trim().is_empty() {
            text.push_str(&format!("{line}\n"));
            line.clear();
        }
        line.push_str(if line.is_empty() { INDENT } else { " " });
        line.push_str(word);
    }
    text.push_str(&format!("{line}\n"));
    text
}

/// Columns of the terminal that reads; none where it is none.
fn width() -> Option<usize> {
    let columns =
        || console::Term::stdout().size_checked().map_or(USUAL, |(_, columns)| usize::from(columns));
    std::io::stdout().is_terminal().then(|| columns().max(NARROW))
}

const INDENT: &str = "    ";
/// Columns that are used at least.
const NARROW: usize = 40;
/// Columns of a terminal that does not say how many it has.
const USUAL: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_fit_the_terminal_and_no_word_is_broken() {
        let folded = fold("row 12, tun-0123456789abcdef, target 192.168.0.1:5900, count 3", 40);
        assert_eq!(folded, "    row 12, tun-0123456789abcdef, target\n    192.168.0.1:5900, count 3\n");
        assert!(folded.lines().all(|line| line.len() <= 40));
        assert_eq!(fold("0123456789", 5), "    0123456789\n");
    }
}
