//! Recordings: what is in them, who can open them, and that without one there is no tunnel.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use postern_protocol::policy::{Mode, Reason};
use postern_protocol::recording::{Event, Fault, Header, Reader, What};
use postern_protocol::trust::Digest;
use postern_protocol::trust::sealed::SealingSecret;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::faults::SmallDisk;
use crate::http::ask;
use crate::panel::{Door, Panel, Viewer};
use crate::policy::{USER, now};
use crate::web::{Says, Web, ok};
use crate::world::{GENEROUS, World};

/// The factory's pair.
fn factory() -> SealingSecret {
    SealingSecret::for_recordings(&[0x5e; 32].into()).unwrap()
}

/// Marks the category of everything.
fn mark(world: &mut World, recorded: bool) {
    world.policy.snapshot.categories[0].record = recorded;
    world.policy.snapshot.recording_key = recorded.then(|| factory().public());
}

/// A world whose panel is recorded, or not.
async fn world(config: &str, recorded: bool) -> (World, Panel) {
    world_at(Door::Open, config, recorded).await
}

/// The same with another panel.
async fn world_at(door: Door, config: &str, recorded: bool) -> (World, Panel) {
    let panel = Panel::start(door).await;
    let mut world = World::start_with(config).await;
    world.policy.lead(0, panel.addr());
    mark(&mut world, recorded);
    world.publish(3).await;
    (world, panel)
}

/// The recordings of the device, as its command lists them.
async fn listed(world: &World) -> Vec<serde_json::Value> {
    world.agent.json(&["recordings", "list"]).await.as_array().unwrap().clone()
}

/// The only recording, exported.
async fn exported(world: &World) -> Vec<u8> {
    let [one] = &listed(world).await[..] else { panic!("one recording is expected") };
    let file = world.agent.dir().join("exported.rec");
    let _first_time = std::fs::remove_file(&file);
    let done = world
        .agent
        .run(&["recordings", "export", one["tunnel"].as_str().unwrap(), file.to_str().unwrap()])
        .await;
    assert_eq!(done.code, 0, "{done:?}");
    std::fs::read(file).unwrap()
}

/// What a recording holds, and how it ends.
fn read(bytes: &[u8]) -> (Header, Vec<Event>, Result<(), Fault>) {
    let mut reader = Reader::new(factory());
    reader.handle_bytes(bytes);
    let mut events = Vec::new();
    while let Some(chunk) = reader.poll_chunk().unwrap() {
        events.extend(chunk.events);
    }
    (reader.header().unwrap().clone(), events, reader.finish())
}

fn shown(events: &[Event]) -> Vec<u8> {
    let bytes = events.iter().filter_map(|event| match &event.what {
        What::Shown(bytes) => Some(bytes.as_slice()),
        What::Screen(_) | What::Format(_) | What::Mode(_) | What::Asked { .. } | What::Answered { .. } => {
            None
        }
    });
    bytes.flatten().copied().collect()
}

async fn row(world: &World, event: &str) -> serde_json::Value {
    world.agent.trail_with(event, 1).await;
    let rows = world.agent.json(&["audit", "list"]).await;
    rows.as_array().unwrap().iter().rev().find(|row| row["event"] == event).unwrap().clone()
}

/// A file on the shelf of a tunnel that began at `begun`.
fn put(world: &World, begun: u64, bytes: usize) -> PathBuf {
    let name = format!("{begun:012}-tun-0102030405060708.rec");
    let path = world.agent.state().join("recordings").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, vec![0; bytes]).unwrap();
    path
}

