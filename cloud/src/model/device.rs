//! Edge routers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::DeviceLimits;

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
    /// Its services, by the name that people type.
    pub services: BTreeMap<Name, Service>,
}

impl Device {
    /// What a device allows when the fleet file says nothing else.
    pub const LIMITS: DeviceLimits = DeviceLimits { tunnels: 64, tunnels_per_user: 16 };
}
