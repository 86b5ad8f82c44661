//! A slow reference of the decision, written from the sentences of `docs/wire.md` and not from the code.
//!
//! A world is told by names, in any order; positions appear only when it is assembled into a snapshot. The
//! reference never looks at positions, indexes or bits, and it finds ends of permits by trying every second.

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::id::{ApprovalId, UserId};
use postern_protocol::policy::{
    Approval, Case, Category, DeviceLimits, FreshnessRule, Grant, HttpRules, Mode, Origin, Pattern,
    Prohibition, Reach, Reason, Rules, Service, Snapshot, Target, User, VncRules,
};
use postern_protocol::time::UnixTime;

use crate::probes::{DEVICE, FLEET, key};
use crate::samples::{factory, name};

/// A grant by names: assignment, user, category and its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) assignment: u8,
    pub(crate) user: u8,
    pub(crate) category: u8,
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) factor_s: Option<u32>,
    pub(crate) needs_case: bool,
    pub(crate) needs_approval: bool,
    pub(crate) offline_ok: bool,
    pub(crate) mode: Mode,
}

/// A prohibition by names: entry, user, category, its window, and the path that it closes instead of whole services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ban {
    pub(crate) entry: u8,
    pub(crate) user: u8,
    pub(crate) category: u8,
    pub(crate) path: Option<u8>,
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
}

/// A service case by names; no two of a world have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) case: u8,
    pub(crate) services: Vec<u8>,
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
}

/// What was approved of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Consent {
    pub(crate) rule: Rule,
    pub(crate) service: u8,
    pub(crate) mode: Mode,
    pub(crate) until: u64,
}

/// A policy by names, in the order in which somebody happened to write it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) assigned: bool,
    pub(crate) expires: u64,
    pub(crate) tunnels: u16,
    pub(crate) services: Vec<u8>,
    /// Services that everybody only looks at.
    pub(crate) looked_at: Vec<u8>,
    /// Who may touch at once; services of even numbers are screens.
    pub(crate) writers: u16,
    /// Category and one service of it.
    pub(crate) contents: Vec<(u8, u8)>,
    /// User and whether disabled.
    pub(crate) users: Vec<(u8, bool)>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) bans: Vec<Ban>,
    pub(crate) visits: Vec<Visit>,
    pub(crate) consents: Vec<Consent>,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) user: u8,
    /// The seed of the key that is used; a user's own is 100 and their number.
    pub(crate) key: u8,
    pub(crate) service: u8,
    pub(crate) now: u64,
    pub(crate) pass_expires: u64,
    pub(crate) factor_at: Option<u64>,
    pub(crate) open: u16,
    /// How many of the open ones may touch.
    pub(crate) writing: u16,
    pub(crate) view_only: bool,
    pub(crate) fresh_until: u64,
    pub(crate) offline_until: u64,
}

pub(crate) fn user_id(user: u8) -> UserId {
    UserId::new([7, 0, 0, 0, 0, 0, 0, user])
}

pub(crate) fn service_name(service: u8) -> String {
    format!("service-{service}")
}

/// Services of even numbers are screens, all others are web pages.
const fn is_screen(service: u8) -> bool {
    service.is_multiple_of(2)
}

/// Where a rule comes from: by its number another kind of origin.
pub(crate) fn origin(assignment: u8) -> Origin {
    let name = format!("assignment {assignment}").parse().unwrap();
    let role = "Role".parse().unwrap();
    match assignment % 3 {
        0 => Origin::Assignment { assignment: name, role, group: None },
        1 => Origin::Membership { group: name, role },
        _ => Origin::Entry { entry: name },
    }
}

/// Where a prohibition comes from.
pub(crate) fn ban_origin(entry: u8) -> Origin {
    Origin::Entry { entry: format!("ban {entry}").parse().unwrap() }
}

/// The pattern of a path.
pub(crate) fn pattern(path: u8) -> Pattern {
    format!("/page-{path}/**").parse().unwrap()
}

