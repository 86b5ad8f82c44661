//! A UDP association (RFC 1928 section 7): one local socket, and a flow for each place that the program sends to.
//!
//! 1. The socket is at the address at which the program asked. Datagrams count that come from the address of its connection, and
//!    from the port that it named or else the first that was used: other users of this computer are not the program.
//! 2. The first datagram to a place opens a flow. What comes while it opens waits, up to [`WAITING`] datagrams.
//! 3. Where the device refuses, that is said at the terminal, and further datagrams to the place are dropped for a while.
//! 4. Messages travel as QUIC datagrams, or as frames on the flow's stream where they fit none.
//! 5. Answers go to the program with the machine's address before them.
//! 6. The association ends with the connection that asked for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use postern_protocol::policy::Protocol;

use super::super::gateway::Gateway;
use super::super::messages::{self, Taker};
use super::socks::{self, Datagram};
use crate::args::HostPort;
use crate::problem::Problem;

/// Serves an association until the program hangs up.
pub(super) async fn associate(
    mut control: TcpStream,
    port: u16,
    gateway: &Arc<Gateway>,
) -> Result<(), Problem> {
    let (Ok(here), Ok(peer)) = (control.local_addr(), control.peer_addr()) else { return Ok(()) };
    let bound = UdpSocket::bind((here.ip(), 0)).await.and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (addr, socket) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            let _hung_up = control.write_all(&socks::refuse(GENERAL_FAILURE)).await;
            return Err(Problem::listener(SocketAddr::new(here.ip(), 0), &error));
        }
    };
    if control.write_all(&socks::answer(socks::GRANTED, addr)).await.is_err() {
        return Ok(());
    }
    let shared =
        Arc::new(Shared { socket, program: Program::new(peer.ip(), port), gateway: Arc::clone(gateway) });
    let mut ignored = [0; 64];
    let hung_up = async { while control.read(&mut ignored).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = hung_up => {}
        () = Association { shared, places: Vec::new(), tasks: JoinSet::new() }.run() => {}
    }
    Ok(())
}

/// What the flows of an association share.
#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    program: Program,
    gateway: Arc<Gateway>,
}

impl Shared {
    /// Gives the program what a machine sent.
    async fn hand_over(&self, from: SocketAddr, data: &[u8]) {
        if let Some(program) = self.program.addr() {
            let _lost = self.socket.send_to(&Datagram::write(from, data), program).await;
        }
    }
}

/// Who may send, and gets the answers.
#[derive(Debug)]
struct Program {
    ip: IpAddr,
    port: OnceLock<u16>,
}

impl Program {
    fn new(ip: IpAddr, port: u16) -> Self {
        let named = OnceLock::new();
        if port != 0 {
            let _first = named.set(port);
        }
        Self { ip, port: named }
    }

    /// Whether a datagram is the program's. The first one says which port it has, where it did not say that itself.
    fn sent(&self, from: SocketAddr) -> bool {
        from.ip() == self.ip && *self.port.get_or_init(|| from.port()) == from.port()
    }

    fn addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip, *self.port.get()?))
    }
}

#[derive(Debug)]
struct Association {
    shared: Arc<Shared>,
    places: Vec<Place>,
    tasks: JoinSet<()>,
}

/// The way of datagrams to one place.
#[derive(Debug)]
struct Place {
    to: HostPort,
    datagrams: mpsc::Sender<Vec<u8>>,
    used: Instant,
}

impl Association {
    async fn run(mut self) {
        let mut buffer = vec![0; LARGEST];
        loop {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                received = shared.socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) if shared.program.sent(from) => {
                        if let Some(datagram) = Datagram::parse(buffer.get(..length).unwrap_or_default()) {
                            self.pass(datagram);
                        }
                    }
                    // Somebody else's, or an ICMP error for a datagram that the program did not take.
                    Ok(_) | Err(_) => {}
                },
                Some(_ended) = self.tasks.join_next() => {
                    self.places.retain(|place| !place.datagrams.is_closed());
                }
            }
        }
    }

    fn pass(&mut self, Datagram { to, data }: Datagram<'_>) {
        let place = match self.places.iter().position(|place| place.to == to) {
            Some(index) => self.places.swap_remove(index),
            None => self.begin(to),
        };
        // What does not fit is lost, as on any narrow way.
        let _lost = place.datagrams.try_send(data.to_vec());
        self.places.push(Place { used: Instant::now(), ..place });
    }

    fn begin(&mut self, to: HostPort) -> Place {
        if self.places.len() >= FLOWS {
            let oldest = self.places.iter().enumerate().min_by_key(|(_, place)| place.used);
            if let Some((index, _)) = oldest {
                self.places.swap_remove(index);
            }
        }
        let (datagrams, coming) = mpsc::channel(WAITING);
        self.tasks.spawn(carry(Arc::clone(&self.shared), to.clone(), coming));
        Place { to, datagrams, used: Instant::now() }
    }
}

/// One flow, from its first datagram until the device ends it or the association forgets it.
async fn carry(shared: Arc<Shared>, to: HostPort, mut coming: mpsc::Receiver<Vec<u8>>) {
    match shared.gateway.flow(to.flow(Protocol::Udp)).await {
        Ok((_vpn, flow)) => {
            let program = Answers { shared: &shared, from: SocketAddr::new(flow.ip, to.port) };
            messages::carry(flow, &mut coming, &program).await;
        }
        Err(none) => {
            let teller = shared.gateway.teller();
            teller.tell(&none.problem(teller.device()).about(&format!("udp {to}")));
            // While the channel is there, what is sent to this place is dropped and the device is not asked.
            tokio::time::sleep(REFUSED_FOR).await;
        }
    }
}

/// The way of answers from one place.
struct Answers<'a> {
    shared: &'a Shared,
    from: SocketAddr,
}

impl Taker for Answers<'_> {
    async fn take(&self, message: &[u8]) {
        self.shared.hand_over(self.from, message).await;
    }
}

/// No UDP datagram is larger.
const LARGEST: usize = 65_535;
/// Datagrams that wait for a flow to open, or for a narrow way.
const WAITING: usize = 64;
/// Places that one association sends to at the same time; the one that was used longest ago makes room.
const FLOWS: usize = 64;
/// How long a place that was refused is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(5);
const GENERAL_FAILURE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_count_from_the_programs_own_address_and_port_alone() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let named = Program::new("127.0.0.1".parse().unwrap(), 4000);
        assert!(named.sent(at("127.0.0.1:4000")));
        assert!(!named.sent(at("127.0.0.1:4001")));
        assert!(!named.sent(at("127.0.0.2:4000")));
        let first = Program::new("127.0.0.1".parse().unwrap(), 0);
        assert_eq!(first.addr(), None);
        assert!(!first.sent(at("127.0.0.2:5000")));
        assert!(first.sent(at("127.0.0.1:5000")));
        assert!(!first.sent(at("127.0.0.1:5001")));
        assert_eq!(first.addr(), Some(at("127.0.0.1:5000")));
    }
}
