//! From a checked model to the policy of one device: pure, deterministic, and nothing that the device does not need.
//!
//! 1. Assignments, memberships in device groups and entries are read as sources of access, each with a role, scope and
//!    conditions of its own, and filed under the narrowest place that they can reach.
//! 2. For one device, what is filed under its account, groups, places and machines is resolved: what a scope reaches
//!    there, what categories select within it, and which users may reach devices of this account at all.
//! 3. [`Compiler::compile`]: that becomes the lists of a snapshot. Services, categories, users, origins and cases that
//!    no grant needs are not in it; names, addresses and companies of people never are.
//!    [`Compiler::rows_and_bans`] is the same in words, before keys come into play.
//! 4. [`Content::into_snapshot`] adds what changes with each publication: version, issue and expiry.
//! 5. [`affected()`]: which devices an edit can affect, so that the others are left alone.
//!
//! Rules that live here: grants are per source (role, scope, window, second factor, case, approval and what holds without the cloud
//! are never combined with another's); a denial beats every grant; policy flows from an account down and never up or sideways; permissions are
//! not read at all; a page opens nothing; internal cases stay inside. Deliberately absent: the clock. A grant that has
//! ended is compiled like any other and the device refuses it with its reason.

mod affected;
mod approvers;
mod cases;
mod category_name;
mod closing;
mod content;
mod places;
mod reach;
mod rows;
mod source;
mod standing;
mod warning;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::id::{ApprovalId, UserId};
use postern_protocol::name::Name;
use postern_protocol::policy::{Mode, Origin};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;

pub use self::affected::affected;
pub(crate) use self::affected::affected_by;
pub use self::content::{Addressee, CompileError, Content, Term};
pub(crate) use self::places::Places;
pub(crate) use self::reach::Reach;
pub use self::rows::{Ban, Compiler, Row};
pub(crate) use self::source::label;
pub(crate) use self::standing::Endpoint;
pub use self::warning::{Bearer, Demander, Warning, warnings};
pub use self::window::Window;

/// What is known of people beside the model: ids, keys, whether they are disabled, and what was approved for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// By user name.
    pub users: BTreeMap<Name, Enrolled>,
    /// By device name. One that has ended is compiled like any other: the device knows the time.
    pub approvals: BTreeMap<Name, Vec<Approved>>,
}

/// That somebody may use one service of one device for a time, as far as one of their sources of access demands an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// The request.
    pub id: ApprovalId,
    /// Who may.
    pub user: Name,
    /// The account to which the device belonged when it was asked for: its people have nothing to say in another one.
    pub account: Name,
    /// The service, by its name on the device.
    pub service: Name,
    /// What demanded the approval when it was asked for. Whatever else demands one now was not approved.
    pub origins: BTreeSet<Origin>,
    /// The most that may be done.
    pub mode: Mode,
    /// The first second in which it is worth nothing.
    pub until: UnixTime,
}

/// One user of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The id that the cloud assigned.
    pub id: UserId,
    /// Registered keys. A user without one cannot connect and is left out of every snapshot.
    pub keys: BTreeSet<PublicKey>,
    /// A disabled user is refused on every device, with a reason of its own.
    pub disabled: bool,
    /// A pass that was signed earlier is worth nothing; 0 takes every pass.
    pub passes_from: UnixTime,
}
