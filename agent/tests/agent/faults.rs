//! Damaged, full, shared and unsafe state: each denies its own thing and loses nothing.

use std::os::unix::fs::PermissionsExt;

use postern_protocol::policy::Reason;
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::client::Client;
use crate::hub::Hub;
use crate::machine::Machine;
use crate::policy::{Policy, USER};
use crate::world::{Agent, World};

#[tokio::test]
async fn a_damaged_policy_database_is_set_aside_and_the_hub_heals_it() {
    let mut world = World::start().await;
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    std::fs::write(state.join("policy.db"), vec![0x5a; 20_000]).unwrap();
    let mut hub = std::mem::replace(&mut world.hub, Hub::start());
    world.agent.start().await;
    let hello = loop {
        let hello = hub.hello().await;
        if !hello.active {
            break hello;
        }
    };
    assert_eq!(hello.held.map(|held| held.version), Some(2), "the floor file remembers");
    assert_eq!(hub.applied().await.version, 2);
    Client::signed_in(&world.agent, USER, 1).await.tunnel("web").await.echo(b"healed").await;
    assert!(state.join("policy.db.damaged-0").exists());
}

#[tokio::test]
async fn a_damaged_policy_database_denies_while_the_hub_is_away() {
    let mut world = World::start().await;
    assert_eq!(world.agent.stop().await, Some(0));
    drop(world.hub);
    std::fs::write(world.agent.state().join("policy.db"), b"SQLite format 3\0 and nonsense").unwrap();
    world.agent.start().await;
    let client = Client::signed_in(&world.agent, USER, 1).await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoPolicy));
    assert_eq!(client.services().await, Answer::Denied(Reason::NoPolicy));
}

#[tokio::test]
async fn a_changed_snapshot_in_the_database_is_not_believed() {
    let mut world = World::start().await;
    assert_eq!(world.agent.stop().await, Some(0));
    let path = world.agent.state().join("policy.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(6).rposition(|window| window == b"secret").unwrap();
    bytes[place] = b'S' ^ 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let check = world.agent.run(&["check"]).await;
    assert_eq!(check.code, 6, "{check:?}");
    drop(world.hub);
    world.agent.start().await;
    let client = Client::signed_in(&world.agent, USER, 1).await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoPolicy));
}

#[tokio::test]
async fn a_damaged_trail_is_set_aside_and_a_new_one_begins() {
    let mut world = World::start().await;
    world.client().await.tunnel("web").await.echo(b"recorded").await;
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    std::fs::write(state.join("audit.db"), vec![1; 9000]).unwrap();
    world.agent.start().await;
    world.client().await.tunnel("web").await.echo(b"recorded anew").await;
    assert!(state.join("audit.db.damaged-0").exists());
    let trail = world.agent.trail().await;
    assert_eq!(trail[0], ("gap".to_owned(), "lost".to_owned()));
    assert_eq!(trail[1].0, "started");
}

#[tokio::test]
async fn a_full_trail_opens_nothing_and_live_tunnels_go_on() {
    let world = World::start_with("[audit]\nsize_kib = 256").await;
    let client = world.client().await;
    let mut live = client.tunnel("live").await;
    live.echo(b"open").await;
    let mut permitted = 1;
    let answer = loop {
        let mut tunnel = client.open("web").await;
        if !matches!(tunnel.answer, Answer::Accepted { .. }) {
            break tunnel.answer;
        }
        permitted += 1;
        tunnel.send.finish().unwrap();
        tunnel.drain().await.unwrap();
        assert!(permitted < 5000, "the trail never fills");
    };
    assert_eq!(answer, Answer::Failed(Failure::Unrecorded));
    live.echo(b"still open").await;
    let status = world.agent.json(&["status"]).await;
    assert!(status["audit"]["percent"].as_u64().unwrap() >= 95, "{status}");
    live.send.finish().unwrap();
    live.drain().await.unwrap();
    // The reserve records what ends.
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "verify"]).await;
    assert!(rows["rows"].as_u64().unwrap() > permitted, "{rows}");
}

