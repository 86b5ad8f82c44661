//! Withdrawn means cut: each cause, for each kind of tunnel, straight and through the relay, while each carries what it can.
//!
//! 1. Five tunnels open beside each other, of a screen, a page, a WebSocket and two VPNs, and each carries a stream.
//! 2. The right goes by one cause. The last byte of each stream comes within a second of the moment at which that took effect.
//! 3. The person is told why and what to do, the trail has a row for each, and the cloud has a receipt that the device has signed.
//! 4. The right comes back. What was cut stays cut, and the next round opens anew.
//!
//! Deliberately absent: the end of a pass and of the policy's freshness, which take hours and minutes here. The agent's own tests have them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use postern_protocol::policy::Reason;
use postern_tests::world::flow::Flow;
use postern_tests::world::probe::within;
use postern_tests::world::target::Target;
use postern_tests::world::{
    DEVICE, Fleet, Grant, Line, Mishap, Person, Running, Session, Stream, World, in_seconds,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::gate::has;
use super::revocation::activation;
use super::stage::{LAB, Outcome, Plant};

/// What is promised.
const LIMIT: Duration = Duration::from_secs(1);

/// Why a right goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The user is disabled.
    User,
    /// Every pass and key of before is worth nothing.
    Key,
    /// The category has the services no more.
    Category,
    /// The services lead elsewhere.
    Target,
    /// The assignment is gone.
    Assignment,
    /// Its window ends.
    Window,
    /// The user is locked.
    Lock,
    /// The device is another account's.
    Moved,
}

impl Cause {
    const ALL: [Self; 8] = [
        Self::User,
        Self::Category,
        Self::Target,
        Self::Assignment,
        Self::Window,
        Self::Lock,
        Self::Moved,
        Self::Key,
    ];

    /// What the person is told.
    const fn reason(self) -> Reason {
        match self {
            Self::Lock => Reason::UserDisabled,
            // No pass of before counts, and the device knows nothing of why.
            Self::User | Self::Key => Reason::BadPass,
            Self::Category | Self::Target | Self::Assignment | Self::Moved => Reason::Revoked,
            Self::Window => Reason::Expired,
        }
    }

    /// How late the last byte may be. The device's time is attested in whole seconds, and may be one behind.
    fn limit(self) -> Duration {
        if self == Self::Window { 2 * LIMIT } else { LIMIT }
    }

    /// What the receipt says.
    const fn because_of(self) -> &'static str {
        match self {
            Self::Window => "time",
            Self::Lock => "lock",
            Self::User | Self::Key | Self::Category | Self::Target | Self::Assignment | Self::Moved => {
                "policy"
            }
        }
    }

    /// Tunnels that end. A VPN whose destinations move goes on without its flows.
    const fn tunnels(self) -> u64 {
        if matches!(self, Self::Target) { 3 } else { 5 }
    }
}

/// What is behind the device, and a second one of each that nobody is led to at first.
struct Machines {
    plant: Plant,
    frames: Target,
    datagrams: Datagrams,
    elsewhere: Target,
}

impl Machines {
    async fn start() -> Result<Self, Mishap> {
        Ok(Self {
            plant: Plant::start().await?,
            frames: Target::source().await?,
            datagrams: Datagrams::start().await?,
            elsewhere: Target::source().await?,
        })
    }

    /// Services that lead there, or somewhere else.
    fn services(&self, moved: bool) -> Fleet {
        let at = |usual: SocketAddr| if moved { self.elsewhere.address } else { usual };
        let (tcp, udp) = (at(self.plant.source.address), at(self.datagrams.address));
        let cell =
            [format!("\"tcp {} {}\"", tcp.ip(), tcp.port()), format!("\"udp {} {}\"", udp.ip(), udp.port())];
        Fleet::new()
            .service("screen", "vnc", at(self.plant.press.vnc))
            .service("page", "http", at(self.plant.source.address))
            .service("frames", "websocket", at(self.frames.address))
            .vpn("cell", &cell.each_ref().map(String::as_str))
            .service("other", "http", self.plant.echo.address)
    }

    fn granted(&self) -> Fleet {
        both(self.services(false), &ALL)
    }

