//! Enrolment, the first policy, and what survives a power cut.

use postern_protocol::policy::Reason;
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::tunnel::Answer;

use crate::client::Client;
use crate::hub::Hub;
use crate::policy::{DEVICE, Policy, USER, USER_SEED, pass};
use crate::world::{Agent, World};

#[tokio::test]
async fn an_enrolled_agent_denies_everything_until_a_policy_grants_something() {
    let mut hub = Hub::start();
    let mut agent = Agent::enrolled(&hub, "").await;
    agent.start().await;
    assert_eq!(hub.hello().await.held.map(|held| held.version), Some(1));
    let client = Client::signed_in(&agent, USER, 1).await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoGrant));
    assert_eq!(agent.json(&["status"]).await["device"], DEVICE.to_string());
}

#[tokio::test]
async fn a_code_is_spent_once_and_a_wrong_one_enrols_nothing() {
    let hub = Hub::start();
    let agent = Agent::enrolled(&hub, "").await;
    let again = agent.run(&["enroll", &hub.code()]).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("enrolled already"), "{again:?}");
    let other = Agent::new("");
    let code = hub.code();
    let other_digit = if code.ends_with('a') { 'q' } else { 'a' };
    let mistyped = other.run(&["enroll", &format!("{}{other_digit}", &code[..code.len() - 1])]).await;
    assert_eq!(mistyped.code, 2, "{mistyped:?}");
    assert_eq!(other.run(&["run"]).await.code, 3);
}

#[tokio::test]
async fn a_policy_survives_a_power_cut_without_a_hub() {
    let mut world = World::start().await;
    world.policy.snapshot.grants[0].offline_ok = true;
    world.publish(3).await;
    world.client().await.tunnel("web").await.echo(b"before").await;
    world.agent.kill().await;
    drop(world.hub);
    world.agent.start().await;
    let client = Client::signed_in(&world.agent, USER, 1).await;
    client.tunnel("web").await.echo(b"after").await;
    assert_eq!(client.open("secret").await.answer, Answer::Denied(Reason::NoGrant));
    assert_eq!(
        world.agent.json(&["audit", "verify"]).await["rows"].as_u64().map(|rows| rows > 3),
        Some(true)
    );
}

#[tokio::test]
async fn a_snapshot_for_another_device_or_by_another_key_is_refused_and_the_old_one_stays() {
    let mut world = World::start().await;
    let mut foreign = world.policy.clone();
    foreign.snapshot.device = postern_protocol::id::DeviceId::new([8; 8]);
    world.hub.publish(foreign.seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Addressee);
    let mut forged = world.policy.clone();
    forged.signer = 66;
    world.hub.publish(forged.seal(4));
    assert_eq!(world.hub.refused().await.1, NackCode::Envelope);
    world.client().await.tunnel("web").await.echo(b"still").await;
    world.publish(5).await;
    let mut epoch = world.policy.clone();
    epoch.snapshot.epoch = 2;
    world.hub.publish(epoch.seal(6));
    assert_eq!(world.hub.refused().await.1, NackCode::Epoch);
    let trail = world.agent.trail_with("policy_refused", 3).await;
    let refused: Vec<&str> = trail
        .iter()
        .filter(|(event, _)| event == "policy_refused")
        .map(|(_, reason)| reason.as_str())
        .collect();
    assert_eq!(refused, ["addressee", "envelope", "epoch"]);
}

#[tokio::test]
async fn an_older_snapshot_is_refused_even_after_a_restart() {
    let mut world = World::start().await;
    world.publish(7).await;
    world.hub.replay(world.policy.seal(6));
    let (held, code) = world.hub.refused().await;
    assert_eq!((held.version, code), (6, NackCode::Rollback));
    world.agent.kill().await;
    world.agent.start().await;
    assert_eq!(world.hub.refused().await.1, NackCode::Rollback);
    let mut other = world.policy.clone();
    other.revoke();
    world.hub.replay(other.seal(7));
    assert_eq!(world.hub.refused().await.1, NackCode::Equivocation);
}

#[tokio::test]
async fn a_floor_in_the_file_outlives_a_database_that_was_restored_from_a_backup() {
    let mut world = World::start().await;
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    std::fs::copy(state.join("policy.db"), state.join("backup")).unwrap();
    world.agent.start().await;
    world.publish(3).await;
    assert_eq!(world.agent.stop().await, Some(0));
    std::fs::rename(state.join("backup"), state.join("policy.db")).unwrap();
    world.hub.replay(world.policy.seal(2));
    world.agent.start().await;
    let client = Client::signed_in(&world.agent, USER, 1).await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoPolicy));
    assert_eq!(world.hub.refused().await.1, NackCode::Rollback);
    world.hub.replay(world.policy.seal(3));
    assert_eq!(world.hub.applied().await.version, 3);
    client.tunnel("web").await.echo(b"healed").await;
}

#[tokio::test]
async fn a_pass_of_another_key_user_or_fleet_signer_is_refused() {
    let world = World::start().await;
    let client = Client::connect(&world.agent, 50).await;
    assert_eq!(client.authenticate(&pass(USER, USER_SEED, false)).await, Answer::Denied(Reason::BadPass));
    let client = Client::connect(&world.agent, 50).await;
    // Signed by the identity role, for a key that the snapshot does not name.
    assert!(matches!(client.authenticate(&pass(USER, 50, false)).await, Answer::Welcome { .. }));
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::BadPass));
    let unsigned = Policy::empty(world.agent.key()).seal(1).bytes;
    assert_eq!(client.authenticate(&unsigned).await, Answer::Denied(Reason::BadPass));
}
