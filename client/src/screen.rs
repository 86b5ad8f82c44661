//! What the program prints, and for whom.
//!
//! | standard output is | a listing is |
//! | --- | --- |
//! | a terminal | a table with a header |
//! | piped | one line per row, columns separated by tabs, no header |
//! | wanted as `--json` | one JSON value |
//!
//! Notes and problems go to standard error, one line each; colour only where a terminal shows it and `NO_COLOR` is
//! not set. A standard stream that is closed ends nothing: whoever closed it does not want to read.

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use crate::problem::Problem;

/// Standard output and standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    json: bool,
    terminal: bool,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stdout().is_terminal() }
    }

    /// Whether there is a person who can be asked something.
    pub(crate) fn has_person(&self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }

    /// One line of an answer for people; nothing when a program reads.
    pub(crate) fn say(&self, line: &str) {
        if !self.json {
            write_out(line);
        }
    }

    /// An answer for programs; nothing when people read.
    pub(crate) fn answer<T: Serialize>(&self, value: &T) {
        if self.json {
            write_out(&serde_json::to_string(value).unwrap_or_default());
        }
    }

    /// Rows for people, aligned or separated by tabs; nothing when a program reads JSON.
    pub(crate) fn list(&self, header: &[&str], rows: &[Vec<String>]) {
        if self.json || rows.is_empty() {
            return;
        }
        if !self.terminal {
            rows.iter().for_each(|row| write_out(&row.join("\t")));
            return;
        }
        write_out(&table(header, rows));
    }

    /// Something to know beside the answer; one line on standard error.
    pub(crate) fn note(&self, line: &str) {
        let _closed = writeln!(anstream::stderr(), "{BOLD}postern:{BOLD:#} {line}");
    }

    /// Something that went wrong; one line on standard error, and for programs a JSON value on standard output.
    pub(crate) fn report(&self, problem: &Problem) {
        let _closed = writeln!(anstream::stderr(), "{RED}postern:{RED:#} {problem}");
        self.answer(&problem.for_programs());
    }
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().copied());
    table.add_rows(rows.iter().map(|row| row.iter().map(String::as_str)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn write_out(line: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "{line}").and_then(|()| out.flush());
}

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_people_is_aligned_without_lines_and_without_trailing_blanks() {
        let row = |one: &str, two: &str| vec![one.to_owned(), two.to_owned()];
        let rows = [row("hmi", "http"), row("panel-left", "vnc")];
        let expected = "SERVICE     KIND\nhmi         http\npanel-left  vnc";
        assert_eq!(table(&["SERVICE", "KIND"], &rows), expected);
    }
}
