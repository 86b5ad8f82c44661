//! `check`, `diff` and `apply`: from a fleet file to signed snapshots, with a plan before anything changes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::json;

use super::{Answer, CommandError, arrival, open, operator, publisher};
use crate::args::Fleet;
use crate::clock;
use crate::compile::{Warning, warnings};
use crate::diff::{Access, Diff, Entity};
use crate::fleet;
use crate::hub;
use crate::model::Model;
use crate::publish::{Affected, Publication};

/// How `apply` behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) json: bool,
}

pub(super) fn check(file: &Fleet) -> Result<Answer, CommandError> {
    let model = read(file)?;
    let warnings = warnings(&model);
    let mut text = String::new();
    write_warnings(&mut text, &warnings);
    let (users, devices) = (model.users.len(), model.devices.len());
    let _infallible = writeln!(text, "The fleet file is sound: {users} users, {devices} devices.");
    Ok(Answer { text, json: json!({ "users": users, "devices": devices, "warnings": warnings }) })
}

pub(super) fn diff(state: &Path, file: &Fleet) -> Result<Answer, CommandError> {
    let new = read(file)?;
    let old = open(state)?.read(|tx| tx.model())?;
    let (diff, warnings) = (Diff::between(&old, &new), warnings(&new));
    Ok(Answer { text: plan(&diff, &warnings), json: json!({ "diff": diff, "warnings": warnings }) })
}

pub(super) fn run(state: &Path, file: &Fleet, mode: Mode) -> Result<Answer, CommandError> {
    let new = read(file)?;
    let store = open(state)?;
    let (old, revision) = store.read(|tx| Ok::<_, CommandError>((tx.model()?, tx.revision()?)))?;
    let (diff, warnings) = (Diff::between(&old, &new), warnings(&new));
    let mut text = plan(&diff, &warnings);
    if mode.dry_run || diff.is_empty() {
        return Ok(Answer { text, json: json!({ "applied": false, "diff": diff, "warnings": warnings }) });
    }
    if !diff.gained.is_empty() && !mode.yes {
        if mode.json || !std::io::stdin().is_terminal() {
            let _gone = std::io::stderr().lock().write_all(text.as_bytes());
            return Err(CommandError::Unconfirmed);
        }
        confirm(&std::mem::take(&mut text))?;
    }
    let publications = store.write(|tx| {
        // The plan that was confirmed must be the one that is carried out.
        if tx.revision()? != revision {
            return Err(CommandError::Overtaken);
        }
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        tx.save_model(&new, now, &operator(), "apply")?;
        Ok(publisher.publish(tx, Affected::All, now)?)
    })?;
    hub::notify(state);
    write_publications(&mut text, &publications);
    let arrival = arrival::watch(&store, state, &publications);
    text.push_str(&arrival::sentence(arrival.as_ref(), &publications));
    let json = json!({
        "applied": true, "diff": diff, "warnings": warnings, "published": publications, "arrival": arrival,
    });
    Ok(Answer { text, json })
}

fn read(file: &Fleet) -> Result<Model, CommandError> {
    fleet::read_file(&file.file, &file.overrides)
        .map_err(|complaints| CommandError::Fleet { file: file.file.clone(), complaints })
}

fn confirm(plan: &str) -> Result<(), CommandError> {
    let io = |error| CommandError::Io { what: "the terminal", error };
    let mut out = std::io::stdout().lock();
    out.write_all(plan.as_bytes()).map_err(io)?;
    out.write_all(b"Somebody gains access. Publish this? [y/N] ").and_then(|()| out.flush()).map_err(io)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(io)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(CommandError::Unconfirmed) }
}

fn plan(diff: &Diff, warnings: &BTreeSet<Warning>) -> String {
    let mut text = String::new();
    if diff.is_empty() {
        text.push_str("The model is the same; nothing changes.\n");
    } else {
        let Diff { added, changed, removed, .. } = diff;
        let counts = format!("{} added, {} changed, {} removed", added.len(), changed.len(), removed.len());
        let _infallible = writeln!(text, "The model changes: {counts}.");
        write_entities(&mut text, '+', added);
        write_entities(&mut text, '~', changed);
        write_entities(&mut text, '-', removed);
        write_accesses(&mut text, "gains", &diff.gained);
        write_accesses(&mut text, "loses", &diff.lost);
        if diff.gained.is_empty() && diff.lost.is_empty() {
            text.push_str("Nobody gains or loses access.\n");
        }
    }
    write_warnings(&mut text, warnings);
    text
}

// Writing to a string cannot fail; the results below are named to say so.

fn write_entities(text: &mut String, sign: char, entities: &[Entity]) {
    for entity in entities.iter().take(SHOWN) {
        let _infallible = writeln!(text, "  {sign} {} {}", entity.kind, entity.name);
    }
    write_rest(text, entities.len());
}

fn write_accesses(text: &mut String, verb: &str, accesses: &[Access]) {
    let by_user = Diff::by_user(accesses);
    for ((user, device), services) in by_user.iter().take(SHOWN) {
        let services: Vec<&str> = services.iter().map(|service| service.as_str()).collect();
        let _infallible = writeln!(text, "  {user} {verb} {} on {device}", services.join(", "));
    }
    write_rest(text, by_user.len());
}

fn write_rest(text: &mut String, count: usize) {
    if let Some(rest) = count.checked_sub(SHOWN).filter(|rest| *rest > 0) {
        let _infallible = writeln!(text, "  and {rest} more (all with --json)");
    }
}

fn write_warnings(text: &mut String, warnings: &BTreeSet<Warning>) {
    for warning in warnings {
        let _infallible = writeln!(text, "Warning: {warning}.");
    }
}

fn write_publications(text: &mut String, publications: &[Publication]) {
    if publications.is_empty() {
        text.push_str("Applied; no enrolled device needs a new policy.\n");
        return;
    }
    let _infallible = writeln!(text, "Applied; snapshots signed: {}", publications.len());
    for publication in publications.iter().take(SHOWN) {
        let _infallible = writeln!(text, "  {} version {}", publication.device, publication.version);
    }
    write_rest(text, publications.len());
}

/// Lines of each kind that a person is shown.
const SHOWN: usize = 40;
