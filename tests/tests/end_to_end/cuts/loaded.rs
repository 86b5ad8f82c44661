//! Five tunnels of one person, each with as much as it can carry, and how they end.
//!
//! 1. [`Loaded::open`] opens a screen, a page, a WebSocket and two VPNs, one for a flow of TCP and one for datagrams, and waits until
//!    each carries.
//! 2. [`Loaded::goes_on`] says that all of them still do.
//! 3. [`Loaded::ended`] compares the end of each with what is promised, and what its person was told.
//! 4. Its programs run on until [`Cut::leave`]: what they had open must stay cut, whatever comes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postern_protocol::policy::Reason;
use postern_tests::world::flow::Flow;
use postern_tests::world::probe::within;
use postern_tests::world::{DEVICE, Line, Mishap, Person, Running, Session, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::Machines;
use crate::end_to_end::stage::Outcome;

/// Five tunnels under load.
pub(super) struct Loaded {
    /// Screen, page and frames.
    sessions: [Session; 3],
    flows: Vec<(&'static str, Flow)>,
    vpns: Vec<Running>,
    datagrams: Listening,
}

impl Loaded {
    pub(super) async fn open(machines: &Machines, who: &Person) -> Result<Self, Mishap> {
        let (tcp, udp) = (machines.plant.source.address, machines.datagrams.address);
        let place = tcp.to_string();
        let forward = ["forward", DEVICE, &place, "--json"];
        let (screen, page, frames, (forward, near), (proxy, socks)) = tokio::try_join!(
            who.connect("screen"),
            who.connect("page"),
            who.connect("frames"),
            vpn(who, &forward, tcp),
            vpn(who, &["proxy", DEVICE, "--listen", "0", "--json"], tcp),
        )?;
        let datagrams = Listening::start(socks, udp).await?;
        let mut flows = Vec::new();
        for (kind, flow) in [
            ("screen", Flow::download(&screen).await?),
            ("page", Flow::download(&page).await?),
            ("frames", Flow::download(&frames).await?),
            ("flow of a VPN", Flow::download(near).await?),
        ] {
            flow.receives(ENOUGH).await?;
            flows.push((kind, flow));
        }
        datagrams.hears().await?;
        Ok(Self { sessions: [screen, page, frames], flows, vpns: vec![forward, proxy], datagrams })
    }

    /// Goes on, all of it.
    pub(super) async fn goes_on(&self) -> Outcome {
        for (_, flow) in &self.flows {
            flow.receives(ENOUGH).await?;
        }
        self.datagrams.hears().await
    }

    /// Every stream has ended by then, and its person was told.
    pub(super) async fn ended(self, because: &Because<'_>, active: Instant) -> Result<Cut, Mishap> {
        let Because { what, reason, limit, vpns_end } = *because;
        let mut says_so_itself = false;
        for (kind, flow) in self.flows {
            let end = flow.end().await?;
            let late = end.last_byte.saturating_duration_since(active);
            // Between two frames there is room for a word to the program, which hears it in place of the person.
            says_so_itself |= String::from_utf8_lossy(&end.tail).contains(reason.word());
            eprintln!("{what}, {kind}: last byte {late:?} after it took effect");
            assert!(late <= limit, "{what}: the last byte of the {kind} came {late:?} late");
        }
        let is_told = |line: &Line| {
            line.stream == Stream::Err
                && line.text.contains(reason.sentence())
                && line.text.contains(reason.next_step())
        };
        let awaited = format!("`{}` and what to do", reason.sentence());
        let [screen, page, frames] = &self.sessions;
        for session in [screen, page].into_iter().chain((!says_so_itself).then_some(frames)) {
            let line = session.notice(reason.sentence()).await?;
            assert!(is_told(&line), "{what}: {}", line.text);
        }
        if vpns_end {
            for vpn in &self.vpns {
                vpn.line(&awaited, is_told).await?;
            }
        }
        // Silence has no moment of its own: what has come until long after the limit was the last.
        tokio::time::sleep_until((active + 2 * limit).into()).await;
        let late = self.datagrams.last().saturating_duration_since(active);
        assert!(late <= limit, "{what}: the last datagram came {late:?} late");
        Ok(Cut { sessions: self.sessions, vpns: self.vpns, _datagrams: self.datagrams })
    }

    /// Ends as its person wants it.
    pub(super) async fn close(self) -> Outcome {
        Cut { sessions: self.sessions, vpns: self.vpns, _datagrams: self.datagrams }.leave().await
    }
}

/// What was cut, with its programs.
pub(super) struct Cut {
    sessions: [Session; 3],
    vpns: Vec<Running>,
    _datagrams: Listening,
}

impl Cut {
    /// Ends in order, so that its connections leave at once: a device has a few places.
    pub(super) async fn leave(self) -> Outcome {
        for session in self.sessions {
            session.interrupt().await?;
        }
        for mut vpn in self.vpns {
            vpn.stop().await?;
        }
        Ok(())
    }
}

/// Why tunnels end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Because<'a> {
    /// In the words of whoever reads what a test prints.
    pub(super) what: &'a str,
    /// What their person is told.
    pub(super) reason: Reason,
    /// How late the last byte may be.
    pub(super) limit: Duration,
    /// Whether VPNs end, and not their flows alone.
    pub(super) vpns_end: bool,
}

/// Runs a command that opens the VPN; where it listens.
async fn vpn(who: &Person, args: &[&str], target: SocketAddr) -> Result<(Running, SocketAddr), Mishap> {
    let running = who.call(args.iter().copied()).start("postern vpn")?;
    let said = running.line("where it listens", |line| line.stream == Stream::Out).await?.text;
    let mut named = said.split('"').filter_map(|word| word.parse::<SocketAddr>().ok());
    let near = named.find(|named| *named != target);
    near.map(|near| (running, near)).ok_or_else(|| Mishap::unexpected("the listener", said, "an address"))
}

/// A machine that sends datagrams to whoever sent it one, until nobody takes them.
pub(super) struct Datagrams {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Datagrams {
    pub(super) async fn start() -> Result<Self, Mishap> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = socket.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut senders, mut word) = (JoinSet::new(), [0; 16]);
            loop {
                // What nobody took is told to the next who asks.
                let Ok((_, to)) = socket.recv_from(&mut word).await else { continue };
                let socket = Arc::clone(&socket);
                senders.spawn(async move {
                    let mut every = tokio::time::interval(Duration::from_millis(1));
                    while socket.send_to(&[7; 1000], to).await.is_ok() {
                        every.tick().await;
                    }
                });
            }
        });
        Ok(Self { address, _tasks: tasks })
    }
}

