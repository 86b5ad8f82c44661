use postern_protocol::id::UserId;
use postern_protocol::policy::Reason;

use super::*;
use crate::trail::sample::{Sample, applied, at, closed, denied, name, origin, permitted, tunnel};

/// acme and beta below a provider; each has an analyst, and acme one who may audit a single press.
fn fleet(owner: &str) -> String {
    format!(
        r#"
[account.wrench-service]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "wrench-service"
[account.beta]
tenant = "operating_company"
parent = "wrench-service"
[user.tina]
account = "wrench-service"
[user.walt]
account = "wrench-service"
[user.otto]
account = "acme"
[user.dora]
account = "acme"
[user.nina]
account = "acme"
[user.berta]
account = "beta"
[user.dieter]
account = "beta"
[device.press-7]
account = "{owner}"
[device.press-7.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.press-8]
account = "acme"
[device.saw]
account = "beta"
[category.screens]
kinds = ["vnc"]
[role.screen-user]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["screens"]
[role.night-auditor]
tenant = "operating_company"
permissions = ["audit.read"]
[assignment.otto-screens]
user = "otto"
role = "screen-user"
scope = {{ account = "acme" }}
[assignment.dora]
user = "dora"
role = "data-analyst"
scope = {{ account = "acme" }}
[assignment.nina]
user = "nina"
role = "night-auditor"
scope = {{ device = "press-8" }}
[assignment.dieter]
user = "dieter"
role = "data-analyst"
scope = {{ account = "beta" }}
[assignment.walt]
user = "walt"
role = "data-analyst"
scope = {{ account = "wrench-service", nested = true }}
"#
    )
}

const NOW: UnixTime = UnixTime::from_secs(1000);

/// press-7 was beta's until 100 and is acme's since; both have policy, and people were in.
fn lived() -> Sample {
    let sample = Sample::new();
    sample.apply(1, &fleet("beta"));
    let [tina, otto, berta] = ["tina", "otto", "berta"].map(|user| sample.user(user));
    sample.write("press-7", 10, applied(1));
    sample.session("press-7", 20, berta, 1);
    sample.apply(100, &fleet("acme"));
    sample.session("press-7", 110, berta, 2);
    sample.write("press-7", 120, applied(2));
    sample.session("press-7", 130, otto, 3);
    sample.session("press-7", 140, tina, 4);
    sample.write("press-7", 150, denied(Some(otto), "vault", None));
    sample.write("press-7", 160, denied(Some(berta), "beta-screen", None));
    sample.write("press-8", 50, applied(1));
    sample.write("press-8", 170, permitted(5, otto, "hmi"));
    sample.write("saw", 50, applied(1));
    sample.session("saw", 60, berta, 6);
    sample.write("saw", 180, denied(Some(otto), "hmi", None));
    sample
}

fn query(whose: SessionsOf) -> SessionQuery {
    SessionQuery { whose, device: None, from: None, until: None, after: None, limit: 100 }
}

fn everybody() -> SessionsOf {
    SessionsOf::Everybody { pass: Vec::new() }
}

fn of(user: &str) -> SessionsOf {
    SessionsOf::User { pass: Vec::new(), user: name(user) }
}

fn listed(sample: &Sample, who: &str, query: &SessionQuery) -> Option<SessionPage> {
    sample
        .store
        .read::<_, StoreError>(|tx| {
            let person = tx.person(&name(who))?.unwrap();
            page(tx, &person, query, NOW)
        })
        .unwrap()
}

/// Device and time of each, and the name of its user.
fn seen(page: Option<SessionPage>) -> Vec<(String, u64, Option<String>)> {
    let name = |user: Option<SessionUser>| user.and_then(|user| user.name).map(|name| name.to_string());
    let page = page.unwrap().sessions.into_iter();
    page.map(|one| (one.device.to_string(), one.at.as_secs(), name(one.user))).collect()
}

fn s(device: &str, at: u64, user: Option<&str>) -> (String, u64, Option<String>) {
    (device.to_owned(), at, user.map(str::to_owned))
}

