//! The gate of the packet VPN, compared with a slow reference that has a list of flows and looks at one byte after the other.

mod built;
mod naive;
mod policy;
mod reading;

use std::net::Ipv4Addr;

use postern_protocol::gate::packet::{Content, Filter, MTU, Packet, Passage, change, read};
use postern_protocol::wire::registry::PacketFault;

use self::built::built;
use self::naive::Naive;
use self::policy::{GRANTS, PERMITS};

/// Steps: packets of both sides, raw, built, or built with one byte changed; time that passes; and other permits.
pub fn packet(bytes: &[u8]) {
    let mut pair = Pair::new();
    let mut steps = bytes.iter().copied();
    while pair.step(&mut steps).is_some() {}
    pair.finish();
}

/// The client of both filters.
pub const CLIENT: [u8; 4] = [100, 96, 0, 2];

struct Pair {
    filter: Filter,
    naive: Naive,
    permit: usize,
    now_ms: u64,
    begun: usize,
}

impl Pair {
    fn new() -> Self {
        let filter = Filter::new(CLIENT.into());
        Self { filter, naive: Naive::default(), permit: 0, now_ms: 1_000_000, begun: 0 }
    }

    fn step(&mut self, steps: &mut impl Iterator<Item = u8>) -> Option<()> {
        let what = steps.next()?;
        let durable = what & 8 == 0;
        match what & 7 {
            side @ (0 | 1) => {
                let length = steps.next()?;
                let bytes: Vec<u8> = steps.take(length.into()).collect();
                self.carry(bytes, side == 0, durable);
            }
            side @ 2..=5 => {
                let mut six = || {
                    Some([
                        steps.next()?,
                        steps.next()?,
                        steps.next()?,
                        steps.next()?,
                        steps.next()?,
                        steps.next()?,
                    ])
                };
                let mut bytes = built(six()?, side % 2 == 0);
                if side > 3 {
                    let (at, other) = (usize::from(steps.next()?) % bytes.len(), steps.next()?);
                    bytes[at] ^= other;
                }
                self.carry(bytes, side % 2 == 0, durable);
            }
            6 => {
                self.now_ms +=
                    [1_000, 5_000, 20_000, 70_000, 400_000, 8_000_000][usize::from(steps.next()?) % 6]
            }
            _ => self.permit(usize::from(steps.next()?) % GRANTS.len()),
        }
        self.filter.handle_timeout(self.now_ms);
        Some(())
    }

    fn carry(&mut self, bytes: Vec<u8>, outbound: bool, durable: bool) {
        let mut carried = bytes.clone();
        if !outbound {
            let expected = self.naive.inbound(&bytes, self.now_ms);
            assert_eq!(self.filter.handle_inbound(&mut carried, self.now_ms), expected, "{bytes:02x?}");
            if expected.is_ok() {
                assert_only_the_segment_is_lowered(&bytes, &carried);
            }
            return;
        }
        let expected = self.naive.outbound(&bytes, self.now_ms, &GRANTS[self.permit]);
        let permit = &PERMITS[self.permit];
        let outcome = self.filter.handle_outbound(&mut carried, self.now_ms, |end| permit.packets(end));
        let found = match outcome.passage {
            Passage::Pass => Ok(false),
            Passage::Begins(_) => Ok(true),
            Passage::Drop(fault) => Err(fault),
        };
        assert_eq!(found, expected, "{bytes:02x?}");
        match outcome.passage {
            Passage::Drop(fault) => {
                assert_eq!(carried, bytes, "what is dropped is left alone");
                if let Some(answer) = outcome.answer {
                    assert_answers(&answer, &bytes, fault);
                }
            }
            Passage::Pass | Passage::Begins(_) => {
                assert_eq!(outcome.answer, None);
                assert_only_the_segment_is_lowered(&bytes, &carried);
            }
        }
        if let Passage::Begins(key) = outcome.passage {
            if durable {
                assert!(self.filter.begin(&key, self.now_ms));
                self.begun += 1;
            } else {
                self.filter.withdraw(&key);
            }
            self.naive.settle(durable);
        }
    }

    fn permit(&mut self, permit: usize) {
        self.permit = permit;
        let resets = self.filter.handle_permit(|end| PERMITS[permit].packets(end));
        let expected = self.naive.narrow(&GRANTS[permit], self.now_ms);
        assert_eq!(resets.len(), expected);
        for [to_machine, to_client] in &resets {
            for (bytes, by_client) in [(to_machine, true), (to_client, false)] {
                let packet = whole(bytes);
                assert_eq!(packet.from == Ipv4Addr::from(CLIENT), by_client);
                assert_eq!(packet.to == Ipv4Addr::from(CLIENT), !by_client);
                assert!(matches!(packet.content, Content::Tcp(segment) if segment.rst), "{packet:?}");
            }
        }
    }

    /// Each flow that began is over once.
    fn finish(mut self) {
        self.filter.close();
        assert_eq!(self.filter.flows(), 0);
        let over = std::iter::from_fn(|| self.filter.poll_over()).count();
        assert_eq!(over, self.begun);
    }
}

/// A packet of ours: readable, and with right checksums.
fn whole(bytes: &[u8]) -> Packet {
    assert!(bytes.len() <= MTU.into());
    assert_eq!(change::checksum(&[&bytes[..20]]), 0);
    let payload = &bytes[20..];
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let pseudo = [&bytes[12..20], &[0, bytes[9]], &length].concat();
    let sum =
        if bytes[9] == 1 { change::checksum(&[payload]) } else { change::checksum(&[&pseudo, payload]) };
    assert_eq!(sum, 0);
    read(bytes).unwrap()
}

/// An answer is for the client and about its packet.
fn assert_answers(answer: &[u8], bytes: &[u8], fault: PacketFault) {
    let packet = whole(answer);
    assert_eq!(packet.to, Ipv4Addr::from(CLIENT), "{fault}");
    assert_eq!(packet.from.octets(), bytes[16..20], "{fault}");
    match packet.content {
        Content::Tcp(segment) => assert!(segment.rst && bytes[9] == 6, "{fault}"),
        Content::Error(quoted) => assert_eq!(quoted.to.octets(), bytes[16..20], "{fault}"),
        Content::Udp { .. } | Content::EchoRequest { .. } | Content::EchoReply { .. } => panic!("{packet:?}"),
    }
}

fn assert_only_the_segment_is_lowered(before: &[u8], after: &[u8]) {
    let Ok(Packet { content: Content::Tcp(segment), .. }) = read(before) else {
        return assert_eq!(before, after);
    };
    let Some(at) = segment.mss_at else { return assert_eq!(before, after) };
    let size = u16::from_be_bytes([before[at], before[at + 1]]);
    let mut expected = before.to_vec();
    if size > MTU - 40 {
        expected[at..at + 2].copy_from_slice(&(MTU - 40).to_be_bytes());
        expected[36..38].copy_from_slice(&after[36..38]);
    }
    assert_eq!(expected, after);
}
