//! The cloud on a fleet of any size: what P12 is measured on.
//!
//! 1. [`found`] writes the state of an installation with a [`fleet`], every device enrolled and everybody signed in.
//! 2. [`publish`] compiles, signs and stores the policy of every device, again and again.
//! 3. [`edit`] edits the model, from the new model in memory to the commit of what was signed.
//! 4. [`sizes`] measures single snapshots with many users.
//!
//! The first three are processes of their own, so that the highest memory of one is its own. Each prints its samples,
//! and [`measure`] gathers them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;

use clap::ValueEnum as _;

pub mod edit;
pub mod fleet;
pub mod found;
pub mod publish;
pub mod sizes;
pub mod write;

use super::report::{Bound, Column, Grid, Report};
use crate::world::Mishap;

/// What a process of its own does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// Writes the state.
    Found,
    /// Publishes everything.
    Publish,
    /// Edits the model.
    Edit,
    /// Commits, notes and reads; by itself, to compare a file with a server.
    Write,
}

impl Step {
    /// Carries the step out in a state directory, for a fleet of so many customers.
    ///
    /// # Errors
    /// When the cloud refuses something or affects other devices than expected.
    pub fn run(self, state: &Path, customers: u32, rounds: u32) -> Result<(), Mishap> {
        match self {
            Self::Found => found::found(state, customers),
            Self::Publish => publish::publish(state, customers, rounds),
            Self::Edit => edit::edit(state, rounds),
            Self::Write => write::write(state, rounds),
        }
    }
}

/// Measures a fleet of so many customers, a hundred devices each.
///
/// # Errors
/// When a step fails.
pub fn measure(report: &mut Report, dir: &Path, customers: u32, rounds: u32) -> Result<(), Mishap> {
    let state = dir.join("scale");
    let devices = customers * fleet::DEVICES;
    let mut full = Grid::new("scale_full", format!("The policy of {devices} devices"), None, &FULL);
    let title = format!("Edits of a fleet of {devices} devices, from a model in memory to the commit");
    let mut edits = Grid::new("scale_edits", title, None, &EDITS);
    for step in [Step::Found, Step::Publish, Step::Edit] {
        let text = child(step, &state, customers, rounds)?;
        for line in text.lines() {
            let sample =
                Sample::parse(line).ok_or_else(|| Mishap::unexpected("a sample", line, "four fields"))?;
            let grid = if step == Step::Publish { &mut full } else { &mut edits };
            grid.add(sample.row, sample.column, sample.value);
        }
    }
    let seen = full.median(publish::ALL, "all");
    report.judge("P12", format!("{devices} devices compiled, signed, stored, s"), seen, Bound::AtMost(60.0));
    let seen = full.median(publish::ALL, "peak");
    report.judge("P12", "highest MiB meanwhile", seen, Bound::AtMost(2048.0));
    let seen = edits.median(edit::HUNDRED, "together");
    report.judge("P12", "an edit of 100 devices, to the commit, ms", seen, Bound::AtMost(200.0));
    report.grids.extend([full, edits, sizes::sizes(rounds)?]);
    Ok(())
}

/// One sample, as a child prints it.
struct Sample<'t> {
    row: &'t str,
    column: &'t str,
    value: f64,
}

impl<'t> Sample<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut fields = line.split('\t');
        let (row, column, value) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { row, column, value: f64::from_str(value).ok()? })
    }
}

/// Prints a sample for the parent.
fn tell(row: &str, column: &str, value: f64) {
    println!("{row}\t{column}\t{value}");
}

/// What a step prints.
fn child(step: Step, state: &Path, customers: u32, rounds: u32) -> Result<String, Mishap> {
    let word = step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(super::own_executable()?);
    command.args(["scale", &word]).arg(state).args([customers.to_string(), rounds.to_string()]);
    // Its input stays open until it is done: programs of this benchmark end when it is closed.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let failed = || Mishap::io(format!("the step `{word}` of the scale"));
    let mut child = command.spawn().map_err(failed())?;
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text).map_err(failed())?;
    }
    let status = child.wait().map_err(failed())?;
    if status.success() {
        return Ok(text);
    }
    let command = format!("postern-bench scale {word} {}", PathBuf::from(state).display());
    Err(Mishap::Exit { command, found: status.into(), expected: 0, output: text })
}

/// A fault of the cloud as one of the measurement.
fn refused<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Mishap {
    move |fault| Mishap::unexpected(what, fault, "no fault")
}

const FULL: [Column; 4] = [
    Column { id: "load", title: "model read s" },
    Column { id: "all", title: "published s" },
    Column { id: "peak", title: "highest MiB" },
    Column { id: "again", title: "compiled, nothing to sign s" },
];
const EDITS: [Column; 6] = [
    Column { id: "plan", title: "plan for people ms" },
    Column { id: "affected", title: "affected ms" },
    Column { id: "save", title: "model stored ms" },
    Column { id: "publish", title: "compiled and signed ms" },
    Column { id: "commit", title: "commit ms" },
    Column { id: "together", title: "edit to signed ms" },
];
