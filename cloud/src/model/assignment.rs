//! Role assignments: who, which role, where, and when.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

/// One role, for one user or group, in one scope. Each assignment stands alone: its role is never combined with
/// the scope, window or second factor of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Who.
    pub subject: Subject,
    /// Which role.
    pub role: Name,
    /// The access categories that an essential role opens here; a custom role has its own.
    #[serde(default)]
    pub categories: BTreeSet<Name>,
    /// Where.
    pub scope: Scope,
    /// The first second in which it holds.
    pub from: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub until: Option<UnixTime>,
    /// Demands an active shared service case of the machine, also where the role does not.
    #[serde(default)]
    pub needs_case: bool,
    /// Demands that somebody of the operating company that has the machine approves each access, for a time.
    #[serde(default)]
    pub needs_approval: bool,
    /// Whether it holds also while a device is cut off from the cloud. Only that of an essential role may say yes; that of
    /// a custom role may say no, and is of the same mind as its role when it says nothing.
    #[serde(default)]
    pub offline: Option<bool>,
}

/// Who is assigned a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One user.
    User(Name),
    /// Every member of a user group.
    Group(Name),
}

/// Where an assignment holds. Scopes become devices when the policy is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// Devices that belong directly to an account.
    Account {
        /// The account.
        account: Name,
        /// Also those of the accounts nested in it.
        nested: bool,
    },
    /// The devices of a group.
    DeviceGroup {
        /// The group.
        group: Name,
    },
    /// The machines and devices of a facility.
    Facility {
        /// The facility.
        facility: Name,
    },
    /// The machines and devices of a service organisation.
    Organisation {
        /// The organisation.
        organisation: Name,
    },
    /// One device with everything behind it.
    Device {
        /// The device.
        device: Name,
    },
    /// One machine: its own services only.
    Machine {
        /// The machine.
        machine: Name,
    },
    /// What lies in every one of several scopes.
    AllOf {
        /// The scopes; an empty list is nothing.
        scopes: Vec<Scope>,
    },
    /// A type that a later version has stored. It grants nothing and is reported.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_scope_of_an_unknown_type_is_read_as_unknown() {
        let scope: Scope = serde_json::from_str(r#"{"type":"galaxy"}"#).unwrap();
        assert_eq!(scope, Scope::Unknown);
    }
}
