//! Live tunnels end when their right does: by a new policy, at the end of a window, by the operator, at shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_protocol::policy::{Kind, Mode, Reason};
use postern_protocol::wire::control::NackCode;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::machine::Machine;
use crate::policy::now;
use crate::world::World;

#[tokio::test]
async fn every_tunnel_under_load_ends_within_a_second_of_the_new_policy_and_says_why() {
    let mut world = World::start().await;
    let torrent = Machine::torrent().await;
    for service in 0..world.policy.snapshot.services.len() {
        world.policy.lead(service, torrent.addr());
    }
    world.publish(3).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let client = world.client().await;
        for service in ["live", "web", "web"] {
            let mut tunnel = client.tunnel(service).await;
            readers.spawn(async move {
                let end = tunnel.drain().await;
                (end, Instant::now())
            });
        }
        readers.spawn(async move {
            client.connection.closed().await;
            (Ok(0), Instant::now())
        });
    }
    world.policy.revoke();
    world.hub.publish(world.policy.seal(4));
    let held = world.hub.applied().await;
    let applied = Instant::now();
    assert_eq!(held.version, 4);
    let mut cut = 0;
    while cut < 30 {
        let (end, at) = readers.join_next().await.unwrap().unwrap();
        assert_eq!(end, Err(StreamFault::Reset(Reason::Revoked.number().into())));
        let late = at.saturating_duration_since(applied);
        assert!(late < Duration::from_secs(1), "{late:?}");
        cut += 1;
    }
    let trail = world.agent.trail_with("closed", 30).await;
    assert!(trail.iter().filter(|(event, _)| event == "closed").all(|(_, reason)| reason == "revoked"));
    assert_eq!(world.client().await.open("web").await.answer, Answer::Denied(Reason::NoGrant));
}

#[tokio::test]
async fn a_thousand_tunnels_that_open_while_policy_changes_leave_none_that_the_newest_refuses() {
    let mut world = World::start_with("[caps]\nconnections = 32\ntunnels = 1024\n").await;
    let granted = world.policy.clone();
    let mut openers = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Arc::new(world.client().await));
    }
    let first = Arc::new(tokio::sync::Notify::new());
    for client in clients {
        for _ in 0..50 {
            let (client, first) = (Arc::clone(&client), Arc::clone(&first));
            openers.spawn(async move {
                let tunnel = client.open("web").await;
                if matches!(tunnel.answer, Answer::Accepted { .. }) {
                    first.notify_one();
                }
                (client, tunnel)
            });
        }
    }
    // Otherwise a slow machine has changed its mind for the last time before anybody came.
    first.notified().await;
    // To and fro, and in the end nothing is granted.
    for version in 3..12 {
        world.policy = granted.clone();
        if version % 2 == 1 {
            world.policy.revoke();
        }
        world.hub.publish(world.policy.seal(version));
        assert_eq!(world.hub.in_force().await.version, version);
    }
    let mut opened = 0;
    while let Some(ended) = openers.join_next().await {
        let (_client, mut tunnel) = ended.unwrap();
        if matches!(tunnel.answer, Answer::Accepted { .. }) {
            opened += 1;
            assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
            continue;
        }
        // Before it was decided, or while the machine was dialled; or too many rows wait for the disk.
        let refused = [
            Answer::Denied(Reason::NoGrant),
            Answer::Denied(Reason::Revoked),
            Answer::Failed(Failure::Unrecorded),
        ];
        assert!(refused.contains(&tunnel.answer), "{:?}", tunnel.answer);
    }
    assert!(opened > 0, "something opened before the first change");
    assert_eq!(world.agent.json(&["sessions"]).await, serde_json::json!([]));
    world.policy = granted;
    world.publish(12).await;
    world.client().await.tunnel("web").await.echo(b"granted again").await;
}

#[tokio::test]
async fn a_policy_that_still_grants_leaves_the_tunnel_alone() {
    let mut world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.echo(b"before").await;
    world.publish(3).await;
    tunnel.echo(b"after").await;
}

