//! Everything that survives a power cut: enrolment, policy and floor in `policy.db`, the trail in `audit.db`.
//!
//! 1. [`boot`] opens both files, sets damaged ones aside, and says what is known.
//! 2. [`start`] moves them to a thread of their own; [`Store`] sends it commands over a bounded channel.
//! 3. A snapshot is installed in one transaction: envelope, floor, the audit row that is owed for it, and the secrets that
//!    its key takes along.
//! 4. Audit rows that wait together are committed together; each waiter is told when its row is durable.
//!
//! This is the only place that knows SQLite. Deliberately absent: verification. What is stored is bytes, and
//! whoever reads them verifies them again.

mod aside;
mod audit;
mod content;
mod enrollment;
mod file;
mod floor;
mod policy;
mod receipts;
mod staged;
mod thread;
mod wipe;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use postern_protocol::audit::{ChainFault, Event, Row};
use postern_protocol::name::Name;
use postern_protocol::policy::Floor;
use postern_protocol::session::freshness::Memory;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, Receipt};
use postern_protocol::wire::codec::CodecFault;

pub(crate) use self::audit::{Outgoing, Signer};
pub(crate) use self::enrollment::Enrollment;
pub(crate) use self::policy::{Replaced, StoredLock};
pub(crate) use self::staged::{Reseal, Staged};
pub(crate) use self::thread::{Cargo, Carried, Carrying, Pending, Store, start};
pub(crate) use self::wipe::everything as wipe_everything;

use self::audit::AuditDb;
use self::floor::Mark;
use self::policy::PolicyDb;

/// What is known when the agent starts.
#[derive(Debug)]
pub(crate) struct Boot {
    /// Who this device is.
    pub(crate) enrollment: Enrollment,
    /// The snapshot that was in force, as it was received.
    pub(crate) sealed: Option<Vec<u8>>,
    /// The highest snapshot that was ever accepted, from database and floor file.
    pub(crate) floor: Option<Floor>,
    /// How often the agent was started with this state, this time included.
    pub(crate) boots: u32,
    /// What time it is at least.
    pub(crate) time: UnixTime,
    /// Seconds of the budget for work without the cloud that are stored as spent; all that there are where that cannot be
    /// read.
    pub(crate) spent: u32,
    /// Whether the debit of this boot is among them.
    pub(crate) is_debited: bool,
    /// A snapshot that came into force without its audit row.
    pub(crate) owed: Option<Floor>,
    /// Locks that were taken and not lifted.
    pub(crate) locks: Vec<StoredLock>,
    /// Secrets that were set on this device, sealed.
    pub(crate) secrets: BTreeMap<Name, Vec<u8>>,
    /// What is to be said of tunnels that were stopped, oldest first.
    pub(crate) receipts: Vec<Receipt>,
    /// Tunnels that were open when the agent last ended without a word.
    pub(crate) left_open: u32,
}

/// Both databases, open for writing.
#[derive(Debug)]
pub(crate) struct Databases {
    dir: PathBuf,
    /// Whose version floor is kept.
    owner: Digest,
    policy: Option<PolicyDb>,
    audit: Option<AuditDb>,
    audit_bytes: u64,
    /// Signs checkpoints of the trail; without it there are none.
    pub(crate) signer: Option<Signer>,
}

/// Opens the state for writing. Whoever calls this holds the lock of the directory.
///
/// A database that cannot be opened does not stop the agent: without policy it denies, without audit it opens
/// nothing, and both are tried again.
///
/// # Errors
/// [`StoreError::NotEnrolled`], or what is wrong with the copy of the enrolment.
pub(crate) fn boot(dir: &Path, audit_bytes: u64) -> Result<(Databases, Boot), StoreError> {
    let policy = logged(sound(dir, policy::FILE, || PolicyDb::open(dir)));
    let audit = logged(sound(dir, audit::FILE, || AuditDb::open(dir, audit_bytes)));
    let owner = Digest::new([0; 32]);
    let mut databases = Databases { dir: dir.to_owned(), owner, policy, audit, audit_bytes, signer: None };
    let boot = databases.load()?;
    Ok((databases, boot))
}

