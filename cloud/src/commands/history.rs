//! `history`: who changed the model when.

use std::path::Path;

use serde_json::json;

use super::table::table;
use super::{Answer, CommandError, open};
use crate::clock;
use crate::fleet::Cut;
use crate::store::Revision;

pub(super) fn run(state: &Path, limit: u32) -> Result<Answer, CommandError> {
    let revisions = open(state)?.read(|tx| tx.revisions(limit))?;
    let header = ["REVISION", "WHEN", "WHO", "WHAT", "ADDED", "CHANGED", "REMOVED"];
    let text = table(&header, revisions.iter().map(row).collect());
    Ok(Answer { text, json: json!({ "revisions": revisions }) })
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
