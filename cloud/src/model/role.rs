//! Roles of users: what they may administrate, and the access categories that their assignments open.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};

use super::account::Tenant;
use super::permission::Permission;

/// A selection of permissions and access categories, for companies of one tenant role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The tenant role of the accounts whose users may hold it.
    pub tenant: Tenant,
    /// Administrative rights; none of them opens a tunnel.
    pub permissions: BTreeSet<Permission>,
    /// Access categories; the only thing that opens a tunnel.
    pub categories: BTreeSet<Name>,
    /// Demands a second factor not older than this many seconds, for every grant of this role and no other.
    pub second_factor_s: Option<u32>,
    /// What people call it.
    pub label: Option<Label>,
}