#[tokio::test]
async fn what_a_viewer_saw_is_recorded_and_only_the_factory_s_key_opens_it() {
    let (world, _panel) = world("", true).await;
    let tunnel = world.client().await.tunnel("hmi").await;
    assert!(matches!(tunnel.answer, Answer::Accepted { recorded: true, .. }), "{:?}", tunnel.answer);
    let mut viewer = Viewer::enter(tunnel).await;
    assert_eq!((viewer.look().await, viewer.look().await), (1, 2));
    viewer.tunnel.send.finish().unwrap();
    assert_eq!(viewer.tunnel.drain().await, Ok(0));
    let recorded = row(&world, "recorded").await;
    let bytes = exported(&world).await;
    assert_eq!(recorded["digest"], Digest::of(&[&bytes]).to_string());
    assert_eq!((&recorded["bytes"], &recorded["recorded"]), (&bytes.len().into(), &true.into()));
    assert_eq!(row(&world, "permitted").await["recorded"], true);

    let (header, events, end) = read(&bytes);
    assert_eq!((header.user, header.service.as_str(), header.category.as_str()), (USER, "hmi", "all"));
    assert_eq!((header.key, end), (factory().public(), Ok(())));
    let What::Screen(screen) = &events[0].what else { panic!("{events:?}") };
    assert_eq!((screen.width, screen.height, screen.name.as_str()), (4, 3, "panel"));
    assert_eq!(events[1].what, What::Mode(Mode::Full { clipboard: false }));
    let update =
        |picture: u8| [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &[picture]].concat();
    assert_eq!(shown(&events), [update(1), update(2)].concat());

    // No other key opens it, and the device has no other half of this one.
    let mut other = Reader::new(SealingSecret::for_recordings(&[1; 32].into()).unwrap());
    other.handle_bytes(&bytes);
    assert_eq!(other.poll_chunk(), Err(Fault::OtherKey { to: factory().public() }));
    for file in walk(world.agent.state()) {
        let held = std::fs::read(&file).unwrap();
        assert!(!held.windows(32).any(|window| window == [0x5e; 32]), "{file:?}");
        assert!(!held.windows(20).any(|window| window == update(1)), "{file:?} has the picture in the open");
    }
}