impl World {
    /// The one snapshot of this world, whatever the order in which it was written.
    pub(crate) fn assemble(&self) -> Snapshot {
        let services: BTreeSet<u8> = self.services.iter().copied().collect();
        let users: BTreeMap<u8, bool> = self.users.iter().copied().collect();
        let mut categories = BTreeMap::<u8, BTreeSet<u32>>::new();
        for (category, service) in &self.contents {
            if let Some(at) = place(&services, service) {
                categories.entry(*category).or_default().insert(at);
            }
        }
        let ids: BTreeSet<u8> = users.keys().copied().collect();
        let category_ids: BTreeSet<u8> = categories.keys().copied().collect();
        let granting = self.rules.iter().map(|rule| origin(rule.assignment));
        let origins: BTreeSet<Origin> =
            granting.chain(self.bans.iter().map(|ban| ban_origin(ban.entry))).collect();
        let grant = |rule: &Rule| {
            Some(Grant {
                user: place(&ids, &rule.user)?,
                category: place(&category_ids, &rule.category)?,
                not_before: rule.from.map(UnixTime::from_secs),
                not_after: rule.until.map(UnixTime::from_secs),
                second_factor_s: rule.factor_s,
                needs_case: rule.needs_case,
                needs_approval: rule.needs_approval,
                offline_ok: rule.offline_ok,
                mode: rule.mode,
                origin: place(&origins, &origin(rule.assignment))?,
            })
        };
        let grants: BTreeSet<Grant> = self.rules.iter().filter_map(grant).filter(|_| self.assigned).collect();
        let approved = self.consents.iter().filter(|consent| consent.rule.needs_approval);
        let approved = approved.filter(|consent| self.holds(consent.rule.category, consent.service));
        let approvals: BTreeSet<Approval> = approved
            .filter_map(|consent| {
                Some(Approval {
                    grant: place(&grants, &grant(&consent.rule)?)?,
                    service: place(&services, &consent.service)?,
                    mode: consent.mode,
                    not_after: UnixTime::from_secs(consent.until),
                    id: ApprovalId::new([9; 8]),
                })
            })
            .collect();
        let paths: BTreeSet<u8> =
            self.bans.iter().filter(|_| self.assigned).filter_map(|ban| ban.path).collect();
        let prohibitions: BTreeSet<Prohibition> = self
            .bans
            .iter()
            .filter_map(|ban| {
                Some(Prohibition {
                    user: place(&ids, &ban.user)?,
                    category: place(&category_ids, &ban.category)?,
                    path: ban.path.and_then(|path| place(&paths, &path)),
                    not_before: ban.from.map(UnixTime::from_secs),
                    not_after: ban.until.map(UnixTime::from_secs),
                    origin: place(&origins, &ban_origin(ban.entry))?,
                })
            })
            .filter(|_| self.assigned)
            .collect();
        Snapshot {
            fleet: FLEET,
            device: DEVICE,
            device_key: key(10).public(),
            epoch: 1,
            locks_cleared: 0,
            version: 1,
            issued: UnixTime::EPOCH,
            expires: UnixTime::from_secs(self.expires),
            assigned: self.assigned,
            retired: false,
            limits: DeviceLimits { tunnels: self.tunnels, tunnels_per_user: 100 },
            freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
            services: services.iter().map(|service| self.service(*service)).collect(),
            categories: categories
                .iter()
                .map(|(category, services)| Category {
                    name: name(&format!("category-{category}")),
                    services: services.iter().copied().collect(),
                    record: is_recorded(*category),
                })
                .collect(),
            users: users
                .iter()
                .map(|(user, disabled)| User {
                    id: user_id(*user),
                    keys: vec![key(100 + user).public()],
                    disabled: *disabled,
                    passes_from: UnixTime::EPOCH,
                })
                .collect(),
            origins: origins.into_iter().collect(),
            grants: grants.into_iter().collect(),
            prohibitions: prohibitions.into_iter().collect(),
            paths: paths.into_iter().map(pattern).collect(),
            cases: self.cases(&services),
            approvals: approvals.into_iter().collect(),
            secrets: Vec::new(),
            recording_key: categories.keys().any(|it| is_recorded(*it)).then(|| factory().public()),
        }
    }

