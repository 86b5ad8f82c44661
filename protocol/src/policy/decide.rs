//! The decision: who asks, for what, when, and under which circumstances. The only function that says yes.
//!
//! 1. Is the caller known and enabled, has the device an owner and a policy that is in date?
//! 2. Does a prohibition of the caller contain the service now? It beats every grant. One that names a path refuses no tunnel: the
//!    permit says what is closed to the caller, and whoever carries requests asks it.
//! 3. Of the caller's grants that contain the service: does one hold now, with all of *its own* conditions?
//! 4. Is the whole device locked?
//! 5. Is there room for one more tunnel, and a seat if it may touch a screen?
//!
//! Conditions belong to the grant that is used: a window, second factor, case or approval is never borrowed from another
//! grant.
//! If several grants hold, the one with the widest mode is used, and of these the one that holds longest. Where it ends a
//! tunnel is decided again, so that a narrower grant that holds longer takes over in place; rights of two grants are never
//! united. If none holds, the denial names the grant that came furthest, because that is the one the caller can do something
//! about.
//!
//! A mode is that of the grant, narrowed by its approval where it demands one, by the service and by the caller's own wish.
//!
//! Absent on purpose: any default. Every path that is not spelled out ends in a denial.

mod flow;

use std::net::SocketAddr;
use std::sync::Arc;

use super::freshness::Freshness;
use super::index::{Ask, Caller, Index};
use super::mode::Mode;
use super::reason::Reason;
use super::snapshot::{Approval, Case, Category, Grant, Origin, Pattern, Reach, Rules, Service};
use super::verify::Floor;
use crate::id::UserId;
use crate::name::Name;
use crate::time::UnixTime;
use crate::trust::sealed::SealingKey;
use crate::trust::{PublicKey, Subject};

pub use self::flow::{FlowPermit, FlowRefusal};

/// What is true on the device at the moment of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The device's time.
    pub now: UnixTime,
    /// For how long the policy counts without a word of the cloud.
    pub freshness: Freshness,
    /// Other tunnels open on the device.
    pub open: u32,
    /// Other tunnels open by this user.
    pub open_by_user: u32,
    /// Other tunnels open on this service.
    pub open_on_service: u32,
    /// Those of them that may touch.
    pub writers_on_service: u32,
}

impl Circumstances {
    /// Nobody else has a tunnel.
    #[must_use]
    pub const fn alone(now: UnixTime, freshness: Freshness) -> Self {
        Self { now, freshness, open: 0, open_by_user: 0, open_on_service: 0, writers_on_service: 0 }
    }
}

/// Proof that [`decide`] said yes. Private fields, one constructor: every path that moves bytes demands one.
#[derive(Debug)]
pub struct Permit {
    index: Arc<Index>,
    user: UserId,
    service: u32,
    grant: u32,
    mode: Mode,
    /// When it was decided.
    at: UnixTime,
    until: UnixTime,
    ends: UnixTime,
}

impl Permit {
    /// The user that was permitted.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The service, with its target and limits.
    #[must_use]
    pub fn service(&self) -> &Service {
        // The position was found in this very index; an index never changes.
        #[expect(clippy::indexing_slicing, reason = "checked by `judge`")]
        &self.index.snapshot().services[self.service as usize]
    }

    /// The address to dial: the snapshot's, never a peer's. None of a VPN, whose flows each have a [`FlowPermit`].
    #[must_use]
    pub fn target(&self) -> Option<SocketAddr> {
        self.service().reach.target().map(SocketAddr::from)
    }

    /// What may be done: the mode of the grant that was used, narrowed by the service and by the wish.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The paths of the service that are closed to the user, whatever its rules let through. What they are changes only where the
    /// permit is decided again.
    pub fn closed(&self) -> impl Iterator<Item = &Pattern> {
        self.index.closed_paths(self.user, self.service, self.at)
    }

    /// The first second in which this permit must be decided again.
    #[must_use]
    pub const fn until(&self) -> UnixTime {
        self.until
    }

    /// The first second in which it is over: what people are told. While the policy is fresh, that is without the end of its
    /// freshness, which moves on with each word of the cloud.
    #[must_use]
    pub const fn ends(&self) -> UnixTime {
        self.ends
    }

    /// The access category of the grant that was used.
    #[must_use]
    pub fn category(&self) -> Option<&Category> {
        self.index.category(self.index.grant(self.grant)?.category)
    }

    /// The key to which the tunnel must be recorded, if its category demands that: an obligation of the grant that was used.
    /// Whoever moves bytes fulfils it first, or moves none.
    #[must_use]
    pub fn recording(&self) -> Option<SealingKey> {
        // The form of a snapshot has a key wherever a category demands a recording.
        self.category().filter(|category| category.record).and(self.index.snapshot().recording_key)
    }

