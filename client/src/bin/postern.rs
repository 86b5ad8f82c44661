//! `postern`, the command of the service engineer. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern_client::main(std::env::args_os())
}
