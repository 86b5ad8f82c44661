//! Tunnels that are permitted, and their twins that are not.

use postern_protocol::policy::{Grant, Kind, Mode, Reach, Reason, Rules, VncRules};
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::tunnel::{Answer, Request};

use crate::client::Client;
use crate::machine::Machine;
use crate::policy::{USER, at};
use crate::world::{World, other_user};

#[tokio::test]
async fn a_flow_carries_bytes_both_ways_and_closes_by_halves() {
    let world = World::start().await;
    let client = world.client().await;
    for service in ["live", "web"] {
        let mut tunnel = client.tunnel(service).await;
        tunnel.echo(b"ping").await;
        tunnel.echo(&vec![7; 300_000]).await;
        tunnel.send.finish().unwrap();
        assert_eq!(tunnel.drain().await, Ok(0), "{service}");
    }
    let trail = world.agent.trail_with("closed", 2).await;
    let words: Vec<&str> =
        trail.iter().map(|(event, _)| event.as_str()).filter(|event| *event != "started").collect();
    assert_eq!(words, ["enrolled", "policy_applied", "permitted", "closed", "permitted", "closed"]);
    let rows = world.agent.json(&["audit", "list"]).await;
    let closed = rows.as_array().unwrap().last().unwrap().clone();
    assert_eq!((closed["to_machine"].as_u64(), closed["to_client"].as_u64()), (Some(300_004), Some(300_004)));
    assert_eq!(closed["reason"], "done");
}

#[tokio::test]
async fn a_machine_that_hangs_up_first_still_hears_the_client() {
    let mut world = World::start().await;
    let (machine, mut heard) = Machine::half_closed().await;
    world.policy.service("late", Kind::Vpn, machine.addr());
    world.policy.snapshot.categories[0].services = vec![0, 1, 2, 3];
    world.publish(3).await;
    let mut tunnel = world.client().await.tunnel("late").await;
    assert_eq!(tunnel.drain().await, Ok(5));
    tunnel.send.write_all(b"last words").await.unwrap();
    tunnel.send.finish().unwrap();
    assert_eq!(heard.recv().await.unwrap(), b"last words");
}

#[tokio::test]
async fn what_is_not_granted_does_not_exist_is_not_listed_and_is_denied_alike() {
    let world = World::start().await;
    let client = world.client().await;
    let Answer::Services(entries) = client.services().await else { panic!("no list") };
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["hmi", "live", "web"]);
    assert_eq!(client.open("secret").await.answer, Answer::Denied(Reason::NoGrant));
    assert_eq!(client.open("no-such-thing").await.answer, Answer::Denied(Reason::NoGrant));
    let trail = world.agent.trail().await;
    let denied = trail.iter().filter(|row| **row == ("denied".into(), "no_grant".into())).count();
    assert_eq!(denied, 2);
}

#[tokio::test]
async fn an_answer_says_what_may_be_done_and_where_a_browser_begins() {
    let mut world = World::start().await;
    let screen = VncRules { password: None, writers: 1 };
    *world.policy.snapshot.services[0].reach.rules_mut().unwrap() = Rules::Vnc(screen);
    world.policy.snapshot.services[3].reach = Reach::whole(Kind::Http, at(world.machine.addr()));
    world.publish(3).await;
    let client = world.client().await;
    let said = |answer: &Answer| {
        let Answer::Accepted { kind, mode, start, .. } = answer else { panic!("{answer:?}") };
        (*kind, *mode, start.as_ref().map(|start| start.as_str().to_owned()))
    };
    let touch = Mode::Full { clipboard: false };
    let web = client.open("web").await;
    assert_eq!(said(&web.answer), (Kind::Http, touch, Some("/".to_owned())));
    let looking = client.look("web").await;
    assert_eq!(said(&looking.answer), (Kind::Http, Mode::ViewOnly, Some("/".to_owned())));
    let hmi = client.open("hmi").await;
    assert_eq!(said(&hmi.answer), (Kind::Vnc, touch, None));
    // The screen has one seat.
    assert!(matches!(client.open("hmi").await.answer, Answer::Occupied { may_look: true, .. }));
    let second = client.look("hmi").await;
    assert_eq!(said(&second.answer), (Kind::Vnc, Mode::ViewOnly, None));
    let Answer::Services(entries) = client.services().await else { panic!("no list") };
    let listed: Vec<_> =
        entries.iter().map(|entry| (entry.name.as_str(), entry.mode, entry.blocked)).collect();
    assert_eq!(
        listed,
        [("hmi", None, Some(Reason::Concurrency)), ("live", Some(touch), None), ("web", Some(touch), None)]
    );
    let sessions = world.agent.json(&["sessions"]).await;
    let modes: Vec<_> = sessions.as_array().unwrap().iter().map(|row| row["mode"].clone()).collect();
    let (full, look) =
        (serde_json::json!({ "full": { "clipboard": false } }), serde_json::json!("view_only"));
    assert_eq!(modes, [full.clone(), look.clone(), full, look]);
}

