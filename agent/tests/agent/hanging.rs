//! A disk that does not answer: what is withdrawn is cut all the same, nobody waits for it, and what is owed is written
//! when it is back.

use std::path::Path;
use std::time::{Duration, Instant};

use postern_protocol::policy::Reason;
use postern_protocol::trust::{LockTarget, Role};
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::policy::{USER, hand_over, later_root, lock};
use crate::world::{Agent, World};

/// Both databases, locked: each write of the agent waits for five seconds and fails then.
struct Hang(Vec<rusqlite::Connection>);

impl Hang {
    fn of(state: &Path) -> Self {
        let locked = |file| {
            let connection = rusqlite::Connection::open(state.join(file)).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            connection
        };
        Self(["policy.db", "audit.db"].map(locked).into())
    }

    fn end(self) {
        self.0.iter().for_each(|connection| connection.execute_batch("ROLLBACK").unwrap());
    }
}

fn reset(reason: Reason) -> Result<u64, StreamFault> {
    Err(StreamFault::Reset(reason.number().into()))
}

/// Everything here happens within the quarter of a second that a snapshot may wait, and the time of a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// The key that gets the policy role after a theft.
const NEXT_SEED: u8 = 211;

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_a_withdrawn_right_alive_nor_the_snapshot_behind_it_waiting() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"before").await;
    let hang = Hang::of(&world.agent.state());
    world.hub.publish(world.policy.seal(3));
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.version, code), (3, NackCode::Storage), "in force, and not stored yet");
    tunnel.echo(b"version 3 grants it").await;
    world.policy.revoke();
    let published = Instant::now();
    world.hub.publish(world.policy.seal(4));
    assert_eq!(tunnel.drain().await, reset(Reason::Revoked));
    assert!(published.elapsed() < SOON, "{:?}", published.elapsed());
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.version, code), (4, NackCode::Storage));
    hang.end();
    assert_eq!(world.hub.stored().await.version, 4, "acknowledged after all");
    world.agent.trail_with("policy_applied", 3).await;
    world.agent.kill().await;
    world.agent.start().await;
    let hello = world.hub.hello().await;
    assert_eq!((hello.held.map(|held| held.version), hello.active), (Some(4), true));
}

#[tokio::test]
async fn a_root_that_retires_the_policy_key_cuts_at_once_though_the_disk_hangs() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"before").await;
    let hang = Hang::of(&world.agent.state());
    // The store works on this one when the root comes.
    world.hub.publish(world.policy.seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Storage);
    let root = later_root(2, |root| hand_over(root, Role::Policy, NEXT_SEED));
    let sent = Instant::now();
    assert_eq!(world.hub.root(root).await, Ok(2));
    assert_eq!(tunnel.drain().await, reset(Reason::NoPolicy));
    assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    hang.end();
    assert_eq!(world.client().await.open("web").await.answer, Answer::Denied(Reason::NoPolicy));
    world.agent.trail_with("root_taken", 1).await;
    // The key that follows heals it, and the one before signs in vain.
    world.policy.signer = NEXT_SEED;
    world.hub.publish(world.policy.seal(4));
    while world.hub.stored().await.version != 4 {}
    world.client().await.tunnel("web").await.echo(b"healed").await;
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(world.hub.hello().await.root_version, 2);
}

#[tokio::test]
async fn a_root_that_keeps_the_signer_of_the_policy_cuts_nothing_though_the_disk_hangs() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"before").await;
    let hang = Hang::of(&world.agent.state());
    assert_eq!(world.hub.root(later_root(2, |_root| ())).await, Ok(2));
    tunnel.echo(b"after").await;
    hang.end();
    world.agent.trail_with("root_taken", 1).await;
}

