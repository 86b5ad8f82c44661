//! What grants and prohibitions come from: assignments, memberships in device groups, and entries.
//!
//! 1. [`Source::of_assignment`], [`Source::of_membership`] and [`Source::of_entry`] read one entity each. Role, scope,
//!    window, second factor and case of a source are its own; none is ever combined with another's.
//! 2. [`Sources`] files those that allow under the narrowest place that they can reach, so that a device looks at few
//!    of them, and those that deny under their user. Those that are filed where none of the devices in question looks
//!    are not even read: that decides how fast a small edit of a large fleet is.
//!
//! Permissions are not read here, nor anywhere else on the way to a device.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Mode, Origin};
use postern_protocol::time::UnixTime;

use super::places::{Anchor, Places};
use super::reach::Reach;
use super::standing::Endpoint;
use super::window::{Window, earlier};
use super::{Enrolled, Roster};
use crate::model::{
    Assignment, Category, DeviceGroup, Effect, Entry, Membership, Model, Role, Scope, Selection, Subject,
};

/// One thing that allows or denies.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) origin: Origin,
    pub(super) extent: Extent<'a>,
    pub(super) holders: Holders<'a>,
    pub(super) picks: Vec<Pick<'a>>,
    pub(super) from: Option<UnixTime>,
    pub(super) until: Option<UnixTime>,
    pub(super) second_factor_s: Option<u32>,
    pub(super) needs_case: bool,
    pub(super) needs_approval: bool,
    /// Whether it holds while the device is cut off from the cloud.
    pub(super) offline: bool,
}

