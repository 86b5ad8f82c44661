//! Puts a later root in force.
//!
//! 1. Verify: the version that follows, signed by the threshold of the root in force and by its own.
//! 2. Swap it. From here on nothing is believed for a key that it does not name.
//! 3. Judge the policy in force by it: of another epoch it is worthless at once, and so is one that a retired key
//!    signed. Then decide every live tunnel again; connections look at their passes by themselves.
//! 4. Have it stored and recorded. Nothing here waits for that: a disk that hangs must not keep a stolen key alive.
//!
//! A root that cannot be stored is in force all the same, for as long as the agent runs: neither must a full disk. After a
//! restart the hub sends it again. An expired root is taken like any other, because the one
//! that follows it can be reached over it only.

use std::time::Instant;

use postern_protocol::audit::Event;
use postern_protocol::session::agent::RootOutcome;
use postern_protocol::trust::{CutCause, RootFault};
use postern_protocol::wire::control::RootCode;
use postern_protocol::wire::text::Text;

use super::activate::Activator;
use super::storing::Object;

impl Activator {
    /// Puts the root that follows in force.
    pub(super) fn take_root(&mut self, sealed: Vec<u8>) -> RootOutcome {
        let before = self.parts.anchor.root();
        let next = match before.accept_next(&sealed) {
            Ok(next) => next,
            Err(fault) => return self.refuse_root(before.version, &fault),
        };
        let (version, epoch) = (next.version, next.policy_epoch);
        let vouched = self.parts.gate.policy().is_some_and(|index| index.holds_under(&next));
        self.parts.anchor.replace(next);
        // From memory: nothing is awaited before a policy is withdrawn that a thief may have signed.
        if !vouched {
            self.parts.gate.withdraw();
        }
        // Also where the policy stays: its end may be that of the root.
        let cut = self.parts.registry.judge(&self.parts.gate, CutCause::Root { version });
        self.parts.gate.clock().learn_root(version);
        self.parts.gate.clock().learn_locks(self.highest_in_force());
        tracing::info!(version, epoch, cut, "a root came into force");
        self.keep(version, sealed);
        self.parts.auditor.owe(Event::RootTaken { version, epoch, cut });
        RootOutcome::Taken { version }
    }

    fn keep(&mut self, version: u32, sealed: Vec<u8>) {
        match self.parts.enrollment.under(sealed) {
            Ok(enrollment) => {
                self.parts.enrollment = enrollment.clone();
                let write = self.parts.store.keep_enrollment(enrollment);
                self.storing.follow(Object::Root(version), write);
            }
            // It was parsed a moment ago.
            Err(fault) => tracing::error!(error = %fault, "the new root has no digest"),
        }
    }

    fn refuse_root(&mut self, version: u32, fault: &RootFault) -> RootOutcome {
        let (code, detail) = (RootCode::from(fault), Text::clean(&fault.to_string()));
        if self.root_refusals.is_worth_a_row(Instant::now(), version, code) {
            tracing::warn!(version, code = code.word(), reason = detail.as_str(), "a root was refused");
            self.parts.auditor.owe(Event::RootRefused { version, code });
        }
        RootOutcome::Refused { version, code, detail }
    }
}
