//! The life of a device's key: codes that are guessed, keys that must be confirmed, rotated, cloned and forgotten.

use std::process::Output;

use postern_cloud::store::Store;
use postern_protocol::trust::{NextKey, PublicKey};
use postern_protocol::wire::control::Life;
use postern_protocol::wire::hub::{Examined, HubAnswer, HubRequest, Refusal, Whose};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_protocol::wire::text::Text;

use crate::peers::{Agent, Caller, World, announcement, eventually, key, name};

/// A request of the device with this seed.
fn enroll(secret: [u8; 16], seed: u8) -> HubRequest {
    HubRequest::Enroll { secret, label: Text::clean("me"), sealing: announcement(&key(seed)) }
}

/// Runs the program beside the hub.
async fn command(world: &World, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern-cloud"));
    command.arg("--state").arg(&world.state).args(args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn done(world: &World, args: &[&str]) -> String {
    let output = command(world, args).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(world: &World, args: &[&str]) -> (i32, String) {
    let output = command(world, args).await;
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// What `device list --json` says of press-7.
async fn listed(world: &World) -> serde_json::Value {
    let text = done(world, &["--json", "device", "list"]).await;
    let mut list: serde_json::Value = serde_json::from_str(&text).unwrap();
    list["devices"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|device| device["name"] == "press-7")
        .unwrap()
        .take()
}

/// The keys of the devices that somebody can see.
async fn visible(caller: &Caller) -> Vec<PublicKey> {
    match caller.ask(&HubRequest::ListDevices).await {
        HubAnswer::Devices(devices) => devices.into_iter().map(|device| device.key).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_codes_is_stopped_after_ten_and_costs_no_write() {
    let world = World::with_sample("direct-sales").await;
    let other = Store::of(&world.state).unwrap();
    let genuine = world.invite(Invitee::Device, "press-7", 5, 60);
    let before = other.data_version().unwrap();
    let guesser = world.dial_from("127.0.0.9:0", &key(66)).await;
    for guess in 100..110 {
        assert_eq!(guesser.ask(&enroll([guess; 16], 66)).await, HubAnswer::Refused(Refusal::Code));
    }
    assert_eq!(guesser.ask(&enroll([111; 16], 66)).await, HubAnswer::Refused(Refusal::TooMany));
    // A new key from the same source is the same guesser, and the genuine code is not looked at.
    let again = world.dial_from("127.0.0.9:0", &key(67)).await;
    assert_eq!(again.ask(&enroll(genuine, 67)).await, HubAnswer::Refused(Refusal::TooMany));
    assert_eq!(other.data_version().unwrap(), before);
    let installer = world.dial(&key(1)).await;
    for _ in 0..12 {
        // The same key may ask again, and genuine codes are not counted.
        assert!(matches!(installer.ask(&enroll(genuine, 1)).await, HubAnswer::Enrolled { .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_must_be_confirmed_is_denied_everything_until_its_fingerprint_is_named() {
    let world = World::with_sample("direct-sales").await;
    let eva = world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll_by(world.invite_to_confirm("press-7", 1), 1).await;
    let mut link = agent.link(&world).await;
    assert_eq!(link.offered().await, None, "the first snapshot is all there is");
    assert_eq!((agent.snapshot().version, agent.snapshot().users.len()), (1, 0));
    let seen = key(1).public().fingerprint().to_string();
    let device = listed(&world).await;
    assert_eq!(
        (&device["awaits_confirmation"], &device["fingerprint"]),
        (&true.into(), &seen.as_str().into())
    );
    assert!(done(&world, &["device", "list"]).await.contains("awaits confirmation"));
    assert_eq!(visible(&eva).await, [], "nobody shall type a password into it");
    // A change of policy changes nothing either.
    world.join("otto", 11, "correct horse").await;
    let wrong = key(2).public().fingerprint().to_string();
    let (code, error) = refused(&world, &["device", "confirm", "press-7", &wrong]).await;
    let expected = format!(
        "postern-cloud: the key of `press-7` has the fingerprint {seen}, not {wrong}; if that is what the device prints, \
         type it again; if not, somebody else has used the code: `postern-cloud device reject press-7`; nothing was \
         changed\n"
    );
    assert_eq!((code, error), (8, expected));
    assert_eq!(refused(&world, &["device", "confirm", "press-7", "abcd"]).await.0, 2);
    assert_eq!(listed(&world).await["awaits_confirmation"], true);
    let typed = seen.to_uppercase();
    let words = ["device", "confirm", "press-7", typed.as_str()];
    let confirming = command(&world, &words);
    let (confirmed, version) = tokio::join!(confirming, agent.take(&mut link));
    assert_eq!((confirmed.status.code(), version), (Some(0), 2));
    assert_eq!(agent.snapshot().users.len(), 2);
    assert_eq!(visible(&eva).await, [key(1).public()]);
    assert_eq!(listed(&world).await["awaits_confirmation"], false);
    let (code, error) = refused(&world, &["device", "confirm", "press-7", &seen]).await;
    assert_eq!(code, 8);
    assert!(error.contains("no key of `press-7` awaits confirmation"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_without_the_flag_needs_no_confirmation() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    assert_eq!(listed(&world).await["awaits_confirmation"], false);
    assert_eq!(refused(&world, &["device", "reject", "press-7"]).await.0, 8);
    assert!(agent.link(&world).await.offered().await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_key_is_forgotten_with_its_code_and_its_link_ends() {
    let world = World::with_sample("direct-sales").await;
    let secret = world.invite_to_confirm("press-7", 1);
    let agent = world.enroll_by(secret, 1).await;
    let mut link = agent.link(&world).await;
    assert_eq!(link.offered().await, None);
    let text = done(&world, &["device", "reject", "press-7"]).await;
    assert!(
        text.starts_with(&format!("The key {} of press-7 is forgotten", key(1).public().fingerprint())),
        "{text}"
    );
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unknown.number()));
    let again = world.dial(&key(1)).await;
    assert_eq!(again.ask(&enroll(secret, 1)).await, HubAnswer::Refused(Refusal::Code));
    let device = world.read(|tx| tx.device(&name("press-7"))).unwrap();
    assert_eq!((device.key, device.confirmed), (None, true));
    assert_eq!(refused(&world, &["device", "reject", "press-7"]).await.0, 8);
    assert_eq!(refused(&world, &["device", "reject", "press-8"]).await.0, 7);
}

fn keys(world: &World) -> (Option<PublicKey>, Option<PublicKey>) {
    let device = world.read(|tx| tx.device(&name("press-7"))).unwrap();
    (device.key, device.next_key)
}

/// Kinds of alarms, with their counts.
fn alarms(world: &World) -> Vec<(&'static str, u64)> {
    world.read(|tx| tx.alarms()).iter().map(|alarm| (alarm.kind.word(), alarm.count)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_keys_link_between_the_announcement_and_the_first_greeting_with_the_new_one() {
    let world = World::with_sample("direct-sales").await;
    let eva = world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    link.announce_next(NextKey::announce(agent.device, &key(1), &key(2))).await;
    // The next snapshot is for the next key, and the old one still links.
    agent.key = key(2);
    let (held, bytes) = link.offered().await.unwrap();
    assert_eq!(agent.apply(&mut link, held, &bytes).await, 3);
    assert_eq!(keys(&world), (Some(key(1).public()), Some(key(2).public())));
    assert_eq!(visible(&eva).await, [key(1).public()]);
    let old = Agent { key: key(1), ..world_agent(&agent) };
    let mut link = old.link(&world).await;
    assert_eq!(link.offered().await, None);
    let mut new = agent.link(&world).await;
    assert_eq!(new.offered().await, None);
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Superseded.number()));
    assert_eq!(keys(&world), (Some(key(2).public()), None));
    assert_eq!(visible(&eva).await, [key(2).public()], "clients learn the new key from the listing");
    let link = old.link(&world).await;
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unknown.number()), "worthless from now on");
    assert_eq!(alarms(&world), []);
}

/// The same agent once more, as if it had come back.
fn world_agent(agent: &Agent) -> Agent {
    Agent {
        key: agent.key.clone(),
        device: agent.device,
        root: agent.root.clone(),
        policy: agent.policy.clone(),
        life: agent.life,
        boots: agent.boots,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_that_both_keys_have_not_signed_ends_the_link_and_changes_nothing() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let other = world.enroll("saw-1", 3).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    let genuine = NextKey::announce(agent.device, &key(1), &key(2));
    let claimed = NextKey { key: key(4).public(), ..genuine.clone() };
    let foreign = NextKey::announce(agent.device, &key(1), &key(3));
    let of_other = NextKey::announce(other.device, &key(1), &key(2));
    let by_thief = NextKey::announce(agent.device, &key(9), &key(2));
    for forged in [claimed, foreign, of_other, by_thief] {
        let mut link = agent.link(&world).await;
        link.announce_next(forged).await;
        assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Malformed.number()));
        assert_eq!(keys(&world), (Some(key(1).public()), None));
    }
    let mut link = agent.link(&world).await;
    link.announce_next(genuine).await;
    eventually((Some(key(1).public()), Some(key(2).public())), || keys(&world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_asks_a_device_for_a_new_key_also_when_it_links_later() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    let words = ["device", "rotate-key", "press-7"];
    let (text, ()) = tokio::join!(done(&world, &words), link.key_wanted());
    assert!(text.starts_with("press-7 is asked for a new key"), "{text}");
    // It did not come to it; the wish stands.
    let mut link = agent.link(&world).await;
    link.key_wanted().await;
    link.announce_next(NextKey::announce(agent.device, &key(1), &key(2))).await;
    let wanted = || world.read(|tx| tx.device(&name("press-7"))).unwrap().rotate;
    eventually(false, wanted).await;
    assert_eq!(refused(&world, &["device", "rotate-key", "saw-1"]).await.0, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_with_one_key_raise_an_alarm_and_a_restart_does_not() {
    let world = World::with_sample("direct-sales").await;
    let mut genuine = world.enroll("press-7", 1).await;
    let mut link = genuine.link(&world).await;
    genuine.take(&mut link).await;
    for restart in 2..5 {
        (genuine.life, genuine.boots) = (Life([restart; 16]), u32::from(restart));
        assert_eq!(genuine.link(&world).await.offered().await, None);
    }
    assert_eq!(alarms(&world), []);
    let copy = Agent { life: Life([99; 16]), boots: 5, ..world_agent(&genuine) };
    let mut link = copy.link(&world).await;
    assert_eq!(link.offered().await, None, "greeted before the genuine one comes back");
    let mut back = genuine.link(&world).await;
    assert_eq!(back.offered().await, None, "an alarm denies nothing");
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Superseded.number()));
    assert_eq!(alarms(&world), [("clone", 1)]);
    assert_eq!(copy.link(&world).await.offered().await, None);
    assert_eq!(alarms(&world), [("clone", 2)]);
    assert_eq!(listed(&world).await["alarms"], serde_json::json!(["clone"]));
    // A new enrolment is a new beginning.
    done(&world, &["alarms", "clear", "press-7"]).await;
    let anew = world.enroll("press-7", 7).await;
    assert!(anew.link(&world).await.offered().await.is_some());
    assert_eq!(alarms(&world), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_disk_raises_an_alarm_and_a_lost_database_does_not() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    agent.boots = 9;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    (agent.life, agent.boots) = (Life([2; 16]), 1);
    let mut hello = agent.hello();
    hello.active = false;
    assert!(agent.link_with(&world, hello).await.offered().await.is_some());
    assert_eq!(alarms(&world), []);
    (agent.life, agent.boots) = (Life([3; 16]), 9);
    agent.link(&world).await.offered().await;
    (agent.life, agent.boots) = (Life([4; 16]), 4);
    agent.link(&world).await.offered().await;
    assert_eq!(alarms(&world), [("restored", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decommissioned_device_is_told_keeps_its_key_and_comes_back() {
    let world = World::with_sample("direct-sales").await;
    let eva = world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    assert_eq!(agent.snapshot().users.len(), 1);
    assert_eq!(refused(&world, &["device", "decommission", "saw-1"]).await.0, 8);
    assert_eq!(refused(&world, &["device", "recommission", "press-7"]).await.0, 8);
    let words = ["device", "decommission", "press-7"];
    let (text, version) = tokio::join!(done(&world, &words), agent.take(&mut link));
    assert_eq!(version, 3);
    assert_eq!(
        (agent.snapshot().retired, agent.snapshot().assigned, agent.snapshot().users.len()),
        (true, false, 0)
    );
    assert!(text.contains("The device has it"), "{text}");
    assert!(
        text.ends_with("It keeps its key; `postern-cloud device recommission press-7` brings it back.\n"),
        "{text}"
    );
    assert_eq!(visible(&eva).await, []);
    // A change of policy does not bring it back.
    world.join("otto", 11, "correct horse").await;
    assert!(done(&world, &["device", "list"]).await.contains("decommissioned"));
    assert_eq!(keys(&world), (Some(key(1).public()), None));
    let words = ["device", "recommission", "press-7"];
    let (_, version) = tokio::join!(done(&world, &words), agent.take(&mut link));
    assert_eq!((version, agent.snapshot().retired, agent.snapshot().users.len()), (4, false, 2));
    assert_eq!(visible(&eva).await, [key(1).public()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_forgotten_only_when_that_is_asked_for_and_the_device_has_acknowledged() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let text = done(&world, &["device", "decommission", "press-7", "--forget"]).await;
    assert!(text.ends_with("Its key is forgotten as soon as it has acknowledged that.\n"), "{text}");
    assert_eq!(keys(&world), (Some(key(1).public()), None), "the device has not heard of it");
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    assert!(agent.snapshot().retired);
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unknown.number()));
    assert_eq!(keys(&world), (None, None));
    assert_eq!(agent.link(&world).await.closed_with().await, u32::from(ProtocolFault::Unknown.number()));
    // One that is out of service already, and has said so, is forgotten at once.
    let mut agent = world.enroll("press-9", 2).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    let words = ["device", "decommission", "press-9"];
    let (_, _) = tokio::join!(done(&world, &words), agent.take(&mut link));
    let text = done(&world, &["device", "decommission", "press-9", "--forget"]).await;
    assert!(text.contains("Its key is forgotten; `postern-cloud device add press-9`"), "{text}");
    assert_eq!(world.read(|tx| tx.device(&name("press-9"))).unwrap().key, None);
    let closed = link.closed_with().await;
    assert!(closed == u32::from(ProtocolFault::Unknown.number()) || closed == CloseCode::Done.number());
}

/// What the hub makes of a caller's key.
async fn whose(caller: &Caller) -> Whose {
    match caller.ask(&HubRequest::Examine).await {
        HubAnswer::Examined(Examined { whose, seen, .. }) => {
            assert_eq!(seen.ip(), std::net::Ipv4Addr::LOCALHOST);
            whose
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_tells_each_caller_what_it_makes_of_their_own_key_and_nothing_else() {
    let world = World::with_sample("direct-sales").await;
    let eva = world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    assert_eq!(whose(&eva).await, Whose::User);
    assert_eq!(whose(&world.dial(&key(1)).await).await, Whose::Device);
    assert_eq!(whose(&world.dial(&key(99)).await).await, Whose::Nobody);
    let _both = tokio::join!(done(&world, &["user", "disable", "eva"]), agent.take(&mut link));
    assert_eq!(whose(&eva).await, Whose::Nobody, "as a stranger");
    let _both = tokio::join!(done(&world, &["device", "decommission", "press-7"]), agent.take(&mut link));
    assert_eq!(whose(&world.dial(&key(1)).await).await, Whose::Retired);
    // Whoever asks has no link, and takes none from the device that has one.
    assert_eq!(listed(&world).await["online"], true);
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "whoever_guesses_codes_is_stopped_after_ten_and_costs_no_write",
            whoever_guesses_codes_is_stopped_after_ten_and_costs_no_write,
        ),
        (
            "a_key_that_must_be_confirmed_is_denied_everything_until_its_fingerprint_is_named",
            a_key_that_must_be_confirmed_is_denied_everything_until_its_fingerprint_is_named,
        ),
        ("a_code_without_the_flag_needs_no_confirmation", a_code_without_the_flag_needs_no_confirmation),
        (
            "a_rejected_key_is_forgotten_with_its_code_and_its_link_ends",
            a_rejected_key_is_forgotten_with_its_code_and_its_link_ends,
        ),
        (
            "both_keys_link_between_the_announcement_and_the_first_greeting_with_the_new_one",
            both_keys_link_between_the_announcement_and_the_first_greeting_with_the_new_one,
        ),
        (
            "an_announcement_that_both_keys_have_not_signed_ends_the_link_and_changes_nothing",
            an_announcement_that_both_keys_have_not_signed_ends_the_link_and_changes_nothing,
        ),
        (
            "a_command_asks_a_device_for_a_new_key_also_when_it_links_later",
            a_command_asks_a_device_for_a_new_key_also_when_it_links_later,
        ),
        (
            "two_machines_with_one_key_raise_an_alarm_and_a_restart_does_not",
            two_machines_with_one_key_raise_an_alarm_and_a_restart_does_not,
        ),
        (
            "a_restored_disk_raises_an_alarm_and_a_lost_database_does_not",
            a_restored_disk_raises_an_alarm_and_a_lost_database_does_not,
        ),
        (
            "a_decommissioned_device_is_told_keeps_its_key_and_comes_back",
            a_decommissioned_device_is_told_keeps_its_key_and_comes_back,
        ),
        (
            "a_key_is_forgotten_only_when_that_is_asked_for_and_the_device_has_acknowledged",
            a_key_is_forgotten_only_when_that_is_asked_for_and_the_device_has_acknowledged,
        ),
        (
            "a_hub_tells_each_caller_what_it_makes_of_their_own_key_and_nothing_else",
            a_hub_tells_each_caller_what_it_makes_of_their_own_key_and_nothing_else,
        ),
    ]);
}