/// Where a source holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent<'a> {
    Scope(&'a Scope),
    Group(&'a Name),
    /// Wherever the scope could reach, were its unknown parts everywhere: entries that deny only. A deny that shrank
    /// because a later version wrote it would be a grant.
    Bound(&'a Scope),
    /// Wherever the user can reach: entries that deny only.
    Everywhere,
}

/// Whom a source is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holders<'a> {
    User(&'a Name),
    Group(&'a Name),
}

/// What a source selects by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pick<'a> {
    /// An access category, by its name.
    Category(&'a Name),
    /// A service, by its local name and that of the entry that names it.
    Service { entry: &'a Name, service: &'a Name },
}

/// One user of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) user: &'a Name,
    pub(super) account: &'a Name,
    pub(super) enrolled: Option<&'a Enrolled>,
    /// The end of the membership in the group through which the source reaches the user.
    pub(super) until: Option<UnixTime>,
}

impl<'a> Source<'a> {
    /// None where the role opens nothing.
    pub(super) fn of_assignment(model: &'a Model, name: &Name, body: &'a Assignment) -> Option<Self> {
        let role = model.role(&body.role)?;
        let (holders, group) = match &body.subject {
            Subject::User(user) => (Holders::User(user), None),
            Subject::Group(group) => (Holders::Group(group), Some(label(group))),
        };
        Some(Self {
            origin: Origin::Assignment { assignment: label(name), role: label(&body.role), group },
            extent: Extent::Scope(&body.scope),
            holders,
            picks: picks_of(model, role, &body.categories)?,
            from: body.from,
            until: earlier(body.until, role.ends),
            second_factor_s: role.second_factor_s,
            needs_case: role.needs_case || body.needs_case,
            needs_approval: body.needs_approval,
            offline: model.holds_offline(&body.role, body.offline),
        })
    }

    /// None where the role opens nothing.
    pub(super) fn of_membership(
        model: &'a Model,
        group: &'a Name,
        user: &'a Name,
        body: &'a Membership,
    ) -> Option<Self> {
        let role = model.role(&body.role)?;
        Some(Self {
            origin: Origin::Membership { group: label(group), role: label(&body.role) },
            extent: Extent::Group(group),
            holders: Holders::User(user),
            picks: picks_of(model, role, &body.categories)?,
            from: None,
            until: earlier(body.until, role.ends),
            second_factor_s: role.second_factor_s,
            needs_case: role.needs_case,
            needs_approval: false,
            offline: model.holds_offline(&body.role, body.offline),
        })
    }

    /// None where it selects by a category that does not exist.
    pub(super) fn of_entry(model: &'a Model, name: &'a Name, body: &'a Entry) -> Option<Self> {
        let pick = match &body.selection {
            Selection::Category(category) => Pick::Category(model.categories.get_key_value(category)?.0),
            Selection::Service(service) => Pick::Service { entry: name, service },
        };
        let extent = match (&body.scope, body.effect) {
            (Some(scope), Effect::Allow) => Extent::Scope(scope),
            (Some(scope), Effect::Deny) => Extent::Bound(scope),
            (None, Effect::Deny) => Extent::Everywhere,
            // The check refuses it: an allow must say where.
            (None, Effect::Allow) => return None,
        };
        Some(Self {
            origin: Origin::Entry { entry: label(name) },
            extent,
            holders: Holders::User(&body.user),
            picks: vec![pick],
            from: body.from,
            until: body.until,
            second_factor_s: body.second_factor_s,
            needs_case: false,
            needs_approval: body.needs_approval,
            offline: body.offline,
        })
    }

    /// What it reaches on a device, were its users to reach the device at all.
    pub(super) fn reach(&self, places: &Places<'a>, device: &Name) -> Reach<'a> {
        match self.extent {
            Extent::Scope(scope) => places.reach(scope, device),
            Extent::Group(group) => places.in_group(group, device),
            Extent::Bound(scope) => places.bound(scope, device),
            Extent::Everywhere => Reach::Whole,
        }
    }

    /// The devices on which it reaches something; none say where for a source that denies.
    pub(super) fn devices(&self, places: &Places<'a>) -> Option<Vec<&'a Name>> {
        match self.extent {
            Extent::Scope(scope) => Some(places.in_scope(scope)),
            Extent::Group(group) => Some(places.devices(Anchor::Group(group))),
            Extent::Bound(_) | Extent::Everywhere => None,
        }
    }

    /// When it holds for a user; none when that is never.
    pub(super) fn window(&self, holder: &Holder<'_>) -> Option<Window> {
        Window::new(self.from, earlier(self.until, holder.until))
    }

    fn anchor(&self, places: &Places<'a>) -> Option<Anchor<'a>> {
        match self.extent {
            Extent::Scope(scope) => places.anchor(scope),
            Extent::Group(group) => Some(Anchor::Group(group)),
            Extent::Bound(_) | Extent::Everywhere => None,
        }
    }
}

/// The categories that a role opens: a custom role brings its own, for an essential one its assignment names them.
fn picks_of<'a>(model: &'a Model, role: &'a Role, named: &'a BTreeSet<Name>) -> Option<Vec<Pick<'a>>> {
    let categories = if role.categories.is_empty() { named } else { &role.categories };
    let known = categories.iter().filter_map(|name| model.categories.get_key_value(name));
    let picks: Vec<Pick<'a>> = known.map(|(name, _)| Pick::Category(name)).collect();
    (!picks.is_empty()).then_some(picks)
}

impl<'a> Pick<'a> {
    /// Whether it selects a service or page, by the machine's own name for it, without the machine's. A service that is
    /// named is named with its pages.
    pub(super) fn selects(self, model: &Model, endpoint: &Endpoint<'_>) -> bool {
        let Endpoint { local, page, service, .. } = endpoint;
        match self {
            Self::Category(name) => model
                .categories
                .get(name)
                .is_some_and(|category| category.selects(local, page.as_ref(), service)),
            Self::Service { service: named, .. } => named == *local,
        }
    }

    /// What may be done in what it selects.
    pub(super) fn mode(self, model: &Model) -> Mode {
        match self {
            Self::Category(name) => {
                model.categories.get(name).map_or(Mode::ViewOnly, |category| category.mode)
            }
            Self::Service { .. } => Category::MODE,
        }
    }

    /// Whether what it permits is recorded.
    pub(super) fn records(self, model: &Model) -> bool {
        match self {
            Self::Category(name) => model.categories.get(name).is_some_and(|category| category.record),
            Self::Service { .. } => false,
        }
    }

    pub(super) fn selection(self) -> Selection {
        match self {
            Self::Category(name) => Selection::Category(name.clone()),
            Self::Service { service, .. } => Selection::Service(service.clone()),
        }
    }
}

impl<'a> Holder<'a> {
    pub(super) fn new(model: &'a Model, roster: &'a Roster, user: &'a Name) -> Option<Self> {
        let account = &model.users.get(user)?.account;
        Some(Self { user, account, enrolled: roster.users.get(user), until: None })
    }
}

/// Every source of a model, filed.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    allowing: Vec<Source<'a>>,
    filed: HashMap<Anchor<'a>, Vec<usize>>,
    denying: HashMap<&'a Name, Vec<Source<'a>>>,
    groups: HashMap<&'a Name, OnceLock<Vec<Holder<'a>>>>,
    model: &'a Model,
    roster: &'a Roster,
}

impl<'a> Sources<'a> {
    pub(super) fn new(model: &'a Model, roster: &'a Roster, places: &Places<'a>) -> Self {
        let mut filed: HashMap<Anchor<'a>, Vec<usize>> = HashMap::new();
        let mut allowing = Vec::new();
        let around = places.around();
        let near = |anchor: Option<Anchor<'a>>| {
            anchor.is_some_and(|anchor| around.as_ref().is_none_or(|around| around.contains(&anchor)))
        };
        let whose = Whose::Near { places, near: &near };
        for source in allowing_of(model, &whose) {
            let Some(anchor) = source.anchor(places) else { continue };
            filed.entry(anchor).or_default().push(allowing.len());
            allowing.push(source);
        }
        let mut denying: HashMap<&Name, Vec<Source<'a>>> = HashMap::new();
        for (name, entry) in model.entries.iter().filter(|(_, entry)| entry.effect == Effect::Deny) {
            denying.entry(&entry.user).or_default().extend(Source::of_entry(model, name, entry));
        }
        let groups = model.user_groups.keys().map(|name| (name, OnceLock::new())).collect();
        Self { allowing, filed, denying, groups, model, roster }
    }

    /// The sources that may allow something on a device, in a fixed order.
    pub(super) fn near(&self, places: &Places<'a>, device: &'a Name) -> Vec<&Source<'a>> {
        let anchors = places.anchors(device);
        let mut near: Vec<usize> =
            anchors.iter().filter_map(|anchor| self.filed.get(anchor)).flatten().copied().collect();
        near.sort_unstable();
        near.dedup();
        near.into_iter().filter_map(|position| self.allowing.get(position)).collect()
    }

    /// The entries that deny something to a user.
    pub(super) fn against(&self, user: &Name) -> &[Source<'a>] {
        self.denying.get(user).map_or(&[], Vec::as_slice)
    }

    /// The users of a source.
    pub(super) fn holders(&self, source: &Source<'a>) -> HoldersOf<'_, 'a> {
        match source.holders {
            Holders::User(user) => HoldersOf { one: Holder::new(self.model, self.roster, user), many: &[] },
            Holders::Group(name) => {
                let members = || members(self.model, self.roster, name);
                let many = self.groups.get(name).map(|holders| holders.get_or_init(members).as_slice());
                HoldersOf { one: None, many: many.unwrap_or_default() }
            }
        }
    }
}

