//! Endpoints on the machine network, and the named pages of the HTTP ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Kind, Target};

/// One endpoint on the machine network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is. Only ever read from the model: no client and no machine names an address.
    pub target: Target,
    /// Tunnels at the same time.
    pub tunnels: u16,
    /// Seconds without a byte after which a tunnel ends.
    pub idle_s: u32,
    /// Seconds after which a tunnel ends in any case.
    pub duration_s: u32,
    /// Named paths; HTTP services only.
    pub pages: BTreeMap<Name, Page>,
}

impl Service {
    /// Tunnels at the same time when the fleet file says nothing else.
    pub const TUNNELS: u16 = 16;
    /// Idle seconds when the fleet file says nothing else.
    pub const IDLE_S: u32 = 15 * 60;
    /// Longest duration when the fleet file says nothing else: a working day.
    pub const DURATION_S: u32 = 12 * 3600;
}

/// A named path of an HTTP service: a dashboard, a maintenance page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Its path, beginning with `/`.
    pub path: Label,
}
