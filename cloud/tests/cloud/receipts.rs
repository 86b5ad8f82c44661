//! What devices sign about tunnels that they stopped: kept once, believed of themselves alone, shown for each.

use postern_protocol::id::DeviceId;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{CutCause, Receipt, ReceiptId, SecretKey, SignedReceipt};
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};

use crate::peers::{Agent, World, key, name};

/// A receipt of an agent.
fn receipt(agent: &Agent, number: u8) -> Receipt {
    Receipt {
        fleet: agent.root.fleet,
        device: agent.device,
        id: ReceiptId([number; 8]),
        cause: CutCause::Policy { epoch: 1, version: 2 },
        changes: 1,
        cut: 3,
        at: UnixTime::from_secs(1_800_000_000 + u64::from(number)),
        stopped_ms: 12,
    }
}

fn signed(key: &SecretKey, receipt: Receipt) -> SignedReceipt {
    SignedReceipt::sign(key, receipt).unwrap()
}

/// What is kept of press-7, the newest first.
fn kept(world: &World) -> Vec<SignedReceipt> {
    world.read(|tx| tx.receipts(Some(&name("press-7")))).into_iter().map(|kept| kept.signed).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_stored_before_it_is_answered_and_one_that_comes_again_is_the_same() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    let (first, second) = (signed(&agent.key, receipt(&agent, 1)), signed(&agent.key, receipt(&agent, 2)));
    let mut link = agent.link(&world).await;
    for said in [first, second, first] {
        link.say_stopped(said).await;
        let taken = link.receipt_taken().await;
        assert!(kept(&world).iter().any(|kept| {
            kept.verify(&agent.key.public(), agent.root.fleet, agent.device).unwrap().id == taken
        }));
    }
    drop(link);
    // The answer may have been lost.
    let mut link = agent.link(&world).await;
    link.say_stopped(first).await;
    assert_eq!(link.receipt_taken().await, ReceiptId([1; 8]));
    assert_eq!(kept(&world), [second, first]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_another_key_device_or_content_ends_the_link_and_is_not_kept() {
    let world = World::with_sample("direct-sales").await;
    let (agent, other) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let empty = Receipt { cut: 0, ..receipt(&agent, 1) };
    let elsewhere = Receipt { device: DeviceId::new([9; 8]), ..receipt(&agent, 1) };
    for forged in [
        signed(&other.key, receipt(&agent, 1)),
        signed(&key(77), receipt(&agent, 1)),
        // Genuine, and of the neighbour.
        signed(&other.key, receipt(&other, 1)),
        signed(&agent.key, receipt(&other, 1)),
        signed(&agent.key, elsewhere),
        signed(&agent.key, empty),
    ] {
        let mut link = agent.link(&world).await;
        link.say_stopped(forged).await;
        assert_eq!(link.closed_with().await, CloseCode::Fault(ProtocolFault::Malformed).number());
    }
    assert_eq!(world.read(|tx| tx.receipts(None)), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_receipts_the_newest_are_kept_and_an_old_one_that_is_said_again_adds_nothing() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    for number in (1..=70).chain([1]) {
        link.say_stopped(signed(&agent.key, receipt(&agent, number))).await;
        assert_eq!(link.receipt_taken().await, ReceiptId([number; 8]));
    }
    let newest: Vec<SignedReceipt> =
        (7..=70).rev().map(|number| signed(&agent.key, receipt(&agent, number))).collect();
    assert_eq!(kept(&world), newest);
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_receipt_is_stored_before_it_is_answered_and_one_that_comes_again_is_the_same",
            a_receipt_is_stored_before_it_is_answered_and_one_that_comes_again_is_the_same,
        ),
        (
            "a_receipt_of_another_key_device_or_content_ends_the_link_and_is_not_kept",
            a_receipt_of_another_key_device_or_content_ends_the_link_and_is_not_kept,
        ),
        (
            "of_many_receipts_the_newest_are_kept_and_an_old_one_that_is_said_again_adds_nothing",
            of_many_receipts_the_newest_are_kept_and_an_old_one_that_is_said_again_adds_nothing,
        ),
    ]);
}
