//! `history`: who changed the model when, and how.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use postern_protocol::name::Name;

use super::table::table;
use super::{Answer, CommandError, open};
use crate::clock;
use crate::fleet::{self, Cut};
use crate::model::{EntityKind, Model};
use crate::store::{EntityChange, Revision};

pub(super) fn run(state: &Path, limit: u32) -> Result<Answer, CommandError> {
    let revisions = open(state)?.read(|tx| tx.revisions(limit))?;
    let header = ["REVISION", "WHEN", "WHO", "WHAT", "ADDED", "CHANGED", "REMOVED"];
    let text = table(&header, revisions.iter().map(row).collect());
    Ok(Answer { text, json: json!({ "revisions": revisions }) })
}

/// What one change made of each entity, line by line in the notation of fleet files.
pub(super) fn show(state: &Path, number: i64) -> Result<Answer, CommandError> {
    let changes = open(state)?.read(|tx| tx.changes(number))?;
    if changes.is_empty() {
        return Err(CommandError::NoChange(number));
    }
    let mut text = String::new();
    let mut entities = Vec::new();
    for EntityChange { kind, name, before, after } in changes {
        let described = [before, after].map(|body| described(kind, &name, body.as_deref()));
        let [before, after] = &described;
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{kind} {name}");
        for line in before.1.iter().filter(|line| !after.1.contains(line)) {
            let _infallible = writeln!(text, "  - {line}");
        }
        for line in after.1.iter().filter(|line| !before.1.contains(line)) {
            let _infallible = writeln!(text, "  + {line}");
        }
        let [before, after] = described.map(|(json, _)| json);
        entities.push(json!({ "kind": kind.word(), "name": name, "before": before, "after": after }));
    }
    Ok(Answer { text, json: json!({ "revision": number, "entities": entities }) })
}

/// A stored entity as people and programs read it: keys as a fleet file has them, and the lines of that file.
fn described(kind: EntityKind, name: &Name, body: Option<&str>) -> (Value, Vec<String>) {
    let mut model = Model::default();
    let read = body.map(|body| model.insert_row(kind, name.clone(), body));
    if !matches!(read, Some(Ok(()))) {
        return (Value::Null, Vec::new());
    }
    let lines = fleet::write(&model).unwrap_or_default();
    let lines = lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    (fleet::describe(&model, kind, name).ok().flatten().unwrap_or_default(), lines)
}

fn row(revision: &Revision) -> Vec<String> {
    let Revision { number, at, who, what, entities } = revision;
    let counts = entities.map(|counts| [counts.added, counts.changed, counts.removed]);
    let counts =
        counts.map_or_else(|| ["-"; 3].map(str::to_owned), |counts| counts.map(|one| one.to_string()));
    [number.to_string(), clock::show(*at), Cut(who).to_string(), Cut(what).to_string()]
        .into_iter()
        .chain(counts)
        .collect()
}
