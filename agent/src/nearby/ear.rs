//! Waits on one network for questions about this device, and answers them.
//!
//! A socket for each network and family is bound to the group's address: the kernel hands it nothing that was sent to this device alone,
//! and nothing of another network. Other responders of this device go on beside it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use postern_protocol::trust::PublicKey;
use postern_protocol::wire::nearby::{Asker, Sign};

use super::Nearby;
use super::networks::Network;
use crate::identity::DeviceKeys;

/// Waits on a network from now on, where the gate is reached there.
pub(super) fn on(network: &Network, nearby: &Nearby, ears: &mut JoinSet<()>) {
    for group in [IpAddr::V4(V4), IpAddr::V6(V6)] {
        let hears = |net: &&IpNet| net.addr().is_ipv4() == group.is_ipv4();
        let own: Vec<IpNet> = network.addresses.iter().filter(hears).copied().take(MOST_ADDRESSES).collect();
        // An IPv6 wildcard takes IPv4 as well.
        if own.is_empty() || (group.is_ipv6() && nearby.listening.is_ipv4()) {
            continue;
        }
        match open(group, network.index, &own) {
            Ok(socket) => {
                let (group, port) = (group_of(group, network.index), nearby.listening.port());
                let keys = Arc::clone(&nearby.keys);
                ears.spawn(Ear { socket, group, own, port, keys, sign: None }.listen());
            }
            // A network without multicast, for one.
            Err(error) => tracing::debug!(interface = network.name, %error, "nobody finds this device there"),
        }
    }
}

struct Ear {
    socket: UdpSocket,
    group: SocketAddr,
    own: Vec<IpNet>,
    port: u16,
    keys: Arc<DeviceKeys>,
    /// Of the key of this moment.
    sign: Option<(PublicKey, Sign)>,
}

impl Ear {
    async fn listen(mut self) {
        let (mut told, mut said) = (Pace::new(TOLD), Pace::new(SAID));
        let mut buffer = vec![0; MESSAGE_BYTES];
        loop {
            let (length, from) = match self.socket.recv_from(&mut buffer).await {
                Ok(heard) => heard,
                Err(error) => {
                    tracing::debug!(%error, "a network is not heard for a moment");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let message = buffer.get(..length).unwrap_or_default();
            // Somebody elsewhere, or somebody who claims to be, gets no answer: it could be meant for a third.
            if !self.is_neighbour(from.ip()) {
                continue;
            }
            let ips: Vec<IpAddr> = self.own.iter().map(IpNet::addr).collect();
            let port = self.port;
            let sign = self.sign();
            let Some(asked) = sign.heard(message) else { continue };
            let asker = if from.port() == PORT { Asker::Resolver } else { Asker::Once };
            let answer = sign.answer(asked, asker, port, &ips);
            let alone = asker == Asker::Once || asked.unicast;
            let (to, pace) = if alone { (from, &mut told) } else { (self.group, &mut said) };
            if pace.admits(Instant::now())
                && let Err(error) = self.socket.send_to(&answer, to).await
            {
                tracing::debug!(%error, "an answer to a neighbour was not sent");
            }
        }
    }

    fn sign(&mut self) -> &Sign {
        let key = self.keys.public();
        let known = self.sign.take().filter(|(of, _)| *of == key);
        &self.sign.insert(known.unwrap_or_else(|| (key, Sign::of(&key)))).1
    }

    fn is_neighbour(&self, ip: IpAddr) -> bool {
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        is_link_local || self.own.iter().any(|net| net.contains(&ip))
    }
}

/// Lets so many answers of a second pass.
#[derive(Debug)]
struct Pace {
    most: u32,
    began: Option<Instant>,
    passed: u32,
}

impl Pace {
    const fn new(most: u32) -> Self {
        Self { most, began: None, passed: 0 }
    }

    fn admits(&mut self, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1)) {
            (self.began, self.passed) = (Some(now), 0);
        }
        self.passed = self.passed.saturating_add(1);
        self.passed <= self.most
    }
}

fn open(group: IpAddr, index: u32, own: &[IpNet]) -> io::Result<UdpSocket> {
    let at = group_of(group, index);
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    match group {
        IpAddr::V4(group) => {
            socket.bind(&at.into())?;
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
            if let Some(IpAddr::V4(own)) = own.first().map(IpNet::addr) {
                socket.set_multicast_if_v4(&own)?;
            }
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.set_ttl_v4(HOPS)?;
        }
        IpAddr::V6(group) => {
            socket.set_only_v6(true)?;
            // To a group of one link, which binds it to that.
            socket.bind(&at.into())?;
            socket.join_multicast_v6(&group, index)?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.set_unicast_hops_v6(HOPS)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

const fn group_of(group: IpAddr, index: u32) -> SocketAddr {
    match group {
        IpAddr::V4(_) => SocketAddr::new(group, PORT),
        IpAddr::V6(group) => SocketAddr::V6(SocketAddrV6::new(group, PORT, 0, index)),
    }
}

/// RFC 6762 section 3, and the hops of section 11.
const V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
const HOPS: u32 = 255;
/// A question has less.
const MESSAGE_BYTES: usize = 1500;
/// Own addresses that are said.
const MOST_ADDRESSES: usize = 4;
/// Answers in a second to those who ask, each to who asked.
const TOLD: u32 = 20;
/// Answers in a second to the whole network (RFC 6762 section 6).
const SAID: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_answers_of_a_second_pass_and_the_next_second_begins_anew() {
        let (began, mut pace) = (Instant::now(), Pace::new(2));
        let admitted = |pace: &mut Pace, ms| pace.admits(began + Duration::from_millis(ms));
        assert_eq!([0, 1, 2, 999].map(|ms| admitted(&mut pace, ms)), [true, true, false, false]);
        assert_eq!([1000, 1001, 1002].map(|ms| admitted(&mut pace, ms)), [true, true, false]);
    }
}
