//! Looks for a device on the networks that this computer is on, by multicast DNS (RFC 6762).
//!
//! 1. Each network is asked three times within three seconds where the device with this key is ([`Sign`]).
//! 2. Whoever answers is dialled where the answer came from, with the key pinned as always. The first that proves it wins.
//!
//! An answer is nobody's word: who lies is dialled in vain, at no address but their own, and at most eight are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use postern_protocol::trust::PublicKey;
use postern_protocol::wire::nearby::Sign;

use crate::dial::{self, Call, Dialled, any};

/// Finds and dials a device; none where nobody proves its key.
pub(crate) async fn find(call: &Call) -> Option<Dialled> {
    let mut answers = Search::begin(call.expected);
    let mut attempts = JoinSet::new();
    let mut is_over = false;
    loop {
        tokio::select! {
            answer = answers.next(), if !is_over => match answer {
                Some(addr) => {
                    let call = call.clone();
                    attempts.spawn(async move { dial::dial(&call, &[addr]).await });
                }
                None => is_over = true,
            },
            Some(attempted) = attempts.join_next() => {
                if let Ok(Ok(dialled)) = attempted {
                    return Some(dialled);
                }
            }
            else => return None,
        }
    }
}

/// Addresses from which somebody says that the device is there.
#[derive(Debug)]
pub(crate) struct Search {
    answers: mpsc::Receiver<SocketAddr>,
    seen: Vec<IpAddr>,
    _asking: JoinSet<()>,
}

impl Search {
    /// Begins to ask.
    pub(crate) fn begin(key: PublicKey) -> Self {
        let (said, answers) = mpsc::channel(MOST);
        let mut asking = JoinSet::new();
        let sign = Sign::of(&key);
        for (socket, group) in sockets() {
            let (said, sign) = (said.clone(), sign.clone());
            asking.spawn(async move {
                // A network that takes no questions has no answers.
                let _over = ask(&socket, group, &sign, &said).await;
            });
        }
        Self { answers, seen: Vec::new(), _asking: asking }
    }

    /// The next address, one for each neighbour who answers; none when the time is over, or there were too many. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<SocketAddr> {
        while self.seen.len() < MOST {
            let answer = self.answers.recv().await?;
            // Who answers often is one neighbour all the same, and takes no place of another.
            if !self.seen.contains(&answer.ip()) {
                self.seen.push(answer.ip());
                return Some(answer);
            }
        }
        None
    }
}

async fn ask(
    socket: &UdpSocket,
    group: SocketAddr,
    sign: &Sign,
    said: &mpsc::Sender<SocketAddr>,
) -> io::Result<()> {
    // Without randomness an answer is as good as with it: it proves nothing.
    let id = getrandom::u32().map_or(1, |random| (random & 0xffff) as u16);
    let question = sign.question(id);
    let mut buffer = [0; MESSAGE_BYTES];
    for _ in 0..TIMES {
        socket.send_to(&question, group).await?;
        let until = Instant::now() + PAUSE;
        while let Ok(heard) = tokio::time::timeout_at(until, socket.recv_from(&mut buffer)).await {
            // A port that is closed is told as an error of the next call.
            let Ok((length, from)) = heard else { continue };
            let message = buffer.get(..length).unwrap_or_default();
            if let Some(port) = sign.found(message, id).filter(|_| from.port() == group.port()) {
                let mut at = from;
                at.set_port(port);
                if said.send(at).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// A socket for each network and family, and whom to ask there.
fn sockets() -> Vec<(UdpSocket, SocketAddr)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut asked = Vec::new();
    let mut sockets = Vec::new();
    for interface in interfaces.iter().filter(|one| !one.is_loopback() && !one.is_p2p()) {
        let ip = interface.ip();
        // Of IPv6 what is on the link: every network has such an address, and one is enough.
        let (Some(index), true) = (interface.index, ip.is_ipv4() || interface.is_link_local()) else {
            continue;
        };
        if asked.contains(&(index, ip.is_ipv4())) || sockets.len() >= MOST_NETWORKS {
            continue;
        }
        if let Ok(socket) = open(ip, index) {
            asked.push((index, ip.is_ipv4()));
            sockets.push((socket, group(ip, index)));
        }
    }
    sockets
}

fn open(own: IpAddr, index: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(any(own)), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match own {
        IpAddr::V4(ip) => {
            socket.bind(&SocketAddr::from((ip, 0)).into())?;
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(HOPS)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.bind(&any(own).into())?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(HOPS)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

const fn group(own: IpAddr, index: u32) -> SocketAddr {
    match own {
        IpAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353),
        IpAddr::V6(_) => {
            let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
            SocketAddr::V6(SocketAddrV6::new(all, 5353, 0, index))
        }
    }
}

/// Addresses that are dialled for one device.
const MOST: usize = 8;
const MOST_NETWORKS: usize = 16;
const MESSAGE_BYTES: usize = 1500;
/// A question may be lost, above all on Wi-Fi.
const TIMES: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// RFC 6762 section 11.
const HOPS: u32 = 255;
