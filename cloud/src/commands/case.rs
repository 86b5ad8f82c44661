//! `case list`, `show`, `open`, `close`, `activate` and `deactivate`: who lets the provider's people in, and for how long.

use std::path::Path;

use jiff::SignedDuration;
use serde_json::{Value, json};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::table::table;
use super::{Answer, CommandError, arrival, open as opened, operator, publisher};
use crate::actor::Actor;
use crate::administration::Done;
use crate::args::{CaseCommand, CaseOpen, CaseSpan};
use crate::case::{self, CaseError, Named, Standing, Window};
use crate::clock;
use crate::fleet::Cut;
use crate::hub;
use crate::model::{Case, CaseSubject, EntityKind};
use crate::publish::Publisher;
use crate::store::Tx;

pub(super) fn run(state: &Path, by: Option<&Name>, command: CaseCommand) -> Result<Answer, CommandError> {
    match command {
        CaseCommand::List => list(state, by),
        CaseCommand::Show { name } => show(state, by, &name),
        CaseCommand::Open(asked) => open(state, by, asked),
        CaseCommand::Close { name } => change(state, by, &name, "close", "is closed", case::close),
        CaseCommand::Deactivate { name } => {
            change(state, by, &name, "deactivate", "lets nobody in any more", case::deactivate)
        }
        CaseCommand::Activate { name, span } => {
            let now = clock::now();
            let until = end(&span, now)?.ok_or(CommandError::NoEnd)?;
            let window = Window { from: span.from, until };
            let said = format!("is active{}", from_until(span.from, Some(until)));
            change(state, by, &name, "activate", &said, |tx, publisher, actor, name, now| {
                case::activate(tx, publisher, actor, (name, window), now)
            })
        }
    }
}

fn list(state: &Path, by: Option<&Name>) -> Result<Answer, CommandError> {
    let (who, now) = (operator(), clock::now());
    let cases = opened(state)?.read(|tx| case::list(tx, actor(by, &who), now))?;
    let json = json!({ "cases": cases.iter().map(|one| described(one, now)).collect::<Vec<_>>() });
    if cases.is_empty() {
        return Ok(Answer { text: "no service case is open\n".to_owned(), json });
    }
    let rows = cases.iter().map(|one| row(one, now)).collect();
    Ok(Answer { text: table(&HEADER, rows), json })
}

fn show(state: &Path, by: Option<&Name>, name: &str) -> Result<Answer, CommandError> {
    let (who, now) = (operator(), clock::now());
    let name = parsed(name)?;
    let (named, _) = opened(state)?.read(|tx| case::find(tx, actor(by, &who), &name, now))?;
    Ok(Answer { text: table(&HEADER, vec![row(&named, now)]), json: described(&named, now) })
}

fn open(state: &Path, by: Option<&Name>, asked: CaseOpen) -> Result<Answer, CommandError> {
    let now = clock::now();
    let subject = match (asked.machine, asked.device) {
        (Some(machine), _) => CaseSubject::Machine(machine),
        (None, Some(device)) => CaseSubject::Device(device),
        (None, None) => return Err(CommandError::NoPlace),
    };
    let until = end(&asked.span, now)?;
    if until.is_none() && asked.span.from.is_some() {
        return Err(CommandError::NoEnd);
    }
    let visibility = asked.visibility.into();
    let case = Case { subject, visibility, from: asked.span.from, until, label: asked.reason };
    let who = operator();
    let store = opened(state)?;
    let (named, done) = store.write(|tx| {
        let publisher = publisher(state, tx)?;
        let opened = case::open(tx, &publisher, actor(by, &who), (asked.name, case), now)?;
        note(tx, by, &who, ("open", &opened.0.name), now)?;
        Ok::<_, CommandError>(opened)
    })?;
    let window = match Standing::of(&named.case, now) {
        Standing::Inactive => {
            format!("; nobody gets in by it before `postern-cloud case activate {} --for 4h`", named.name)
        }
        Standing::Planned | Standing::Active | Standing::Over => {
            format!(" and active{}", from_until(named.case.from, named.case.until))
        }
    };
    let said = format!("{} is open{window}", sentence(&named));
    Ok(told(&store, state, &said, (&named, &done), now))
}

