//! The kernel's word that something has changed in the device's network: an interface, an address or a route.
//!
//! 1. [`changes`] opens a netlink socket (RFC 3549) that hears of all of them, which takes no rights.
//! 2. Whatever comes is read and not looked at: what counts is where packets leave now, and that is asked of the kernel by those who
//!    want to know. Changes come in swarms, so that one word goes out when none has come for a while.
//!
//! Where there is no such socket, nothing is ever said, and links end by their idle time as they would anyway.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio::sync::watch;

/// How often the network has changed.
pub(crate) type Changes = watch::Receiver<u64>;

/// Hears of changes for as long as it is polled; the receiver counts them.
pub(crate) fn changes() -> (Changes, impl Future<Output = ()>) {
    let (sender, changes) = watch::channel(0);
    let hearing = async move {
        let error = match listen(&sender).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        tracing::warn!(%error, "changes of the network are not heard of");
        // Who waits for changes waits on.
        sender.closed().await;
    };
    (changes, hearing)
}

async fn listen(sender: &watch::Sender<u64>) -> io::Result<std::convert::Infallible> {
    // It is read as any socket of messages is, and nothing else is done with it.
    let socket = UnixDatagram::from_std(open(GROUPS)?.into())?;
    loop {
        drain(&socket).await?;
        while tokio::time::timeout(SWARM, drain(&socket)).await.is_ok_and(|drained| drained.is_ok()) {}
        sender.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Waits for messages and reads all that are there.
async fn drain(socket: &UnixDatagram) -> io::Result<()> {
    socket.readable().await?;
    let mut buffer = [0; 4096];
    loop {
        match socket.try_recv(&mut buffer) {
            Ok(_) => {}
            // More than were kept: something has changed.
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// A netlink socket of the routing family that hears of these groups; of none, it only answers questions.
pub(crate) fn open(groups: u32) -> io::Result<OwnedFd> {
    // NETLINK_ROUTE is protocol zero, the default.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    if groups != 0 {
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    }
    Ok(socket)
}

/// Interfaces, addresses and routes, IPv4 and IPv6 (`RTMGRP_*`, linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Silence after which a swarm of changes is over.
const SWARM: Duration = Duration::from_millis(200);
