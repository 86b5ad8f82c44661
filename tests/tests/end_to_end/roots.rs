//! Roots change while everything runs: a new root comes over the link, and what it does not vouch for is over.

use std::path::{Path, PathBuf};

use postern_cloud::ceremony;
use postern_cloud::keys;
use postern_cloud::publish::PublishError;
use postern_cloud::store::Store;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, Root, SecretKey};
use postern_tests::world::flow::Flow;
use postern_tests::world::{DEVICE, Mishap, World};
use serde_json::Value;

use super::gate::{DENIED, echoed};
use super::stage::{Outcome, Plant};

/// A root that is drawn up with these options, signed by two holders and published with these keys.
async fn publish(world: &World, changes: &[&str], keys: &[&str]) -> Result<(), Mishap> {
    let file = world.dir().join(format!("{}.root", newest(world).version + 1));
    let file = file.to_str().unwrap();
    let rotate = [&["root", "rotate", "--out", file], changes].concat();
    world.hub.call(rotate).finish().await?.expect_code(0)?;
    for holder in ["root-1.key", "root-3.key"] {
        let key = world.hub.state_dir().join("offline").join(holder);
        let sign = ["root", "sign", file, "--key", key.to_str().unwrap()];
        world.hub.call(sign).finish().await?.expect_code(0)?;
    }
    let given: Vec<&str> = keys.iter().flat_map(|key| ["--key", key]).collect();
    let publish = [&["root", "publish", file], given.as_slice()].concat();
    world.hub.call(publish).finish().await?.expect_code(0).map(drop)
}

/// A new key: its file and its public half.
async fn key(world: &World, name: &str) -> Result<(PathBuf, String), Mishap> {
    let file = world.dir().join(name);
    let made = world.hub.call(["root", "key", "new", file.to_str().unwrap()]).finish().await?;
    Ok((file, made.expect_code(0)?.out.trim().to_owned()))
}

fn newest(world: &World) -> Root {
    let store = Store::open(&world.hub.state_dir().join(keys::DATABASE)).unwrap();
    let sealed: Result<_, PublishError> = store.read(|tx| Ok(tx.newest_root()?));
    Root::self_signed(&sealed.unwrap()).unwrap()
}

fn public(file: &Path) -> String {
    keys::read(file).unwrap().public().to_string()
}

/// Waits until the device has this root and a policy of this epoch in force.
async fn until(world: &World, root: u64, epoch: u64) -> Result<(), Mishap> {
    let wanted = |status: &Value| {
        status["root"]["version"].as_u64() == Some(root) && status["policy"]["epoch"].as_u64() == Some(epoch)
    };
    world.device.status_until(&format!("root {root} and a policy of epoch {epoch}"), wanted).await.map(drop)
}

#[tokio::test]
async fn a_new_policy_key_and_epoch_end_what_was_signed_before_and_the_device_goes_on_under_them() -> Outcome
{
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;

    let (file, new) = key(&world, "policy-2027.key").await?;
    let old = public(&world.hub.state_dir().join("policy.key"));
    let (add, remove) = (format!("policy={new}"), format!("policy={old}"));
    let given = format!("policy={}", file.display());
    publish(&world, &["--add-key", &add, "--remove-key", &remove, "--raise-epoch"], &[&given]).await?;
    flow.end().await?;
    until(&world, 2, 2).await?;
    world.settle().await?;
    let echo = anna.connect("echo").await?;
    assert_eq!(echoed(&mut echo.exchange().await?, b"again").await?, b"again");
    // Versions began anew, the old key is aside, and the hub goes on to publish under the new one.
    let devices = world.hub.devices().await?;
    let device = devices.iter().find(|device| device["name"] == DEVICE).unwrap();
    assert_eq!((device["root"].as_u64(), device["latest"].as_u64()), (Some(2), Some(1)));
    assert!(world.hub.state_dir().join("policy.key.old-1").exists());
    world.apply(&plant.services().allow("anna", &["echo"])).await?;
    anna.refused("source").await?.expect_code(DENIED)?;
    Ok(())
}

#[tokio::test]
async fn a_root_that_changes_neither_key_nor_epoch_leaves_tunnels_alone() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    let mut open = session.exchange().await?;
    assert_eq!(echoed(&mut open, b"before").await?, b"before");
    publish(&world, &["--lifetime", "6y"], &[]).await?;
    until(&world, 2, 1).await?;
    assert_eq!(echoed(&mut open, b"after").await?, b"after");
    // It is what the device begins with after a restart without its hub.
    world.hub.stop().await?;
    world.device.kill().await?;
    world.device.run().await?;
    until(&world, 2, 1).await
}

