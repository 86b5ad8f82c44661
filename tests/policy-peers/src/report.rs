//! Medians over the rounds, ratios within rounds, and what the design wanted, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::measure::{Row, quantile};
use crate::peer::{casbin, cedar, postern};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the random numbers began with.
    pub seed: u64,
    /// Questions that every engine answered as the model does.
    pub agreed: usize,
    /// The engines.
    pub rows: Vec<Row>,
}

/// A target of the design and what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was compared.
    pub what: &'static str,
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
    /// Less than the number.
    Below(f64),
}

impl Report {
    /// The median of the ratios of two engines in the same rounds; half of the questions permitted.
    #[must_use]
    pub fn ratio(&self, peer: &str, base: &str) -> Option<f64> {
        let samples = |name: &str| self.rows.iter().find(|row| row.peer == name).map(|row| &row.p50);
        let ratios: Vec<f64> = samples(peer)?.iter().zip(samples(base)?).map(|(a, b)| a / b).collect();
        quantile(&ratios, 0.5)
    }

    /// The targets. Peers are judged by their faster arrangement and by the way to ask Postern that begins where they
    /// begin: cedar-policy with everything looked up, casbin with names.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let own = |name: &str, column: fn(&Row) -> &Vec<f64>| {
            self.rows.iter().find(|row| row.peer == name).and_then(|row| quantile(column(row), 0.5))
        };
        let faster = |peers: [&str; 2], base: &str| {
            peers.into_iter().filter_map(|peer| self.ratio(peer, base)).reduce(f64::min)
        };
        let verdicts = [
            ("ns, resolved, one user", own(postern::RESOLVED, |row| &row.one_user), Bound::Below(20.0)),
            ("ns, from id and name", own(postern::FROM_ID, |row| &row.p50), Bound::Below(100.0)),
            (
                "cedar-policy, prebuilt, to postern, resolved",
                faster([cedar::ONE_POLICY, cedar::EACH_ROLE], postern::RESOLVED),
                Bound::AtLeast(40.0),
            ),
            (
                "casbin to postern, from id and name",
                faster([casbin::RESOURCE_FIRST, casbin::ROLE_FIRST], postern::FROM_ID),
                Bound::AtLeast(1000.0),
            ),
        ];
        verdicts
            .into_iter()
            .filter_map(|(what, seen, wanted)| Some(Verdict { what, seen: seen?, wanted }))
            .collect()
    }

    /// The measurement as one JSON value, with every round.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let column = |values: &[f64]| json!({ "median": quantile(values, 0.5), "rounds": values });
            json!({
                "peer": row.peer,
                "p50_ns": column(&row.p50), "p99_ns": column(&row.p99),
                "one_user_ns": column(&row.one_user),
                "permit_ns": column(&row.permit), "denial_ns": column(&row.denial),
                "to_from_id": self.ratio(row.peer, postern::FROM_ID),
                "to_resolved": self.ratio(row.peer, postern::RESOLVED),
            })
        });
        let targets = self.verdicts().into_iter().map(|verdict| {
            let (at_least, below) = match verdict.wanted {
                Bound::AtLeast(bound) => (Some(bound), None),
                Bound::Below(bound) => (None, Some(bound)),
            };
            let holds = verdict.wanted.holds(verdict.seen);
            json!({
                "target": "P6", "what": verdict.what, "seen": verdict.seen,
                "at_least": at_least, "below": below, "holds": holds,
            })
        });
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        json!({
            "machine": { "cpus": cpus }, "seed": self.seed, "agreed": self.agreed,
            "rows": rows.collect::<Vec<Value>>(), "targets": targets.collect::<Vec<Value>>(),
        })
    }
}

impl Bound {
    /// Whether `seen` keeps it.
    #[must_use]
    pub fn holds(self, seen: f64) -> bool {
        match self {
            Self::AtLeast(bound) => seen >= bound,
            Self::Below(bound) => seen < bound,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rows.first().map_or(0, |row| row.p50.len());
        writeln!(f, "seed {}, {} questions answered alike by all, {rounds} rounds", self.seed, self.agreed)?;
        writeln!(
            f,
            "nanoseconds for one decision, medians of the rounds; ratios of p50 in the same rounds\n"
        )?;
        let head = ["", "p50", "p99", "one user", "permit", "denial", "to from id", "to resolved"];
        let line = |f: &mut fmt::Formatter<'_>, [name, cells @ ..]: [&str; 8]| {
            write!(f, "{name:<46}")?;
            cells.iter().try_for_each(|cell| write!(f, "{cell:>11}"))?;
            writeln!(f)
        };
        line(f, head)?;
        for row in &self.rows {
            let [p50, p99, one_user, permit, denial] =
                [&row.p50, &row.p99, &row.one_user, &row.permit, &row.denial]
                    .map(|values| short(quantile(values, 0.5)));
            let [from_id, resolved] =
                [postern::FROM_ID, postern::RESOLVED].map(|base| short(self.ratio(row.peer, base)));
            line(f, [row.peer, &p50, &p99, &one_user, &permit, &denial, &from_id, &resolved])?;
        }
        writeln!(f, "\nP6")?;
        for Verdict { what, seen, wanted } in self.verdicts() {
            let (sign, bound) = match wanted {
                Bound::AtLeast(bound) => (">=", bound),
                Bound::Below(bound) => ("<", bound),
            };
            let word = if wanted.holds(seen) { "holds" } else { "MISSED" };
            writeln!(f, "{what:<58}{:>12}  {sign} {bound}  {word}", short(Some(seen)))?;
        }
        Ok(())
    }
}

/// Three digits that matter.
fn short(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(casbin_p50: f64) -> Report {
        let row =
            |peer, p50: f64| Row { peer, p50: vec![p50; 3], one_user: vec![p50 + 10.0], ..Row::default() };
        let rows = vec![
            row(postern::RESOLVED, 10.0),
            row(postern::FROM_ID, 50.0),
            row(cedar::ONE_POLICY, 400.0),
            row(cedar::EACH_ROLE, 9000.0),
            row(casbin::RESOURCE_FIRST, casbin_p50),
            row(casbin::ROLE_FIRST, 900_000.0),
        ];
        Report { seed: 1, agreed: 2, rows }
    }

    #[test]
    fn targets_are_judged_by_the_faster_arrangement_of_a_peer() {
        let seen = |casbin| -> Vec<(f64, bool)> {
            report(casbin).verdicts().iter().map(|it| (it.seen, it.wanted.holds(it.seen))).collect()
        };
        assert_eq!(seen(50_000.0), vec![(20.0, false), (50.0, true), (40.0, true), (1000.0, true)]);
        assert_eq!(seen(49_000.0), vec![(20.0, false), (50.0, true), (40.0, true), (980.0, false)]);
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_not_between_medians() {
        let mut report = report(1.0);
        report.rows[0].p50 = vec![100.0, 200.0, 50.0];
        report.rows[1].p50 = vec![90.0, 220.0, 50.0];
        assert_eq!(report.ratio(postern::FROM_ID, postern::RESOLVED), Some(1.0));
        assert_eq!(report.ratio("nobody", postern::RESOLVED), None);
        assert_eq!(report.json()["rows"][1]["to_resolved"], json!(1.0));
    }
}
