//! `sessions`.

use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::policy::{Kind, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::sessions::{SessionEntry, SessionOutcome, SessionUser, SessionsOf};

use crate::world::World;

/// Session `number` at the press, the later the higher.
fn session(number: u8) -> SessionEntry {
    let outcome = if number == 1 {
        SessionOutcome::Denied { reason: Reason::NoGrant, count: 1 }
    } else {
        SessionOutcome::Ended {
            tunnel: TunnelId::new([number; 8]),
            kind: Kind::Vnc,
            recorded: false,
            code: 0,
            seconds: 300,
            to_machine: 1,
            to_client: 2048,
        }
    };
    SessionEntry {
        at: UnixTime::from_secs(1_800_000_000 + 60 * u64::from(number)),
        device: "press-7".parse().unwrap(),
        service: Some("hmi".parse().unwrap()),
        user: None,
        outcome,
    }
}

#[tokio::test]
async fn ones_own_sessions_are_listed_plainly_for_a_pipe_and_as_json_for_a_program() {
    let world = World::signed_in().await;
    world.hub.lived(vec![session(2), session(1)]);
    let plain = world.run(&["sessions"]).await;
    let expected = "2027-01-15 08:01 +00:00\tpress-7\thmi\trefused: nothing grants you this service on this device\n\
                    2027-01-15 08:02 +00:00\tpress-7\thmi\t5 min, 1 B to the machine, 2 KiB back, finished\n";
    assert_eq!((plain.code, plain.stdout.as_str()), (0, expected));
    let json = world.run(&["sessions", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let ended = serde_json::json!({
        "began": "2027-01-15T08:02:00Z", "device": "press-7", "service": "hmi", "outcome": "ended",
        "tunnel": "tun-0202020202020202", "kind": "vnc", "recorded": false, "reason": "done",
        "seconds": 300, "to_machine": 1, "to_client": 2048,
    });
    assert_eq!((&value["sessions"][1], &value["more"]), (&ended, &false.into()));
}

#[tokio::test]
async fn as_many_are_fetched_as_are_wanted_page_by_page() {
    let world = World::signed_in().await;
    // The hub of this test has two on a page.
    world.hub.lived((1..=5).rev().map(session).collect());
    let count = |stdout: &str| stdout.lines().count();
    let all = world.run(&["sessions"]).await;
    assert_eq!((count(&all.stdout), all.stderr.as_str()), (5, ""));
    let some = world.run(&["sessions", "--limit", "3"]).await;
    assert_eq!(count(&some.stdout), 3);
    assert_eq!(some.stderr, "postern: there are older ones; `--limit` or `--until` shows them\n");
    assert!(some.stdout.starts_with("2027-01-15 08:03"), "the newest, oldest first: {}", some.stdout);
}

#[tokio::test]
async fn those_of_others_are_asked_for_with_the_pass_and_people_of_other_companies_are_an_id() {
    let world = World::signed_in().await;
    let user = |name: Option<&str>| {
        Some(SessionUser { id: UserId::new([9; 8]), name: name.map(|name| name.parse().unwrap()) })
    };
    let (named, unnamed) = (
        SessionEntry { user: user(Some("otto")), ..session(2) },
        SessionEntry { user: user(None), service: None, ..session(3) },
    );
    world.hub.lived(vec![unnamed, named]);
    let all = world.run(&["sessions", "--all"]).await;
    let rows: Vec<Vec<&str>> = all.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        (rows[0][3], rows[1][2..4].to_vec()),
        ("otto", vec!["-", "usr-0909090909090909 (of another company)"])
    );
    world.run(&["sessions", "--user", "otto", "--device", "press-7", "--from", "2026-01-01T00:00:00Z"]).await;
    let asked = world.hub.asked_for_sessions();
    let last = asked.last().unwrap();
    assert!(
        matches!(&last.whose, SessionsOf::User { user, pass } if user.as_str() == "otto" && !pass.is_empty())
    );
    assert_eq!(last.device.as_ref().map(ToString::to_string).as_deref(), Some("press-7"));
    assert_eq!(last.from, Some(UnixTime::from_secs(1_767_225_600)));
    assert!(matches!(&asked[0].whose, SessionsOf::Everybody { pass } if !pass.is_empty()));
}

#[tokio::test]
async fn who_may_audit_nobody_is_told_what_to_do_and_nothing_is_said_of_nothing() {
    let world = World::signed_in().await;
    let refused = world.run(&["sessions", "--all"]).await;
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (
            4,
            "postern: you may see your own sessions, and nobody else's; ask your administrator for a role with the \
             permission `audit.read`, or leave `--all` and `--user` out\n"
        )
    );
    let none = world.run(&["sessions"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert_eq!(none.stderr, "postern: no session matches, as far as devices have told the hub\n");
    assert_eq!(world.run(&["sessions", "--all", "--user", "otto"]).await.code, 2);
    assert_eq!(world.run(&["sessions", "--from", "yesterday"]).await.code, 2);
    world.hub.stop();
    assert_eq!(world.run(&["sessions"]).await.code, 6);
}
