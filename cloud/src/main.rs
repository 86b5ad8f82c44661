//! The program `postern-cloud`; everything is in the library, which the laboratory runs too.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern_cloud::main(std::env::args_os())
}