#[tokio::test]
async fn a_lock_is_in_force_at_once_though_the_disk_hangs_and_its_row_is_written_when_it_is_back() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"before").await;
    let hang = Hang::of(&world.agent.state());
    // The store works on this one when the lock comes.
    world.hub.publish(world.policy.seal(3));
    let sent = Instant::now();
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(tunnel.drain().await, reset(Reason::UserDisabled));
    assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    assert_eq!(world.hub.lock_refused().await, NackCode::Storage, "in force, and not stored yet");
    hang.end();
    assert_eq!(world.hub.locked().await, (1, 1), "stored after all");
    let trail = world.agent.trail_with("locked", 1).await;
    assert_eq!(trail.iter().filter(|(event, _)| event == "locked").count(), 1);
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(world.hub.hello().await.locks, 1);
    assert_eq!(world.client().await.open("web").await.answer, Answer::Denied(Reason::UserDisabled));
}

#[tokio::test]
async fn a_secret_that_is_set_while_the_disk_is_slow_with_a_new_key_is_refused_and_those_before_go_along() {
    let mut world = World::start().await;
    let set = async |agent: &Agent, name| agent.feed(&["secret", "set", name, "--stdin"], "4711").await;
    assert_eq!(set(&world.agent, "hmi").await.code, 0);
    world.agent.json(&["key", "rotate"]).await;
    let (next, _old) = world.hub.next_key().await;
    let hang = Hang::of(&world.agent.state());
    world.policy.snapshot.device_key = next.key;
    world.hub.publish(world.policy.seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Storage, "in force, and not stored yet");
    // It is sealed to the old key, and would come behind the commit that puts the new one in force.
    let refused = set(&world.agent, "panel").await;
    let reason =
        "postern-agent: the agent refused: the device's key is being replaced at this moment; try again\n";
    assert_eq!((refused.code, refused.err.as_str()), (1, reason));
    hang.end();
    assert_eq!(world.hub.stored().await.version, 3);
    assert_eq!(set(&world.agent, "panel").await.code, 0);
    let opens = "SECRET  SOURCE    STATE\nhmi     set here  opens\npanel   set here  opens\n";
    assert_eq!(world.agent.run(&["secret", "list"]).await.out, opens);
    world.agent.kill().await;
    assert_eq!(world.agent.run(&["secret", "list"]).await.out, opens, "on the disk too");
}

#[tokio::test]
async fn the_rows_of_what_came_into_force_are_owed_until_the_trail_takes_them() {
    let mut world = World::start().await;
    let hang = Hang::of(&world.agent.state());
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.lock_refused().await, NackCode::Storage, "late");
    // After five seconds the store gives up. Whoever waits for the disk is told, and the row is still owed.
    assert_eq!(world.hub.lock_refused().await, NackCode::Storage, "not stored");
    hang.end();
    world.agent.trail_with("locked", 1).await;
    // What is not stored is asked for again with the next link.
    world.hub.drop_link();
    assert_eq!(world.hub.hello().await.locks, 0);
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.locked().await, (1, 0));
    world.hub.drop_link();
    assert_eq!(world.hub.hello().await.locks, 1);
}

#[tokio::test]
async fn what_became_of_a_lock_of_an_earlier_link_is_not_told_over_the_next_one() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"before").await;
    let hang = Hang::of(&world.agent.state());
    // The store works on this one when the lock comes.
    world.hub.publish(world.policy.seal(3));
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.lock_refused().await, NackCode::Storage, "in force, and not stored yet");
    world.hub.drop_link();
    assert_eq!(world.hub.hello().await.locks, 0);
    hang.end();
    world.agent.trail_with("locked", 1).await;
    // It cut one tunnel when it came. The next link has sent it as well, and hears of that alone.
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.locked().await, (1, 0));
}

#[tokio::test]
async fn a_lock_that_was_never_stored_is_not_asked_for_again_once_a_snapshot_has_lifted_it() {
    let mut world = World::start().await;
    let hang = Hang::of(&world.agent.state());
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    for when in ["late", "not stored"] {
        assert_eq!(world.hub.lock_refused().await, NackCode::Storage, "{when}");
    }
    hang.end();
    world.policy.snapshot.locks_cleared = 1;
    world.hub.publish(world.policy.seal(3));
    while world.hub.stored().await.version != 3 {}
    world.client().await.tunnel("web").await.echo(b"lifted").await;
    world.hub.drop_link();
    assert_eq!(world.hub.hello().await.locks, 1, "all that is known is over");
}
