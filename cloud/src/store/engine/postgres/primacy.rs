//! The right to be the one hub that serves an installation: a lock of its database, held by a connection for nothing else.
//!
//! The server lets go of it when the connection ends, however that comes about: at once when the hub's process ends, and in about ten seconds when
//! its machine has vanished. Two hubs that believe to have it for a moment do no harm to the state, where writers are one after another all the
//! same.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::session::Session;
use super::{DatabaseError, Place};
use crate::store::DatabaseFile;

/// The right to serve, had or not.
#[derive(Debug)]
pub struct Primacy {
    place: Place,
    session: Mutex<Option<Session>>,
}

impl Primacy {
    /// That of an installation, not taken yet. None where its state is in its directory, which is locked as such.
    ///
    /// # Errors
    /// A [`DatabaseError`] of the file that says where the database is.
    pub fn of(state: &Path) -> Result<Option<Self>, DatabaseError> {
        let Some(file) = DatabaseFile::read(state)? else { return Ok(None) };
        Ok(Some(Self { place: Place::of(&file)?, session: Mutex::default() }))
    }

    /// Takes it, if no other hub has it. Blocks for seconds at most.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub fn take(&self) -> Result<bool, DatabaseError> {
        let mut place = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let known = place.take().filter(|session| !session.is_over());
        let session = match known {
            Some(session) => session,
            None => Session::connect(&self.place, WITHIN)?,
        };
        let is_taken = session.ask("SELECT pg_try_advisory_lock(1347638350, 2)")?.as_deref() == Some("t");
        *place = Some(session);
        Ok(is_taken)
    }

    /// Whether it is still had. A server that was started anew has forgotten it: it is taken again then, unless another hub was faster. Blocks for
    /// seconds at most.
    ///
    /// # Errors
    /// Why it is not: the database cannot be asked any more, or ([`DatabaseError::Superseded`]) another hub has it.
    pub fn keep(&self) -> Result<(), DatabaseError> {
        let is_had = {
            let place = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            place.as_ref().is_some_and(|session| {
                let asked = (!session.is_over()).then(|| session.ask("SHOW transaction_read_only"));
                matches!(asked, Some(Ok(Some(answer))) if answer == "off")
            })
        };
        if is_had {
            return Ok(());
        }
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let until = Instant::now() + AGAIN_FOR;
        loop {
            match self.take() {
                Ok(true) => {
                    tracing::warn!("the database was away for a moment; this hub goes on");
                    return Ok(());
                }
                Ok(false) => return Err(DatabaseError::Superseded),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }
}

/// For an answer: whoever may not have it any more must not go on for long.
const WITHIN: Duration = Duration::from_secs(5);
/// For how long a server that is away is asked again. A server notices a client that has vanished no sooner.
const AGAIN_FOR: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);
