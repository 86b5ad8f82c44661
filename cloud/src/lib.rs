//! The cloud's side of Postern: the access model, its compiler, and the hub that agents and users dial.

mod chance;
mod clock;
pub mod compile;
pub mod diff;
pub mod explain;
pub mod fleet;
pub mod keys;
pub mod model;
mod nearest;
pub mod publish;
pub mod store;
pub mod visibility;
