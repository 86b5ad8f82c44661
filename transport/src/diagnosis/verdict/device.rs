//! What findings mean about a device.

use super::super::{Block, Examination, Finding, Found, Step};
use super::{Case, Level, Verdict};

impl Verdict {
    /// Of the way to a device, called so, whose hub was looked at as well.
    #[must_use]
    pub fn of_device(device: &str, findings: &[Finding], hub: &Examination) -> Self {
        let passed = |step| findings.iter().any(|one| one.step == step && one.has_passed());
        let blocks: Vec<&Block> = findings.iter().filter_map(block).collect();
        let best = |by: &str| Self::new(Level::Best, "ok", format!("{device} is reached {by}."), &[]);
        if passed(Step::Direct) {
            return best("straight, over UDP");
        }
        if passed(Step::Nearby) {
            return best("on a network of this computer");
        }
        for (step, by) in [(Step::RelayUdp, "over UDP"), (Step::RelayTls, "over TLS")] {
            if passed(step) {
                let what = format!(
                    "{device} is reached through the relay, {by}, and not straight. That works, and is slower."
                );
                return Self::new(Level::Degraded, "relayed", what, &straight(findings, hub));
            }
        }
        for block in &blocks {
            if let Block::Refused(reason) = block {
                let what = format!("{device} is reached, and says: {}.", reason.sentence());
                let ask = format!("To do: {}.", reason.next_step());
                return Self::new(Level::Unusable, reason.word(), what, &[ask]);
            }
        }
        if let Some(other) = blocks.iter().find(|block| matches!(block, Block::OtherKey { .. })) {
            let what = format!("Somebody else answers in the place of {device}: {}.", other.sentence());
            let ask = "Ask your Postern administrator whether the device was enrolled anew; if it was not, somebody stands in between.";
            return Self::new(Level::Unusable, "other_key", what, &[ask.to_owned()]);
        }
        Self::of_distant(device, &blocks, hub)
    }

    /// Of a device that is not reached at all.
    fn of_distant(device: &str, blocks: &[&Block], hub: &Examination) -> Self {
        let of_hub = Self::of_hub(hub);
        if matches!(of_hub.level, Level::Unreachable | Level::Unusable) {
            let what = format!("{device} is not reached, and the hub, which could help, is of no use.");
            let mut verdict = Self::new(Level::Unreachable, of_hub.word, what, &[]);
            verdict.what.extend(of_hub.what);
            verdict.ask.extend(of_hub.ask);
            return verdict;
        }
        let has = |wanted: &Block| blocks.contains(&wanted);
        let beside = "Have somebody beside it run: postern-agent doctor.".to_owned();
        let (word, what, ask) = if has(&Block::NoMeeting) {
            let what = "has no link to the hub: it is switched off, or something blocks its own way there. This computer's way to the hub is open";
            ("no_meeting", what, beside)
        } else if has(&Block::DoesNotCome) {
            let what = "has a link to the hub and does not come to the relay, which its network may block";
            ("does_not_come", what, beside)
        } else {
            let what = "is not reached straight, and no relay is reached either";
            let ask = "Ask your Postern administrator whether the hub has a relay, and for the ports that it needs.";
            (blocks.first().map_or("unreachable", |block| block.word()), what, ask.to_owned())
        };
        Self::new(Level::Unreachable, word, format!("{device} {what}."), &[ask])
    }
}

/// What would lead straight to the device.
fn straight(findings: &[Finding], hub: &Examination) -> Vec<String> {
    let from = Case::of(hub).from();
    let direct = findings.iter().find(|one| one.step == Step::Direct).and_then(|one| one.at);
    let ask = |at: std::net::SocketAddr| {
        format!("If that is too slow, ask for: UDP port {} from {from} to {}.", at.port(), at.ip())
    };
    direct.map(ask).into_iter().collect()
}

const fn block(finding: &Finding) -> Option<&Block> {
    match &finding.found {
        Found::Blocked(block) => Some(block),
        Found::Passed(_) | Found::Skipped(_) => None,
    }
}
