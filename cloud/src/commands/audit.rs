//! `audit`: what devices have recorded, listed, exported and verified, and who has looked.
//!
//! 1. [`list`] and [`export`] note who reads before anything is shown or kept: a reading that cannot be noted shows nothing.
//! 2. [`readings`] lists these notes.
//! 3. [`verify`] says whether an exported trail is what its device wrote, by public keys alone.

pub(super) mod export;
pub(super) mod list;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::json;

use postern_protocol::trust::Root;

use super::root::read;
use super::table::table;
use super::{Answer, CommandError, open, root};
use crate::clock;
use crate::fleet::Cut;
use crate::signer::SignerError;
use crate::store::Reading;
use crate::trail;

pub(super) fn readings(state: &Path, limit: u32) -> Result<Answer, CommandError> {
    let readings = open(state)?.read(|tx| tx.readings(limit))?;
    let header = ["WHEN", "WHO", "HOW", "ROWS", "WHAT"];
    let text = if readings.is_empty() {
        "nobody has read of the trail\n".to_owned()
    } else {
        table(&header, readings.iter().map(row).collect())
    };
    Ok(Answer { text, json: json!({ "readings": readings }) })
}

fn row(reading: &Reading) -> Vec<String> {
    let Reading { at, who, manner, what, rows, .. } = reading;
    let rows = rows.map_or_else(|| "not ended".to_owned(), |rows| rows.to_string());
    vec![clock::show(*at), Cut(who).to_string(), manner.word().to_owned(), rows, what.clone()]
}

pub(super) fn verify(state: &Path, file: &Path, root: Option<&Path>) -> Result<Answer, CommandError> {
    let trusted = match root {
        Some(path) => {
            let fault = |fault| root::RootError::File { file: path.to_owned(), fault };
            read(path)?.root().map_err(fault)?
        }
        // The first one: acknowledgements of all times are by keys of it or of those that follow.
        None => {
            let roots = open(state)?.read(|tx| tx.roots_after(0, 1))?;
            let sealed = roots.into_iter().next().map(|(_, sealed)| sealed).unwrap_or_default();
            Root::self_signed(&sealed).map_err(SignerError::from)?
        }
    };
    let io = |error| CommandError::Io { what: "the export cannot be opened", error };
    let summary = trail::verify(trusted, BufReader::new(File::open(file).map_err(io)?))?;
    let complete = summary.complete_at.map_or_else(String::new, clock::show);
    let logs = if summary.logs == 1 { "1 log".to_owned() } else { format!("{} logs", summary.logs) };
    let unchecked = match summary.unchecked {
        0 => String::new(),
        count => format!("{count} acknowledgements are by keys of earlier roots and were not looked at.\n"),
    };
    let text = format!(
        "{} rows of {} in {logs}, unchanged; {} of them signed by the device.\nComplete as of {complete}, as root {} says.\n{unchecked}",
        summary.rows, summary.name, summary.signed, summary.root_version
    );
    let json = json!({
        "device": summary.name, "rows": summary.rows, "logs": summary.logs, "signed": summary.signed,
        "complete_at": summary.complete_at, "root_version": summary.root_version, "unchecked": summary.unchecked,
    });
    Ok(Answer { text, json })
}
