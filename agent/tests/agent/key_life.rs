//! The life of the device's key and of what hangs on it: rotated, replaced, out of service, wiped; and what a power
//! cut leaves at each step.

use std::path::Path;

use postern_protocol::policy::Reason;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::{ConnectError, Endpoint, Role, Settings, StreamFault};

use crate::client::Client;
use crate::hub::Hub;
use crate::policy::{DEVICE, Policy, USER, secret};
use crate::world::{Agent, World};

const KEY: &str = "device.key";
pub(crate) const NEXT: &str = "device.key.next";

/// Announces a next key and returns it; the hub has heard of it.
async fn rotate(world: &mut World) -> PublicKey {
    let old = world.agent.key();
    let told = world.agent.json(&["key", "rotate"]).await;
    let (next, present) = world.hub.next_key().await;
    assert_eq!((present, next.holds(DEVICE, &old)), (old, true));
    assert_eq!(told["next_fingerprint"], next.key.fingerprint().to_string());
    next.key
}

/// Signs the policy for another key of the device.
pub(crate) fn policy_for(policy: &Policy, key: PublicKey) -> Policy {
    let mut policy = policy.clone();
    policy.snapshot.device_key = key;
    policy
}

/// A secret that is set on the device, and how it is listed while it opens.
pub(crate) async fn set_secret(agent: &Agent) {
    let set = agent.feed(&["secret", "set", "hmi", "--stdin"], "4711").await;
    assert_eq!(set.code, 0, "{set:?}");
    assert_eq!(secrets(agent).await, OPENS);
}

pub(crate) const OPENS: &str = "SECRET  SOURCE    STATE\nhmi     set here  opens\n";

pub(crate) async fn secrets(agent: &Agent) -> String {
    agent.run(&["secret", "list"]).await.out
}

/// Keeps a copy of all files of a state directory.
pub(crate) fn keep(state: &Path, name: &str) -> std::path::PathBuf {
    let kept = state.with_file_name(name);
    std::fs::create_dir(&kept).unwrap();
    for file in std::fs::read_dir(state).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), kept.join(file.file_name())).unwrap();
    }
    kept
}

