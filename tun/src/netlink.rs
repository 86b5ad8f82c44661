//! Address, size and end of an interface, over netlink (RFC 3549; linux/rtnetlink.h).
//!
//! The messages are built by a pure function; [`Netlink`] sends them and reads the kernel's answer to each.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// A socket to the kernel.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

/// What is done to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Gives it an address of a network, which is routed over it.
    Address(Ipv4Addr, u8),
    /// Lets packets of this size through.
    Up { mtu: u16 },
    /// Removes it.
    Remove,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol zero, the default.
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?))
    }

    pub(crate) fn change(&self, interface: u32, change: Change) -> io::Result<()> {
        let message = message(interface, change);
        sendto(&self.0, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut buffer = [0; 4096];
        let (_, count) = recv(&self.0, &mut buffer, RecvFlags::empty())?;
        match answer(buffer.get(..count).unwrap_or_default()) {
            Some(0) => Ok(()),
            Some(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A message that asks for a change and for an answer.
fn message(interface: u32, change: Change) -> Vec<u8> {
    let (kind, flags, body) = match change {
        Change::Address(ip, prefix) => {
            let mut body = vec![AF_INET, prefix, 0, 0];
            body.extend(interface.to_ne_bytes());
            attribute(&mut body, IFA_ADDRESS, &ip.octets());
            attribute(&mut body, IFA_LOCAL, &ip.octets());
            (RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)
        }
        Change::Up { mtu } => {
            let mut body = link(interface, IFF_UP);
            attribute(&mut body, IFLA_MTU, &u32::from(mtu).to_ne_bytes());
            (RTM_NEWLINK, 0, body)
        }
        Change::Remove => (RTM_DELLINK, 0, link(interface, 0)),
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

/// `struct ifinfomsg`, with flags that are set.
fn link(interface: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(interface.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or_default();
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The error in the kernel's answer, zero for none; nothing where it is no answer.
fn answer(bytes: &[u8]) -> Option<i32> {
    let kind = bytes.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    let error = bytes.get(HEADER..HEADER + 4)?.try_into().ok().map(i32::from_ne_bytes)?;
    (kind == NLMSG_ERROR).then_some(error)
}

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFLA_MTU: u16 = 4;

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_what_the_kernel_expects() {
        let removal = [
            32, 0, 0, 0, 17, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, // header
            0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ifinfomsg
        ];
        assert_eq!(message(7, Change::Remove), removal);
        let up = [
            40, 0, 0, 0, 16, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, // header
            0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // ifinfomsg
            8, 0, 4, 0, 0, 5, 0, 0, // IFLA_MTU
        ];
        assert_eq!(message(7, Change::Up { mtu: 1280 }), up);
        let address = [
            40, 0, 0, 0, 20, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, // header
            2, 24, 0, 0, 7, 0, 0, 0, // ifaddrmsg
            8, 0, 1, 0, 100, 96, 0, 1, 8, 0, 2, 0, 100, 96, 0, 1, // IFA_ADDRESS, IFA_LOCAL
        ];
        assert_eq!(message(7, Change::Address(Ipv4Addr::new(100, 96, 0, 1), 24)), address);
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
