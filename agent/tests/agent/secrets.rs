//! Secrets on the device: those of the policy, those that are set here, and where their plain text is not.

use postern_protocol::name::Name;
use postern_protocol::policy::{Rules, Secret, VncRules};
use postern_protocol::trust::sealed::{Place, Plaintext, SealingKey, seal};

use crate::hub::Hub;
use crate::policy::{DEVICE, FLEET, Policy};
use crate::world::{Agent, Done, World};

const CLOUD: &str = "from-the-cloud-4711";
const HERE: &str = "typed-at-the-machine-4712";

/// A secret as the cloud seals it.
fn sealed(to: &SealingKey, name: &str, sealed_as: &str) -> Secret {
    let (name, place): (Name, Name) = (name.parse().unwrap(), sealed_as.parse().unwrap());
    let plain = Plaintext::new(CLOUD.as_bytes().to_vec().into()).unwrap();
    let place = Place { fleet: FLEET, device: DEVICE, name: &place };
    Secret { name, sealed: seal(to, &place, &plain, [7; 32].into()).unwrap() }
}

/// A running agent with the secrets `hmi`, and `stray`, which was sealed under another name.
async fn world() -> World {
    let mut hub = Hub::start();
    let machine = crate::machine::Machine::echo().await;
    let mut agent = Agent::enrolled(&hub, "").await;
    let mut policy = Policy::usual(agent.key(), machine.addr());
    hub.publish(policy.seal(2));
    agent.start().await;
    let to = hub.announced().await.verify(&agent.key()).unwrap();
    assert_eq!(hub.applied().await.version, 2);
    policy.snapshot.secrets = vec![sealed(&to, "hmi", "hmi"), sealed(&to, "stray", "hmi")];
    let mut world = World { hub, machine, agent, policy };
    world.publish(3).await;
    world
}

fn ok(done: &Done) -> &str {
    assert_eq!(done.code, 0, "{done:?}");
    &done.out
}

const LOCKED: &str = "the secret `stray` does not open: it was sealed to another key or for another place, or was changed; \
                      set it again";

#[tokio::test]
async fn the_policys_secrets_open_on_the_device_and_one_that_was_sealed_for_another_name_does_not() {
    let mut world = world().await;
    let listed = format!("SECRET  SOURCE  STATE\nhmi     cloud   opens\nstray   cloud   {LOCKED}\n");
    assert_eq!(ok(&world.agent.run(&["secret", "list"]).await), listed);
    assert_eq!(world.agent.stop().await, Some(0));
    assert_eq!(ok(&world.agent.run(&["secret", "list"]).await), listed, "also without a running agent");
    let check = world.agent.run(&["check"]).await;
    assert!(ok(&check).ends_with(&format!("warning    {LOCKED}\n")), "{check:?}");
}

#[tokio::test]
async fn a_secret_that_a_service_needs_and_the_device_cannot_use_is_in_its_status_until_it_is_set() {
    let mut world = world().await;
    let wanting = async |world: &World| world.agent.json(&["status"]).await["wanting"].clone();
    assert_eq!(wanting(&world).await, serde_json::json!([]));
    let service = world.policy.snapshot.services[0].name.to_string();
    let named = |secret: &str| Rules::Vnc(VncRules { password: Some(secret.parse().unwrap()), writers: 1 });
    for (version, secret, problem) in [
        (
            4,
            "panel",
            "there is no secret `panel` on this device; `postern-agent secret list` shows those that there are",
        ),
        (5, "stray", LOCKED),
    ] {
        *world.policy.snapshot.services[0].reach.rules_mut().unwrap() = named(secret);
        world.publish(version).await;
        let found = wanting(&world).await;
        assert_eq!(
            (&found[0]["name"], &found[0]["services"]),
            (&secret.into(), &serde_json::json!([service]))
        );
        assert_eq!(found[0]["problem"], problem);
        let text = world.agent.run(&["status"]).await.out;
        assert!(
            text.contains(&format!("; {service} cannot be entered: `postern-agent secret set {secret}`")),
            "{text}"
        );
        // The twin.
        let done = world.agent.feed(&["secret", "set", secret, "--stdin"], HERE).await;
        assert_eq!((done.code, wanting(&world).await), (0, serde_json::json!([])));
    }
}

