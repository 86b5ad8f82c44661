//! The directory of recordings, `recordings` in the state directory: one file for each tunnel, named by time and tunnel.
//!
//! What is there counts with whole blocks of the disk. When room is needed, the oldest go that are finished and older than
//! they must be kept; when there is none, nothing goes and nothing new comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use postern_protocol::id::TunnelId;
use postern_protocol::recording::{BEGINNING_BYTES, Beginning, Header};
use postern_protocol::time::UnixTime;

use crate::config;

/// The directory, in the state directory.
const DIR: &str = "recordings";

/// The recordings of a device.
#[derive(Debug)]
pub(crate) struct Shelf {
    path: PathBuf,
    limits: config::Recordings,
    /// Bytes by file; names begin with the time, so the oldest is first.
    files: BTreeMap<String, u64>,
    /// Those that are being written.
    open: BTreeSet<String>,
}

/// A recording on the shelf.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Its file.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// What it is of, as the file says; nobody has proven it.
    pub(crate) header: Header,
}

/// The directory or a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the recordings in `{}` cannot be used: {error}", path.display())]
pub(crate) struct ShelfError {
    /// The path.
    pub(crate) path: PathBuf,
    /// The system's reason.
    pub(crate) error: io::Error,
}

impl Shelf {
    /// Counts what is there. A device that records nothing has no directory.
    pub(crate) fn open(state: &Path, limits: config::Recordings) -> Result<Self, ShelfError> {
        let path = state.join(DIR);
        let fail = |error| ShelfError { path: path.clone(), error };
        let mut files = BTreeMap::new();
        for entry in entries(&path).map_err(fail)?.into_iter().flatten() {
            let entry = entry.map_err(fail)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if tunnel_of(&name).is_some() {
                files.insert(name, entry.metadata().map_err(fail)?.len());
            }
        }
        Ok(Self { path, limits, files, open: BTreeSet::new() })
    }

    /// What is kept in a state directory, oldest first. A file whose beginning cannot be read is left out.
    pub(crate) fn list(state: &Path) -> Result<Vec<Kept>, ShelfError> {
        let path = state.join(DIR);
        let fail = |error| ShelfError { path: path.clone(), error };
        let mut kept = Vec::new();
        for entry in entries(&path).map_err(fail)?.into_iter().flatten() {
            let path = entry.map_err(fail)?.path();
            let Ok(mut file) = File::open(&path) else { continue };
            let mut beginning = Vec::with_capacity(BEGINNING_BYTES);
            let most = u64::try_from(BEGINNING_BYTES).unwrap_or(u64::MAX);
            let read = file.by_ref().take(most).read_to_end(&mut beginning);
            let (Ok(_), Ok(metadata)) = (read, file.metadata()) else { continue };
            if let Ok((Beginning { header, .. }, _)) = Beginning::read(&beginning) {
                kept.push(Kept { path, bytes: metadata.len(), header });
            }
        }
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(kept)
    }

    /// Removes them all, of a device that is no more.
    pub(crate) fn clear(state: &Path) -> Result<(), ShelfError> {
        let path = state.join(DIR);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ShelfError { path, error }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of one recording at most.
    pub(super) fn most_each(&self) -> u64 {
        u64::from(self.limits.each_mib) * MIB
    }

    /// Makes a file for a recording.
    pub(super) fn create(&mut self, header: &Header) -> Result<(PathBuf, File), ShelfError> {
        let name = format!("{:012}-{}.rec", header.begun.as_secs(), header.tunnel);
        let path = self.path.join(&name);
        let fail = |error| ShelfError { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(fail)?;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(fail)?;
        self.files.insert(name.clone(), 0);
        self.open.insert(name);
        Ok((path, file))
    }

    /// Counts bytes that were written.
    pub(super) fn count(&mut self, path: &Path, bytes: u64) {
        if let Some(held) = name(path).and_then(|name| self.files.get_mut(name)) {
            *held += bytes;
        }
    }

    /// A recording is written no further.
    pub(super) fn finished(&mut self, path: &Path) {
        name(path).map(|name| self.open.remove(name));
    }

    /// A recording did not begin.
    pub(super) fn discard(&mut self, path: &Path) {
        self.finished(path);
        name(path).map(|name| self.take_away(name));
    }

    /// Whether so many bytes more fit.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let used: u64 = self.files.values().map(|bytes| bytes.next_multiple_of(BLOCK)).sum();
        used + bytes <= u64::from(self.limits.size_mib) * MIB
    }

    /// Removes finished recordings that are old enough, oldest first, until so many bytes fit. Returns whose they were.
    pub(super) fn make_room(&mut self, bytes: u64, now: UnixTime) -> Vec<TunnelId> {
        let kept_s = u64::from(self.limits.keep_days) * 86_400;
        let mut removed = Vec::new();
        while !self.has_room(bytes) {
            // A clock that is behind makes everything young: then nothing goes.
            let is_old = |name: &str| begun_of(name).is_some_and(|begun| begun.saturating_add(kept_s) <= now);
            let mut finished = self.files.keys().filter(|name| !self.open.contains(*name));
            let Some(oldest) = finished.next().filter(|name| is_old(name)).cloned() else { break };
            match tunnel_of(&oldest) {
                Some(tunnel) if self.take_away(&oldest) => removed.push(tunnel),
                Some(_) | None => break,
            }
        }
        removed
    }

    /// Removes the recording of a tunnel; false where there is none that is finished.
    pub(super) fn remove(&mut self, tunnel: TunnelId) -> bool {
        let found = self.files.keys().find(|name| tunnel_of(name) == Some(tunnel)).cloned();
        found.is_some_and(|name| !self.open.contains(&name) && self.take_away(&name))
    }

    fn take_away(&mut self, name: &str) -> bool {
        let gone = std::fs::remove_file(self.path.join(name)).is_ok();
        if gone {
            self.files.remove(name);
        }
        gone
    }
}

/// What lies in a directory; none where there is no such directory.
fn entries(path: &Path) -> io::Result<Option<std::fs::ReadDir>> {
    match std::fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn tunnel_of(name: &str) -> Option<TunnelId> {
    name.strip_suffix(".rec")?.split_once('-')?.1.parse().ok()
}

fn begun_of(name: &str) -> Option<UnixTime> {
    name.split_once('-')?.0.parse().ok().map(UnixTime::from_secs)
}

/// What a file takes up is a multiple of this on most disks.
const BLOCK: u64 = 4096;
const MIB: u64 = 1024 * 1024;
