//! From a checked model to the policy of one device: pure, deterministic, and nothing that the device does not need.
//!
//! 1. [`Compiler::rows`]: every assignment is resolved for one device, by itself: its scope to what it reaches there,
//!    its subject to users, its role to categories. One row for each user, category and assignment.
//! 2. [`Compiler::compile`]: rows become the lists of a snapshot. Services, categories, users and origins that no
//!    row needs are not in it; names, addresses and companies of people never are.
//! 3. [`Content::into_snapshot`] adds what changes with each publication: version, issue and expiry.
//!
//! Rules that live here: grants are per assignment (its role, scope, window and second factor are never combined
//! with another's); policy flows from an account down and never up or sideways; permissions are not read at all;
//! a page opens nothing. Deliberately absent: the clock. A grant that has ended is compiled like any other and the
//! device refuses it with its reason.

mod affected;
mod cases;
mod category_name;
mod content;
mod places;
mod reach;
mod rows;
mod source;
mod standing;
mod warning;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::id::UserId;
use postern_protocol::name::Name;
use postern_protocol::trust::PublicKey;

pub use self::affected::affected;
pub use self::content::{Addressee, CompileError, Content, Term};
pub use self::rows::{Ban, Compiler, Row};
pub(crate) use self::source::label;
pub(crate) use self::standing::Endpoint;
pub use self::warning::{Bearer, Warning, warnings};
pub use self::window::Window;

/// What is known of people beside the model: ids, keys and whether they are disabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// By user name.
    pub users: BTreeMap<Name, Enrolled>,
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
}
