//! What would have to be true: for a denial, the nearest changes that would lift it.
//!
//! 1. What refuses everything: a disabled user, a closed device, a device outside of the user's account, an entry.
//! 2. Grants that contain the service and fail: the condition of each, with its value.
//! 3. Without such a grant: what the user has that comes near. The right role in the wrong place, or the right place
//!    with a role that does not contain the service; then the roles that would.
//!
//! Nothing here decides. It reads the judgement and the model, and advises the people who may change the model.

use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::policy::explain::Chain;
use postern_protocol::policy::{Explanation, Origin, Reason};
use postern_protocol::time::UnixTime;

use super::place::{Parts, Place};
use super::source::{Source, Wanted, sources};
use crate::model::{Case, CaseSubject, Essential, Model, Permission, Visibility};

/// One change that would bring a denied request nearer to a permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "remedy", rename_all = "snake_case")]
pub enum Remedy {
    /// The user is disabled.
    EnableUser,
    /// The device belongs to an account that is not the user's and not nested in it: nothing opens it to them.
    OutsideAccount {
        /// The user's account.
        user_account: Name,
        /// The device's account.
        device_account: Name,
    },
    /// The device is closed.
    OpenDevice {
        /// What would grant the service then.
        then: Vec<Origin>,
    },
    /// An entry denies the service.
    LiftEntry {
        /// The entry.
        origin: Origin,
        /// When it ends by itself.
        until: Option<UnixTime>,
    },
    /// The grant has not begun.
    Wait {
        /// The grant.
        origin: Origin,
        /// When it begins.
        from: UnixTime,
    },
    /// The grant has ended.
    Extend {
        /// The grant.
        origin: Origin,
        /// When it ended.
        until: UnixTime,
    },
    /// The grant needs a second factor, or a fresher one.
    SecondFactor {
        /// The grant.
        origin: Origin,
        /// How old it may be, in seconds.
        max_age_s: u32,
        /// Whether one was used, too long ago.
        stale: bool,
    },
    /// The grant needs an active shared case.
    ActivateCase {
        /// The grant.
        origin: Origin,
        /// The machine that it would be about; the device itself for none.
        machine: Option<Name>,
        /// Cases that there are, and why they do not do.
        cases: Vec<Unfit>,
    },
    /// The grant waits for an approval.
    Approve {
        /// The grant.
        origin: Origin,
    },
    /// The device is cut off, or was for too long: with a word of the cloud all grants count again.
    Reconnect,
    /// The grant does not hold while the device is cut off.
    HoldOffline {
        /// The grant.
        origin: Origin,
        /// What would have to say that it does.
        mark: Mark,
    },
    /// The device opens nothing to anybody while it is cut off.
    AllowOffline,
    /// What the user has contains the service, in a place where it is not.
    Widen {
        /// What the user has.
        origin: Origin,
        /// The category that contains the service; an entry may name the service itself.
        category: Option<Name>,
        /// Which parts of its scope contain the service.
        #[serde(flatten)]
        parts: Parts,
    },
    /// What the user has is valid in the right place, and does not contain the service.
    Select {
        /// What the user has.
        origin: Origin,
        /// The categories that it opens.
        categories: Vec<Name>,
        /// Those of them that name a page of the service: a page opens nothing else.
        pages: Vec<Name>,
    },
    /// What the user has contains the service in the right place and ends before it begins.
    Reopen {
        /// What the user has.
        origin: Origin,
    },
    /// Roles that contain the service and fit the user's account: to be assigned in a scope with its place.
    Assign {
        /// The roles.
        roles: Vec<Opener>,
    },
    /// Access categories contain the service, and no role that fits the user's account opens one of them.
    AddToRole {
        /// The categories.
        categories: Vec<Name>,
    },
    /// No access category contains the service.
    Categorise,
}

/// A role and the category through which it contains a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Opener {
    /// The role.
    pub role: Name,
    /// The category.
    pub category: Name,
    /// Whether the category is named by the assignment, as for essential roles, and not by the role.
    pub by_assignment: bool,
}

/// What decides that a grant does not hold while a device is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The grant's own source does not say that it does.
    Source,
    /// The grant's source says that it does not, whatever its role says.
    Narrowed,
    /// The custom role does not say so.
    Role(Name),
}

/// A case of the right machine that does not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfit {
    /// The case.
    pub case: Name,
    /// Why not.
    pub why: Unfitness,
}

