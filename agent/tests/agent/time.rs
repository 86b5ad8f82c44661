//! What the cloud says about time and news, and what a device does without it or with lies.

use std::path::Path;
use std::time::Duration;

use postern_protocol::policy::{FreshnessRule, FreshnessState, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, LockTarget};
use postern_protocol::wire::control::{AlarmKind, Held};
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::client::Client;
use crate::hub::{Hub, Stories};
use crate::machine::Machine;
use crate::policy::{Policy, USER, lock};
use crate::world::{Agent, GENEROUS, World};

const STALE: Answer = Answer::Denied(Reason::PolicyStale);
/// Short enough that a device asks about once a second.
const BRIEF: FreshnessRule = FreshnessRule { window_s: 5, offline_s: 86_400 };

/// A world whose policy has this rule, and one grant for everything that is or is not meant for work without the cloud.
async fn world(rule: FreshnessRule, offline_ok: bool, stories: Stories) -> World {
    let machine = Machine::echo().await;
    let mut hub = Hub::start();
    hub.tell(stories);
    let mut agent = Agent::enrolled(&hub, "").await;
    let mut policy = Policy::usual(agent.key(), machine.addr());
    policy.snapshot.freshness = rule;
    policy.snapshot.grants[0].offline_ok = offline_ok;
    hub.publish(policy.seal(2));
    agent.start().await;
    assert_eq!(hub.applied().await.version, 2);
    World { hub, machine, agent, policy }
}

async fn freshness(agent: &Agent) -> String {
    agent.json(&["status"]).await["freshness"]["state"].as_str().unwrap().to_owned()
}

/// Waits until the device says so of its policy.
async fn until(agent: &Agent, state: FreshnessState) {
    let waiting = async { while freshness(agent).await != state.word() {} };
    tokio::time::timeout(GENEROUS, waiting).await.unwrap();
}

#[tokio::test]
async fn a_device_whose_hub_says_nothing_opens_only_what_is_meant_for_that() {
    let mute = Stories { mute: true, ..Stories::default() };
    for (offline_ok, opens) in [(true, true), (false, false)] {
        let world = world(BRIEF, offline_ok, mute).await;
        let client = world.client().await;
        if opens {
            client.tunnel("web").await.echo(b"hello").await;
        } else {
            assert_eq!(client.open("web").await.answer, STALE);
            // A service that is granted is listed, and why it is closed; one that is not granted is not.
            let Answer::Services(listed) = client.services().await else { panic!() };
            let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.blocked)).collect();
            let blocked = Some(Reason::PolicyStale);
            assert_eq!(listed, [("hmi", blocked), ("live", blocked), ("web", blocked)]);
        }
        assert_eq!(freshness(&world.agent).await, "stale");
    }
}

#[tokio::test]
async fn a_live_tunnel_ends_when_the_cloud_falls_silent_and_a_new_one_opens_when_it_speaks() {
    let world = world(BRIEF, false, Stories::default()).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"hello").await;
    world.hub.tell(Stories { mute: true, ..Stories::default() });
    let end = tunnel.drain().await;
    assert_eq!(end, Err(StreamFault::Reset(Reason::PolicyStale.number().into())));
    assert_eq!(freshness(&world.agent).await, "stale");
    world.hub.tell(Stories::default());
    until(&world.agent, FreshnessState::Fresh).await;
    client.tunnel("web").await.echo(b"again").await;
}

