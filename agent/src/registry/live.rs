//! All live tunnels, and the decisions about them. Whoever calls holds the registry's lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_protocol::id::UserId;
use postern_protocol::name::Name;
use postern_protocol::policy::{Denial, Permit, Reason};
use postern_protocol::trust::Subject;
use postern_protocol::wire::registry::{CloseCode, Failure};

use super::cuts::{Cuts, Deciding};
use super::entry::Entry;
use super::leash::Ruling;
use super::{Caller, Refused, Rows, Wish};
use crate::gate::{Counts, Gate, Stage, Wanted};

/// What the lock is about.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// By order of admission.
    pub(super) tunnels: BTreeMap<u64, Entry>,
    pub(super) next: u64,
    /// Tunnels that have not ended, those included that were told to stop.
    pub(super) unfinished: u32,
    pub(super) cuts: Cuts,
    pub(super) closing: bool,
}

impl Live {
    /// Decides about one more tunnel, of at most `cap`.
    pub(super) fn decide(
        &self,
        gate: &Gate,
        caller: &Caller<'_>,
        service: &Name,
        wish: Wish,
        cap: u16,
    ) -> Result<Arc<Permit>, Refused> {
        if self.closing {
            return Err(Refused::Failed(Failure::Shutdown));
        }
        let counts = self.counts(None, caller.subject.user(), service);
        let wanted = Wanted { service: service.as_str(), view_only: wish.view_only };
        let permit = gate
            .decide(caller.subject, wanted, counts, Stage::Opening)
            .map_err(|denial| self.refused(denial, gate, caller.subject, wanted, counts))?;
        if counts.device >= u32::from(cap) {
            return Err(Refused::Failed(Failure::Busy));
        }
        Ok(Arc::new(permit))
    }

    /// Tunnels admitted before this one, all for none. Of seats also those that younger tunnels have, if this one has none:
    /// nobody loses the pointer in the middle of a movement because somebody who only looked may now touch.
    pub(super) fn counts(&self, order: Option<u64>, user: UserId, service: &Name) -> Counts {
        let mut counts = Counts::default();
        let seated =
            order.and_then(|order| self.tunnels.get(&order)).is_some_and(|entry| entry.mode.touches());
        for (other, entry) in &self.tunnels {
            let older = order.is_none_or(|order| *other < order);
            let counted = older || (!seated && order != Some(*other));
            let on_service = entry.service == *service;
            counts.writers += u32::from(counted && on_service && entry.mode.touches());
            if older {
                counts.device += 1;
                counts.user += u32::from(entry.subject.user() == user);
                counts.service += u32::from(on_service);
            }
        }
        counts
    }

    /// Says with a denial for want of a place who has it, where that is a place of the service: with its own limit reached,
    /// a caller could do something about it alone.
    fn refused(
        &self,
        denial: Denial,
        gate: &Gate,
        subject: &Subject,
        wanted: Wanted<'_>,
        counts: Counts,
    ) -> Refused {
        if denial.reason() != Reason::Concurrency {
            return Refused::Denied(denial);
        }
        // Only somebody who touches stands in the way of whoever could look.
        let looking = Wanted { view_only: true, ..wanted };
        let may_look = !wanted.view_only && gate.decide(subject, looking, counts, Stage::Opening).is_ok();
        let full = gate.policy().is_some_and(|policy| {
            let services = &policy.snapshot().services;
            let service = services.iter().find(|service| service.name.as_str() == wanted.service);
            service.is_some_and(|service| counts.service >= u32::from(service.tunnels))
        });
        let mut holders = self.tunnels.values().filter(|entry| entry.service.as_str() == wanted.service);
        match holders.find(|entry| full || (may_look && entry.mode.touches())) {
            Some(entry) => Refused::Occupied { denial, holder: entry.holder(), may_look },
            None => Refused::Denied(denial),
        }
    }

    pub(super) fn judge(&mut self, gate: &Gate, change: Deciding, rows: &Rows) {
        let orders: Vec<u64> = self.tunnels.keys().copied().collect();
        orders.into_iter().for_each(|order| self.judge_one(order, gate, change, rows));
    }

    /// Decides one live tunnel again, because of a change.
    pub(super) fn judge_one(&mut self, order: u64, gate: &Gate, change: Deciding, rows: &Rows) {
        let Some(entry) = self.tunnels.get(&order) else { return };
        let counts = self.counts(Some(order), entry.subject.user(), &entry.service);
        let wanted = Wanted { service: entry.service.as_str(), view_only: entry.wish.view_only };
        let code = match gate.decide(&entry.subject, wanted, counts, Stage::Live) {
            Ok(permit) if entry.is_same(&permit) && entry.fulfils(&permit) => {
                if let Some(entry) = self.tunnels.get_mut(&order) {
                    entry.go_on(permit, gate.clock().now(), rows);
                }
                return;
            }
            // What was done so far is not on any recording, and its user was told of none.
            Ok(permit) if entry.is_same(&permit) => CloseCode::Failed(Failure::Recorded),
            // The name now means something else: what is open is not what is permitted.
            Ok(_another) => CloseCode::Denied(Reason::Revoked),
            Err(denial) => CloseCode::Denied(withdrawn(denial.reason())),
        };
        self.cut(order, code, rows);
        self.cuts.told(change, order);
    }

    pub(super) fn cut(&mut self, order: u64, code: CloseCode, rows: &Rows) -> bool {
        let removed = self.remove(order, rows);
        removed.map(|entry| entry.leash.rule(Ruling::Cut(code))).is_some()
    }

    /// Takes a tunnel out, with the last word about its rights.
    pub(super) fn remove(&mut self, order: u64, rows: &Rows) -> Option<Entry> {
        let mut entry = self.tunnels.remove(&order)?;
        if let Ruling::Permitted(last) = entry.leash.ruling() {
            entry.account.rest(entry.id, &last).into_iter().for_each(&rows.0);
        }
        Some(entry)
    }
}

/// What a denial means for somebody whose tunnel is open already: a grant that is gone was withdrawn.
const fn withdrawn(reason: Reason) -> Reason {
    if matches!(reason, Reason::NoGrant) { Reason::Revoked } else { reason }
}