/// Why a case does not meet the demand for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfitness {
    /// It is internal.
    Internal,
    /// Remote access was not activated.
    NotActivated,
    /// It begins at that time.
    NotYet(UnixTime),
    /// It ended at that time.
    Ended(UnixTime),
}

/// What was asked, and judged.
pub(super) struct Matter<'a> {
    pub(super) model: &'a Model,
    pub(super) user: &'a Name,
    pub(super) place: Place<'a>,
    pub(super) wanted: Wanted<'a>,
    pub(super) at: UnixTime,
    pub(super) judgement: &'a Explanation,
}

impl Matter<'_> {
    /// The remedies of a denial, nearest first; none for a permit.
    pub(super) fn remedies(&self) -> Vec<Remedy> {
        let Some(reason) = self.judgement.denied else { return Vec::new() };
        let mut remedies = Vec::new();
        if reason == Reason::UserDisabled {
            remedies.push(Remedy::EnableUser);
        }
        if let Some(outside) = self.outside_account() {
            remedies.push(outside);
            return remedies;
        }
        let vetoes = self.judgement.prohibitions.iter().filter(|veto| veto.refuses());
        remedies.extend(
            vetoes.map(|veto| Remedy::LiftEntry { origin: veto.origin.clone(), until: veto.not_after }),
        );
        let chains = &self.judgement.chains;
        if chains.iter().any(|chain| chain.fails == Some(Reason::PolicyStale)) {
            remedies.push(Remedy::Reconnect);
        }
        if chains.iter().all(|chain| chain.fails.is_some()) {
            remedies.extend(chains.iter().filter_map(|chain| self.condition(chain)));
        }
        if chains.is_empty() {
            self.near_misses(&mut remedies);
        }
        remedies
    }

    fn outside_account(&self) -> Option<Remedy> {
        let user_account = &self.model.users.get(self.user)?.account;
        let device_account = &self.model.devices.get(self.place.device)?.account;
        let outside = !self.model.is_within(device_account, user_account);
        outside.then(|| Remedy::OutsideAccount {
            user_account: user_account.clone(),
            device_account: device_account.clone(),
        })
    }

    /// The condition that a grant fails, with its value.
    fn condition(&self, chain: &Chain) -> Option<Remedy> {
        let origin = chain.origin.clone();
        match chain.fails? {
            Reason::NotYet => Some(Remedy::Wait { origin, from: chain.not_before? }),
            Reason::Expired => Some(Remedy::Extend { origin, until: chain.not_after? }),
            Reason::SecondFactorRequired => {
                Some(Remedy::SecondFactor { origin, max_age_s: chain.second_factor_s?, stale: false })
            }
            Reason::SecondFactorStale => {
                Some(Remedy::SecondFactor { origin, max_age_s: chain.second_factor_s?, stale: true })
            }
            Reason::CaseInactive => {
                let machine = self.place.machine.cloned();
                Some(Remedy::ActivateCase { origin, machine, cases: self.unfit_cases() })
            }
            Reason::ApprovalPending => Some(Remedy::Approve { origin }),
            Reason::PolicyStale if chain.offline_ok => Some(Remedy::AllowOffline),
            Reason::PolicyStale => Some(Remedy::HoldOffline { mark: self.mark(&origin), origin }),
            // No condition of a grant: a grant fails for the reasons above and for no other.
            Reason::BadPass
            | Reason::UserDisabled
            | Reason::DeviceUnassigned
            | Reason::NoPolicy
            | Reason::NoGrant
            | Reason::SiteLocked
            | Reason::Concurrency
            | Reason::ViewOnly
            | Reason::MethodDenied
            | Reason::PathDenied
            | Reason::WebsocketNotGranted
            | Reason::PortDenied
            | Reason::FileTransferDenied
            | Reason::Revoked => None,
        }
    }

    /// What decides that a grant of this origin does not hold while the device is cut off.
    fn mark(&self, origin: &Origin) -> Mark {
        let said = match origin {
            Origin::Assignment { assignment, .. } => {
                self.model.assignments.get(assignment.as_str()).and_then(|body| body.offline)
            }
            Origin::Membership { group, .. } => {
                let group = self.model.device_groups.get(group.as_str());
                group.and_then(|group| group.members.get(self.user)).and_then(|body| body.offline)
            }
            Origin::Entry { .. } => None,
        };
        let role = origin.role().and_then(|role| self.model.roles.get_key_value(role.as_str()));
        match role {
            None => Mark::Source,
            Some((name, body)) if !body.offline => Mark::Role(name.clone()),
            Some(_) if said == Some(false) => Mark::Narrowed,
            Some(_) => Mark::Source,
        }
    }

    fn unfit_cases(&self) -> Vec<Unfit> {
        let about = |case: &Case| match &case.subject {
            CaseSubject::Machine(machine) => Some(machine) == self.place.machine,
            CaseSubject::Device(device) => device == self.place.device,
        };
        let cases = self.model.cases.iter().filter(|(_, case)| about(case));
        cases
            .filter_map(|(name, case)| Some(Unfit { case: name.clone(), why: unfitness(case, self.at)? }))
            .collect()
    }

    fn near_misses(&self, remedies: &mut Vec<Remedy>) {
        let closed = self.model.devices.get(self.place.device).is_some_and(|device| device.closed);
        let (mut fitting, mut wide, mut narrow) = (Vec::new(), Vec::new(), Vec::new());
        for source in sources(self.model, self.user) {
            let category = source.selecting(self.model, &self.wanted);
            let parts = Parts::of(self.model, &source.scope, self.place);
            match (category, parts.contain()) {
                (Some(_), true) => fitting.push(source.origin),
                (Some(category), false) => {
                    let category = category.into_category();
                    wide.push(Remedy::Widen { origin: source.origin, category, parts });
                }
                (None, true) => narrow.push(self.select(source)),
                (None, false) => {}
            }
        }
        if closed {
            remedies.push(Remedy::OpenDevice { then: fitting.clone() });
        } else {
            remedies.extend(fitting.iter().map(|origin| Remedy::Reopen { origin: origin.clone() }));
        }
        if !fitting.is_empty() {
            return;
        }
        remedies.append(&mut wide);
        remedies.append(&mut narrow);
        let selecting = self.selecting();
        let roles = self.openers(&selecting);
        remedies.push(match (selecting.is_empty(), roles.is_empty()) {
            (true, _) => Remedy::Categorise,
            (false, true) => Remedy::AddToRole { categories: selecting.into_iter().cloned().collect() },
            (false, false) => Remedy::Assign { roles },
        });
    }

    fn select(&self, source: Source<'_>) -> Remedy {
        let categories: Vec<Name> = source.categories().into_iter().cloned().collect();
        let names_page = |category: &&Name| {
            let body = self.model.categories.get(*category);
            body.is_some_and(|body| {
                body.pages.iter().any(|page| self.wanted.service.pages.contains_key(page))
            })
        };
        let pages = categories.iter().filter(names_page).cloned().collect();
        Remedy::Select { origin: source.origin, categories, pages }
    }

    /// The categories that contain the service.
    fn selecting(&self) -> Vec<&Name> {
        let categories = self.model.categories.iter();
        categories
            .filter(|(_, category)| {
                category.selects(self.wanted.local, self.wanted.page, self.wanted.service)
            })
            .map(|(name, _)| name)
            .collect()
    }

    /// Roles that may be assigned to the user and open one of `selecting`; deprecated ones are not advised.
    fn openers(&self, selecting: &[&Name]) -> Vec<Opener> {
        let account = self.model.users.get(self.user).and_then(|user| self.model.accounts.get(&user.account));
        let Some(tenant) = account.map(|account| account.tenant) else { return Vec::new() };
        let opener = |role: &Name, category: &Name, by_assignment| Opener {
            role: role.clone(),
            category: category.clone(),
            by_assignment,
        };
        let mut openers = Vec::new();
        for (name, role) in self.model.roles.iter().filter(|(_, role)| role.tenant == Some(tenant)) {
            let own = selecting.iter().filter(|category| role.categories.contains(**category));
            openers.extend(own.map(|category| opener(name, category, false)));
        }
        for (name, role) in Essential::roles() {
            // This only advises: nothing is opened by a permission, here or anywhere.
            let may = role.permissions.contains(&Permission::UseRemoteAccess);
            if may && role.tenant == Some(tenant) && role.ends.is_none() {
                openers.extend(selecting.iter().map(|category| opener(name, category, true)));
            }
        }
        openers
    }
}

/// Why a case of the right machine is not active; none when it is.
fn unfitness(case: &Case, at: UnixTime) -> Option<Unfitness> {
    match (case.visibility, case.is_activated()) {
        (Visibility::Internal, _) => return Some(Unfitness::Internal),
        (Visibility::Shared, false) => return Some(Unfitness::NotActivated),
        (Visibility::Shared, true) => {}
    }
    let early = case.from.filter(|from| at < *from).map(Unfitness::NotYet);
    early.or_else(|| case.until.filter(|until| *until <= at).map(Unfitness::Ended))
}
