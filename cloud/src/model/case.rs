//! Service cases: a machine needs help, and those who service it may enter while the case is active.

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;

use super::Model;

/// A service case of one machine. It opens nothing by itself: it meets the demand of grants that need one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub subject: CaseSubject,
    /// Who takes part in it.
    pub visibility: Visibility,
    /// The first second in which remote access is active; it is not active at all without `from` and `until`.
    pub from: Option<UnixTime>,
    /// The first second in which remote access is active no more.
    pub until: Option<UnixTime>,
    /// What people call it.
    pub label: Option<Label>,
}

/// What a case is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseSubject {
    /// One machine: its own services only.
    Machine(Name),
    /// A device with everything behind it.
    Device(Name),
}

/// Who takes part in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// The operating company and its service provider.
    Shared,
    /// The operating company alone. It never opens the machine to anybody.
    Internal,
}

impl Visibility {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Shared, Self::Internal];

    /// The word in fleet files and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Internal => "internal",
        }
    }
}

impl Case {
    /// Whether remote access was activated at all: a case without a window is open and opens nothing.
    #[must_use]
    pub const fn is_activated(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }
}

impl Model {
    /// The device that a case is about, or that leads to its machine.
    #[must_use]
    pub fn device_of_case<'a>(&'a self, case: &'a Case) -> Option<&'a Name> {
        match &case.subject {
            CaseSubject::Device(device) => Some(device),
            CaseSubject::Machine(machine) => self.machines.get(machine).map(|machine| &machine.device),
        }
    }
}
