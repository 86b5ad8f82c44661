//! The lists of a snapshot, without what changes with each publication.

use std::collections::BTreeSet;

use serde::Serialize;

use postern_protocol::id::{DeviceId, FleetId, UserId};
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::{
    Approval, Case, Category, DeviceLimits, FreshnessRule, Grant, Kind, Origin, Pattern, Prohibition, Secret,
    Service, Snapshot, User,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::SealingKey;
use postern_protocol::trust::{Digest, PublicKey};
use postern_protocol::wire::codec::{self, CodecFault};

use super::cases::ActiveCase;
use super::category_name::category_names;
use super::source::{Source, label};
use super::standing::{Endpoint, Rule, Selected, Standing};
use super::{Approved, Enrolled};
use crate::model::Device;

/// The policy part of a snapshot. Equal content is equal policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    assigned: bool,
    retired: bool,
    limits: DeviceLimits,
    freshness: FreshnessRule,
    services: Vec<Service>,
    categories: Vec<Category>,
    users: Vec<User>,
    origins: Vec<Origin>,
    grants: Vec<Grant>,
    prohibitions: Vec<Prohibition>,
    paths: Vec<Pattern>,
    cases: Vec<Case>,
    approvals: Vec<Approval>,
    secrets: Vec<Secret>,
    recording_key: Option<SealingKey>,
}

/// Whom a snapshot is for, and which locks it lifts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addressee {
    /// The installation.
    pub fleet: FleetId,
    /// The device.
    pub device: DeviceId,
    /// The device's key.
    pub device_key: PublicKey,
    /// The root's policy epoch.
    pub epoch: u32,
    /// Locks of that epoch up to this sequence are lifted.
    pub locks_cleared: u64,
}

/// What changes with each publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The version.
    pub version: u64,
    /// When it is signed.
    pub issued: UnixTime,
    /// The first second in which it permits nothing.
    pub expires: UnixTime,
}

/// A policy that no snapshot can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A list has more entries than a device accepts.
    #[error(
        "device `{device}` would have {found} {list}, at most {limit} fit; give it fewer users, groups or services"
    )]
    TooMany {
        /// The device.
        device: Name,
        /// What there is too much of.
        list: &'static str,
        /// Entries.
        found: usize,
        /// Entries allowed.
        limit: usize,
    },
    /// A category is recorded, and nobody could open the recording.
    #[error(
        "category `{category}` is recorded on device `{device}`, whose account has no `recording-key`; make one with `postern replay keygen`"
    )]
    NoRecordingKey {
        /// The device.
        device: Name,
        /// The category.
        category: Name,
    },
    /// A category is recorded that contains what cannot be.
    #[error(
        "category `{category}` is recorded and contains `{service}` on device `{device}`; screens and web pages can be recorded, so put the others into a category of their own"
    )]
    Unrecordable {
        /// The device.
        device: Name,
        /// The category.
        category: Name,
        /// The service, by its name on the device.
        service: Name,
    },
}

/// Whether a device can keep a tunnel of this kind as something that can be looked at later.
const fn is_recordable(kind: Kind) -> bool {
    match kind {
        Kind::Vnc | Kind::Http => true,
        Kind::Vpn | Kind::Websocket => false,
    }
}

impl Content {
    /// A device without an account: it permits nothing and says so.
    #[must_use]
    pub const fn unassigned() -> Self {
        Self::empty(false, DeviceLimits { tunnels: 0, tunnels_per_user: 0 })
    }

    /// A device out of service: it permits nothing and forgets what it held.
    #[must_use]
    pub fn retired() -> Self {
        Self { retired: true, ..Self::unassigned() }
    }

    /// A device whose policy is not yet known to it: it belongs to an account and permits nothing.
    #[must_use]
    pub const fn deny_all() -> Self {
        Self::empty(true, DeviceLimits { tunnels: 0, tunnels_per_user: 0 })
    }

    const fn empty(assigned: bool, limits: DeviceLimits) -> Self {
        Self {
            assigned,
            retired: false,
            limits,
            freshness: Device::FRESHNESS,
            services: Vec::new(),
            categories: Vec::new(),
            users: Vec::new(),
            origins: Vec::new(),
            grants: Vec::new(),
            prohibitions: Vec::new(),
            paths: Vec::new(),
            cases: Vec::new(),
            approvals: Vec::new(),
            secrets: Vec::new(),
            recording_key: None,
        }
    }

