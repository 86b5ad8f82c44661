//! VNC through the gate: what reaches the machine, what does not, and what the viewer reads when it is over.

use postern_protocol::policy::{Mode, Reason, Rules, VncRules};
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::client::Client;
use crate::panel::{Door, Heard, Panel, Viewer, cut_text, key, pointer};
use crate::policy::{USER, now, pass};
use crate::world::{World, other_user};

/// A world whose `hmi` is a panel with this door, and in which everything may be done there.
async fn world(door: Door) -> (World, Panel) {
    let panel = Panel::start(door).await;
    let mut world = World::start().await;
    world.policy.lead(0, panel.addr());
    world.policy.snapshot.grants[0].mode = Mode::WIDEST;
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
        "the machine asks for a password and its service names none; ask your administrator to name one"
    );
    assert_eq!(closed(&world).await["reason"], "login");
}

#[tokio::test]
async fn what_is_no_vnc_server_is_named_in_the_viewer() {
    let mut world = World::start().await;
    let torrent = crate::machine::Machine::torrent().await;
    world.policy.lead(0, torrent.addr());
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
    flood(&mut viewer).await;
    world.policy.revoke();
    world.publish(4).await;
    assert_eq!(viewer.tunnel.drain().await, reset(Reason::Revoked));
    assert_eq!(closed(&world).await["reason"], "revoked");
    panel.listen();
    while let Heard::Message(message) = panel.heard().await {
        assert_eq!(message.len(), 60_008, "whole messages only");
    }
}

/// Sends more than the kernel keeps for a program that does not read.
async fn flood(viewer: &mut Viewer) {
    let text = cut_text(&"x".repeat(60_000));
    // Everything on the way is full once nothing is taken any more.
    let stuck = std::time::Duration::from_secs(1);
    for _ in 0..2_000 {
        match tokio::time::timeout(stuck, viewer.tunnel.send.write_all(&text)).await {
            Ok(written) => written.unwrap(),
            Err(_full) => return,
        }
    }
    panic!("the panel takes everything");
}

/// The rules of the service `hmi`.
fn rules(world: &mut World) -> &mut VncRules {
    match world.policy.snapshot.services[0].reach.rules_mut() {
        Some(Rules::Vnc(rules)) => rules,
        Some(Rules::Http(_) | Rules::Websocket(_)) | None => panic!("`hmi` is a screen"),
    }
}

fn dropped(count: u64) -> serde_json::Value {
    serde_json::json!({ "forwarded": 0, "dropped": count })
}

#[tokio::test]
async fn nothing_of_what_a_view_only_viewer_does_reaches_the_machine_and_the_picture_goes_on() {
    let (mut world, mut panel) = world(Door::Open).await;
    world.policy.snapshot.grants[0].mode = Mode::ViewOnly;
    world.publish(4).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    let input = [&key(1, 65)[..], &pointer(1), &cut_text("4711"), &key(0, 65), &pointer(0)].concat();
    viewer.say(&input).await;
    assert_eq!(viewer.look().await, 1);
    for byte in input {
        viewer.say(&[byte]).await;
    }
    assert_eq!(viewer.look().await, 2);
    viewer.tunnel.send.finish().unwrap();
    let look = Heard::Message(vec![3, 0, 0, 0, 0, 0, 0, 4, 0, 3]);
    assert_eq!(
        [panel.heard().await, panel.heard().await, panel.heard().await],
        [look.clone(), look, Heard::Left]
    );
    let row = closed(&world).await;
    assert_eq!(
        row["gate"]["vnc"],
        serde_json::json!({
            "began": "view_only", "ended": "view_only", "released": 0,
            "keys": dropped(4), "pointers": dropped(4), "cut_texts": dropped(2),
        })
    );
    let list = world.agent.run(&["audit", "list"]).await.out;
    let words = "view only, 0 keys (4 more dropped), 0 pointer events (4 more dropped), 0 clipboard texts (2 more dropped)";
    assert!(list.contains(words), "{list}");
}

