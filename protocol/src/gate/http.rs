//! The gate in an HTTP/1.1 connection (RFC 9110 and 9112): every request is read strictly and judged alone.
//!
//! 1. [`Guard`] reads the client's bytes. It knows where each request ends and lets nothing through that two programs could
//!    understand in two ways; so a parser behind it cannot be led astray.
//! 2. [`Target`] is the one form of path and query: what was judged is what is sent.
//! 3. [`judge()`] asks the rules of the service and the mode of this moment. No request is judged by an earlier one.
//! 4. [`digest`] answers a machine that wants a login.
//! 5. [`headers`] says which headers pass in both directions, and [`Site`] which values are put in terms of the other side.

pub mod digest;
pub mod fault;
pub mod headers;
pub mod judge;
pub mod rewrite;
pub mod strict;
pub mod target;

pub use fault::{RequestFault, TargetFault};
pub use judge::{Asked, judge};
pub use rewrite::Site;
pub use strict::{Framing, Guard, Head, Part};
pub use target::Target;
