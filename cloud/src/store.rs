//! The cloud's memory: one SQLite file, or a database on a PostgreSQL server; the only place that knows SQL.
//!
//! 1. [`Store::create`] makes the file with its first root; [`Store::open`] opens it and migrates its schema. [`Store::create_in`] and
//!    [`Store::open_in`] do the same on a server; [`Store::of`] opens what a state directory has.
//! 2. [`Store::read`] and [`Store::write`] run a closure in one transaction; [`Tx`] has the operations.
//! 3. What several processes change (`apply` beside `serve`) is seen through [`Store::data_version`].
//!
//! What was committed survives a power cut. One connection for each process behind a lock, because there is one writer
//! anyway. The operations are written once, in SQL that both engines understand (`engine`). The model is stored as one row for each entity, so that an edit
//! touches what it changes. Deliberately absent: private keys, and the secrets of invitations (digests only).

mod alarms;
mod approval_codes;
mod approvals;
mod changes;
pub mod database;
mod devices;
mod engine;
#[cfg(test)]
pub(crate) mod ground;
mod identities;
mod installation;
mod invitations;
mod lives;
mod locks;
mod model;
mod past;
mod people;
mod readings;
mod receipts;
mod replica;
mod revisions;
mod schema;
mod secrets;
mod snapshots;
mod tokens;
mod trail;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postern_protocol::time::UnixTime;

use crate::metrics::{self, Metrics};
use crate::model::Model;

pub use self::alarms::{Alarm, AlarmKind};
pub use self::approval_codes::KnownCode;
pub use self::approvals::{ApprovalRequest, ApprovalState, Decision, Given};
pub use self::changes::{ChangeMark, EntityChange, NotedChange};
pub use self::database::DatabaseFile;
pub use self::devices::{DeviceState, Refused, RootRefused, Standing};
use self::engine::postgres::{self, Database};
pub use self::engine::postgres::{DatabaseError, Primacy};
use self::engine::{Access, Engine, Sql};
pub use self::identities::Identity;
pub use self::installation::Installation;
pub use self::invitations::{Invited, OpenCode, Pending};
pub use self::locks::{DeviceLock, LockKind, LockRule};
pub use self::people::{OneTime, Person, PersonState};
pub use self::readings::{Manner, Reading};
pub use self::receipts::KeptReceipt;
pub use self::revisions::{EntityCounts, Revision};
pub use self::secrets::StoredSecret;
pub use self::snapshots::{Sealed, SealedTerm, Stamps};
pub use self::tokens::Token;
pub use self::trail::{Fork, Signed, TrailLog, TrailQuery, TrailRow, VERDICTS};

/// An open state.
#[derive(Debug)]
pub struct Store {
    engine: Mutex<Engine>,
    /// The model of the revision that was read last.
    cached: Mutex<Option<(i64, Arc<Model>)>>,
    /// Where a running hub counts what is done here.
    metrics: OnceLock<metrics::Shared>,
    /// Set when another hub may serve: this process writes nothing any more.
    is_closed: AtomicBool,
}

/// One transaction. Dropped without a commit it changes nothing.
#[derive(Debug)]
pub struct Tx<'a> {
    sql: Sql<'a>,
    cached: &'a Mutex<Option<(i64, Arc<Model>)>>,
    metrics: Option<&'a Metrics>,
    /// Whether this transaction has begun a revision. Its number is taken again when it fails, so what it sees is
    /// not remembered under that number.
    revised: Cell<bool>,
}

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no state file.
    #[error("`{0}` does not exist; `postern-cloud init` makes it")]
    Missing(PathBuf),
    /// The file system refused.
    #[error("`{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// SQLite refused: disk full, file locked, file corrupt.
    #[error("the state file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A server has the state, and it cannot be read or written there.
    #[error("the database: {0}")]
    Database(#[from] DatabaseError),
    /// A later version has written the state.
    #[error(
        "the stored state has schema {found}, this version knows up to {known}; use a newer postern-cloud"
    )]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// A stored value is not what it must be.
    #[error("the state file is damaged: a stored {what} cannot be read")]
    Damaged {
        /// What it should be.
        what: &'static str,
    },
}

