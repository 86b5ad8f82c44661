//! Puts a later root in force.
//!
//! 1. Verify: the version that follows, signed by the threshold of the root in force and by its own.
//! 2. Swap it. From here on nothing is believed for a key that it does not name.
//! 3. Judge the policy in force by it: of another epoch it is worthless at once, and so is one that a retired key
//!    signed. Then decide every live tunnel again; connections look at their passes by themselves.
//! 4. Store it, then record it.
//!
//! A root that cannot be stored is in force all the same, for as long as the agent runs: a full disk must not keep a
//! stolen key alive. After a restart the hub sends it again. An expired root is taken like any other, because the one
//! that follows it can be reached over it only.

use std::time::Instant;

use postern_protocol::audit::Event;
use postern_protocol::session::agent::RootOutcome;
use postern_protocol::trust::{Role, Root, RootFault};
use postern_protocol::wire::control::RootCode;
use postern_protocol::wire::text::Text;

use super::activate::Activator;

impl Activator {
    /// Puts the root that follows in force.
    pub(super) async fn take_root(&mut self, sealed: Vec<u8>) -> RootOutcome {
        let before = self.parts.anchor.root();
        let next = match before.accept_next(&sealed) {
            Ok(next) => next,
            Err(fault) => return self.refuse_root(before.version, &fault).await,
        };
        let (version, epoch) = (next.version, next.policy_epoch);
        let same_signers = before.role(Role::Policy) == next.role(Role::Policy);
        self.parts.anchor.replace(next.clone());
        let vouched =
            if epoch != before.policy_epoch { false } else { same_signers || self.vouched(&next).await };
        if !vouched {
            self.parts.gate.withdraw();
        }
        // Also where the policy stays: its end may be that of the root.
        let cut = self.parts.registry.judge(&self.parts.gate);
        self.parts.gate.clock().learn_root(version);
        tracing::info!(version, epoch, cut, "a root came into force");
        self.keep(sealed).await;
        if let Err(error) = self.parts.auditor.record(Event::RootTaken { version, epoch, cut }).await {
            tracing::error!(%error, version, "a new root was not recorded");
        }
        RootOutcome::Taken { version }
    }

    /// Whether the stored snapshot, which is the one in force unless the disk is full, holds under `root`.
    async fn vouched(&self, root: &Root) -> bool {
        match self.parts.store.sealed().await {
            Ok(Some(sealed)) => self.holds_under(root, &sealed),
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "the stored policy cannot be judged under the new root");
                false
            }
        }
    }

    async fn keep(&mut self, sealed: Vec<u8>) {
        match self.parts.enrollment.under(sealed) {
            Ok(enrollment) => {
                self.parts.enrollment = enrollment.clone();
                if let Err(error) = self.parts.store.keep_enrollment(enrollment).await {
                    tracing::error!(%error, "the new root was not stored; the hub sends it again after a restart");
                }
            }
            // It was parsed a moment ago.
            Err(fault) => tracing::error!(error = %fault, "the new root has no digest"),
        }
    }

    async fn refuse_root(&mut self, version: u32, fault: &RootFault) -> RootOutcome {
        let (code, detail) = (RootCode::from(fault), Text::clean(&fault.to_string()));
        if self.root_refusals.is_worth_a_row(Instant::now(), version, code) {
            tracing::warn!(version, code = code.word(), reason = detail.as_str(), "a root was refused");
            if let Err(error) = self.parts.auditor.record(Event::RootRefused { version, code }).await {
                tracing::error!(%error, version, "a refused root was not recorded");
            }
        }
        RootOutcome::Refused { version, code, detail }
    }
}
