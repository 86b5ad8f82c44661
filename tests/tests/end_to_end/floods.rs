//! Floods: what works goes on, a newcomer is let in and recorded, and neither memory nor the trail grows beyond its bound.
//!
//! How fast a tunnel is beside a flood is measured by the benchmark (`postern-bench --only floods`); here it must move.

mod client;
pub(crate) mod cloud;
mod files;
mod relay;

use std::time::Duration;

use postern_protocol::trust::SecretKey;
use postern_protocol::wire::registry::{ALPNS_TUNNEL, Failure};
use postern_tests::flood::{Flood, Kind, STRANGERS, Silent, Victim};
use postern_tests::world::probe::within;
use postern_tests::world::{Exchange, Mishap, Person, World};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::gate::{echoed, has};
use super::stage::{Outcome, Plant};

/// More than the agent answers of anything.
const PER_S: u32 = 1_000;
/// So much of a flood has gone out, at least, when the agent is asked whether it still works.
const UNDER_WAY: u32 = 300;
/// KiB that any flood may add: what strangers and one member may make the agent hold, and what allocators keep.
const HELD_KIB: u64 = 24 * 1024;
/// Rows that any flood may write: kinds of denial of one user that an hour tells apart, and what connections cost besides.
const ROWS: usize = 100;
/// KiB that any flood may have the agent write to flash: each of the rows in a commit of its own, and as much again when its log is
/// taken over into the database.
const WRITTEN_KIB: u64 = 1_024;

/// More than there are places for strangers.
const VISITORS: usize = 24;

struct Scene {
    world: World,
    anna: Person,
    victim: Victim,
    tunnel: Exchange,
    _session: postern_tests::world::Session,
    _plant: Plant,
}