#[test]
fn users_see_their_own_sessions_with_their_ends_and_nobody_elses() {
    let sample = lived();
    let page = listed(&sample, "otto", &query(SessionsOf::Mine)).unwrap();
    assert_eq!(page.more, None);
    let outcomes: Vec<_> = page.sessions.iter().map(|one| (one.at.as_secs(), one.outcome)).collect();
    let kind = postern_protocol::policy::Kind::Vnc;
    let ended = SessionOutcome::Ended {
        tunnel: tunnel(3),
        kind,
        recorded: false,
        code: 0,
        seconds: 1,
        to_machine: 10,
        to_client: 20,
    };
    let expected = [
        (170, SessionOutcome::Open { tunnel: tunnel(5), kind, recorded: false }),
        (150, SessionOutcome::Denied { reason: Reason::NoGrant, count: 1 }),
        (130, ended),
    ];
    assert_eq!(outcomes, expected);
    assert!(page.sessions.iter().all(|one| one.user.is_none()));
    assert_eq!(page.sessions[2].service, Some(name("hmi")));
    assert_eq!(seen(listed(&sample, "nina", &query(SessionsOf::Mine))), []);
}

#[test]
fn a_refusal_at_a_device_that_is_none_of_ones_own_does_not_tell_its_name() {
    let sample = lived();
    // Otto was refused at beta's saw: whoever knows an address learns no name from that.
    let own = seen(listed(&sample, "otto", &query(SessionsOf::Mine)));
    assert!(own.iter().all(|(device, ..)| device != "saw"), "{own:?}");
    sample.write("saw", 181, denied(Some(sample.user("otto")), "hmi", None));
    let asked = SessionQuery { device: Some(name("saw")), limit: 1, ..query(SessionsOf::Mine) };
    let hidden = listed(&sample, "otto", &asked);
    let unknown = listed(&sample, "otto", &SessionQuery { device: Some(name("nowhere")), ..asked });
    assert_eq!(hidden, unknown);
    // What was permitted stays one's own, also where nothing is open any more.
    let past = SessionQuery { device: Some(name("press-7")), ..query(SessionsOf::Mine) };
    assert_eq!(seen(listed(&sample, "berta", &past)), [s("press-7", 110, None), s("press-7", 20, None)]);
}

#[test]
fn an_auditor_sees_the_own_company_while_devices_were_its_own_and_names_its_people_alone() {
    let sample = lived();
    let expected = [
        s("press-8", 170, Some("otto")),
        s("press-7", 160, None),
        s("press-7", 150, Some("otto")),
        s("press-7", 140, None),
        s("press-7", 130, Some("otto")),
        s("press-7", 110, None),
    ];
    let page = listed(&sample, "dora", &query(everybody()));
    let ids: Vec<UserId> =
        page.iter().flat_map(|page| &page.sessions).flat_map(|one| &one.user).map(|user| user.id).collect();
    assert_eq!(ids[3], sample.user("tina"), "an opaque id says that it was the same person");
    let services: Vec<_> =
        page.iter().flat_map(|page| &page.sessions).map(|one| one.service.clone()).collect();
    let hmi = || Some(name("hmi"));
    // Otto's own word is told; what a stranger typed, and what went by a name of beta's time, is not.
    assert_eq!(services, [hmi(), None, Some(name("vault")), hmi(), hmi(), None]);
    assert_eq!(seen(page), expected);
}

#[test]
fn an_auditor_of_another_company_or_of_another_device_sees_nothing_of_it() {
    let sample = lived();
    let beta = seen(listed(&sample, "dieter", &query(everybody())));
    assert_eq!(beta, [s("saw", 180, None), s("saw", 60, Some("berta"))]);
    let press_8 = seen(listed(&sample, "nina", &query(everybody())));
    assert_eq!(press_8, [s("press-8", 170, Some("otto"))]);
    let at_press_7 = SessionQuery { device: Some(name("press-7")), ..query(everybody()) };
    for auditor in ["dieter", "nina"] {
        let hidden = listed(&sample, auditor, &at_press_7);
        let unknown =
            listed(&sample, auditor, &SessionQuery { device: Some(name("nowhere")), ..at_press_7.clone() });
        assert_eq!((&hidden, seen(hidden.clone())), (&unknown, Vec::new()), "{auditor}");
    }
    // The provider above sees down, with names, also what was before the press changed hands.
    let above = seen(listed(&sample, "walt", &query(everybody())));
    assert_eq!(above.len(), 9);
    assert!(
        above.contains(&s("press-7", 20, Some("berta"))) && above.contains(&s("press-7", 140, Some("tina")))
    );
}