    /// Where the grant that was used comes from.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.index.origin(self.index.grant(self.grant)?.origin)
    }

    /// The snapshot that permitted it.
    #[must_use]
    pub fn floor(&self) -> Floor {
        self.index.floor()
    }
}

/// A no, with one reason and, where a grant or prohibition was in play, its origin.
#[derive(Clone, Debug)]
pub struct Denial {
    reason: Reason,
    rule: Option<(Arc<Index>, Rule)>,
}

/// The row of a snapshot that a judgement rests on, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The grant that is used, or that came furthest.
    Grant(u32),
    /// The prohibition that refuses.
    Prohibition(u32),
}

impl Denial {
    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Where the prohibition or the grant that came furthest comes from; none when no rule was in play.
    ///
    /// With [`Reason::NoGrant`] it is always a prohibition. It is for the audit and not for the caller, who must not
    /// learn whether a service exists.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        let (index, rule) = self.rule.as_ref()?;
        index.origin(match *rule {
            Rule::Grant(grant) => index.grant(grant)?.origin,
            Rule::Prohibition(prohibition) => index.prohibition(prohibition)?.origin,
        })
    }

    /// A denial without a policy decision: the caller could not be authenticated.
    #[must_use]
    pub const fn bad_pass() -> Self {
        Self { reason: Reason::BadPass, rule: None }
    }
}

/// Decides one request. No index is no policy.
///
/// Takes 7 to 25 ns and allocates nothing; a permit keeps the index alive.
///
/// # Errors
/// A [`Denial`] with the first reason that fails, in the order of [`Reason`].
#[inline(always)] // has one caller; through memory, its result waits for its stores: a third of a decision
pub fn decide(
    policy: Option<&Arc<Index>>,
    subject: &Subject,
    ask: &Ask,
    circumstances: &Circumstances,
) -> Result<Permit, Denial> {
    let key = subject.key();
    let facts = Facts {
        user: subject.user(),
        key: Some(&key),
        pass_issued: subject.issued(),
        pass_expires: subject.expires(),
        second_factor_at: subject.second_factor_at(),
        only: subject.services(),
    };
    match judge(policy, &facts, ask, circumstances) {
        Ok(Yes { index, service, grant, mode, until, ends }) => {
            let (index, user, at) = (Arc::clone(index), facts.user, circumstances.now);
            Ok(Permit { index, user, service, grant, mode, at, until, ends })
        }
        Err(No { reason, rule }) => {
            let rule = rule.and_then(|rule| Some((Arc::clone(policy?), rule)));
            Err(Denial { reason, rule })
        }
    }
}

/// What is known of a caller; hypothetical in [`explain`](super::explain()).
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) user: UserId,
    /// None supposes one of the user's own keys.
    pub(super) key: Option<&'a PublicKey>,
    pub(super) pass_issued: UnixTime,
    pub(super) pass_expires: UnixTime,
    pub(super) second_factor_at: Option<UnixTime>,
    /// The only services that the pass opens; none is every service.
    pub(super) only: Option<&'a [Name]>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Yes<'a> {
    index: &'a Arc<Index>,
    service: u32,
    pub(super) grant: u32,
    pub(super) mode: Mode,
    pub(super) until: UnixTime,
    ends: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct No {
    pub(super) reason: Reason,
    pub(super) rule: Option<Rule>,
}

impl From<Reason> for No {
    fn from(reason: Reason) -> Self {
        Self { reason, rule: None }
    }
}

/// The judgement itself, in the order of [`Reason`]. It permits nothing: only [`decide`] makes a [`Permit`] of it.
#[inline(always)] // as `decide`
pub(super) fn judge<'a>(
    policy: Option<&'a Arc<Index>>,
    facts: &Facts<'_>,
    ask: &Ask,
    circumstances: &Circumstances,
) -> Result<Yes<'a>, No> {
    let now = circumstances.now;
    if facts.pass_expires <= now {
        return Err(Reason::BadPass.into());
    }
    let index = policy.ok_or(Reason::NoPolicy)?;
    let snapshot = index.snapshot();
    // An ask of another index would point at other people's rows.
    let user = ask.user.filter(|_| ask.index == index.tag());
    let caller = user.and_then(|user| index.caller(user)).filter(|caller| caller.id == facts.user);
    if let Some(caller) = caller {
        // A key that the snapshot does not name: a stolen identity key can make a pass, but not this row.
        if facts.key.is_some_and(|key| !index.speaks_for(key, caller)) {
            return Err(Reason::BadPass.into());
        }
        // Signed out everywhere since: whoever has a copy of pass and key has nothing.
        if !index.takes_pass(facts.pass_issued, caller) {
            return Err(Reason::BadPass.into());
        }
        if caller.disabled {
            return Err(Reason::UserDisabled.into());
        }
    }
    if !snapshot.assigned {
        return Err(Reason::DeviceUnassigned.into());
    }
    let freshness = circumstances.freshness;
    if snapshot.expires <= now || freshness.offline_until <= now {
        return Err(Reason::PolicyStale.into());
    }
    // Unknown user, unknown service and missing grant are one answer: nothing is revealed.
    let (Some(caller), Some(service)) = (caller, ask.service) else {
        return Err(Reason::NoGrant.into());
    };
    if let Some(only) = facts.only
        && !is_among(only, index, service)
    {
        return Err(Reason::NoGrant.into());
    }
    // Most devices have none: then the question costs one comparison.
    let prohibited_from = if snapshot.prohibitions.is_empty() {
        UnixTime::MAX
    } else {
        next_prohibition(index, caller, service, now)?
    };
    let asked = index.service(service).ok_or(Reason::NoGrant)?;
    let widest = if ask.view_only { Mode::ViewOnly } else { asked.widest() };
    let bound = snapshot.expires.min(prohibited_from).min(facts.pass_expires);
    let wanted = Wanted { service, widest, bound: bound.min(freshness.offline_until) };
    let Chosen { grant, mode, until, ends, .. } = choose(index, facts, caller, wanted, circumstances)?;
    if index.is_site_locked() {
        return Err(No { reason: Reason::SiteLocked, rule: Some(Rule::Grant(grant)) });
    }
    // Without a word of the cloud the end of the budget is an end; with one, its edge moves on.
    let ends = if freshness.fresh_until <= now { until } else { ends.min(bound) };
    let room = circumstances.open_on_service < u32::from(asked.tunnels)
        && circumstances.open_by_user < u32::from(snapshot.limits.tunnels_per_user)
        && circumstances.open < u32::from(snapshot.limits.tunnels)
        && has_seat(asked, mode, circumstances.writers_on_service);
    if room {
        Ok(Yes { index, service, grant, mode, until, ends })
    } else {
        Err(No { reason: Reason::Concurrency, rule: Some(Rule::Grant(grant)) })
    }
}

