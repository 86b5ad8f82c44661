//! The compiler: of all that a model grants, what one device or one user is concerned with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use postern_protocol::name::Name;
use postern_protocol::policy::{FreshnessRule, Mode, Origin, Pattern};
use postern_protocol::time::UnixTime;

use super::cases::{ActiveCase, active};
use super::content::Facts;
use super::places::Places;
use super::source::{Holder, Holders, Source, Sources, Whose, allowing_of, denying_of, groups_of};
use super::standing::{Endpoint, Rule, Standing, endpoints};
use super::window::Window;
use super::{Approved, CompileError, Content, Roster};
use crate::model::{Device, Model, Selection};

/// Resolves what one model grants, for one device or user after another.
#[derive(Debug)]
pub struct Compiler<'a> {
    model: &'a Model,
    roster: &'a Roster,
    places: Places<'a>,
    /// Made when the first whole device is looked at; a question about one user needs none of it.
    sources: OnceLock<Sources<'a>>,
}

/// One user, one selection, one source, on one device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The user.
    pub user: Name,
    /// The category, or the service that an entry names.
    pub selection: Selection,
    /// The machines to which the scope narrows the selection; none when it reaches the whole device.
    pub machines: Option<BTreeSet<Name>>,
    /// The services that are granted, by their name on the device; never empty.
    pub services: BTreeSet<Name>,
    /// Where it comes from.
    pub origin: Origin,
    /// The first second in which it holds.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub not_after: Option<UnixTime>,
    /// Age in seconds that the second factor may have.
    pub second_factor_s: Option<u32>,
    /// Whether it demands an active service case.
    pub needs_case: bool,
    /// Whether it demands an approval.
    pub needs_approval: bool,
    /// Whether it holds while the device is cut off from the cloud.
    pub offline: bool,
    /// What may be done, before the service narrows it.
    pub mode: Mode,
    /// Whether it is recorded.
    pub record: bool,
}

/// What one user is denied on one device, whatever rows grant it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ban {
    /// The user.
    pub user: Name,
    /// The category or service.
    pub selection: Selection,
    /// The services that are denied, by their name on the device; never empty.
    pub services: BTreeSet<Name>,
    /// The path that is denied in them; none is all of them.
    pub path: Option<Pattern>,
    /// Where it comes from.
    pub origin: Origin,
    /// The first second in which it holds.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub not_after: Option<UnixTime>,
}

/// All that concerns one user, before a device is looked at.
struct Own<'a> {
    allowing: Vec<(Source<'a>, Holder<'a>)>,
    denying: Vec<Source<'a>>,
}

impl<'a> Compiler<'a> {
    /// Prepares a model that passed its check.
    #[must_use]
    pub const fn new(model: &'a Model, roster: &'a Roster) -> Self {
        Self { model, roster, places: Places::new(model), sources: OnceLock::new() }
    }

