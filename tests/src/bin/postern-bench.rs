//! `postern-bench`: measures the product beside its peers. As `postern` and `postern-agent` it is those programs.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match std::env::args_os().next().and_then(|argv0| postern_tests::programs::called(&argv0)) {
        Some(program) => program.run(std::env::args_os()),
        None => postern_tests::bench::main(&postern_tests::bench::Args::parse()),
    }
}
