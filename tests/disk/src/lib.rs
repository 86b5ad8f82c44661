//! A disk for tests: under the real SQLite and beside the real files it counts, fails at the call it is told, and loses power.
//!
//! 1. [`Disk::under`] watches a directory. SQLite reaches its files there through [`vfs`], and whoever writes plain files there
//!    asks [`plain`] first. Everything else in the process goes to the system untouched.
//! 2. [`Disk::fail`] arms one [`Fault`], for one call or from then on. [`Disk::struck`] says whether it came.
//! 3. After [`Fault::Cut`] nothing works any more. [`Disk::image`] is one of the states in which the disk may be then: what was synced
//!    is there, and of the rest what the [`model`] lets a real disk keep.
//!
//! A sync that fails is as bad as on Linux: what it was to write counts as written, no later sync writes it, and it may be gone.
//! Deliberately absent: shared memory in an image, which no reboot survives, and subdirectories.

mod dice;
mod model;
pub mod plain;
mod vfs;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::dice::Dice;
use self::model::Model;

/// A watched directory, until it is dropped.
#[derive(Debug)]
pub struct Disk(Arc<Watched>);

/// The files of a directory.
pub type Image = BTreeMap<String, Vec<u8>>;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No room (`ENOSPC`): what makes files larger fails, half done.
    Full,
    /// The medium (`EIO`): reading, writing, opening, locking, syncing.
    Io,
    /// The file system was mounted again without writing (`EROFS`).
    ReadOnly,
    /// `fsync` fails, and everything else works.
    Sync,
    /// The power goes, while this change is being made.
    Cut,
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// One call.
    Once,
    /// Three calls one after another.
    Thrice,
    /// Until [`Disk::heal`].
    FromThen,
}

/// Shared memory between processes, which the write-ahead log of SQLite needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// As on most file systems.
    Shared,
    /// SQLite knows that there is none.
    Absent,
    /// It fails when it is mapped, as on JFFS2.
    Refused,
}

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Open,
    Create,
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
    Rename,
    SyncNames,
    /// Sizes, names, locks.
    Look,
    Map,
}

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Struck(Fault);

#[derive(Debug)]
struct Watched {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    model: Model,
    memory: Memory,
    plan: Option<Plan>,
    changes: u32,
    is_down: bool,
    log: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    fault: Fault,
    span: Span,
    /// Calls that it may strike, before it does.
    left: u32,
    /// How often it has struck.
    strikes: u32,
}

/// The directories that are watched, one for each test that runs.
static DISKS: Mutex<Vec<Arc<Watched>>> = Mutex::new(Vec::new());

impl Disk {
    /// Watches the files of a directory. What is there now survives everything.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn under(dir: &Path) -> Self {
        vfs::register();
        let dir = dir.canonicalize().unwrap();
        let model = Model::of(read(&dir));
        let state =
            State { model, memory: Memory::Shared, plan: None, changes: 0, is_down: false, log: Vec::new() };
        let watched = Arc::new(Watched { dir, state: Mutex::new(state) });
        lock(&DISKS).push(Arc::clone(&watched));
        Self(watched)
    }

    /// Has a fault strike after `left` of the calls that it can strike.
    pub fn fail(&self, fault: Fault, span: Span, left: u32) {
        self.0.lock().plan = Some(Plan { fault, span, left, strikes: 0 });
    }

    /// Whether the fault that was armed last has struck.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.0.lock().plan.is_some_and(|plan| plan.strikes > 0)
    }

    /// Everything works again, unless the power went.
    pub fn heal(&self) {
        self.0.lock().plan = None;
    }

    /// Says what becomes of shared memory in files that are opened from now on.
    pub fn have(&self, memory: Memory) {
        self.0.lock().memory = memory;
    }

    /// How often something was changed on the disk: bytes, sizes, names, and each sync.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.0.lock().changes
    }

    /// Whether the fault that was armed last has struck a sync.
    #[must_use]
    pub fn struck_a_sync(&self) -> bool {
        let disk = self.0.lock();
        disk.log.iter().any(|line| line.starts_with("Sync") && !line.ends_with(' '))
    }

    /// The calls around the first that met something, for whoever reads a failure.
    #[must_use]
    pub fn log(&self) -> String {
        let disk = self.0.lock();
        let met = disk.log.iter().position(|line| !line.ends_with(' ')).unwrap_or_default();
        let from = met.saturating_sub(AROUND);
        disk.log[from..disk.log.len().min(met + AROUND)].join("\n")
    }

    /// One of the states in which the files may be found when the power goes now; the dice choose.
    #[must_use]
    pub fn image(&self, dice: &mut Dice) -> Image {
        self.0.lock().model.image(dice)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&DISKS).retain(|watched| !Arc::ptr_eq(watched, &self.0));
    }
}

impl Fault {
    /// Whether a call can meet it.
    const fn strikes(self, call: Call) -> bool {
        match call {
            Call::Open | Call::Read | Call::Look => matches!(self, Self::Io),
            Call::Map => matches!(self, Self::Io | Self::Full),
            Call::Create | Call::Write => !matches!(self, Self::Sync),
            Call::Truncate | Call::Delete | Call::Rename => {
                matches!(self, Self::Io | Self::ReadOnly | Self::Cut)
            }
            Call::Sync | Call::SyncNames => matches!(self, Self::Io | Self::Sync | Self::Cut),
        }
    }
}

impl Call {
    const fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Look | Self::Map)
    }
}

impl Watched {
    /// The disk that a path lies on, and the file's name.
    fn of(path: &Path) -> Option<(Arc<Self>, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        let dir = path.parent()?;
        let watched = lock(&DISKS).iter().find(|watched| watched.dir == dir).cloned()?;
        Some((watched, name))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Counts a call, and says what it meets.
    fn ask(&mut self, call: Call, name: &str) -> Result<(), Struck> {
        let met = self.meet(call);
        let met_what = met.map_or_else(|Struck(fault)| format!("{fault:?}"), |()| String::new());
        self.log.push(format!("{call:?} {name} {met_what}"));
        met
    }

    fn meet(&mut self, call: Call) -> Result<(), Struck> {
        if self.is_down {
            return Err(Struck(Fault::Io));
        }
        self.changes += u32::from(call.is_change());
        let Some(plan) = self.plan.as_mut().filter(|plan| plan.fault.strikes(call)) else { return Ok(()) };
        let is_over = match plan.span {
            Span::Once => plan.strikes == 1,
            Span::Thrice => plan.strikes == 3,
            Span::FromThen => false,
        };
        if is_over {
            return Ok(());
        }
        if plan.left > 0 {
            plan.left -= 1;
            return Ok(());
        }
        plan.strikes = plan.strikes.saturating_add(1);
        self.is_down = plan.fault == Fault::Cut;
        Err(Struck(plan.fault))
    }
}

/// The files of a directory as they are now.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn read(dir: &Path) -> Image {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let named = files.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| !is_memory(name))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

/// Puts files into a directory that has none of these names, readable for their owner alone.
///
/// # Panics
/// When they cannot be written.
pub fn write(dir: &Path, image: &Image) {
    for (name, content) in image {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn is_memory(name: &str) -> bool {
    name.ends_with("-shm")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const AROUND: usize = 24;

#[cfg(test)]
mod tests;
