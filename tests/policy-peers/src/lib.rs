//! Measures one decision of Postern beside cedar-policy and casbin, on one model and with the same questions.
//!
//! 1. [`model`]: random users, groups, roles, categories and services, and questions of which half are permitted.
//! 2. [`peer`]: the model in the terms of each engine, ready to decide.
//! 3. [`mod@agree`]: every engine answers every question as the model does; otherwise nothing is measured.
//! 4. [`mod@measure`]: rounds in which each engine has its turn, and every batch is counted again.
//! 5. [`report`]: medians, ratios within rounds, and targets.
//!
//! Absent on purpose: conditions in time, second factors and limits. Postern checks them in every decision; the
//! peers are spared them.

pub mod agree;
pub mod measure;
pub mod mishap;
pub mod model;
pub mod peer;
pub mod report;

pub use agree::agree;
pub use measure::{Effort, measure};
pub use mishap::Mishap;
pub use model::{Questions, Size, World};
pub use peer::{Peer, peers};
