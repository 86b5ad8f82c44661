//! `admin` and `case`: what is asked of the hub, and what is printed of its answers.

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, Decline, Declined, EditGuard, Edited, EntityEntry,
};
use postern_protocol::wire::case::{
    CaseAbout, CaseEnd, CaseEntry, CasePage, CaseQuestion, CaseStanding, CaseWindow,
};
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use serde_json::{Value, json};

use crate::world::{Outcome, World};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn entity(text: &str, version: u64, body: &Value) -> EntityEntry {
    EntityEntry { name: name(text), version, body: Some(body.to_string()) }
}

fn entities(entities: Vec<EntityEntry>, more: Option<&str>) -> HubAnswer {
    HubAnswer::Administered(AdminAnswer::Page { entities, more: more.map(name) })
}

fn shown(text: &str, version: u64, body: &Value) -> HubAnswer {
    HubAnswer::Administered(AdminAnswer::Entity(entity(text, version, body)))
}

fn edited(revision: Option<u64>, published: u32, answered: u32) -> Edited {
    Edited { revision, published, answered, devices: vec![name("press-7")], founders: Vec::new() }
}

fn done(revision: u64) -> HubAnswer {
    HubAnswer::Administered(AdminAnswer::Edited(edited(Some(revision), 2, 1)))
}

fn declined(how: Decline, problems: &[&str]) -> HubAnswer {
    HubAnswer::Declined(Declined::new(how, problems.iter().map(|line| (*line).to_owned()).collect()))
}

fn json_of(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[tokio::test]
async fn what_there_is_is_listed_page_by_page_and_one_is_shown_as_a_fleet_file_has_it() {
    let world = World::signed_in().await;
    let body = |label: &str| json!({ "account": "acme", "label": label });
    let first = || entities(vec![entity("acme.a", 3, &body("A"))], Some("acme.a"));
    let second = || entities(vec![entity("acme.b", 4, &body("B\u{1b}[2J"))], None);
    world.hub.answers([first(), second()]);
    let plain = world.run(&["admin", "list", "device"]).await;
    let expected = "acme.a\t3\taccount=acme label=A\nacme.b\t4\taccount=acme label=B [2J\n";
    assert_eq!((plain.code, plain.stdout.as_str(), plain.stderr.as_str()), (0, expected, ""));
    let asked: Vec<AdminQuestion> = world.hub.administrated().into_iter().map(|(asked, _)| asked).collect();
    let list = |after: Option<&str>| {
        let after = after.map(name);
        AdminQuestion::List { kind: name("device"), after, limit: 500 }
    };
    assert_eq!(asked, [list(None), list(Some("acme.a"))]);

    world.hub.answers([first()]);
    let limited = world.run(&["admin", "list", "device", "--limit", "1", "--json"]).await;
    let expected = json!({
        "entities": [{ "name": "acme.a", "version": 3, "body": body("A") }], "more": "acme.a",
    });
    assert_eq!(json_of(&limited), expected);
    assert_eq!(limited.stderr, "postern: there are more; `--after acme.a` shows them\n");
    world.hub.answers([entities(Vec::new(), None)]);
    let none = world.run(&["admin", "list", "device"]).await;
    assert_eq!((none.code, none.stderr.as_str()), (0, "postern: there is no device that you may see\n"));

    let body = json!({ "user": "ada", "role": "tenant-admin", "scope": { "account": "acme" }, "until": "2027-01-01T00:00:00Z" });
    world.hub.answers([shown("acme.ada", 7, &body), shown("acme.ada", 7, &body)]);
    let plain = world.run(&["admin", "show", "assignment", "acme.ada"]).await;
    assert!(plain.stdout.starts_with("# version 7\n[assignment.\"acme.ada\"]\n"), "{}", plain.stdout);
    assert!(plain.stdout.contains("\nuntil = 2027-01-01T00:00:00Z\n"), "{}", plain.stdout);
    let program = world.run(&["admin", "show", "assignment", "acme.ada", "--json"]).await;
    assert_eq!(json_of(&program), json!({ "name": "acme.ada", "version": 7, "body": body }));

    // What was shown is given back: as people read it, and as programs do, with its version.
    world.hub.administrated();
    for (text, version) in [(&plain.stdout, 9), (&program.stdout, 7)] {
        let looks = if version == 9 { vec![shown("acme.ada", 9, &body)] } else { Vec::new() };
        world.hub.answers(looks.into_iter().chain([done(10)]));
        let replaced = world.run_with_input(&["admin", "replace", "assignment", "acme.ada", "-"], text).await;
        assert_eq!(replaced.code, 0, "{replaced:?}");
        let (asked, sent) = world.hub.administrated().pop().unwrap();
        let guard = EditGuard::Version(version);
        assert_eq!(asked, AdminQuestion::Put { kind: name("assignment"), name: name("acme.ada"), guard });
        assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), body);
    }
}

