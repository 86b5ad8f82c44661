//! One connection to a server, used by a thread that blocks.
//!
//! The connection itself lives on a runtime of its own, whose one thread reads and writes. Whoever asks waits for the answer as for a disk,
//! without being part of that runtime: also from within another one, where waiting is not allowed by the usual means.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement};

use super::fault::{DatabaseError, WAIT, whole};
use super::numbered::numbered;
use super::place::Place;
use crate::store::engine::Value;

/// A connection, and what is prepared on it.
pub(super) struct Session {
    client: Client,
    /// For each answer.
    within: Duration,
    statements: RefCell<HashMap<String, Statement>>,
    /// Set once an answer did not come in time: what would come now is the answer to another question.
    late: Cell<bool>,
    /// Ends when the connection does.
    carried: JoinHandle<()>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("over", &self.is_over()).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn connect(place: &Place, answer: Duration) -> Result<Self, DatabaseError> {
        let Place { config, tls } = place.clone();
        let runtime = runtime()?;
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let within =
            config.get_connect_timeout().copied().unwrap_or(WAIT).saturating_mul(hosts).saturating_add(SLACK);
        let connecting = runtime.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let carried = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::warn!(error = %whole(&error), "the connection to the database ended");
                }
            });
            Ok::<_, tokio_postgres::Error>((client, carried))
        });
        let unreachable = |reason: String| DatabaseError::Unreachable(reason);
        let end = connecting.abort_handle();
        let (client, carried) = wait(within, connecting)
            .ok_or_else(|| {
                end.abort();
                unreachable(format!("no answer within {} s", within.as_secs()))
            })?
            .map_err(|error| unreachable(error.to_string()))?
            .map_err(|error| {
                let plain = if whole(&error).contains("does not support TLS") { PLAIN } else { "" };
                unreachable(format!("{}{plain}", whole(&error)))
            })?;
        let session =
            Self { client, within: answer, statements: RefCell::default(), late: Cell::new(false), carried };
        session.batch(SETTINGS)?;
        Ok(session)
    }

    /// Whether nothing can be asked of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.late.get() || self.client.is_closed() || self.carried.is_finished()
    }

    /// Runs statements without values.
    pub(super) fn batch(&self, text: &str) -> Result<(), DatabaseError> {
        self.answer(self.client.batch_execute(text))
    }

    /// The same; the first column of the last row that they find.
    pub(super) fn ask(&self, text: &str) -> Result<Option<String>, DatabaseError> {
        let messages = self.answer(self.client.simple_query(text))?;
        Ok(messages.iter().rev().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            row.get(0).map(str::to_owned)
        }))
    }

    /// Sends statements whose outcome does not matter, and does not wait for it. What is asked next comes after them.
    pub(super) fn send(&self, text: &str) {
        let sending = pin!(self.client.batch_execute(text));
        let _not_waited_for = sending.poll(&mut Context::from_waker(Waker::noop()));
    }

    /// A statement, prepared once.
    pub(super) fn prepare(&self, text: &str) -> Result<Statement, DatabaseError> {
        if let Some(known) = self.statements.borrow().get(text) {
            return Ok(known.clone());
        }
        let statement = self.answer(self.client.prepare(&numbered(text)))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) fn execute(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<usize, DatabaseError> {
        let changed = self.answer(self.client.execute(statement, &given(values)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.answer(self.client.query(statement, &given(values)))
    }

    /// As [`Self::query`], for what is asked once.
    pub(super) fn query_once(&self, text: &str) -> Result<Vec<Row>, DatabaseError> {
        self.answer(self.client.query(text, &[]))
    }

    fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        match wait(self.within, asked) {
            Some(answer) => answer.map_err(|error| DatabaseError::of(&error)),
            None => {
                self.late.set(true);
                self.carried.abort();
                Err(DatabaseError::Lost(format!("no answer within {} s", self.within.as_secs())))
            }
        }
    }
}

fn given<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// What carries the connections of this process; it lasts as long as that.
pub(super) fn runtime() -> Result<&'static Runtime, DatabaseError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(1).thread_name("database").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| DatabaseError::Unreachable(error.clone()))
}

/// Waits on this thread, and not longer than that.
fn wait<F: Future>(within: Duration, future: F) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    let until = Instant::now() + within;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        std::thread::park_timeout(left);
    }
}

/// What each connection is told. The server ends a statement that hangs, and forgets a client that has vanished, with the locks that it has:
/// in about ten seconds.
const SETTINGS: &str = "
    SET statement_timeout = '60s';
    SET lock_timeout = '30s';
    SET idle_in_transaction_session_timeout = '5min';
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '10s';
    SET cursor_tuple_fraction = 0.0001;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
";

const PLAIN: &str = "; with `sslmode=disable` in the URL it would be spoken to in plain text";
/// Longer than the server lets a statement run.
pub(super) const ANSWER: Duration = Duration::from_secs(75);
const SLACK: Duration = Duration::from_secs(2);
const STATEMENTS: usize = 512;
