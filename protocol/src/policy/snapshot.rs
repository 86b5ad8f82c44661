//! The snapshot: all policy for one device at one version, as a value that is never edited.
//!
//! Lists are strictly ascending and refer to each other by position, so that one policy has one encoding, 5,000
//! users fit in half a megabyte, and a reference is checked by comparing it with a length. Whole snapshots are
//! replaced; there are no patches.

mod form;
mod reach;
pub mod rules;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::freshness::FreshnessRule;
use super::mode::Mode;
use crate::id::{ApprovalId, DeviceId, FleetId, UserId};
use crate::limits;
use crate::name::{Label, Name};
use crate::time::UnixTime;
use crate::trust::sealed::SealingKey;
use crate::trust::{Domain, PublicKey, Signed};

pub use self::form::FormFault;
pub use self::reach::Reach;
pub use self::rules::{Kind, Pattern, Rules, Upstream};

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
    /// Locks of this epoch up to this sequence are gone while this snapshot is in force; 0 clears none.
    pub locks_cleared: u64,
    /// Rises with each snapshot of this device and epoch.
    pub version: u64,
    /// When it was signed.
    pub issued: UnixTime,
    /// The first second in which it permits nothing.
    pub expires: UnixTime,
    /// Whether the device belongs to an account. An unassigned device permits nothing and carries no rules.
    pub assigned: bool,
    /// Whether the device is out of service: it forgets every snapshot before and carries nothing at all. It keeps its
    /// key and its enrolment, so that a later snapshot brings it back.
    pub retired: bool,
    /// Bounds for the whole device.
    pub limits: DeviceLimits,
    /// For how long the device works without its cloud.
    pub freshness: FreshnessRule,
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
    /// What prohibitions refuse that are not for whole services, ascending; at most [`limits::PATHS`].
    pub paths: Vec<Pattern>,
    /// Service cases whose remote access is or will be active, ascending by name; at most [`limits::CASES`].
    pub cases: Vec<Case>,
    /// What was approved of grants that demand it, ascending; at most [`limits::APPROVALS`].
    pub approvals: Vec<Approval>,
    /// Secrets that this device alone can open, ascending by name; at most [`limits::SECRETS`].
    pub secrets: Vec<Secret>,
    /// The key to which tunnels are recorded, of a device that has a category which demands it.
    pub recording_key: Option<SealingKey>,
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
    /// Tunnels open at the same time; zero allows none.
    pub tunnels: u16,
    /// Seconds without a byte in either direction after which a tunnel ends; not zero.
    pub idle_s: u32,
    /// Seconds after which a tunnel ends in any case; not zero.
    pub duration_s: u32,
    /// Whether everybody looks and nobody touches, whatever a grant says.
    pub view_only: bool,
    /// Where it leads, what it speaks there, and what its gate lets through.
    pub reach: Reach,
}

impl Service {
    /// What it speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.reach.kind()
    }

    /// How the gate speaks to the machine, where it speaks HTTP.
    #[must_use]
    pub const fn upstream(&self) -> Option<&Upstream> {
        self.reach.upstream()
    }

    /// The widest mode that a tunnel to it can have.
    #[must_use]
    pub const fn widest(&self) -> Mode {
        if self.view_only { Mode::ViewOnly } else { Mode::WIDEST }
    }
}

/// A selection of services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its name.
    pub name: Name,
    /// Positions in [`Snapshot::services`], ascending, not empty.
    pub services: Vec<u32>,
    /// Whether tunnels that it permits are recorded. Without a recording there is no tunnel.
    pub record: bool,
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
    /// A pass of this user that was signed earlier is worth nothing; 0 takes every pass.
    pub passes_from: UnixTime,
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
    /// Demands an [`Approval`] of this very grant for the service.
    pub needs_approval: bool,
    /// Holds also while the policy is stale, for as long as the device's budget lasts.
    pub offline_ok: bool,
    /// What may be done through its tunnels; a service that everybody only looks at narrows it.
    pub mode: Mode,
    /// Position in [`Snapshot::origins`].
    pub origin: u32,
}

/// One row that beats every grant: this user is refused this category in this window, whatever else says yes. With a path it
/// closes only that of the web services of the category, and opens and refuses no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prohibition {
    /// Position in [`Snapshot::users`].
    pub user: u32,
    /// Position in [`Snapshot::categories`].
    pub category: u32,
    /// Position in [`Snapshot::paths`]; none refuses the services as a whole.
    pub path: Option<u32>,
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

/// That somebody of the machine's own company said yes to one service of one grant, for a time. It belongs to that grant: no
/// other one is met by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Approval {
    /// Position in [`Snapshot::grants`], of one that demands approval.
    pub grant: u32,
    /// Position in [`Snapshot::services`], of one that the grant's category contains.
    pub service: u32,
    /// The most that may be done, whatever the grant says.
    pub mode: Mode,
    /// The first second in which it is worth nothing.
    pub not_after: UnixTime,
    /// The request that was approved, as a label that the device can show.
    pub id: ApprovalId,
}

/// A secret of the device, such as the password of a panel, sealed so that nobody else reads it on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: Name,
    /// As [`seal`](crate::trust::sealed::seal) made it; 1 to [`limits::SEALED_SECRET_BYTES`] bytes. Whether it opens is
    /// no matter of form: a secret in a form of a later version must not make the device refuse its policy.
    pub sealed: Vec<u8>,
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

#[cfg(test)]
mod tests;
