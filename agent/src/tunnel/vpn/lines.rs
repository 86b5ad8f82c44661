//! The datagrams of a connection, sorted by the flow that they belong to.
//!
//! 1. A flow is entered when it may carry, with what speaks to its machine, or to the device's interface for packets.
//! 2. A datagram goes to the machine in the connection's own task: nothing waits in between, and when the entry is gone
//!    nothing goes any more.
//! 3. What belongs to no flow, or is malformed, is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_protocol::wire::flow::FlowId;
use postern_protocol::wire::flow::message::split_datagram;

use super::messages;
use super::packets::Way;

/// The flows of one connection that take datagrams.
#[derive(Debug, Default)]
pub(in super::super) struct Lines(Mutex<BTreeMap<FlowId, Mouth>>);

/// What takes the datagrams of a flow.
#[derive(Clone, Debug)]
pub(super) enum Mouth {
    /// A socket to a machine.
    Machine(Arc<messages::Mouth>),
    /// The interface for packets.
    Packets(Arc<Way>),
}

/// The entry of one flow; dropping it removes the flow.
#[derive(Debug)]
pub(super) struct Line<'a> {
    lines: &'a Lines,
    flow: FlowId,
}

impl Lines {
    /// Enters a flow.
    pub(super) fn line(&self, flow: FlowId, mouth: Mouth) -> Line<'_> {
        self.lock().insert(flow, mouth);
        Line { lines: self, flow }
    }

    /// Passes a datagram of the client on.
    pub(in super::super) fn pass_on(&self, datagram: &[u8]) {
        let Ok((flow, message)) = split_datagram(datagram) else { return };
        let mouth = self.lock().get(&flow).cloned();
        match mouth {
            Some(Mouth::Machine(mouth)) => mouth.say(message),
            Some(Mouth::Packets(way)) => way.say(message),
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlowId, Mouth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line<'_> {
    /// Speaks under a newer permit from here on.
    pub(super) fn replace(&self, mouth: Mouth) {
        self.lines.lock().insert(self.flow, mouth);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.lines.lock().remove(&self.flow);
    }
}
