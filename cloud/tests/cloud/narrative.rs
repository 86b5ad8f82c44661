//! The tables of the worked examples in `docs/policy.md`, row by row against the decision and its explanation.
//!
//! 1. Each row is asked of the gate: compiled, signed, verified, decided.
//! 2. The same is asked of `explain`, which must answer the same.
//! 3. The assignment, device group or entry that decided must be named in the row's last cell, and no other.

use std::collections::BTreeSet;

use postern_cloud::explain::{Question, answer};
use postern_protocol::policy::Reason;
use postern_protocol::policy::explain::Explanation;
use postern_protocol::time::UnixTime;

use crate::documents::{quoted, rows};
use crate::gate::{Gate, NOW};

/// One row of a table.
#[derive(Debug)]
struct Claim {
    user: String,
    device: String,
    service: String,
    at: UnixTime,
    second_factor_at: Option<UnixTime>,
    /// Whether the device is cut off from the cloud.
    offline: bool,
    answer: Result<(), Reason>,
    /// What decided, if anything is named.
    rule: Option<String>,
}

impl Claim {
    fn of_row(row: &[String]) -> Self {
        let [user] = quoted(&row[0]).try_into().unwrap();
        let [device, service] = quoted(&row[1]).try_into().unwrap();
        let (mut at, mut age, mut offline) = (NOW, None, false);
        for condition in row[2].split(", ").filter(|condition| !condition.is_empty()) {
            match condition.strip_prefix("code ").and_then(|rest| rest.strip_suffix("h ago")) {
                Some(hours) => age = Some(hours.parse::<u64>().unwrap() * 3600),
                None if condition == "offline" => offline = true,
                None => at = midnight(condition),
            }
        }
        let second_factor_at = age.map(|age| UnixTime::from_secs(at.as_secs() - age));
        let answer = match quoted(&row[3]).first() {
            Some(word) => Err(*Reason::ALL.iter().find(|reason| reason.word() == word).unwrap()),
            None => {
                assert_eq!(row[3], "yes");
                Ok(())
            }
        };
        let rule = quoted(&row[4]).into_iter().next();
        Self { user, device, service, at, second_factor_at, offline, answer, rule }
    }
}

/// The first second of a day, in UTC.
pub(crate) fn midnight(date: &str) -> UnixTime {
    let time: jiff::Timestamp = format!("{date}T00:00:00Z").parse().unwrap();
    UnixTime::from_secs(u64::try_from(time.as_second()).unwrap())
}

/// The name of the rule that an explanation rests on.
fn rule(explanation: &Explanation) -> Option<String> {
    let veto = explanation.prohibitions.iter().find(|veto| veto.in_force).map(|veto| &veto.origin);
    let chain = explanation.chains.iter().find(|chain| chain.used).map(|chain| &chain.origin);
    veto.or(chain).map(|origin| origin.name().to_string())
}

fn claims_are_true(sample: &str) {
    let gate = Gate::of_sample(sample);
    let claims: Vec<Claim> = rows(sample).iter().map(|row| Claim::of_row(row)).collect();
    for claim in &claims {
        let Claim { user, device, service, at, second_factor_at, offline, .. } = claim;
        let (at, second_factor_at, offline) = (*at, *second_factor_at, *offline);
        let decided = if offline {
            gate.asks_cut_off(user, device, service, at, second_factor_at)
        } else {
            gate.asks_afresh(user, device, service, at, second_factor_at)
        };
        assert_eq!(decided, claim.answer, "{sample}: {claim:?}");
        let question = Question { user, device, service, at, second_factor_at, offline };
        let explained = answer(&gate.model, &gate.roster, &question).unwrap().judgement;
        assert_eq!(explained.denied, claim.answer.err(), "{sample}: {claim:?}");
        assert_eq!(rule(&explained), claim.rule, "{sample}: {claim:?}");
    }
    // Nobody is left out, and no table only says yes or only no.
    for user in gate.model.users.keys() {
        assert!(claims.iter().any(|claim| claim.user == user.as_str()), "{sample} says nothing of {user}");
    }
    // Each sample says of somebody that the cut is no matter, and of somebody that it is one.
    let cut_off = |answer| claims.iter().any(|claim| claim.offline && claim.answer == answer);
    assert!(cut_off(Ok(())) && cut_off(Err(Reason::PolicyStale)), "{sample}");
    assert!(
        claims.iter().any(|claim| claim.answer.is_ok()) && claims.iter().any(|claim| claim.answer.is_err())
    );
}

#[test]
fn direct_sales_answers_as_it_is_told() {
    claims_are_true("direct-sales");
}

#[test]
fn the_partner_channel_answers_as_it_is_told() {
    claims_are_true("partner-channel");
}

#[test]
fn divisions_answer_as_they_are_told() {
    claims_are_true("divisions");
}

#[test]
fn sites_answer_as_they_are_told() {
    claims_are_true("sites");
}

#[test]
fn nested_customers_answer_as_they_are_told() {
    claims_are_true("nested-customers");
}

#[test]
fn the_larger_fleet_answers_as_it_is_told() {
    claims_are_true("plant/fleet");
}

#[test]
fn no_sample_goes_untold() {
    let samples = format!("{}/../samples", env!("CARGO_MANIFEST_DIR"));
    let mut untold = BTreeSet::new();
    for entry in std::fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        // A directory holds one fleet in several files.
        untold.insert(if path.is_dir() { format!("{stem}/fleet") } else { stem.to_owned() });
    }
    for told in ["direct-sales", "partner-channel", "divisions", "sites", "nested-customers", "plant/fleet"] {
        assert!(untold.remove(told), "{told}");
    }
    assert_eq!(untold, BTreeSet::new());
}
