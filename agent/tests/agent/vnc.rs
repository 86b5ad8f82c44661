//! VNC through the gate: what reaches the machine, what does not, and what the viewer reads when it is over.

use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::Failure;
use postern_transport::quic::StreamFault;

use crate::client::Client;
use crate::panel::{Door, Heard, Panel, Viewer, cut_text, key, pointer};
use crate::world::World;

/// A world whose `hmi` is a panel with this door.
async fn world(door: Door) -> (World, Panel) {
    let panel = Panel::start(door).await;
    let mut world = World::start().await;
    world.policy.snapshot.services[0].target.port = panel.addr().port();
    world.publish(3).await;
    (world, panel)
}

/// Somebody at the panel's screen.
async fn at_the_screen(client: &Client, panel: &mut Panel) -> Viewer {
    let viewer = Viewer::enter(client.tunnel("hmi").await).await;
    assert_eq!(panel.heard().await, Heard::Entered(1), "an operator at the machine is not thrown out");
    viewer
}

/// The newest `closed` row.
async fn closed(world: &World) -> serde_json::Value {
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "list"]).await;
    let last = rows.as_array().unwrap().iter().rev().find(|row| row["event"] == "closed");
    last.unwrap().clone()
}

fn reset(reason: Reason) -> Result<u64, StreamFault> {
    Err(StreamFault::Reset(reason.number().into()))
}

fn failed(failure: Failure) -> Result<u64, StreamFault> {
    Err(StreamFault::Reset(failure.number().into()))
}

#[tokio::test]
async fn what_a_viewer_does_reaches_the_machine_as_it_is_also_byte_by_byte_and_is_counted() {
    let (world, mut panel) = world(Door::Open).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    assert_eq!(viewer.look().await, 1);
    viewer.say(&[&key(1, 65)[..], &key(0, 65), &pointer(1), &pointer(0)].concat()).await;
    for byte in cut_text("4711") {
        viewer.say(&[byte]).await;
    }
    for expected in [&key(1, 65)[..], &key(0, 65), &pointer(1), &pointer(0), &cut_text("4711")] {
        assert_eq!(panel.message().await, expected);
    }
    assert_eq!(viewer.look().await, 2);
    viewer.tunnel.send.finish().unwrap();
    assert_eq!(viewer.tunnel.drain().await, Ok(0));
    assert_eq!(panel.heard().await, Heard::Message(vec![3, 0, 0, 0, 0, 0, 0, 4, 0, 3]));
    assert_eq!(panel.heard().await, Heard::Left);
    let row = closed(&world).await;
    assert_eq!(row["reason"], "done");
    assert_eq!(row["gate"]["vnc"]["keys"], serde_json::json!({ "forwarded": 2, "dropped": 0 }));
    assert_eq!(row["gate"]["vnc"]["pointers"], serde_json::json!({ "forwarded": 2, "dropped": 0 }));
    assert_eq!(row["gate"]["vnc"]["cut_texts"], serde_json::json!({ "forwarded": 1, "dropped": 0 }));
}

#[tokio::test]
async fn extensions_are_not_asked_for_and_a_message_of_one_ends_the_session_unheard() {
    let (world, mut panel) = world(Door::Open).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    // Raw, and QEMU's extended keys.
    viewer.say(&[2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xfe, 0xfe]).await;
    assert_eq!(panel.message().await, [2, 0, 0, 1, 0, 0, 0, 0]);
    viewer.say(&[&key(1, 65)[..], &[255, 0, 0, 1, 0, 0, 0, 65, 0, 0, 0, 30]].concat()).await;
    assert_eq!(viewer.tunnel.drain().await, failed(Failure::NotUnderstood));
    assert_eq!(panel.message().await, key(1, 65));
    assert_eq!(panel.message().await, key(0, 65), "what is pressed is released");
    assert_eq!(panel.heard().await, Heard::Left);
    assert_eq!(closed(&world).await["reason"], "not_understood");
}

#[tokio::test]
async fn a_viewer_that_leaves_with_a_button_pressed_leaves_it_released() {
    let (world, mut panel) = world(Door::Open).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    viewer.say(&[&pointer(1)[..], &key(1, 65)].concat()).await;
    assert_eq!((panel.message().await, panel.message().await), (pointer(1).to_vec(), key(1, 65).to_vec()));
    viewer.tunnel.send.reset(0);
    assert_eq!((panel.message().await, panel.message().await), (key(0, 65).to_vec(), pointer(0).to_vec()));
    assert_eq!(panel.heard().await, Heard::Left);
    assert_eq!(closed(&world).await["gate"]["vnc"]["released"], 2);
}