#[tokio::test]
async fn the_clipboard_is_a_right_of_its_own() {
    let (mut world, mut panel) = world(Door::Open).await;
    world.policy.snapshot.grants[0].mode = Mode::Full { clipboard: false };
    world.publish(4).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    viewer.say(&[&cut_text("4711")[..], &key(1, 65), &key(0, 65)].concat()).await;
    assert_eq!((panel.message().await, panel.message().await), (key(1, 65).to_vec(), key(0, 65).to_vec()));
}

#[tokio::test]
async fn full_becomes_view_only_and_full_again_on_the_live_session_within_a_second() {
    let (mut world, mut panel) = world(Door::Open).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    let mut pictures = 0;
    for (version, mode) in [(4, Mode::ViewOnly), (5, Mode::WIDEST), (6, Mode::ViewOnly)] {
        if mode == Mode::ViewOnly {
            viewer.say(&[&pointer(1)[..], &key(1, 65)].concat()).await;
            assert_eq!(
                (panel.message().await, panel.message().await),
                (pointer(1).to_vec(), key(1, 65).to_vec())
            );
        }
        world.policy.snapshot.grants[0].mode = mode;
        world.hub.publish(world.policy.seal(version));
        assert_eq!(world.hub.applied().await.version, version);
        let applied = std::time::Instant::now();
        if mode == Mode::ViewOnly {
            // A jog button does not stay pressed.
            assert_eq!(
                (panel.message().await, panel.message().await),
                (key(0, 65).to_vec(), pointer(0).to_vec())
            );
            viewer.say(&[&pointer(1)[..], &key(1, 66), &cut_text("4711")].concat()).await;
        } else {
            viewer.say(&key(1, 67)).await;
            assert_eq!(panel.message().await, key(1, 67), "what was dropped before does not come back");
            viewer.say(&key(0, 67)).await;
            assert_eq!(panel.message().await, key(0, 67));
        }
        assert!(applied.elapsed() < std::time::Duration::from_secs(1), "{:?}", applied.elapsed());
        pictures += 1;
        assert_eq!(viewer.look().await, pictures, "the session is the same");
    }
    viewer.tunnel.send.finish().unwrap();
    assert_eq!(viewer.tunnel.drain().await, Ok(0));
    let rows = world.agent.json(&["audit", "list"]).await;
    let rows = rows.as_array().unwrap().iter().filter(|row| row["event"] == "changed");
    let told: Vec<_> = rows.map(|row| (&row["version"], &row["before"], &row["mode"])).collect();
    let (look, touch) =
        (serde_json::json!("view_only"), serde_json::json!({ "full": { "clipboard": true } }));
    assert_eq!(
        told,
        [(&4.into(), &touch, &look), (&5.into(), &look, &touch), (&6.into(), &touch, &look)],
        "who could touch when is in the trail"
    );
    let list = world.agent.run(&["audit", "list"]).await.out;
    assert!(list.contains("full, with clipboard, then view only, version 4"), "{list}");
    let counts = &closed(&world).await["gate"]["vnc"];
    assert_eq!(counts["began"], serde_json::json!({ "full": { "clipboard": true } }));
    assert_eq!((&counts["ended"], &counts["released"]), (&"view_only".into(), &4.into()));
    assert_eq!(counts["keys"], serde_json::json!({ "forwarded": 4, "dropped": 2 }));
    assert_eq!((&counts["pointers"]["dropped"], &counts["cut_texts"]), (&2.into(), &dropped(2)));
}

#[tokio::test]
async fn a_machine_that_takes_nothing_does_not_keep_a_narrower_mode_waiting() {
    let (mut world, mut panel) = world(Door::Deaf).await;
    let mut viewer = at_the_screen(&world.client().await, &mut panel).await;
    flood(&mut viewer).await;
    world.policy.snapshot.grants[0].mode = Mode::ViewOnly;
    world.publish(4).await;
    let applied = std::time::Instant::now();
    assert_eq!(viewer.tunnel.drain().await, reset(Reason::ViewOnly));
    assert!(applied.elapsed() < std::time::Duration::from_secs(1), "{:?}", applied.elapsed());
    panel.listen();
    while let Heard::Message(message) = panel.heard().await {
        assert_eq!(message.len(), 60_008, "whole messages only");
    }
}

