//! The form of a snapshot: order, counts, references and values, checked once so that a decision need not.
//!
//! 1. Every list is within its bound and strictly ascending, so that one policy has one encoding.
//! 2. A device without an account carries no rules.
//! 3. Every reference is to an entry that exists, and no value is one that means nothing.
//!
//! Deliberately absent: who signed it, for whom and when. [`verify`](super::super::verify()) asks that before.

use super::{Approval, Case, Grant, Prohibition, Secret, Service, Snapshot};
use crate::limits;
use crate::time::UnixTime;

/// The first rule of form that a snapshot breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    /// A list is not strictly ascending.
    #[error("`{list}` is not strictly ascending")]
    Order {
        /// The list.
        list: &'static str,
    },
    /// A list has too many entries.
    #[error("`{list}` has {found} entries, at most {limit} are allowed")]
    Count {
        /// The list.
        list: &'static str,
        /// Entries seen.
        found: usize,
        /// Entries allowed.
        limit: usize,
    },
    /// An entry refers to something that is not there.
    #[error("an entry of `{list}` refers to a {to} that is not there")]
    Reference {
        /// The list.
        list: &'static str,
        /// What it refers to.
        to: &'static str,
    },
    /// An entry is empty or zero where that means nothing.
    #[error("an entry of `{list}` has an impossible `{field}`")]
    Value {
        /// The list.
        list: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A device that is out of service belongs to an account or carries something.
    #[error("a retired device has `{list}`, expected none")]
    Retired {
        /// What it has.
        list: &'static str,
    },
    /// A device without an account carries rules.
    #[error("an unassigned device carries `{list}`, expected none")]
    Unassigned {
        /// The list that is not empty.
        list: &'static str,
    },
}

impl Snapshot {
    /// Checks order, counts, references and values of a decoded snapshot; who signed it is checked before.
    ///
    /// # Errors
    /// The first [`FormFault`].
    pub fn check_form(&self) -> Result<(), FormFault> {
        count("services", self.services.len(), limits::SERVICES)?;
        count("categories", self.categories.len(), limits::CATEGORIES)?;
        count("users", self.users.len(), limits::USERS)?;
        count("origins", self.origins.len(), limits::ORIGINS)?;
        count("grants", self.grants.len(), limits::GRANTS)?;
        count("prohibitions", self.prohibitions.len(), limits::PROHIBITIONS)?;
        count("paths", self.paths.len(), limits::PATHS)?;
        count("cases", self.cases.len(), limits::CASES)?;
        count("approvals", self.approvals.len(), limits::APPROVALS)?;
        count("secrets", self.secrets.len(), limits::SECRETS)?;
        ascending("services", &self.services, |a, b| a.name < b.name)?;
        ascending("categories", &self.categories, |a, b| a.name < b.name)?;
        ascending("users", &self.users, |a, b| a.id < b.id)?;
        ascending("origins", &self.origins, |a, b| a < b)?;
        ascending("grants", &self.grants, |a, b| a < b)?;
        ascending("prohibitions", &self.prohibitions, |a, b| a < b)?;
        ascending("paths", &self.paths, |a, b| a < b)?;
        ascending("cases", &self.cases, |a, b| a.name < b.name)?;
        ascending("approvals", &self.approvals, |a, b| a < b)?;
        ascending("secrets", &self.secrets, |a, b| a.name < b.name)?;
        if self.issued >= self.expires {
            return Err(FormFault::Value { list: "snapshot", field: "expires" });
        }
        if self.freshness.window_s == 0 {
            return Err(FormFault::Value { list: "snapshot", field: "window_s" });
        }
        if self.retired {
            self.check_retired()?;
        }
        if !self.assigned {
            empty("grants", &self.grants)?;
            empty("prohibitions", &self.prohibitions)?;
            empty("paths", &self.paths)?;
            empty("cases", &self.cases)?;
            empty("approvals", &self.approvals)?;
            empty("secrets", &self.secrets)?;
        }
        self.services.iter().try_for_each(Service::check_form)?;
        for category in &self.categories {
            ascending("category services", &category.services, |a, b| a < b)?;
            refers("categories", "service", category.services.last().copied(), self.services.len())?;
            if category.record && self.recording_key.is_none() {
                return Err(FormFault::Value { list: "categories", field: "record" });
            }
        }
        for user in &self.users {
            count("user keys", user.keys.len(), limits::USER_KEYS)?;
            ascending("user keys", &user.keys, |a, b| a < b)?;
            if user.keys.is_empty() {
                return Err(FormFault::Value { list: "users", field: "keys" });
            }
        }
        self.grants.iter().try_for_each(|grant| grant.check_form(self))?;
        self.prohibitions.iter().try_for_each(|prohibition| prohibition.check_form(self))?;
        self.cases.iter().try_for_each(|case| case.check_form(self))?;
        self.approvals.iter().try_for_each(|approval| approval.check_form(self))?;
        self.secrets.iter().try_for_each(Secret::check_form)
    }