#[test]
fn a_user_is_found_by_name_where_the_name_is_the_auditors_to_know_and_otherwise_is_nobody() {
    let sample = lived();
    let named = |auditor: &str, user: &str| seen(listed(&sample, auditor, &query(of(user))));
    let otto =
        [s("press-8", 170, Some("otto")), s("press-7", 150, Some("otto")), s("press-7", 130, Some("otto"))];
    assert_eq!(named("dora", "otto"), otto);
    for hidden in ["tina", "berta", "nobody"] {
        assert_eq!(named("dora", hidden), [], "{hidden}");
    }
    assert_eq!(named("dieter", "otto"), []);
    assert_eq!(named("walt", "tina"), [s("press-7", 140, Some("tina"))]);
}

#[test]
fn who_may_audit_nobody_is_told_so_and_sees_nothing() {
    let sample = lived();
    for user in ["otto", "tina", "berta"] {
        assert_eq!(listed(&sample, user, &query(everybody())), None);
        assert_eq!(listed(&sample, user, &query(of("otto"))), None, "not even oneself by name");
    }
}

#[test]
fn an_assignment_that_has_ended_audits_nothing() {
    let sample = lived();
    let ended = fleet("acme").replace(
        "role = \"data-analyst\"\nscope = { account = \"acme\" }",
        "role = \"data-analyst\"\nuntil = 1970-01-01T00:10:00Z\nscope = { account = \"acme\" }",
    );
    sample.apply(300, &ended);
    assert_eq!(listed(&sample, "dora", &query(everybody())), None);
}

#[test]
fn pages_follow_each_other_without_a_gap_and_without_a_double_also_within_one_second() {
    let sample = Sample::new();
    sample.apply(1, &fleet("acme"));
    let otto = sample.user("otto");
    for number in 0..7 {
        sample.write("press-7", 200 + u64::from(number / 4), permitted(number, otto, "hmi"));
        let told = denied(Some(otto), "hmi", Some(origin("a", "b", None)));
        sample.write("saw", 200, told);
    }
    sample.write("press-7", 210, closed(0));
    let mut mine = query(SessionsOf::Mine);
    let all: Vec<_> = listed(&sample, "otto", &mine).unwrap().sessions;
    assert_eq!(all.len(), 7, "what is hidden is not counted");
    for limit in 1..8 {
        (mine.limit, mine.after) = (limit, None);
        let mut paged = Vec::new();
        loop {
            let page = listed(&sample, "otto", &mine).unwrap();
            assert!(page.sessions.len() <= usize::from(limit));
            paged.extend(page.sessions);
            mine.after = page.more;
            if mine.after.is_none() {
                break;
            }
        }
        assert_eq!(paged, all, "pages of {limit}");
    }
    mine.limit = 0;
    assert_eq!(mine.size(), 1);
    mine.limit = u16::MAX;
    assert_eq!(mine.size(), 256);
    // A mark that no hub named.
    mine.after = Some(PageMark { at: at(200), seen: u32::MAX });
    assert_eq!(listed(&sample, "otto", &mine).unwrap().sessions, []);
}

#[test]
fn sessions_from_a_server_are_the_same() {
    crate::store::ground::on_a_server(&[
        users_see_their_own_sessions_with_their_ends_and_nobody_elses,
        a_refusal_at_a_device_that_is_none_of_ones_own_does_not_tell_its_name,
        an_auditor_sees_the_own_company_while_devices_were_its_own_and_names_its_people_alone,
        an_auditor_of_another_company_or_of_another_device_sees_nothing_of_it,
        a_user_is_found_by_name_where_the_name_is_the_auditors_to_know_and_otherwise_is_nobody,
        who_may_audit_nobody_is_told_so_and_sees_nothing,
        an_assignment_that_has_ended_audits_nothing,
        pages_follow_each_other_without_a_gap_and_without_a_double_also_within_one_second,
    ]);
}
