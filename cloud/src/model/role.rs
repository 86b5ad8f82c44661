//! Roles of users: what they may administrate, and the access categories that their assignments open.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;

use super::Model;
use super::account::Tenant;
use super::essential::Essential;
use super::permission::Permission;

/// A selection of permissions and access categories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The tenant role of the accounts whose users may hold it; none, for users of any account, is for basic roles.
    pub tenant: Option<Tenant>,
    /// Administrative rights; none of them opens a tunnel.
    pub permissions: BTreeSet<Permission>,
    /// Access categories; the only thing that opens a tunnel. Essential roles have none: what they open is named by
    /// each assignment.
    pub categories: BTreeSet<Name>,
    /// Demands a second factor not older than this many seconds, for every grant of this role and no other.
    pub second_factor_s: Option<u32>,
    /// Demands an active shared service case of the machine, for every grant of this role and no other.
    #[serde(default)]
    pub needs_case: bool,
    /// Whether its grants hold also while a device is cut off from the cloud. Never of an essential role: for those each
    /// assignment says so.
    #[serde(default)]
    pub offline: bool,
    /// The first second in which the role opens nothing any more, whatever an assignment says; deprecated roles only.
    #[serde(default)]
    pub ends: Option<UnixTime>,
    /// What people call it.
    pub label: Option<Label>,
}

impl Model {
    /// Whether what is given of a role holds also while a device is cut off from the cloud, where its assignment or
    /// membership says `said`. A custom role says so for all of its assignments and each of them may refuse; of an
    /// essential role only the assignment can say so.
    #[must_use]
    pub fn holds_offline(&self, role: &Name, said: Option<bool>) -> bool {
        if Essential::from_word(role.as_str()).is_some() {
            return said == Some(true);
        }
        self.roles.get(role).is_some_and(|role| role.offline) && said != Some(false)
    }
}
