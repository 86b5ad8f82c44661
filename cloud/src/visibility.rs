//! What a user may know of: the devices on which something is granted to them, and nothing else.

use std::collections::BTreeSet;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::compile::{Compiler, Roster, Row};
use crate::model::Model;

/// The devices on which a user is granted something that has not ended, ascending.
///
/// An administrative permission shows no device here: what one may manage is another question than what one may
/// enter, and a listing that mixed them would reveal devices that stay closed.
#[must_use]
pub fn visible_devices(model: &Model, user: &Name, now: UnixTime) -> Vec<Name> {
    let roster = Roster::default();
    let reachable = Compiler::new(model, &roster).reachable(user);
    let lasting = |rows: &BTreeSet<Row>| rows.iter().any(|row| row.not_after.is_none_or(|until| now < until));
    reachable.into_iter().filter(|(_, rows)| lasting(rows)).map(|(device, _)| device.clone()).collect()
}
