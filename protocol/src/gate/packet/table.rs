//! The flows whose packets pass, with what is known of each.
//!
//! 1. A flow begins with a packet of the client, under a permit that it holds.
//! 2. It is over when nothing has passed for as long as its [`Phase`] allows, when its permit is not renewed, or when its ports are
//!    used for another one.
//! 3. [`Table::expire`] looks at all of them, and is called at most once a second: a flow may live that much longer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::answer;
use super::read::Segment;
use crate::limits;
use crate::policy::{FlowEnd, FlowPermit, Protocol};
use crate::wire::registry::PacketFault;

/// Names a flow of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The far end.
    pub end: FlowEnd,
    /// The client's port, or the identifier of its echoes.
    pub near: u16,
}

/// A flow that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which.
    pub key: Key,
    /// Why it is not permitted any more; none for one that ended by itself.
    pub refused: Option<PacketFault>,
    /// Bytes of the packets from the client to the machine.
    pub to_machine: u64,
    /// Bytes of those from the machine.
    pub to_client: u64,
    /// For how long it was open.
    pub seconds: u64,
}

/// One flow.
#[derive(Debug)]
pub(super) struct Flow {
    /// Without one there is no flow.
    permit: FlowPermit,
    phase: Phase,
    began_ms: u64,
    last_ms: u64,
    to_machine: u64,
    to_client: u64,
    /// Of TCP: the number that each side would use next, so that a reset is believed.
    next_of_client: u32,
    next_of_machine: u32,
}

/// Where a flow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its row in the trail is being written.
    Waiting,
    /// Datagrams or echoes.
    Messages,
    /// A connection that the machine has not accepted yet.
    Opening,
    /// A connection; which sides have ended their direction.
    Open { client_done: bool, machine_done: bool },
    /// Both directions have ended, or one side has reset it.
    Over,
}

/// All flows of one client.
#[derive(Debug)]
pub(super) struct Table(BTreeMap<Key, Flow>);

impl Phase {
    /// For how long nothing may pass.
    const fn patience_ms(self) -> u64 {
        match self {
            Self::Waiting | Self::Opening | Self::Messages => 60_000,
            // RFC 5382, REQ-5: no less than 2 hours and 4 minutes.
            Self::Open { client_done: false, machine_done: false } => 7_440_000,
            // One direction may stay open as long as something passes.
            Self::Open { .. } => 300_000,
            // The last acknowledgement may be lost and wanted again.
            Self::Over => 10_000,
        }
    }
}

impl Table {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A flow and whether it lives; one that has waited too long does not.
    pub(super) fn live(&mut self, key: &Key, now_ms: u64) -> Option<&mut Flow> {
        self.0.get_mut(key).filter(|flow| !flow.is_silent(now_ms))
    }

    pub(super) fn insert(&mut self, key: Key, flow: Flow) -> Option<Over> {
        self.0.insert(key, flow).map(|flow| flow.over(key, None))
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Flow> {
        self.0.remove(key)
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= limits::PACKET_FLOWS
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes out what is over by itself.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<Over> {
        let silent = self.0.iter().filter(|(_, flow)| flow.is_silent(now_ms)).map(|(key, _)| *key);
        let silent: Vec<Key> = silent.collect();
        silent.into_iter().filter_map(|key| self.remove(&key).map(|flow| flow.over(key, None))).collect()
    }

    /// Asks for each flow again; takes out what is refused.
    pub(super) fn decide_again(
        &mut self,
        mut decide: impl FnMut(FlowEnd) -> Result<FlowPermit, PacketFault>,
    ) -> Vec<(Flow, Over)> {
        let mut refused = Vec::new();
        for (key, flow) in &mut self.0 {
            match decide(key.end) {
                Ok(permit) => flow.permit = permit,
                Err(fault) => refused.push((*key, fault)),
            }
        }
        let taken = refused.into_iter().filter_map(|(key, fault)| {
            let flow = self.remove(&key)?;
            let over = flow.over(key, Some(fault));
            Some((flow, over))
        });
        taken.collect()
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Flow, Over)> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(key, flow)| {
            let over = flow.over(key, None);
            (flow, over)
        })
    }
}

