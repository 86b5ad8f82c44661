//! Secrets: who announces a key, what is sealed to it, which device gets it, and where the plain text is not.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use postern_protocol::name::Name;
use postern_protocol::trust::Digest;
use postern_protocol::trust::sealed::{Announcement, OpenFault, Place, SealingSecret, open};
use postern_protocol::wire::codec;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::registry::ProtocolFault;
use postern_protocol::wire::text::Text;

use crate::peers::{Agent, World, announcement, eventually, key, name};

const SECRET: &str = "correct-horse-4711";

fn cloud(world: &World, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_postern-cloud"))
        .arg("--state")
        .arg(&world.state)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses may be gone before it reads.
    let _gone = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The command beside the hub of this process, which it has to wait for.
async fn run(world: &World, args: &[&str], input: &str) -> (i32, String, String) {
    let output = tokio::task::block_in_place(|| cloud(world, args, input));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn set(world: &World, device: &str, secret: &str, content: &str) {
    let (code, _, error) = run(world, &["secret", "set", device, secret, "--stdin"], content).await;
    assert_eq!((code, error.as_str()), (0, ""));
}

/// The names and states that `secret list` shows.
async fn listed(world: &World) -> Vec<(String, String, String)> {
    let (code, text, _) = run(world, &["--json", "secret", "list"], "").await;
    assert_eq!(code, 0);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let secrets = answer["secrets"].as_array().unwrap();
    secrets.iter().map(|one| (text(one, "device"), text(one, "name"), text(one, "state"))).collect()
}

fn entry(device: &str, secret: &str, state: &str) -> (String, String, String) {
    (device.to_owned(), secret.to_owned(), state.to_owned())
}

/// What an agent reads in its snapshot, opened in its own place.
fn opened(agent: &Agent, secret: &Name) -> Result<Vec<u8>, OpenFault> {
    let snapshot = agent.snapshot();
    let found = snapshot.secrets.iter().find(|found| found.name == *secret).unwrap();
    let place = Place { fleet: snapshot.fleet, device: snapshot.device, name: secret };
    let with = SealingSecret::derive(&agent.key).unwrap();
    open(&with, &place, &found.sealed).map(|secret| secret.reveal().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_reaches_its_device_and_no_other_and_opens_there_alone() {
    let world = World::with_sample("direct-sales").await;
    let (mut press, mut saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let (mut press_link, mut saw_link) = (press.link(&world).await, saw.link(&world).await);
    press.take(&mut press_link).await;
    saw.take(&mut saw_link).await;
    assert_eq!(press.snapshot().secrets, []);
    set(&world, "press-7", "hmi", &format!("{SECRET}\n")).await;
    assert_eq!(press.take(&mut press_link).await, 3);
    assert_eq!(opened(&press, &name("hmi")), Ok(SECRET.as_bytes().to_vec()));
    assert_eq!(listed(&world).await, [entry("press-7", "hmi", "ok")]);
    // The saw would have got a version of its own, had anything changed for it.
    set(&world, "saw-1", "panel", "another").await;
    assert_eq!(saw.take(&mut saw_link).await, 3);
    assert_eq!(opened(&saw, &name("panel")), Ok(b"another".to_vec()));
    assert_eq!(saw.snapshot().secrets.len(), 1);
    // The bytes of the press mean nothing to the saw.
    let stolen = press.snapshot().secrets[0].sealed.clone();
    let place = Place { fleet: saw.snapshot().fleet, device: saw.device, name: &name("hmi") };
    let with = SealingSecret::derive(&saw.key).unwrap();
    assert_eq!(open(&with, &place, &stolen).err(), Some(OpenFault::Foreign));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_service_names_and_nobody_has_set_is_in_the_plan_with_both_ways_to_set_it() {
    let world = World::with_sample("direct-sales").await;
    let _press = world.enroll("press-7", 1).await;
    let (code, fleet, _) = run(&world, &["export"], "").await;
    assert_eq!(code, 0);
    let table = "[device.press-7.service.hmi]\n";
    let fleet = fleet.replacen(table, &format!("{table}password = \"panel\"\n"), 1);
    let path = world.state.with_extension("secret.toml");
    std::fs::write(&path, &fleet).unwrap();
    let plan = async || run(&world, &["diff", path.to_str().unwrap()], "").await.1;
    let warning = "Warning: device `press-7`: service `hmi` is entered with secret `panel`, which is not set for it: `postern-cloud \
                   secret set press-7 panel`, or on the device itself `postern-agent secret set panel`.";
    let text = plan().await;
    assert_eq!(text.lines().filter(|line| *line == warning).count(), 1, "{text}");
    // The twin: what is set is nothing to be said.
    set(&world, "press-7", "panel", SECRET).await;
    let text = plan().await;
    assert!(text.contains("~ device press-7") && !text.contains("Warning"), "{text}");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_removed_leaves_the_device_and_a_missing_one_cannot_be_removed() {
    let world = World::with_sample("direct-sales").await;
    let mut press = world.enroll("press-7", 1).await;
    set(&world, "press-7", "hmi", SECRET).await;
    set(&world, "press-7", "hmi", "changed since").await;
    set(&world, "press-7", "alarm-panel", SECRET).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    assert_eq!(opened(&press, &name("hmi")), Ok(b"changed since".to_vec()));
    let (code, text, _) = run(&world, &["secret", "remove", "press-7", "hmi"], "").await;
    assert_eq!(code, 0, "{text}");
    press.take(&mut link).await;
    let left: Vec<&str> = press.snapshot().secrets.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(left, ["alarm-panel"]);
    let (code, _, error) = run(&world, &["secret", "remove", "press-7", "hmi"], "").await;
    assert_eq!(
        (code, error.as_str()),
        (
            7,
            "postern-cloud: device `press-7` has no secret `hmi`; `postern-cloud secret list press-7` shows those that \
             it has\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_text_of_a_secret_is_nowhere_in_the_state_of_the_cloud_nor_in_what_it_prints() {
    let world = World::with_sample("direct-sales").await;
    let mut press = world.enroll("press-7", 1).await;
    let args = ["secret", "set", "press-7", "hmi", "--stdin"];
    let (code, text, error) = run(&world, &args, SECRET).await;
    assert_eq!((code, text.contains(SECRET), error.as_str()), (0, false, ""));
    let (_, history, _) = run(&world, &["history"], "").await;
    assert!(history.contains("secret set press-7 hmi") && !history.contains(SECRET), "{history}");
    let (_, export, _) = run(&world, &["export"], "").await;
    assert!(export.contains("press-7") && !export.contains(SECRET) && !export.contains("secret"), "{export}");
    let mut link = press.link(&world).await;
    let (held, pushed) = link.offered().await.unwrap();
    press.apply(&mut link, held, &pushed).await;
    let sealed = press.snapshot().secrets[0].sealed.clone();
    assert!(!contains(&pushed, SECRET.as_bytes()));
    // The search finds what is there: the sealed bytes are in the database or its log.
    let (mut plain, mut found) = (Vec::new(), false);
    for file in std::fs::read_dir(&world.state).unwrap() {
        let path = file.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        found |= contains(&bytes, &sealed);
        if contains(&bytes, SECRET.as_bytes()) {
            plain.push(path);
        }
    }
    assert_eq!((plain, found), (Vec::new(), true));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_a_new_key_makes_its_secrets_stale_and_gets_none_of_them() {
    let world = World::with_sample("direct-sales").await;
    world.enroll("press-7", 1).await;
    set(&world, "press-7", "hmi", SECRET).await;
    let mut press = world.enroll("press-7", 2).await;
    assert_eq!(listed(&world).await, [entry("press-7", "hmi", "stale")]);
    let (_, text, _) = run(&world, &["secret", "list", "press-7"], "").await;
    assert!(text.contains("stale: set it again"), "{text}");
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    assert_eq!(press.snapshot().secrets, []);
    set(&world, "press-7", "hmi", SECRET).await;
    press.take(&mut link).await;
    assert_eq!(opened(&press, &name("hmi")), Ok(SECRET.as_bytes().to_vec()));
    assert_eq!(listed(&world).await, [entry("press-7", "hmi", "ok")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_changes_hands_takes_no_secret_along() {
    let world = World::with_sample("direct-sales").await;
    let mut press = world.enroll("press-7", 1).await;
    set(&world, "press-7", "hmi", SECRET).await;
    world.apply("[account.other]\ntenant = \"service_provider\"\n[device.press-7]\naccount = \"other\"\n");
    assert_eq!(listed(&world).await, []);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    assert_eq!((press.snapshot().assigned, press.snapshot().secrets.len()), (true, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_device_has_not_signed_is_refused_at_enrolment_and_ignored_on_a_link() {
    let world = World::with_sample("direct-sales").await;
    // A thief's sealing key with the thief's signature, from somebody who has the code.
    let secret = world.invite(Invitee::Device, "press-7", 5, 60);
    let caller = world.dial(&key(1)).await;
    let enroll = |sealing| HubRequest::Enroll { secret, label: Text::clean("me"), sealing };
    let forged = announcement(&key(66));
    assert_eq!(caller.ask(&enroll(forged)).await, HubAnswer::Refused(Refusal::SealingKey));
    assert!(matches!(caller.ask(&enroll(announcement(&key(1)))).await, HubAnswer::Enrolled { .. }));
    // The same on a link, also with the genuine signature under another key: what was known stays.
    let press = world.enroll("press-7", 1).await;
    let mut mixed = codec::encode(&announcement(&key(1)), 96).unwrap();
    mixed[..32].copy_from_slice(&codec::encode(&forged, 96).unwrap()[..32]);
    let mixed: Announcement = codec::decode(&mixed, 96).unwrap();
    for forged in [forged, mixed] {
        let mut link = press.link(&world).await;
        link.announce(forged).await;
        // A second one ends the link, so the first was heard when that happens.
        link.announce(forged).await;
        assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unexpected.number()));
        let known = world.store.read(|tx| tx.announcement(&name("press-7"))).unwrap();
        assert_eq!(known, Some(announcement(&key(1))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_announced_no_key_is_refused_with_what_to_do_until_it_does() {
    let world = World::with_sample("direct-sales").await;
    let args = ["secret", "set", "press-7", "hmi", "--stdin"];
    let (code, _, error) = run(&world, &args, SECRET).await;
    assert_eq!(
        (code, error.as_str()),
        (
            8,
            "postern-cloud: device `press-7` is not enrolled, so it has no key; `postern-cloud device add \
             press-7` begins that\n"
        )
    );
    let press = world.enroll("press-7", 1).await;
    // As an agent of an earlier version leaves it; and as somebody who can write to the file would like it.
    world.publish(|tx| tx.bind_device(&name("press-7"), &press.key.public(), false, crate::peers::now()));
    let missing = "postern-cloud: device `press-7` has announced no key to which a secret could be sealed; bring it online \
                   once, with the agent of this version\n";
    let (code, _, error) = run(&world, &args, SECRET).await;
    assert_eq!((code, error.as_str()), (1, missing));
    world.publish(|tx| tx.announce(&name("press-7"), &announcement(&key(66))));
    let (code, _, error) = run(&world, &args, SECRET).await;
    assert_eq!((code, error.as_str()), (1, missing));
    let mut link = press.link(&world).await;
    link.announce(announcement(&key(1))).await;
    eventually(Some(announcement(&key(1))), || {
        world.store.read(|tx| tx.announcement(&name("press-7"))).unwrap()
    })
    .await;
    set(&world, "press-7", "hmi", SECRET).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_bounded_in_length_and_number() {
    let world = World::with_sample("direct-sales").await;
    world.enroll("press-7", 1).await;
    let args = ["secret", "set", "press-7", "hmi", "--stdin"];
    for (content, found) in [(String::new(), 0), ("\n".to_owned(), 0), ("x".repeat(257), 257)] {
        let (code, _, error) = run(&world, &args, &content).await;
        let expected = format!("postern-cloud: a secret has 1 to 256 bytes, {found} were given\n");
        assert_eq!((code, error), (1, expected));
    }
    set(&world, "press-7", "hmi", &"x".repeat(256)).await;
    let stored = world.store.read(|tx| tx.secrets(None)).unwrap().remove(0);
    world.publish(|tx| {
        (1..64).try_for_each(|i| {
            let secret =
                postern_cloud::store::StoredSecret { name: name(&format!("s-{i}")), ..stored.clone() };
            tx.save_secret(&secret, Digest::of(&[b"sealed"]).as_bytes())
        })
    });
    let (code, _, error) = run(&world, &["secret", "set", "press-7", "more", "--stdin"], SECRET).await;
    let full = "postern-cloud: device `press-7` has 64 secrets, which is all that fit; remove one first\n";
    assert_eq!((code, error.as_str()), (1, full));
    // One that is there can be changed.
    set(&world, "press-7", "hmi", SECRET).await;
}

// But for what is looked for in files.
#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_secret_reaches_its_device_and_no_other_and_opens_there_alone",
            a_secret_reaches_its_device_and_no_other_and_opens_there_alone,
        ),
        (
            "a_secret_that_a_service_names_and_nobody_has_set_is_in_the_plan_with_both_ways_to_set_it",
            a_secret_that_a_service_names_and_nobody_has_set_is_in_the_plan_with_both_ways_to_set_it,
        ),
        (
            "a_secret_that_is_removed_leaves_the_device_and_a_missing_one_cannot_be_removed",
            a_secret_that_is_removed_leaves_the_device_and_a_missing_one_cannot_be_removed,
        ),
        (
            "a_device_with_a_new_key_makes_its_secrets_stale_and_gets_none_of_them",
            a_device_with_a_new_key_makes_its_secrets_stale_and_gets_none_of_them,
        ),
        (
            "a_device_that_changes_hands_takes_no_secret_along",
            a_device_that_changes_hands_takes_no_secret_along,
        ),
        (
            "a_key_that_the_device_has_not_signed_is_refused_at_enrolment_and_ignored_on_a_link",
            a_key_that_the_device_has_not_signed_is_refused_at_enrolment_and_ignored_on_a_link,
        ),
        (
            "a_device_that_announced_no_key_is_refused_with_what_to_do_until_it_does",
            a_device_that_announced_no_key_is_refused_with_what_to_do_until_it_does,
        ),
        ("secrets_are_bounded_in_length_and_number", secrets_are_bounded_in_length_and_number),
    ]);
}