#[tokio::test]
async fn a_tunnel_outlives_many_windows_while_the_cloud_confirms_the_policy() {
    let world = world(BRIEF, false, Stories::default()).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    let Answer::Accepted { until, .. } = tunnel.answer else { panic!() };
    assert!(
        until > crate::policy::now().saturating_add(3000),
        "people are told the end of their access: {until}"
    );
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        tunnel.echo(b"still here").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_thief_s_2106_ends_everything_and_the_next_genuine_word_heals_it() {
    let mut world = world(BRIEF, true, Stories::default()).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    world.hub.tell(Stories { time: Some(UnixTime::from_secs(4_291_747_200)), ..Stories::default() });
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::BadPass.number().into())));
    // It survives a restart, as a bound, until somebody says otherwise.
    world.agent.stop().await;
    world.hub.tell(Stories::default());
    world.agent.start().await;
    until(&world.agent, FreshnessState::Fresh).await;
    let clock = world.agent.json(&["status"]).await["clock"].clone();
    assert_eq!(clock["attested"], true);
    assert!(clock["now"].as_u64().unwrap().abs_diff(crate::policy::now().as_secs()) <= 5, "{clock}");
    world.client().await.tunnel("web").await.echo(b"healed").await;
}

#[tokio::test]
async fn a_hub_that_names_older_or_other_policy_refreshes_nothing_and_is_reported() {
    let other = |version: u64| Held { epoch: 1, version, digest: Digest::of(&[b"another story"]) };
    for (version, kind) in [(1, AlarmKind::Rollback), (2, AlarmKind::Equivocation)] {
        let mut world = world(BRIEF, false, Stories::default()).await;
        until(&world.agent, FreshnessState::Fresh).await;
        world.hub.tell(Stories { newest: Some(other(version)), ..Stories::default() });
        assert_eq!(world.hub.alarm().await, kind);
        until(&world.agent, FreshnessState::Stale).await;
        assert_eq!(world.client().await.open("web").await.answer, STALE);
        let trail = world.agent.trail_with("alarm", 1).await;
        let alarms = trail.iter().filter(|(event, _)| event == "alarm").map(|(_, reason)| reason.as_str());
        assert_eq!(alarms.collect::<Vec<_>>(), [kind.word()], "once, however often it is said");
        let status = world.agent.json(&["status"]).await;
        assert_eq!(status["alarms"][0]["kind"], kind.word());
    }
}

#[tokio::test]
async fn a_hub_that_names_a_policy_root_or_lock_and_withholds_it_is_reported_after_half_a_minute() {
    let newest = Some(Held { epoch: 1, version: 99, digest: Digest::of(&[b"withheld"]) });
    let policy = Stories { newest, ..Stories::default() };
    let root = Stories { root_version: Some(2), ..Stories::default() };
    let lock = Stories { lock: 1, ..Stories::default() };
    let (mut policy, mut root, mut lock) =
        tokio::join!(world(BRIEF, false, policy), world(BRIEF, false, root), world(BRIEF, false, lock));
    for world in [&mut policy, &mut root, &mut lock] {
        assert_eq!(world.client().await.open("web").await.answer, STALE);
        assert_eq!(world.hub.alarm_within(GENEROUS * 2).await, AlarmKind::Freeze);
        world.hub.tell(Stories::default());
        until(&world.agent, FreshnessState::Fresh).await;
        world.client().await.tunnel("web").await.echo(b"hello").await;
    }
}

#[tokio::test]
async fn a_lock_that_is_named_and_comes_leaves_the_rest_fresh() {
    let mut world = world(BRIEF, false, Stories { lock: 1, ..Stories::default() }).await;
    until(&world.agent, FreshnessState::Stale).await;
    world.hub.lock(lock(1, &[LockTarget::Category("elsewhere".parse().unwrap())]));
    assert_eq!(world.hub.locked().await, (1, 0));
    until(&world.agent, FreshnessState::Fresh).await;
    world.client().await.tunnel("web").await.echo(b"hello").await;
}

#[tokio::test]
async fn cutting_the_power_does_not_extend_the_time_without_the_cloud() {
    let rule = FreshnessRule { window_s: 900, offline_s: 1200 };
    let mut world = world(rule, true, Stories::default()).await;
    until(&world.agent, FreshnessState::Fresh).await;
    assert_eq!(world.agent.stop().await, Some(0));
    let (addr, mut hub) = (world.hub.addr(), world.hub);
    hub.silence();
    for opens in [true, true, false, false] {
        world.agent.start().await;
        let client = Client::signed_in(&world.agent, USER, 1).await;
        if opens {
            client.tunnel("web").await.echo(b"hello").await;
        } else {
            assert_eq!(client.open("web").await.answer, STALE);
            assert_eq!(freshness(&world.agent).await, "expired");
        }
        world.agent.kill().await;
    }
    assert_eq!(hub.addr(), addr);
}