#[tokio::test]
async fn a_second_agent_on_the_same_state_is_refused() {
    let world = World::start().await;
    let second = world.agent.run(&["run"]).await;
    assert_eq!(second.code, 7);
    assert!(second.err.contains("another agent works on"), "{second:?}");
    world.client().await.tunnel("web").await.echo(b"the first goes on").await;
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused_with_what_to_do() {
    let hub = Hub::start();
    let agent = Agent::enrolled(&hub, "").await;
    let key = agent.state().join("device.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for command in [&["run"][..], &["check"]] {
        let refused = agent.run(command).await;
        assert_eq!(refused.code, 6, "{refused:?}");
        assert!(refused.err.contains("mode 0644") && refused.err.contains("chmod 600"), "{refused:?}");
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(agent.run(&["check"]).await.code, 0);
}

/// A small disk of its own, which only root can make.
pub(crate) struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None without root, where that is allowed.
    pub(crate) fn mount(at: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"])
            .arg(&at)
            .stderr(std::process::Stdio::null())
            .status();
        let disk = mounted.is_ok_and(|status| status.success()).then_some(Self(at));
        if disk.is_none() {
            assert!(std::env::var_os("POSTERN_REQUIRE_PEERS").is_none(), "this test needs root");
            eprintln!("SKIPPED: mounting a small disk needs root");
        }
        disk
    }

    /// Has it take writes, or none.
    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let mounted = std::process::Command::new("mount").args(["-o", &option]).arg(&self.0).status();
        assert!(mounted.unwrap().success());
    }
}

/// A world whose agent keeps its state on a small disk, which goes first.
async fn on_a_small_disk() -> Option<(World, SmallDisk)> {
    let (machine, mut hub, mut agent) = (Machine::echo().await, Hub::start(), Agent::new(""));
    let disk = SmallDisk::mount(agent.state())?;
    assert_eq!(agent.run(&["enroll", &hub.code()]).await.code, 0);
    let policy = Policy::usual(agent.key(), machine.addr());
    hub.publish(policy.seal(2));
    agent.start().await;
    assert_eq!(hub.applied().await.version, 2);
    Some((World { hub, machine, agent, policy }, disk))
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_opens_nothing_still_cuts_what_is_withdrawn_and_heals_when_there_is_room() {
    let Some((mut world, disk)) = on_a_small_disk().await else { return };
    let client = Client::signed_in(&world.agent, USER, 1).await;
    let mut live = client.tunnel("live").await;
    let ballast = disk.0.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
    let mut opened = 0;
    while !matches!(client.open("web").await.answer, Answer::Failed(Failure::Unrecorded)) {
        opened += 1;
        assert!(opened < 1000, "the disk is not full");
    }
    live.echo(b"live tunnels go on").await;
    let mut withdrawn = Policy::usual(world.agent.key(), world.machine.addr());
    withdrawn.revoke();
    world.hub.publish(withdrawn.seal(3));
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.version, code), (3, NackCode::Storage));
    // It cannot be stored, and it holds all the same.
    assert_eq!(live.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    world.hub.publish(world.policy.seal(4));
    assert_eq!(world.hub.stored().await.version, 4);
    client.tunnel("web").await.echo(b"room again").await;
    assert_eq!(world.agent.run(&["audit", "verify"]).await.code, 0);
    assert_eq!(world.agent.stop().await, Some(0));
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_any_more_opens_nothing_stops_no_start_and_heals_when_it_does() {
    let Some((mut world, disk)) = on_a_small_disk().await else { return };
    assert_eq!(world.agent.stop().await, Some(0));
    disk.remount("ro");
    world.agent.start().await;
    let client = Client::signed_in(&world.agent, USER, 1).await;
    // The hub sends it again, it is in force and cannot be stored; and without a row nothing is opened.
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.version, code), (2, NackCode::Storage));
    assert_eq!(client.open("web").await.answer, Answer::Failed(Failure::Unrecorded));
    disk.remount("rw");
    world.hub.publish(world.policy.seal(3));
    assert_eq!(world.hub.stored().await.version, 3);
    let opened = async { while !matches!(client.open("web").await.answer, Answer::Accepted { .. }) {} };
    tokio::time::timeout(crate::world::GENEROUS, opened).await.unwrap();
    assert_eq!(world.agent.stop().await, Some(0));
}

#[tokio::test]
async fn the_snapshot_that_is_in_force_is_acknowledged_again_and_written_once() {
    let mut world = World::start().await;
    assert_eq!(world.agent.stop().await, Some(0));
    world.hub.replay(world.policy.seal(2));
    world.agent.start().await;
    assert_eq!(world.hub.applied().await.version, 2);
    let trail = world.agent.trail().await;
    assert_eq!(trail.iter().filter(|(event, _)| event == "policy_applied").count(), 1, "{trail:?}");
}
