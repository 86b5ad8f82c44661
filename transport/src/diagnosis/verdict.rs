//! What findings mean, and what to ask of whom: a function of findings and nothing else.
//!
//! | level | means |
//! | --- | --- |
//! | best | the peer is reached by the best means |
//! | degraded | it is reached, and not by the best means |
//! | unusable | it is reached, and has no use for this computer |
//! | unreachable | it is not reached |

mod blocked;
mod device;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use postern_protocol::wire::hub::Whose;
use serde::Serialize;

use super::words::{certificate, span};
use super::{Block, Examination, Finding, Found, Note, Step};

/// How well the peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// By the best means.
    Best,
    /// Not by the best means.
    Degraded,
    /// It is there, and does not know this computer, or is somebody else.
    Unusable,
    /// Not at all.
    Unreachable,
}

/// What it all means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How well the peer is reached.
    pub level: Level,
    /// The main reason, as a stable word for programs; `ok` where there is none.
    pub word: &'static str,
    /// What it means, a sentence each; the main one first.
    pub what: Vec<String>,
    /// What to do or to ask for, a sentence each.
    pub ask: Vec<String>,
}

impl Verdict {
    /// Of the way to a hub.
    #[must_use]
    pub fn of_hub(examination: &Examination) -> Self {
        let case = Case::of(examination);
        let mut verdict = case.reach();
        case.add_standing(&mut verdict);
        case.add_clock(&mut verdict);
        verdict
    }

    fn new(level: Level, word: &'static str, what: String, ask: &[String]) -> Self {
        Self { level, word, what: vec![what], ask: ask.to_vec() }
    }
}

/// The findings of a hub, by step.
struct Case<'a> {
    hub: SocketAddr,
    source: Option<IpAddr>,
    findings: &'a [Finding],
}

impl<'a> Case<'a> {
    fn of(examination: &'a Examination) -> Self {
        Self { hub: examination.hub, source: examination.from, findings: &examination.findings }
    }

    fn found(&self, step: Step) -> Option<&'a Found> {
        self.findings.iter().find(|one| one.step == step).map(|one| &one.found)
    }

    fn passed(&self, step: Step) -> bool {
        matches!(self.found(step), Some(Found::Passed(_)))
    }

    fn block(&self, step: Step) -> Option<&'a Block> {
        match self.found(step)? {
            Found::Blocked(block) => Some(block),
            Found::Passed(_) | Found::Skipped(_) => None,
        }
    }

    fn from(&self) -> String {
        self.source.map_or_else(|| "this computer".to_owned(), |ip| ip.to_string())
    }

    fn ask_for(&self, what: &str) -> String {
        format!(
            "Ask for: outgoing {what} port {} from {} to {}.",
            self.hub.port(),
            self.from(),
            self.hub.ip()
        )
    }

    /// Whether the hub is reached, and what hinders.
    fn reach(&self) -> Verdict {
        let hub = self.hub;
        if self.passed(Step::Udp) {
            return Verdict::new(
                Level::Best,
                "ok",
                format!("The hub at {hub} is reached over UDP, the best way."),
                &[],
            );
        }
        let udp = self.block(Step::Udp);
        let why = udp.map_or("UDP was not tried", Case::why_no_udp);
        let word = udp.map_or("other", Block::word);
        if self.passed(Step::Tls) {
            let what = format!("The hub at {hub} is reached over TLS, and not over UDP: {why}.");
            let mut verdict = Verdict::new(Level::Degraded, word, what, &[self.ask_no_udp(udp)]);
            if let Some(Found::Passed(Note::Read(by))) = self.found(Step::Tls) {
                let by = certificate(by.as_ref());
                verdict.what.push(format!("A box in between reads all TLS: it shows {by}, which is not the hub's. What it reads is encrypted once more."));
            }
            return verdict;
        }
        if self.passed(Step::Proxy) {
            let what = format!("The hub at {hub} is reached through the proxy, and not over UDP: {why}.");
            return Verdict::new(Level::Degraded, word, what, &[self.ask_no_udp(udp)]);
        }
        blocked::verdict(self)
    }

    const fn why_no_udp(block: &Block) -> &'static str {
        match block {
            Block::Silent => "its packets are dropped on the way",
            Block::Rejected => "its packets are refused by a firewall on the way",
            Block::OwnFirewall => "this computer's own firewall refuses it",
            Block::NoRoute => "this computer has no route for it",
            Block::OtherKey { .. } => "somebody else answers there",
            Block::NoTls
            | Block::NotPassedOn(_)
            | Block::OtherVersion
            | Block::Proxy(..)
            | Block::Whose(_)
            | Block::Clock(_)
            | Block::LinkDown(_)
            | Block::NoMeeting
            | Block::NoRelay
            | Block::DoesNotCome
            | Block::Refused(_)
            | Block::Failed(_)
            | Block::Other(_) => "it does not lead there",
        }
    }

    fn ask_no_udp(&self, udp: Option<&Block>) -> String {
        match udp {
            Some(Block::OwnFirewall) => {
                format!(
                    "To do: allow outgoing UDP port {} in the firewall of this computer.",
                    self.hub.port()
                )
            }
            Some(_) | None => self.ask_for("UDP"),
        }
    }

    /// What the hub makes of this computer.
    fn add_standing(&self, verdict: &mut Verdict) {
        let (word, what, ask) = match self.block(Step::Hub) {
            Some(Block::Whose(Whose::Retired)) => (
                "retired",
                "The hub has taken this device out of service.",
                "Ask your Postern administrator to take it into service again (`postern-cloud device recommission`).",
            ),
            Some(Block::Whose(Whose::Unconfirmed)) => (
                "unconfirmed",
                "The hub waits for somebody to confirm the key of this device.",
                "Ask your Postern administrator to confirm it (`postern-cloud device confirm`), with the fingerprint that `postern-agent status` shows.",
            ),
            Some(Block::Whose(Whose::Nobody | Whose::User | Whose::Device)) => (
                "unknown_key",
                "The hub answers and does not know the key of this computer: it was signed out, disabled, removed, or belongs to another installation.",
                "Ask your Postern administrator for a new code.",
            ),
            Some(block) => {
                verdict.what.push(format!(
                    "The hub is reached, and does not tell what it sees: {}.",
                    block.sentence()
                ));
                return;
            }
            None => return,
        };
        verdict.level = Level::Unusable;
        verdict.word = word;
        verdict.what.insert(0, what.to_owned());
        verdict.ask.insert(0, ask.to_owned());
    }

    fn add_clock(&self, verdict: &mut Verdict) {
        let Some(Block::Clock(ahead)) = self.block(Step::Clock) else { return };
        if verdict.word == "ok" {
            verdict.word = "clock";
        }
        let direction = if *ahead > 0 { "ahead of" } else { "behind" };
        verdict.what.push(format!(
            "The clock of this computer is {} {direction} the hub's.",
            span(ahead.unsigned_abs())
        ));
        verdict.ask.push("To do: set the clock of this computer, best by NTP.".to_owned());
    }
}