    /// Takes the right away; when that took effect.
    async fn withdraw(&self, cause: Cause, who: &str, world: &mut World) -> Result<Instant, Mishap> {
        let printed = world.device.running()?.line_count();
        let word = if cause == Cause::Lock { "a lock came into force" } else { "a policy came into force" };
        let fleet = match cause {
            Cause::User => return self.command(&["user", "disable", who], world, (printed, word)).await,
            Cause::Key => return self.command(&["user", "sign-out", who], world, (printed, word)).await,
            Cause::Lock => {
                return self.command(&["lock", "add", "user", who], world, (printed, word)).await;
            }
            Cause::Category => both(self.services(false), &["other"]).to_toml(),
            Cause::Target => both(self.services(true), &ALL).to_toml(),
            Cause::Assignment => self.granted().without_grants_of(who).to_toml(),
            Cause::Window => {
                let until = in_seconds(3);
                let grant = Grant::new(who, &ALL).until(until);
                // Somebody who is not there any more would lose their sign-in.
                world.apply(&both(self.services(false).grant(grant), &[])).await?;
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                return Ok(Instant::now() + left);
            }
            Cause::Moved => {
                let former = "[account.acme]\ntenant = \"service_provider\"\n[user.anna]\naccount = \"acme\"\n[user.bert]\naccount = \"acme\"\n";
                let moved = self.services(false).allow("carl", &ALL).to_toml().replace("acme", "beta");
                format!("{moved}{former}")
            }
        };
        world.hub.apply(&fleet, &[]).await?;
        activation(world, printed, word).await
    }

    async fn command(
        &self,
        command: &[&str],
        world: &mut World,
        (printed, word): (usize, &str),
    ) -> Result<Instant, Mishap> {
        world.hub.call(command.iter().copied()).finish().await?.expect_code(0)?;
        activation(world, printed, word).await
    }

    /// Gives it back.
    async fn restore(&self, cause: Cause, world: &World, who: &Person) -> Outcome {
        match cause {
            Cause::User => {
                world.hub.call(["user", "enable", who.name()]).finish().await?.expect_code(0)?;
                who.login().await?.expect_code(0)?;
            }
            Cause::Lock => {
                world.hub.call(["lock", "lift", "user", who.name()]).finish().await?.expect_code(0)?;
            }
            Cause::Key => {
                who.login().await?.expect_code(0)?;
            }
            Cause::Category | Cause::Target | Cause::Assignment | Cause::Window | Cause::Moved => {
                world.hub.apply(&self.granted().to_toml(), &[]).await?;
            }
        }
        world.settle().await
    }
}

/// The same for Anna and Bert.
fn both(fleet: Fleet, services: &[&str]) -> Fleet {
    fleet.allow("anna", services).allow("bert", services)
}

