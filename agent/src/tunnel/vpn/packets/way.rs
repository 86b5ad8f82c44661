//! Where the packets of one client are judged: each under the permit of its flow, and counted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use postern_protocol::audit::flows::Carried;
use postern_protocol::audit::{Event, FlowFate};
use postern_protocol::gate::packet::{Filter, Key, Outcome, Over, Passage};
use postern_protocol::policy::{FlowEnd, FlowPermit, Permit, Reason};
use postern_protocol::wire::flow::FlowId;
use postern_protocol::wire::flow::message::{begin_datagram, push_frame};
use postern_protocol::wire::registry::{CloseCode, Failure, PacketFault};
use postern_transport::quic::Connection;
use postern_transport::splice::Meter;

use crate::tun::Tun;
use crate::tunnel::target::Guard;
use crate::tunnel::vpn::Vpn;

/// The way between one client and the interface.
#[derive(Debug)]
pub(in super::super) struct Way {
    vpn: Arc<Vpn>,
    tun: Arc<Tun>,
    connection: Connection,
    flow: FlowId,
    guard: Guard,
    meter: Meter,
    judge: Mutex<Judge>,
    frames: mpsc::Sender<Vec<u8>>,
    openings: mpsc::Sender<Opening>,
    began: Instant,
}

#[derive(Debug)]
struct Judge {
    filter: Filter,
    /// Where a packet lies while it is judged and changed.
    packet: Vec<u8>,
}

/// A flow that waits for its row.
#[derive(Debug)]
pub(super) struct Opening {
    /// Which.
    pub(super) key: Key,
    /// Its first packet.
    pub(super) packet: Vec<u8>,
    /// The row.
    pub(super) row: Event,
}

impl Way {
    /// A way for the packets of a tunnel. What fits no datagram of the flow, and what must be recorded first, goes into the queues.
    pub(super) fn new(
        vpn: Arc<Vpn>,
        (ip, tun): (Ipv4Addr, Arc<Tun>),
        (connection, flow): (Connection, FlowId),
        guard: Guard,
        (frames, openings): (mpsc::Sender<Vec<u8>>, mpsc::Sender<Opening>),
    ) -> Self {
        let meter = Meter::of(Arc::clone(&vpn.meter));
        let judge = Mutex::new(Judge { filter: Filter::new(ip), packet: Vec::new() });
        Self { vpn, tun, connection, flow, guard, meter, judge, frames, openings, began: Instant::now() }
    }

    /// Takes a packet of the client.
    pub(in super::super) fn say(&self, bytes: &[u8]) {
        let mut judge = self.judge();
        let Judge { filter, packet } = &mut *judge;
        packet.clear();
        packet.extend_from_slice(bytes);
        let Outcome { passage, key, answer } =
            filter.handle_outbound(packet, self.now_ms(), |end| self.decide(end));
        match passage {
            Passage::Pass => self.pass(packet),
            Passage::Begins(key) => {
                match self.vpn.note(Some(key.end), FlowFate::Opened, Carried::default()) {
                    None => {
                        filter.begin(&key, self.now_ms());
                        self.pass(packet);
                    }
                    Some(row) => {
                        let opening = Opening { key, packet: packet.clone(), row };
                        if self.openings.try_send(opening).is_err() {
                            filter.withdraw(&key);
                            self.refuse(PacketFault::Unrecorded, Some(key));
                        }
                    }
                }
            }
            Passage::Drop(fault) => self.refuse(fault, key),
        }
        drop(judge);
        if let Some(answer) = answer {
            self.send(&answer);
        }
    }

    /// Takes a packet of a machine.
    pub(super) fn hear(&self, bytes: &[u8]) {
        let mut judge = self.judge();
        let Judge { filter, packet } = &mut *judge;
        packet.clear();
        packet.extend_from_slice(bytes);
        match filter.handle_inbound(packet, self.now_ms()) {
            Ok(()) => {
                self.meter.count_sent(packet.len());
                self.send(packet);
            }
            Err(fault) => self.vpn.drops.count(fault),
        }
    }

    /// Lets a flow go on, whose row is durable, with its first packet.
    pub(super) fn begin(&self, key: &Key, packet: &[u8]) {
        // It may have been refused meanwhile.
        if self.judge().filter.begin(key, self.now_ms()) {
            self.pass(packet);
        }
    }

    /// Forgets a flow that could not be recorded.
    pub(super) fn withdraw(&self, key: &Key) {
        self.judge().filter.withdraw(key);
        self.refuse(PacketFault::Unrecorded, Some(*key));
    }

