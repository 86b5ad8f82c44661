//! `audit verify FILE`: whether an exported trail, of any device of this installation, is what that device wrote.
//!
//! It is judged by the root that this device trusts, and those of the export that follow it. The form is the protocol's
//! ([`postern_protocol::audit::export`]); nothing is asked of anybody.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use postern_protocol::audit::export::LINE_BYTES;
use postern_protocol::audit::verify::Verifier;

use super::{Trouble, View, print};
use crate::exit::Exit;
use crate::report::time;
use crate::store;

pub(super) fn verify(view: &View<'_>, file: &Path) -> Result<Exit, Trouble> {
    let root = store::peek(&view.config.state_dir)?.enrollment.root()?;
    let trouble = |error| Trouble::File { path: file.to_owned(), error };
    let mut lines = BufReader::new(File::open(file).map_err(trouble)?);
    let (mut verifier, mut line) = (Verifier::new(root), String::new());
    // A line that is longer than any is none, and is not read to its end.
    while lines.by_ref().take(LONGEST).read_line(&mut line).map_err(trouble)? > 0 {
        verifier.handle_line(line.trim_end_matches('\n'))?;
        line.clear();
    }
    let summary = verifier.finish()?;
    let complete = summary.complete_at.map(time).unwrap_or_default();
    if view.json {
        view.show_json(&serde_json::json!({
            "rows": summary.rows, "logs": summary.logs, "signed": summary.signed, "complete_at": complete,
            "device": summary.name.as_str(), "unchecked": summary.unchecked,
        }));
    } else {
        let (rows, name, signed) = (summary.rows, summary.name, summary.signed);
        print(&format!(
            "{rows} rows of {name}, unchanged, {signed} signed by the device; complete as of {complete}"
        ));
    }
    Ok(Exit::Ok)
}

const LONGEST: u64 = LINE_BYTES as u64 + 64;
