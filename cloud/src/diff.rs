//! Who gains and who loses what when one model replaces another.
//!
//! 1. The models are compared entity by entity.
//! 2. On each device that this can affect, what is granted before and after is compared user by user: windows without
//!    what is denied in them, what may be done and what the service lets through, and a case that is activated as what it is, a way in. How long something holds without
//!    the cloud is a condition like the others.
//!
//! Keys do not come into play: an invited user who has not signed in yet gains access in the eyes of the one who
//! publishes, although no snapshot carries it until then.

mod flows;
pub(crate) mod rules;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::policy::{Kind, Mode, Pattern, Reach, VpnRules};
use postern_protocol::time::UnixTime;

use crate::compile::{Compiler, Roster, Window, affected_by};
use crate::model::{Fate, Model};
use crate::parallel;

/// The difference between two models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Entities that are new.
    pub added: Vec<Entity>,
    /// Entities that are different.
    pub changed: Vec<Entity>,
    /// Entities that are gone.
    pub removed: Vec<Entity>,
    /// What users can reach under conditions that they could not reach under before.
    pub gained: Vec<Access>,
    /// What users can reach under these conditions no more.
    pub lost: Vec<Access>,
    /// The devices that believe their policy for another time than before without a word of the cloud.
    #[serde(skip)]
    pub rewindowed: BTreeSet<Name>,
    /// The devices whose policy may be another one.
    #[serde(skip)]
    pub affected: BTreeSet<Name>,
}

/// An entity, named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entity {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: Name,
}

/// One user, one service, and under which conditions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Access {
    /// The user.
    pub user: Name,
    /// The device.
    pub device: Name,
    /// The service, by its name on the device.
    pub service: Name,
    /// What it speaks: packets of a VPN where pages were are another access.
    pub kind: Kind,
    /// Where the service leads: a name that leads to another machine is another access. None of a VPN, whose destinations
    /// are compared flow by flow.
    pub target: Option<SocketAddr>,
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
    /// Seconds for which it holds after the last word of the cloud.
    pub window_s: u32,
    /// Seconds for which it holds beyond that while the device is cut off; zero for what does not.
    pub offline_s: u32,
    /// The case that is active in this window; none where a case is demanded and this says nothing of one.
    pub case: Option<Name>,
    /// What may be done.
    pub mode: Mode,
    /// What the service lets through.
    #[serde(rename = "rules", serialize_with = "shared")]
    pub reach: Arc<Reach>,
    /// Whether it is recorded.
    pub record: bool,
    /// Paths of it that are denied all the same.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<Pattern>,
}

impl Diff {
    /// Compares two models.
    #[must_use]
    pub fn between(old: &Model, new: &Model) -> Self {
        let differences = old.differences(new);
        let mut diff = Self { affected: affected_by(old, new, &differences), ..Self::default() };
        for difference in differences {
            let list = match difference.fate {
                Fate::Added => &mut diff.added,
                Fate::Changed => &mut diff.changed,
                Fate::Removed => &mut diff.removed,
            };
            list.push(Entity { kind: difference.kind.word(), name: difference.name.clone() });
        }
        let window =
            |model: &Model, device: &Name| model.devices.get(device).map(|one| one.freshness.window_s);
        let rewindowed = diff.affected.iter().filter(|device| {
            let (before, after) = (window(old, device), window(new, device));
            before.is_some() && after.is_some() && before != after
        });
        diff.rewindowed = rewindowed.cloned().collect();
        let roster = Roster::default();
        let before = Compiler::among(old, &roster, &diff.affected);
        let after = Compiler::among(new, &roster, &diff.affected);
        let devices: Vec<&Name> = diff.affected.iter().collect();
        for devices in devices.chunks(DEVICES) {
            let found = parallel::map(devices, |device| {
                let (before, after) = (access(&before, device), access(&after, device));
                (beyond(&after, &before), beyond(&before, &after))
            });
            for (gained, lost) in found {
                diff.gained.extend(gained);
                diff.lost.extend(lost);
            }
        }
        diff.gained.sort_unstable();
        diff.lost.sort_unstable();
        diff
    }