#[tokio::test]
async fn the_device_logs_in_with_the_secret_that_the_service_names_and_the_viewer_needs_none() {
    let (mut world, mut panel) = world(Door::Password("moulding")).await;
    rules(&mut world).password = Some("panel".parse().unwrap());
    world.publish(4).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("hmi").await;
    assert_eq!(
        Viewer::refused(&mut tunnel).await,
        "the machine's password `panel` is not stored on the device; set it there: `postern-agent secret set panel`"
    );
    assert_eq!(closed(&world).await["reason"], "secret");
    assert_eq!(panel.heard().await, Heard::Left);

    set_secret(&world, "wrong").await;
    let mut tunnel = client.tunnel("hmi").await;
    assert_eq!(
        Viewer::refused(&mut tunnel).await,
        "the machine did not accept the stored password: wrong password"
    );
    world.agent.trail_with("closed", 2).await;
    assert_eq!(closed(&world).await["reason"], "login");
    assert_eq!(panel.heard().await, Heard::Left);

    set_secret(&world, "moulding").await;
    let mut viewer = at_the_screen(&client, &mut panel).await;
    assert_eq!(viewer.look().await, 1);
}

async fn set_secret(world: &World, secret: &str) {
    let done = world.agent.feed(&["secret", "set", "panel", "--stdin"], secret).await;
    assert_eq!(done.code, 0, "{done:?}");
}

#[tokio::test]
async fn the_second_who_wants_to_touch_is_told_who_has_the_seat_and_may_look_until_it_is_free() {
    let (mut world, mut panel) = world(Door::Open).await;
    rules(&mut world).writers = 1;
    world.publish(4).await;
    let client = world.client().await;
    let before = now();
    let mut first = at_the_screen(&client, &mut panel).await;
    let Answer::Occupied { holder, may_look: true } = client.open("hmi").await.answer else {
        panic!("not occupied")
    };
    assert_eq!((holder.user, holder.role), (USER, Some("engineer".parse().unwrap())));
    assert!(before <= holder.since && holder.since <= now(), "{}", holder.since);
    assert_eq!(world.agent.trail().await.last(), Some(&("denied".to_owned(), "concurrency".to_owned())));

    let mut second = Viewer::enter(client.look("hmi").await).await;
    assert_eq!(panel.heard().await, Heard::Entered(1));
    second.say(&pointer(1)).await;
    assert_eq!(second.look().await, 1);
    first.say(&key(1, 65)).await;
    assert_eq!(panel.message().await, key(1, 65), "nothing of the second");

    // Who has nothing granted is told nothing.
    let stranger = Client::connect(&world.agent, 99).await;
    let (user, _) = other_user();
    assert!(matches!(stranger.authenticate(&pass(user, 99, true)).await, Answer::Welcome { .. }));
    assert_eq!(stranger.open("hmi").await.answer, Answer::Denied(Reason::NoGrant));

    first.tunnel.send.finish().unwrap();
    // In order; a picture of the second's click may be on its way.
    assert_eq!(first.tunnel.drain().await.map(drop), Ok(()));
    world.agent.trail_with("closed", 1).await;
    let _third = client.tunnel("hmi").await;
}

#[tokio::test]
async fn a_service_that_is_full_names_its_first_user_and_a_user_that_has_too_many_tunnels_nobody() {
    let (mut world, mut panel) = world(Door::Open).await;
    world.policy.snapshot.services[0].tunnels = 1;
    world.publish(4).await;
    let client = world.client().await;
    let _first = at_the_screen(&client, &mut panel).await;
    for tunnel in [client.open("hmi").await, client.look("hmi").await] {
        let Answer::Occupied { holder, may_look: false } = tunnel.answer else { panic!("not occupied") };
        assert_eq!(holder.user, USER);
    }
    world.policy.snapshot.services[0].tunnels = 2;
    world.policy.snapshot.limits.tunnels_per_user = 1;
    world.publish(5).await;
    assert_eq!(client.open("hmi").await.answer, Answer::Denied(Reason::Concurrency));
}
