//! What keeps a measurement from being made.

use std::fmt::Display;

/// Something was not as the measurement needs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: saw {seen}, expected {expected}")]
pub struct Mishap {
    what: String,
    seen: String,
    expected: String,
}

impl Mishap {
    /// What was looked at, what was seen and what was expected.
    pub fn unexpected(what: impl Display, seen: impl Display, expected: impl Display) -> Self {
        Self { what: what.to_string(), seen: seen.to_string(), expected: expected.to_string() }
    }

    /// Turns the error of a step into a mishap of `what`.
    pub fn of<E: Display>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::unexpected(what, error, "no error")
    }
}
