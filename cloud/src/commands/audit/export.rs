//! `audit export`: the whole trail of a device as a file that verifies, or what concerns one account as a file that names nobody else.
//!
//! 1. That somebody exports is noted first: a reading that ends in between is on record as well, as one that did not end.
//! 2. The file is written beside its name, readable to nobody else, and renamed: half an export never has the name.
//! 3. How many rows it has is added to the note.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use postern_protocol::name::Name;

use crate::args::AuditExport;
use crate::clock;
use crate::commands::{Answer, CommandError, known, known_among, open, operator, publisher};
use crate::model::EntityKind;
use crate::past::Span;
use crate::store::{Manner, Store, Tx};
use crate::trail::{self, ExportError, Report};

pub(in crate::commands) fn run(state: &Path, asked: &AuditExport) -> Result<Answer, CommandError> {
    let store = open(state)?;
    match (&asked.device, &asked.account) {
        (Some(device), _) => whole(state, &store, device, asked),
        (None, account) => report(&store, account.as_deref().unwrap_or_default(), asked),
    }
}

/// The trail of a device.
fn whole(state: &Path, store: &Store, name: &str, asked: &AuditExport) -> Result<Answer, CommandError> {
    let device = store.read(|tx| {
        let names = tx.device_names()?;
        let device = known_among(names.iter().collect(), EntityKind::Device, name)?;
        if tx.trail_log_count(&device)? == 0 {
            return Err(CommandError::NoTrail(device));
        }
        Ok(device)
    })?;
    let mut rows = 0;
    save(store, (Manner::Export, device.to_string()), asked, |tx, out| {
        let authority = publisher(state, tx)?.signer().now();
        rows = trail::export(tx, &authority, &device, clock::now(), out)?.unwrap_or(0);
        Ok(rows)
    })?;
    let file = asked.output.display();
    let text = format!(
        "{rows} rows of {device} were written to {file}; `postern-cloud audit verify {file}` verifies them, `--root ROOT-FILE` on any \
         computer.\n"
    );
    Ok(Answer { text, json: json!({ "device": device, "rows": rows, "file": asked.output }) })
}

/// What concerns an account.
fn report(store: &Store, name: &str, asked: &AuditExport) -> Result<Answer, CommandError> {
    let model = store.read(|tx| tx.model())?;
    let company: Name = known(&model, EntityKind::Account, name)?;
    let span = Span {
        from: asked.from.unwrap_or(Span::ALWAYS.from),
        until: asked.until.unwrap_or(Span::ALWAYS.until),
    };
    let wanted = Report { company: company.clone(), span };
    let said = |name: &str, time| format!(" --{name} {}", clock::show(time));
    let from = asked.from.map(|from| said("from", from)).unwrap_or_default();
    let until = asked.until.map(|until| said("until", until)).unwrap_or_default();
    let mut rows = 0;
    save(store, (Manner::Report, format!("--account {company}{from}{until}")), asked, |tx, out| {
        rows = trail::report(tx, &wanted, clock::now(), out)?;
        Ok(rows)
    })?;
    let text = format!(
        "{rows} rows that concern {company} were written to {}, without names of anybody else.\n",
        asked.output.display()
    );
    Ok(Answer { text, json: json!({ "account": company, "rows": rows, "file": asked.output }) })
}

/// Notes the reading, writes the file, and ends the note.
fn save(
    store: &Store,
    (manner, what): (Manner, String),
    asked: &AuditExport,
    work: impl FnOnce(&Tx<'_>, &mut dyn Write) -> Result<u64, CommandError>,
) -> Result<(), CommandError> {
    let Target { output, beside } = Target::reserve(asked)?;
    let outcome = (|| {
        let what = format!("{what} --output {}", output.display());
        let number = store.write(|tx| tx.note_reading(&operator(), (manner, &what), None, clock::now()))?;
        let mut out = BufWriter::new(private(&beside)?);
        let rows = store.read(|tx| work(tx, &mut out))?;
        let file = out.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        store.write(|tx| tx.end_reading(number, rows))?;
        std::fs::rename(&beside, &output).map_err(io)
    })();
    if outcome.is_err() {
        let _never_made = std::fs::remove_file(&beside);
        if !asked.force {
            // The empty file that kept the name.
            let _gone = std::fs::remove_file(&output);
        }
    }
    outcome
}

/// Where it is written, and what name it gets.
struct Target {
    output: PathBuf,
    beside: PathBuf,
}

impl Target {
    /// Takes the name, if nothing has it or it may be replaced.
    fn reserve(asked: &AuditExport) -> Result<Self, CommandError> {
        let output = asked.output.clone();
        if !asked.force {
            OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&output).map_err(|error| {
                let exists = error.kind() == ErrorKind::AlreadyExists;
                if exists { CommandError::Exists(output.clone()) } else { io(error) }
            })?;
        }
        let mut beside = output.clone().into_os_string();
        beside.push(".new");
        Ok(Self { output, beside: beside.into() })
    }
}

/// An empty file that nobody else may read.
fn private(path: &Path) -> Result<File, CommandError> {
    let _not_there = std::fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path).map_err(io)
}

fn io(error: std::io::Error) -> CommandError {
    ExportError::Io(error).into()
}

const PRIVATE: u32 = 0o600;
