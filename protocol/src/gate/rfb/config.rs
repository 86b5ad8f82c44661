//! What a shell decides before a session begins.

use super::password::{Challenge, Password};
use crate::policy::Mode;

/// How a session begins.
#[derive(Debug)]
pub struct Config {
    /// What the viewer may do at first; [`Gate::handle_mode`](super::Gate::handle_mode) changes it.
    pub mode: Mode,
    /// Who shares the screen.
    pub sharing: Sharing,
    /// What lets the viewer in.
    pub viewer: ViewerSecurity,
    /// What lets the gate in at the machine, if it asks. Wiped as soon as it was used.
    pub password: Option<Password>,
}

/// What the machine is told about others who look at the same screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// What the viewer says.
    AsViewer,
    /// They may stay. The safe choice: an operator at the machine is not thrown out by an engineer's viewer.
    Always,
    /// They must go.
    Never,
}

/// What a viewer must do to be let in. The tunnel has authenticated its user already.
#[derive(Debug)]
pub enum ViewerSecurity {
    /// Nothing.
    None,
    /// Nothing, or a one-time password if it knows no other way: Apple's viewer refuses sessions without one.
    NoneOrPassword(OneTime),
    /// A one-time password: keeps other programs on the engineer's computer from using the open door.
    Password(OneTime),
}

/// A one-time password with the challenge that it must answer. Both are random and made for this session alone; a
/// challenge that is used twice lets whoever saw the first response repeat it.
#[derive(Debug)]
pub struct OneTime {
    /// What the engineer's client tells the viewer.
    pub password: Password,
    /// What the viewer encrypts.
    pub challenge: Challenge,
}
