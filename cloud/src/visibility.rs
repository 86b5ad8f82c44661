//! What a user may know of: the devices on which something is granted to them, and nothing else.

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::compile::{Compiler, Roster};
use crate::model::Model;

/// The devices on which a user is granted something that has not ended and is not denied for good, ascending.
///
/// Grants that wait for a second factor, a service case or their first second show the device: the user can do
/// something about them, or wait. An administrative permission shows no device here: what one may manage is another
/// question than what one may enter, and a listing that mixed them would reveal devices that stay closed.
#[must_use]
pub fn visible_devices(model: &Model, user: &Name, now: UnixTime) -> Vec<Name> {
    let roster = Roster::default();
    let open = Compiler::new(model, &roster).open_to(user, |window| window.lasts_at(now));
    open.into_iter().cloned().collect()
}