    /// Asks for every flow again, under another permit.
    pub(super) fn decide_again(&self, permit: &Arc<Permit>) {
        let resets = self.judge().filter.handle_permit(|end| permit.packets(end));
        self.reset(resets);
        self.note_over(CloseCode::Done);
    }

    /// Notes what is over by itself.
    pub(super) fn look(&self) {
        self.judge().filter.handle_timeout(self.now_ms());
        self.note_over(CloseCode::Done);
    }

    /// Ends everything.
    pub(super) fn close(&self, code: CloseCode) {
        let resets = self.judge().filter.close();
        self.reset(resets);
        self.note_over(code);
    }

    /// Decides a flow by the permit of this moment, and asks whether the device dials such an address at all.
    fn decide(&self, end: FlowEnd) -> Result<FlowPermit, PacketFault> {
        let permit = self.vpn.permit().ok_or(PacketFault::NotGranted)?;
        let flow = permit.packets(end)?;
        if !self.vpn.places.is_in_time() {
            return Err(PacketFault::Busy);
        }
        if self.guard.allows(SocketAddr::new(end.ip, end.port)) {
            Ok(flow)
        } else {
            Err(PacketFault::Forbidden)
        }
    }

    fn pass(&self, packet: &[u8]) {
        if self.tun.write(packet) {
            self.meter.count_received(packet.len());
        } else {
            self.vpn.drops.count(PacketFault::Queue);
        }
    }

    fn send(&self, packet: &[u8]) {
        let mut datagram = Vec::with_capacity(packet.len().saturating_add(8));
        begin_datagram(self.flow, &mut datagram);
        datagram.extend_from_slice(packet);
        if self.connection.send_datagram(datagram.into()) {
            return;
        }
        let mut frame = Vec::with_capacity(packet.len().saturating_add(2));
        let is_lost = push_frame(packet, &mut frame).is_err() || self.frames.try_send(frame).is_err();
        if is_lost {
            self.vpn.drops.count(PacketFault::Queue);
        }
    }

    fn reset(&self, resets: Vec<[Vec<u8>; 2]>) {
        for [to_machine, to_client] in resets {
            self.tun.write(&to_machine);
            self.send(&to_client);
        }
    }

    /// Counts a packet that was dropped, and notes the flow that it would have been of.
    fn refuse(&self, fault: PacketFault, key: Option<Key>) {
        self.vpn.drops.count(fault);
        if let Some((fate, is_flow)) = fate(fault) {
            let end = key.filter(|_| is_flow).map(|key| key.end);
            // A flow that was not opened has no row that anything waits for.
            self.vpn.note(end, fate, Carried::default());
        }
    }

    fn note_over(&self, code: CloseCode) {
        loop {
            let over = self.judge().filter.poll_over();
            let Some(Over { key, refused, to_machine, to_client, seconds }) = over else { return };
            let code = match refused.and_then(fate) {
                Some((FlowFate::Denied(reason), _)) => CloseCode::Denied(reason),
                Some((FlowFate::Failed(failure), _)) => CloseCode::Failed(failure),
                Some((FlowFate::Opened | FlowFate::Closed(_) | FlowFate::Probed, _)) | None => code,
            };
            let carried = Carried { to_machine, to_client, seconds };
            self.vpn.note(Some(key.end), FlowFate::Closed(code.number()), carried);
        }
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the trail says of a packet that was dropped, and whether it names where it should have gone; none where it says nothing.
const fn fate(fault: PacketFault) -> Option<(FlowFate, bool)> {
    match fault {
        PacketFault::NotGranted => Some((FlowFate::Denied(Reason::PortDenied), true)),
        PacketFault::Looking => Some((FlowFate::Denied(Reason::ViewOnly), true)),
        PacketFault::Read => Some((FlowFate::Failed(Failure::Unsupported), true)),
        PacketFault::Forbidden => Some((FlowFate::Failed(Failure::Forbidden), true)),
        PacketFault::Busy => Some((FlowFate::Failed(Failure::Busy), true)),
        PacketFault::Unrecorded => Some((FlowFate::Failed(Failure::Unrecorded), true)),
        PacketFault::Length
        | PacketFault::Version
        | PacketFault::Options
        | PacketFault::Fragment
        | PacketFault::Protocol
        | PacketFault::Flags
        | PacketFault::Kind
        | PacketFault::Source
        | PacketFault::Address => Some((FlowFate::Failed(Failure::NotUnderstood), false)),
        // Of flows that are open, or of none.
        PacketFault::Stray
        | PacketFault::Waiting
        | PacketFault::Oversize
        | PacketFault::Uninvited
        | PacketFault::Queue => None,
    }
}