    /// Nothing of anybody is left on a device that is out of service.
    fn check_retired(&self) -> Result<(), FormFault> {
        let carried = [
            ("assigned", self.assigned),
            ("services", !self.services.is_empty()),
            ("categories", !self.categories.is_empty()),
            ("users", !self.users.is_empty()),
            ("origins", !self.origins.is_empty()),
            ("grants", !self.grants.is_empty()),
            ("prohibitions", !self.prohibitions.is_empty()),
            ("paths", !self.paths.is_empty()),
            ("cases", !self.cases.is_empty()),
            ("approvals", !self.approvals.is_empty()),
            ("secrets", !self.secrets.is_empty()),
            ("recording_key", self.recording_key.is_some()),
        ];
        match carried.into_iter().find(|(_, carried)| *carried) {
            Some((list, _)) => Err(FormFault::Retired { list }),
            None => Ok(()),
        }
    }
}

impl Service {
    fn check_form(&self) -> Result<(), FormFault> {
        let zero = |field| Err(FormFault::Value { list: "services", field });
        match (self.idle_s, self.duration_s) {
            (0, _) => zero("idle_s"),
            (_, 0) => zero("duration_s"),
            (_, _) => self.reach.check_form(),
        }
    }
}

impl Grant {
    fn check_form(&self, snapshot: &Snapshot) -> Result<(), FormFault> {
        refers("grants", "user", Some(self.user), snapshot.users.len())?;
        refers("grants", "category", Some(self.category), snapshot.categories.len())?;
        refers("grants", "origin", Some(self.origin), snapshot.origins.len())?;
        window("grants", self.not_before, self.not_after)
    }
}

impl Prohibition {
    fn check_form(&self, snapshot: &Snapshot) -> Result<(), FormFault> {
        refers("prohibitions", "user", Some(self.user), snapshot.users.len())?;
        refers("prohibitions", "category", Some(self.category), snapshot.categories.len())?;
        refers("prohibitions", "origin", Some(self.origin), snapshot.origins.len())?;
        if self.path.is_some() {
            refers("prohibitions", "path", self.path, snapshot.paths.len())?;
        }
        window("prohibitions", self.not_before, self.not_after)
    }
}

impl Case {
    fn check_form(&self, snapshot: &Snapshot) -> Result<(), FormFault> {
        ascending("case services", &self.services, |a, b| a < b)?;
        refers("cases", "service", self.services.last().copied(), snapshot.services.len())?;
        window("cases", self.not_before, self.not_after)
    }
}

impl Approval {
    /// What approves something that no grant waits for would be taken for the reason of an access that it did not give.
    fn check_form(&self, snapshot: &Snapshot) -> Result<(), FormFault> {
        let at = |ix: u32| usize::try_from(ix).ok();
        let grant = at(self.grant).and_then(|ix| snapshot.grants.get(ix));
        let grant = grant.ok_or(FormFault::Reference { list: "approvals", to: "grant" })?;
        let category = at(grant.category).and_then(|ix| snapshot.categories.get(ix));
        category
            .filter(|category| category.services.binary_search(&self.service).is_ok())
            .ok_or(FormFault::Reference { list: "approvals", to: "service of its grant" })?;
        if grant.needs_approval {
            Ok(())
        } else {
            Err(FormFault::Value { list: "approvals", field: "grant" })
        }
    }
}

impl Secret {
    fn check_form(&self) -> Result<(), FormFault> {
        if (1..=limits::SEALED_SECRET_BYTES).contains(&self.sealed.len()) {
            Ok(())
        } else {
            Err(FormFault::Value { list: "secrets", field: "sealed" })
        }
    }
}

fn window(list: &'static str, from: Option<UnixTime>, until: Option<UnixTime>) -> Result<(), FormFault> {
    match (from, until) {
        (Some(from), Some(until)) if from >= until => Err(FormFault::Value { list, field: "not_after" }),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

pub(super) fn count(list: &'static str, found: usize, limit: usize) -> Result<(), FormFault> {
    if found > limit { Err(FormFault::Count { list, found, limit }) } else { Ok(()) }
}

/// A device that changes hands must not carry what its last owner ruled.
fn empty<T>(list: &'static str, entries: &[T]) -> Result<(), FormFault> {
    if entries.is_empty() { Ok(()) } else { Err(FormFault::Unassigned { list }) }
}

pub(super) fn ascending<T>(
    list: &'static str,
    entries: &[T],
    below: impl Fn(&T, &T) -> bool,
) -> Result<(), FormFault> {
    let ordered = entries.windows(2).all(|pair| matches!(pair, [a, b] if below(a, b)));
    if ordered { Ok(()) } else { Err(FormFault::Order { list }) }
}

/// The highest reference of an ascending list decides; none is an empty list, which means nothing and is refused.
fn refers(list: &'static str, to: &'static str, highest: Option<u32>, len: usize) -> Result<(), FormFault> {
    let there = highest.and_then(|ix| usize::try_from(ix).ok()).is_some_and(|ix| ix < len);
    if there { Ok(()) } else { Err(FormFault::Reference { list, to }) }
}

#[cfg(test)]
mod tests;