    /// What a device needs of what is granted and denied on it: nothing of users who have no key.
    pub(super) fn assemble(
        device: &Name,
        body: &Device,
        standing: &Standing<'_, '_>,
        facts: Facts<'_>,
    ) -> Result<Self, CompileError> {
        let content = Assembly::new(standing).content(body, facts);
        content.check_counts(device)?;
        content.check_recordings(device)?;
        Ok(content)
    }

    fn check_counts(&self, device: &Name) -> Result<(), CompileError> {
        let counts = [
            ("services", self.services.len(), limits::SERVICES),
            ("access categories", self.categories.len(), limits::CATEGORIES),
            ("users", self.users.len(), limits::USERS),
            ("origins of grants", self.origins.len(), limits::ORIGINS),
            ("grants", self.grants.len(), limits::GRANTS),
            ("prohibitions", self.prohibitions.len(), limits::PROHIBITIONS),
            ("paths of denied pages", self.paths.len(), limits::PATHS),
            ("service cases", self.cases.len(), limits::CASES),
            ("approvals", self.approvals.len(), limits::APPROVALS),
        ];
        match counts.into_iter().find(|(_, found, limit)| found > limit) {
            Some((list, found, limit)) => {
                Err(CompileError::TooMany { device: device.clone(), list, found, limit })
            }
            None => Ok(()),
        }
    }

    /// Without a recording there is no tunnel: what can never be recorded is no access at all, and said before anybody is
    /// refused because of it.
    fn check_recordings(&self, device: &Name) -> Result<(), CompileError> {
        for category in self.categories.iter().filter(|category| category.record) {
            let device = || device.clone();
            if self.recording_key.is_none() {
                return Err(CompileError::NoRecordingKey {
                    device: device(),
                    category: category.name.clone(),
                });
            }
            let mut services =
                category.services.iter().filter_map(|at| self.services.get(usize::try_from(*at).ok()?));
            if let Some(service) = services.find(|service| !is_recordable(service.kind())) {
                let (category, service) = (category.name.clone(), service.name.clone());
                return Err(CompileError::Unrecordable { device: device(), category, service });
            }
        }
        Ok(())
    }

    /// The same with the secrets that are sealed to the device, ascending by name. One without an account carries none.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<Secret>) -> Self {
        if self.assigned { Self { secrets, ..self } } else { self }
    }

    /// SHA-256 of the content and its addressee: what decides whether a device needs a new version.
    ///
    /// # Errors
    /// When the encoding is larger than a snapshot may be.
    pub fn digest(&self, addressee: &Addressee) -> Result<Digest, CodecFault> {
        codec::encode(&(addressee, self), limits::SNAPSHOT_BYTES).map(|bytes| Digest::of(&[&bytes]))
    }

    /// For how long the device may do without its cloud at most.
    #[must_use]
    pub const fn offline_s(&self) -> u32 {
        self.freshness.offline_s
    }

    /// The snapshot for one device and term.
    #[must_use]
    pub fn into_snapshot(self, addressee: Addressee, term: Term) -> Snapshot {
        Snapshot {
            fleet: addressee.fleet,
            device: addressee.device,
            device_key: addressee.device_key,
            epoch: addressee.epoch,
            locks_cleared: addressee.locks_cleared,
            version: term.version,
            issued: term.issued,
            expires: term.expires,
            assigned: self.assigned,
            retired: self.retired,
            limits: self.limits,
            freshness: self.freshness,
            services: self.services,
            categories: self.categories,
            users: self.users,
            origins: self.origins,
            grants: self.grants,
            prohibitions: self.prohibitions,
            paths: self.paths,
            cases: self.cases,
            approvals: self.approvals,
            secrets: self.secrets,
            recording_key: self.recording_key,
        }
    }
}

/// What meets demands of grants on one device.
#[derive(Clone, Copy)]
pub(super) struct Facts<'f> {
    pub(super) cases: &'f [ActiveCase<'f>],
    pub(super) approvals: &'f [&'f Approved],
}

