//! Locks deny at once, survive whatever happens to device and hub, and end only by a snapshot that lifts them.

use std::time::{Duration, Instant};

use postern_protocol::policy::Reason;
use postern_protocol::trust::LockTarget;
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::policy::{USER, lock, lock_by_identity_key, lock_by_policy_key};
use crate::world::World;

fn reset(reason: Reason) -> Result<u64, StreamFault> {
    Err(StreamFault::Reset(reason.number().into()))
}

fn all() -> LockTarget {
    LockTarget::Category("all".parse().unwrap())
}

#[tokio::test]
async fn a_lock_cuts_live_tunnels_within_a_second_and_says_why() {
    let cases = [
        (LockTarget::User(USER), Reason::UserDisabled, Reason::UserDisabled),
        (all(), Reason::Revoked, Reason::NoGrant),
        (LockTarget::Device, Reason::SiteLocked, Reason::SiteLocked),
    ];
    for (target, cut, refused) in cases {
        let mut world = World::start().await;
        let client = world.client().await;
        let mut tunnel = client.tunnel("web").await;
        tunnel.echo(b"before").await;
        let sent = Instant::now();
        world.hub.lock(lock(1, std::slice::from_ref(&target)));
        assert_eq!(tunnel.drain().await, reset(cut), "{target:?}");
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
        assert_eq!(world.hub.locked().await, (1, 1));
        assert_eq!(client.open("web").await.answer, Answer::Denied(refused), "{target:?}");
        world.agent.trail_with("locked", 1).await;
    }
}

#[tokio::test]
async fn a_lock_of_somebody_else_leaves_the_tunnel_alone() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    let others =
        [LockTarget::User(crate::world::other_user().0), LockTarget::Category("elsewhere".parse().unwrap())];
    world.hub.lock(lock(1, &others));
    assert_eq!(world.hub.locked().await, (1, 0));
    tunnel.echo(b"untouched").await;
}

#[tokio::test]
async fn a_lock_survives_kill_9_a_new_link_and_a_replayed_snapshot_and_ends_by_one_that_lifts_it() {
    let mut world = World::start().await;
    let client = world.client().await;
    let mut old = client.tunnel("web").await;
    let before = world.policy.seal(2);
    world.hub.lock(lock(7, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.locked().await, (7, 1));
    world.agent.kill().await;
    // From here on the hub pushes whatever the agent says that it holds: first the policy of before the lock.
    world.hub.replay(before);
    world.agent.start().await;
    assert_eq!(world.hub.hello().await.locks, 7);
    assert_eq!(world.hub.applied().await.version, 2);
    let denied = Answer::Denied(Reason::UserDisabled);
    assert_eq!(world.client().await.open("web").await.answer, denied);
    let status = world.agent.json(&["status"]).await;
    assert_eq!(status["locks"][0]["user"], USER.to_string());
    // A newer policy that lifts another lock only.
    world.policy.snapshot.locks_cleared = 6;
    world.hub.replay(world.policy.seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    assert_eq!(world.client().await.open("web").await.answer, denied);
    // Lifted: new tunnels open, the old one is dead, and a replay of the lock is refused.
    world.policy.snapshot.locks_cleared = 7;
    world.hub.replay(world.policy.seal(4));
    assert_eq!(world.hub.applied().await.version, 4);
    assert_eq!(old.drain().await, reset(Reason::UserDisabled));
    world.client().await.tunnel("web").await.echo(b"a new one").await;
    world.hub.lock(lock(7, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.lock_refused().await, NackCode::Rollback);
    world.client().await.tunnel("web").await.echo(b"still").await;
    world.agent.trail_with("unlocked", 1).await;
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(world.hub.hello().await.locks, 7);
    world.client().await.tunnel("web").await.echo(b"and after a power cut").await;
}

#[tokio::test]
async fn a_later_lock_that_says_less_lifts_nothing() {
    let mut world = World::start().await;
    world.hub.lock(lock(1, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.locked().await, (1, 0));
    world.hub.lock(lock(2, &[LockTarget::Category("elsewhere".parse().unwrap())]));
    assert_eq!(world.hub.locked().await, (2, 0));
    let client = world.client().await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::UserDisabled));
}

#[tokio::test]
async fn a_lock_that_another_role_signed_is_refused_and_cuts_nothing() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    for sealed in [
        lock_by_policy_key(1, &[LockTarget::Device]),
        lock_by_identity_key(1, &[LockTarget::Device]),
        b"no lock".to_vec(),
    ] {
        world.hub.lock(sealed);
        assert_eq!(world.hub.lock_refused().await, NackCode::Envelope);
        tunnel.echo(b"untouched").await;
    }
    world.hub.lock(lock(1, &[LockTarget::Device]));
    assert_eq!(world.hub.locked().await, (1, 1));
}
