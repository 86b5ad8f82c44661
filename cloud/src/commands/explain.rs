//! `explain`: the judgement in words, and for a denial what would have to be true.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use jiff::SignedDuration;
use serde_json::{Value, json};

use postern_protocol::policy::explain::{Chain, Veto};
use postern_protocol::policy::{Mode, Reason};
use postern_protocol::time::UnixTime;

use super::words::{Conditions, links, list, window};
use super::{CommandError, open, remedy};
use crate::clock;
use crate::explain::{Answer, Beside, Question, answer_beside};
use crate::publish::LIFETIME_S;
use crate::review;
use crate::store::{LockKind, LockRule, Standing};

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: String,
    pub(super) device: String,
    pub(super) service: String,
    pub(super) at: Option<UnixTime>,
    pub(super) second_factor_age: Option<SignedDuration>,
    pub(super) offline: bool,
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
    let Asked { user, device, service, offline, .. } = asked;
    let (model, roster, standing, locks) = open(state)?.read(|tx| {
        let known = match device.parse() {
            Ok(name) => tx.device(&name)?,
            Err(_no_name) => None,
        };
        // One that was never enrolled will be in service when it is.
        let standing = known.map_or(Standing::InService, |device| device.standing());
        Ok::<_, CommandError>((tx.model()?, tx.roster()?, standing, tx.lock_rules()?))
    })?;
    let question = Question { user, device, service, at, second_factor_at, offline: *offline };
    let beside = Beside { standing, locks: &locks };
    let answer = answer_beside(&model, &roster, &beside, &question)?;
    Ok(super::Answer { text: words(&answer), json: json(&answer) })
}

/// Grants and prohibitions look as in the answer of `postern-agent explain`, so that the two can be compared.
fn json(answer: &Answer) -> Value {
    let Answer { user, device, service, machine, at, offline, freshness, registered, judgement, .. } = answer;
    let Answer { standing, locks, remedies, .. } = answer;
    let denied = judgement.denied;
    let grants = judgement.chains.iter().map(|chain| {
        json!({
            "used": chain.used,
            "origin": chain.origin,
            "category": chain.category,
            "not_before": chain.not_before,
            "not_after": chain.not_after,
            "second_factor_s": chain.second_factor_s,
            "needs_case": chain.needs_case,
            "needs_approval": chain.needs_approval,
            "offline_ok": chain.offline_ok,
            "mode": chain.mode,
            "record": chain.record,
            "case": chain.case,
            "approval": chain.approval,
            "fails": chain.fails.map(Reason::word),
        })
    });
    json!({
        "user": user,
        "device": device,
        "service": service,
        "machine": machine,
        "at": at,
        "offline": offline,
        "freshness": freshness,
        "registered": registered,
        "standing": standing,
        "locks": locks,
        "allowed": denied.is_none(),
        "reason": denied.map(Reason::word),
        "until": judgement.until,
        "mode": judgement.mode,
        "grants": grants.collect::<Vec<_>>(),
        "prohibitions": judgement.prohibitions,
        "remedies": remedies,
    })
}

// Writing to a string cannot fail; the results below are named to say so.

