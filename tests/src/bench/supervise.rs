//! Whatever happens to a benchmark, nothing of it stays: neither namespaces nor processes nor files.
//!
//! 1. The supervisor makes a directory and starts the benchmark itself as a child in a process group of its own.
//! 2. It waits for the child's end, for Ctrl-C or for SIGTERM.
//! 3. Then it ends the group, removes the namespaces with all that runs in them, and the directory.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use super::link::Link;
use crate::world::Mishap;

/// The variable that tells the child that it is supervised, with the directory for its files.
pub const DIR: &str = "POSTERN_BENCH_DIR";
/// A file system in memory, where there is one.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// The name of a supervised run's namespaces, from its directory.
#[must_use]
pub fn tag(dir: &Path) -> String {
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Runs this executable again with `args` under supervision, and removes whatever it leaves.
///
/// # Errors
/// When it cannot be started.
pub async fn supervise(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Mishap> {
    let dir = tempfile::Builder::new().prefix("pb-").rand_bytes(5).tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).env(DIR, dir.path()).process_group(0);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child = tokio::process::Command::from(command).spawn()?;
    let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let code = tokio::select! {
        status = child.wait() => status?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    if let Some(group) = group {
        let _all_gone = kill_process_group(group, Signal::KILL);
    }
    let _collected = child.wait().await;
    Link::remove(&tag(dir.path()));
    // The one place outside the directory: state that is kept in memory.
    let _none_made = std::fs::remove_dir_all(Path::new(SHARED_MEMORY).join(tag(dir.path())));
    dir.close()?;
    Ok(ExitCode::from(code))
}
