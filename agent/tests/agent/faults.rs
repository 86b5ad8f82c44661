//! Damaged, full, shared and unsafe state: each denies its own thing and loses nothing.

use std::os::unix::fs::PermissionsExt;

use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::tunnel::Answer;

use crate::client::Client;
use crate::hub::Hub;
use crate::policy::USER;
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
    assert_eq!(trail[0].0, "started");
}

#[tokio::test]
async fn a_full_trail_opens_nothing_and_live_tunnels_go_on() {
    let world = World::start_with("[audit]\nsize_kib = 256").await;
    let client = world.client().await;
    let mut live = client.tunnel("hmi").await;
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