    /// Whether the models are the same.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// What of `accesses` no entry of `others` allows already.
fn beyond(accesses: &BTreeSet<Access>, others: &BTreeSet<Access>) -> Vec<Access> {
    let covered = |access: &Access| {
        let from = Access {
            not_before: None,
            not_after: None,
            second_factor_s: None,
            needs_case: false,
            needs_approval: false,
            window_s: 0,
            offline_s: 0,
            case: None,
            mode: Mode::ViewOnly,
            // The least of all.
            reach: Arc::new(Reach::Flows(VpnRules { destinations: Vec::new() })),
            record: false,
            closed: BTreeSet::new(),
            ..access.clone()
        };
        let same = |other: &&Access| other.what() == access.what();
        others.range(from..).take_while(same).any(|other| other.covers(access))
    };
    accesses.iter().filter(|access| !covered(access)).cloned().collect()
}

impl Access {
    /// What is accessed by whom, under whichever conditions.
    const fn what(&self) -> (&Name, &Name, &Name, Kind, Option<SocketAddr>) {
        (&self.user, &self.device, &self.service, self.kind, self.target)
    }

    /// Whether whoever has `self` has `other` too: a window as wide, a second factor no stricter, no case and no approval demanded
    /// that `other` does without, as long without the cloud, as much that may be done, all that the rules of `other` let
    /// through, and no recording and no path closed that `other` does without.
    fn covers(&self, other: &Self) -> bool {
        let window = |access: &Self| Window { from: access.not_before, until: access.not_after };
        let factor =
            self.second_factor_s.is_none_or(|age| other.second_factor_s.is_some_and(|other| other <= age));
        let approval = !self.needs_approval || other.needs_approval;
        let case = !self.needs_case || (other.needs_case && self.case.is_some() == other.case.is_some());
        let cut_off = self.window_s >= other.window_s && self.offline_s >= other.offline_s;
        let may = self.mode >= other.mode
            && rules::cover(&self.reach, &other.reach)
            && (other.record || !self.record)
            && self.closed.iter().all(|path| other.closed.iter().any(|other| rules::covers(other, path)));
        window(self).covers(window(other)) && factor && case && approval && cut_off && may
    }
}

/// All that anybody can reach on a device.
fn access(compiler: &Compiler<'_>, device: &Name) -> BTreeSet<Access> {
    let (rows, bans) = compiler.rows_and_bans(device);
    let freshness = compiler.freshness(device);
    let (endpoints, cases) = (compiler.endpoints(device), compiler.cases(device));
    let mut accesses = BTreeSet::new();
    for endpoint in &endpoints {
        let target = endpoint.service.reach.target().map(SocketAddr::from);
        let reach = Arc::new(endpoint.service.reach.clone());
        let widest = if endpoint.service.view_only { Mode::ViewOnly } else { Mode::WIDEST };
        let cases: Vec<_> = cases.iter().filter(|case| case.is_about(endpoint.machine)).collect();
        for row in rows.iter().filter(|row| row.services.contains(&endpoint.name)) {
            for (window, closed) in row.open(&endpoint.name, &bans) {
                let access = |window: Window, case| Access {
                    user: row.user.clone(),
                    device: device.clone(),
                    service: endpoint.name.clone(),
                    kind: endpoint.service.kind(),
                    target,
                    not_before: window.from,
                    not_after: window.until,
                    second_factor_s: row.second_factor_s,
                    needs_case: row.needs_case,
                    needs_approval: row.needs_approval,
                    window_s: freshness.window_s,
                    offline_s: if row.offline { freshness.offline_s } else { 0 },
                    case,
                    mode: row.mode.narrower(widest),
                    reach: Arc::clone(&reach),
                    record: row.record,
                    closed: closed.iter().copied().cloned().collect(),
                };
                accesses.insert(access(window, None));
                let demanded = cases.iter().filter(|_| row.needs_case);
                accesses.extend(
                    demanded
                        .filter_map(|case| Some(access(window.and(case.window)?, Some(case.name.clone())))),
                );
            }
        }
    }
    accesses
}

/// What is let through, without the address that stands beside it.
fn shared<S: serde::Serializer>(reach: &Arc<Reach>, serializer: S) -> Result<S::Ok, S::Error> {
    match reach.as_ref() {
        Reach::Flows(rules) => rules.serialize(serializer),
        Reach::Place { rules, .. } => rules.serialize(serializer),
    }
}

/// Devices that are compared between two looks at how much was found.
const DEVICES: usize = 4096;
