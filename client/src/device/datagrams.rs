//! Datagrams of a connection, sorted by the flow that they belong to.
//!
//! 1. A flow is entered before the device hears of it: its first datagram may overtake the answer.
//! 2. What belongs to no flow, or is malformed, is dropped. So is what a slow reader has not taken, as on any narrow way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use postern_protocol::wire::flow::FlowId;
use postern_protocol::wire::flow::message::{begin_datagram, datagram_overhead, split_datagram};
use postern_transport::quic::Connection;

/// All datagrams of a connection.
#[derive(Debug)]
pub(super) struct Datagrams {
    connection: Connection,
    lines: Lines,
    reader: AbortHandle,
}

/// The datagrams of one flow; dropping it leaves the flow to its stream.
#[derive(Debug)]
pub(crate) struct Line {
    flow: FlowId,
    connection: Connection,
    lines: Lines,
    coming: mpsc::Receiver<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<BTreeMap<FlowId, mpsc::Sender<Vec<u8>>>>>);

impl Datagrams {
    /// Reads for as long as the connection lives and this is kept.
    pub(super) fn of(connection: Connection) -> Self {
        let lines = Lines::default();
        let (reading, sorted) = (connection.clone(), lines.clone());
        let reader = tokio::spawn(async move {
            while let Ok(datagram) = reading.read_datagram().await {
                if let Ok((flow, message)) = split_datagram(&datagram)
                    && let Some(line) = sorted.lock().get(&flow)
                {
                    let _lost = line.try_send(message.to_vec());
                }
            }
        });
        Self { connection, lines, reader: reader.abort_handle() }
    }

    /// Enters a flow.
    pub(super) fn line(&self, flow: FlowId) -> Line {
        let (line, coming) = mpsc::channel(WAITING);
        self.lines.lock().insert(flow, line);
        Line { flow, connection: self.connection.clone(), lines: self.lines.clone(), coming }
    }
}

impl Line {
    /// Sends a message; false where it does not fit a datagram.
    #[must_use]
    pub(crate) fn send(&self, message: &[u8]) -> bool {
        let mut datagram = Vec::with_capacity(datagram_overhead(self.flow).saturating_add(message.len()));
        begin_datagram(self.flow, &mut datagram);
        datagram.extend_from_slice(message);
        self.connection.send_datagram(datagram.into())
    }

    /// The next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        match self.coming.recv().await {
            Some(message) => message,
            // The stream says that the flow is over.
            None => std::future::pending().await,
        }
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlowId, mpsc::Sender<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.lock().remove(&self.flow);
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Datagrams of one flow that wait for their reader.
const WAITING: usize = 64;