#[tokio::test]
async fn a_secret_that_is_set_here_wins_until_it_is_removed_with_and_without_a_running_agent() {
    let mut world = world().await;
    for running in [true, false] {
        if !running {
            assert_eq!(world.agent.stop().await, Some(0));
        }
        let set = world.agent.feed(&["secret", "set", "hmi", "--stdin"], &format!("{HERE}\n")).await;
        assert_eq!(ok(&set), "secret hmi is set on this device\n");
        ok(&world.agent.feed(&["secret", "set", "panel", "--stdin"], HERE).await);
        let list = world.agent.run(&["secret", "list"]).await;
        assert_eq!(
            ok(&list),
            format!(
                "SECRET  SOURCE                            STATE\n\
                 hmi     set here, instead of the cloud's  opens\n\
                 panel   set here                          opens\n\
                 stray   cloud                             {LOCKED}\n"
            )
        );
        for name in ["hmi", "panel"] {
            ok(&world.agent.run(&["secret", "remove", name]).await);
        }
        let list = world.agent.run(&["secret", "list"]).await;
        assert!(ok(&list).starts_with("SECRET  SOURCE  STATE\nhmi     cloud   opens\nstray "), "{list:?}");
        let again = world.agent.run(&["secret", "remove", "panel"]).await;
        assert_eq!(
            (again.code, again.err.as_str()),
            (
                1,
                "postern-agent: there is no secret `panel` on this device; `postern-agent secret list` shows those that \
                 there are\n"
            )
        );
    }
    world.agent.start().await;
    let trail = world.agent.json(&["audit", "list"]).await;
    let commands: Vec<&str> = trail
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["event"] == "control")
        .filter_map(|row| row["detail"].as_str())
        .collect();
    assert_eq!(commands, ["secret set hmi", "secret set panel", "secret remove hmi", "secret remove panel"]);
}

#[tokio::test]
async fn a_secret_survives_a_restart_and_its_plain_text_is_in_no_file() {
    let mut world = world().await;
    ok(&world.agent.feed(&["secret", "set", "hmi", "--stdin"], HERE).await);
    world.agent.kill().await;
    world.agent.start().await;
    let list = world.agent.json(&["secret", "list"]).await;
    assert_eq!(
        (&list[0]["name"], &list[0]["source"], &list[0]["problem"]),
        (&"hmi".into(), &"device".into(), &serde_json::Value::Null)
    );
    let policy = world.policy.snapshot.secrets[0].sealed.clone();
    let (mut files, mut found) = (0, false);
    let mut folders = vec![world.agent.dir().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(bytes) = std::fs::read(&path) else { continue };
            for plain in [CLOUD, HERE] {
                assert!(!contains(&bytes, plain.as_bytes()), "{} has {plain}", path.display());
            }
            files += 1;
            found |= contains(&bytes, &policy[..64]);
        }
    }
    // The search finds what is there.
    assert!(files >= 5 && found, "{files} {found}");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn nothing_is_set_without_a_terminal_or_from_an_argument_or_out_of_bounds() {
    let world = world().await;
    let unasked = world.agent.run(&["secret", "set", "hmi"]).await;
    let reason =
        "postern-agent: there is no terminal to ask for the secret; `--stdin` reads it from standard input\n";
    assert_eq!((unasked.code, unasked.err.as_str()), (2, reason));
    assert_eq!(world.agent.run(&["secret", "set", "hmi", HERE]).await.code, 2);
    for (input, found) in [("", 0), ("\n", 0), ("x".repeat(257).as_str(), 257)] {
        let refused = world.agent.feed(&["secret", "set", "hmi", "--stdin"], input).await;
        let reason = format!("postern-agent: a secret has 1 to 256 bytes, {found} were given\n");
        assert_eq!((refused.code, refused.err), (1, reason));
    }
    let list = world.agent.json(&["secret", "list"]).await;
    assert_eq!(list[0]["source"], "cloud");
}
