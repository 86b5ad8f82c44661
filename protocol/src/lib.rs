//! The pure core of Postern: what is signed, what is said on the wire, and what is decided.
//!
//! 1. [`trust`] turns received bytes into values that somebody with the right key has signed.
//! 2. [`policy`] turns a verified snapshot into an index and answers each request with a permit or a denial.
//! 3. [`wire`] names every message, its number and its exact encoding.
//! 4. [`session`] holds both ends of policy synchronisation as state machines.
//! 5. [`audit`] encodes and chains the rows that record decisions.
//! 6. [`gate`] reads the protocols that permitted streams speak and lets through what their access allows.
//! 7. [`recording`] is the file in which a tunnel is kept for those who may see it later.
//!
//! Deliberately absent: tokio, sockets, files, clocks and randomness. Time and seeds are arguments, so that
//! every line of this crate can be tested in virtual time and fuzzed.

pub mod audit;
pub mod gate;
pub mod id;
pub mod limits;
pub mod name;
pub mod path;
pub mod policy;
pub mod recording;
pub mod session;
pub mod time;
pub mod trust;
pub mod wire;