impl Flow {
    pub(super) const fn new(permit: FlowPermit, now_ms: u64) -> Self {
        Self {
            permit,
            phase: Phase::Waiting,
            began_ms: now_ms,
            last_ms: now_ms,
            to_machine: 0,
            to_client: 0,
            next_of_client: 0,
            next_of_machine: 0,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Lets packets pass from now on. False where they do already.
    pub(super) fn begin(&mut self) -> bool {
        let waits = self.phase == Phase::Waiting;
        if waits {
            self.phase = match self.permit.end().protocol {
                Protocol::Tcp => Phase::Opening,
                Protocol::Udp | Protocol::Icmp => Phase::Messages,
            };
        }
        waits
    }

    /// Notes a packet of the client.
    pub(super) fn sent(&mut self, bytes: usize, segment: Option<&Segment>, now_ms: u64) {
        self.to_machine = self.to_machine.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.last_ms = now_ms;
        if let Some(segment) = segment {
            newest(&mut self.next_of_client, segment);
            self.follow(segment, true);
        }
    }

    /// Notes a packet of the machine.
    pub(super) fn received(&mut self, bytes: usize, segment: Option<&Segment>, now_ms: u64) {
        self.to_client = self.to_client.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.last_ms = now_ms;
        if let Some(segment) = segment {
            newest(&mut self.next_of_machine, segment);
            self.follow(segment, false);
        }
    }

    /// Resets that end a connection at both sides, the client's last; none where there is no connection.
    pub(super) fn resets(&self, client: Ipv4Addr, key: &Key) -> Option<[Vec<u8>; 2]> {
        let IpAddr::V4(machine) = key.end.ip else { return None };
        let (near, far) = (key.near, key.end.port);
        match self.phase {
            Phase::Open { .. } | Phase::Opening if key.end.protocol == Protocol::Tcp => Some([
                answer::reset(
                    (client, machine),
                    (near, far),
                    self.next_of_client,
                    Some(self.next_of_machine),
                ),
                answer::reset(
                    (machine, client),
                    (far, near),
                    self.next_of_machine,
                    Some(self.next_of_client),
                ),
            ]),
            Phase::Open { .. } | Phase::Opening | Phase::Waiting | Phase::Messages | Phase::Over => None,
        }
    }

    fn follow(&mut self, segment: &Segment, by_client: bool) {
        self.phase = match self.phase {
            _ if segment.rst => Phase::Over,
            Phase::Opening if !by_client && segment.ack => {
                Phase::Open { client_done: false, machine_done: segment.fin }
            }
            Phase::Open { client_done, machine_done } => {
                let client_done = client_done || (by_client && segment.fin);
                let machine_done = machine_done || (!by_client && segment.fin);
                if client_done && machine_done {
                    Phase::Over
                } else {
                    Phase::Open { client_done, machine_done }
                }
            }
            phase @ (Phase::Waiting | Phase::Messages | Phase::Opening | Phase::Over) => phase,
        };
    }

    const fn is_silent(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_ms) >= self.phase.patience_ms()
    }

    const fn over(&self, key: Key, refused: Option<PacketFault>) -> Over {
        let seconds = self.last_ms.saturating_sub(self.began_ms) / 1000;
        Over { key, refused, to_machine: self.to_machine, to_client: self.to_client, seconds }
    }
}

/// Moves on to the end of a segment, unless it is older (RFC 9293 section 3.4: numbers go around).
fn newest(next: &mut u32, segment: &Segment) {
    let end = segment.sequence.wrapping_add(segment.length);
    if segment.syn || *next == 0 || end.wrapping_sub(*next) < 1 << 31 {
        *next = end;
    }
}
