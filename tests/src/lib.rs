//! Laboratory, end-to-end suites and benchmarks of Postern.

pub mod machine;
