//! A hub that is about to end, and says when to come back.

use std::time::{Duration, Instant};

use postern_protocol::wire::control::{HubMessage, Return};

use crate::world::World;

#[tokio::test]
async fn the_device_leaves_when_it_is_told_and_comes_back_not_before_it_is_told_to() {
    let mut world = World::start().await;
    let began = Instant::now();
    // The address is none that the device knows: it is not dialled, and the hub is found in the usual order.
    let hub = Some("127.0.0.1:9".parse().unwrap());
    world.hub.send(HubMessage::Return(Return { leave_ms: 300, away_ms: 700, hub }));
    world.hub.hello().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // Sooner than a device whose link is lost would be sure to come: it has counted no failure.
    world.hub.send(HubMessage::Return(Return { leave_ms: 0, away_ms: 0, hub: None }));
    world.hub.hello().await;
}

#[tokio::test]
async fn a_hub_that_says_it_twice_breaks_the_protocol() {
    let mut world = World::start().await;
    let told = HubMessage::Return(Return { leave_ms: 200_000, away_ms: 0, hub: None });
    world.hub.send(told.clone());
    world.hub.send(told);
    // Otherwise it would leave in minutes.
    world.hub.hello().await;
}
