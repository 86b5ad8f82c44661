//! Addresses and routes of an interface, over netlink (RFC 3549; linux/rtnetlink.h).
//!
//! The messages are built by pure functions; [`Netlink`] sends them and reads the kernel's answer to each.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// A socket to the kernel.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives an interface an address.
    AddAddress(IpAddr),
    /// Routes a network over an interface; one that is there already is an error.
    AddRoute(IpNet),
    /// Takes such a route away.
    RemoveRoute(IpNet),
}

impl Netlink {
    /// Opens a socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol zero, the default.
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?))
    }

    /// Changes an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn change(&self, interface: u32, change: Change) -> io::Result<()> {
        let message = message(interface, change);
        sendto(&self.0, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut buffer = [0; 8192];
        let (_, count) = recv(&self.0, &mut buffer, RecvFlags::empty())?;
        match answer(buffer.get(..count).unwrap_or_default()) {
            Some(0) => Ok(()),
            Some(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A message that asks for a change and for an answer.
#[must_use]
pub fn message(interface: u32, change: Change) -> Vec<u8> {
    let (kind, flags, body) = match change {
        Change::AddAddress(ip) => (RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address(interface, ip)),
        Change::AddRoute(net) => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route(interface, net)),
        Change::RemoveRoute(net) => (RTM_DELROUTE, 0, route(interface, net)),
    };
    let length = u32::try_from(HEADER.saturating_add(body.len())).unwrap_or_default();
    let mut message = Vec::with_capacity(HEADER.saturating_add(body.len()));
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    // Sequence number and port: one question at a time, on a socket of its own.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The error in the kernel's answer, zero for none; nothing where it is no answer.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<i32> {
    let kind = bytes.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    let error = bytes.get(HEADER..HEADER + 4)?.try_into().ok().map(i32::from_ne_bytes)?;
    (kind == NLMSG_ERROR).then_some(error)
}

/// `struct ifaddrmsg` and its attributes.
fn address(interface: u32, ip: IpAddr) -> Vec<u8> {
    let net = IpNet::from(ip);
    // Nobody else is on the adapter, who could have the same address.
    let mut body = vec![family(ip), net.prefix_len(), IFA_F_NODAD, 0];
    body.extend(interface.to_ne_bytes());
    attribute(&mut body, IFA_ADDRESS, &octets(ip));
    attribute(&mut body, IFA_LOCAL, &octets(ip));
    body
}

/// `struct rtmsg` and its attributes.
fn route(interface: u32, net: IpNet) -> Vec<u8> {
    let scope = if net.addr().is_ipv4() { RT_SCOPE_LINK } else { 0 };
    let head = [family(net.addr()), net.prefix_len(), 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST];
    let mut body = head.to_vec();
    body.extend([0; 4]);
    attribute(&mut body, RTA_DST, &octets(net.network()));
    attribute(&mut body, RTA_OIF, &interface.to_ne_bytes());
    // A network of the same size that this computer joins later goes first.
    attribute(&mut body, RTA_PRIORITY, &METRIC.to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or_default();
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

const fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
/// Network managers take 100 to 2000 and more.
const METRIC: u32 = 30_000;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_what_the_kernel_expects() {
        let expected = [
            52, 0, 0, 0, 24, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, // header
            2, 24, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0, // rtmsg
            8, 0, 1, 0, 192, 168, 0, 0, // RTA_DST
            8, 0, 4, 0, 7, 0, 0, 0, // RTA_OIF
            8, 0, 6, 0, 0x30, 0x75, 0, 0, // RTA_PRIORITY
        ];
        assert_eq!(message(7, Change::AddRoute("192.168.0.0/24".parse().unwrap())), expected);
        let removal = message(7, Change::RemoveRoute("192.168.0.0/24".parse().unwrap()));
        assert_eq!((removal[4], removal[6], removal[7]), (25, 5, 0));
        assert_eq!(removal[16..], expected[16..]);
    }

    #[test]
    fn an_address_is_what_the_kernel_expects() {
        let expected = [
            40, 0, 0, 0, 20, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, // header
            2, 32, 2, 0, 7, 0, 0, 0, // ifaddrmsg
            8, 0, 1, 0, 100, 127, 0, 1, 8, 0, 2, 0, 100, 127, 0, 1, // IFA_ADDRESS, IFA_LOCAL
        ];
        assert_eq!(message(7, Change::AddAddress("100.127.0.1".parse().unwrap())), expected);
    }

    #[test]
    fn only_an_answer_is_an_answer() {
        let mut acknowledged = vec![36, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(answer(&acknowledged), Some(0));
        acknowledged[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(answer(&acknowledged), Some(-17));
        acknowledged[4] = 3;
        assert_eq!(answer(&acknowledged), None);
        assert_eq!(answer(&acknowledged[..19]), None);
    }
}
