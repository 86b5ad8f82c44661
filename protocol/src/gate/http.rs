//! The gate in an HTTP/1.1 connection (RFC 9110 and 9112): every request is read strictly and judged alone.
//!
//! 1. [`Target`] is the one form of path and query: what was judged is what is sent.
//! 2. [`Pattern`] and [`Methods`] say what a rule grants.

pub mod fault;
pub mod method;
pub mod pattern;
pub mod target;

pub use fault::TargetFault;
pub use method::{Method, Methods};
pub use pattern::{Pattern, PatternFault};
pub use target::Target;
