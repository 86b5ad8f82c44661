//! The snapshot: all policy for one device at one version, as a value that is never edited.
//!
//! Lists are strictly ascending and refer to each other by position, so that one policy has one encoding, 5,000
//! users fit in half a megabyte, and a reference is checked by comparing it with a length. Whole snapshots are
//! replaced; there are no patches.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, FleetId, UserId};
use crate::limits;
use crate::name::{Label, Name};
use crate::time::UnixTime;
use crate::trust::{Domain, PublicKey, Signed};

/// All policy for one device at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The installation.
    pub fleet: FleetId,
    /// The device that this is for; no other accepts it.
    pub device: DeviceId,
    /// The key of that device, so that a re-enrolled or cloned id does not inherit policy.
    pub device_key: PublicKey,
    /// The root's policy epoch.
    pub epoch: u32,
    /// Rises with each snapshot of this device and epoch.
    pub version: u64,
    /// When it was signed.
    pub issued: UnixTime,
    /// The first second in which it permits nothing.
    pub expires: UnixTime,
    /// Whether the device belongs to an account. An unassigned device permits nothing and carries no rules.
    pub assigned: bool,
    /// Bounds for the whole device.
    pub limits: DeviceLimits,
    /// Services, ascending by name; at most [`limits::SERVICES`].
    pub services: Vec<Service>,
    /// Access categories, ascending by name; at most [`limits::CATEGORIES`].
    pub categories: Vec<Category>,
    /// Users, ascending by id; at most [`limits::USERS`].
    pub users: Vec<User>,
    /// Where grants and prohibitions come from, ascending; at most [`limits::ORIGINS`].
    pub origins: Vec<Origin>,
    /// Grants, ascending; at most [`limits::GRANTS`].
    pub grants: Vec<Grant>,
    /// What beats every grant, ascending; at most [`limits::PROHIBITIONS`].
    pub prohibitions: Vec<Prohibition>,
    /// Service cases whose remote access is or will be active, ascending by name; at most [`limits::CASES`].
    pub cases: Vec<Case>,
}

impl Signed for Snapshot {
    const DOMAIN: Domain = Domain::Snapshot;
    const MAX_BYTES: usize = limits::SNAPSHOT_BYTES;
}

/// Bounds on tunnels of one device. Zero allows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimits {
    /// Tunnels open at the same time on the device.
    pub tunnels: u16,
    /// Tunnels open at the same time for one user.
    pub tunnels_per_user: u16,
}

/// What a service speaks. New kinds are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Flows to granted addresses of the machine network.
    Vpn,
    /// Remote framebuffer (RFC 6143).
    Vnc,
    /// HTTP/1.1 (RFC 9112).
    Http,
    /// WebSocket (RFC 6455); never implied by HTTP.
    Websocket,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Vpn, Self::Vnc, Self::Http, Self::Websocket];

    /// The word in files, logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vpn => "vpn",
            Self::Vnc => "vnc",
            Self::Http => "http",
            Self::Websocket => "websocket",
        }
    }
}

/// Where a service lives on the machine network. It comes from a signed snapshot and from nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The address; names are resolved by the compiler, never by a peer. Not unspecified, not multicast, and not
    /// an IPv4 address mapped into IPv6.
    pub ip: IpAddr,
    /// The TCP port, not zero.
    pub port: u16,
}

impl From<Target> for SocketAddr {
    fn from(target: Target) -> Self {
        Self::new(target.ip, target.port)
    }
}

/// One endpoint on the machine network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, unique on the device.
    pub name: Name,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is.
    pub target: Target,
    /// Tunnels open at the same time; zero allows none.
    pub tunnels: u16,
    /// Seconds without a byte in either direction after which a tunnel ends; not zero.
    pub idle_s: u32,
    /// Seconds after which a tunnel ends in any case; not zero.
    pub duration_s: u32,
}

/// A selection of services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its name.
    pub name: Name,
    /// Positions in [`Snapshot::services`], ascending, not empty.
    pub services: Vec<u32>,
}

/// One person, opaque: no name, no address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user.
    pub id: UserId,
    /// Keys that may speak for the user, ascending, not empty; at most [`limits::USER_KEYS`].
    pub keys: Vec<PublicKey>,
    /// A disabled user is refused with a reason of its own.
    pub disabled: bool,
}

/// Where a grant or prohibition comes from, as labels that the device can show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A role assignment.
    Assignment {
        /// Its name.
        assignment: Label,
        /// The role that it assigns.
        role: Label,
        /// The user group through which it reaches the user, if any.
        group: Option<Label>,
    },
    /// The user's membership in a device group, which carries a role.
    Membership {
        /// The device group.
        group: Label,
        /// The role.
        role: Label,
    },
    /// An entry for this one user.
    Entry {
        /// Its name.
        entry: Label,
    },
}

impl Origin {
    /// What people look for in the cloud: the name of the assignment, device group or entry.
    #[must_use]
    pub const fn name(&self) -> &Label {
        match self {
            Self::Assignment { assignment, .. } => assignment,
            Self::Membership { group, .. } => group,
            Self::Entry { entry } => entry,
        }
    }

    /// The role, where one is on the way.
    #[must_use]
    pub const fn role(&self) -> Option<&Label> {
        match self {
            Self::Assignment { role, .. } | Self::Membership { role, .. } => Some(role),
            Self::Entry { .. } => None,
        }
    }
}

