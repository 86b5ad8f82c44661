//! The `postern-agent` program; everything it does is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern_agent::main(std::env::args_os())
}
