//! Samples become medians, medians become ratios to a base, and both become tables and JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::stats::median;

/// Everything that one run has measured.
#[derive(Debug, Default)]
pub struct Report {
    /// The tables, in order.
    pub grids: Vec<Grid>,
    /// The targets of the design that this run can judge.
    pub verdicts: Vec<Verdict>,
}

/// One table: peers down, measures across.
#[derive(Debug)]
pub struct Grid {
    id: String,
    title: String,
    base: Option<String>,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// One measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The word in JSON.
    pub id: &'static str,
    /// The heading, with the unit.
    pub title: &'static str,
}

#[derive(Debug)]
struct Row {
    peer: String,
    /// The samples of each column, one for each round.
    samples: Vec<Vec<f64>>,
}

/// One target and what this run says of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its number in the design.
    pub number: &'static str,
    /// What was compared.
    pub what: String,
    /// What was seen.
    pub seen: f64,
    /// What was wanted.
    pub wanted: Bound,
}

/// A bound on a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// The number or more.
    AtLeast(f64),
    /// The number or less.
    AtMost(f64),
}

impl Bound {
    /// Whether `seen` keeps it.
    #[must_use]
    pub fn holds(self, seen: f64) -> bool {
        match self {
            Self::AtLeast(bound) => seen >= bound,
            Self::AtMost(bound) => seen <= bound,
        }
    }
}

impl Grid {
    /// An empty table. Ratios are to the peer `base`.
    #[must_use]
    pub fn new(id: &str, title: impl Into<String>, base: Option<&str>, columns: &[Column]) -> Self {
        let base = base.map(str::to_owned);
        Self { id: id.to_owned(), title: title.into(), base, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// The word in JSON.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds a sample. A column that the table does not have is a mistake of the caller and is dropped.
    pub fn add(&mut self, peer: &str, column: &str, sample: f64) {
        let Some(at) = self.columns.iter().position(|known| known.id == column) else { return };
        if !self.rows.iter().any(|row| row.peer == peer) {
            self.rows.push(Row { peer: peer.to_owned(), samples: vec![Vec::new(); self.columns.len()] });
        }
        let row = self.rows.iter_mut().find(|row| row.peer == peer);
        if let Some(samples) = row.and_then(|row| row.samples.get_mut(at)) {
            samples.push(sample);
        }
    }

    /// The median of a peer in a column.
    #[must_use]
    pub fn median(&self, peer: &str, column: &str) -> Option<f64> {
        let at = self.columns.iter().position(|known| known.id == column)?;
        median(self.rows.iter().find(|row| row.peer == peer)?.samples.get(at)?)
    }

    /// The median of the ratios of two peers in the same rounds, which noise of the machine disturbs less than the
    /// ratio of the medians.
    #[must_use]
    pub fn ratio(&self, peer: &str, base: &str, column: &str) -> Option<f64> {
        let at = self.columns.iter().position(|known| known.id == column)?;
        let samples = |peer: &str| self.rows.iter().find(|row| row.peer == peer)?.samples.get(at);
        let ratios: Vec<f64> = samples(peer)?.iter().zip(samples(base)?).map(|(a, b)| a / b).collect();
        median(&ratios)
    }

    fn cell(&self, row: &Row, column: Column) -> String {
        let Some(value) = self.median(&row.peer, column.id) else { return "-".to_owned() };
        let base = self.base.as_deref().filter(|base| *base != row.peer);
        match base.and_then(|base| self.ratio(&row.peer, base, column.id)) {
            Some(ratio) => format!("{} ({ratio:.2}x)", short(value)),
            None => short(value),
        }
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let mut values = Map::new();
            for (column, samples) in self.columns.iter().zip(&row.samples) {
                if let Some(value) = median(samples) {
                    let ratio = self.base.as_deref().and_then(|base| self.ratio(&row.peer, base, column.id));
                    let entry = json!({ "median": value, "ratio": ratio, "samples": samples });
                    values.insert(column.id.to_owned(), entry);
                }
            }
            json!({ "peer": row.peer, "values": values })
        });
        let rows: Vec<Value> = rows.collect();
        json!({ "id": self.id, "title": self.title, "ratios_to": self.base, "rows": rows })
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            std::iter::once(String::new()).chain(self.columns.iter().map(|column| column.title.to_owned()));
        let body = self.rows.iter().map(|row| {
            let cells = self.columns.iter().map(|column| self.cell(row, *column));
            std::iter::once(row.peer.clone()).chain(cells).collect::<Vec<_>>()
        });
        writeln!(f, "\n{}", self.title)?;
        if let Some(base) = &self.base {
            writeln!(f, "medians; in parentheses the median of the ratios to {base} in the same rounds")?;
        }
        lines(f, &std::iter::once(head.collect()).chain(body).collect::<Vec<Vec<String>>>())
    }
}

