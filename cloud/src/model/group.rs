//! Groups of people, groups of devices, and the places that contain machines.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;

/// People who are assigned roles together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserGroup {
    /// The account that owns the group; members belong to it or to accounts nested in it.
    pub account: Name,
    /// Its members.
    pub members: BTreeMap<Name, Member>,
    /// What people call it.
    pub label: Option<Label>,
}

/// A user's place in a user group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The first second in which the user belongs to the group no more.
    pub until: Option<UnixTime>,
}

/// Devices that are a scope together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceGroup {
    /// The account that owns the group; its devices belong to it or to accounts nested in it.
    pub account: Name,
    /// What its devices have in common.
    pub group_type: GroupType,
    /// Its devices.
    pub devices: BTreeSet<Name>,
    /// Users who have a role on these devices.
    #[serde(default)]
    pub members: BTreeMap<Name, Membership>,
    /// What people call it.
    pub label: Option<Label>,
}

/// A user's membership in a device group: a role whose scope is the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Which role.
    pub role: Name,
    /// The access categories that an essential role opens here; a custom role has its own.
    pub categories: BTreeSet<Name>,
    /// The first second in which it holds no more.
    pub until: Option<UnixTime>,
    /// Whether it holds also while a device is cut off from the cloud, as in an assignment.
    #[serde(default)]
    pub offline: Option<bool>,
}

/// What the devices of a group have in common. It sorts groups for people and decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupType {
    /// One customer's devices.
    Customer,
    /// Devices of a region.
    Region,
    /// Devices of a division.
    Division,
    /// Devices of one type of machine.
    MachineType,
    /// Devices that a partner sold or services.
    Partner,
    /// Devices of a project.
    Project,
    /// Devices allocated to somebody.
    Allocation,
}

impl GroupType {
    /// All group types.
    pub const ALL: [Self; 7] = [
        Self::Customer,
        Self::Region,
        Self::Division,
        Self::MachineType,
        Self::Partner,
        Self::Project,
        Self::Allocation,
    ];

    /// The word in fleet files and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Region => "region",
            Self::Division => "division",
            Self::MachineType => "machine-type",
            Self::Partner => "partner",
            Self::Project => "project",
            Self::Allocation => "allocation",
        }
    }
}

/// A facility of an operating company or a service organisation of a service provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeNode {
    /// The account that owns it; what it contains belongs to that account or to accounts nested in it.
    pub account: Name,
    /// Machines in it: their own services only, not those of the router or of other machines behind it.
    pub machines: BTreeSet<Name>,
    /// Routers in it, with everything behind them.
    pub devices: BTreeSet<Name>,
    /// What people call it.
    pub label: Option<Label>,
}
