//! The verdict about each packet of one client, and the flows that it stands on.

use std::net::{IpAddr, Ipv4Addr};

use super::MTU;
use super::answer::{self, Pace};
use super::change::clamp_mss;
use super::read::{Content, Packet, Quoted, Segment, read};
use super::table::{Flow, Key, Over, Phase, Table};
use crate::policy::{FlowEnd, FlowPermit, Protocol};
use crate::wire::registry::PacketFault;

/// The filter of one client. It says who may be asked for what; whoever moves packets asks it for each.
#[derive(Debug)]
pub struct Filter {
    /// The client's address.
    client: Ipv4Addr,
    table: Table,
    over: Vec<Over>,
    pace: Pace,
    expired_ms: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes on.
    Pass,
    /// It begins a flow: it goes on after [`Filter::begin`], when its row in the trail is durable.
    Begins(Key),
    /// It goes nowhere.
    Drop(PacketFault),
}

/// What becomes of a packet of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub passage: Passage,
    /// The flow that it would be of, where it could be read.
    pub key: Option<Key>,
    /// A packet for the client, in the name of whoever it wanted to speak to.
    pub answer: Option<Vec<u8>>,
}

impl Filter {
    /// Of a client that has this address; no flow is open.
    #[must_use]
    pub const fn new(client: Ipv4Addr) -> Self {
        Self { client, table: Table::new(), over: Vec::new(), pace: Pace::new(), expired_ms: 0 }
    }

    /// Judges a packet of the client, and changes what must be changed in it. `decide` is asked where it begins a flow.
    pub fn handle_outbound(
        &mut self,
        bytes: &mut [u8],
        now_ms: u64,
        decide: impl FnOnce(FlowEnd) -> Result<FlowPermit, PacketFault>,
    ) -> Outcome {
        let packet = match self.outbound(bytes) {
            Ok(packet) => packet,
            Err((fault, answer)) => {
                let answer = answer.filter(|_| self.pace.admits(now_ms));
                return Outcome { passage: Passage::Drop(fault), key: None, answer };
            }
        };
        let Some(key) = key_of(&packet) else {
            return Outcome { passage: Passage::Drop(PacketFault::Kind), key: None, answer: None };
        };
        let passage = self.judge(&packet, key, bytes.len(), now_ms, decide);
        let answer = match passage {
            Passage::Pass | Passage::Begins(_) => {
                clamp_mss(bytes, &packet);
                None
            }
            Passage::Drop(fault) => answer::to(fault, bytes, &packet).filter(|_| self.pace.admits(now_ms)),
        };
        Outcome { passage, key: Some(key), answer }
    }

    /// Judges a packet for the client, and changes what must be changed in it.
    ///
    /// # Errors
    /// The fault that it is dropped for.
    pub fn handle_inbound(&mut self, bytes: &mut [u8], now_ms: u64) -> Result<(), PacketFault> {
        if bytes.len() > MTU.into() {
            return Err(PacketFault::Oversize);
        }
        let packet = read(bytes)?;
        if packet.to != self.client {
            return Err(PacketFault::Uninvited);
        }
        let (key, segment) = match packet.content {
            Content::Tcp(segment) if !segment.syn || segment.ack => {
                (far((Protocol::Tcp, packet.from, segment.source), segment.destination), Some(segment))
            }
            Content::Udp { source, destination } => {
                (far((Protocol::Udp, packet.from, source), destination), None)
            }
            Content::EchoReply { identifier } => (far((Protocol::Icmp, packet.from, 0), identifier), None),
            Content::Error(quoted) => return self.error(&quoted, now_ms),
            // A machine begins nothing.
            Content::Tcp(_) | Content::EchoRequest { .. } => return Err(PacketFault::Uninvited),
        };
        let flow = self.table.live(&key, now_ms).filter(|flow| flow.phase() != Phase::Waiting);
        flow.ok_or(PacketFault::Uninvited)?.received(bytes.len(), segment.as_ref(), now_ms);
        clamp_mss(bytes, &packet);
        Ok(())
    }

    /// Lets the packets of a flow pass: its row in the trail is durable. False where the flow was refused meanwhile.
    pub fn begin(&mut self, key: &Key, now_ms: u64) -> bool {
        self.table.live(key, now_ms).is_some_and(Flow::begin)
    }

    /// Forgets a flow whose row could not be written. It was never open.
    pub fn withdraw(&mut self, key: &Key) {
        self.table.remove(key);
    }

    /// Asks for every flow again, under another permit; what is refused is over. Returns packets that end their connections: for
    /// the machine and for the client.
    pub fn handle_permit(
        &mut self,
        decide: impl FnMut(FlowEnd) -> Result<FlowPermit, PacketFault>,
    ) -> Vec<[Vec<u8>; 2]> {
        let refused = self.table.decide_again(decide);
        self.end(refused)
    }