/// Five tunnels under load.
struct Loaded {
    /// Screen, page and frames.
    sessions: [Session; 3],
    flows: Vec<(&'static str, Flow)>,
    vpns: Vec<Running>,
    datagrams: Listening,
}

impl Loaded {
    async fn open(machines: &Machines, who: &Person) -> Result<Self, Mishap> {
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

    /// Goes on under another policy.
    async fn goes_on(&self) -> Outcome {
        for (_, flow) in &self.flows {
            flow.receives(ENOUGH).await?;
        }
        self.datagrams.hears().await
    }

    /// Every stream has ended by then, and its person was told.
    async fn ended(self, cause: Cause, active: Instant) -> Outcome {
        let mut says_so_itself = false;
        for (kind, flow) in self.flows {
            let end = flow.end().await?;
            let late = end.last_byte.saturating_duration_since(active);
            // Between two frames there is room for a word to the program, which hears it in place of the person.
            says_so_itself |= String::from_utf8_lossy(&end.tail).contains(cause.reason().word());
            eprintln!("{cause:?}, {kind}: last byte {late:?} after it took effect");
            assert!(late <= cause.limit(), "{cause:?}: the last byte of the {kind} came {late:?} late");
        }
        let (reason, is_told) = (cause.reason(), |line: &Line| {
            line.stream == Stream::Err
                && line.text.contains(cause.reason().sentence())
                && line.text.contains(cause.reason().next_step())
        });
        let what = format!("`{}` and what to do", reason.sentence());
        let [screen, page, frames] = &self.sessions;
        for session in [screen, page].into_iter().chain((!says_so_itself).then_some(frames)) {
            let line = session.notice(reason.sentence()).await?;
            assert!(is_told(&line), "{cause:?}: {}", line.text);
        }
        if cause != Cause::Target {
            for vpn in &self.vpns {
                vpn.line(&what, is_told).await?;
            }
        }
        // Silence has no moment of its own: what has come until long after the limit was the last.
        tokio::time::sleep_until((active + 2 * cause.limit()).into()).await;
        let late = self.datagrams.last().saturating_duration_since(active);
        assert!(late <= cause.limit(), "{cause:?}: the last datagram came {late:?} late");
        // In order, so that their connections leave at once: a device has a few places.
        for session in self.sessions {
            session.interrupt().await?;
        }
        for mut vpn in self.vpns {
            vpn.stop().await?;
        }
        Ok(())
    }
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
struct Datagrams {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Datagrams {
    async fn start() -> Result<Self, Mishap> {
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

/// All causes one after another in one world.
async fn every_cause(world: &mut World, machines: &Machines, path: &str) -> Outcome {
    // A hub lets one person ask for thirty meetings in a minute.
    let people = [world.person("anna").await?, world.person("bert").await?];
    let mut closed = 0;
    for (cause, who) in Cause::ALL.into_iter().zip(people.iter().cycle()) {
        let loaded = Loaded::open(machines, who).await?;
        if cause == Cause::User {
            // Narrower is not over.
            let narrow = both(machines.services(false).limit("screen", "view-only = true"), &ALL);
            world.apply(&narrow).await?;
            loaded.goes_on().await?;
            world.apply(&machines.granted()).await?;
            loaded.goes_on().await?;
        }
        let active = machines.withdraw(cause, who.name(), world).await?;
        loaded.ended(cause, active).await?;
        // The VPNs of the round in which only their destinations moved end with their programs.
        closed += if cause == Cause::Target { 3 } else { 5 };
        let because = |row: &&Value| has(row, "closed") && row["reason"] == cause.reason().word();
        let (what, least) = (format!("rows of {cause:?}"), usize::try_from(cause.tunnels()).unwrap());
        let rows =
            world.device.audit_until(&what, |rows| rows.iter().filter(because).count() >= least).await?;
        let cut = rows.iter().filter(|row| has(row, "closed") && row["path"] == path).count();
        assert!(cut >= closed, "{cut} rows of the path `{path}`, {closed} tunnels were cut over it");
        machines.restore(cause, world, who).await?;
    }
    // What is granted again opens anew.
    let [anna, _] = &people;
    Loaded::open(machines, anna).await?.goes_on().await?;
    let cuts = receipts(world, Cause::ALL.len()).await?;
    for (cause, said) in Cause::ALL.iter().zip(cuts.iter().rev()) {
        let seen = (said["because_of"].as_str(), said["tunnels"].as_u64(), said["genuine"].as_bool());
        assert_eq!(seen, (Some(cause.because_of()), Some(cause.tunnels()), Some(true)), "{cause:?}: {said}");
        assert!(said["stopped_ms"].as_u64().is_some_and(|ms| ms < 1000), "{cause:?}: {said}");
    }
    let narrowed = world.device.audit().await?;
    assert!(narrowed.iter().any(|row| has(row, "changed")), "the trail knows of the narrower right");
    Ok(())
}

/// The receipts that the cloud has, the newest first, as soon as there are so many.
async fn receipts(world: &World, count: usize) -> Result<Vec<Value>, Mishap> {
    let begun = Instant::now();
    loop {
        let answer =
            world.hub.call(["device", "cuts", DEVICE, "--json"]).finish().await?.expect_code(0)?.json()?;
        let cuts = answer["cuts"].as_array().cloned().unwrap_or_default();
        if cuts.len() >= count {
            return Ok(cuts);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{count} receipts are expected: {answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cause_cuts_every_kind_of_tunnel_within_a_second_and_says_so_to_all_concerned() -> Outcome {
    let machines = Machines::start().await?;
    let mut world = World::start(LAB, &machines.granted()).await?;
    every_cause(&mut world, &machines, "direct").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cause_cuts_every_kind_of_tunnel_that_the_relay_carries_as_well() -> Outcome {
    let machines = Machines::start().await?;
    let mut world = World::start(LAB, &machines.granted()).await?;
    // Nobody answers there, and the socket holds the address.
    let nowhere = UdpSocket::bind(("127.0.0.1", 0)).await?;
    world.device.say_at(nowhere.local_addr()?)?;
    world.device.stop().await?;
    // Each meeting takes a place for a while after its connection is gone.
    world.device.configure("\n[caps]\nconnections = 64\n")?;
    world.device.run().await?;
    world.settle().await?;
    every_cause(&mut world, &machines, "relayed").await
}

const ALL: [&str; 4] = ["screen", "page", "frames", "cell"];
const ENOUGH: u64 = 256 * 1024;
