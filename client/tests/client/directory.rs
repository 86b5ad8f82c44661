//! `devices` and `services`.

use crate::device::Device;
use crate::world::{World, loopback};

#[tokio::test]
async fn devices_are_listed_plainly_for_a_pipe_and_as_json_for_a_program() {
    let world = World::signed_in().await;
    let plain = world.run(&["devices"]).await;
    assert_eq!((plain.code, plain.stdout.as_str()), (0, "press-7\tacme\tonline\tPress in hall 3\n"));
    let json = world.run(&["devices", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&value["cached"], &value["devices"][0]["name"]), (&false.into(), &"press-7".into()));
}

#[tokio::test]
async fn known_devices_are_listed_and_reached_while_the_hub_is_away() {
    let world = World::signed_in().await;
    world.hub.stop();
    let devices = world.run(&["devices"]).await;
    assert_eq!((devices.code, devices.stdout.as_str()), (0, "press-7\tacme\tunknown\tPress in hall 3\n"));
    assert!(devices.stderr.contains("the hub cannot be reached"), "{}", devices.stderr);
    let services = world.run(&["services", "press-7"]).await;
    assert_eq!(services.code, 0, "{services:?}");
    std::fs::remove_file(world.home().join("devices.json")).unwrap();
    assert_eq!(world.run(&["devices"]).await.code, 6);
}

#[tokio::test]
async fn services_are_what_the_device_says() {
    let world = World::signed_in().await;
    let services = world.run(&["services", "press-7"]).await;
    let expected = "hmi\thttp\tfull\t2096-10-02 07:06 +00:00\topen\n\
                    live\twebsocket\tfull\t2096-10-02 07:06 +00:00\topen\n\
                    panel\tvnc\tfull\t2096-10-02 07:06 +00:00\topen\n\
                    vault\tvnc\t\t\tthis access needs a second factor: prove it with \
                    your one-time code (`postern step-up`)\n";
    assert_eq!((services.code, services.stdout.as_str()), (0, expected));
    let json = world.run(&["services", "acme/press-7", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(value["services"][3]["blocked"], "second_factor_required");
    assert_eq!(value["services"][3]["mode"], serde_json::Value::Null);
    assert_eq!(value["services"][0]["mode"], serde_json::json!({ "full": { "clipboard": false } }));
}

#[tokio::test]
async fn an_unknown_device_is_asked_for_at_the_hub_and_then_suggested() {
    let world = World::signed_in().await;
    let other = Device::start(loopback());
    let mut entry = other.entry("oven-2", "acme");
    entry.device = world.device.entry("press-7", "acme").device;
    world.hub.list(vec![entry]);
    let fresh = world.run(&["services", "oven-2"]).await;
    assert_eq!(fresh.code, 0, "{fresh:?}");
    let slip = world.run(&["services", "oven2"]).await;
    assert_eq!(
        (slip.code, slip.stderr.as_str()),
        (
            11,
            "postern: no device `oven2` is among yours; did you mean `oven-2`?; `postern devices` lists yours\n"
        )
    );
}

#[tokio::test]
async fn a_device_that_moved_is_found_through_the_hub() {
    let world = World::signed_in().await;
    assert_eq!(world.run(&["services", "press-7"]).await.code, 0);
    world.device.stop();
    let moved = Device::start(loopback());
    world.hub.list(vec![moved.entry("press-7", "acme")]);
    let outcome = world.run(&["services", "press-7"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[tokio::test]
async fn a_device_that_does_not_answer_has_its_own_exit_code() {
    let world = World::signed_in().await;
    world.device.stop();
    let outcome = world.run(&["services", "press-7", "--json"]).await;
    assert_eq!(outcome.code, 5);
    let value: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&value["error"]["code"], &value["error"]["word"]), (&5.into(), &"device_unreachable".into()));
}