    /// Ends everything. Returns the same.
    pub fn close(&mut self) -> Vec<[Vec<u8>; 2]> {
        let all = self.table.drain();
        self.end(all)
    }

    /// Looks for flows that are over by themselves; a second time in the same second costs nothing.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.expired_ms) >= 1000 {
            self.expired_ms = now_ms;
            self.over.extend(self.table.expire(now_ms));
        }
    }

    /// Takes the next flow that is over.
    pub fn poll_over(&mut self) -> Option<Over> {
        self.over.pop()
    }

    /// Flows that are open.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// Reads a packet of the client.
    fn outbound(&self, bytes: &[u8]) -> Result<Packet, (PacketFault, Option<Vec<u8>>)> {
        let packet = read(bytes).map_err(|fault| (fault, None))?;
        if packet.from != self.client {
            return Err((PacketFault::Source, None));
        }
        if bytes.len() > MTU.into() {
            return Err((PacketFault::Oversize, Some(answer::too_large(bytes, packet.from, packet.to))));
        }
        Ok(packet)
    }

    fn judge(
        &mut self,
        packet: &Packet,
        key: Key,
        bytes: usize,
        now_ms: u64,
        decide: impl FnOnce(FlowEnd) -> Result<FlowPermit, PacketFault>,
    ) -> Passage {
        let segment = match packet.content {
            Content::Tcp(segment) => Some(segment),
            Content::Udp { .. }
            | Content::EchoRequest { .. }
            | Content::EchoReply { .. }
            | Content::Error(_) => None,
        };
        let begins = segment.is_none_or(|segment| segment.syn && !segment.ack);
        match self.table.live(&key, now_ms) {
            Some(flow) => match flow.phase() {
                Phase::Waiting => return Passage::Drop(PacketFault::Waiting),
                // The same ports for another connection.
                Phase::Over if begins && segment.is_some() => {}
                Phase::Messages | Phase::Opening | Phase::Open { .. } | Phase::Over => {
                    flow.sent(bytes, segment.as_ref(), now_ms);
                    return Passage::Pass;
                }
            },
            None if !begins => return Passage::Drop(PacketFault::Stray),
            None => {}
        }
        if !key.end.is_possible() {
            return Passage::Drop(PacketFault::Address);
        }
        match decide(key.end) {
            Ok(permit) if permit.end() == key.end => self.open(key, permit, segment, bytes, now_ms),
            // A permit for something else permits nothing here.
            Ok(_) => Passage::Drop(PacketFault::NotGranted),
            Err(fault) => Passage::Drop(fault),
        }
    }

    fn open(
        &mut self,
        key: Key,
        permit: FlowPermit,
        segment: Option<Segment>,
        bytes: usize,
        now_ms: u64,
    ) -> Passage {
        if self.table.is_full() {
            self.handle_timeout(now_ms);
        }
        if self.table.is_full() {
            return Passage::Drop(PacketFault::Busy);
        }
        let mut flow = Flow::new(permit, now_ms);
        flow.sent(bytes, segment.as_ref(), now_ms);
        self.over.extend(self.table.insert(key, flow));
        Passage::Begins(key)
    }

    /// An error about a packet of the client passes, and none about another.
    fn error(&mut self, quoted: &Quoted, now_ms: u64) -> Result<(), PacketFault> {
        let key = far((quoted.protocol, quoted.to, quoted.far), quoted.near);
        let flow = self.table.live(&key, now_ms).filter(|flow| flow.phase() != Phase::Waiting);
        if quoted.from == self.client && flow.is_some() { Ok(()) } else { Err(PacketFault::Uninvited) }
    }

    fn end(&mut self, gone: impl IntoIterator<Item = (Flow, Over)>) -> Vec<[Vec<u8>; 2]> {
        let mut resets = Vec::new();
        for (flow, over) in gone {
            resets.extend(flow.resets(self.client, &over.key));
            // One that waits has not begun.
            if flow.phase() != Phase::Waiting {
                self.over.push(over);
            }
        }
        resets
    }
}

/// The flow of a packet of the client; none where no client sends that.
fn key_of(packet: &Packet) -> Option<Key> {
    let to = |protocol, port, near| Some(far((protocol, packet.to, port), near));
    match packet.content {
        Content::Tcp(segment) => to(Protocol::Tcp, segment.destination, segment.source),
        Content::Udp { source, destination } => to(Protocol::Udp, destination, source),
        Content::EchoRequest { identifier } => to(Protocol::Icmp, 0, identifier),
        Content::EchoReply { .. } | Content::Error(_) => None,
    }
}

const fn far((protocol, ip, port): (Protocol, Ipv4Addr, u16), near: u16) -> Key {
    Key { end: FlowEnd { protocol, ip: IpAddr::V4(ip), port }, near }
}

#[cfg(test)]
mod tests;
