//! `verify`: what this device would make of signed files, one after another, without changing anything.
//!
//! 1. The state directory says what the device trusts already: its root, its floor, its stored policy.
//! 2. Each file is judged by the functions that judge what a hub or client sends, and what it would change is remembered
//!    for the files after it. A timestamp counts as the answer to the question that it names, asked just before.
//! 3. The verdict on each file is printed, and what the device would hold at the end.
//!
//! Deliberately absent: any write, and any network. An auditor can run it on a copy of a device's state.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::policy::{Expectation, Floor, Index, Locks, SnapshotFault, Verified, verify};
use postern_protocol::session::alarm::Cause;
use postern_protocol::session::freshness::{FreshnessWatch, Memory};
use postern_protocol::time::{BootTime, UnixTime};
use postern_protocol::trust::{
    Domain, Lock, LockFault, Pass, PassFault, PublicKey, Root, RootFault, Timestamp, TimestampFault,
};
use postern_protocol::wire::control::Held;

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
    locks: Locks,
    /// What it would make of timestamps.
    watch: FreshnessWatch,
    /// By which passes are judged.
    now: UnixTime,
}

/// Why a file is not accepted.
#[derive(Debug, thiserror::Error)]
enum FileFault {
    /// Not the frame of anything that is signed.
    #[error("no signed object: the frame is malformed, or of a later format")]
    Frame,
    /// A signed object that is not for devices to judge alone.
    #[error("domain {0} is no root, snapshot, pass, timestamp or lock; those are judged here")]
    Domain(u8),
    #[error(transparent)]
    Root(#[from] RootFault),
    #[error(transparent)]
    Snapshot(#[from] SnapshotFault),
    #[error(transparent)]
    Pass(#[from] PassFault),
    #[error(transparent)]
    Timestamp(#[from] TimestampFault),
    #[error(transparent)]
    Lock(#[from] LockFault),
    /// A genuine timestamp that names what raises an alarm.
    #[error("{0}")]
    Alarm(Cause),
}

/// The verdict on one file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: PathBuf,
    /// `root`, `snapshot`, `pass`, `timestamp` or `lock`; none when it is no signed object.
    kind: Option<&'static str>,
    accepted: bool,
    /// Why not.
    fault: Option<String>,
    /// What follows from it, where that is not seen from what the device would hold.
    note: Option<String>,
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
    /// How much is locked.
    locked: usize,
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
            let note = file.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
            text.push_str(&format!("{kind} `{}` {verdict}{note}\n", file.file.display()));
        }
        let expired = if self.root_expired { ", expired: nothing is permitted under it" } else { "" };
        let root =
            format!("root     version {}, until {}{expired}\n", self.root_version, time(self.root_expires));
        let policy = match self.policy {
            Some(version) if self.in_date => format!("policy   version {version}, epoch {}\n", self.epoch),
            Some(version) => format!("policy   version {version}, out of date: nothing is permitted\n"),
            None => "policy   none: everything is denied\n".to_owned(),
        };
        let locks = if self.locked == 0 {
            String::new()
        } else {
            format!("locks    {} of users, categories or the device\n", self.locked)
        };
        text + &root + &policy + &locks
    }
}

pub(super) fn run(view: &View<'_>, at: Option<UnixTime>, files: &[PathBuf]) -> Result<Exit, Trouble> {
    let dir = &view.config.state_dir;
    let boot = store::peek(dir)?;
    let keys = inspect::keys(dir, &boot)?;
    let root = boot.enrollment.root()?;
    let memory = boot.memory(root.version);
    let now = at.unwrap_or_else(|| Clock::new(&memory).now());
    let mut holding = Holding {
        device: boot.enrollment.device,
        device_key: keys.present.public(),
        root,
        floor: boot.floor,
        policy: None,
        locks: Locks::default(),
        watch: FreshnessWatch::new(&Memory { time: now, ..memory }, BootTime::ZERO),
        now,
    };
    boot.locks.iter().for_each(|lock| holding.locks.restore(lock.place, &lock.sealed));
    if let Some(sealed) = boot.sealed {
        holding.keep(sealed);
    }
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        let bytes = read(file)?;
        let kind = kind(&bytes);
        let (accepted, fault, note) = match holding.judge(&bytes) {
            Ok(note) => (true, None, note),
            Err(fault) => (false, Some(fault.to_string()), None),
        };
        reports.push(FileReport { file: file.clone(), kind, accepted, fault, note });
    }
    let all = reports.iter().all(|report| report.accepted);
    view.show(&holding.report(reports));
    Ok(if all { Exit::Ok } else { Exit::Failure })
}

impl Holding {
    /// Judges one file; what follows from it, for people.
    fn judge(&mut self, bytes: &[u8]) -> Result<Option<String>, FileFault> {
        match bytes.get(1).copied().ok_or(FileFault::Frame)? {
            domain if domain == Domain::Root.number() => {
                self.root = self.root.accept_next(bytes)?;
                self.watch.handle_root(self.root.version, BootTime::ZERO);
                // Judged again under the new root: by its keys, and of its epoch.
                if let Some((_, sealed)) = self.policy.take() {
                    self.keep(sealed);
                }
                Ok(None)
            }
            domain if domain == Domain::Snapshot.number() => {
                let verified = self.verify(bytes)?;
                self.floor = Some(verified.floor());
                self.install(verified, bytes.to_vec());
                Ok(None)
            }
            domain if domain == Domain::Pass.number() => {
                let pass = Pass::inspect(bytes, &self.root, self.device, self.now)?;
                Ok(Some(format!(
                    "it signs {} in until {}, on proof of the key",
                    pass.user,
                    time(pass.expires)
                )))
            }
            domain if domain == Domain::Timestamp.number() => {
                let timestamp = Timestamp::inspect(bytes, &self.root, self.device)?;
                self.hear(&timestamp)
            }
            domain if domain == Domain::Lock.number() => {
                let lock = Lock::verify(bytes, &self.root, self.device)?;
                self.locks.handle_lock(&lock, self.cleared())?;
                self.learn_locks();
                Ok(None)
            }
            domain => Err(FileFault::Domain(domain)),
        }
    }