/// Positions of everything that is needed on one device.
struct Assembly<'t, 's, 'a> {
    standing: &'t Standing<'s, 'a>,
    grants: Vec<(&'t Rule<'s, 'a>, &'a Enrolled)>,
    bans: Vec<(&'t Rule<'s, 'a>, &'a Enrolled)>,
    /// For each endpoint its position among the services that somebody may use.
    services: Vec<Option<u32>>,
    /// For each selection the position of its category.
    categories: Vec<Option<u32>>,
    users: Vec<(UserId, &'a Enrolled)>,
    origins: Vec<&'t Origin>,
    /// What is closed to somebody, ascending.
    paths: Vec<&'t Pattern>,
}

impl<'t, 's, 'a> Assembly<'t, 's, 'a> {
    fn new(standing: &'t Standing<'s, 'a>) -> Self {
        let usable = |rules: &'t [Rule<'s, 'a>]| {
            let enrolled = rules.iter().filter_map(|rule| Some((rule, rule.holder.enrolled?)));
            enrolled.filter(|(_, user)| !user.keys.is_empty()).collect::<Vec<_>>()
        };
        let (grants, bans) = (usable(standing.grants()), usable(standing.bans()));
        let mut needed = vec![false; standing.endpoints().len()];
        for service in grants.iter().flat_map(|(rule, _)| standing.services(rule.selected)) {
            needed.get_mut(*service).into_iter().for_each(|needed| *needed = true);
        }
        let mut next = 0u32..;
        let services = needed.into_iter().map(|needed| if needed { next.next() } else { None }).collect();
        let mut users: Vec<_> = grants.iter().map(|(_, user)| (user.id, *user)).collect();
        users.sort_unstable_by_key(|(id, _)| *id);
        users.dedup_by_key(|(id, _)| *id);
        let mut origins: Vec<&Origin> =
            sources(&grants).chain(sources(&bans)).map(|source| &source.origin).collect();
        origins.sort_unstable();
        origins.dedup();
        let closes = |(rule, _): &(&Rule<'_, '_>, _)| standing.closes(rule.selected);
        let mut paths: Vec<&Pattern> = bans.iter().filter_map(closes).collect();
        paths.sort_unstable();
        paths.dedup();
        Self { standing, grants, bans, services, categories: Vec::new(), users, origins, paths }
    }

    fn content(mut self, device: &Device, facts: Facts<'_>) -> Content {
        let categories = self.categories();
        let grants: BTreeSet<Grant> =
            self.grants.iter().filter_map(|(rule, user)| self.grant(rule, user)).collect();
        let grants: Vec<Grant> = grants.into_iter().collect();
        let approvals = self.approvals(&grants, facts.approvals);
        let bans = self.bans.iter().filter_map(|(rule, user)| self.prohibition(rule, user));
        let prohibitions: BTreeSet<Prohibition> = bans.collect();
        let is_recorded = categories.iter().any(|category| category.record);
        let recording_key = self.standing.recording_key().filter(|_| is_recorded);
        let users = self.users.iter().map(|(id, user)| User {
            id: *id,
            keys: user.keys.iter().take(limits::USER_KEYS).copied().collect(),
            disabled: user.disabled,
            passes_from: user.passes_from,
        });
        Content {
            assigned: true,
            retired: false,
            limits: device.limits,
            freshness: device.freshness,
            services: self.services(),
            categories,
            users: users.collect(),
            origins: self.origins.iter().copied().cloned().collect(),
            grants,
            prohibitions: prohibitions.into_iter().collect(),
            paths: self.paths.iter().copied().cloned().collect(),
            cases: self.cases(facts.cases),
            approvals,
            secrets: Vec::new(),
            recording_key,
        }
    }

    /// The services that somebody may use.
    fn services(&self) -> Vec<Service> {
        let endpoints = self.standing.endpoints().iter().zip(&self.services);
        let needed = endpoints.filter(|(_, position)| position.is_some());
        let service = |(endpoint, _): (&Endpoint<'_>, _)| Service {
            name: endpoint.name.clone(),
            tunnels: endpoint.service.tunnels,
            idle_s: endpoint.service.idle_s,
            duration_s: endpoint.service.duration_s,
            view_only: endpoint.service.view_only,
            reach: endpoint.service.reach.clone(),
        };
        needed.map(service).collect()
    }

    /// The positions of those services of a selection that somebody may use.
    fn positions(&self, selected: &Selected<'_>) -> Vec<u32> {
        let services = selected.services.iter();
        services.filter_map(|service| self.services.get(*service).copied().flatten()).collect()
    }

    /// Names what is granted and denied; notes where each selection stands.
    fn categories(&mut self) -> Vec<Category> {
        let rules = self.grants.iter().chain(&self.bans);
        let used: BTreeSet<usize> = rules.map(|(rule, _)| rule.selected).collect();
        let selections = self.standing.selections();
        let named: Vec<&Selected<'_>> = used.iter().filter_map(|at| selections.get(*at)).collect();
        let endpoints = self.standing.endpoints();
        let names = category_names(&named, |selected| {
            let services =
                selected.services.iter().filter(|at| self.services.get(**at).is_some_and(Option::is_some));
            services.filter_map(|at| Some(endpoints.get(*at)?.name.as_str())).collect()
        });
        let mut categories: Vec<(usize, Category)> = used
            .into_iter()
            .zip(named.iter().zip(names))
            .filter_map(|(at, (selected, name))| {
                let record =
                    self.standing.records(at) && self.grants.iter().any(|(rule, _)| rule.selected == at);
                Some((at, Category { name: name?, services: self.positions(selected), record }))
            })
            .collect();
        categories.sort_unstable_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        self.categories = vec![None; selections.len()];
        for ((at, _), position) in categories.iter().zip(0u32..) {
            self.categories.get_mut(*at).into_iter().for_each(|category| *category = Some(position));
        }
        categories.into_iter().map(|(_, category)| category).collect()
    }

    fn grant(&self, rule: &Rule<'_, '_>, user: &Enrolled) -> Option<Grant> {
        Some(Grant {
            user: self.user(user)?,
            category: self.categories.get(rule.selected).copied().flatten()?,
            not_before: rule.window.from,
            not_after: rule.window.until,
            second_factor_s: rule.source.second_factor_s,
            needs_case: rule.source.needs_case,
            needs_approval: rule.source.needs_approval,
            offline_ok: rule.source.offline,
            mode: self.standing.mode(rule.selected),
            origin: self.origin(rule.source)?,
        })
    }

    fn prohibition(&self, rule: &Rule<'_, '_>, user: &Enrolled) -> Option<Prohibition> {
        // What closes a path must never be taken for what refuses the whole, nor the other way round.
        let path = match self.standing.closes(rule.selected) {
            Some(path) => Some(u32::try_from(self.paths.binary_search(&path).ok()?).ok()?),
            None => None,
        };
        Some(Prohibition {
            user: self.user(user)?,
            category: self.categories.get(rule.selected).copied().flatten()?,
            path,
            not_before: rule.window.from,
            not_after: rule.window.until,
            origin: self.origin(rule.source)?,
        })
    }

    /// The cases that a grant waits for, each with those of its services that such a grant contains.
    fn cases(&self, cases: &[ActiveCase<'_>]) -> Vec<Case> {
        let waiting = self.grants.iter().filter(|(rule, _)| rule.source.needs_case);
        let waiting: BTreeSet<usize> =
            waiting.flat_map(|(rule, _)| self.standing.services(rule.selected)).copied().collect();
        let case = |case: &ActiveCase<'_>| {
            let endpoint = |at: &&usize| self.standing.endpoints().get(**at);
            let about =
                waiting.iter().filter(|at| endpoint(at).is_some_and(|one| case.is_about(one.machine)));
            let services: Vec<u32> =
                about.filter_map(|at| self.services.get(*at).copied().flatten()).collect();
            (!services.is_empty()).then(|| Case {
                name: label(case.name),
                services,
                not_before: case.window.from,
                not_after: case.window.until,
            })
        };
        cases.iter().filter_map(case).collect()
    }

    /// What was approved of each grant that demands it: by whom it was asked for, of this service, and because of this source.
    fn approvals(&self, grants: &[Grant], approved: &[&Approved]) -> Vec<Approval> {
        let mut approvals = BTreeSet::new();
        if approved.is_empty() {
            return Vec::new();
        }
        for (rule, user) in self.grants.iter().filter(|(rule, _)| rule.source.needs_approval) {
            let grant = self.grant(rule, user).and_then(|grant| grants.binary_search(&grant).ok());
            let Some(grant) = grant.and_then(|at| u32::try_from(at).ok()) else { continue };
            let concerned = approved.iter().filter(|one| one.user == *rule.holder.user);
            for one in concerned.filter(|one| one.origins.contains(&rule.source.origin)) {
                let selected = self.standing.services(rule.selected).iter();
                let named = |at: &&usize| {
                    self.standing.endpoints().get(**at).is_some_and(|it| it.name == one.service)
                };
                let services =
                    selected.filter(named).filter_map(|at| self.services.get(*at).copied().flatten());
                let Approved { id, mode, until: not_after, .. } = **one;
                approvals.extend(services.map(|service| Approval { grant, service, mode, not_after, id }));
            }
        }
        approvals.into_iter().collect()
    }

    fn user(&self, user: &Enrolled) -> Option<u32> {
        let position = self.users.binary_search_by_key(&user.id, |(id, _)| *id).ok()?;
        u32::try_from(position).ok()
    }

    fn origin(&self, source: &Source<'_>) -> Option<u32> {
        u32::try_from(self.origins.binary_search(&&source.origin).ok()?).ok()
    }
}