    /// As if the model had only these of its devices: what an edit needs that affects few of many.
    #[must_use]
    pub fn among<'n>(
        model: &'a Model,
        roster: &'a Roster,
        devices: impl IntoIterator<Item = &'n Name>,
    ) -> Self {
        Self { model, roster, places: Places::among(model, devices), sources: OnceLock::new() }
    }

    /// All that is granted on a device, ascending.
    #[must_use]
    pub fn rows(&self, device: &Name) -> BTreeSet<Row> {
        self.standing(device).map(|standing| standing.rows()).unwrap_or_default()
    }

    /// All that is granted on a device, and all that is denied of it, ascending.
    #[must_use]
    pub fn rows_and_bans(&self, device: &Name) -> (BTreeSet<Row>, BTreeSet<Ban>) {
        let standing = self.standing(device);
        standing.map(|standing| (standing.rows(), standing.banned())).unwrap_or_default()
    }

    /// All that one user is granted and denied on a device, ascending.
    #[must_use]
    pub fn rows_and_bans_of(&self, user: &Name, device: &Name) -> (BTreeSet<Row>, BTreeSet<Ban>) {
        let Some(own) = self.own(user) else { return (BTreeSet::new(), BTreeSet::new()) };
        let standing = self.standing_of(&own, device);
        standing.map(|standing| (standing.rows(), standing.banned())).unwrap_or_default()
    }

    /// All that one user is granted and denied, by device, where anything is granted. Looks at what concerns the user
    /// and at the devices that it can reach, and at nothing else.
    #[must_use]
    pub fn reachable(&self, user: &Name) -> BTreeMap<&'a Name, (BTreeSet<Row>, BTreeSet<Ban>)> {
        self.each_reachable(user, |standing| Some((standing.rows(), standing.banned()))).collect()
    }

    /// The devices on which a user is granted anything, ascending, also when it is denied again.
    #[must_use]
    pub fn devices_of(&self, user: &Name) -> Vec<&'a Name> {
        self.each_reachable(user, |_| Some(())).map(|(device, ())| device).collect()
    }

    /// The devices on which something is granted to a user, and not denied, in a second that `lasts`, ascending.
    pub(crate) fn open_to(&self, user: &Name, lasts: impl Fn(Window) -> bool) -> Vec<&'a Name> {
        let open = self.each_reachable(user, |standing| standing.is_open(&lasts).then_some(()));
        open.map(|(device, ())| device).collect()
    }

    /// The policy of a device. One that is not in the model is unassigned: it permits nothing.
    ///
    /// # Errors
    /// When the policy is larger than a snapshot may be.
    pub fn compile(&self, device: &Name) -> Result<Content, CompileError> {
        match (self.model.devices.get(device), self.standing(device)) {
            (Some(body), Some(standing)) => {
                let approvals = self.roster.approvals.get(device).into_iter().flatten();
                let approvals: Vec<&Approved> =
                    approvals.filter(|approved| approved.account == body.account).collect();
                let cases = self.cases(device);
                Content::assemble(device, body, &standing, Facts { cases: &cases, approvals: &approvals })
            }
            (_, _) => Ok(Content::unassigned()),
        }
    }

    /// For how long a device works without its cloud.
    #[must_use]
    pub fn freshness(&self, device: &Name) -> FreshnessRule {
        self.model.devices.get(device).map_or(Device::FRESHNESS, |device| device.freshness)
    }

    /// Every service of a device and of the machines behind it, ascending by name.
    pub(crate) fn endpoints(&self, device: &Name) -> Vec<Endpoint<'a>> {
        endpoints(self.model, &self.places, device)
    }

    /// The cases that let somebody enter something on a device at some time, ascending by name.
    pub(crate) fn cases(&self, device: &Name) -> Vec<ActiveCase<'a>> {
        active(self.model, self.places.cases(device))
    }

    fn sources(&self) -> &Sources<'a> {
        self.sources.get_or_init(|| Sources::new(self.model, self.roster, &self.places))
    }

    /// All that is granted and denied on a device.
    fn standing(&self, device: &Name) -> Option<Standing<'_, 'a>> {
        let mut standing = self.begun(device)?;
        let sources = self.sources();
        for source in sources.near(&self.places, standing.device()) {
            standing.allow(source, sources.holders(source).iter());
        }
        standing.deny(|user| sources.against(user));
        Some(standing)
    }

    fn begun(&self, device: &Name) -> Option<Standing<'_, 'a>> {
        let covered = self.places.covers(device);
        covered.then(|| Standing::new(self.model, &self.places, device)).flatten()
    }

    /// What one user is granted and denied on a device.
    fn standing_of<'s>(&'s self, own: &'s Own<'a>, device: &Name) -> Option<Standing<'s, 'a>> {
        let mut standing = self.begun(device)?;
        for (source, holder) in &own.allowing {
            standing.allow(source, std::iter::once(holder));
        }
        standing.deny(|_| &own.denying);
        Some(standing)
    }

    /// What concerns one user. Looks through the model once; no table of it is made.
    fn own(&self, user: &Name) -> Option<Own<'a>> {
        let (user, _) = self.model.users.get_key_value(user)?;
        let holder = Holder::new(self.model, self.roster, user)?;
        let groups = groups_of(self.model, user);
        let whose = Whose::One { user, groups: &groups };
        let as_holder = |source: Source<'a>| {
            let until = match source.holders {
                Holders::User(_) => None,
                Holders::Group(group) => {
                    self.model.user_groups.get(group).and_then(|group| group.members.get(user)?.until)
                }
            };
            (source, Holder { until, ..holder })
        };
        let allowing = allowing_of(self.model, &whose).map(as_holder).collect();
        Some(Own { allowing, denying: denying_of(self.model, user) })
    }

    fn each_reachable<T>(
        &self,
        user: &Name,
        look: impl Fn(&Standing<'_, 'a>) -> Option<T>,
    ) -> impl Iterator<Item = (&'a Name, T)> {
        let own = self.own(user);
        let mut devices = BTreeSet::new();
        for (source, _) in own.iter().flat_map(|own| &own.allowing) {
            devices.extend(source.devices(&self.places).into_iter().flatten());
        }
        devices.into_iter().filter_map(move |device| {
            let standing = self.standing_of(own.as_ref()?, device)?;
            if standing.grants().is_empty() { None } else { Some((device, look(&standing)?)) }
        })
    }
}

