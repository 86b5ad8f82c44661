//! Whether what was signed is in force: where a hub runs, devices that are online answer within moments.
//!
//! 1. The state is looked at until every device that is online has answered, for a bounded time.
//! 2. What is known then is said in words: who has it, and why others do not.
//!
//! Nothing here can fail a command: what was signed is stored, and reaches every device sooner or later.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use postern_protocol::name::Name;

use crate::hub;
use crate::publish::Publication;
use crate::store::{Store, StoreError};

/// Where the devices of some publications stand.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Arrival {
    /// Have it in force.
    applied: Vec<Name>,
    /// Have refused it.
    refused: Vec<Name>,
    /// Are online and have not answered yet.
    waiting: Vec<Name>,
    /// Have no link.
    offline: Vec<Name>,
}

/// Waits for the devices that are online. None where nothing was signed or no hub runs.
pub(super) fn watch(store: &Store, state: &Path, publications: &[Publication]) -> Option<Arrival> {
    if publications.is_empty() || !hub::is_running(state) {
        return None;
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let arrival = look(store, publications).ok()?;
        if arrival.waiting.is_empty() || Instant::now() >= until {
            return Some(arrival);
        }
        std::thread::sleep(AGAIN);
    }
}

/// The sentence for people; empty where nothing was signed.
pub(super) fn sentence(arrival: Option<&Arrival>, publications: &[Publication]) -> String {
    match arrival {
        Some(arrival) => format!("{}.\n", arrival.describe()),
        None if publications.is_empty() => String::new(),
        None => "No hub runs; devices get it once `postern-cloud serve` does.\n".to_owned(),
    }
}

fn look(store: &Store, publications: &[Publication]) -> Result<Arrival, StoreError> {
    store.read(|tx| {
        let mut arrival = Arrival::default();
        for Publication { device, version, .. } in publications {
            let Some(found) = tx.device(device)? else { continue };
            let answered = |answered: Option<u64>| answered.is_some_and(|answered| answered >= *version);
            let list = if answered(found.applied) {
                &mut arrival.applied
            } else if answered(found.refused.map(|refused| refused.version)) {
                &mut arrival.refused
            } else if found.online {
                &mut arrival.waiting
            } else {
                &mut arrival.offline
            };
            list.push(device.clone());
        }
        Ok(arrival)
    })
}

impl Arrival {
    fn describe(&self) -> String {
        let Self { applied, refused, waiting, offline } = self;
        let all = applied.len() + refused.len() + waiting.len() + offline.len();
        let mut text = match (applied.len(), all) {
            (1, 1) => "The device has it".to_owned(),
            (some, all) if some == all => format!("All {all} devices have it"),
            (some, all) => format!("{some} of {all} devices have it"),
        };
        for (names, one, several) in [
            (
                refused,
                "has refused it (see `postern-cloud device list`)",
                "have refused it (see `postern-cloud device list`)",
            ),
            (waiting, "has not answered yet", "have not answered yet"),
            (offline, "is offline", "are offline"),
        ] {
            if !names.is_empty() {
                let verb = if names.len() == 1 { one } else { several };
                text.push_str(&format!("; {} {verb}", enumerate(names)));
            }
        }
        text
    }
}

fn enumerate(names: &[Name]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(Name::as_str).collect();
    match names.len().checked_sub(SHOWN).filter(|rest| *rest > 0) {
        Some(rest) => format!("{} and {rest} more", shown.join(", ")),
        None => shown.join(", "),
    }
}

/// For devices that are online to verify, store and answer.
const PATIENCE: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(20);
/// Names of each kind that a person is shown.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(numbers: std::ops::Range<u8>) -> Vec<Name> {
        numbers.map(|number| format!("press-{number}").parse().unwrap()).collect()
    }

    #[test]
    fn the_sentence_says_who_has_it_and_why_others_do_not() {
        let arrival = Arrival { applied: names(0..3), offline: names(9..10), ..Arrival::default() };
        assert_eq!(arrival.describe(), "3 of 4 devices have it; press-9 is offline");
        let arrival = Arrival { applied: names(0..1), ..Arrival::default() };
        assert_eq!(arrival.describe(), "The device has it");
        let arrival = Arrival { applied: names(0..2), ..Arrival::default() };
        assert_eq!(arrival.describe(), "All 2 devices have it");
        let arrival = Arrival { waiting: names(0..1), offline: names(1..8), ..Arrival::default() };
        assert_eq!(
            arrival.describe(),
            "0 of 8 devices have it; press-0 has not answered yet; press-1, press-2, press-3, press-4, press-5 and 2 \
             more are offline"
        );
    }
}