/// The sources of some rules; one after another where many rules come from one.
fn sources<'t, 's, 'a>(
    rules: &'t [(&'t Rule<'s, 'a>, &'a Enrolled)],
) -> impl Iterator<Item = &'s Source<'a>> {
    let mut last: Option<&Source<'_>> = None;
    rules.iter().map(|(rule, _)| rule.source).filter(move |source| {
        let repeated = last.is_some_and(|last| std::ptr::eq(last, *source));
        last = Some(source);
        !repeated
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_as_long_as_a_device_accepts_and_no_longer() {
        let device: Name = "d1".parse().unwrap();
        let label = || "x".parse().unwrap();
        let (not_before, not_after) = (None, None);
        let category = Category { name: device.clone(), services: Vec::new(), record: false };
        let row = Prohibition { user: 0, category: 0, path: None, not_before, not_after, origin: 0 };
        let grant = Grant {
            user: 0,
            category: 0,
            not_before,
            not_after,
            second_factor_s: None,
            needs_case: false,
            needs_approval: false,
            offline_ok: false,
            mode: postern_protocol::policy::Mode::ViewOnly,
            origin: 0,
        };
        let case = Case { name: label(), services: Vec::new(), not_before, not_after };
        let approval = Approval {
            grant: 0,
            service: 0,
            mode: postern_protocol::policy::Mode::ViewOnly,
            not_after: UnixTime::MAX,
            id: postern_protocol::id::ApprovalId::new([0; 8]),
        };
        let user =
            User { id: UserId::new([0; 8]), keys: Vec::new(), disabled: false, passes_from: UnixTime::EPOCH };
        let with = |more: usize| {
            [
                (
                    "access categories",
                    limits::CATEGORIES,
                    Content {
                        categories: vec![category.clone(); limits::CATEGORIES + more],
                        ..Content::deny_all()
                    },
                ),
                (
                    "users",
                    limits::USERS,
                    Content { users: vec![user.clone(); limits::USERS + more], ..Content::deny_all() },
                ),
                (
                    "origins of grants",
                    limits::ORIGINS,
                    Content {
                        origins: vec![Origin::Entry { entry: label() }; limits::ORIGINS + more],
                        ..Content::deny_all()
                    },
                ),
                (
                    "grants",
                    limits::GRANTS,
                    Content { grants: vec![grant; limits::GRANTS + more], ..Content::deny_all() },
                ),
                (
                    "prohibitions",
                    limits::PROHIBITIONS,
                    Content { prohibitions: vec![row; limits::PROHIBITIONS + more], ..Content::deny_all() },
                ),
                (
                    "paths of denied pages",
                    limits::PATHS,
                    Content {
                        paths: vec![Pattern::everything(); limits::PATHS + more],
                        ..Content::deny_all()
                    },
                ),
                (
                    "approvals",
                    limits::APPROVALS,
                    Content { approvals: vec![approval; limits::APPROVALS + more], ..Content::deny_all() },
                ),
                (
                    "service cases",
                    limits::CASES,
                    Content { cases: vec![case.clone(); limits::CASES + more], ..Content::deny_all() },
                ),
            ]
        };
        for (list, _, content) in with(0) {
            assert_eq!(content.check_counts(&device), Ok(()), "{list}");
        }
        for (list, limit, content) in with(1) {
            let found = limit + 1;
            let refused = CompileError::TooMany { device: device.clone(), list, found, limit };
            assert_eq!(content.check_counts(&device), Err(refused));
        }
    }
}
