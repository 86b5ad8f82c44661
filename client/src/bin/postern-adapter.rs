//! `postern-adapter`, which makes network adapters for `postern vpn`. Everything is in its library.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return postern_adapter::main(std::env::args_os());
    #[cfg(not(target_os = "linux"))]
    ExitCode::FAILURE
}