/// What comes back from [`Datagrams`] by way of SOCKS5 (RFC 1928, section 7).
struct Listening {
    last: Arc<Mutex<Instant>>,
    count: tokio::sync::watch::Receiver<u64>,
    _control: TcpStream,
    _tasks: JoinSet<()>,
}

impl Listening {
    async fn start(proxy: SocketAddr, machine: SocketAddr) -> Result<Self, Mishap> {
        let mut control = TcpStream::connect(proxy).await?;
        control.write_all(&[5, 1, 0]).await?;
        control.read_exact(&mut [0; 2]).await?;
        control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        let mut bound = [0; 10];
        within("the answer of the proxy", async { Ok(control.read_exact(&mut bound).await?) }).await?;
        let port = u16::from_be_bytes([bound[8], bound[9]]);
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect((proxy.ip(), port)).await?;
        let SocketAddr::V4(to) = machine else { unreachable!("machines are on loopback") };
        let head = [&[0, 0, 0, 1][..], &to.ip().octets(), &to.port().to_be_bytes(), b"go"].concat();
        socket.send(&head).await?;
        let (last, (counter, count)) = (Arc::new(Mutex::new(Instant::now())), tokio::sync::watch::channel(0));
        let (mut tasks, heard) = (JoinSet::new(), Arc::clone(&last));
        tasks.spawn(async move {
            let mut datagram = [0; 2048];
            // An association that ended is told by the kernel, again and again.
            while let Ok(length) = socket.recv(&mut datagram).await {
                assert_eq!(length, 1010);
                *heard.lock().unwrap() = Instant::now();
                counter.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { last, count, _control: control, _tasks: tasks })
    }

    /// Waits until more datagrams have come.
    async fn hears(&self) -> Outcome {
        let mut count = self.count.clone();
        let goal = *count.borrow() + 50;
        within("datagrams", async {
            count
                .wait_for(|count| *count >= goal)
                .await
                .map_err(|_| Mishap::unexpected("datagrams", "their end", "more of them"))?;
            Ok(())
        })
        .await
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap()
    }
}

const ENOUGH: u64 = 256 * 1024;
