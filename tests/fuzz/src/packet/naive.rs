//! A slow and obvious filter of packets, for comparison: every flow is looked at for every packet.

use postern_protocol::wire::registry::PacketFault::{self, *};

use super::CLIENT;
use super::reading::{ACK, FIN, RST, Read, SYN, address, read};

/// What is granted.
#[derive(Debug)]
pub struct Grants {
    /// Networks, prefixes, first and last ports.
    pub tcp: &'static [([u8; 4], u8, u16, u16)],
    /// Ports of 192.168.0.0/24 that a gate must read.
    pub read: &'static [u16],
    /// UDP ports of the controller.
    pub udp: &'static [u16],
    /// The prefix of the network that may be pinged.
    pub icmp: u8,
    /// Whether the user only looks.
    pub looks: bool,
}

/// Every flow.
#[derive(Debug, Default)]
pub struct Naive(Vec<Flow>);

#[derive(Clone, Debug, PartialEq)]
struct Flow {
    protocol: u8,
    machine: [u8; 4],
    far: u16,
    near: u16,
    waits: bool,
    answered: bool,
    ended: [bool; 2],
    reset: bool,
    last_ms: u64,
}

impl Grants {
    fn decide(&self, protocol: u8, machine: [u8; 4], far: u16) -> Result<(), PacketFault> {
        let in_cell = machine[..3] == [192, 168, 0];
        let is_plc = machine == [192, 168, 0, 10];
        let (is_granted, is_read) = match protocol {
            6 => {
                let granted = self
                    .tcp
                    .iter()
                    .any(|(ip, _, first, last)| machine == *ip && *first <= far && far <= *last);
                let read = in_cell && self.read.contains(&far);
                (granted || read, read)
            }
            17 => (is_plc && self.udp.contains(&far), false),
            _ => (is_plc || (in_cell && self.icmp == 24), false),
        };
        match (is_granted, is_read) {
            (false, _) => Err(NotGranted),
            (true, true) => Err(PacketFault::Read),
            (true, false) if self.looks && protocol != 1 => Err(Looking),
            (true, false) => Ok(()),
        }
    }
}

impl Flow {
    fn is_over(&self) -> bool {
        self.reset || self.ended == [true, true]
    }

    fn lives(&self, now_ms: u64) -> bool {
        let longest = if self.protocol != 6 || self.waits {
            60_000
        } else if self.is_over() {
            10_000
        } else if !self.answered {
            60_000
        } else if self.ended == [false, false] {
            7_440_000
        } else {
            300_000
        };
        now_ms - self.last_ms < longest
    }

    fn follow(&mut self, flags: Option<u8>, by_client: bool, now_ms: u64) {
        self.last_ms = now_ms;
        let Some(flags) = flags.filter(|_| !self.is_over()) else { return };
        self.reset = flags & RST != 0;
        if !by_client && flags & ACK != 0 {
            self.answered = true;
        }
        // A direction ends in a connection that was accepted.
        if self.answered && flags & FIN != 0 {
            self.ended[usize::from(by_client)] = true;
        }
    }
}

impl Naive {
    fn find(
        &mut self,
        (protocol, machine, far, near): (u8, [u8; 4], u16, u16),
        now_ms: u64,
    ) -> Option<&mut Flow> {
        let same = |flow: &&mut Flow| {
            (flow.protocol, flow.machine, flow.far, flow.near) == (protocol, machine, far, near)
        };
        self.0.iter_mut().find(same).filter(|flow| flow.lives(now_ms))
    }

    /// Whether it begins a flow.
    pub fn outbound(&mut self, bytes: &[u8], now_ms: u64, grants: &Grants) -> Result<bool, PacketFault> {
        let what = read(bytes)?;
        if bytes[12..16] != CLIENT {
            return Err(Source);
        }
        if bytes.len() > 1280 {
            return Err(Oversize);
        }
        let machine = address(bytes, 16);
        let (protocol, far, near, flags) = match what {
            Read::Tcp { source, destination, flags } => (6, destination, source, Some(flags)),
            Read::Udp { source, destination } => (17, destination, source, None),
            Read::Echo { is_request: true, identifier } => (1, 0, identifier, None),
            Read::Echo { is_request: false, .. } | Read::Error { .. } => return Err(Kind),
        };
        let opens = flags.is_none_or(|flags| flags & SYN != 0 && flags & ACK == 0);
        if let Some(flow) = self.find((protocol, machine, far, near), now_ms) {
            if flow.waits {
                return Err(Waiting);
            }
            if !(protocol == 6 && flow.is_over() && opens) {
                flow.follow(flags, true, now_ms);
                return Ok(false);
            }
        } else if !opens {
            return Err(Stray);
        }
        if machine == [255; 4] || machine[0] / 16 == 14 || machine == [0; 4] {
            return Err(Address);
        }
        grants.decide(protocol, machine, far)?;
        self.0.retain(|flow| {
            (flow.protocol, flow.machine, flow.far, flow.near) != (protocol, machine, far, near)
        });
        let (waits, answered, ended, reset) = (true, false, [false; 2], false);
        self.0.push(Flow { protocol, machine, far, near, waits, answered, ended, reset, last_ms: now_ms });
        Ok(true)
    }

    /// What becomes of the flow that began last.
    pub fn settle(&mut self, durable: bool) {
        let mut last = self.0.pop().unwrap();
        if durable {
            last.waits = false;
            self.0.push(last);
        }
    }

    pub fn inbound(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), PacketFault> {
        if bytes.len() > 1280 {
            return Err(Oversize);
        }
        let what = read(bytes)?;
        if bytes[16..20] != CLIENT {
            return Err(Uninvited);
        }
        let from = address(bytes, 12);
        let (flow, flags) = match what {
            Read::Tcp { flags, .. } if flags & SYN != 0 && flags & ACK == 0 => return Err(Uninvited),
            Read::Tcp { source, destination, flags } => ((6, from, source, destination), Some(flags)),
            Read::Udp { source, destination } => ((17, from, source, destination), None),
            Read::Echo { is_request: true, .. } => return Err(Uninvited),
            Read::Echo { is_request: false, identifier } => ((1, from, 0, identifier), None),
            Read::Error { from, .. } if from != CLIENT => return Err(Uninvited),
            Read::Error { protocol, machine, far, near, .. } => {
                let flow = self.find((protocol, machine, far, near), now_ms);
                return flow.filter(|flow| !flow.waits).map(drop).ok_or(Uninvited);
            }
        };
        let flow = self.find(flow, now_ms).filter(|flow| !flow.waits).ok_or(Uninvited)?;
        flow.follow(flags, false, now_ms);
        Ok(())
    }

    /// Takes out what is no longer granted; how many of them were connections.
    pub fn narrow(&mut self, grants: &Grants, now_ms: u64) -> usize {
        self.0.retain(|flow| flow.lives(now_ms));
        let (stay, go): (Vec<Flow>, Vec<Flow>) =
            self.0.drain(..).partition(|flow| grants.decide(flow.protocol, flow.machine, flow.far).is_ok());
        self.0 = stay;
        go.iter().filter(|flow| flow.protocol == 6 && !flow.waits && !flow.is_over()).count()
    }
}
