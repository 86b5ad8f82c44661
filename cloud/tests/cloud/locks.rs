//! Locks from the command to the device and back: signed, delivered, acknowledged, lifted.

use std::collections::BTreeSet;

use postern_protocol::trust::{Lock, LockTarget, Role};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Only, Refusal};
use serde_json::Value;

use crate::peers::{Agent, World, eventually, key, name};
use crate::sign_in::{PASSWORD, pass};

/// Runs the program beside the hub.
async fn command(world: &World, args: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern-cloud"));
    command.arg("--state").arg(&world.state).args(args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub(crate) async fn done(world: &World, args: &[&str]) -> Value {
    let (code, out, error) = command(world, &[&["--json"], args].concat()).await;
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

fn taken(agent: &Agent, sealed: &[u8]) -> (u64, Vec<LockTarget>) {
    let lock = Lock::verify(sealed, &agent.root, agent.device).unwrap();
    (lock.sequence, lock.targets)
}

fn otto(world: &World) -> LockTarget {
    LockTarget::User(world.read(|tx| tx.person(&name("otto"))).unwrap().id)
}

/// The state of each device's lock, as `lock list` shows it.
async fn states(world: &World) -> Vec<(String, u64, bool)> {
    let listed = done(world, &["lock", "list"]).await;
    let devices = listed["devices"].as_array().unwrap().iter();
    let row = |it: &Value| {
        let sequence = it["sequence"].as_u64().unwrap();
        (it["device"].as_str().unwrap().to_owned(), sequence, it["applied"].as_bool().unwrap())
    };
    devices.map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_to_linked_devices_at_once_and_to_the_others_with_their_next_link() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let (mut press, saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let said = done(&world, &["lock", "add", "user", "otto", "--why", "lost laptop"]).await;
    assert_eq!(said["away"], serde_json::json!(["saw-1"]));
    assert_eq!(taken(&press, &link.locked().await), (1, vec![otto(&world)]));
    let pending = |name: &str, applied| (name.to_owned(), 1, applied);
    assert_eq!(states(&world).await, [pending("press-7", false), pending("saw-1", false)]);
    link.lock_taken(1).await;
    eventually(1, || world.read(|tx| tx.device_lock(&name("press-7"), 1)).applied).await;
    assert_eq!(states(&world).await, [pending("press-7", true), pending("saw-1", false)]);
    let mut late = saw.link(&world).await;
    assert_eq!(taken(&saw, &late.locked().await), (1, vec![otto(&world)]));
    // A device that says that it holds the newest is not told again: the next message is its policy.
    drop(link);
    let mut hello = press.hello();
    (hello.held, hello.locks) = (None, 1);
    let mut again = press.link_with(&world, hello).await;
    assert!(again.offered_without_lock().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_locked_is_said_again_before_the_policy_that_lifts_the_rest() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let mut press = world.enroll("press-7", 1).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    done(&world, &["lock", "add", "user", "otto", "--on", "press-7"]).await;
    assert_eq!(taken(&press, &link.locked().await), (1, vec![otto(&world)]));
    done(&world, &["lock", "add", "device", "press-7"]).await;
    assert_eq!(taken(&press, &link.locked().await), (2, vec![LockTarget::Device, otto(&world)]));
    link.lock_taken(2).await;
    done(&world, &["lock", "lift", "device", "press-7"]).await;
    assert_eq!(taken(&press, &link.locked().await), (3, vec![otto(&world)]));
    link.lock_taken(3).await;
    press.take(&mut link).await;
    assert_eq!(press.snapshot().locks_cleared, 2);
    done(&world, &["lock", "lift", "user", "otto", "--on", "press-7"]).await;
    press.take(&mut link).await;
    assert_eq!(press.snapshot().locks_cleared, 3);
    let (code, _, error) = command(&world, &["lock", "lift", "user", "otto", "--on", "press-7"]).await;
    assert_eq!(code, 1);
    assert!(error.contains("user `otto` is not locked there"), "{error}");
    assert_eq!(done(&world, &["lock", "list"]).await["locks"], serde_json::json!([]));
    // Locked again, the sequence goes on.
    done(&world, &["lock", "add", "device", "press-7"]).await;
    assert_eq!(taken(&press, &link.locked().await), (4, vec![LockTarget::Device]));
}

/// Publishes the next root with these changes, signed by two of its holders.
async fn publish_root(world: &World, file: &str, changes: &[&str]) {
    let beside = |name: &str| world.state.with_file_name(name).display().to_string();
    let file = beside(file);
    done(world, &[&["root", "rotate", "--out", &file], changes].concat()).await;
    for holder in [1, 2] {
        let key = world.state.join(format!("offline/root-{holder}.key")).display().to_string();
        done(world, &["root", "sign", &file, "--key", &key]).await;
    }
    let given = format!("lock={}", beside("lock-2.key"));
    let keys: &[&str] = if changes.contains(&"--raise-epoch") { &[] } else { &["--key", &given] };
    done(world, &[&["root", "publish", &file], keys].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_locked_is_said_again_under_a_root_that_ends_the_lock_or_the_key_that_signed_it() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let (mut press, saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    done(&world, &["lock", "add", "user", "otto"]).await;
    link.locked().await;
    done(&world, &["lock", "add", "device", "press-7"]).await;
    assert_eq!(taken(&press, &link.locked().await), (2, vec![LockTarget::Device, otto(&world)]));
    link.lock_taken(2).await;
    // A snapshot of the higher epoch ends both: without the next lock everything would be open.
    publish_root(&world, "2.root", &["--raise-epoch"]).await;
    link.take_root(&mut press).await;
    assert_eq!(taken(&press, &link.locked().await), (1, vec![LockTarget::Device, otto(&world)]));
    link.lock_taken(1).await;
    let mut away = saw;
    let key = world.state.with_file_name("lock-2.key").display().to_string();
    let new = done(&world, &["root", "key", "new", &key]).await["public"].as_str().unwrap().to_owned();
    let old = press.root.role(Role::Lock).unwrap().keys[0].to_string();
    let (add, remove) = (format!("lock={new}"), format!("lock={old}"));
    publish_root(&world, "3.root", &["--add-key", &add, "--remove-key", &remove]).await;
    let mut late = away.link(&world).await;
    late.take_root(&mut away).await;
    late.take_root(&mut away).await;
    assert_eq!(taken(&away, &late.locked().await), (2, vec![otto(&world)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_holds_a_lock_which_nobody_here_signed_is_followed_and_can_be_lifted() {
    let world = World::with_sample("direct-sales").await;
    let mut press = world.enroll("press-7", 1).await;
    let mut hello = press.hello();
    hello.locks = 40;
    let mut link = press.link_with(&world, hello).await;
    press.take(&mut link).await;
    done(&world, &["lock", "lift", "device", "press-7"]).await;
    press.take(&mut link).await;
    assert_eq!(press.snapshot().locks_cleared, 40);
    done(&world, &["lock", "add", "device", "press-7"]).await;
    assert_eq!(taken(&press, &link.locked().await), (41, vec![LockTarget::Device]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_out_everywhere_has_no_pass_of_before_on_any_device() {
    let world = World::with_sample("direct-sales").await;
    let (laptop, mut press) = (world.join("otto", 10, PASSWORD).await, world.enroll("press-7", 1).await);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let tablet = world.dial(&key(11)).await;
    let before = pass(&world, tablet.login("acme", "otto", PASSWORD, None).await);
    press.take(&mut link).await;
    assert_eq!(laptop.ask(&HubRequest::LogoutEverywhere).await, HubAnswer::Done);
    press.take(&mut link).await;
    let row = press.snapshot().users[0].clone();
    assert_eq!(row.keys, [key(11).public()]);
    assert!(row.passes_from > before.issued, "{row:?}");
    assert_eq!(laptop.ask(&HubRequest::LogoutEverywhere).await, HubAnswer::Refused(Refusal::UnknownKey));
    // A new sign-in counts at once, and an administrator can cut it too.
    let after = pass(&world, tablet.login("acme", "otto", PASSWORD, None).await);
    assert!(after.issued >= row.passes_from);
    done(&world, &["user", "sign-out", "otto"]).await;
    press.take(&mut link).await;
    assert!(press.snapshot().users[0].passes_from > after.issued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_withdrawn_leaves_every_policy_and_the_user_s_others_stay() {
    let world = World::with_sample("direct-sales").await;
    let (laptop, mut press) = (world.join("otto", 10, PASSWORD).await, world.enroll("press-7", 1).await);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let tablet = world.dial(&key(11)).await;
    let before = pass(&world, tablet.login("acme", "otto", PASSWORD, None).await);
    press.take(&mut link).await;
    let passes_from = press.snapshot().users[0].passes_from;

    let lost = key(10).public().fingerprint().to_string();
    let listed = done(&world, &["user", "keys", "otto"]).await;
    let listed: BTreeSet<&str> =
        listed["keys"].as_array().unwrap().iter().map(|key| key["fingerprint"].as_str().unwrap()).collect();
    assert_eq!(listed, BTreeSet::from([lost.as_str(), &key(11).public().fingerprint().to_string()]));
    let said = done(&world, &["user", "withdraw-key", "otto", &lost]).await;
    assert_eq!((&said["withdrawn"], &said["left"]), (&lost.as_str().into(), &1.into()));
    press.take(&mut link).await;

    // The passes of the other key count as before.
    let row = press.snapshot().users[0].clone();
    assert_eq!((row.keys, row.passes_from), (vec![key(11).public()], passes_from));
    assert!(before.issued >= passes_from);
    assert_eq!(laptop.ask(&HubRequest::ListDevices).await, HubAnswer::Refused(Refusal::UnknownKey));
    assert!(matches!(tablet.ask(&HubRequest::ListDevices).await, HubAnswer::Devices(_)));
    let history = done(&world, &["history"]).await.to_string();
    assert!(history.contains(&format!("user withdraw-key otto {lost}")), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_key_of_the_very_user_is_withdrawn() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let (_, text, _) = command(&world, &["user", "keys", "eva"]).await;
    assert_eq!(text, "eva has no key: a computer gets one when eva signs in on it.\n");
    let otto_s = key(10).public().fingerprint().to_string();
    let said = format!(
        "postern-cloud: user `eva` has no key {otto_s}; `postern-cloud user keys eva` lists those that can be \
         withdrawn; nothing was changed\n"
    );
    assert_eq!(command(&world, &["user", "withdraw-key", "eva", &otto_s]).await, (7, String::new(), said));
    assert_eq!(command(&world, &["user", "withdraw-key", "nobody", &otto_s]).await.0, 7);
    assert_eq!(command(&world, &["user", "withdraw-key", "otto", "v4hd"]).await.0, 2);
    let keys = world.read(|tx| tx.person_keys(&name("otto")));
    assert_eq!(keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_is_narrowed_to_what_the_user_may_see_and_to_nothing_else() {
    let world = World::with_sample("direct-sales").await;
    let otto = world.join("otto", 10, PASSWORD).await;
    let press = world.enroll("press-7", 1).await;
    let login = async |devices: &[&str], services: &[&str]| {
        let names = |list: &[&str]| Some(list.iter().map(|it| name(it)).collect::<Vec<_>>());
        let only = Only { devices: names(devices), services: names(services) };
        let (account, user) = (postern_protocol::wire::text::Text::clean("acme"), name("otto"));
        let password = PASSWORD.to_owned().try_into().unwrap();
        otto.ask(&HubRequest::Login { account, user, password, otp: None, only }).await
    };
    let narrow = pass(&world, login(&["press-7"], &["web", "hmi", "web"]).await).narrow;
    assert_eq!(narrow.devices, Some(vec![press.device]));
    assert_eq!(narrow.services, Some(vec![name("hmi"), name("web")]));
    // A neighbour's device, one that does not exist, and too much.
    let refused = HubAnswer::Refused(Refusal::Narrowing);
    assert_eq!(login(&["saw-1"], &[]).await, refused);
    assert_eq!(login(&["nowhere"], &[]).await, refused);
    let many: Vec<String> = (0..17).map(|it| format!("s{it}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(login(&["press-7"], &many).await, refused);
}

async fn explained(world: &World) -> (Value, String) {
    let (_, text, _) = command(world, &["explain", "otto", "press-7", "hmi"]).await;
    let (_, json, _) = command(world, &["--json", "explain", "otto", "press-7", "hmi"]).await;
    (serde_json::from_str(&json).unwrap(), text)
}

/// Whether it is allowed, why not, and what is locked.
fn verdict(said: &Value) -> (bool, Value, Vec<&str>) {
    let names = said["locks"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap());
    (said["allowed"].as_bool().unwrap(), said["reason"].clone(), names.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_names_the_locks_that_keep_a_grant_shut_and_how_to_lift_them() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    world.enroll("press-7", 1).await;
    // Somebody else's lock concerns nobody here.
    done(&world, &["lock", "add", "device", "saw-1"]).await;
    let (open, _) = explained(&world).await;
    assert_eq!((verdict(&open), &open["standing"]), ((true, Value::Null, vec![]), &"in_service".into()));
    let category = open["grants"][0]["category"].as_str().unwrap().split('.').next().unwrap().to_owned();
    let cases = [
        (["user", "otto"], "user_disabled"),
        (["device", "press-7"], "site_locked"),
        (["category", &category], "no_grant"),
    ];
    for ([kind, named], reason) in cases {
        done(&world, &["lock", "add", kind, named, "--why", "lost laptop"]).await;
        let (said, text) = explained(&world).await;
        assert_eq!(verdict(&said), (false, reason.into(), vec![named]), "{kind}");
        // The grant is shown, and that it does not fail by itself.
        assert_eq!((&said["grants"][0]["used"], &said["grants"][0]["fails"]), (&false.into(), &Value::Null));
        let lift = format!(": lost laptop; `postern-cloud lock lift {kind} {named}`");
        assert!(text.contains(&format!("! {kind} `{named}` is locked")) && text.contains(&lift), "{text}");
        done(&world, &["lock", "lift", kind, named]).await;
        assert_eq!(verdict(&explained(&world).await.0), (true, Value::Null, vec![]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_says_that_a_device_is_out_of_service_or_awaits_confirmation() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    world.enroll_by(world.invite_to_confirm("press-7", 1), 1).await;
    let (said, text) = explained(&world).await;
    assert_eq!(verdict(&said), (false, "no_grant".into(), vec![]));
    assert_eq!(said["standing"], "awaits_confirmation");
    assert!(text.contains("The key of press-7 awaits confirmation"), "{text}");
    let seen = key(1).public().fingerprint().to_string();
    done(&world, &["device", "confirm", "press-7", &seen]).await;
    assert_eq!(verdict(&explained(&world).await.0), (true, Value::Null, vec![]));
    done(&world, &["device", "decommission", "press-7"]).await;
    let (said, text) = explained(&world).await;
    assert_eq!(verdict(&said), (false, "device_unassigned".into(), vec![]));
    assert_eq!(said["standing"], "retired");
    let remedy =
        "press-7 is out of service and permits nothing: `postern-cloud device recommission press-7`.";
    assert!(text.contains(remedy), "{text}");
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_lock_goes_to_linked_devices_at_once_and_to_the_others_with_their_next_link",
            a_lock_goes_to_linked_devices_at_once_and_to_the_others_with_their_next_link,
        ),
        (
            "what_stays_locked_is_said_again_before_the_policy_that_lifts_the_rest",
            what_stays_locked_is_said_again_before_the_policy_that_lifts_the_rest,
        ),
        (
            "what_is_locked_is_said_again_under_a_root_that_ends_the_lock_or_the_key_that_signed_it",
            what_is_locked_is_said_again_under_a_root_that_ends_the_lock_or_the_key_that_signed_it,
        ),
        (
            "a_device_that_holds_a_lock_which_nobody_here_signed_is_followed_and_can_be_lifted",
            a_device_that_holds_a_lock_which_nobody_here_signed_is_followed_and_can_be_lifted,
        ),
        (
            "who_signs_out_everywhere_has_no_pass_of_before_on_any_device",
            who_signs_out_everywhere_has_no_pass_of_before_on_any_device,
        ),
        (
            "a_key_that_is_withdrawn_leaves_every_policy_and_the_user_s_others_stay",
            a_key_that_is_withdrawn_leaves_every_policy_and_the_user_s_others_stay,
        ),
        ("only_a_key_of_the_very_user_is_withdrawn", only_a_key_of_the_very_user_is_withdrawn),
        (
            "a_sign_in_is_narrowed_to_what_the_user_may_see_and_to_nothing_else",
            a_sign_in_is_narrowed_to_what_the_user_may_see_and_to_nothing_else,
        ),
        (
            "an_explanation_names_the_locks_that_keep_a_grant_shut_and_how_to_lift_them",
            an_explanation_names_the_locks_that_keep_a_grant_shut_and_how_to_lift_them,
        ),
        (
            "an_explanation_says_that_a_device_is_out_of_service_or_awaits_confirmation",
            an_explanation_says_that_a_device_is_out_of_service_or_awaits_confirmation,
        ),
    ]);
}
