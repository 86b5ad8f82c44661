//! Hostile bytes on the hub's socket: each ends with a named fault, and the hub goes on.

use bytes::Bytes;
use postern_protocol::limits;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::registry::ProtocolFault;
use postern_transport::framed::write_frame;
use postern_transport::quic::ConnectionEnd;

use crate::peers::{Caller, PATIENCE, World, key};

async fn closed(caller: &Caller) -> u32 {
    match tokio::time::timeout(PATIENCE, caller.connection.closed()).await.unwrap() {
        ConnectionEnd::ClosedByPeer { code, .. } => code,
        other => panic!("{other}"),
    }
}

async fn send(caller: &Caller, bytes: Vec<u8>) {
    let (mut send, _recv) = caller.connection.open_bi().await.unwrap();
    send.write_chunk(Bytes::from(bytes)).await.unwrap();
    send.finish().unwrap();
    // Kept open so that only the hub ends it.
    std::mem::forget(_recv);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_request_end_the_connection_and_nothing_else() {
    let world = World::with_sample("direct-sales").await;
    let huge = u32::try_from(limits::FRAME_BYTES + 1).unwrap().to_le_bytes().to_vec();
    let (oversize, malformed) = (ProtocolFault::Oversize.number(), ProtocolFault::Malformed.number());
    for (bytes, fault) in [
        (huge, oversize),
        (vec![0xff; 64], oversize),
        (vec![4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], malformed),
        (vec![1, 0, 0, 0, 99], malformed),
        (vec![2, 0, 0, 0, 5, 5], malformed),
        (vec![9, 0, 0, 0, 1], malformed),
    ] {
        let caller = world.dial(&key(1)).await;
        send(&caller, bytes.clone()).await;
        assert_eq!(closed(&caller).await, u32::from(fault), "{bytes:?}");
    }
    let caller = world.dial(&key(1)).await;
    assert_eq!(caller.ask(&HubRequest::ListDevices).await, HubAnswer::Refused(Refusal::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_may_ask_nothing_of_a_user() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    // A device is no user, whatever it asks.
    let caller = world.dial(&agent.key).await;
    for request in [HubRequest::ListDevices, HubRequest::Logout] {
        assert_eq!(caller.ask(&request).await, HubAnswer::Refused(Refusal::UnknownKey));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_no_push_ends_the_link() {
    use postern_protocol::wire::control::AgentMessage;
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    let message = AgentMessage::Ack { nonce: 12345, held: agent.held(), cut: 0 };
    write_frame(&mut link.send, &message, limits::SYNC_FRAME_BYTES).await.unwrap();
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unexpected.number()));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "bytes_that_are_no_request_end_the_connection_and_nothing_else",
            bytes_that_are_no_request_end_the_connection_and_nothing_else,
        ),
        ("a_stranger_may_ask_nothing_of_a_user", a_stranger_may_ask_nothing_of_a_user),
        ("an_answer_to_no_push_ends_the_link", an_answer_to_no_push_ends_the_link),
    ]);
}
