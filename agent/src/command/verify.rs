//! `verify`: what this device would make of signed files, one after another, without changing anything.
//!
//! 1. The state directory says what the device trusts already: its root, its floor, its stored policy.
//! 2. Each file is judged by the functions that judge what a hub sends, and what it would change is remembered for the
//!    files after it.
//! 3. The verdict on each file is printed, and what the device would hold at the end.
//!
//! Deliberately absent: any write, and any network. An auditor can run it on a copy of a device's state.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::policy::{Expectation, Floor, Index, SnapshotFault, Verified, verify};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Domain, PublicKey, Root, RootFault};

use super::{Trouble, View, inspect};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::report::{Shown, time};
use crate::store;

/// What a device would hold after the files that it was shown.
struct Holding {
    device: DeviceId,
    device_key: PublicKey,
    root: Root,
    floor: Option<Floor>,
    /// The policy that would be in force, and the bytes that it came as.
    policy: Option<(Arc<Index>, Vec<u8>)>,
}

/// Why a file is not accepted.
#[derive(Debug, thiserror::Error)]
enum FileFault {
    /// Not the frame of anything that is signed.
    #[error("no signed object: the frame is malformed, or of a later format")]
    Frame,
    /// A signed object that is not for devices to judge alone.
    #[error("domain {0} is no root and no snapshot; those are judged here")]
    Domain(u8),
    #[error(transparent)]
    Root(#[from] RootFault),
    #[error(transparent)]
    Snapshot(#[from] SnapshotFault),
}

/// The verdict on one file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: PathBuf,
    /// `root`, `snapshot`, or none when it is neither.
    kind: Option<&'static str>,
    accepted: bool,
    /// Why not.
    fault: Option<String>,
}

/// All verdicts, and what the device would hold.
#[derive(Debug, Serialize)]
struct VerifyReport {
    files: Vec<FileReport>,
    root_version: u32,
    root_expires: UnixTime,
    root_expired: bool,
    epoch: u32,
    /// The highest snapshot that was ever accepted.
    floor: Option<u64>,
    /// The version of the policy that would be in force; none denies everything.
    policy: Option<u64>,
    /// Whether it could permit anything at `now`: neither it nor the root has expired.
    in_date: bool,
    now: UnixTime,
}

impl Shown for VerifyReport {
    fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let kind = file.kind.unwrap_or("file");
            let verdict =
                file.fault.as_deref().map_or_else(|| "accepted".to_owned(), |why| format!("refused: {why}"));
            text.push_str(&format!("{kind} `{}` {verdict}\n", file.file.display()));
        }
        let expired = if self.root_expired { ", expired: nothing is permitted under it" } else { "" };
        let root =
            format!("root     version {}, until {}{expired}\n", self.root_version, time(self.root_expires));
        let policy = match self.policy {
            Some(version) if self.in_date => format!("policy   version {version}, epoch {}\n", self.epoch),
            Some(version) => format!("policy   version {version}, out of date: nothing is permitted\n"),
            None => "policy   none: everything is denied\n".to_owned(),
        };
        text + &root + &policy
    }
}

pub(super) fn run(view: &View<'_>, at: Option<UnixTime>, files: &[PathBuf]) -> Result<Exit, Trouble> {
    let dir = &view.config.state_dir;
    let boot = store::peek(dir)?;
    let keys = inspect::keys(dir, &boot)?;
    let mut holding = Holding {
        device: boot.enrollment.device,
        device_key: keys.present.public(),
        root: boot.enrollment.root()?,
        floor: boot.floor,
        policy: None,
    };
    let clock = Clock::new(&boot.memory(holding.root.version));
    if let Some(sealed) = boot.sealed {
        holding.keep(sealed);
    }
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        let bytes = read(file)?;
        let kind = kind(&bytes);
        let fault = holding.judge(&bytes).err();
        let accepted = fault.is_none();
        let fault = fault.map(|fault| fault.to_string());
        reports.push(FileReport { file: file.clone(), kind, accepted, fault });
    }
    let all = reports.iter().all(|report| report.accepted);
    view.show(&holding.report(reports, at.unwrap_or_else(|| clock.now())));
    Ok(if all { Exit::Ok } else { Exit::Failure })
}

impl Holding {
    fn judge(&mut self, bytes: &[u8]) -> Result<(), FileFault> {
        match bytes.get(1).copied().ok_or(FileFault::Frame)? {
            domain if domain == Domain::Root.number() => {
                self.root = self.root.accept_next(bytes)?;
                // Judged again under the new root: by its keys, and of its epoch.
                if let Some((_, sealed)) = self.policy.take() {
                    self.keep(sealed);
                }
                Ok(())
            }
            domain if domain == Domain::Snapshot.number() => {
                let verified = self.verify(bytes)?;
                self.floor = Some(verified.floor());
                self.policy = Some((Arc::new(Index::build(verified)), bytes.to_vec()));
                Ok(())
            }
            domain => Err(FileFault::Domain(domain)),
        }
    }

    /// Keeps a policy that was accepted before, if it still holds.
    fn keep(&mut self, sealed: Vec<u8>) {
        if let Ok(verified) = self.verify(&sealed) {
            self.policy = Some((Arc::new(Index::build(verified)), sealed));
        }
    }

    fn verify(&self, bytes: &[u8]) -> Result<Verified, SnapshotFault> {
        let Self { device, device_key, root, floor, .. } = self;
        verify(bytes, &Expectation { root, device: *device, device_key: *device_key, floor: *floor })
    }

    fn report(&self, files: Vec<FileReport>, now: UnixTime) -> VerifyReport {
        let snapshot = self.policy.as_ref().map(|(index, _)| index.snapshot());
        let root_expired = self.root.expires <= now;
        VerifyReport {
            files,
            root_version: self.root.version,
            root_expires: self.root.expires,
            root_expired,
            epoch: self.root.policy_epoch,
            floor: self.floor.map(|floor| floor.version),
            policy: snapshot.map(|snapshot| snapshot.version),
            in_date: !root_expired && snapshot.is_some_and(|snapshot| now < snapshot.expires),
            now,
        }
    }
}

fn kind(bytes: &[u8]) -> Option<&'static str> {
    let number = *bytes.get(1)?;
    Domain::ALL.into_iter().find(|domain| domain.number() == number).map(Domain::name)
}

/// At most what the largest signed object may have and one byte more, which is then refused as too large.
fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| Trouble::File { path: path.to_owned(), error })
}

const LARGEST: u64 = 2 * limits::SNAPSHOT_BYTES as u64;