/// Reads the state without changing it, beside a running agent or without one.
///
/// # Errors
/// [`StoreError::NotEnrolled`], or what is wrong.
pub(crate) fn peek(dir: &Path) -> Result<Boot, StoreError> {
    let (mut boot, counters) = match PolicyDb::open_read_only(dir) {
        Ok(db) => {
            let enrollment = db.enrollment()?.map_or_else(|| Enrollment::read(dir), Ok)?;
            let stored = db.stored()?;
            let boot = Boot {
                enrollment,
                sealed: stored.sealed,
                floor: stored.floor,
                boots: 0,
                time: UnixTime::EPOCH,
                spent: u32::MAX,
                is_debited: true,
                owed: stored.owed,
                locks: stored.locks,
                secrets: db.secrets()?,
                receipts: db.receipts()?,
                left_open: 0,
            };
            (boot, db.counters()?)
        }
        Err(StoreError::Missing { .. }) => return Err(StoreError::NotEnrolled),
        Err(error) => return Err(error),
    };
    (boot.boots, boot.time) = (counters.boots, counters.time);
    boot.spent = counters.spent;
    boot.take_mark(floor::read(dir, &boot.enrollment.owner()).newest);
    Ok(boot)
}

/// The newest rows of the trail in a directory, oldest first, without a running agent.
///
/// # Errors
/// What is wrong.
pub(crate) fn audit_rows(dir: &Path, limit: u16) -> Result<Vec<Row>, StoreError> {
    AuditDb::open_read_only(dir)?.newest(limit)
}

/// Verifies the chain over all rows in a directory and returns how many there are.
///
/// # Errors
/// [`StoreError::Chain`] with the first row that is wrong.
pub(crate) fn verify_audit(dir: &Path) -> Result<u64, StoreError> {
    AuditDb::open_read_only(dir)?.verify()
}

/// Writes the result of an enrolment in one transaction: enrolment, first snapshot and floor replace earlier ones
/// together. From here on it holds, whatever happens before its copies are written.
///
/// # Errors
/// What is wrong; the enrolment can be tried again then.
pub(crate) fn enroll(
    dir: &Path,
    enrollment: &Enrollment,
    floor: Floor,
    sealed: &[u8],
) -> Result<(), StoreError> {
    PolicyDb::open(dir)?.enroll(enrollment, floor, sealed)
}

/// Writes the plain copies of an enrolment that was stored.
///
/// # Errors
/// What is wrong; the next start of the agent writes them again.
pub(crate) fn copy_enrollment(dir: &Path, enrollment: &Enrollment, floor: Floor) -> Result<(), StoreError> {
    enrollment.write(dir)?;
    let (owner, mark) = (enrollment.owner(), Mark { floor, lock: None });
    floor::write(dir, &owner, mark)?;
    floor::write(dir, &owner, mark)
}

/// Keeps a sealed secret, where no agent runs. Whoever calls this holds the lock of the directory.
///
/// # Errors
/// What is wrong.
pub(crate) fn keep_secret(dir: &Path, name: &Name, sealed: &[u8]) -> Result<(), StoreError> {
    PolicyDb::open(dir)?.keep_secret(name, sealed)
}

/// Forgets a secret, where no agent runs, and says whether there was one. Whoever calls this holds the lock.
///
/// # Errors
/// What is wrong.
pub(crate) fn forget_secret(dir: &Path, name: &Name) -> Result<bool, StoreError> {
    PolicyDb::open(dir)?.forget_secret(name)
}

