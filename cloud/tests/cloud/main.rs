//! What the cloud promises, seen from outside: rules of access, fleet files, the hub over real QUIC, the program.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod access;
mod administration;
mod administrators;
mod affected;
mod api;
mod approval_codes;
mod approvals;
mod audit;
mod commands;
mod desk;
mod determinism;
mod device_keys;
mod documents;
mod drain;
mod essential;
mod explain;
mod export;
mod fleet_files;
mod gate;
mod ground;
mod history;
mod hub;
mod includes;
mod invitation_desk;
mod invitations;
mod locks;
mod meetings;
mod models;
mod narrative;
mod peers;
mod plans;
mod publication;
mod questions;
mod receipts;
mod relay;
mod removal;
mod requests;
mod review;
mod roots;
mod rules;
mod samples;
mod secrets;
mod sessions;
mod sign_in;
mod single_sign_on;
mod sources;
mod step_up;
mod sync;
mod time;
mod trails;
