//! What the device says of tunnels that it stopped: signed, once for each change, and again until the hub has it.

use std::time::Duration;

use postern_protocol::policy::Reason;
use postern_protocol::trust::{CutCause, LockTarget, Receipt};
use postern_transport::quic::StreamFault;

use crate::machine::Machine;
use crate::policy::{USER, lock, now};
use crate::world::{Agent, World};

/// What a receipt says, apart from when.
fn said(receipt: &Receipt) -> (CutCause, u32, u32) {
    (receipt.cause, receipt.changes, receipt.cut)
}

const fn policy(version: u64) -> CutCause {
    CutCause::Policy { epoch: 1, version }
}

#[tokio::test]
async fn what_a_policy_cuts_is_signed_when_the_last_byte_of_it_has_passed() {
    let mut world = World::start().await;
    let torrent = Machine::torrent().await;
    for service in 0..world.policy.snapshot.services.len() {
        world.policy.lead(service, torrent.addr());
    }
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnels = Vec::new();
    for service in ["live", "web", "web"] {
        tunnels.push(client.tunnel(service).await);
    }
    let before = now();
    world.policy.revoke();
    world.publish(4).await;
    let receipt = world.hub.receipt().await;
    // Of the two changes the first has cut nothing, and nothing is said of it.
    assert_eq!(said(&receipt), (policy(4), 1, 3));
    assert!(receipt.at >= before && receipt.at <= now(), "{receipt:?}");
    assert!(receipt.stopped_ms < 1000, "{receipt:?}");
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    }
}

#[tokio::test]
async fn a_lock_and_the_end_of_a_window_are_said_as_what_they_are() {
    let mut world = World::start().await;
    let client = world.client().await;
    let _cut = client.tunnel("web").await;
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(said(&world.hub.receipt().await), (CutCause::Lock { epoch: 1, sequence: 1 }, 1, 1));
    world.policy.snapshot.locks_cleared = 1;
    let end = now().saturating_add(3);
    world.policy.snapshot.grants[0].not_after = Some(end);
    world.publish(3).await;
    let (_one, _two) = (client.tunnel("web").await, client.tunnel("live").await);
    let receipt = world.hub.receipt().await;
    assert_eq!(said(&receipt), (CutCause::Time, 1, 2));
    assert!(receipt.at >= end && receipt.at <= end.saturating_add(1), "{receipt:?}");
}

#[tokio::test]
async fn a_receipt_is_said_on_each_link_until_the_hub_has_it_also_after_a_power_cut() {
    let mut world = World::start().await;
    let _cut = world.client().await.tunnel("web").await;
    world.hub.take_receipts(false);
    world.policy.revoke();
    world.publish(3).await;
    let first = world.hub.receipt().await;
    world.hub.drop_link();
    assert_eq!(world.hub.receipt().await, first);
    kept(&world.agent).await;
    // Without the row of its end the next start could not know that it had ended.
    world.agent.trail_with("closed", 1).await;
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(world.hub.receipt().await, first);
    world.hub.take_receipts(true);
    world.hub.drop_link();
    assert_eq!(world.hub.receipt().await, first);
    // The hub has it: the next link brings nothing, and neither does the next start.
    forgotten(&world.agent).await;
    world.agent.kill().await;
    world.agent.start().await;
    world.hub.hello().await;
    world.policy = crate::policy::Policy::usual(world.agent.key(), world.machine.addr());
    world.publish(4).await;
    let _next = world.client().await.tunnel("web").await;
    world.policy.revoke();
    world.publish(5).await;
    assert_eq!(said(&world.hub.receipt().await), (policy(5), 1, 1));
    assert!(!world.hub.has_receipt());
}

#[tokio::test]
async fn what_was_open_when_the_power_went_is_said_at_the_next_start_and_once() {
    let mut world = World::start().await;
    let client = world.client().await;
    let (_one, _two) = (client.tunnel("web").await, client.tunnel("live").await);
    let mut ended = client.tunnel("web").await;
    ended.send.finish().unwrap();
    ended.drain().await.unwrap();
    world.agent.trail_with("closed", 1).await;
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(said(&world.hub.receipt().await), (CutCause::SuddenEnd, 1, 2));
    forgotten(&world.agent).await;

    // That start has counted them; and what ends in order has rows of its own.
    world.agent.kill().await;
    world.agent.start().await;
    let _three = world.client().await.tunnel("web").await;
    assert_eq!(world.agent.stop().await, Some(0));
    world.agent.start().await;
    let _four = world.client().await.tunnel("web").await;
    world.policy.revoke();
    world.publish(3).await;
    assert_eq!(said(&world.hub.receipt().await), (policy(3), 1, 1));
    assert!(!world.hub.has_receipt());
}

/// Waits until a receipt is on the disk.
async fn kept(agent: &Agent) {
    stored(agent, 1).await;
}

/// Waits until none is.
async fn forgotten(agent: &Agent) {
    stored(agent, 0).await;
}

async fn stored(agent: &Agent, count: i64) {
    let database = agent.state().join("policy.db");
    let waiting = async {
        loop {
            let database =
                rusqlite::Connection::open_with_flags(&database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
            let found = database.and_then(|database| {
                database.query_row("SELECT count(*) FROM receipt", [], |row| row.get::<_, i64>(0))
            });
            if found.is_ok_and(|found| found == count) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::world::GENEROUS, waiting).await.unwrap();
}