/// The users of one source: one, or those of a group.
pub(super) struct HoldersOf<'s, 'a> {
    one: Option<Holder<'a>>,
    many: &'s [Holder<'a>],
}

impl<'a> HoldersOf<'_, 'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Holder<'a>> + Clone {
        self.one.iter().chain(self.many)
    }
}

fn members<'a>(model: &'a Model, roster: &'a Roster, group: &Name) -> Vec<Holder<'a>> {
    let holder = |user| Holder::new(model, roster, user);
    let members = model.user_groups.get(group).into_iter().flat_map(|group| &group.members);
    members.filter_map(|(user, member)| Some(Holder { until: member.until, ..holder(user)? })).collect()
}

/// Whose sources are looked for.
pub(super) enum Whose<'w, 'a> {
    /// Anybody's that are filed under certain anchors.
    Near { places: &'w Places<'a>, near: &'w dyn Fn(Option<Anchor<'a>>) -> bool },
    /// One user's, wherever they are filed.
    One { user: &'a Name, groups: &'w HashSet<&'a Name> },
}

/// The sources that allow something, in the order of the model.
pub(super) fn allowing_of<'w, 'a>(
    model: &'a Model,
    whose: &'w Whose<'w, 'a>,
) -> impl Iterator<Item = Source<'a>> + use<'w, 'a> {
    let assignments = model.assignments.iter().filter(|(_, body)| whose.concerns(body));
    let assignments = assignments.filter_map(|(name, body)| Source::of_assignment(model, name, body));
    let memberships =
        model.device_groups.iter().flat_map(|(name, group)| whose.memberships(model, name, group));
    let entries = model.entries.iter().filter(|(_, entry)| entry.effect == Effect::Allow);
    let entries = entries.filter(|(_, entry)| whose.is_allowed(entry));
    let entries = entries.filter_map(|(name, entry)| Source::of_entry(model, name, entry));
    assignments.chain(memberships).chain(entries)
}

