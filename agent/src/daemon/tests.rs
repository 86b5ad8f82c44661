//! A device on a disk that fails: what it was promised holds after each start, whatever the disk did before.
//!
//! Everything below the link and the sockets is real: keys, store, gate, trail, and SQLite. A test says what the device does
//! ([`works`]), what the disk does meanwhile, and what must be true afterwards ([`Promises`](works::Promises)). `POSTERN_SEED`
//! draws other power cuts and other damage; a failure prints its own.

mod cuts;
mod errors;
mod idle;
mod images;
mod life;
mod memory;
mod pages;
mod works;