/// A noun, so that a sentence can go on: granted by it, refused by it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assignment { assignment, role, group: None } => {
                write!(f, "assignment `{assignment}` of role `{role}`")
            }
            Self::Assignment { assignment, role, group: Some(group) } => {
                write!(f, "assignment `{assignment}` of role `{role}` to user group `{group}`")
            }
            Self::Membership { group, role } => {
                write!(f, "membership in device group `{group}` with role `{role}`")
            }
            Self::Entry { entry } => write!(f, "entry `{entry}`"),
        }
    }
}

/// One row: this user, this category, under these conditions, because of this origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// Position in [`Snapshot::users`].
    pub user: u32,
    /// Position in [`Snapshot::categories`].
    pub category: u32,
    /// The first second in which it holds; none is since ever.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more; none is for as long as the snapshot.
    pub not_after: Option<UnixTime>,
    /// Demands a second factor not older than this many seconds; none demands no second factor.
    pub second_factor_s: Option<u32>,
    /// Demands an active [`Case`] that contains the service.
    pub needs_case: bool,
    /// Position in [`Snapshot::origins`].
    pub origin: u32,
}

/// One row that beats every grant: this user is refused this category in this window, whatever else says yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prohibition {
    /// Position in [`Snapshot::users`].
    pub user: u32,
    /// Position in [`Snapshot::categories`].
    pub category: u32,
    /// The first second in which it holds; none is since ever.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more; none is for as long as the snapshot.
    pub not_after: Option<UnixTime>,
    /// Position in [`Snapshot::origins`].
    pub origin: u32,
}

/// A service case that is shared with those who service the machine, while its remote access is activated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub name: Label,
    /// The services of its machine: positions in [`Snapshot::services`], ascending, not empty.
    pub services: Vec<u32>,
    /// The first second in which it is active; none is since ever.
    pub not_before: Option<UnixTime>,
    /// The first second in which it is active no more; none is until it is closed.
    pub not_after: Option<UnixTime>,
}

impl Prohibition {
    /// Whether it refuses in second `now`.
    #[must_use]
    pub fn in_force(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.not_after.is_none_or(|end| now < end)
    }
}

impl Case {
    /// The first second in which it is active no more.
    #[must_use]
    pub fn end(&self) -> UnixTime {
        self.not_after.unwrap_or(UnixTime::MAX)
    }

    /// Whether it is active in second `now`.
    #[must_use]
    pub fn is_active(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|from| from <= now) && now < self.end()
    }
}

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
        count("cases", self.cases.len(), limits::CASES)?;
        ascending("services", &self.services, |a, b| a.name < b.name)?;
        ascending("categories", &self.categories, |a, b| a.name < b.name)?;
        ascending("users", &self.users, |a, b| a.id < b.id)?;
        ascending("origins", &self.origins, |a, b| a < b)?;
        ascending("grants", &self.grants, |a, b| a < b)?;
        ascending("prohibitions", &self.prohibitions, |a, b| a < b)?;
        ascending("cases", &self.cases, |a, b| a.name < b.name)?;
        if self.issued >= self.expires {
            return Err(FormFault::Value { list: "snapshot", field: "expires" });
        }
        if !self.assigned {
            empty("grants", &self.grants)?;
            empty("prohibitions", &self.prohibitions)?;
            empty("cases", &self.cases)?;
        }
        self.services.iter().try_for_each(Service::check_form)?;
        for category in &self.categories {
            ascending("category services", &category.services, |a, b| a < b)?;
            refers("categories", "service", category.services.last().copied(), self.services.len())?;
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
        self.cases.iter().try_for_each(|case| case.check_form(self))
    }
}

impl Service {
    fn check_form(&self) -> Result<(), FormFault> {
        let zero = |field| Err(FormFault::Value { list: "services", field });
        let ip = self.target.ip;
        // An IPv4 address in IPv6 clothes would slip past networks that are written in IPv4, the unspecified
        // address is the device itself on Linux, and nothing is served at a multicast address.
        if ip.to_canonical() != ip || ip.is_unspecified() || ip.is_multicast() {
            return zero("ip");
        }
        match (self.target.port, self.idle_s, self.duration_s) {
            (0, _, _) => zero("port"),
            (_, 0, _) => zero("idle_s"),
            (_, _, 0) => zero("duration_s"),
            (_, _, _) => Ok(()),
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

fn window(list: &'static str, from: Option<UnixTime>, until: Option<UnixTime>) -> Result<(), FormFault> {
    match (from, until) {
        (Some(from), Some(until)) if from >= until => Err(FormFault::Value { list, field: "not_after" }),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

fn count(list: &'static str, found: usize, limit: usize) -> Result<(), FormFault> {
    if found > limit { Err(FormFault::Count { list, found, limit }) } else { Ok(()) }
}

/// A device that changes hands must not carry what its last owner ruled.
fn empty<T>(list: &'static str, entries: &[T]) -> Result<(), FormFault> {
    if entries.is_empty() { Ok(()) } else { Err(FormFault::Unassigned { list }) }
}

fn ascending<T>(list: &'static str, entries: &[T], below: impl Fn(&T, &T) -> bool) -> Result<(), FormFault> {
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