impl<'a> Whose<'_, 'a> {
    fn concerns(&self, body: &'a Assignment) -> bool {
        match (self, &body.subject) {
            (Self::Near { places, near }, _) => near(places.anchor(&body.scope)),
            (Self::One { user, .. }, Subject::User(subject)) => *user == subject,
            (Self::One { groups, .. }, Subject::Group(group)) => groups.contains(group),
        }
    }

    fn is_allowed(&self, entry: &'a Entry) -> bool {
        match self {
            Self::Near { places, near } => near(entry.scope.as_ref().and_then(|scope| places.anchor(scope))),
            Self::One { user, .. } => **user == entry.user,
        }
    }

    fn memberships(&self, model: &'a Model, name: &'a Name, group: &'a DeviceGroup) -> Vec<Source<'a>> {
        let source =
            |(user, body): (&'a Name, &'a Membership)| Source::of_membership(model, name, user, body);
        match self {
            Self::Near { near, .. } if near(Some(Anchor::Group(name))) => {
                group.members.iter().filter_map(source).collect()
            }
            Self::Near { .. } => Vec::new(),
            Self::One { user, .. } => {
                group.members.get_key_value(*user).and_then(source).into_iter().collect()
            }
        }
    }
}

/// The entries that deny something to a user.
pub(super) fn denying_of<'a>(model: &'a Model, user: &Name) -> Vec<Source<'a>> {
    let entries =
        model.entries.iter().filter(|(_, entry)| entry.effect == Effect::Deny && entry.user == *user);
    entries.filter_map(|(name, entry)| Source::of_entry(model, name, entry)).collect()
}

/// The user groups that a user is in.
pub(super) fn groups_of<'a>(model: &'a Model, user: &Name) -> HashSet<&'a Name> {
    let groups = model.user_groups.iter();
    groups.filter(|(_, group)| group.members.contains_key(user)).map(|(name, _)| name).collect()
}

#[expect(clippy::expect_used, reason = "names are a subset of labels: shorter, and visible ASCII only")]
pub(crate) fn label(name: &Name) -> Label {
    name.as_str().parse().expect("every name is a label")
}