#[tokio::test]
async fn a_right_that_comes_back_revives_no_old_tunnel() {
    let mut world = World::start().await;
    let client = world.client().await;
    let mut old = client.tunnel("web").await;
    let granted = world.policy.clone();
    world.policy.revoke();
    world.publish(3).await;
    world.policy = granted;
    world.publish(4).await;
    assert_eq!(old.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    client.tunnel("web").await.echo(b"a new one").await;
}

#[tokio::test]
async fn a_service_that_moves_elsewhere_ends_the_tunnels_to_its_old_place() {
    let mut world = World::start().await;
    let elsewhere = Machine::echo().await;
    let client = world.client().await;
    let (mut moved, mut stays) = (client.tunnel("web").await, client.tunnel("live").await);
    world.policy.lead(3, elsewhere.addr());
    world.publish(3).await;
    assert_eq!(moved.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    stays.echo(b"untouched").await;
    client.tunnel("web").await.echo(b"at the new place").await;
}

#[tokio::test]
async fn a_tunnel_ends_at_the_edge_of_its_window() {
    let mut world = World::start().await;
    let end = now().saturating_add(3);
    world.policy.snapshot.grants[0].not_after = Some(end);
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"inside").await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::Expired.number().into())));
    assert!(now() >= end && now() <= end.saturating_add(1), "{} is not about {end}", now());
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::Expired));
}

#[tokio::test]
async fn a_prohibition_that_arrives_ends_the_tunnels_to_its_services_and_no_others() {
    let mut world = World::start().await;
    let client = world.client().await;
    let (mut prohibited, mut other) = (client.tunnel("web").await, client.tunnel("live").await);
    let mut not_looking = client.tunnel("web").await;
    let allowed = world.policy.clone();
    world.policy.prohibit_web(None, None);
    world.publish(3).await;
    assert_eq!(prohibited.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoGrant));
    other.echo(b"another service").await;
    // Lifting it opens new tunnels and revives no old one.
    world.policy = allowed;
    world.publish(4).await;
    assert_eq!(not_looking.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    client.tunnel("web").await.echo(b"a new one").await;
}

#[tokio::test]
async fn a_tunnel_ends_where_a_prohibition_begins_and_lives_on_beside_one_that_is_over() {
    let mut world = World::start().await;
    let begin = now().saturating_add(3);
    world.policy.prohibit_web(Some(begin), None);
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"before").await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
    assert!(now() >= begin && now() <= begin.saturating_add(1), "{} is not about {begin}", now());
    (world.policy.snapshot.prohibitions[0].not_before, world.policy.snapshot.prohibitions[0].not_after) =
        (None, Some(begin));
    world.publish(4).await;
    client.tunnel("web").await.echo(b"after").await;
}

#[tokio::test]
async fn a_tunnel_ends_with_its_case_and_a_longer_case_keeps_it() {
    let mut world = World::start().await;
    let end = now().saturating_add(3);
    world.policy.demand_case(Some(end));
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"active").await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::CaseInactive.number().into())));
    assert!(now() >= end && now() <= end.saturating_add(1), "{} is not about {end}", now());
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::CaseInactive));
    // A case without an end, and then its very end moved: the tunnel goes on and does not fall at the old one.
    world.policy.snapshot.cases[0].not_after = None;
    world.publish(4).await;
    let mut kept = client.tunnel("web").await;
    world.policy.snapshot.cases[0].not_after = Some(now().saturating_add(600));
    world.publish(5).await;
    kept.echo(b"still active").await;
}

#[tokio::test]
async fn a_case_that_is_deactivated_ends_its_tunnels_and_its_return_revives_none() {
    let mut world = World::start().await;
    world.policy.demand_case(None);
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"active").await;
    let cases = std::mem::take(&mut world.policy.snapshot.cases);
    world.publish(4).await;
    world.policy.snapshot.cases = cases;
    world.publish(5).await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::CaseInactive.number().into())));
    client.tunnel("web").await.echo(b"a new one").await;
}

/// Where the service `web` stands.
const WEB: u32 = 3;