/// Changes a case that is there.
fn change<F>(
    state: &Path,
    by: Option<&Name>,
    name: &str,
    verb: &str,
    said: &str,
    make: F,
) -> Result<Answer, CommandError>
where
    F: Fn(&Tx<'_>, &Publisher, Actor<'_>, &Name, UnixTime) -> Result<(Named, Done), CaseError>,
{
    let (who, now, name) = (operator(), clock::now(), parsed(name)?);
    let store = opened(state)?;
    let (named, done) = store.write(|tx| {
        let publisher = publisher(state, tx)?;
        let made = make(tx, &publisher, actor(by, &who), &name, now)?;
        note(tx, by, &who, (verb, &name), now)?;
        Ok::<_, CommandError>(made)
    })?;
    let said = format!("{} {said}", sentence(&named));
    Ok(told(&store, state, &said, (&named, &done), now))
}

/// That an operator did in somebody's name what `history` shows as theirs.
fn note(
    tx: &Tx<'_>,
    by: Option<&Name>,
    who: &str,
    (verb, name): (&str, &Name),
    now: UnixTime,
) -> Result<(), CommandError> {
    if let Some(user) = by {
        tx.log(now, who, &format!("case {verb} {name} in the name of {user}"))?;
    }
    Ok(())
}

fn told(
    store: &crate::store::Store,
    state: &Path,
    said: &str,
    (named, done): (&Named, &Done),
    now: UnixTime,
) -> Answer {
    hub::notify(state);
    let arrival = arrival::watch(store, state, &done.published);
    let arrived = arrival::sentence(arrival.as_ref(), &done.published);
    let text = match done.revision {
        Some(_) => format!("{said}.\n{arrived}"),
        None => format!("{said}, as it was before; nothing was changed.\n"),
    };
    let json = json!({
        "case": described(named, now), "revision": done.revision, "published": done.published, "arrival": arrival,
    });
    Answer { text, json }
}

const fn actor<'a>(by: Option<&'a Name>, operator: &'a str) -> Actor<'a> {
    match by {
        Some(user) => Actor::User(user),
        None => Actor::Operator(operator),
    }
}

/// What somebody typed: what is no name is the name of nothing.
fn parsed(name: &str) -> Result<Name, CommandError> {
    let unknown =
        |_| CommandError::Unknown { kind: EntityKind::Case, name: Cut(name).to_string(), nearest: None };
    name.parse().map_err(unknown)
}

/// The end of a window, said by itself or by how long it lasts.
fn end(span: &CaseSpan, now: UnixTime) -> Result<Option<UnixTime>, CommandError> {
    let after = |lasts: SignedDuration| {
        let secs = u64::try_from(lasts.as_secs()).map_err(|_| CommandError::NegativeSpan)?;
        Ok(span.from.unwrap_or(now).saturating_add(secs))
    };
    span.until.map(Ok).or(span.for_.map(after)).transpose()
}

fn from_until(from: Option<UnixTime>, until: Option<UnixTime>) -> String {
    let one = |word: &str, time: Option<UnixTime>| {
        time.map_or_else(String::new, |time| format!(" {word} {}", clock::show(time)))
    };
    format!("{}{}", one("from", from), one("until", until))
}

fn sentence(named: &Named) -> String {
    let (kind, about) = case::subject(&named.case);
    format!("the {} case `{}` of {kind} `{about}`", named.case.visibility.word(), named.name)
}

fn row(Named { name, case }: &Named, now: UnixTime) -> Vec<String> {
    let (kind, about) = case::subject(case);
    let time = |time: Option<UnixTime>| time.map_or_else(|| "-".to_owned(), clock::show);
    vec![
        name.to_string(),
        format!("{kind} {about}"),
        case.visibility.word().to_owned(),
        Standing::of(case, now).word().to_owned(),
        time(case.from),
        time(case.until),
        case.label.as_ref().map_or_else(|| "-".to_owned(), |label| label.as_str().to_owned()),
    ]
}

fn described(Named { name, case }: &Named, now: UnixTime) -> Value {
    let (kind, about) = case::subject(case);
    json!({
        "case": name, kind: about, "visibility": case.visibility, "state": Standing::of(case, now).word(),
        "from": case.from, "until": case.until, "reason": case.label,
    })
}

const HEADER: [&str; 7] = ["CASE", "ABOUT", "VISIBILITY", "REMOTE ACCESS", "FROM", "UNTIL", "REASON"];
