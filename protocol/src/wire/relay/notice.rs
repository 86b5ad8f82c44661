//! Notices between a relay and an end: fixed layouts, each with a length of its own.
//!
//! ```text
//! bind      1 | meeting: 16 | end: 1 | until: 8 | stamp: 8 | zero: 22 | MAC: 16                              72 bytes
//! bound     2 | stamp: 8 | handle: 8 | seen ip: 16, port: 2 | other ip: 16, port: 2 | MAC: 16                69 bytes
//! unbound   3 | handle: 8                                                                                     9 bytes
//! hub       4                                                                                                 1 byte
//! ```
//!
//! Where the other end is not known, or came over TLS, its address and port are zero.
//!
//! Numbers are big endian, addresses IPv6 (an IPv4 address mapped, RFC 4291 section 2.5.5.2). A MAC is the first half of
//! HMAC-SHA256 over all that precedes it.

use std::net::{Ipv6Addr, SocketAddr};

use super::key::MAC_BYTES;
use super::{End, Handle, Leg, LegKey, MeetingId, NOTICE, Ticket};
use crate::time::UnixTime;

/// What a relay and an end tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// From an end: packets for this leg go to the address that this comes from.
    Bind {
        /// The right to the leg.
        ticket: Ticket,
        /// Higher than in every notice for the ticket before; others are replays.
        stamp: u64,
    },
    /// From the relay: the leg is bound.
    Bound {
        /// That of the notice that is answered.
        stamp: u64,
        /// What packets of this leg begin with, both ways.
        handle: Handle,
        /// From where the relay has heard it.
        seen: SocketAddr,
        /// From where the relay has heard the other end, where both speak UDP: the two may find a way of their own.
        other: Option<SocketAddr>,
    },
    /// From the relay: packets with this handle come from elsewhere than it was bound from, or the relay no longer knows it.
    /// Proves nothing; an end binds anew and believes what answers that.
    Unbound {
        /// What the packet began with.
        handle: Handle,
    },
    /// From an end, the first frame over TLS where a hub listens: the packets that follow are for the hub itself.
    Hub,
}

/// Why bytes are no notice that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeFault {
    /// No layout has this number and length.
    #[error("no notice of {found} bytes begins like this")]
    Layout {
        /// Bytes seen.
        found: usize,
    },
    /// A field holds what it never does.
    #[error("a field of the notice holds what it never does")]
    Field,
    /// The MAC is that of another key, or of other bytes.
    #[error("the notice is not from who it says it is from")]
    Mac,
}

impl Notice {
    /// A packet that binds a leg.
    #[must_use]
    pub fn bind(leg: &Leg, stamp: u64) -> Vec<u8> {
        let Ticket { meeting, end, until } = leg.ticket;
        let mut body = Vec::with_capacity(BIND_BYTES);
        body.push(BIND);
        body.extend(meeting.0);
        body.push(end.number());
        body.extend(until.as_secs().to_be_bytes());
        body.extend(stamp.to_be_bytes());
        body.extend([0; PADDING]);
        seal(&body, &leg.key)
    }

    /// A packet that answers it, and one that says later where the other end is now.
    #[must_use]
    pub fn bound(
        key: &LegKey,
        stamp: u64,
        handle: Handle,
        seen: SocketAddr,
        other: Option<SocketAddr>,
    ) -> Vec<u8> {
        let mut body = Vec::with_capacity(BOUND_BYTES);
        body.push(BOUND);
        body.extend(stamp.to_be_bytes());
        body.extend(handle.as_bytes());
        for addr in [Some(seen), other] {
            let (ip, port) = match addr {
                Some(SocketAddr::V4(addr)) => (addr.ip().to_ipv6_mapped(), addr.port()),
                Some(SocketAddr::V6(addr)) => (*addr.ip(), addr.port()),
                None => (Ipv6Addr::UNSPECIFIED, 0),
            };
            body.extend(ip.octets());
            body.extend(port.to_be_bytes());
        }
        seal(&body, key)
    }

    /// A packet that says that a handle is not bound from there.
    #[must_use]
    pub fn unbound(handle: Handle) -> [u8; 17] {
        let mut packet = [0; 17];
        for (to, from) in packet.iter_mut().skip(NOTICE.len()).zip([UNBOUND].iter().chain(handle.as_bytes()))
        {
            *to = *from;
        }
        packet
    }

