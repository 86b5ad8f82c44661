//! One executable that is every program of the product, so that one build is enough to try all of them.
//!
//! 1. [`called`] looks at the name under which the executable was started.
//! 2. `postern`, `postern-adapter`, `postern-agent` and `postern-cloud` run exactly what the binary of that name runs.
//! 3. [`Shelf`] makes links with these names, for child processes and for a `PATH`.
//!
//! Deliberately absent: any difference between a program here and its own binary, except that a child of the
//! laboratory asks the kernel to end it together with its parent.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Pid, Signal};

/// A program of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `postern`, the engineer's command.
    Client,
    /// `postern-agent`, the gate.
    Agent,
    /// `postern-cloud`, the model and the hub.
    Cloud,
    /// `postern-adapter`, which makes network adapters for `postern vpn`.
    Adapter,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 4] = [Self::Client, Self::Agent, Self::Cloud, Self::Adapter];

    /// The name of its binary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "postern",
            Self::Agent => "postern-agent",
            Self::Cloud => "postern-cloud",
            Self::Adapter => "postern-adapter",
        }
    }

    /// Runs it in this process.
    pub fn run(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        // Started by the engineer's command, it ends with that.
        if self != Self::Adapter {
            tie_to_parent();
        }
        match self {
            Self::Client => postern_client::main(args),
            Self::Agent => postern_agent::main(args),
            Self::Cloud => postern_cloud::main(args),
            Self::Adapter => postern_adapter::main(args),
        }
    }
}

/// The program that `argv0` names, if it is one.
#[must_use]
pub fn called(argv0: &OsStr) -> Option<Program> {
    let name = Path::new(argv0).file_name()?;
    Program::ALL.into_iter().find(|program| name == program.name())
}

/// A directory with one link for each program.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// Makes `dir` and, in it, links to `executable`, which must be built around [`called`].
    ///
    /// # Errors
    /// When the directory or a link cannot be made.
    pub fn fill(dir: PathBuf, executable: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        for program in Program::ALL {
            symlink(executable, dir.join(program.name()))?;
        }
        Ok(Self { dir })
    }

    /// Puts a program of another build in the place of one of this shelf, for whoever is started from now on.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn put(&self, program: Program, executable: &Path) -> io::Result<()> {
        let (link, new) = (self.path(program), self.dir.join("new"));
        symlink(executable, &new)?;
        std::fs::rename(new, link)
    }

    /// The path of a program.
    #[must_use]
    pub fn path(&self, program: Program) -> PathBuf {
        self.dir.join(program.name())
    }

    /// The directory, for a `PATH`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Set by a parent that wants its children to end with it, to its own process id.
pub const PARENT: &str = "POSTERN_LAB_PARENT";

/// Asks the kernel for a SIGTERM when the parent dies, also when it is killed and can tell nobody.
fn tie_to_parent() {
    let Some(parent) = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok()) else { return };
    let tied = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    // The parent may have died before the call above: then nobody will ever send the signal.
    let orphaned = rustix::process::getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent);
    if tied.is_ok() && orphaned {
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_decides_which_program_runs() {
        assert_eq!(called(OsStr::new("/tmp/x/postern-agent")), Some(Program::Agent));
        assert_eq!(called(OsStr::new("postern")), Some(Program::Client));
        assert_eq!(called(OsStr::new("./postern-cloud")), Some(Program::Cloud));
        assert_eq!(called(OsStr::new("postern-adapter")), Some(Program::Adapter));
        assert_eq!(called(OsStr::new("target/debug/postern-lab")), None);
        assert_eq!(called(OsStr::new("")), None);
    }
}
