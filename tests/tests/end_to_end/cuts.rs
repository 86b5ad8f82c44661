//! Withdrawn means cut: each cause, for each kind of tunnel, straight and through the relay, while each carries what it can.
//!
//! 1. Five tunnels open beside each other, of a screen, a page, a WebSocket and two VPNs, and each carries a stream.
//! 2. The right goes by one cause. The last byte of each stream comes within a second of the moment at which that took effect.
//! 3. The person is told why and what to do, the trail has a row for each, and the cloud has a receipt that the device has signed.
//! 4. The right comes back. What was cut stays cut, and the next round opens anew.
//!
//! The end of the policy's freshness, which ends some tunnels and spares others, is beside them (`lapse`).

mod lapse;
mod loaded;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use postern_protocol::policy::Reason;
use postern_tests::world::target::Target;
use postern_tests::world::{DEVICE, Fleet, Grant, Mishap, Person, World, in_seconds};
use serde_json::Value;
use tokio::net::UdpSocket;

use self::loaded::{Because, Cut, Datagrams, Loaded};
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
    /// Every pass of before is worth nothing.
    SignOut,
    /// One of the user's keys is withdrawn.
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
    /// The user's pass is over.
    PassEnd,
}

impl Cause {
    const ALL: [Self; 10] = [
        Self::User,
        Self::Category,
        Self::Target,
        Self::Assignment,
        Self::Window,
        Self::Lock,
        Self::Moved,
        Self::SignOut,
        Self::PassEnd,
        Self::Key,
    ];

    /// What the person is told.
    const fn reason(self) -> Reason {
        match self {
            Self::Lock => Reason::UserDisabled,
            // The pass or its key counts no more, and the device knows nothing of why.
            Self::User | Self::SignOut | Self::Key | Self::PassEnd => Reason::BadPass,
            Self::Category | Self::Target | Self::Assignment | Self::Moved => Reason::Revoked,
            Self::Window => Reason::Expired,
        }
    }

    /// How late the last byte may be. The device's time is attested in whole seconds, and may be one behind.
    fn limit(self) -> Duration {
        if matches!(self, Self::Window | Self::PassEnd) { 2 * LIMIT } else { LIMIT }
    }

    /// What the receipt says.
    const fn because_of(self) -> &'static str {
        match self {
            Self::Window | Self::PassEnd => "time",
            Self::Lock => "lock",
            Self::User
            | Self::SignOut
            | Self::Key
            | Self::Category
            | Self::Target
            | Self::Assignment
            | Self::Moved => "policy",
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
            // Two people, or computers, beside each other.
            .limit("screen", "writers = 2")
            .service("page", "http", at(self.plant.source.address))
            .service("frames", "websocket", at(self.frames.address))
            .vpn("cell", &cell.each_ref().map(String::as_str))
            .service("other", "http", self.plant.echo.address)
    }

    fn granted(&self) -> Fleet {
        both(self.services(false), &ALL)
    }