    /// A packet that turns a connection to a hub's TLS port into packets for the hub.
    #[must_use]
    pub fn hub() -> [u8; 9] {
        let mut packet = [0; 9];
        if let Some(last) = packet.last_mut() {
            *last = HUB;
        }
        packet
    }

    /// Reads a notice, which is what follows the eight zeros. `key_of` yields the key of a ticket, at the relay from its own
    /// key; an end knows one key and needs no ticket.
    ///
    /// # Errors
    /// [`NoticeFault`]. A `Bind` or `Bound` that is returned has proved its key.
    pub fn read(notice: &[u8], key_of: impl FnOnce(Option<&Ticket>) -> LegKey) -> Result<Self, NoticeFault> {
        let layout = NoticeFault::Layout { found: notice.len() };
        let (number, _) = notice.split_first().ok_or(layout)?;
        match (*number, notice.len()) {
            (BIND, BIND_BYTES) => read_bind(notice, key_of),
            (BOUND, BOUND_BYTES) => read_bound(notice, &key_of(None)),
            (UNBOUND, UNBOUND_BYTES) => {
                let handle = Handle::new(at(notice, 1)?).ok_or(NoticeFault::Field)?;
                Ok(Self::Unbound { handle })
            }
            (HUB, 1) => Ok(Self::Hub),
            _ => Err(layout),
        }
    }
}

fn read_bind(notice: &[u8], key_of: impl FnOnce(Option<&Ticket>) -> LegKey) -> Result<Notice, NoticeFault> {
    let end = match at::<1>(notice, 17)? {
        [0] => End::Agent,
        [1] => End::Client,
        _ => return Err(NoticeFault::Field),
    };
    if at::<PADDING>(notice, 34)? != [0; PADDING] {
        return Err(NoticeFault::Field);
    }
    let until = UnixTime::from_secs(u64::from_be_bytes(at(notice, 18)?));
    let ticket = Ticket { meeting: MeetingId(at(notice, 1)?), end, until };
    verify(notice, &key_of(Some(&ticket)))?;
    Ok(Notice::Bind { ticket, stamp: u64::from_be_bytes(at(notice, 26)?) })
}

fn read_bound(notice: &[u8], key: &LegKey) -> Result<Notice, NoticeFault> {
    let handle = Handle::new(at(notice, 9)?).ok_or(NoticeFault::Field)?;
    let addr = |from: usize| -> Result<SocketAddr, NoticeFault> {
        let ip = Ipv6Addr::from(at::<16>(notice, from)?).to_canonical();
        Ok(SocketAddr::new(ip, u16::from_be_bytes(at(notice, from + 16)?)))
    };
    let (seen, other) = (addr(17)?, addr(35)?);
    let other = match (other.ip() == Ipv6Addr::UNSPECIFIED, other.port()) {
        (true, 0) => None,
        (true, _) | (false, 0) => return Err(NoticeFault::Field),
        (false, _) => Some(other),
    };
    verify(notice, key)?;
    Ok(Notice::Bound { stamp: u64::from_be_bytes(at(notice, 1)?), handle, seen, other })
}

/// The packet of a notice: zeros, the body, the MAC over the body.
fn seal(body: &[u8], key: &LegKey) -> Vec<u8> {
    [&NOTICE[..], body, &key.sign(&[body])].concat()
}

fn verify(notice: &[u8], key: &LegKey) -> Result<(), NoticeFault> {
    let split = notice.len().saturating_sub(MAC_BYTES);
    let (body, tag) = notice.split_at_checked(split).ok_or(NoticeFault::Field)?;
    if key.verifies(body, tag) { Ok(()) } else { Err(NoticeFault::Mac) }
}

fn at<const N: usize>(notice: &[u8], from: usize) -> Result<[u8; N], NoticeFault> {
    let layout = NoticeFault::Layout { found: notice.len() };
    notice.get(from..).and_then(|rest| rest.first_chunk()).copied().ok_or(layout)
}

