//! A device that changes hands, keys and state while somebody is connected.

use std::time::Duration;

use postern_cloud::store::{Store, StoreError};
use postern_tests::world::flow::Flow;
use postern_tests::world::{DEVICE, Mishap, World};
use serde_json::Value;

use super::gate::DENIED;
use super::stage::{LAB, Outcome, Plant};

/// Runs a command about the device in the cloud.
async fn cloud(world: &World, args: &[&str]) -> Result<Value, Mishap> {
    let args = ["--json", "device"].into_iter().chain(args.iter().copied());
    world.hub.call(args).finish().await?.expect_code(0)?.json()
}

#[tokio::test]
async fn a_device_that_moves_to_another_account_keeps_nothing_of_the_former_one() -> Outcome {
    let plant = Plant::start().await?;
    let world = World::start(LAB, &plant.services().allow("anna", &["source"])).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1 << 20).await?;
    let people = world.hub.call(["--json", "user", "list"]).finish().await?.expect_code(0)?.json()?;
    let id = people["users"][0]["id"].as_str().unwrap().trim_start_matches("usr-").to_owned();
    let id = data_encoding::HEXLOWER.decode(id.as_bytes()).unwrap();
    let sealed = || {
        let store = Store::open(&world.hub.state_dir().join("cloud.db")).unwrap();
        let newest: Result<_, StoreError> = store.read(|tx| tx.snapshot(&DEVICE.parse().unwrap()));
        newest.unwrap().unwrap().bytes
    };
    let names = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(names(&sealed(), &id) && names(&sealed(), b"anna"), "the former account is in the former policy");

    let moved = plant.services().allow("carl", &["source"]).to_toml().replace("acme", "beta");
    let former = "[account.acme]\ntenant = \"service_provider\"\n[user.anna]\naccount = \"acme\"\n";
    world.hub.apply(&format!("{moved}{former}"), &[]).await?;
    world.settle().await?;
    flow.end().await?;
    assert!(!names(&sealed(), &id) && !names(&sealed(), b"anna") && !names(&sealed(), b"acme"));
    anna.refused("source").await?.expect_code(DENIED)?;
    let carl = world.person("carl").await?;
    let session = carl.connect("source").await?;
    Flow::download(&session).await?.receives(1 << 20).await
}

#[tokio::test]
async fn a_key_is_rotated_under_a_live_tunnel_and_people_find_the_device_afterwards() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1 << 20).await?;
    let old = world.device.status().await?["fingerprint"].clone();

    cloud(&world, &["rotate-key", DEVICE]).await?;
    let status = world
        .device
        .status_until("a new key", |status| status["fingerprint"] != old && status["hub"].is_string())
        .await?;
    assert_eq!(status["next_fingerprint"], Value::Null);
    flow.receives(1 << 20).await?;
    let listed = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let devices = world.hub.devices().await?;
            if devices[0]["fingerprint"] == status["fingerprint"] {
                return Ok::<Value, Mishap>(devices[0].clone());
            }
        }
    });
    let listed = listed.await.unwrap()?;
    assert_eq!((&listed["next_fingerprint"], &listed["alarms"]), (&Value::Null, &serde_json::json!([])));
    // Anna's computer still has the old key: it asks the hub.
    let again = anna.connect("source").await?;
    Flow::download(&again).await?.receives(1 << 20).await
}

#[tokio::test]
async fn a_decommissioned_device_throws_everybody_out_and_lets_them_in_again_when_it_comes_back() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1 << 20).await?;

    cloud(&world, &["decommission", DEVICE]).await?;
    world.settle().await?;
    flow.end().await?;
    let status = world.device.status().await?;
    assert_eq!((&status["policy"]["retired"], &status["policy"]["users"]), (&true.into(), &0.into()));
    anna.refused("source").await?.expect_code(DENIED)?;

    cloud(&world, &["recommission", DEVICE]).await?;
    world.settle().await?;
    let again = anna.connect("source").await?;
    Flow::download(&again).await?.receives(1 << 20).await
}