/// Makes a state directory what a kept one was, and takes `newer` files from another.
pub(crate) fn restore(state: &Path, older: &Path, newer: &Path, files: &[(&str, &str)]) {
    std::fs::remove_dir_all(state).unwrap();
    std::fs::rename(keep(older, "being-restored"), state).unwrap();
    std::fs::set_permissions(state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for (from, to) in files {
        std::fs::copy(newer.join(from), state.join(to)).unwrap();
    }
}

#[tokio::test]
async fn a_rotated_key_takes_over_without_cutting_a_tunnel_and_the_old_one_is_presented_no_more() {
    let mut world = World::start().await;
    let old = world.agent.key();
    let mut tunnel = world.client().await.tunnel("web").await;
    set_secret(&world.agent).await;
    let next = rotate(&mut world).await;
    tunnel.echo(b"announced").await;
    let status = world.agent.json(&["status"]).await;
    assert_eq!(status["fingerprint"], old.fingerprint().to_string());
    assert_eq!(status["next_fingerprint"], next.fingerprint().to_string());
    world.hub.publish(policy_for(&world.policy, next).seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    let (key, hello) = world.hub.greeted_by().await;
    assert_eq!((key, hello.held.map(|held| held.version)), (next, Some(3)));
    assert_eq!(world.agent.key(), next);
    assert!(!world.agent.state().join(NEXT).exists());
    assert_eq!(secrets(&world.agent).await, OPENS);
    tunnel.echo(b"in force").await;
    // Those who connect now see the new key, and a client that expects the old one notices.
    world.client().await.tunnel("web").await.echo(b"new key").await;
    let addr = "127.0.0.1:0".parse().unwrap();
    let endpoint = Endpoint::bind(addr, &secret(50), Role::Client, &Settings::session()).unwrap();
    let alpns = postern_protocol::wire::registry::ALPNS_TUNNEL;
    let dialled = endpoint.connect(world.agent.listening(), old, alpns, &Settings::session()).await;
    assert_eq!(dialled.err(), Some(ConnectError::UnexpectedKey { expected: old, found: next }));
    let status = world.agent.json(&["status"]).await;
    assert_eq!(
        (&status["fingerprint"], &status["next_fingerprint"]),
        (&next.fingerprint().to_string().into(), &serde_json::Value::Null)
    );
    assert_eq!(world.agent.json(&["check"]).await["fingerprint"], next.fingerprint().to_string());
    world.agent.trail_with("key_changed", 1).await;
}

#[tokio::test]
async fn a_snapshot_for_a_key_that_was_never_announced_is_refused() {
    let mut world = World::start().await;
    let stranger = secret(66).public();
    world.hub.publish(policy_for(&world.policy, stranger).seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Addressee);
    rotate(&mut world).await;
    world.hub.publish(policy_for(&world.policy, stranger).seal(4));
    assert_eq!(world.hub.refused().await.1, NackCode::Addressee);
    // The present key goes on to work while another is announced.
    world.publish(5).await;
    world.client().await.tunnel("web").await.echo(b"the old key").await;
}

#[tokio::test]
async fn a_power_cut_after_the_announcement_leaves_the_old_key_and_the_same_next_one() {
    let mut world = World::start().await;
    let old = world.agent.key();
    let next = rotate(&mut world).await;
    world.agent.kill().await;
    world.agent.start().await;
    let (announced, present) = world.hub.next_key().await;
    assert_eq!((announced.key, present), (next, old));
    world.client().await.tunnel("web").await.echo(b"the old key").await;
    world.hub.publish(policy_for(&world.policy, next).seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    assert_eq!(world.hub.greeted_by().await.0, next);
    assert_eq!(world.agent.key(), next);
}

#[tokio::test]
async fn each_step_of_a_rotation_leaves_the_old_key_or_the_new_one_in_force() {
    let mut world = World::start_marked().await;
    let old = world.agent.key();
    set_secret(&world.agent).await;
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    let before = keep(&state, "before");
    world.agent.start().await;
    let next = rotate(&mut world).await;
    let next_file = std::fs::read(state.join(NEXT)).unwrap();
    world.hub.publish(policy_for(&world.policy, next).seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    assert_eq!(world.agent.stop().await, Some(0));
    let after = keep(&state, "after");
    std::fs::write(after.join("half"), &next_file[..20]).unwrap();
    let written = (KEY, NEXT);
    let steps: [(&[(&str, &str)], bool); 6] = [
        (&[], false),
        (&[("half", "device.key.partial")], false),
        (&[written], false),
        // The commit point, then the copies of the floor, then the name of the key.
        (&[written, ("policy.db", "policy.db")], true),
        (&[written, ("policy.db", "policy.db"), ("floor.a", "floor.a"), ("floor.b", "floor.b")], true),
        (&[(KEY, KEY), ("policy.db", "policy.db"), ("floor.a", "floor.a"), ("floor.b", "floor.b")], true),
    ];
    for (step, (files, is_new)) in steps.into_iter().enumerate() {
        restore(&state, &before, &after, files);
        let expected = if is_new { next } else { old };
        let check = world.agent.json(&["check"]).await;
        assert_eq!(check["fingerprint"], expected.fingerprint().to_string(), "step {step}");
        assert_eq!(check["policy"]["version"], if is_new { 3 } else { 2 }, "step {step}");
        assert_eq!(secrets(&world.agent).await, OPENS, "step {step}, stopped");
        world.hub.fall_silent();
        world.agent.start().await;
        assert_eq!(secrets(&world.agent).await, OPENS, "step {step}, running");
        assert_eq!(world.hub.greeted_by().await.0, expected, "step {step}");
        assert_eq!(world.agent.key(), expected, "step {step}: the file has the key in force");
        world.client().await.tunnel("web").await.echo(b"works").await;
        assert_eq!(world.agent.stop().await, Some(0));
    }
}

#[tokio::test]
async fn a_next_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::start_marked().await;
    let next = rotate(&mut world).await;
    assert_eq!(world.agent.stop().await, Some(0));
    let path = world.agent.state().join(NEXT);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    world.agent.start().await;
    world.hub.publish(policy_for(&world.policy, next).seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Addressee);
    let refused = world.agent.run(&["key", "rotate"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("mode 0644"), "{refused:?}");
    world.client().await.tunnel("web").await.echo(b"the old key").await;
}

#[tokio::test]
async fn a_hub_that_asks_gets_a_new_key_and_not_one_for_each_question() {
    let mut world = World::start().await;
    world.hub.want_key();
    world.agent.kill().await;
    world.agent.start().await;
    let (first, _) = world.hub.next_key().await;
    world.hub.publish(policy_for(&world.policy, first.key).seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    // The new link is asked again, within the hour.
    let (key, _) = world.hub.greeted_by().await;
    assert_eq!(key, first.key);
    world.policy = policy_for(&world.policy, first.key);
    world.publish(4).await;
    assert_eq!(world.agent.json(&["status"]).await["next_fingerprint"], serde_json::Value::Null);
}

#[tokio::test]
async fn without_an_agent_there_is_nobody_who_could_announce_a_key() {
    let hub = Hub::start();
    let agent = Agent::enrolled(&hub, "").await;
    let refused = agent.run(&["key", "rotate"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(!agent.state().join(NEXT).exists());
}

#[tokio::test]
async fn a_run_has_one_name_on_all_of_its_links_and_a_restart_another_one() {
    let mut world = World::start().await;
    world.agent.kill().await;
    world.agent.start().await;
    let first = world.hub.hello().await;
    world.hub.drop_link();
    let again = world.hub.hello().await;
    assert_eq!(again.life, first.life);
    world.agent.kill().await;
    world.agent.start().await;
    let restarted = world.hub.hello().await;
    assert_ne!(restarted.life, first.life);
    assert_eq!(restarted.boots, first.boots + 1);
}

#[tokio::test]
async fn a_device_is_enrolled_anew_with_a_new_key_and_keeps_its_trail() {
    let mut world = World::start().await;
    let old = world.agent.key();
    world.client().await.tunnel("web").await.echo(b"recorded").await;
    let running = world.agent.run(&["enroll", &world.hub.code(), "--replace"]).await;
    assert_eq!(running.code, 7, "a running agent is not replaced under its feet: {running:?}");
    assert_eq!(world.agent.stop().await, Some(0));
    let rows = world.agent.trail().await.len();
    let enrolled = world.agent.json(&["enroll", &world.hub.code(), "--replace"]).await;
    let new = world.agent.key();
    assert_ne!(new, old);
    assert_eq!(enrolled["fingerprint"], new.fingerprint().to_string());
    assert!(!world.agent.state().join(NEXT).exists());
    let trail = world.agent.trail().await;
    assert_eq!((trail.len(), trail[rows].0.as_str()), (rows + 1, "enrolled"));
    assert_eq!(world.agent.run(&["audit", "verify"]).await.code, 0);
    assert_eq!(world.agent.json(&["check"]).await["policy"]["version"], 101);
    world.hub.fall_silent();
    world.agent.start().await;
    assert_eq!(world.hub.greeted_by().await.0, new);
    assert_eq!(world.client().await.open("web").await.answer, Answer::Denied(Reason::NoGrant));
    world.hub.publish(policy_for(&world.policy, old).seal(102));
    assert_eq!(world.hub.refused().await.1, NackCode::Addressee, "the old key is of the past");
}

#[tokio::test]
async fn a_refused_code_replaces_nothing_and_a_device_without_enrolment_has_none_to_replace() {
    let mut world = World::start().await;
    let old = world.agent.key();
    assert_eq!(world.agent.stop().await, Some(0));
    let refused = world.agent.run(&["enroll", &world.hub.wrong_code(), "--replace"]).await;
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.err.contains("the code is unknown, used or expired"), "{refused:?}");
    assert!(!world.agent.state().join(NEXT).exists());
    world.agent.start().await;
    assert_eq!(world.hub.greeted_by().await.0, old);
    world.client().await.tunnel("web").await.echo(b"as before").await;
    let fresh = Agent::new("");
    let nothing = fresh.run(&["enroll", &world.hub.code(), "--replace"]).await;
    assert_eq!(nothing.code, 3, "{nothing:?}");
}

#[tokio::test]
async fn each_step_of_a_new_enrolment_leaves_the_old_one_or_the_new_one_whole() {
    let mut world = World::start().await;
    let old = world.agent.key();
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    let before = keep(&state, "before");
    assert_eq!(world.agent.run(&["enroll", &world.hub.code(), "--replace"]).await.code, 0);
    let new = world.agent.key();
    let after = keep(&state, "after");
    let (written, commit) = ((KEY, NEXT), ("policy.db", "policy.db"));
    let (named, copied) = ((KEY, KEY), ("enrollment", "enrollment"));
    let steps: [(&[(&str, &str)], bool); 6] = [
        (&[], false),
        (&[written], false),
        (&[written, commit], true),
        (&[named, commit], true),
        (&[named, commit, copied], true),
        (&[named, commit, copied, ("floor.a", "floor.a"), ("floor.b", "floor.b")], true),
    ];
    for (step, (files, is_new)) in steps.into_iter().enumerate() {
        restore(&state, &before, &after, files);
        let check = world.agent.json(&["check"]).await;
        let expected = if is_new { new } else { old };
        assert_eq!(check["fingerprint"], expected.fingerprint().to_string(), "step {step}");
        assert_eq!(check["policy"]["version"], if is_new { 101 } else { 2 }, "step {step}");
        world.hub.fall_silent();
        world.agent.start().await;
        assert_eq!(world.hub.greeted_by().await.0, expected, "step {step}");
        assert_eq!(world.agent.key(), expected, "step {step}");
        assert_eq!(world.agent.stop().await, Some(0));
    }
    // The code is good for the key that was made for it: the same command finishes what was begun.
    restore(&state, &before, &after, &[written]);
    assert_eq!(world.agent.run(&["enroll", &world.hub.code(), "--replace"]).await.code, 0);
    assert_eq!(world.agent.key(), new);
}

/// Whether any file of the state but the trail contains `bytes`.
fn holds(state: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(state).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let content = std::fs::read(file.path()).unwrap();
        if !name.starts_with("audit.db") && content.windows(bytes.len()).any(|window| window == bytes) {
            found.push(name);
        }
    }
    found
}

#[tokio::test]
async fn a_device_out_of_service_cuts_everything_forgets_everybody_and_can_come_back() {
    let mut world = World::start().await;
    for version in 3..8 {
        world.publish(version).await;
    }
    let state = world.agent.state();
    std::fs::copy(state.join("policy.db"), state.join("policy.db.damaged-0")).unwrap();
    assert_ne!(holds(&state, b"\x04live"), Vec::<String>::new());
    assert_ne!(holds(&state, USER.as_bytes()), Vec::<String>::new());
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"in service").await;
    let key = world.agent.key();
    world.hub.publish(Policy::retired(key).seal(8));
    assert_eq!(world.hub.applied().await.version, 8);
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::DeviceUnassigned.number().into())));
    assert_eq!(holds(&state, b"\x04live"), Vec::<String>::new());
    assert_eq!(holds(&state, USER.as_bytes()), Vec::<String>::new());
    let status = world.agent.run(&["status"]).await;
    assert!(status.out.contains("the device is out of service, everything is denied"), "{status:?}");
    assert_eq!(world.agent.json(&["status"]).await["policy"]["retired"], true);
    let trail = world.agent.trail_with("retired", 1).await;
    assert_eq!(trail.iter().filter(|(event, _)| event == "retired").count(), 1);
    // Also after a power cut; and the key is still there, so that no thief of a signing key can end a device for good.
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(world.hub.greeted_by().await.0, key);
    assert_eq!(world.client().await.open("web").await.answer, Answer::Denied(Reason::DeviceUnassigned));
    world.publish(9).await;
    world.client().await.tunnel("web").await.echo(b"in service again").await;
}

/// Where `bytes` lie in the memory of a process.
fn in_memory(pid: u32, bytes: &[u8]) -> Vec<String> {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        // Some mappings belong to the kernel.
        if memory.read_exact_at(&mut content, from).is_ok()
            && content.windows(bytes.len()).any(|window| window == bytes)
        {
            found.push(line.to_owned());
        }
    }
    found
}