/// Whether the service is one of those to which a pass is narrowed.
#[cold]
fn is_among(only: &[Name], index: &Index, service: u32) -> bool {
    index.service(service).is_some_and(|service| only.contains(&service.name))
}

/// When the next prohibition of the user that contains the service begins, or one of a path ends; a denial when one is in force
/// now that is for the whole service.
#[inline(never)] // keeps the way without prohibitions short
fn next_prohibition(index: &Index, caller: &Caller, service: u32, now: UnixTime) -> Result<UnixTime, No> {
    let mut next = UnixTime::MAX;
    for (ix, row) in index.prohibitions_for(caller, service) {
        if row.path.is_some() && row.in_force(now) {
            next = row.not_after.unwrap_or(UnixTime::MAX).min(next);
            continue;
        }
        if row.in_force(now) {
            // Unknown, ungranted and prohibited are one answer to the caller; the audit names the rule.
            return Err(No { reason: Reason::NoGrant, rule: Some(Rule::Prohibition(ix)) });
        }
        next = row.not_before.filter(|from| now < *from).unwrap_or(UnixTime::MAX).min(next);
    }
    Ok(next)
}

/// Whether one more tunnel of this mode may touch: two people at one screen would each move the other's pointer.
fn has_seat(service: &Service, mode: Mode, writers: u32) -> bool {
    match &service.reach {
        Reach::Place { rules: Rules::Vnc(rules), .. } => {
            !mode.touches() || writers < u32::from(rules.writers)
        }
        Reach::Place { rules: Rules::Http(_) | Rules::Websocket(_), .. } | Reach::Flows(_) => true,
    }
}

/// What a grant is looked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    service: u32,
    /// The most that may be done there.
    widest: Mode,
    /// What ends every permit, however long its grant holds.
    bound: UnixTime,
}

/// The grant that is used.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    grant: u32,
    mode: Mode,
    recorded: bool,
    /// Until when it is, whatever ends it first.
    until: UnixTime,
    /// The first second in which the grant itself is over.
    ends: UnixTime,
}

impl Chosen {
    /// The greater one is used. Of two that are alike it is the one with the obligation, so that whoever marks a category is
    /// not surprised by another grant of the same.
    const fn rank(&self) -> (Mode, UnixTime, bool) {
        (self.mode, self.until, self.recorded)
    }
}