#[tokio::test]
async fn a_device_that_is_fresh_and_idle_writes_nothing() {
    let world = world(BRIEF, false, Stories::default()).await;
    until(&world.agent, FreshnessState::Fresh).await;
    world.agent.trail_with("policy_applied", 1).await;
    // The first answer after a boot is stored; wait until it is.
    let state = world.agent.state();
    let mut before = written(&state);
    let mut quiet = std::time::Instant::now();
    while quiet.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = written(&state);
        if now != before {
            assert!(quiet.elapsed() < Duration::from_secs(4), "an idle device wrote: {before:?} {now:?}");
            (before, quiet) = (now, std::time::Instant::now());
        }
    }
    assert_eq!(freshness(&world.agent).await, "fresh", "it has asked several times meanwhile");
}

/// Names, sizes and times of everything in the state directory.
fn written(state: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut files: Vec<_> = std::fs::read_dir(state)
        .unwrap()
        .map(|entry| {
            let (entry, name) = (entry.as_ref().unwrap(), entry.as_ref().unwrap().file_name());
            let metadata = entry.metadata().unwrap();
            (name.into_string().unwrap(), metadata.len(), metadata.modified().unwrap())
        })
        // The index of a log in shared memory; it is not the log.
        .filter(|(name, _, _)| !name.ends_with("-shm"))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn the_system_s_clock_decides_nothing_whatever_it_says_and_however_it_jumps() {
    let Some(library) = faketime() else { return };
    let machine = Machine::echo().await;
    let mut hub = Hub::start();
    let mut agent = Agent::enrolled(&hub, "").await;
    let policy = Policy::usual(agent.key(), machine.addr());
    hub.publish(policy.seal(2));
    let clock = agent.dir().join("faketime");
    let says = |time: &str| std::fs::write(&clock, format!("@{time}\n")).unwrap();
    says("1970-01-02 00:00:00");
    agent
        .start_with(&[
            ("LD_PRELOAD", library.as_ref()),
            ("FAKETIME_TIMESTAMP_FILE", clock.as_ref()),
            ("FAKETIME_NO_CACHE", "1".as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
        ])
        .await;
    assert_eq!(hub.applied().await.version, 2);
    until(&agent, FreshnessState::Fresh).await;
    let client = Client::signed_in(&agent, USER, 1).await;
    let mut tunnel = client.tunnel("web").await;
    for year in ["2106-01-01 00:00:00", "1970-01-02 00:00:00", "2026-01-01 00:00:00", "2106-06-01 00:00:00"] {
        says(year);
        tunnel.echo(b"still here").await;
        client.tunnel("web").await.echo(b"and new").await;
        let status = agent.json(&["status"]).await;
        let (now, wall) =
            (status["clock"]["now"].as_u64().unwrap(), status["clock"]["wall"].as_u64().unwrap());
        let shown = UnixTime::from_secs(wall);
        let expected = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", year).unwrap();
        let expected = expected.to_zoned(jiff::tz::TimeZone::system()).unwrap().timestamp().as_second();
        assert!(shown.as_secs().abs_diff(u64::try_from(expected).unwrap()) < 3600, "{year}: it says {shown}");
        assert!(now.abs_diff(crate::policy::now().as_secs()) <= 5, "{year}: {status}");
        assert_eq!(status["freshness"]["state"], "fresh");
    }
}

/// The library of `faketime`, which tells one process another wall clock.
fn faketime() -> Option<std::path::PathBuf> {
    let found = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64"]
        .map(|dir| Path::new(dir).join("faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("POSTERN_REQUIRE_PEERS").is_none(), "faketime is not installed");
        eprintln!("SKIPPED: faketime is not installed");
    }
    found
}
