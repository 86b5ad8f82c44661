//! Sessions as users ask a running hub for them, over real QUIC: by key, and for those of others by a sign-in.

use postern_cloud::store::{Manner, Reading};
use postern_protocol::id::UserId;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::sessions::{SessionPage, SessionQuery, SessionsOf};

use crate::peers::{Caller, World, key, name, now};
use crate::sign_in::PASSWORD;
use crate::trails::{Trails, denied};

/// Nested customers with a hub: Hanna was in a pump of A, Anna too, and Ben was refused at one of B's.
async fn world() -> World {
    let world = World::with_sample("nested-customers").await;
    let id = |user: &str| -> UserId { world.read(|tx| tx.person(&name(user))).unwrap().id };
    let at = |secs| now().saturating_add(secs);
    let mut trails = Trails::of(&world.store);
    trails.session("pump-a", at(60), id("hanna"), 1);
    trails.session("pump-a", at(120), id("anna"), 2);
    trails.write("pump-b", at(180), denied(id("ben")));
    drop(trails);
    world
}

fn query(whose: SessionsOf) -> HubRequest {
    let (device, from, until, after, limit) = (None, None, None, None, 10);
    HubRequest::ListSessions(SessionQuery { whose, device, from, until, after, limit })
}

async fn page(caller: &Caller, whose: SessionsOf) -> SessionPage {
    match caller.ask(&query(whose)).await {
        HubAnswer::Sessions(page) => page,
        other => panic!("{other:?}"),
    }
}

/// Somebody with a pass.
async fn signed_in(world: &World, account: &str, user: &str, seed: u8) -> (Caller, Vec<u8>) {
    let caller = world.join(user, seed, PASSWORD).await;
    match caller.login(account, user, PASSWORD, None).await {
        HubAnswer::LoggedIn { pass, .. } => (caller, pass),
        other => panic!("{other:?}"),
    }
}

fn users(page: &SessionPage) -> Vec<String> {
    let name = |one: &postern_protocol::wire::sessions::SessionEntry| {
        one.user.as_ref().and_then(|user| user.name.as_ref()).map_or_else(String::new, ToString::to_string)
    };
    page.sessions.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_who_is_signed_in_sees_the_scope_and_is_on_record_before_it_is_answered() {
    let world = world().await;
    let (dan, pass) = signed_in(&world, "holding", "dan", 10).await;
    let all = page(&dan, SessionsOf::Everybody { pass: pass.clone() }).await;
    assert_eq!(users(&all), ["ben", "anna", "hanna"]);
    let anna = page(&dan, SessionsOf::User { pass, user: name("anna") }).await;
    assert_eq!(users(&anna), ["anna"]);
    let readings = world.read(|tx| tx.readings(10));
    let noted: Vec<_> = readings
        .iter()
        .map(|Reading { who, manner, what, rows, .. }| (who.as_str(), *manner, what.as_str(), *rows))
        .collect();
    let note = |what, rows| ("holding/dan", Manner::Sessions, what, Some(rows));
    assert_eq!(noted, [note("--user anna", 1), note("--all", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_others_need_a_right_and_a_sign_in_that_has_not_ended() {
    let world = world().await;
    let (dan, pass) = signed_in(&world, "holding", "dan", 10).await;
    let (anna, anna_s) = signed_in(&world, "holding/company-a", "anna", 11).await;
    let everybody = |pass: &[u8]| query(SessionsOf::Everybody { pass: pass.to_vec() });
    let refused = HubAnswer::Refused;
    assert_eq!(anna.ask(&everybody(&anna_s)).await, refused(Refusal::NoAudit));
    assert_eq!(anna.ask(&everybody(&pass)).await, refused(Refusal::Pass), "the pass of somebody else");
    assert_eq!(dan.ask(&everybody(&anna_s)).await, refused(Refusal::Pass));
    assert_eq!(dan.ask(&everybody(&[])).await, refused(Refusal::Pass));
    let stranger = world.dial(&key(99)).await;
    assert_eq!(stranger.ask(&everybody(&pass)).await, refused(Refusal::UnknownKey));
    assert_eq!(stranger.ask(&query(SessionsOf::Mine)).await, refused(Refusal::UnknownKey));
    // Signed out everywhere: the key is still known here, and the pass is worth nothing.
    world.publish(|tx| tx.cut_passes(&name("dan"), now().saturating_add(5)));
    assert_eq!(dan.ask(&everybody(&pass)).await, refused(Refusal::Pass));
    assert_eq!(world.read(|tx| tx.readings(10)), [], "nothing was read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_own_sessions_need_the_key_alone_and_are_no_reading_of_others() {
    let world = world().await;
    let anna = world.join("anna", 11, PASSWORD).await;
    let own = page(&anna, SessionsOf::Mine).await;
    assert_eq!((own.sessions.len(), users(&own)), (1, vec![String::new()]));
    let carl = world.join("carl", 12, PASSWORD).await;
    assert_eq!(page(&carl, SessionsOf::Mine).await, SessionPage { sessions: Vec::new(), more: None });
    assert_eq!(world.read(|tx| tx.readings(10)), []);
    world.publish(|tx| tx.set_disabled(&name("anna"), true).map(drop));
    let refused = anna.ask(&query(SessionsOf::Mine)).await;
    assert_eq!(refused, HubAnswer::Refused(Refusal::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_asks_without_end_is_held_up_and_nobody_else_is() {
    let world = world().await;
    let (anna, ben) = (world.join("anna", 11, PASSWORD).await, world.join("ben", 12, PASSWORD).await);
    let mut refused = 0;
    for _ in 0..70 {
        match anna.ask(&query(SessionsOf::Mine)).await {
            HubAnswer::Sessions(_) => {}
            HubAnswer::Refused(Refusal::TooMany) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 5, "{refused}");
    assert!(matches!(ben.ask(&query(SessionsOf::Mine)).await, HubAnswer::Sessions(_)));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "an_auditor_who_is_signed_in_sees_the_scope_and_is_on_record_before_it_is_answered",
            an_auditor_who_is_signed_in_sees_the_scope_and_is_on_record_before_it_is_answered,
        ),
        (
            "sessions_of_others_need_a_right_and_a_sign_in_that_has_not_ended",
            sessions_of_others_need_a_right_and_a_sign_in_that_has_not_ended,
        ),
        (
            "ones_own_sessions_need_the_key_alone_and_are_no_reading_of_others",
            ones_own_sessions_need_the_key_alone_and_are_no_reading_of_others,
        ),
        (
            "a_user_who_asks_without_end_is_held_up_and_nobody_else_is",
            a_user_who_asks_without_end_is_held_up_and_nobody_else_is,
        ),
    ]);
}
