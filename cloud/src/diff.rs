//! Who gains and who loses what when one model replaces another.
//!
//! The rows of both models are compared user by user, before keys come into play: an invited user who has not signed
//! in yet gains access in the eyes of the one who publishes, although no snapshot carries it until then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::compile::{Compiler, Roster, Row};
use crate::model::{EntityKind, Model, Service};

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
    /// Where the service leads: a name that leads to another machine is another access.
    pub target: SocketAddr,
    /// The first second in which it holds.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub not_after: Option<UnixTime>,
    /// Age in seconds that the second factor may have.
    pub second_factor_s: Option<u32>,
}

impl Diff {
    /// Compares two models.
    #[must_use]
    pub fn between(old: &Model, new: &Model) -> Self {
        let (before, after) = (old.rows(), new.rows());
        let mut diff = Self::default();
        for (key @ (kind, name), body) in &after {
            let entity = || Entity { kind: kind.word(), name: name.clone() };
            match before.get(key) {
                None => diff.added.push(entity()),
                Some(earlier) if earlier != body => diff.changed.push(entity()),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        diff.removed = gone.map(|(kind, name)| Entity { kind: kind.word(), name: name.clone() }).collect();
        let (before, after) = (access(old), access(new));
        diff.gained = beyond(&after, &before);
        diff.lost = beyond(&before, &after);
        diff
    }

    /// Whether the models are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Names of removed entities of a kind.
    #[must_use]
    pub fn removed_of(&self, kind: EntityKind) -> Vec<&Name> {
        self.removed.iter().filter(|entity| entity.kind == kind.word()).map(|entity| &entity.name).collect()
    }

    /// Gains or losses, gathered by user and device.
    #[must_use]
    pub fn by_user(accesses: &[Access]) -> BTreeMap<(&Name, &Name), BTreeSet<&Name>> {
        let mut gathered: BTreeMap<(&Name, &Name), BTreeSet<&Name>> = BTreeMap::new();
        for access in accesses {
            gathered.entry((&access.user, &access.device)).or_default().insert(&access.service);
        }
        gathered
    }
}

/// What of `accesses` no entry of `others` allows already.
fn beyond(accesses: &BTreeSet<Access>, others: &BTreeSet<Access>) -> Vec<Access> {
    let covered = |access: &Access| {
        let from = Access { not_before: None, not_after: None, second_factor_s: None, ..access.clone() };
        let what = |of: &Access| (of.user.clone(), of.device.clone(), of.service.clone(), of.target);
        let same = |other: &&Access| what(other) == what(access);
        others.range(from..).take_while(same).any(|other| other.covers(access))
    };
    accesses.iter().filter(|access| !covered(access)).cloned().collect()
}

impl Access {
    /// Whether whoever has `self` has `other` too: a window as wide, a second factor no stricter.
    fn covers(&self, other: &Self) -> bool {
        let begins = self.not_before.is_none_or(|from| other.not_before.is_some_and(|other| from <= other));
        let ends = self.not_after.is_none_or(|until| other.not_after.is_some_and(|other| other <= until));
        let factor =
            self.second_factor_s.is_none_or(|age| other.second_factor_s.is_some_and(|other| other <= age));
        begins && ends && factor
    }
}

fn access(model: &Model) -> BTreeSet<Access> {
    let roster = Roster::default();
    let compiler = Compiler::new(model, &roster);
    let mut accesses = BTreeSet::new();
    for device in model.devices.keys() {
        let services = compiler.service_names(device);
        for row in compiler.rows(device) {
            accesses.extend(of_row(&row, device, &services));
        }
    }
    accesses
}

fn of_row(
    row: &Row,
    device: &Name,
    services: &BTreeMap<Name, (&Name, &Service)>,
) -> impl Iterator<Item = Access> {
    row.services.iter().filter_map(move |name| {
        let (_, service) = services.get(name)?;
        Some(Access {
            user: row.user.clone(),
            device: device.clone(),
            service: name.clone(),
            target: SocketAddr::new(service.target.ip, service.target.port),
            not_before: row.not_before,
            not_after: row.not_after,
            second_factor_s: row.second_factor_s,
        })
    })
}