impl Scene {
    async fn set() -> Result<Self, Mishap> {
        let plant = Plant::start().await?;
        let world = plant.world().await?;
        let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
        let session = anna.connect("echo").await?;
        let mut tunnel = session.exchange().await?;
        assert_eq!(echoed(&mut tunnel, b"before").await?, b"before");
        let text = std::fs::read_to_string(world.device.state_dir().join("device.key"))?;
        let seed = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).unwrap();
        let key = SecretKey::from_seed(seed.try_into().unwrap()).unwrap().public();
        let device = world.device.status().await?["device"].as_str().unwrap().parse().unwrap();
        let victim = Victim { at: world.device.listen(), key, device, insider: None, from: STRANGERS };
        let victim = victim.insider(bert.home())?;
        Ok(Self { world, anna, victim, tunnel, _session: session, _plant: plant })
    }

    fn resident_kib(&mut self) -> Result<u64, Mishap> {
        let pid = self.world.device.running()?.pid().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Ok(line.split_whitespace().next().unwrap().parse().unwrap())
    }

    /// What the kernel has taken from it for the disk, whole pages.
    fn written_kib(&mut self) -> Result<u64, Mishap> {
        let pid = self.world.device.running()?.pid().unwrap();
        let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).unwrap();
        Ok(line.trim().parse::<u64>().unwrap() / 1024)
    }

    /// A tunnel that is open, and somebody who comes, while a flood is under way.
    async fn withstands(&mut self, kind: Kind) -> Outcome {
        let (rows, before) = (self.world.device.audit().await?.len(), self.resident_kib()?);
        let earlier_kib = self.written_kib()?;
        let permitted = |rows: &[Value]| rows.iter().filter(|row| has(row, "permitted")).count();
        let earlier = permitted(&self.world.device.audit().await?);
        let flood = Flood::start(kind, &self.victim, PER_S)?;
        within("a flood that is under way", async {
            while flood.sent() < UNDER_WAY.min(least(kind)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
        .await?;
        for word in [&b"while"[..], b"it", b"lasts"] {
            assert_eq!(echoed(&mut self.tunnel, word).await?, word, "{kind:?}");
        }
        let session = self.anna.connect("echo").await?;
        assert_eq!(echoed(&mut session.exchange().await?, b"a newcomer").await?, b"a newcomer", "{kind:?}");
        let more = self.resident_kib()?.saturating_sub(before);
        assert!(more < HELD_KIB, "{kind:?}: {more} KiB more");
        let trail = self.world.device.audit_until("the newcomer", |rows| permitted(rows) > earlier).await?;
        assert!(trail.len() - rows < ROWS, "{kind:?}: {} rows", trail.len() - rows);
        let written = self.written_kib()? - earlier_kib;
        assert!(written < WRITTEN_KIB, "{kind:?}: {written} KiB were written");
        println!(
            "{kind:?}: {} sent, {} answered, {more} KiB, {} rows, {written} KiB to flash",
            flood.sent(),
            flood.answered(),
            trail.len() - rows
        );
        drop(flood);
        assert_eq!(echoed(&mut self.tunnel, b"after").await?, b"after", "{kind:?}");
        Ok(())
    }
}

/// What a flood sends before it can be stopped by its own limits.
fn least(kind: Kind) -> u32 {
    match kind {
        Kind::HalfOpen | Kind::Handshakes | Kind::Noise | Kind::Denials | Kind::Datagrams => UNDER_WAY,
        Kind::Gaps | Kind::Loris => 8,
    }
}

#[tokio::test]
async fn what_strangers_send_holds_nobody_up_and_nothing_grows() -> Outcome {
    let mut scene = Scene::set().await?;
    for kind in [Kind::HalfOpen, Kind::Handshakes, Kind::Noise, Kind::Loris] {
        scene.withstands(kind).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_somebody_with_a_pass_sends_holds_nobody_up_and_nothing_grows() -> Outcome {
    let mut scene = Scene::set().await?;
    for kind in [Kind::Denials, Kind::Datagrams, Kind::Gaps] {
        scene.withstands(kind).await?;
    }
    Ok(())
}

#[tokio::test]
async fn handshakes_without_end_come_to_a_bounded_number_and_so_do_denials() -> Outcome {
    let scene = Scene::set().await?;
    for (kind, burst, per_s) in [(Kind::Handshakes, 64, 4), (Kind::Denials, 128, 20)] {
        let began = std::time::Instant::now();
        let flood = Flood::start(kind, &scene.victim, 10 * PER_S)?;
        within("a burst that is used up", async {
            while flood.answered() < burst {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
        .await?;
        // A slow machine gives more time, and no more answers in a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answered = flood.answered();
        let most = f64::from(burst) + (began.elapsed().as_secs_f64() + 1.0) * f64::from(per_s);
        assert!(f64::from(answered) <= most, "{kind:?}: {answered} answers, {most} at most");
    }
    Ok(())
}

#[tokio::test]
async fn silent_callers_of_the_control_socket_keep_nobody_out() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(UnixStream::connect(world.device.control_socket()).await?);
        // Half a request is none.
        silent.last_mut().unwrap().write_all(b"{\"command\"").await?;
    }
    let begun = std::time::Instant::now();
    let status = world.device.call(["status", "--json"]).finish().await?.expect_code(0)?.json()?;
    assert_eq!(status["self_test"]["passed"], true);
    assert!(begun.elapsed() < Duration::from_secs(8), "before any of them has lost patience");
    Ok(())
}

#[tokio::test]
async fn callers_of_the_control_socket_that_hang_up_or_do_not_listen_leave_nothing_behind() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let files = cloud::descriptors(world.device.running()?)?;
    let status = b"{\"command\":\"status\"}\n";
    let mut deaf = Vec::new();
    for number in 0..300 {
        let mut caller = UnixStream::connect(world.device.control_socket()).await?;
        // Nothing, half a request, and whole ones whose answer nobody reads. Who had to give way already is not heard.
        match number % 3 {
            0 => {}
            1 => drop(caller.write_all(&status[..9]).await),
            _ => drop(caller.write_all(status).await),
        }
        if number % 2 == 0 {
            drop(caller);
        } else {
            deaf.push(caller);
        }
    }
    world.device.call(["status", "--json"]).finish().await?.expect_code(0)?;
    // While the deaf hold their ends.
    within("descriptors that are given back", async {
        while cloud::descriptors(world.device.running()?)? > files {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await?;
    drop(deaf);
    world.device.call(["status", "--json"]).finish().await?.expect_code(0).map(drop)
}

#[tokio::test]
async fn visitors_of_one_address_that_say_nothing_give_way_to_a_newcomer_and_no_member_does() -> Outcome {
    let mut scene = Scene::set().await?;
    let silent = Silent::come(&scene.victim, ALPNS_TUNNEL, VISITORS).await?;
    // The first has made room for one of those who came behind it: every place is taken.
    assert_eq!(silent.first_ends().await?, u32::from(Failure::Busy.number()));
    let session = scene.anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"a newcomer").await?, b"a newcomer");
    // The twin: a member who says nothing either stays.
    assert_eq!(echoed(&mut scene.tunnel, b"after").await?, b"after");
    Ok(())
}
