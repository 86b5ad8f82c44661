//! `explain`: the judgement in words.

use std::fmt::Write as _;
use std::path::Path;

use jiff::SignedDuration;
use serde_json::json;

use postern_protocol::policy::explain::Chain;
use postern_protocol::time::UnixTime;

use super::{CommandError, open};
use crate::clock;
use crate::explain::{Answer, Question, answer};

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: String,
    pub(super) device: String,
    pub(super) service: String,
    pub(super) at: Option<UnixTime>,
    pub(super) second_factor_age: Option<SignedDuration>,
}

pub(super) fn run(state: &Path, asked: &Asked) -> Result<super::Answer, CommandError> {
    let at = asked.at.unwrap_or_else(clock::now);
    let second_factor_at = match asked.second_factor_age {
        Some(age) => {
            let age = u64::try_from(age.as_secs()).map_err(|_| CommandError::NegativeSpan)?;
            Some(UnixTime::from_secs(at.as_secs().saturating_sub(age)))
        }
        None => None,
    };
    let (model, roster) = open(state)?.read(|tx| Ok::<_, CommandError>((tx.model()?, tx.roster()?)))?;
    let question =
        Question { user: &asked.user, device: &asked.device, service: &asked.service, at, second_factor_at };
    let answer = answer(&model, &roster, &question)?;
    let denied = answer.judgement.denied;
    let json = json!({
        "allowed": denied.is_none(),
        "reason": denied.map(|reason| reason.word()),
        "answer": answer,
    });
    Ok(super::Answer { text: words(&answer), json })
}

// Writing to a string cannot fail; the results below are named to say so.

fn words(answer: &Answer) -> String {
    let Answer { user, device, service, at, judgement, .. } = answer;
    let at = clock::show(*at);
    let mut text = String::new();
    match judgement.denied {
        None => {
            let until =
                judgement.until.map(|until| format!(", until {}", clock::show(until))).unwrap_or_default();
            let _infallible = writeln!(text, "{user} may use {service} on {device} at {at}{until}.");
        }
        Some(reason) => {
            let (sentence, next) = (reason.sentence(), reason.next_step());
            let lifter = reason.lifter().describe();
            let _infallible = writeln!(text, "{user} may not use {service} on {device} at {at}: {reason}.");
            let _infallible =
                writeln!(text, "The user is told: {sentence}; {next}. Who can change it: {lifter}.");
        }
    }
    if !answer.registered {
        let _infallible = writeln!(text, "Not before they sign in: {user} has registered no key yet.");
    }
    for chain in &judgement.chains {
        write_chain(&mut text, chain);
    }
    if judgement.chains.is_empty() {
        let openers: Vec<String> = answer
            .opened_by
            .iter()
            .map(|opener| format!("role `{}` (category `{}`)", opener.role, opener.category))
            .collect();
        let openers = if openers.is_empty() { "no role of the model".to_owned() } else { openers.join(", ") };
        let _infallible =
            writeln!(text, "What contains it: {openers}, assigned in a scope with this device.");
    }
    text
}

fn write_chain(text: &mut String, chain: &Chain) {
    let Chain { assignment, role, category, .. } = chain;
    let through = chain.group.as_ref().map(|group| format!(" through group `{group}`")).unwrap_or_default();
    let _infallible = writeln!(
        text,
        "  {} assignment `{assignment}` gives role `{role}`{through}; category `{category}` contains it",
        if chain.used { "*" } else { "-" },
    );
    let mut conditions = Vec::new();
    conditions.extend(chain.not_before.map(|from| format!("from {}", clock::show(from))));
    conditions.extend(chain.not_after.map(|until| format!("until {}", clock::show(until))));
    conditions.extend(chain.second_factor_s.map(|age| {
        format!("with a second factor not older than {:#}", SignedDuration::from_secs(i64::from(age)))
    }));
    let conditions = if conditions.is_empty() { "always".to_owned() } else { conditions.join(", ") };
    let verdict = chain.fails.map_or_else(|| "holds".to_owned(), |reason| format!("does not hold: {reason}"));
    let _infallible = writeln!(text, "    {conditions}; {verdict}");
}
