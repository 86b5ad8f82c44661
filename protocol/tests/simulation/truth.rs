//! What the cloud wants, moment by moment: the yardstick of every promise, kept beside and never read by the code under test.

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::id::UserId;
use postern_protocol::name::Name;
use postern_protocol::trust::LockTarget;

/// Users of the installation. The last is [`MALLORY`].
pub(crate) const USERS: u8 = 4;
/// Was never granted anything.
pub(crate) const MALLORY: u8 = 3;
/// Services of the device, each in a category of its own.
pub(crate) const SERVICES: u8 = 3;

/// A user and a service.
pub(crate) type Place = (u8, u8);

/// Under which conditions somebody may open something, in milliseconds of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Also without a word of the cloud.
    pub(crate) offline: bool,
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
}

/// Who may what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) grants: BTreeMap<Place, Terms>,
    pub(crate) locked: BTreeSet<LockTarget>,
}

/// What was true from some time on.
#[derive(Clone, Debug)]
struct Moment {
    since: u64,
    policy: Policy,
}

/// All that was ever true.
#[derive(Debug, Default)]
pub(crate) struct History(Vec<Moment>);

impl Policy {
    /// Under which conditions somebody may open something; windows are judged by who asks.
    pub(crate) fn allows(&self, place: Place) -> Option<Terms> {
        self.allows_but_for(place, &self.locked)
    }

    /// The same, where only those of the locks count that are among `known` as well.
    fn allows_but_for(&self, place: Place, known: &BTreeSet<LockTarget>) -> Option<Terms> {
        let terms = self.grants.get(&place).copied();
        terms.filter(|_| {
            !self.locked.intersection(known).any(|target| match target {
                LockTarget::Device => true,
                LockTarget::User(id) => *id == user(place.0),
                LockTarget::Category(locked) => *locked == name("category", place.1),
            })
        })
    }
}

impl History {
    /// Something else is true from now on.
    pub(crate) fn add(&mut self, since: u64, policy: &Policy) {
        self.0.push(Moment { since, policy: policy.clone() });
    }

    /// What was allowed at any moment from `start` until now.
    pub(crate) fn allowed_since(&self, place: Place, start: u64) -> impl Iterator<Item = Terms> {
        self.0[self.at(start)..].iter().filter_map(move |moment| moment.policy.allows(place))
    }

    /// The same to somebody who has heard of no lock since `heard`: one that is withheld locks nothing yet.
    pub(crate) fn allowed_unheard(
        &self,
        place: Place,
        start: u64,
        heard: u64,
    ) -> impl Iterator<Item = Terms> {
        let known = &self.0[self.at(heard)].policy.locked;
        self.0[self.at(start)..].iter().filter_map(move |moment| moment.policy.allows_but_for(place, known))
    }

    /// The moment that `time` is in: it began before.
    fn at(&self, time: u64) -> usize {
        self.0.partition_point(|moment| moment.since <= time).saturating_sub(1)
    }
}

/// A user's id.
pub(crate) const fn user(number: u8) -> UserId {
    UserId::new([0xa0 + number; 8])
}

/// The name of a thing.
pub(crate) fn name(kind: &str, number: u8) -> Name {
    format!("{kind}-{number}").parse().unwrap()
}

/// The name of a service, as often as it is asked for.
pub(crate) fn service(number: u8) -> &'static str {
    ["service-0", "service-1", "service-2"][usize::from(number)]
}