/// Makes sure that an enrolment can be stored, before its single-use code is spent.
///
/// # Errors
/// [`StoreError::Enrolled`] when there is one already that is not to be replaced, [`StoreError::NotEnrolled`] when
/// there is none to replace, or what is wrong with the directory.
pub(crate) fn prepare_enrollment(dir: &Path, replace: bool) -> Result<(), StoreError> {
    let known = PolicyDb::open(dir)?.enrollment()?.is_some() || Enrollment::read(dir).is_ok();
    match (known, replace) {
        (true, false) => Err(StoreError::Enrolled),
        (false, true) => Err(StoreError::NotEnrolled),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Records one row while no agent runs.
///
/// # Errors
/// What is wrong.
pub(crate) fn record(dir: &Path, audit_bytes: u64, at: UnixTime, event: &Event) -> Result<(), StoreError> {
    AuditDb::open(dir, audit_bytes)?.append(std::iter::once((at, event)), None)
}

impl Boot {
    /// What the clock begins with, under a root of this version.
    pub(crate) const fn memory(&self, root_version: u32) -> Memory {
        Memory { time: self.time, spent: self.spent, is_debited: self.is_debited, root_version }
    }

    /// Compares what the database says with its mark outside. Where a lock is lost the policy does not come into force without it:
    /// the hub sends both again.
    fn take_mark(&mut self, mark: Option<Mark>) {
        let held = self.locks.iter().map(|lock| lock.place).max();
        let is_lost = |mark: Mark| self.floor == Some(mark.floor) && held < mark.lock;
        if mark.is_some_and(is_lost) {
            tracing::error!("a lock that was taken is not in the database any more; its policy is not used");
            self.sealed = None;
        }
        self.floor = self.floor.max(mark.map(|mark| mark.floor));
    }
}

impl Databases {
    fn load(&mut self) -> Result<Boot, StoreError> {
        let known = self.policy.as_ref().and_then(|db| logged(db.enrollment()).flatten());
        // The newer of the two: a database that comes from a backup must not bring retired keys back.
        let enrollment = match (known, Enrollment::read(&self.dir)) {
            (Some(known), Ok(copy)) if copy.is_newer_than(&known) => copy,
            (Some(known), Ok(_) | Err(_)) => known,
            (None, copy) => copy?,
        };
        self.owner = enrollment.owner();
        let mut boot = Boot {
            enrollment,
            sealed: None,
            floor: None,
            boots: 0,
            time: UnixTime::EPOCH,
            spent: u32::MAX,
            is_debited: false,
            owed: None,
            locks: Vec::new(),
            secrets: BTreeMap::new(),
            receipts: Vec::new(),
            left_open: 0,
        };
        if let Some(db) = self.policy.as_mut() {
            if logged(db.enrollment()).flatten().as_ref() != Some(&boot.enrollment) {
                logged(db.keep_enrollment(&boot.enrollment));
            } else if Enrollment::read(&self.dir).ok().as_ref() != Some(&boot.enrollment) {
                // A power cut came between an enrolment and its copy.
                logged(boot.enrollment.write(&self.dir));
            }
            if let Some(stored) = logged(db.stored()) {
                boot.sealed = stored.sealed;
                boot.floor = stored.floor;
                boot.owed = stored.owed;
                boot.locks = stored.locks;
            }
            boot.secrets = logged(db.secrets()).unwrap_or_default();
            boot.receipts = logged(db.receipts()).unwrap_or_default();
            // A full disk must not keep the gate from standing; but what was not debited permits nothing.
            let debited = logged(db.count_boot()).is_some();
            if let Some(counters) = logged(db.counters()) {
                boot.boots = counters.boots;
                boot.time = counters.time;
                (boot.spent, boot.is_debited) = (counters.spent, debited);
            }
        }
        let copy = floor::read(&self.dir, &self.owner);
        if copy.damaged {
            tracing::warn!("a copy of the version floor is damaged; the other one and the database are used");
        }
        boot.left_open = self.audit.as_ref().and_then(|trail| logged(trail.left_open())).unwrap_or(0);
        // Without a whole memory of the floor an old snapshot could come back; the trail remembers it too.
        let trail = if boot.floor.is_none() || copy.damaged { self.audit.as_ref() } else { None };
        let recorded = trail.and_then(|trail| logged(trail.newest_policy()).flatten());
        boot.take_mark(copy.newest);
        boot.floor = boot.floor.max(recorded);
        Ok(boot)
    }
}

/// Opens a database; a damaged one is set aside, and a new one begun.
///
/// It is looked at twice: one sector that was read wrongly once must not cost the device its policy or its trail. One that is
/// never read again must not keep the gate shut for good.
fn sound<T>(
    dir: &Path,
    file: &'static str,
    open: impl Fn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match open().or_else(|error| if error.is_damage() { open() } else { Err(error) }) {
        Err(error) if error.is_damage() => {
            let aside = aside::set(dir, file)?;
            tracing::error!(error = %error, file = %aside.display(), "a damaged database was set aside");
            open()
        }
        opened => opened,
    }
}

fn logged<T>(result: Result<T, StoreError>) -> Option<T> {
    result.inspect_err(|error| tracing::error!(%error, "the state cannot be used")).ok()
}

/// Why something is not stored, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite says no.
    #[error("`{file}`: {error}")]
    Sqlite {
        /// The database.
        file: &'static str,
        /// Its reason.
        error: rusqlite::Error,
    },
    /// Its pages do not fit together.
    #[error("`{file}` is damaged: {found}")]
    Corrupt {
        /// The database.
        file: &'static str,
        /// What was seen.
        found: Damage,
    },
    /// A later version of the agent has written it.
    #[error(
        "`{file}` has format {found}, this version reads up to {expected}; install the newer agent again"
    )]
    Newer {
        /// The database.
        file: &'static str,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        expected: i64,
    },
    /// An earlier version of the agent has written it, and it was only to be read.
    #[error(
        "`{file}` has format {found}, this version reads {expected}; start the agent, which brings it up to date"
    )]
    Older {
        /// The database.
        file: &'static str,
        /// Its format.
        found: i64,
        /// The format that is read.
        expected: i64,
    },
    /// A file is not there.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The plain copy of the enrolment is damaged, and the database has none.
    #[error("the copy of the enrolment `{}` is damaged; enrol this device anew", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
    },
    /// There is no enrolment.
    #[error("this device is not enrolled; run `postern-agent enroll CODE`")]
    NotEnrolled,
    /// There is one already.
    #[error("this device is enrolled already; to enrol it anew, stop the agent and add `--replace`")]
    Enrolled,
    /// Something has no encoding.
    #[error(transparent)]
    Codec(#[from] CodecFault),
    /// A secret that was set here could not be sealed to the device's new key; the key before stays in force.
    #[error("a secret of this device could not be sealed to its new key")]
    Reseal,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The trail was changed.
    #[error("the audit trail was changed: {0}")]
    Chain(#[from] ChainFault),
    /// The disk is full, or the trail has reached its bound.
    #[error("no space is left on the disk or within the bound of the audit trail")]
    Full,
    /// More commands wait than are allowed.
    #[error("the store is busy")]
    Busy,
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

/// What is wrong with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// SQLite's quick check failed.
    #[error("its pages do not fit together")]
    Pages,
    /// A value that this agent never writes.
    #[error("a stored value cannot be read")]
    Value,
    /// Its tables are not those of its format.
    #[error("its tables are not those of its format")]
    Tables,
    /// Parts of it are not those that were written together.
    #[error("what is stored does not belong together")]
    Mixed,
}

impl StoreError {
    /// Whether the connection that has failed so is as good as a new one, or better: after a sync that failed it writes again what
    /// is not on the disk, while a new one would find that in the system's memory and take it for written.
    fn keeps_connection(&self) -> bool {
        let Self::Sqlite { error, .. } = self else { return !self.is_corruption() };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
            || matches!(self.extended_code(), Some(file::SYNC | file::SYNC_DIR))
    }

    const fn extended_code(&self) -> Option<i32> {
        let Self::Sqlite { error: rusqlite::Error::SqliteFailure(error, _), .. } = self else { return None };
        Some(error.extended_code)
    }

    /// Whether a file that says so when it is opened is of no more use: it is no database, none of ours, or cannot be read. One
    /// that calls itself read-only is meant too: where the file system does, its mode could not be set before.
    fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{ReadOnly, TooBig, TypeMismatch, Unknown};
        let Self::Sqlite { error, .. } = self else { return self.is_corruption() };
        let rusqlite::Error::SqliteFailure(error, _) = error else { return true };
        error.extended_code == file::READ
            || matches!(error.code, ReadOnly | TooBig | TypeMismatch | Unknown)
            || self.is_corruption()
    }

    /// Whether the file itself is of no more use.
    pub(crate) fn is_corruption(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Corrupt { .. } => true,
            Self::Sqlite { error, .. } => {
                matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            Self::Newer { .. }
            | Self::Older { .. }
            | Self::Missing { .. }
            | Self::Io { .. }
            | Self::Copy { .. }
            | Self::NotEnrolled
            | Self::Enrolled
            | Self::Codec(_)
            | Self::Reseal
            | Self::Random
            | Self::Chain(_)
            | Self::Full
            | Self::Busy
            | Self::Closed => false,
        }
    }
}

#[cfg(test)]
mod tests;