fn walk(dir: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn what_need_not_be_recorded_is_not() {
    let (world, _panel) = world("", false).await;
    let tunnel = world.client().await.tunnel("hmi").await;
    assert!(matches!(tunnel.answer, Answer::Accepted { recorded: false, .. }), "{:?}", tunnel.answer);
    let mut viewer = Viewer::enter(tunnel).await;
    assert_eq!(viewer.look().await, 1);
    viewer.tunnel.send.finish().unwrap();
    assert_eq!(viewer.tunnel.drain().await, Ok(0));
    assert_eq!(row(&world, "closed").await["reason"], "done");
    assert_eq!(row(&world, "permitted").await["recorded"], serde_json::Value::Null);
    assert_eq!(listed(&world).await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn a_kind_that_cannot_be_recorded_is_refused_where_it_must_be() {
    let (world, _panel) = world("", true).await;
    let client = world.client().await;
    assert_eq!(client.open("web").await.answer, Answer::Failed(Failure::Recording));
    assert_eq!(listed(&world).await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn requests_are_recorded_without_query_and_body() {
    let web = Web::start(|_| Says::This(ok("values"))).await;
    let mut world = crate::http::world(&web, |rules| rules.allow.truncate(1)).await;
    mark(&mut world, true);
    world.publish(4).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let request = "POST /api/values?token=hidden HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nhidden";
    assert!(ask(&mut tunnel, request).await.ends_with("values"));
    tunnel.send.finish().unwrap();
    let _ended = tunnel.drain().await;
    row(&world, "recorded").await;
    let (_, events, end) = read(&exported(&world).await);
    let asked = What::Asked { method: Text::clean("POST"), path: Text::clean("/api/values") };
    let answered = What::Answered { status: Some(200), reason: None, bytes: 6 };
    assert_eq!(events.into_iter().map(|event| event.what).collect::<Vec<_>>(), [asked, answered]);
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn without_room_nothing_is_opened_and_what_is_old_enough_makes_room() {
    for (begun, opens) in [(now().as_secs(), false), (1_000, true)] {
        let (mut world, _panel) = world("[recordings]\nsize_mib = 1\n", true).await;
        let kept = put(&world, begun, 1024 * 1024);
        world.agent.stop().await;
        world.agent.start().await;
        let answer = world.client().await.open("hmi").await.answer;
        if opens {
            assert!(matches!(answer, Answer::Accepted { recorded: true, .. }), "{answer:?}");
            assert_eq!(row(&world, "recording_removed").await["tunnel"], "tun-0102030405060708");
        } else {
            assert_eq!(answer, Answer::Failed(Failure::Recording));
            assert_eq!(row(&world, "failed").await["reason"], "recording");
        }
        assert_eq!(kept.exists(), !opens);
    }
}

#[tokio::test]
async fn a_session_whose_recording_finds_no_more_room_ends_and_what_was_written_stays() {
    let (mut world, _panel) = world("[recordings]\nsize_mib = 1\n", true).await;
    put(&world, now().as_secs(), 1024 * 1024 - 72 * 1024);
    world.agent.stop().await;
    world.agent.start().await;
    let mut viewer = Viewer::enter(world.client().await.tunnel("hmi").await).await;
    // It may be over before all of it is said.
    let _over = viewer.tunnel.send.write_all(&[3, 0, 0, 0, 0, 0, 0, 4, 0, 3].repeat(50_000)).await;
    assert_eq!(viewer.tunnel.drain().await, Err(StreamFault::Reset(Failure::Recording.number().into())));
    let recorded = row(&world, "recorded").await;
    assert_eq!(recorded["recorded"], false);
    let bytes = exported(&world).await;
    assert_eq!(recorded["digest"], Digest::of(&[&bytes]).to_string());
    let (_, events, end) = read(&bytes);
    assert!(shown(&events).len() > 10_000, "{}", events.len());
    assert!(matches!(end, Err(Fault::Cut { .. })), "{end:?}");
}

#[tokio::test]
async fn a_session_ends_when_its_recording_is_as_long_as_one_may_be_and_the_next_one_is_recorded_again() {
    for (film, is_whole) in [(512 * 1024, true), (2 * 1024 * 1024, false)] {
        let (world, _panel) = world_at(Door::Film(film), "[recordings]\neach_mib = 1\n", true).await;
        let client = world.client().await;
        let mut viewer = Viewer::enter(client.tunnel("hmi").await).await;
        let recorded = if is_whole {
            let mut seen = vec![0; film];
            tokio::time::timeout(GENEROUS, viewer.tunnel.recv.read_exact(&mut seen)).await.unwrap().unwrap();
            viewer.tunnel.send.finish().unwrap();
            assert_eq!(viewer.tunnel.drain().await, Ok(0));
            row(&world, "recorded").await
        } else {
            let lost = Err(StreamFault::Reset(Failure::Recording.number().into()));
            assert_eq!(viewer.tunnel.drain().await, lost);
            row(&world, "recorded").await
        };
        assert_eq!(recorded["recorded"], is_whole);
        let bytes = exported(&world).await;
        assert_eq!(recorded["digest"], Digest::of(&[&bytes]).to_string());
        let (_, events, end) = read(&bytes);
        if is_whole {
            assert_eq!((shown(&events).len(), end), (film, Ok(())));
        } else {
            assert!((900 * 1024..=1024 * 1024).contains(&bytes.len()), "{}", bytes.len());
            assert!(matches!(end, Err(Fault::Cut { .. })), "{end:?}");
        }
        assert!(matches!(client.open("hmi").await.answer, Answer::Accepted { recorded: true, .. }));
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_more_ends_the_session_opens_none_and_leaves_a_recording_that_the_trail_vouches_for()
 {
    let (world, _panel) = world_at(Door::Film(4 * 1024 * 1024), "", true).await;
    let Some(_disk) = SmallDisk::mount(world.agent.state().join("recordings")) else { return };
    let client = world.client().await;
    let mut viewer = Viewer::enter(client.tunnel("hmi").await).await;
    assert_eq!(viewer.tunnel.drain().await, Err(StreamFault::Reset(Failure::Recording.number().into())));
    let recorded = row(&world, "recorded").await;
    assert_eq!(recorded["recorded"], false);
    let bytes = exported(&world).await;
    assert_eq!((&recorded["bytes"], bytes.len() > 512 * 1024), (&bytes.len().into(), true));
    assert_eq!(recorded["digest"], Digest::of(&[&bytes]).to_string(), "half a chunk is taken back");
    assert!(matches!(read(&bytes).2, Err(Fault::Cut { .. })));

    // The disk is full to its last block, and nothing is left of what could not begin.
    let kept = walk(world.agent.state().join("recordings"));
    let ballast = world.agent.state().join("recordings/ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
    for _ in 0..3 {
        assert_eq!(client.open("hmi").await.answer, Answer::Failed(Failure::Recording));
    }
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(walk(world.agent.state().join("recordings")), kept);
    assert_eq!(row(&world, "failed").await["reason"], "recording");

    // Room heals it.
    let tunnel = listed(&world).await[0]["tunnel"].as_str().unwrap().to_owned();
    assert_eq!(world.agent.run(&["recordings", "remove", &tunnel]).await.code, 0);
    assert!(matches!(client.open("hmi").await.answer, Answer::Accepted { recorded: true, .. }));
}

#[tokio::test]
async fn a_mark_ends_an_open_tunnel_within_a_second_and_the_next_one_is_recorded() {
    let (mut world, _panel) = world("", false).await;
    let client = world.client().await;
    let mut viewer = Viewer::enter(client.tunnel("hmi").await).await;
    assert_eq!(viewer.look().await, 1);
    mark(&mut world, true);
    let begun = Instant::now();
    world.publish(4).await;
    assert_eq!(viewer.tunnel.drain().await, Err(StreamFault::Reset(Failure::Recorded.number().into())));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let mut viewer = Viewer::enter(client.tunnel("hmi").await).await;
    assert_eq!(viewer.look().await, 2 - 1);
    // The other way round it goes on: its user was told.
    mark(&mut world, false);
    world.publish(5).await;
    assert_eq!(viewer.look().await, 2);
    assert_eq!(listed(&world).await.len(), 1);
}

#[tokio::test]
async fn a_power_cut_leaves_what_was_sealed() {
    let (mut world, _panel) = world("", true).await;
    let mut viewer = Viewer::enter(world.client().await.tunnel("hmi").await).await;
    assert_eq!(viewer.look().await, 1);
    let bytes = async || listed(&world).await[0]["bytes"].as_u64().unwrap();
    let begun = bytes().await;
    let sealed = async { while bytes().await == begun {} };
    tokio::time::timeout(GENEROUS, sealed).await.unwrap();
    world.agent.kill().await;
    let (_, events, end) = read(&exported(&world).await);
    assert_eq!((shown(&events).len(), end), (20, Err(Fault::Cut { chunks: 1 })));
    // What was cut is no less a recording for the next start.
    world.agent.start().await;
    let tunnel = listed(&world).await[0]["tunnel"].as_str().unwrap().to_owned();
    assert_eq!(world.agent.run(&["recordings", "remove", &tunnel]).await.code, 0);
    assert_eq!(listed(&world).await.len(), 0);
    assert_eq!(row(&world, "recording_removed").await["tunnel"], tunnel);
    let again = world.agent.run(&["recordings", "remove", &tunnel]).await;
    assert_eq!(again.code, 1, "{again:?}");
}

#[tokio::test]
async fn withdrawn_access_ends_a_recorded_session_and_its_recording_is_whole() {
    let (mut world, _panel) = world("", true).await;
    let mut viewer = Viewer::enter(world.client().await.tunnel("hmi").await).await;
    assert_eq!(viewer.look().await, 1);
    world.policy.revoke();
    world.publish(4).await;
    assert_eq!(viewer.tunnel.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    assert_eq!(row(&world, "recorded").await["recorded"], true);
    assert_eq!(read(&exported(&world).await).2, Ok(()));
}