    /// Takes the right away; when that took effect.
    async fn withdraw(&self, cause: Cause, person: &Person, world: &mut World) -> Result<Instant, Mishap> {
        let (who, printed) = (person.name(), world.device.running()?.line_count());
        let word = if cause == Cause::Lock { "a lock came into force" } else { "a policy came into force" };
        let fleet = match cause {
            Cause::User => return self.command(&["user", "disable", who], world, (printed, word)).await,
            Cause::SignOut => {
                return self.command(&["user", "sign-out", who], world, (printed, word)).await;
            }
            Cause::Key => {
                let key = person.key().await?;
                return self.command(&["user", "withdraw-key", who, &key], world, (printed, word)).await;
            }
            Cause::PassEnd => {
                let end = moment(person.pass_expires()?);
                // The condition is the clock itself.
                tokio::time::sleep_until((end - LIMIT).into()).await;
                return Ok(end);
            }
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
                return Ok(moment(until));
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
            // Also the computer whose key was withdrawn: whoever has the password may use it again.
            Cause::SignOut | Cause::Key | Cause::PassEnd => {
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

/// When the clock says so, which is also the device's.
fn moment(time: SystemTime) -> Instant {
    Instant::now() + time.duration_since(SystemTime::now()).unwrap_or_default()
}

/// What the trail must know by now.
#[derive(Default)]
struct Closed {
    /// By the word of the reason.
    by_reason: BTreeMap<&'static str, usize>,
    /// In all, over the path of this world.
    over_path: usize,
}

/// All causes one after another in one world.
async fn every_cause(world: &mut World, machines: &Machines, path: &str) -> Outcome {
    // A hub lets one person ask for thirty meetings in a minute.
    let people = [world.person("anna").await?, world.person("bert").await?];
    let mut closed = Closed::default();
    for (cause, who) in Cause::ALL.into_iter().zip(people.iter().cycle()) {
        let lost = if cause == Cause::Key { Some(world.second_computer(who).await?) } else { None };
        let spared = if lost.is_some() { Some(Loaded::open(machines, who).await?) } else { None };
        let who = lost.as_ref().unwrap_or(who);
        let cut = round(world, machines, (cause, who)).await?;
        closed.expect(world, cause, path).await?;
        if let Some(spared) = spared {
            spared.goes_on().await?;
            spared.close().await?;
        }
        machines.restore(cause, world, who).await?;
        // A VPN whose destinations went is as it was with the new ones.
        let left = if cause == Cause::Target { 2 } else { 0 };
        assert_eq!(live(world).await?, left, "{cause:?}: a right that came back revived a tunnel");
        cut.leave().await?;
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

/// Opens everything, takes the right away by one cause, and looks at how everything ends.
async fn round(
    world: &mut World,
    machines: &Machines,
    (cause, who): (Cause, &Person),
) -> Result<Cut, Mishap> {
    if cause == Cause::PassEnd {
        world.shorten_pass(who, in_seconds(PASS_S))?;
    }
    let loaded = Loaded::open(machines, who).await?;
    if cause == Cause::User {
        // Narrower is not over.
        let narrow = both(machines.services(false).limit("screen", "view-only = true"), &ALL);
        world.apply(&narrow).await?;
        loaded.goes_on().await?;
        world.apply(&machines.granted()).await?;
        loaded.goes_on().await?;
    }
    let active = machines.withdraw(cause, who, world).await?;
    let what = format!("{cause:?}");
    let vpns_end = cause != Cause::Target;
    let because = Because { what: &what, reason: cause.reason(), limit: cause.limit(), vpns_end };
    loaded.ended(&because, active).await
}

impl Closed {
    /// Waits for the rows of one more cause.
    async fn expect(&mut self, world: &World, cause: Cause, path: &str) -> Outcome {
        let (word, tunnels) = (cause.reason().word(), usize::try_from(cause.tunnels()).unwrap());
        // The VPNs of the round in which only their destinations moved end with their programs.
        self.over_path += tunnels;
        let least = self.by_reason.entry(word).or_default();
        *least += tunnels;
        let because = |row: &&Value| has(row, "closed") && row["reason"] == word;
        let what = format!("rows of {cause:?}");
        let rows =
            world.device.audit_until(&what, |rows| rows.iter().filter(because).count() >= *least).await?;
        let cut = rows.iter().filter(|row| has(row, "closed") && row["path"] == path).count();
        let expected = self.over_path;
        assert!(cut >= expected, "{cut} rows of the path `{path}`, {expected} tunnels were cut over it");
        Ok(())
    }
}

/// How many tunnels are open on the device.
async fn live(world: &World) -> Result<usize, Mishap> {
    let answer = world.device.call(["sessions", "--json"]).finish().await?.expect_code(0)?.json()?;
    answer.as_array().map(Vec::len).ok_or_else(|| Mishap::unexpected("the sessions", &answer, "a list"))
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
    let _nowhere = behind_a_relay(&mut world).await?;
    every_cause(&mut world, &machines, "relayed").await
}

/// Has nobody reach the device but through a relay. Nobody answers where it says that it is, and the socket holds the address.
async fn behind_a_relay(world: &mut World) -> Result<UdpSocket, Mishap> {
    let nowhere = UdpSocket::bind(("127.0.0.1", 0)).await?;
    world.device.say_at(nowhere.local_addr()?)?;
    world.device.stop().await?;
    // Programs whose tunnels were cut stay until the next round.
    world.device.configure("\n[caps]\nconnections = 64\n")?;
    world.device.run().await?;
    world.settle().await?;
    Ok(nowhere)
}

/// Time to open everything under a pass that ends.
const PASS_S: u64 = 15;
const ALL: [&str; 4] = ["screen", "page", "frames", "cell"];
