//! A hub that ends: who is told when to come back, and who is let in no more.

use std::net::SocketAddr;
use std::sync::Arc;

use postern_cloud::hub::Drained;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::registry::{ALPN_HUB_V1, ALPNS_HUB, CloseCode, Failure};
use postern_transport::quic::ConnectionEnd;

use super::peers::{World, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_ends_sends_its_devices_away_and_waits_until_they_have_gone() {
    let world = World::with_sample("direct-sales").await;
    let (mut press, mut saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let (mut press_link, mut saw_link) = (press.link(&world).await, saw.link(&world).await);
    press.take(&mut press_link).await;
    saw.take(&mut saw_link).await;
    let draining = tokio::spawn({
        let hub = Arc::clone(&world.hub);
        async move { hub.drain(None).await }
    });
    let told = press_link.sent_away().await;
    assert_eq!(told.hub, None);
    assert!(told.leave_ms < 1000 && (2000..3000).contains(&told.away_ms), "{told:?}");
    saw_link.sent_away().await;
    drop(press_link);
    assert!(!draining.is_finished(), "the other one is still there");
    drop(saw_link);
    assert_eq!(draining.await.unwrap(), Drained { told: 2, left: 0, unanswered: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_ends_answers_who_is_there_and_lets_nobody_else_in() {
    let world = World::with_sample("direct-sales").await;
    let eva = world.join("eva", 10, "correct horse").await;
    let mut press = world.enroll("press-7", 1).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let elsewhere: SocketAddr = "192.0.2.7:7440".parse().unwrap();
    let draining = tokio::spawn({
        let hub = Arc::clone(&world.hub);
        async move { hub.drain(Some(elsewhere)).await }
    });
    let told = link.sent_away().await;
    assert_eq!((told.hub, told.away_ms), (Some(elsewhere), 0));
    // What is published until a device has left still comes.
    assert!(matches!(eva.ask(&HubRequest::ListDevices).await, HubAnswer::Devices(_)));
    let (answer, version) = tokio::join!(eva.ask(&HubRequest::LogoutEverywhere), press.take(&mut link));
    assert!(matches!(answer, HubAnswer::LoggedIn { .. } | HubAnswer::Done), "{answer:?}");
    assert_eq!(version, 3);
    let refused = world.try_dial("127.0.0.1:0", &key(12), ALPNS_HUB).await.map(drop);
    assert!(refused.as_ref().is_err_and(|error| error.contains("Refused")), "{refused:?}");
    drop(link);
    assert_eq!(draining.await.unwrap(), Drained { told: 1, left: 0, unanswered: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_the_version_before_is_told_nothing_that_it_cannot_read() {
    let world = World::with_sample("direct-sales").await;
    let mut press = world.enroll("press-7", 1).await;
    let caller = world.dial_speaking(&[ALPN_HUB_V1], &press.key).await;
    assert_eq!(caller.connection.alpn(), ALPN_HUB_V1);
    let mut link = press.link_over(caller, press.hello()).await;
    press.take(&mut link).await;
    let drained = world.hub.drain(None).await;
    assert_eq!(drained, Drained { told: 1, left: 0, unanswered: 0 });
    let shutdown = CloseCode::Failed(Failure::Shutdown).number();
    match link.caller.connection.closed().await {
        ConnectionEnd::ClosedByPeer { code, .. } => assert_eq!(code, shutdown),
        other => panic!("{other:?}"),
    }
    assert_eq!(link.rest().await, 0, "nothing came before the end");
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_hub_that_ends_sends_its_devices_away_and_waits_until_they_have_gone",
            a_hub_that_ends_sends_its_devices_away_and_waits_until_they_have_gone,
        ),
        (
            "a_hub_that_ends_answers_who_is_there_and_lets_nobody_else_in",
            a_hub_that_ends_answers_who_is_there_and_lets_nobody_else_in,
        ),
        (
            "an_agent_of_the_version_before_is_told_nothing_that_it_cannot_read",
            an_agent_of_the_version_before_is_told_nothing_that_it_cannot_read,
        ),
    ]);
}
