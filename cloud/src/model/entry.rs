//! Individual entries: what one user is allowed or denied beside what roles give. A deny beats every allow.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::assignment::{Scope, Subject};
use super::{Model, Permission};

/// An allow or deny for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who.
    pub user: Name,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What.
    pub selection: Selection,
    /// Where. Only a deny may do without: it then holds wherever the user could reach.
    pub scope: Option<Scope>,
    /// The first second in which it holds.
    pub from: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub until: Option<UnixTime>,
    /// Demands a second factor not older than this many seconds; allows only.
    pub second_factor_s: Option<u32>,
    /// Demands that somebody of the operating company that has the machine approves each access; allows only.
    #[serde(default)]
    pub needs_approval: bool,
    /// Whether it holds also while a device is cut off from the cloud; allows only. A deny always does.
    #[serde(default)]
    pub offline: bool,
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Allows beside what roles allow.
    Allow,
    /// Denies whatever anything else allows.
    Deny,
}

impl Effect {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Deny];

    /// The word in fleet files and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All that an access category selects.
    Category(Name),
    /// Services of this name, as their device or machine calls them.
    Service(Name),
}

impl Model {
    /// The users with a role that may use tunnels, whenever and wherever it holds. Nobody else can be allowed anything
    /// by an entry: it widens what a role opens, and makes nobody a user of tunnels.
    #[must_use]
    pub fn tunnel_users(&self) -> BTreeSet<&Name> {
        let uses = |role: &Name| {
            self.role(role).is_some_and(|role| role.permissions.contains(&Permission::UseRemoteAccess))
        };
        let mut users = BTreeSet::new();
        for assignment in self.assignments.values().filter(|assignment| uses(&assignment.role)) {
            match &assignment.subject {
                Subject::User(user) => users.extend([user]),
                Subject::Group(group) => {
                    users.extend(
                        self.user_groups.get(group).into_iter().flat_map(|group| group.members.keys()),
                    );
                }
            }
        }
        for group in self.device_groups.values() {
            users.extend(group.members.iter().filter(|(_, member)| uses(&member.role)).map(|(user, _)| user));
        }
        users
    }
}
