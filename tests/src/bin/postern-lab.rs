//! The laboratory, and under their own names the three programs of the product.

use std::process::ExitCode;

use postern_tests::{lab, programs};

fn main() -> ExitCode {
    let mut args = std::env::args_os().peekable();
    match args.peek().and_then(|name| programs::called(name)) {
        Some(program) => program.run(args),
        None => lab::main(args),
    }
}