const BIND: u8 = 1;
const BOUND: u8 = 2;
const UNBOUND: u8 = 3;
const HUB: u8 = 4;
/// Makes `bind` longer than `bound`, which answers it to whoever sent it.
const PADDING: usize = 22;
const BIND_BYTES: usize = 72;
const BOUND_BYTES: usize = 69;
const UNBOUND_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::super::{Packet, RelayKey, split};
    use super::*;

    fn leg(end: End) -> Leg {
        let ticket = Ticket { meeting: MeetingId([7; 16]), end, until: UnixTime::from_secs(1_800_000_000) };
        RelayKey::new([1; 32]).leg(ticket)
    }

    fn notice(packet: &[u8]) -> &[u8] {
        match split(packet) {
            Some(Packet::Notice(notice)) => notice,
            other => panic!("{other:?}"),
        }
    }

    fn at_relay(packet: &[u8]) -> Result<Notice, NoticeFault> {
        let relay = RelayKey::new([1; 32]);
        Notice::read(notice(packet), |ticket| relay.leg_key(ticket.unwrap()))
    }

    const HANDLE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn what_an_end_binds_with_is_what_the_relay_reads() {
        for end in [End::Agent, End::Client] {
            let leg = leg(end);
            let packet = Notice::bind(&leg, 9);
            assert_eq!(packet.len(), 80);
            assert_eq!(at_relay(&packet), Ok(Notice::Bind { ticket: leg.ticket, stamp: 9 }));
        }
    }

    #[test]
    fn what_a_relay_answers_is_shorter_than_what_it_answers_and_is_what_the_end_reads() {
        let handle = Handle::new(HANDLE).unwrap();
        for (seen, other) in [
            ("192.0.2.1:4000", None),
            ("[2001:db8::1]:4000", Some("192.0.2.9:5000")),
            ("192.0.2.1:4000", Some("[2001:db8::9]:5000")),
        ] {
            let (seen, other) = (seen.parse().unwrap(), other.map(|other| other.parse().unwrap()));
            let packet = Notice::bound(&leg(End::Agent).key, 9, handle, seen, other);
            assert!(packet.len() < Notice::bind(&leg(End::Agent), 9).len());
            let read = |end| Notice::read(notice(&packet), |_| leg(end).key);
            assert_eq!(read(End::Agent), Ok(Notice::Bound { stamp: 9, handle, seen, other }));
            assert_eq!(read(End::Client), Err(NoticeFault::Mac));
        }
    }

    #[test]
    fn another_end_with_half_an_address_is_no_field() {
        let (handle, seen) = (Handle::new(HANDLE).unwrap(), "192.0.2.1:4000".parse().unwrap());
        for other in ["[::]:5000", "192.0.2.9:0"] {
            let other = Some(other.parse().unwrap());
            let packet = Notice::bound(&leg(End::Agent).key, 9, handle, seen, other);
            assert_eq!(Notice::read(notice(&packet), |_| leg(End::Agent).key), Err(NoticeFault::Field));
        }
    }

    #[test]
    fn every_changed_byte_of_a_bind_is_refused() {
        let packet = Notice::bind(&leg(End::Agent), 9);
        for index in 8..packet.len() {
            for bit in 0..8 {
                let mut changed = packet.clone();
                changed[index] ^= 1 << bit;
                assert!(at_relay(&changed).is_err(), "byte {index}, bit {bit}");
            }
        }
        assert_eq!(at_relay(&packet[..79]), Err(NoticeFault::Layout { found: 71 }));
        assert_eq!(at_relay(&[packet.as_slice(), &[0]].concat()), Err(NoticeFault::Layout { found: 73 }));
    }

    #[test]
    fn notices_without_a_key_are_read_as_they_are() {
        let handle = Handle::new(HANDLE).unwrap();
        assert_eq!(at_relay(&Notice::unbound(handle)), Ok(Notice::Unbound { handle }));
        assert_eq!(at_relay(&Notice::hub()), Ok(Notice::Hub));
        let mut none = Notice::unbound(handle);
        none[9..].fill(0);
        assert_eq!(at_relay(&none), Err(NoticeFault::Field));
        assert_eq!(Notice::read(&[], |_| leg(End::Agent).key), Err(NoticeFault::Layout { found: 0 }));
    }
}
