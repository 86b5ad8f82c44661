//! Service cases between a hub and the people who handle them: opened, activated for a time, deactivated, closed.
//!
//! The hub's clock counts where somebody says how long a window lasts. A device holds the window by itself.

use serde::{Deserialize, Serialize};

use super::administration::Edited;
use crate::name::{Label, Name};
use crate::time::UnixTime;

/// What somebody wants with service cases. New questions are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaseQuestion {
    /// Those that the caller may know of, ascending by name.
    List {
        /// Only names after this one.
        after: Option<Name>,
    },
    /// One of them.
    Show {
        /// Its name.
        name: Name,
    },
    /// Opens one; with a window it is activated in the same step.
    Open {
        /// Its name; one is made up where none is given.
        name: Option<Name>,
        /// What it is about.
        about: CaseAbout,
        /// Whether the service provider takes part in it.
        shared: bool,
        /// When remote access is active; none is not yet.
        window: Option<CaseWindow>,
        /// What it is about, for people.
        label: Option<Label>,
    },
    /// Activates remote access for a time, whatever the window was before.
    Activate {
        /// Its name.
        name: Name,
        /// When.
        window: CaseWindow,
    },
    /// Ends remote access and leaves the case open.
    Deactivate {
        /// Its name.
        name: Name,
    },
    /// Closes it.
    Close {
        /// Its name.
        name: Name,
    },
}

/// What a case is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaseAbout {
    /// A machine: its own services and nothing beside it.
    Machine(Name),
    /// A device with everything behind it.
    Device(Name),
}

/// When remote access is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseWindow {
    /// The first second; none is at once.
    pub from: Option<UnixTime>,
    /// Its end.
    pub end: CaseEnd,
}

/// When a window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaseEnd {
    /// The first second in which it is active no more.
    At(UnixTime),
    /// So many seconds after its beginning, by the hub's clock.
    After(u32),
}

/// A case, as it is shown to those who may know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseEntry {
    /// Its name.
    pub name: Name,
    /// What it is about.
    pub about: CaseAbout,
    /// Whether the service provider takes part in it.
    pub shared: bool,
    /// Where its remote access stands by the hub's clock.
    pub standing: CaseStanding,
    /// The beginning of its window.
    pub from: Option<UnixTime>,
    /// The end of its window.
    pub until: Option<UnixTime>,
    /// What it is about, for people.
    pub label: Option<Label>,
}

/// Where remote access of a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaseStanding {
    /// Nobody has activated it.
    Inactive,
    /// Its window has not begun.
    Planned,
    /// It is active.
    Active,
    /// Its window is over.
    Over,
}

/// Cases, or the one that was handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasePage {
    /// Ascending by name.
    pub cases: Vec<CaseEntry>,
    /// Behind which name the next ones are; none where these are the last.
    pub more: Option<Name>,
    /// What handling the case did; none where somebody only looked.
    pub edited: Option<Edited>,
}
