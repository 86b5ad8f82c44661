//! What the kernel knows of its neighbours, IPv4 and IPv6, over netlink (RFC 3549; linux/neighbour.h). Takes no rights and sends nothing to
//! any network.
//!
//! `/proc/net/arp` would have IPv4 alone. The kernel answers a dump while it is asked, so nothing waits here.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, recv, sendto};

use postern_protocol::gate::discovery::Neighbour;
use postern_protocol::policy::Destination;
use postern_protocol::wire::discovery::{Mac, Presence};

use crate::network;
use crate::tunnel::Guard;

/// Neighbours that a destination contains and the device dials, on the machine's interface where one is configured.
pub(super) async fn known(guard: &Guard, destinations: &[Destination]) -> Vec<Neighbour> {
    let all = read(guard.interface()).unwrap_or_else(|error| {
        tracing::debug!(%error, "the kernel does not tell its neighbours");
        Vec::new()
    });
    let mut known = Vec::new();
    for (number, neighbour) in all.into_iter().enumerate() {
        let ip = neighbour.ip;
        if destinations.iter().any(|one| one.net.contains(ip)) && guard.allows((ip, 0).into()) {
            known.push(neighbour);
        }
        // The guard asks for routes; a large table must not hold up the others.
        if number % 32 == 31 {
            tokio::task::yield_now().await;
        }
    }
    known
}

fn read(interface: Option<&str>) -> io::Result<Vec<Neighbour>> {
    let socket = network::open(0)?;
    let interface = interface.map(|name| name_to_index(&socket, name)).transpose()?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = vec![0; 32 * 1024];
    let mut neighbours = Vec::new();
    for _ in 0..MOST {
        let bytes = match recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((_, count)) => buffer.get(..count).unwrap_or_default(),
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        };
        if !parse(bytes, interface, &mut neighbours) {
            break;
        }
    }
    Ok(neighbours)
}

/// `struct nlmsghdr` with `RTM_GETNEIGH`, and a `struct ndmsg` for every family and interface.
fn request() -> Vec<u8> {
    let mut request = 28_u32.to_ne_bytes().to_vec();
    request.extend(RTM_GETNEIGH.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.resize(HEADER + NDMSG, 0);
    request
}

/// Reads one answer of the kernel. False where it was the last.
fn parse(mut bytes: &[u8], interface: Option<u32>, neighbours: &mut Vec<Neighbour>) -> bool {
    while let Some(length) = number(bytes, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= HEADER) else {
            return false;
        };
        match short(message, 4) {
            Some(RTM_NEWNEIGH) => neighbours.extend(neighbour(message, interface)),
            Some(NLMSG_DONE | NLMSG_ERROR) | None => return false,
            Some(_) => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

/// Reads a `struct ndmsg` and its attributes.
fn neighbour(message: &[u8], interface: Option<u32>) -> Option<Neighbour> {
    let at = number(message, HEADER + 4)?;
    if interface.is_some_and(|interface| interface != at) {
        return None;
    }
    let presence = match short(message, HEADER + 8)? {
        NUD_REACHABLE => Some(Presence::Reachable),
        NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT => Some(Presence::Stale),
        NUD_FAILED => None,
        // Not asked to the end yet, or nobody's in particular.
        _ => return None,
    };
    let (mut ip, mut mac) = (None, None);
    let mut rest = message.get(HEADER + NDMSG..)?;
    while let Some(length) = short(rest, 0).map(usize::from).filter(|length| *length >= 4) {
        let value = rest.get(4..length)?;
        match short(rest, 2)? {
            NDA_DST => ip = address(value),
            NDA_LLADDR => mac = value.try_into().ok().map(Mac),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Neighbour { ip: ip?, mac, presence })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into()))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// Answers that are read: more than a table of the default size needs.
const MOST: usize = 64;
const HEADER: usize = 16;
const NDMSG: usize = 12;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_FAILED: u16 = 0x20;
const NUD_PERMANENT: u16 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of the kernel about one neighbour.
    fn message(interface: u32, state: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 0];
        body.extend(interface.to_ne_bytes());
        body.extend(state.to_ne_bytes());
        body.extend([0, 1]);
        for (kind, value) in attributes {
            body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        framed(RTM_NEWNEIGH, &body)
    }

    fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(body);
        message
    }

    #[test]
    fn neighbours_of_both_families_are_read_with_address_state_and_interface() {
        let (mac, v6) = ([2, 0, 0, 0, 0, 7], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        let all = [
            message(3, NUD_REACHABLE, &[(NDA_DST, &[10, 0, 0, 7]), (NDA_LLADDR, &mac), (3, &[0; 16])]),
            message(4, NUD_STALE, &[(NDA_DST, &v6), (NDA_LLADDR, &mac)]),
            message(3, NUD_FAILED, &[(NDA_DST, &[10, 0, 0, 8])]),
            // Being asked, and an address of many.
            message(3, 0x01, &[(NDA_DST, &[10, 0, 0, 9])]),
            message(3, 0x40, &[(NDA_DST, &[224, 0, 0, 1])]),
            framed(NLMSG_DONE, &[0; 4]),
        ];
        let read = |interface| {
            let mut found = Vec::new();
            assert!(!parse(&all.concat(), interface, &mut found), "it was the last answer");
            found
        };
        let of = |ip: &str, mac: Option<[u8; 6]>, presence| Neighbour {
            ip: ip.parse().unwrap(),
            mac: mac.map(Mac),
            presence,
        };
        let expected = [
            of("10.0.0.7", Some(mac), Some(Presence::Reachable)),
            of("fd00::9", Some(mac), Some(Presence::Stale)),
            of("10.0.0.8", None, None),
        ];
        assert_eq!(read(None), expected);
        assert_eq!(read(Some(4)), expected[1..2]);
    }

    #[test]
    fn what_is_cut_short_is_no_neighbour_and_ends_nothing_but_itself() {
        let whole = message(3, NUD_STALE, &[(NDA_DST, &[10, 0, 0, 7])]);
        for length in 0..whole.len() {
            let mut found = Vec::new();
            parse(&whole[..length], None, &mut found);
            assert_eq!(found, [], "{length}");
        }
        let mut found = Vec::new();
        assert!(parse(&whole, None, &mut found), "more may follow");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn this_kernel_understands_the_question() {
        assert!(read(None).is_ok());
        assert!(read(Some("no-such-thing")).is_err());
    }
}