    /// What the device would make of a timestamp. It is asked of a copy of the watch, so that each gets its own alarm.
    fn hear(&self, timestamp: &Timestamp) -> Result<Option<String>, FileFault> {
        let mut watch = self.watch.clone();
        watch.handle_link(true, BootTime::ZERO);
        watch.poll_question(BootTime::ZERO, || Some(timestamp.nonce));
        let heard = watch.handle_timestamp(timestamp, BootTime::ZERO);
        if let Some(cause) = watch.poll_alarm(BootTime::ZERO) {
            return Err(FileFault::Alarm(cause));
        }
        if heard.refreshed {
            return Ok(Some("it confirms the policy in force".to_owned()));
        }
        let withheld = watch.poll_alarm(OVERDUE).map(|cause| format!("an alarm unless it comes: {cause}"));
        Ok(Some(withheld.unwrap_or_else(|| "it confirms nothing".to_owned())))
    }

    /// Keeps a policy that was accepted before, if it still holds.
    fn keep(&mut self, sealed: Vec<u8>) {
        if let Ok(verified) = self.verify(&sealed) {
            self.install(verified, sealed);
        }
        self.learn_locks();
    }

    fn install(&mut self, verified: Verified, sealed: Vec<u8>) {
        let (floor, snapshot) = (verified.floor(), verified.snapshot());
        let held = Held { epoch: floor.epoch, version: floor.version, digest: floor.digest };
        self.locks.handle_snapshot(floor.epoch, snapshot.locks_cleared);
        self.watch.handle_installed(held, snapshot.freshness, snapshot.issued, BootTime::ZERO);
        self.policy = Some((Arc::new(Index::build(verified)), sealed));
        self.learn_locks();
    }

    /// Up to which sequence of the root's epoch the policy in force lifts locks.
    fn cleared(&self) -> u64 {
        let snapshot = self.policy.as_ref().map(|(index, _)| index.snapshot());
        snapshot.filter(|snapshot| snapshot.epoch == self.root.policy_epoch).map_or(0, |it| it.locks_cleared)
    }

    fn learn_locks(&mut self) {
        let highest = self.locks.highest(self.root.policy_epoch).max(self.cleared());
        self.watch.handle_locks(highest, BootTime::ZERO);
    }

    fn verify(&self, bytes: &[u8]) -> Result<Verified, SnapshotFault> {
        let Self { device, device_key, root, floor, .. } = self;
        verify(bytes, &Expectation { root, device: *device, device_key: *device_key, floor: *floor })
    }

    fn report(&self, files: Vec<FileReport>) -> VerifyReport {
        let now = self.now;
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
            locked: self.locks.targets().count(),
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

/// When what a timestamp names is withheld.
const OVERDUE: BootTime = BootTime::from_millis(31_000);
const LARGEST: u64 = 2 * limits::SNAPSHOT_BYTES as u64;