#[tokio::test]
async fn an_entity_is_made_edited_and_taken_away_and_how_far_it_came_is_said() {
    let world = World::signed_in().await;
    let put = |guard| AdminQuestion::Put { kind: name("user"), name: name("acme.bo"), guard };
    world.hub.answers([done(5)]);
    let made = world.run_with_input(&["admin", "create", "user", "acme.bo", "-"], "account = \"acme\"").await;
    let expected = "user acme.bo is made (revision 5); 1 of 2 devices have it, the others are offline or slow and get it as \
                    soon as they can\n";
    assert_eq!((made.code, made.stdout.as_str()), (0, expected));
    assert_eq!(world.hub.administrated(), [(put(EditGuard::Absent), r#"{"account":"acme"}"#.to_owned())]);

    // Single keys are changed from what is there, and from nothing else.
    let was = json!({ "account": "acme", "label": "Bo" });
    world.hub.answers([shown("acme.bo", 5, &was), done(6)]);
    let change = r#"{"label": null, "closed": true}"#;
    let changed = world.run_with_input(&["admin", "edit", "user", "acme.bo", "-", "--json"], change).await;
    let expected =
        json!({ "revision": 6, "published": 2, "answered": 1, "devices": ["press-7"], "founders": [] });
    assert_eq!(json_of(&changed), expected);
    let asked = world.hub.administrated();
    assert_eq!(asked[1].0, put(EditGuard::Version(5)));
    let sent: Value = serde_json::from_str(&asked[1].1).unwrap();
    assert_eq!(sent, json!({ "account": "acme", "closed": true }));

    world.hub.answers([HubAnswer::Administered(AdminAnswer::Edited(edited(None, 0, 0)))]);
    let gone = world.run(&["admin", "remove", "user", "acme.bo", "--if-version", "6"]).await;
    assert_eq!(gone.stdout, "everything was like that before; nothing was changed\n");
    let guard = EditGuard::Version(6);
    let asked = AdminQuestion::Remove { kind: name("user"), name: name("acme.bo"), guard };
    assert_eq!(world.hub.administrated(), [(asked, String::new())]);

    let edits = "[[edits]]\nkind = \"user\"\nname = \"acme.bo\"\nbody = { account = \"acme\" }\n";
    world.hub.answers([done(7)]);
    let batch = world.run_with_input(&["admin", "batch", "-"], edits).await;
    assert!(batch.stdout.starts_with("all edits are made (revision 7)"), "{}", batch.stdout);
    let sent: Value = serde_json::from_str(&world.hub.administrated()[0].1).unwrap();
    let expected = json!({ "edits": [{ "kind": "user", "name": "acme.bo", "body": { "account": "acme" } }] });
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn what_the_hub_declines_is_said_in_its_words_with_what_to_do_and_an_exit_code() {
    let world = World::signed_in().await;
    for (how, code, word) in [
        (Decline::Unknown, 14, "unknown"),
        (Decline::Forbidden, 4, "forbidden"),
        (Decline::Overtaken, 15, "overtaken"),
        (Decline::Conflict, 16, "conflict"),
        (Decline::Unreadable, 16, "unreadable"),
        (Decline::TooLarge, 16, "too_large"),
    ] {
        world.hub.answers([declined(how, &["no,\u{202e} not so"]), declined(how, &["one", "two"])]);
        let remove = ["admin", "remove", "user", "acme.bo"];
        let plain = world.run(&remove).await;
        assert_eq!((plain.code, plain.stdout.as_str()), (code, ""), "{how:?}");
        assert!(plain.stderr.starts_with("postern: no,  not so; "), "{}", plain.stderr);
        let json = world.run(&[&remove[..], &["--json"]].concat()).await;
        let error = &json_of(&json)["error"];
        assert_eq!((&error["word"], &error["problems"]), (&json!(word), &json!(["one", "two"])));
        assert!(json.stderr.contains("2 things are wrong:\n  one\n  two\n"), "{}", json.stderr);
    }
    world.hub.answers([HubAnswer::Refused(Refusal::SecondFactor)]);
    let refused = world.run(&["admin", "remove", "user", "acme.bo"]).await;
    assert_eq!(refused.code, 10);
    assert!(refused.stderr.contains("run `postern step-up`"), "{}", refused.stderr);
}

#[tokio::test]
async fn what_cannot_be_read_never_reaches_the_hub() {
    let world = World::signed_in().await;
    let create = ["admin", "create", "user", "acme.bo", "-"];
    for (text, word) in [
        ("account = ", "this is no TOML: "),
        ("{\"account\":", "this is no JSON: "),
        ("[1]", "expected keys and their values"),
    ] {
        let refused = world.run_with_input(&create, text).await;
        assert_eq!(refused.code, 2, "{text}");
        assert!(refused.stderr.starts_with(&format!("postern: {word}")), "{}", refused.stderr);
    }
    let large = format!("label = \"{}\"", "x".repeat(1024 * 1024));
    let refused = world.run_with_input(&create, &large).await;
    let expected = "postern: there is more than the hub takes at once over this link (1048576 bytes); make several \
                    batches of it, or use the HTTP API\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (2, expected));
    let missing = world.run(&["admin", "create", "user", "acme.bo", "/nowhere/at.all"]).await;
    assert!(missing.stderr.starts_with("postern: cannot read `/nowhere/at.all`: "), "{}", missing.stderr);
    assert_eq!(world.hub.administrated(), []);
}

#[tokio::test]
async fn a_hub_of_an_earlier_version_is_told_from_a_broken_one() {
    let world = World::signed_in().await;
    world.hub.grow_old();
    for (args, what) in [
        (&["admin", "me"][..], "postern admin"),
        (&["admin", "list", "user"], "postern admin"),
        (&["admin", "show", "user", "anna"], "postern admin"),
        (&["admin", "remove", "user", "anna"], "postern admin"),
        (&["case", "list"], "postern case"),
        (&["case", "close", "acme.jam"], "postern case"),
    ] {
        let refused = world.run(args).await;
        let expected = format!(
            "postern: the hub does not understand this: it is of an earlier version, without `{what}`; ask whoever runs \
             the hub to update it\n"
        );
        assert_eq!((refused.code, refused.stderr), (1, expected), "{args:?}");
    }
    // What it knows it still answers.
    assert_eq!(world.run(&["devices"]).await.code, 0);
}

fn case(standing: CaseStanding, until: Option<u64>) -> CaseEntry {
    CaseEntry {
        name: name("acme.jam"),
        about: CaseAbout::Machine(name("press")),
        shared: true,
        standing,
        from: None,
        until: until.map(UnixTime::from_secs),
        label: Some("Jam".parse().unwrap()),
    }
}

fn handled(standing: CaseStanding, until: Option<u64>, edited: Option<Edited>) -> HubAnswer {
    HubAnswer::Cases(CasePage { cases: vec![case(standing, until)], more: None, edited })
}

#[tokio::test]
async fn a_case_is_opened_activated_deactivated_and_closed_and_what_it_means_is_said() {
    let world = World::signed_in().await;
    let of = |revision, published, answered| Some(edited(Some(revision), published, answered));
    world.hub.answers([handled(CaseStanding::Inactive, None, of(5, 0, 0))]);
    let open = ["case", "open", "shared", "--machine", "press", "--reason", "Jam"];
    let opened = world.run(&open).await;
    let expected = "the shared case acme.jam of machine press is open; nobody gets in by it before `postern case activate \
                    acme.jam --for 4h`; no device is concerned\n";
    assert_eq!((opened.code, opened.stdout.as_str()), (0, expected));
    world.hub.answers([handled(CaseStanding::Active, Some(1_800_000_000), of(6, 1, 1))]);
    let activated = world.run(&["case", "activate", "acme.jam", "--for", "4h"]).await;
    let expected = "the shared case acme.jam of machine press is active until 2027-01-15 08:00 +00:00; the device has it\n";
    assert_eq!(activated.stdout, expected);
    world.hub.answers([handled(CaseStanding::Inactive, None, of(7, 1, 0))]);
    let deactivated = world.run(&["case", "deactivate", "acme.jam", "--json"]).await;
    let expected = json!({
        "case": { "case": "acme.jam", "machine": "press", "visibility": "shared", "state": "inactive", "from": null, "until": null, "reason": "Jam" },
        "revision": 7, "published": 1, "answered": 0, "devices": ["press-7"], "founders": [],
    });
    assert_eq!(json_of(&deactivated), expected);
    world.hub.answers([handled(CaseStanding::Inactive, None, Some(edited(None, 0, 0)))]);
    let closed = world.run(&["case", "close", "acme.jam"]).await;
    let expected =
        "the shared case acme.jam of machine press is closed, as it was before; nothing was changed\n";
    assert_eq!(closed.stdout, expected);
    world.hub.answers([handled(CaseStanding::Active, Some(1_800_000_000), None)]);
    let listed = world.run(&["case", "list"]).await;
    let expected = "acme.jam\tmachine press\tshared\tactive\t-\t2027-01-15 08:00 +00:00\tJam\n";
    assert_eq!(listed.stdout, expected);

    let window = CaseWindow { from: None, end: CaseEnd::After(14_400) };
    let about = CaseAbout::Machine(name("press"));
    let label = Some("Jam".parse().unwrap());
    let asked = [
        CaseQuestion::Open { name: None, about, shared: true, window: None, label },
        CaseQuestion::Activate { name: name("acme.jam"), window },
        CaseQuestion::Deactivate { name: name("acme.jam") },
        CaseQuestion::Close { name: name("acme.jam") },
        CaseQuestion::List { after: None },
    ];
    assert_eq!(world.hub.handled(), asked);
}

#[tokio::test]
async fn remote_access_without_an_end_and_a_case_about_nothing_never_reach_the_hub() {
    let world = World::signed_in().await;
    let activate = world.run(&["case", "activate", "acme.jam"]).await;
    assert_eq!(activate.code, 2);
    assert!(activate.stderr.contains("no end was given; say it with `--for 4h`"), "{}", activate.stderr);
    for args in [
        &["case", "open", "shared"][..],
        &["case", "open", "shared", "--machine", "press", "--device", "press-7"],
        &["case", "open", "shared", "--machine", "press", "--from", "2027-01-01T00:00:00Z"],
        &["case", "activate", "acme.jam", "--for", "4h", "--until", "2027-01-01T00:00:00Z"],
        &["case", "activate", "acme.jam", "--until", "tomorrow"],
        &["case", "activate", "acme.jam", "--for", "4"],
    ] {
        assert_eq!(world.run(args).await.code, 2, "{args:?}");
    }
    assert_eq!(world.hub.handled(), []);
    world.hub.answers([declined(
        Decline::Forbidden,
        &["case `acme.jam`: this needs `remote-access.activate` there"],
    )]);
    let refused = world.run(&["case", "activate", "acme.jam", "--for", "1h"]).await;
    assert_eq!(refused.code, 4);
    assert!(
        refused.stderr.starts_with("postern: case `acme.jam`: this needs `remote-access.activate` there; ")
    );
}
