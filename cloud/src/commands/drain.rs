//! `drain`: has the running hub send its devices away, and waits until it has ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Answer, CommandError, open};
use crate::hub;
use crate::store::StoreError;

pub(super) fn run(state: &Path, to: Option<SocketAddr>) -> Result<Answer, CommandError> {
    let io = |error| CommandError::Io { what: "the hub's local socket", error };
    check(state, to)?;
    let began = Instant::now();
    let mut stream = match UnixStream::connect(hub::socket_path(state)) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Err(CommandError::NoHub),
        Err(error) => return Err(io(error)),
    };
    stream.set_write_timeout(Some(SAID_WITHIN)).map_err(io)?;
    stream.set_read_timeout(Some(SAID_WITHIN)).map_err(io)?;
    let line = to.map_or_else(|| "drain\n".to_owned(), |to| format!("drain {to}\n"));
    stream.write_all(line.as_bytes()).map_err(io)?;
    let mut reader = BufReader::new(stream);
    let mut heard = String::new();
    reader.by_ref().take(64).read_line(&mut heard).map_err(io)?;
    // A hub of an earlier version takes the line for news, and goes on.
    if heard.trim() != hub::DRAINS {
        return Err(CommandError::NoDrain);
    }
    reader.get_ref().set_read_timeout(Some(ENDS_WITHIN)).map_err(io)?;
    // Nothing more is said; the end of the hub is the end of the stream.
    let _rest = reader.read_to_end(&mut Vec::new()).map_err(io)?;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let text = format!(
        "The hub has sent its devices away and ended, within {:.1} s.\n",
        began.elapsed().as_secs_f64()
    );
    Ok(Answer { text, json: json!({ "drained": true, "ms": ms }) })
}

/// Devices go where they were told at enrolment that a hub is, and nowhere else.
pub(super) fn check(state: &Path, to: Option<SocketAddr>) -> Result<(), CommandError> {
    let Some(to) = to else { return Ok(()) };
    let known = open(state)?.read(|tx| Ok::<_, StoreError>(tx.installation()?.advertise))?;
    if known.contains(&to) { Ok(()) } else { Err(CommandError::NotAdvertised { to, known }) }
}

fn is_nobody(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

const SAID_WITHIN: Duration = Duration::from_secs(10);
/// The longest window of a drain, and what else a hub does at its end.
const ENDS_WITHIN: Duration = Duration::from_secs(90);
