//! Plain files: whoever is about to change one asks here first. On an error the change must not be made.

use std::io;
use std::path::Path;

use super::{Call, Fault, Struck, Watched};

/// An empty file gets this name.
///
/// # Errors
/// What the disk says.
pub fn create(path: &Path) -> io::Result<()> {
    asked(path, Call::Create, |disk, name| disk.model.name(name))
}

/// This becomes the content of an empty file.
///
/// # Errors
/// What the disk says.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    asked(path, Call::Write, |disk, name| disk.model.write(name, 0, content))
}

/// A file is synced.
///
/// # Errors
/// What the disk says.
pub fn sync(path: &Path) -> io::Result<()> {
    synced(path, Call::Sync, |disk, name, is_done| disk.model.sync(name, is_done))
}

/// A file gets another name in the same directory.
///
/// # Errors
/// What the disk says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let to = to.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    asked(from, Call::Rename, |disk, name| disk.model.rename(name, to))
}

/// A name goes.
///
/// # Errors
/// What the disk says.
pub fn remove(path: &Path) -> io::Result<()> {
    asked(path, Call::Delete, |disk, name| disk.model.delete(name))
}

/// The names in a directory are synced.
///
/// # Errors
/// What the disk says.
pub fn sync_names(dir: &Path) -> io::Result<()> {
    synced(&dir.join("names"), Call::SyncNames, |disk, _name, is_done| disk.model.sync_names(is_done))
}

fn asked(path: &Path, call: Call, change: impl FnOnce(&mut super::State, &str)) -> io::Result<()> {
    let Some((watched, name)) = of(path) else { return Ok(()) };
    let mut disk = watched.lock();
    let was_down = disk.is_down;
    let asked = disk.ask(call, &name);
    // What is being done when the power goes may have been done.
    if asked.is_ok() || (!was_down && disk.is_down) {
        change(&mut disk, &name);
    }
    asked.map_err(error)
}

fn synced(path: &Path, call: Call, sync: impl FnOnce(&mut super::State, &str, bool)) -> io::Result<()> {
    let Some((watched, name)) = of(path) else { return Ok(()) };
    let mut disk = watched.lock();
    let asked = disk.ask(call, &name);
    if !disk.is_down {
        sync(&mut disk, &name, asked.is_ok());
    }
    asked.map_err(error)
}

fn of(path: &Path) -> Option<(std::sync::Arc<Watched>, String)> {
    let dir = path.parent()?.canonicalize().ok()?;
    Watched::of(&dir.join(path.file_name()?))
}

const fn errno(fault: Fault) -> i32 {
    match fault {
        Fault::Full => 28,
        Fault::ReadOnly => 30,
        Fault::Io | Fault::Sync | Fault::Cut => 5,
    }
}

fn error(Struck(fault): Struck) -> io::Error {
    io::Error::from_raw_os_error(errno(fault))
}