impl Row {
    /// When it holds.
    #[must_use]
    pub const fn window(&self) -> Window {
        Window { from: self.not_before, until: self.not_after }
    }

    /// When it opens one of its services, and which paths of it are closed then: its window without those of the bans that contain
    /// the whole service, cut where a path is closed or open again.
    #[must_use]
    pub fn open<'b>(
        &self,
        service: &Name,
        bans: impl IntoIterator<Item = &'b Ban>,
    ) -> Vec<(Window, BTreeSet<&'b Pattern>)> {
        let against = |ban: &&Ban| ban.user == self.user && ban.services.contains(service);
        let (partial, whole): (Vec<&Ban>, Vec<&Ban>) =
            bans.into_iter().filter(against).partition(|ban| ban.path.is_some());
        let open = self.window().without(whole.into_iter().map(Ban::window));
        let edges = || partial.iter().flat_map(|ban| [ban.not_before, ban.not_after]).flatten();
        let pieces = open.into_iter().flat_map(|window| window.cut(edges()));
        let closed = |piece: Window| {
            let closing = partial.iter().filter(|ban| ban.window().covers(piece));
            (piece, closing.filter_map(|ban| ban.path.as_ref()).collect())
        };
        pieces.map(closed).collect()
    }
}

impl Ban {
    /// When it holds.
    #[must_use]
    pub const fn window(&self) -> Window {
        Window { from: self.not_before, until: self.not_after }
    }
}

impl Standing<'_, '_> {
    fn rows(&self) -> BTreeSet<Row> {
        let row = |rule: &Rule<'_, '_>| {
            let selected = self.selections().get(rule.selected)?;
            let machines = selected.machines.as_ref();
            Some(Row {
                user: rule.holder.user.clone(),
                selection: selected.pick.selection(),
                machines: machines.map(|machines| machines.iter().copied().cloned().collect()),
                services: self.names(rule.selected),
                origin: rule.source.origin.clone(),
                not_before: rule.window.from,
                not_after: rule.window.until,
                second_factor_s: rule.source.second_factor_s,
                needs_case: rule.source.needs_case,
                needs_approval: rule.source.needs_approval,
                offline: rule.source.offline,
                mode: self.mode(rule.selected),
                record: self.records(rule.selected),
            })
        };
        self.grants().iter().filter_map(row).collect()
    }

    fn banned(&self) -> BTreeSet<Ban> {
        let ban = |rule: &Rule<'_, '_>| {
            Some(Ban {
                user: rule.holder.user.clone(),
                selection: self.selections().get(rule.selected)?.pick.selection(),
                services: self.names(rule.selected),
                path: self.closes(rule.selected).cloned(),
                origin: rule.source.origin.clone(),
                not_before: rule.window.from,
                not_after: rule.window.until,
            })
        };
        self.bans().iter().filter_map(ban).collect()
    }

    fn names(&self, selected: usize) -> BTreeSet<Name> {
        let services = self.services(selected).iter();
        services.filter_map(|service| Some(self.endpoints().get(*service)?.name.clone())).collect()
    }

    /// Whether some service is granted and not denied in a window that `lasts`.
    fn is_open(&self, lasts: impl Fn(Window) -> bool) -> bool {
        self.grants().iter().any(|grant| {
            self.services(grant.selected).iter().any(|service| {
                let bans = self.bans().iter().filter(|ban| ban.holder.user == grant.holder.user);
                // A device on which only a path is closed shows all the same.
                let whole = bans.filter(|ban| self.closes(ban.selected).is_none());
                let holes = whole.filter(|ban| self.services(ban.selected).contains(service));
                grant.window.without(holes.map(|ban| ban.window)).into_iter().any(&lasts)
            })
        })
    }
}
