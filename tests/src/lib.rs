//! Laboratory, end-to-end suites and benchmarks of Postern.

pub mod bad_relay;
pub mod bench;
pub mod flood;
pub mod lab;
pub mod machine;
pub mod programs;
pub mod shim;
pub mod swarm;
pub mod world;