fn words(answer: &Answer) -> String {
    let Answer { user, device, service, at, offline, judgement, .. } = answer;
    let cut_off = if *offline { " while the device is cut off" } else { "" };
    let when = format!("{}{cut_off}", clock::show(*at));
    let mut text = String::new();
    match judgement.denied {
        None => {
            // Every policy ends; what matters to people is when the grant does.
            let lasting = at.saturating_add(LIFETIME_S);
            let until = judgement.until.filter(|until| *offline || *until < lasting);
            let until = until.map(|until| format!(", until {}", clock::show(until))).unwrap_or_default();
            let mode =
                judgement.mode.and_then(Mode::remark).map(|mode| format!(" {mode}")).unwrap_or_default();
            let closed: Vec<String> =
                review::closed(judgement).iter().map(|path| format!("`{path}`")).collect();
            let closed =
                if closed.is_empty() { String::new() } else { format!(" without {}", list(&closed)) };
            let _infallible =
                writeln!(text, "{user} may use {service} on {device}{mode}{closed} at {when}{until}.");
        }
        Some(reason) => {
            let (sentence, next) = (reason.sentence(), reason.next_step());
            let lifter = reason.lifter().describe();
            let _infallible = writeln!(text, "{user} may not use {service} on {device} at {when}: {reason}.");
            let _infallible =
                writeln!(text, "The user is told: {sentence}; {next}. Who can change it: {lifter}.");
        }
    }
    if !answer.registered {
        let _infallible = writeln!(text, "Not before they sign in: {user} has registered no key yet.");
    }
    write_standing(&mut text, answer);
    for rule in &answer.locks {
        write_lock(&mut text, rule);
    }
    for veto in &judgement.prohibitions {
        write_veto(&mut text, veto);
    }
    for chain in &judgement.chains {
        write_chain(&mut text, answer, chain);
    }
    if !answer.remedies.is_empty() {
        text.push_str("What would have to be true:\n");
        for remedy in &answer.remedies {
            let _infallible = writeln!(text, "  - {}", remedy::words(remedy, answer));
        }
    }
    text
}

fn write_standing(text: &mut String, Answer { device, standing, .. }: &Answer) {
    let _infallible = match standing {
        Standing::InService => Ok(()),
        Standing::AwaitsConfirmation => writeln!(
            text,
            "The key of {device} awaits confirmation, and until then the device permits nothing: \
             `postern-cloud device confirm {device} FINGERPRINT`."
        ),
        Standing::Retired => writeln!(
            text,
            "{device} is out of service and permits nothing: `postern-cloud device recommission {device}`."
        ),
    };
}

fn write_lock(text: &mut String, rule: &LockRule) {
    let LockRule { kind, name, on, why, who, at } = rule;
    let kind = kind.word();
    let place = on.as_ref().map_or_else(|| " on every device".to_owned(), |on| format!(" on {on}"));
    let place = if rule.kind == LockKind::Device { String::new() } else { place };
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let option = on.as_ref().map(|on| format!(" --on {on}")).unwrap_or_default();
    let _infallible = writeln!(
        text,
        "  ! {kind} `{name}` is locked{place} by {who} since {}{why}; `postern-cloud lock lift {kind} {name}{option}`",
        clock::show(*at)
    );
}

fn write_chain(text: &mut String, answer: &Answer, chain: &Chain) {
    let mark = if chain.used { '*' } else { '-' };
    let mut chained = vec![answer.user.to_string()];
    chained.extend(links(&chain.origin));
    chained.push(format!("category `{}`", chain.category));
    chained.push(answer.service.to_string());
    let _infallible = writeln!(text, "  {mark} {}", chained.join(" -> "));
    let conditions = Conditions {
        not_before: chain.not_before,
        not_after: chain.not_after,
        second_factor_s: chain.second_factor_s,
        needs_case: chain.needs_case,
        case: chain.case.as_deref(),
        needs_approval: chain.needs_approval,
        approval: chain.approval,
        offline_s: if chain.offline_ok { answer.freshness.offline_s } else { 0 },
        mode: chain.mode,
        record: chain.record,
        // They stand below, with the entries that say so.
        closed: &BTreeSet::new(),
    };
    let conditions = conditions.words().unwrap_or_else(|| "always".to_owned());
    let verdict = chain.fails.map_or_else(|| "holds".to_owned(), |reason| format!("does not hold: {reason}"));
    let _infallible = writeln!(text, "    {conditions}; {verdict}");
}

fn write_veto(text: &mut String, veto: &Veto) {
    let Veto { path, in_force, origin, category, not_before, not_after } = veto;
    let window = window(*not_before, *not_after);
    let window = if window.is_empty() { String::new() } else { format!(" {}", window.join(", ")) };
    let effect = if *in_force { "and beats every grant" } else { "and is not in force then" };
    let what =
        path.as_ref().map_or_else(|| format!("category `{category}`"), |path| format!("`{path}` of it"));
    let _infallible = writeln!(text, "  ! {origin} denies {what}{window} {effect}");
}