impl Store {
    /// Makes a new state file that nobody else may read.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, installation: &Installation, root: &[u8]) -> Result<Self, StoreError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let io = |error| StoreError::Io { path: path.to_owned(), error };
        // SQLite gives its journal the permissions of this file, so they are set before it sees it.
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let store = Self::open(path)?;
        store.write(|tx| tx.found(installation, root))?;
        Ok(store)
    }

    /// Opens a state file and brings its schema up to date.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        Ok(Self::with(engine::open_file(path)?))
    }

    /// Makes the state of an installation in a database that has none.
    ///
    /// # Errors
    /// When the database cannot be written, or has the state of an installation.
    pub fn create_in(
        file: &DatabaseFile,
        installation: &Installation,
        root: &[u8],
    ) -> Result<Self, StoreError> {
        let mut database = Database::connect(postgres::Place::of(file)?)?;
        {
            let transaction = database.begin(Access::Write)?;
            postgres::schema::make(&transaction)?;
            transaction.commit()?;
        }
        let store = Self::with(Engine::Postgres(Box::new(database)));
        store.write(|tx| {
            if let Some(known) = tx.fleet()? {
                return Err(DatabaseError::Founded(known.to_string()).into());
            }
            tx.found(installation, root)
        })?;
        Ok(store)
    }

    /// Opens the state in a database, and brings its schema up to date.
    ///
    /// # Errors
    /// A [`StoreError`]; [`DatabaseError::Other`] where it is not the state of the installation whose keys are beside `file`.
    pub fn open_in(file: &DatabaseFile) -> Result<Self, StoreError> {
        let mut database = Database::connect(postgres::Place::of(file)?)?;
        postgres::schema::migrate(&mut database)?;
        let store = Self::with(Engine::Postgres(Box::new(database)));
        let found = store.read(|tx| tx.fleet())?.ok_or(DatabaseError::Empty)?;
        match file.fleet {
            Some(expected) if expected != found => {
                Err(DatabaseError::Other { found: found.to_string(), expected: expected.to_string() }.into())
            }
            Some(_) | None => Ok(store),
        }
    }

    /// Opens the state that belongs to a state directory: in it, or where it says.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn of(state: &Path) -> Result<Self, StoreError> {
        match DatabaseFile::read(state)? {
            Some(file) => Self::open_in(&file),
            None => Self::open(&state.join(crate::keys::DATABASE)),
        }
    }

    fn with(engine: Engine) -> Self {
        Self {
            engine: Mutex::new(engine),
            cached: Mutex::new(None),
            metrics: OnceLock::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Writes nothing from here on, because another hub serves: what this one would still note of links is not so any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Counts there what is done here from now on; the first call counts.
    pub fn measure(&self, metrics: &metrics::Shared) {
        let _first = self.metrics.set(Arc::clone(metrics));
    }

    /// Runs `work` in one transaction that sees one state and changes nothing.
    ///
    /// # Errors
    /// Those of `work` and of the store.
    pub fn read<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.in_turn(Access::Read, |sql| work(&self.tx(sql)))
    }

    /// Runs `work` in one transaction and commits it, if it succeeds. All of it is stored then, or nothing.
    ///
    /// # Errors
    /// Those of `work` and of the store.
    pub fn write<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.in_turn(Access::Write, |sql| self.transact(sql, work))
    }

    /// As [`Store::write`], but a power cut may take the newest of these back: for what is only noted about links.
    /// Thousands of devices that come back after an outage would otherwise wait for the disk one after another. The
    /// next [`Store::write`] makes them durable too, so no order is ever inverted.
    ///
    /// # Errors
    /// Those of `work` and of the store.
    pub fn note<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.in_turn(Access::Note, |sql| self.transact(sql, work))
    }

    /// One after another; what that costs is counted.
    fn in_turn<T, E: From<StoreError>>(
        &self,
        access: Access,
        work: impl FnOnce(Sql<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let asked = Instant::now();
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        if access != Access::Read && self.is_closed.load(Ordering::SeqCst) {
            return Err(StoreError::from(DatabaseError::Superseded).into());
        }
        let done = engine.begin(access).map_err(E::from).and_then(work);
        if let Some(metrics) = self.metrics.get() {
            metrics.store(access.word(), began - asked, began.elapsed());
        }
        done
    }

    fn tx<'a>(&'a self, sql: Sql<'a>) -> Tx<'a> {
        let metrics = self.metrics.get().map(Arc::as_ref);
        Tx { sql, cached: &self.cached, metrics, revised: Cell::new(false) }
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        sql: Sql<'_>,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self.tx(sql);
        let value = work(&tx)?;
        tx.sql.commit()?;
        Ok(value)
    }

    /// A number that changes when another process has written.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).data_version()
    }
}

impl Tx<'_> {
    /// Where what is done in this transaction is counted, if anywhere.
    pub(crate) const fn metrics(&self) -> Option<&Metrics> {
        self.metrics
    }
}

/// Seconds as they are stored.
fn secs(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

/// A stored blob of fixed size.
fn bytes<const N: usize>(blob: &[u8], what: &'static str) -> Result<[u8; N], StoreError> {
    blob.try_into().map_err(|_| StoreError::Damaged { what })
}

/// Another process holds the write lock for one transaction: for an apply to a large fleet that is seconds.
const BUSY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