#[tokio::test]
async fn withdrawn_access_ends_an_open_session_and_releases_what_is_pressed() {
    let (mut world, mut panel) = world(Door::Open).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    viewer.say(&pointer(1)).await;
    assert_eq!(panel.message().await, pointer(1));
    world.policy.revoke();
    world.publish(4).await;
    assert_eq!(viewer.tunnel.drain().await, reset(Reason::Revoked));
    assert_eq!(panel.message().await, pointer(0));
    assert_eq!(panel.heard().await, Heard::Left);
    assert_eq!(closed(&world).await["reason"], "revoked");
}

#[tokio::test]
async fn access_that_is_withdrawn_during_the_handshake_is_shown_in_the_viewer() {
    let (mut world, _panel) = world(Door::Silent).await;
    let mut tunnel = world.client().await.tunnel("hmi").await;
    world.policy.revoke();
    world.publish(4).await;
    assert_eq!(Viewer::refused(&mut tunnel).await, "your access was withdrawn; ask your administrator why");
    assert_eq!(closed(&world).await["reason"], "revoked");
}

#[tokio::test]
async fn a_machine_that_says_no_is_quoted_in_the_viewer() {
    let (world, _panel) = world(Door::Shut("too many friends")).await;
    let mut tunnel = world.client().await.tunnel("hmi").await;
    assert_eq!(Viewer::refused(&mut tunnel).await, "the machine refused: too many friends");
    assert_eq!(closed(&world).await["reason"], "login");
}

#[tokio::test]
async fn a_machine_that_wants_a_password_which_no_service_names_is_explained_in_the_viewer() {
    let (world, _panel) = world(Door::Password("moulding")).await;
    let mut tunnel = world.client().await.tunnel("hmi").await;
    assert_eq!(
        Viewer::refused(&mut tunnel).await,
        "the machine asks for a password and none is stored for it"
    );
    assert_eq!(closed(&world).await["reason"], "secret");
}

#[tokio::test]
async fn what_is_no_vnc_server_is_named_in_the_viewer() {
    let mut world = World::start().await;
    let torrent = crate::machine::Machine::torrent().await;
    world.policy.snapshot.services[0].target.port = torrent.addr().port();
    world.publish(3).await;
    let mut tunnel = world.client().await.tunnel("hmi").await;
    assert_eq!(Viewer::refused(&mut tunnel).await, "the machine does not speak RFB 3");
    assert_eq!(closed(&world).await["reason"], "login");
}

#[tokio::test]
async fn an_idle_session_ends_with_its_reason_and_so_does_one_that_nobody_begins() {
    let (mut world, mut panel) = world(Door::Open).await;
    world.policy.snapshot.services[0].idle_s = 1;
    world.publish(4).await;
    let client = world.client().await;
    let mut viewer = at_the_screen(&client, &mut panel).await;
    assert_eq!(viewer.tunnel.drain().await, failed(Failure::Idle));
    let mut tunnel = client.tunnel("hmi").await;
    world.agent.trail_with("closed", 2).await;
    assert_eq!(tunnel.drain().await, failed(Failure::Idle), "a viewer that never speaks is told nothing");
}

#[tokio::test]
async fn a_machine_that_takes_nothing_does_not_keep_a_cut_waiting() {
    let (mut world, mut panel) = world(Door::Deaf).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    // More than the kernel keeps for a program that does not read.
    let flood = cut_text(&"x".repeat(60_000));
    let flooding = async { while viewer.tunnel.send.write_all(&flood).await.is_ok() {} };
    let _full = tokio::time::timeout(std::time::Duration::from_millis(500), flooding).await;
    world.policy.revoke();
    world.publish(4).await;
    assert_eq!(viewer.tunnel.drain().await, reset(Reason::Revoked));
    assert_eq!(closed(&world).await["reason"], "revoked");
    panel.listen();
    while let Heard::Message(message) = panel.heard().await {
        assert_eq!(message, flood, "whole messages only");
    }
}