#[tokio::test]
async fn a_retired_identity_key_ends_the_sessions_of_its_passes() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;

    let (file, new) = key(&world, "identity-2027.key").await?;
    let old = public(&world.hub.state_dir().join("identity.key"));
    let (add, remove) = (format!("identity={new}"), format!("identity={old}"));
    let given = format!("identity={}", file.display());
    publish(&world, &["--add-key", &add, "--remove-key", &remove], &[&given]).await?;
    flow.end().await?;
    until(&world, 2, 1).await
}

#[tokio::test]
async fn the_hub_gets_a_new_key_in_two_steps_and_devices_follow() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;

    // Both keys are genuine for as long as some device has not heard of the new one; the hub goes on with the old one.
    let (file, new) = key(&world, "hub-2027.key").await?;
    let old = public(&world.hub.state_dir().join("hub.key"));
    publish(&world, &["--add-hub", &new], &[&format!("hub={}", file.display())]).await?;
    until(&world, 2, 1).await?;
    publish(&world, &["--remove-hub", &old], &[]).await?;
    until(&world, 3, 1).await?;
    flow.receives(1).await?;

    // A device that begins anew dials the new key, and is reached by what is published.
    world.device.kill().await?;
    world.device.run().await?;
    until(&world, 3, 1).await?;
    world.apply(&plant.services().allow("anna", &["echo"])).await?;
    world.settle().await?;
    anna.refused("source").await?.expect_code(DENIED)?;
    let echo = anna.connect("echo").await?;
    assert_eq!(echoed(&mut echo.exchange().await?, b"followed").await?, b"followed");
    // So does the hub after a restart.
    world.hub.stop().await?;
    world.hub.serve().await?;
    world.settle().await
}

#[tokio::test]
async fn an_expired_root_permits_nothing_and_is_left_by_the_next_one() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;

    publish(&world, &["--lifetime", "5s"], &[]).await?;
    until(&world, 2, 1).await?;
    flow.end().await?;
    let refused = anna.refused("echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("out of date"), "{}", refused.err);
    publish(&world, &[], &[]).await?;
    until(&world, 3, 1).await?;
    let echo = anna.connect("echo").await?;
    assert_eq!(echoed(&mut echo.exchange().await?, b"renewed").await?, b"renewed");
    Ok(())
}

#[tokio::test]
async fn a_device_that_was_away_for_seventy_roots_catches_up_over_two_links() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    world.device.stop().await?;
    rotate_often(&world, 70);
    world.device.run().await?;
    until(&world, 71, 1).await?;
    let echo = anna.connect("echo").await?;
    assert_eq!(echoed(&mut echo.exchange().await?, b"home").await?, b"home");
    Ok(())
}

#[tokio::test]
async fn a_device_is_enrolled_after_seventy_rotations() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::bare(super::stage::LAB).await?;
    world.hub.apply(&plant.fleet().to_toml(), &[]).await?;
    rotate_often(&world, 70);
    world.hub.serve().await?;
    world.enroll().await?;
    world.device.run().await?;
    until(&world, 71, 1).await
}

/// Stores roots as `root publish` would, the first of which have expired long ago.
fn rotate_often(world: &World, times: u64) {
    let state = world.hub.state_dir();
    let store = Store::open(&state.join(keys::DATABASE)).unwrap();
    let holders: Vec<SecretKey> =
        (1..=2).map(|n| keys::read(&state.join(format!("offline/root-{n}.key"))).unwrap()).collect();
    for number in 0..times {
        let root = newest(world);
        let expires =
            if number + 1 == times { root.expires } else { UnixTime::from_secs(1_000_000 + number) };
        let last = UnixTime::from_secs(4_000_000_000).max(expires);
        let expires = if number + 1 == times { last } else { expires };
        let next = ceremony::next(&root, &[], expires, UnixTime::EPOCH).unwrap();
        let sealed = Envelope::seal(&next, &holders.iter().collect::<Vec<_>>()).unwrap();
        let stored: Result<(), PublishError> = store.write(|tx| Ok(tx.save_root(next.version, &sealed)?));
        stored.unwrap();
    }
}