#[tokio::test]
async fn a_tunnel_ends_with_its_approval_without_a_word_from_anybody_and_a_longer_one_keeps_it() {
    let mut world = World::start().await;
    let end = now().saturating_add(3);
    world.policy.demand_approval(WEB, Mode::WIDEST, end);
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"approved").await;
    // Of the same grant, and not approved.
    assert_eq!(client.open("live").await.answer, Answer::Denied(Reason::ApprovalPending));
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::ApprovalPending.number().into())));
    assert!(now() >= end && now() <= end.saturating_add(1), "{} is not about {end}", now());
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::ApprovalPending));
    world.policy.demand_approval(WEB, Mode::WIDEST, now().saturating_add(100));
    world.publish(4).await;
    let mut kept = client.tunnel("web").await;
    world.policy.demand_approval(WEB, Mode::WIDEST, now().saturating_add(600));
    world.publish(5).await;
    kept.echo(b"still approved").await;
}

#[tokio::test]
async fn an_approval_that_is_withdrawn_ends_its_tunnels_and_its_return_or_an_older_policy_revives_none() {
    let mut world = World::start().await;
    world.policy.demand_approval(WEB, Mode::WIDEST, now().saturating_add(600));
    let approving = world.policy.clone();
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"approved").await;
    world.policy.snapshot.approvals.clear();
    world.publish(4).await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::ApprovalPending.number().into())));
    // Whoever kept the policy of before and sends it again opens nothing.
    world.hub.replay(approving.seal(3));
    assert_eq!(world.hub.refused().await.1, NackCode::Rollback);
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::ApprovalPending));
    world.policy = approving;
    world.publish(5).await;
    client.tunnel("web").await.echo(b"a new one").await;
}

#[tokio::test]
async fn a_tunnel_ends_with_its_policy() {
    let mut world = World::start().await;
    world.policy.snapshot.expires = now().saturating_add(2);
    world.publish(3).await;
    let mut tunnel = world.client().await.tunnel("web").await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::PolicyStale.number().into())));
    world.policy.snapshot.expires = now().saturating_add(1000);
    world.publish(4).await;
    world.client().await.tunnel("web").await.echo(b"a newer policy heals").await;
}

#[tokio::test]
async fn the_operator_ends_one_tunnel_and_the_others_go_on() {
    let world = World::start().await;
    let client = world.client().await;
    let (mut one, mut two) = (client.tunnel("web").await, client.tunnel("web").await);
    let sessions = world.agent.json(&["sessions"]).await;
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    let id = sessions[0]["tunnel"].as_str().unwrap().to_owned();
    assert_eq!(world.agent.run(&["tunnel", "end", &id]).await.code, 0);
    assert_eq!(one.drain().await, Err(StreamFault::Reset(Failure::Ended.number().into())));
    two.echo(b"still here").await;
    let again = world.agent.run(&["tunnel", "end", &id]).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("no such tunnel"), "{again:?}");
    assert!(world.agent.trail().await.iter().any(|(event, _)| event == "control"));
}

#[tokio::test]
async fn a_stopping_agent_ends_its_tunnels_and_records_both() {
    let mut world = World::start().await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    tunnel.echo(b"open").await;
    assert_eq!(world.agent.stop().await, Some(0));
    let shutdown = u32::from(Failure::Shutdown.number());
    match tunnel.drain().await {
        Err(StreamFault::Reset(code)) => assert_eq!(code, shutdown),
        Err(StreamFault::ConnectionLost(end)) => {
            assert!(end.to_string().contains(&format!("code {shutdown}")), "{end}");
        }
        other => panic!("{other:?}"),
    }
    let trail = world.agent.trail().await;
    let last: Vec<&str> = trail.iter().rev().take(2).map(|(event, _)| event.as_str()).collect();
    assert_eq!(last, ["stopped", "closed"]);
}

#[tokio::test]
async fn a_lost_connection_closes_the_machine_s_socket() {
    let mut world = World::start().await;
    let (machine, mut heard) = Machine::half_closed().await;
    world.policy.service("late", Kind::Vpn, machine.addr());
    world.policy.snapshot.categories[0].services = vec![0, 1, 2, 3];
    world.publish(3).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("late").await;
    tunnel.drain().await.unwrap();
    client.connection.close(0, b"");
    assert_eq!(heard.recv().await.unwrap(), b"");
}