#[tokio::test]
async fn nothing_is_answered_before_a_pass() {
    let world = World::start().await;
    let client = Client::stranger(&world.agent).await;
    assert_eq!(client.services().await, Answer::Denied(Reason::BadPass));
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::BadPass));
}

#[tokio::test]
async fn a_second_factor_opens_what_a_password_alone_does_not() {
    let mut world = World::start().await;
    world.policy.revoke();
    let grant = Grant {
        user: 0,
        category: 0,
        not_before: None,
        not_after: None,
        second_factor_s: Some(600),
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode: Mode::Full { clipboard: false },
        origin: 0,
    };
    world.policy.grant(grant);
    world.publish(3).await;
    let client = world.client().await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::SecondFactorRequired));
    let Answer::Services(entries) = client.services().await else { panic!("no list") };
    assert_eq!(entries[0].blocked, Some(Reason::SecondFactorRequired));
    // The same connection, after the second factor.
    assert!(matches!(
        client.authenticate(&crate::policy::pass(USER, 31, true)).await,
        Answer::Welcome { .. }
    ));
    client.tunnel("web").await.echo(b"two factors").await;
}

#[tokio::test]
async fn a_user_that_the_policy_does_not_name_sees_and_opens_nothing() {
    let world = World::start().await;
    let (user, _) = other_user();
    let client = Client::connect(&world.agent, 99).await;
    assert!(matches!(
        client.authenticate(&crate::policy::pass(user, 99, true)).await,
        Answer::Welcome { .. }
    ));
    assert_eq!(client.services().await, Answer::Services(Vec::new()));
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::NoGrant));
}

#[tokio::test]
async fn a_target_that_the_device_may_not_dial_is_forbidden_and_a_dead_one_refused() {
    let mut world = World::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.policy.service("dead", Kind::Http, closed);
    world.policy.service("router", Kind::Http, "127.0.0.2:80".parse().unwrap());
    world.policy.snapshot.categories[0].services = (0..6).collect();
    world.publish(3).await;
    let client = world.client().await;
    assert_eq!(client.open("router").await.answer, Answer::Failed(Failure::Forbidden));
    assert_eq!(client.open("dead").await.answer, Answer::Failed(Failure::Refused));
    let trail = world.agent.trail_with("failed", 2).await;
    let failed: Vec<&str> =
        trail.iter().filter(|(event, _)| event == "failed").map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(failed, ["forbidden_target", "refused"]);
}

#[tokio::test]
async fn the_last_place_of_a_service_is_given_once_and_again_when_it_is_free() {
    let mut world = World::start().await;
    for service in &mut world.policy.snapshot.services {
        service.tunnels = 1;
    }
    world.publish(3).await;
    let client = world.client().await;
    let mut first = client.tunnel("web").await;
    assert!(matches!(client.open("web").await.answer, Answer::Occupied { may_look: false, .. }));
    client.tunnel("live").await.echo(b"another service").await;
    first.send.finish().unwrap();
    assert_eq!(first.drain().await, Ok(0));
    world.agent.trail_with("closed", 1).await;
    client.tunnel("web").await.echo(b"free again").await;
}

#[tokio::test]
async fn the_cap_of_the_device_refuses_what_the_policy_would_permit() {
    let world = World::start_with("[caps]\ntunnels = 1").await;
    let client = world.client().await;
    let _first = client.tunnel("web").await;
    assert_eq!(client.open("hmi").await.answer, Answer::Failed(Failure::Busy));
}

#[tokio::test]
async fn an_idle_tunnel_and_an_old_tunnel_end_with_their_reason() {
    let mut world = World::start().await;
    for (name, idle_s, duration_s) in [("live", 1, 100), ("web", 100, 1)] {
        let service = world.policy.snapshot.services.iter_mut().find(|service| service.name.as_str() == name);
        let service = service.unwrap();
        (service.idle_s, service.duration_s) = (idle_s, duration_s);
    }
    world.publish(3).await;
    let client = world.client().await;
    let (mut idle, mut old) = (client.tunnel("live").await, client.tunnel("web").await);
    let reset = postern_transport::quic::StreamFault::Reset;
    assert_eq!(idle.drain().await, Err(reset(Failure::Idle.number().into())));
    assert_eq!(old.drain().await, Err(reset(Failure::Duration.number().into())));
}

#[tokio::test]
async fn a_client_that_gives_up_cannot_write_a_reason_into_the_trail() {
    let world = World::start().await;
    let mut tunnel = world.client().await.tunnel("web").await;
    tunnel.send.reset(Reason::Revoked.number().into());
    let trail = world.agent.trail_with("closed", 1).await;
    assert_eq!(trail.last(), Some(&("closed".to_owned(), "done".to_owned())));
    assert_eq!(world.client().await.ask(&Request::ListServices).await, world.client().await.services().await);
}