/// Of the grants that contain the service: the widest, of these the one that holds longest, and of these one that demands a
/// recording; or the reason of the one that came furthest.
#[inline(always)] // has one caller; a call of its own costs a tenth of a decision
fn choose(
    index: &Index,
    facts: &Facts<'_>,
    caller: &Caller,
    Wanted { service, widest, bound }: Wanted,
    circumstances: &Circumstances,
) -> Result<Chosen, No> {
    let Circumstances { now, freshness, .. } = *circumstances;
    let records = index.snapshot().recording_key.is_some();
    let mut best: Option<Chosen> = None;
    let mut nearest = No::from(Reason::NoGrant);
    // Looked up once, by the first grant that demands it: there may be many grants and many cases.
    let mut case: Option<Option<UnixTime>> = None;
    for (ix, grant) in index.grants_for(caller, service) {
        let case_end = || *case.get_or_insert_with(|| active_case(index, service, now).map(Case::end));
        let approval = || approval(index, (ix, service), grant.mode.narrower(widest), now);
        let conditions = Conditions { case_end, approval };
        match holds(grant, facts, conditions, freshness, now) {
            Ok(lasting) => {
                let mode = lasting.mode.narrower(widest);
                // Few devices record: for the others this costs one comparison.
                let recorded = records && index.category(grant.category).is_some_and(|one| one.record);
                let until = lasting.until.min(bound);
                let found = Chosen { grant: ix, mode, recorded, until, ends: lasting.ends };
                // Nothing is wider or holds longer, and of those that are alike the first is used.
                if mode == widest && until == bound && recorded == records {
                    return Ok(found);
                }
                if best.is_none_or(|best| best.rank() < found.rank()) {
                    best = Some(found);
                }
            }
            // Any grant comes further than none.
            Err(reason) if nearest.rule.is_none() || reason > nearest.reason => {
                nearest = No { reason, rule: Some(Rule::Grant(ix)) };
            }
            Err(_) => {}
        }
    }
    best.ok_or(nearest)
}

/// How long a grant holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting {
    /// The first second in which it must be judged again.
    pub(super) until: UnixTime,
    /// The first second in which it is over, however fresh the policy is then.
    pub(super) ends: UnixTime,
    /// What it lets do, before service and wish narrow it.
    pub(super) mode: Mode,
}

/// What a grant is asked about that stands elsewhere in the snapshot; only a grant that demands it asks.
pub(super) struct Conditions<C, A> {
    /// Until when a case of the very service is active.
    pub(super) case_end: C,
    /// What is approved of this grant for the very service.
    pub(super) approval: A,
}

/// Whether one grant holds now, how far and until when; otherwise its first failing condition.
pub(super) fn holds<'a>(
    grant: &Grant,
    facts: &Facts<'_>,
    conditions: Conditions<impl FnOnce() -> Option<UnixTime>, impl FnOnce() -> Option<&'a Approval>>,
    freshness: Freshness,
    now: UnixTime,
) -> Result<Lasting, Reason> {
    // Without a word of the cloud only what is meant for that counts.
    let lasting = if grant.offline_ok { freshness.offline_until } else { freshness.fresh_until };
    if lasting <= now {
        return Err(Reason::PolicyStale);
    }
    if grant.not_before.is_some_and(|from| now < from) {
        return Err(Reason::NotYet);
    }
    let end = grant.not_after.unwrap_or(UnixTime::MAX);
    if end <= now {
        return Err(Reason::Expired);
    }
    let mut ends = end;
    if let Some(max_age) = grant.second_factor_s {
        let used = facts.second_factor_at.ok_or(Reason::SecondFactorRequired)?;
        let stale_at = used.saturating_add(u64::from(max_age));
        if stale_at <= now {
            return Err(Reason::SecondFactorStale);
        }
        ends = ends.min(stale_at);
    }
    if grant.needs_case {
        ends = ends.min((conditions.case_end)().ok_or(Reason::CaseInactive)?);
    }
    let mut mode = grant.mode;
    if grant.needs_approval {
        let approval = (conditions.approval)().ok_or(Reason::ApprovalPending)?;
        ends = ends.min(approval.not_after);
        mode = mode.narrower(approval.mode);
    }
    Ok(Lasting { until: ends.min(lasting), ends, mode })
}

/// The case that contains the service and is active; of several the one that ends last.
#[inline(never)] // few grants demand a case, and all others would pay for the space
pub(super) fn active_case(index: &Index, service: u32, now: UnixTime) -> Option<&Case> {
    index.cases_of(service).filter(|case| case.is_active(now)).max_by_key(|case| case.end())
}

/// What is approved of one grant for one service; of several the one that lets do most of `wanted`, and of these the one that ends
/// last. Where it ends is decided again, so that a narrower one that lasts longer takes over.
#[inline(never)] // as `active_case`
pub(super) fn approval(
    index: &Index,
    (grant, service): (u32, u32),
    wanted: Mode,
    now: UnixTime,
) -> Option<&Approval> {
    let given = index.approvals_of(grant, service).filter(|approval| now < approval.not_after);
    given.max_by_key(|approval| (approval.mode.narrower(wanted), approval.not_after))
}

#[cfg(test)]
mod tests;
