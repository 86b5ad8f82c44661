//! Edge routers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{DeviceLimits, FreshnessRule};

use super::service::Service;

/// An edge router with an agent. It belongs to exactly one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its account.
    pub account: Name,
    /// What people call it.
    pub label: Option<Label>,
    /// A closed device opens nothing to anybody, whatever is granted on it: so it comes back from a nested account
    /// that was deleted.
    #[serde(default)]
    pub closed: bool,
    /// Tunnels at the same time.
    pub limits: DeviceLimits,
    /// For how long it believes its policy without a word of the cloud, and for how long grants hold that are meant
    /// for that.
    #[serde(default = "default_freshness")]
    pub freshness: FreshnessRule,
    /// Its services, by the name that people type.
    pub services: BTreeMap<Name, Service>,
}

impl Device {
    /// What a device allows when the fleet file says nothing else.
    pub const LIMITS: DeviceLimits = DeviceLimits { tunnels: 64, tunnels_per_user: 16 };
    /// How a device works without the cloud when the fleet file says nothing else: its policy is believed for a quarter
    /// of an hour, and grants that are meant for it hold for another week.
    pub const FRESHNESS: FreshnessRule = FreshnessRule { window_s: 15 * 60, offline_s: 7 * DAY_S };
    /// The shortest and the longest time for which a policy may be believed without a word of the cloud. Timestamps come
    /// every minute; what is withdrawn must not hold for longer than a day.
    pub const WINDOW_S: [u32; 2] = [60, DAY_S];
    /// The longest time that a device may work without the cloud.
    pub const OFFLINE_S: u32 = 90 * DAY_S;
}

const fn default_freshness() -> FreshnessRule {
    Device::FRESHNESS
}

const DAY_S: u32 = 24 * 3600;
