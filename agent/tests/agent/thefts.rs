//! One online key is stolen: what its thief can do to a device, what not, and how a new root heals it.

use postern_protocol::policy::{FreshnessRule, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, LockTarget, Pass, Role};
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::client::Client;
use crate::hub::Stories;
use crate::policy::{
    AUDIT_ACK_SEED, FLEET, LOCK_SEED, TIMESTAMP_SEED, USER, USER_SEED, hand_over, later_root, lock_of, now,
    secret,
};
use crate::world::{GENEROUS, World};

/// The key that gets the role after the theft.
const NEXT_SEED: u8 = 211;
const STALE: Answer = Answer::Denied(Reason::PolicyStale);

fn reset(reason: Reason) -> Result<u64, StreamFault> {
    Err(StreamFault::Reset(reason.number().into()))
}

/// A world whose device asks about once a second.
async fn brief_world() -> World {
    let mut world = World::start().await;
    world.policy.snapshot.freshness = FreshnessRule { window_s: 5, offline_s: 86_400 };
    world.publish(3).await;
    world
}

async fn until_state(world: &World, state: &str) {
    let waiting = async { while world.agent.json(&["status"]).await["freshness"]["state"] != state {} };
    tokio::time::timeout(GENEROUS, waiting).await.unwrap();
}

#[tokio::test]
async fn the_last_version_of_a_policy_thief_is_left_by_a_root_with_a_higher_epoch() {
    let mut world = World::start().await;
    // The thief uses every version up, and takes all access away.
    let mut thief = world.policy.clone();
    thief.revoke();
    let mut tunnel = world.client().await.tunnel("web").await;
    world.hub.publish(thief.seal(u64::MAX));
    assert_eq!(world.hub.applied().await.version, u64::MAX);
    assert_eq!(tunnel.drain().await, reset(Reason::Revoked));
    // Nothing that the cloud signs is newer.
    world.hub.replay(world.policy.seal(3));
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.version, code), (3, NackCode::Rollback));
    let root = later_root(2, |root| {
        root.policy_epoch = 2;
        hand_over(root, Role::Policy, NEXT_SEED);
    });
    assert_eq!(world.hub.root(root).await, Ok(2));
    // The thief cannot follow into the new epoch.
    thief.snapshot.epoch = 2;
    world.hub.replay(thief.seal(1));
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.epoch, code), (2, NackCode::Envelope));
    world.policy.snapshot.epoch = 2;
    world.policy.signer = NEXT_SEED;
    world.hub.replay(world.policy.seal(1));
    let held = world.hub.applied().await;
    assert_eq!((held.epoch, held.version), (2, 1));
    world.client().await.tunnel("web").await.echo(b"healed").await;
    // And it stays so, over a power cut and with the thief's snapshot once more.
    world.agent.kill().await;
    thief.snapshot.epoch = 1;
    world.hub.replay(thief.seal(u64::MAX));
    world.agent.start().await;
    assert_eq!(world.hub.refused().await.1, NackCode::Envelope);
    world.hub.replay(world.policy.seal(1));
    assert_eq!(world.hub.applied().await, held);
    world.hub.drop_link();
    until_state(&world, "fresh").await;
    world.client().await.tunnel("web").await.echo(b"still").await;
}