impl Report {
    /// Judges a target, where the run has measured it.
    pub fn judge(&mut self, number: &'static str, what: impl Into<String>, seen: Option<f64>, wanted: Bound) {
        self.verdicts.extend(seen.map(|seen| Verdict { number, what: what.into(), seen, wanted }));
    }

    /// The run as one JSON value.
    #[must_use]
    pub fn json(&self) -> Value {
        let verdicts = self.verdicts.iter().map(|verdict| {
            let (at_least, at_most) = match verdict.wanted {
                Bound::AtLeast(bound) => (Some(bound), None),
                Bound::AtMost(bound) => (None, Some(bound)),
            };
            json!({
                "target": verdict.number, "what": verdict.what, "seen": verdict.seen,
                "at_least": at_least, "at_most": at_most, "holds": verdict.wanted.holds(verdict.seen),
            })
        });
        let verdicts: Vec<Value> = verdicts.collect();
        let machine = json!({ "cpus": std::thread::available_parallelism().map_or(1, usize::from) });
        let grids: Vec<Value> = self.grids.iter().map(Grid::json).collect();
        json!({ "machine": machine, "tables": grids, "targets": verdicts })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for grid in &self.grids {
            grid.fmt(f)?;
        }
        let head = ["", "target", "seen", "wanted", ""].map(str::to_owned).to_vec();
        let body = self.verdicts.iter().map(|verdict| {
            let (sign, bound) = match verdict.wanted {
                Bound::AtLeast(bound) => (">=", bound),
                Bound::AtMost(bound) => ("<=", bound),
            };
            let word = if verdict.wanted.holds(verdict.seen) { "holds" } else { "MISSED" };
            vec![
                verdict.number.to_owned(),
                verdict.what.clone(),
                short(verdict.seen),
                format!("{sign} {}", short(bound)),
                word.to_owned(),
            ]
        });
        writeln!(f, "\nTargets")?;
        lines(f, &std::iter::once(head).chain(body).collect::<Vec<_>>())
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn lines(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [Column { id: "up", title: "Mbit/s" }, Column { id: "cpu", title: "s/GiB" }];

    fn grid() -> Grid {
        let mut grid = Grid::new("t", "Throughput", Some("raw"), &COLUMNS);
        for (round, (raw, ours)) in [(100.0, 90.0), (200.0, 220.0), (50.0, 50.0)].into_iter().enumerate() {
            grid.add("raw", "up", raw);
            grid.add("ours", "up", ours);
            grid.add("ours", "no such column", round as f64);
        }
        grid
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_not_between_medians() {
        let grid = grid();
        assert_eq!(grid.median("ours", "up"), Some(90.0));
        assert_eq!(grid.median("raw", "up"), Some(100.0));
        assert_eq!(grid.ratio("ours", "raw", "up"), Some(1.0));
        assert_eq!(grid.ratio("ours", "raw", "cpu"), None);
    }

    #[test]
    fn a_table_shows_ratios_and_leaves_out_what_was_not_measured() {
        let expected = "\nThroughput\nmedians; in parentheses the median of the ratios to raw in the same rounds\n        Mbit/s        s/GiB\n  raw   100           -\n  ours  90.0 (1.00x)  -\n";
        assert_eq!(grid().to_string(), expected);
    }

    #[test]
    fn a_verdict_holds_at_its_bound_and_not_beyond() {
        assert!(Bound::AtLeast(0.95).holds(0.95) && !Bound::AtLeast(0.95).holds(0.94));
        assert!(Bound::AtMost(1.05).holds(1.05) && !Bound::AtMost(1.05).holds(1.06));
        let mut report = Report::default();
        report.judge("P1", "one stream", Some(0.9), Bound::AtLeast(0.95));
        report.judge("P2", "not measured", None, Bound::AtMost(1.0));
        let json = report.json();
        assert_eq!(json["targets"][0]["holds"], json!(false));
        assert_eq!(json["targets"].as_array().map(Vec::len), Some(1));
        assert!(report.to_string().ends_with("P1  one stream  0.90  >= 0.95  MISSED\n"), "{report}");
    }
}