    fn cases(&self, services: &BTreeSet<u8>) -> Vec<Case> {
        let visits: BTreeMap<u8, &Visit> = self.visits.iter().map(|visit| (visit.case, visit)).collect();
        let cases = visits.into_values().map(|visit| {
            let named: BTreeSet<u32> =
                visit.services.iter().filter_map(|service| place(services, service)).collect();
            Case {
                name: format!("case {}", visit.case).parse().unwrap(),
                services: named.into_iter().collect(),
                not_before: visit.from.map(UnixTime::from_secs),
                not_after: visit.until.map(UnixTime::from_secs),
            }
        });
        cases.filter(|case| self.assigned && !case.services.is_empty()).collect()
    }

    fn service(&self, service: u8) -> Service {
        Service {
            name: name(&service_name(service)),
            tunnels: 100,
            idle_s: 1,
            duration_s: 1,
            view_only: self.looked_at.contains(&service),
            reach: Reach::Place {
                target: Target { ip: [10, 0, 0, service].into(), port: 80 },
                rules: if is_screen(service) {
                    Rules::Vnc(VncRules { password: None, writers: self.writers })
                } else {
                    Rules::Http(HttpRules::whole())
                },
            },
        }
    }

    /// What may be done, the last second for which the question is answered yes without interruption by one rule of the widest
    /// mode and, where the rule demands one, one case, plus one, and whether it is recorded; or why not.
    pub(crate) fn judge(&self, q: &Question) -> Result<(Mode, u64, bool), Reason> {
        let disabled =
            self.users.iter().rev().find(|(user, _)| *user == q.user).map(|(_, disabled)| *disabled);
        let mut refusals = BTreeSet::new();
        if q.now >= q.pass_expires || (disabled.is_some() && q.key != 100 + q.user) {
            refusals.insert(Reason::BadPass);
        }
        if disabled == Some(true) {
            refusals.insert(Reason::UserDisabled);
        }
        if !self.assigned {
            refusals.insert(Reason::DeviceUnassigned);
        }
        if q.now >= self.expires || q.now >= q.offline_until {
            refusals.insert(Reason::PolicyStale);
        }
        if let Some(first) = refusals.first() {
            return Err(*first);
        }
        if self.is_banned(q, q.now) {
            return Err(Reason::NoGrant);
        }
        let chains: Vec<(&Rule, Option<&Consent>)> = self
            .rules
            .iter()
            .filter(|rule| rule.user == q.user && disabled.is_some() && self.holds(rule.category, q.service))
            .flat_map(|rule| self.consents_to(rule, q.service).map(move |consent| (rule, consent)))
            .collect();
        let end = |rule: &Rule, consent: Option<&Consent>| {
            let ends = |case: &Option<&Visit>| {
                (q.now..).find(|t| {
                    first_lack(rule, (*case, consent), q, *t).is_some()
                        || *t >= self.expires
                        || *t >= q.offline_until
                        || *t >= q.pass_expires
                        || self.is_banned(q, *t)
                        || (*t > q.now && self.opens_or_closes(q, *t))
                })
            };
            self.cases_for(q.service)
                .filter(|case| first_lack(rule, (*case, consent), q, q.now).is_none())
                .filter_map(|case| ends(&case))
                .max()
        };
        match chains
            .iter()
            .filter_map(|(rule, consent)| {
                Some((self.mode(rule, *consent, q), end(rule, *consent)?, is_recorded(rule.category)))
            })
            .max()
        {
            Some(_) if q.open >= self.tunnels => Err(Reason::Concurrency),
            Some((Mode::Full { .. }, ..)) if is_screen(q.service) && q.writing >= self.writers => {
                Err(Reason::Concurrency)
            }
            Some(best) => Ok(best),
            None => Err(chains
                .iter()
                .flat_map(|(rule, consent)| {
                    self.cases_for(q.service).map(move |case| (*rule, (case, *consent)))
                })
                // It came as far as with the best of them.
                .filter_map(|(rule, rests)| first_lack(rule, rests, q, q.now))
                .max()
                .unwrap_or(Reason::NoGrant)),
        }
    }

    /// What one rule lets do in this question.
    fn mode(&self, rule: &Rule, consent: Option<&Consent>, q: &Question) -> Mode {
        if q.view_only || self.looked_at.contains(&q.service) {
            Mode::ViewOnly
        } else {
            consent.map_or(rule.mode, |consent| consent.mode.min(rule.mode))
        }
    }