#[tokio::test]
async fn a_timestamp_thief_sets_the_clock_and_opens_nothing_until_a_root_takes_the_key_away() {
    let mut world = brief_world().await;
    until_state(&world, "fresh").await;
    // Time ends passes; no time makes one.
    let mut tunnel = world.client().await.tunnel("web").await;
    world.hub.tell(Stories { time: Some(UnixTime::from_secs(4_291_747_200)), ..Stories::default() });
    assert_eq!(tunnel.drain().await, reset(Reason::BadPass));
    // What the thief confirms is what the device holds already: policy is signed by another key.
    let mut forged = world.policy.clone();
    forged.signer = TIMESTAMP_SEED;
    world.hub.replay(forged.seal(4));
    assert_eq!(world.hub.refused().await.1, NackCode::Envelope);
    world.hub.replay(world.policy.seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    // From now on the thief's word is none: not about time, and nothing is fresh by it.
    let root = later_root(2, |root| hand_over(root, Role::Timestamp, NEXT_SEED));
    assert_eq!(world.hub.root(root).await, Ok(2));
    until_state(&world, "stale").await;
    world.hub.tell(Stories { root_version: Some(2), signer: Some(NEXT_SEED), ..Stories::default() });
    until_state(&world, "fresh").await;
    let clock = world.agent.json(&["status"]).await["clock"].clone();
    assert!(clock["now"].as_u64().unwrap().abs_diff(now().as_secs()) <= 5, "{clock}");
    world.client().await.tunnel("web").await.echo(b"healed").await;
}

#[tokio::test]
async fn a_lock_thief_shuts_a_device_and_a_root_with_a_higher_epoch_opens_it_again() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    world.hub.lock(lock_of(LOCK_SEED, 1, u64::MAX, &[LockTarget::Device]));
    assert_eq!(tunnel.drain().await, reset(Reason::SiteLocked));
    assert_eq!(world.hub.locked().await, (u64::MAX, 1));
    // Every sequence is used up: what the cloud locks now says nothing new.
    world.policy.snapshot.locks_cleared = u64::MAX;
    world.publish(3).await;
    world.client().await.tunnel("web").await.echo(b"lifted").await;
    world.hub.lock(lock_of(LOCK_SEED, 1, u64::MAX, &[LockTarget::User(USER)]));
    assert_eq!(world.hub.lock_refused().await, NackCode::Rollback);
    let root = later_root(2, |root| {
        root.policy_epoch = 2;
        hand_over(root, Role::Lock, NEXT_SEED);
    });
    assert_eq!(world.hub.root(root).await, Ok(2));
    world.policy.snapshot.epoch = 2;
    world.policy.snapshot.locks_cleared = 0;
    world.publish(1).await;
    for epoch in [1, 2] {
        world.hub.lock(lock_of(LOCK_SEED, epoch, 1, &[LockTarget::Device]));
        assert_eq!(world.hub.lock_refused().await, NackCode::Envelope, "the thief's, of epoch {epoch}");
    }
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"healed").await;
    world.hub.lock(lock_of(NEXT_SEED, 2, 1, &[LockTarget::User(USER)]));
    assert_eq!(tunnel.drain().await, reset(Reason::UserDisabled), "the cloud can lock again");
}

#[tokio::test]
async fn an_audit_ack_thief_signs_nothing_that_a_device_takes() {
    let mut world = brief_world().await;
    until_state(&world, "fresh").await;
    world.hub.lock(lock_of(AUDIT_ACK_SEED, 1, 1, &[LockTarget::Device]));
    assert_eq!(world.hub.lock_refused().await, NackCode::Envelope);
    let mut forged = world.policy.clone();
    forged.signer = AUDIT_ACK_SEED;
    world.hub.replay(forged.seal(4));
    assert_eq!(world.hub.refused().await.1, NackCode::Envelope);
    world.hub.replay(world.policy.seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    let (issued, key) = (now(), secret(USER_SEED).public());
    let pass = Pass {
        fleet: FLEET,
        user: USER,
        key,
        factors: Vec::new(),
        issued,
        expires: issued.saturating_add(3600),
        narrow: postern_protocol::trust::Narrowing::NONE,
    };
    let pass = Envelope::seal(&pass, &[&secret(AUDIT_ACK_SEED)]).unwrap();
    let client = Client::connect(&world.agent, USER_SEED).await;
    assert_eq!(client.authenticate(&pass).await, Answer::Denied(Reason::BadPass));
    world.hub.tell(Stories { signer: Some(AUDIT_ACK_SEED), ..Stories::default() });
    until_state(&world, "stale").await;
    assert_eq!(world.client().await.open("web").await.answer, STALE);
    world.hub.tell(Stories::default());
    until_state(&world, "fresh").await;
    world.client().await.tunnel("web").await.echo(b"untouched").await;
    // The role is handed over like any other, and nothing rests on it yet.
    let root = later_root(2, |root| hand_over(root, Role::AuditAck, NEXT_SEED));
    assert_eq!(world.hub.root(root).await, Ok(2));
    world.client().await.tunnel("web").await.echo(b"still").await;
}

#[tokio::test]
async fn a_thief_of_the_hub_s_key_is_no_hub_after_a_root_that_names_another() {
    let mut world = World::start().await;
    let root = later_root(2, |root| root.hubs = vec![secret(NEXT_SEED).public()]);
    assert_eq!(world.hub.root(root).await, Ok(2));
    world.hub.drop_link();
    let waiting = async {
        loop {
            let status = world.agent.json(&["status"]).await;
            let error = status["link_error"].as_str().unwrap_or_default();
            let expected = format!("expected was {}", secret(NEXT_SEED).public());
            if error.contains(&expected) {
                assert_eq!(status["hub"], serde_json::Value::Null);
                return;
            }
        }
    };
    tokio::time::timeout(GENEROUS, waiting).await.unwrap();
}
