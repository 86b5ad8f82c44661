//! A second hub with the same keys and the same database: it waits until the first is gone, and serves in its place.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::CommandError;
use crate::api;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::{DatabaseError, Primacy, StoreError};

/// What ends a hub that waits.
pub(super) struct Ends<'a> {
    pub(super) terminate: &'a mut Signal,
    pub(super) interrupt: &'a mut Signal,
}

/// Waits until this hub is the one that serves; false when it was told to end before. Meanwhile whoever asks for readiness is told that it is not.
pub(super) async fn wait(
    primacy: Option<&Arc<Primacy>>,
    watched: Option<&TcpListener>,
    ends: Ends<'_>,
    json: bool,
) -> Result<bool, CommandError> {
    let Some(primacy) = primacy else { return Ok(true) };
    let first = take(primacy).await?;
    if matches!(first, Ok(true)) {
        return Ok(true);
    }
    let io = |error| CommandError::Io { what: "the socket for metrics", error };
    let monitoring = match watched {
        Some(listener) => Some(unready(listener).map_err(io)?),
        None => None,
    };
    let (mut is_away, mut is_announced) = (false, false);
    let mut answer = first;
    let mut again = tokio::time::interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_first = loop {
        match answer {
            Ok(true) => break true,
            Ok(false) => {
                is_away = false;
                if !std::mem::replace(&mut is_announced, true) {
                    announce(json);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, "the database cannot be asked who serves; this hub waits");
                }
            }
        }
        tokio::select! {
            _ = again.tick() => {}
            _ = ends.terminate.recv() => break false,
            _ = ends.interrupt.recv() => break false,
        }
        answer = take(primacy).await?;
    };
    monitoring.inspect(JoinHandle::abort);
    if is_first {
        tracing::info!("no other hub serves any more; this one does");
    }
    Ok(is_first)
}

/// Returns when another hub may serve in place of this one, and why.
pub(super) async fn lost(primacy: Option<Arc<Primacy>>) -> StoreError {
    let Some(primacy) = primacy else { return std::future::pending().await };
    let mut again = tokio::time::interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        let primacy = Arc::clone(&primacy);
        match tokio::task::spawn_blocking(move || primacy.keep()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return DatabaseError::Superseded.into(),
        }
    }
}

async fn take(primacy: &Arc<Primacy>) -> Result<Result<bool, StoreError>, CommandError> {
    let primacy = Arc::clone(primacy);
    let taken = tokio::task::spawn_blocking(move || primacy.take().map_err(StoreError::from)).await;
    taken.map_err(|error| CommandError::Io { what: "the thread that asks the database", error: error.into() })
}

/// Answers on the same socket that will be answered on later.
fn unready(listener: &TcpListener) -> std::io::Result<JoinHandle<()>> {
    use std::os::fd::AsFd as _;
    let socket = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
    let router = api::monitoring(Arc::new(Metrics::new()), Arc::new(Health::default()));
    Ok(tokio::spawn(api::serve(TcpListener::from_std(socket)?, router, "the metrics")))
}

fn announce(json: bool) {
    let text = "another hub serves this installation; this one waits to take its place";
    let line = if json { json!({ "event": "standing by" }).to_string() } else { text.to_owned() };
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// How often the database is asked, by who waits and by who serves.
const AGAIN: Duration = Duration::from_millis(500);