#[tokio::test]
async fn a_device_out_of_service_forgets_the_secrets_that_were_set_on_it_on_the_disk_and_in_memory() {
    let mut world = World::start().await;
    set_secret(&world.agent).await;
    let state = world.agent.state();
    let database = rusqlite::Connection::open(state.join("policy.db")).unwrap();
    let sealed: Vec<u8> = database.query_row("SELECT sealed FROM secret", [], |row| row.get(0)).unwrap();
    drop(database);
    // What is in memory from here on was read at the start.
    world.agent.kill().await;
    world.hub.fall_silent();
    world.agent.start().await;
    world.hub.greeted_by().await;
    let pid = world.agent.pid();
    assert_ne!(in_memory(pid, &sealed), Vec::<String>::new());
    assert_ne!(holds(&state, &sealed), Vec::<String>::new());
    let key = world.agent.key();
    world.hub.publish(Policy::retired(key).seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    let none = "SECRET  SOURCE  STATE\n";
    assert_eq!(secrets(&world.agent).await, none);
    assert_eq!(in_memory(pid, &sealed), Vec::<String>::new());
    assert_eq!(holds(&state, &sealed), Vec::<String>::new());
    // They do not come back with the service, nor with a start.
    world.publish(4).await;
    assert_eq!(secrets(&world.agent).await, none);
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(secrets(&world.agent).await, none);
}

#[tokio::test]
async fn a_device_without_an_account_is_not_out_of_service() {
    let mut world = World::start().await;
    let mut unassigned = Policy::empty(world.agent.key());
    unassigned.snapshot.assigned = false;
    set_secret(&world.agent).await;
    world.hub.publish(unassigned.seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    assert_eq!(secrets(&world.agent).await, OPENS, "what was set here stays");
    assert_eq!(world.agent.json(&["status"]).await["policy"]["retired"], false);
    assert!(world.agent.trail().await.iter().all(|(event, _)| event != "retired"));
}

#[tokio::test]
async fn a_snapshot_that_retires_a_device_and_carries_something_is_refused() {
    let mut world = World::start().await;
    let mut both = world.policy.clone();
    both.snapshot.retired = true;
    world.hub.publish(both.seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Form);
    world.client().await.tunnel("web").await.echo(b"still in service").await;
}

#[tokio::test]
async fn a_decommissioned_device_has_nothing_left_but_its_trail_until_that_is_named_too() {
    let mut world = World::start().await;
    let state = world.agent.state();
    let unconfirmed = world.agent.run(&["decommission"]).await;
    assert_eq!(unconfirmed.code, 2, "{unconfirmed:?}");
    assert!(unconfirmed.err.contains("if that is meant, add `--yes`"), "{unconfirmed:?}");
    world.client().await.tunnel("web").await.echo(b"nothing has happened").await;
    world.agent.trail_with("closed", 1).await;
    // The agent runs: it is told to stop first.
    let done = world.agent.run(&["decommission", "--yes"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(world.agent.ended().await, Some(0));
    let mut left: Vec<String> = std::fs::read_dir(&state)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["audit.db", "audit.ratchet", "lock"]);
    let trail = world.agent.trail().await;
    assert_eq!(
        trail[trail.len() - 2..].iter().map(|(event, _)| event.as_str()).collect::<Vec<_>>(),
        ["control", "stopped"]
    );
    assert_eq!(world.agent.run(&["run"]).await.code, 3);
    assert_eq!(world.agent.run(&["decommission", "--yes", "--with-audit"]).await.code, 0);
    assert!(!state.join("audit.db").exists());
    assert_eq!(
        world.agent.run(&["decommission", "--yes", "--with-audit"]).await.code,
        0,
        "it can be repeated"
    );
    // A new code brings the device back.
    assert_eq!(world.agent.run(&["enroll", &world.hub.code()]).await.code, 0);
    world.hub.fall_silent();
    world.agent.start().await;
    assert_eq!(world.hub.greeted_by().await.0, world.agent.key());
}

#[tokio::test]
async fn status_and_check_and_enrolment_show_the_same_fingerprint() {
    let hub = Hub::start();
    let mut agent = Agent::new("");
    let enrolled = agent.run(&["enroll", &hub.code()]).await;
    let fingerprint = agent.key().fingerprint().to_string();
    assert!(enrolled.out.contains(&format!("\n{fingerprint}\n")), "{enrolled:?}");
    let check = agent.run(&["check"]).await;
    assert!(check.out.contains(&fingerprint), "{check:?}");
    agent.start().await;
    let status = agent.run(&["status"]).await;
    assert!(status.out.contains(&fingerprint), "{status:?}");
    let client = Client::signed_in(&agent, USER, 1).await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoGrant));
}
