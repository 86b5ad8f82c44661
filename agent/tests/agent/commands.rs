//! What the commands print, with and without a running agent, and how they end.

use postern_protocol::policy::Reason;
use postern_protocol::wire::tunnel::Answer;

use crate::policy::USER;
use crate::world::{Agent, World};

#[tokio::test]
async fn explain_says_the_same_with_and_without_a_running_agent() {
    let mut world = World::start().await;
    let user = USER.to_string();
    let questions: [(&[&str], i32); 4] = [
        (&["explain", &user, "web"], 0),
        (&["explain", &user, "secret"], 4),
        (&["explain", "usr-0000000000000000", "web"], 4),
        (&["explain", &user, "web", "--at", "2999-01-01T00:00:00Z"], 4),
    ];
    let mut online = Vec::new();
    for (question, code) in questions {
        let answer = world.agent.run(question).await;
        assert_eq!(answer.code, code, "{answer:?}");
        online.push(answer.out);
    }
    assert!(online[0].starts_with("permitted until "), "{}", online[0]);
    assert!(
        online[0].contains("* assignment `a-1` of role `engineer` grants category `all`: holds"),
        "{}",
        online[0]
    );
    assert!(online[1].starts_with("denied (no_grant): nothing grants you this service"), "{}", online[1]);
    assert!(online[3].starts_with("denied (policy_stale)"), "{}", online[3]);
    assert_eq!(world.agent.stop().await, Some(0));
    for ((question, _), online) in questions.into_iter().zip(online) {
        assert_eq!(world.agent.run(question).await.out, online);
    }
}

#[tokio::test]
async fn explain_names_the_prohibition_that_refuses_and_the_case_that_is_missing() {
    let mut world = World::start().await;
    let user = USER.to_string();
    world.policy.prohibit_web(None, None);
    world.policy.demand_case(None);
    world.publish(3).await;
    let web = world.agent.run(&["explain", &user, "web"]).await;
    assert_eq!(web.code, 4);
    assert_eq!(
        web.out,
        "denied (no_grant): this is refused whatever else is granted; ask your administrator to lift entry \
         `probation` (can be lifted by: your administrator)\n\
         ! category `only-web` is refused by entry `probation`, whatever else is granted\n  \
         assignment `a-1` of role `engineer` grants category `all`, by service case `2026-0815`: holds\n"
    );
    let hmi = world.agent.run(&["explain", &user, "hmi"]).await;
    assert_eq!(hmi.code, 0);
    assert!(hmi.out.ends_with("grants category `all`, by service case `2026-0815`: holds\n"), "{}", hmi.out);
    let policy = world.agent.json(&["policy", "show"]).await;
    assert_eq!((&policy["prohibitions"], &policy["cases"]), (&1.into(), &1.into()));
    world.policy.snapshot.cases.clear();
    world.publish(4).await;
    let hmi = world.agent.run(&["explain", &user, "hmi"]).await;
    assert_eq!(hmi.code, 4);
    let inactive = "grants category `all`, needs an active service case: fails: case_inactive\n";
    assert!(hmi.out.starts_with("denied (case_inactive): no service case is active"), "{}", hmi.out);
    assert!(hmi.out.ends_with(inactive), "{}", hmi.out);
    // A caller is told the same as for a service that does not exist; the trail knows why.
    assert_eq!(world.client().await.open("web").await.answer, Answer::Denied(Reason::NoGrant));
    let trail = world.agent.json(&["audit", "list"]).await;
    let denied = trail.as_array().unwrap().iter().find(|row| row["event"] == "denied").unwrap();
    assert_eq!(denied["origin"], "entry `probation`");
}

#[tokio::test]
async fn status_names_address_policy_link_and_trail() {
    let world = World::start().await;
    let status = world.agent.json(&["status"]).await;
    assert_eq!(status["listening"], world.agent.listening().to_string());
    assert_eq!(status["policy"]["version"], 2);
    assert_eq!(status["hub"], world.hub.addr().to_string());
    assert_eq!(status["boots"], 1);
    let text = world.agent.run(&["status"]).await.out;
    assert!(text.contains("policy     version 2 (epoch 1), in force, until "), "{text}");
}

#[tokio::test]
async fn policy_and_trail_can_be_read_when_the_agent_is_stopped() {
    let mut world = World::start().await;
    let online = world.agent.json(&["policy", "show"]).await;
    assert_eq!(world.agent.stop().await, Some(0));
    assert_eq!(world.agent.json(&["policy", "show"]).await, online);
    let trail = world.agent.trail().await;
    assert_eq!(trail.last().unwrap().0, "stopped");
    let check = world.agent.json(&["check"]).await;
    assert_eq!(check["audit_rows"], trail.len());
    assert_eq!(check["policy"]["version"], 2);
}

#[tokio::test]
async fn commands_that_need_an_agent_or_an_enrolment_say_so() {
    let agent = Agent::new("");
    for (args, code, says) in [
        (&["status"][..], 5, "no agent answers at"),
        (&["sessions"], 5, "no agent answers at"),
        (&["tunnel", "end", "tun-0000000000000000"], 5, "no agent answers at"),
        (&["run"], 3, "enrol this device first"),
        (&["check"], 3, "enrol this device first"),
        (&["policy", "show"], 3, "not enrolled"),
        (&["enroll", "nonsense"], 2, "a code begins with `postern-`"),
        (&["explain", "somebody", "web"], 2, "usr-"),
        (&["dance"], 2, "unrecognized subcommand"),
    ] {
        let done = agent.run(args).await;
        assert_eq!(done.code, code, "{args:?}: {done:?}");
        assert!(done.err.contains(says), "{args:?}: {done:?}");
    }
}

#[tokio::test]
async fn a_changed_trail_is_named_by_its_first_wrong_row() {
    let mut world = World::start().await;
    world.client().await.tunnel("web").await.echo(b"x").await;
    assert_eq!(world.agent.stop().await, Some(0));
    let path = world.agent.state().join("audit.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(8).position(|window| window == b"engineer").unwrap();
    bytes[place] = b'E';
    std::fs::write(&path, &bytes).unwrap();
    let verified = world.agent.run(&["audit", "verify"]).await;
    assert_eq!(verified.code, 6, "{verified:?}");
    assert!(verified.err.contains("row 4 does not match its link"), "{verified:?}");
}