    /// Whether the user is kept from the service in one second.
    fn is_banned(&self, q: &Question, second: u64) -> bool {
        self.bans.iter().any(|ban| ban.path.is_none() && self.bans_now(ban, q, second))
    }

    /// The paths that are closed to the user in one second.
    pub(crate) fn closed(&self, q: &Question, second: u64) -> BTreeSet<String> {
        let bans = self.bans.iter().filter(|ban| self.bans_now(ban, q, second));
        bans.filter_map(|ban| ban.path).map(|path| pattern(path).to_string()).collect()
    }

    /// Whether a prohibition of a path begins or ends in one second.
    fn opens_or_closes(&self, q: &Question, second: u64) -> bool {
        self.bans.iter().filter(|ban| ban.path.is_some()).any(|ban| {
            let edge = |ban: &Ban| ban.from == Some(second) || ban.until == Some(second);
            // Without its window it is one of this user and service.
            edge(ban) && self.bans_now(&Ban { from: None, until: None, ..*ban }, q, second)
        })
    }

    /// Whether this prohibition is one that keeps the user from the service in one second.
    pub(crate) fn bans_now(&self, ban: &Ban, q: &Question, second: u64) -> bool {
        self.assigned
            && self.users.iter().any(|(user, _)| *user == q.user)
            && ban.user == q.user
            && self.holds(ban.category, q.service)
            && during(ban.from, ban.until, second)
    }

    /// Whether the category contains the service, and the device has it.
    fn holds(&self, category: u8, service: u8) -> bool {
        self.services.contains(&service) && self.contents.contains(&(category, service))
    }

    /// Of a rule that demands approval each that it has for the service, and none at all; of another one just that.
    fn consents_to(&self, rule: &Rule, service: u8) -> impl Iterator<Item = Option<&Consent>> {
        let given = self.consents.iter().filter(move |consent| {
            rule.needs_approval && consent.rule == *rule && consent.service == service
        });
        std::iter::once(None).chain(given.map(Some))
    }

    /// With no case at all, and with each one that contains the service.
    fn cases_for(&self, service: u8) -> impl Iterator<Item = Option<&Visit>> {
        let named = self.visits.iter().filter(move |visit| visit.services.contains(&service)).map(Some);
        std::iter::once(None).chain(named)
    }
}

/// Whether what a category permits is recorded.
const fn is_recorded(category: u8) -> bool {
    category == 1
}

/// Whether one second is in a window.
fn during(from: Option<u64>, until: Option<u64>, second: u64) -> bool {
    from.is_none_or(|from| second >= from) && until.is_none_or(|until| second < until)
}

/// The first condition that one rule lacks in one second, when it rests on this case and consent or on none.
fn first_lack(
    rule: &Rule,
    (case, consent): (Option<&Visit>, Option<&Consent>),
    q: &Question,
    second: u64,
) -> Option<Reason> {
    let young = |age: u32| q.factor_at.map(|at| second < at + u64::from(age));
    [
        (second >= if rule.offline_ok { q.offline_until } else { q.fresh_until }, Reason::PolicyStale),
        (rule.from.is_some_and(|from| second < from), Reason::NotYet),
        (rule.until.is_some_and(|until| second >= until), Reason::Expired),
        (rule.factor_s.is_some() && q.factor_at.is_none(), Reason::SecondFactorRequired),
        (rule.factor_s.and_then(young) == Some(false), Reason::SecondFactorStale),
        (
            rule.needs_case && !case.is_some_and(|case| during(case.from, case.until, second)),
            Reason::CaseInactive,
        ),
        (
            rule.needs_approval && consent.is_none_or(|consent| second >= consent.until),
            Reason::ApprovalPending,
        ),
    ]
    .into_iter()
    .find_map(|(lacks, reason)| lacks.then_some(reason))
}

fn place<T: Ord>(sorted: &BTreeSet<T>, entry: &T) -> Option<u32> {
    sorted.iter().zip(0..).find_map(|(candidate, at)| (candidate == entry).then_some(at))
}
