//! Companies and the people in them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::trust::sealed::SealingKey;

use super::MailAddress;

/// A company. Accounts nest; nothing of a parent or sibling can be reached from inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What the company is in the business of machines.
    pub tenant: Tenant,
    /// The account that it is nested in.
    pub parent: Option<Name>,
    /// The key to which tunnels on its devices are recorded, where a category demands that; the private half is with the
    /// company and on no device. Accounts nested in it that have none of their own use it too.
    #[serde(default)]
    pub recording_key: Option<SealingKey>,
    /// What its administrators may hand on although they do not hold it themselves: whoever is responsible for the account above
    /// says so, or the operator of the installation.
    #[serde(default)]
    pub delegable: Delegable,
    /// What people call it.
    pub label: Option<Label>,
}

/// What somebody may give who does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegable {
    /// Access categories.
    pub categories: BTreeSet<Name>,
    /// Custom roles, with all that they contain.
    pub roles: BTreeSet<Name>,
}

/// The role of a company. The role of a *user* is something else ([`Role`](super::Role)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenant {
    /// Runs machines.
    OperatingCompany,
    /// Builds or services machines.
    ServiceProvider,
    /// Writes applications; has the basic roles only, which are built in.
    AppDeveloper,
}

impl Tenant {
    /// All tenant roles.
    pub const ALL: [Self; 3] = [Self::OperatingCompany, Self::ServiceProvider, Self::AppDeveloper];

    /// The word in fleet files and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OperatingCompany => "operating_company",
            Self::ServiceProvider => "service_provider",
            Self::AppDeveloper => "app_developer",
        }
    }
}

/// A person. Whether they have signed in or are disabled is a fact of the store, not of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The one account that they belong to.
    pub account: Name,
    /// Where they get mail: invitations, and requests that wait for them. It never reaches a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailAddress>,
    /// What people call them. It never reaches a device.
    pub label: Option<Label>,
}
