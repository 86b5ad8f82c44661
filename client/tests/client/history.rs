//! `admin history`: what is asked of the hub, and what is printed of its answers.

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, ChangeAuthor, ChangeEntry, ChangeFate, Decline, Declined, HistoryMark,
};
use postern_protocol::wire::hub::HubAnswer;
use serde_json::{Value, json};

use crate::world::World;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn change(revision: u64, by: ChangeAuthor, label: &str) -> ChangeEntry {
    let keys = |label: &str| Some(json!({ "account": "acme", "label": label }).to_string());
    ChangeEntry {
        revision,
        at: UnixTime::from_secs(1_800_000_000),
        by,
        kind: name("device"),
        name: name("press-7"),
        fate: ChangeFate::Changed,
        before: keys("Old"),
        after: keys(label),
    }
}

fn page(changes: Vec<ChangeEntry>, more: Option<(u64, u32)>) -> HubAnswer {
    let more = more.map(|(revision, seen)| HistoryMark { revision, seen });
    HubAnswer::Administered(AdminAnswer::History { changes, more })
}

#[tokio::test]
async fn changes_are_listed_newest_first_over_pages_of_which_some_are_empty() {
    let world = World::signed_in().await;
    let added = ChangeEntry {
        fate: ChangeFate::Added,
        before: None,
        ..change(3, ChangeAuthor::Hidden, "A\u{1b}[2J")
    };
    let pages = || {
        [
            page(vec![change(9, ChangeAuthor::User(name("ada")), "New")], Some((8, 2000))),
            page(Vec::new(), Some((4, 1))),
            page(vec![change(4, ChangeAuthor::Operator, "Older"), added.clone()], None),
        ]
    };
    world.hub.answers(pages());
    let plain = world.run(&["admin", "history", "--kind", "device", "--name", "press-7"]).await;
    let expected = "9\t2027-01-15 08:00 +00:00\tada\tdevice\tpress-7\tlabel: Old -> New\n\
                    4\t2027-01-15 08:00 +00:00\tthe operator\tdevice\tpress-7\tlabel: Old -> Older\n\
                    3\t2027-01-15 08:00 +00:00\t-\tdevice\tpress-7\tnew: account=acme label=A [2J\n";
    assert_eq!((plain.code, plain.stdout.as_str(), plain.stderr.as_str()), (0, expected, ""));
    let asked = |after: Option<(u64, u32)>, limit| AdminQuestion::History {
        kind: Some(name("device")),
        name: Some(name("press-7")),
        after: after.map(|(revision, seen)| HistoryMark { revision, seen }),
        limit,
    };
    let questions: Vec<_> = world.hub.administrated().into_iter().map(|(question, _)| question).collect();
    assert_eq!(questions, [asked(None, 50), asked(Some((8, 2000)), 49), asked(Some((4, 1)), 49)]);

    world.hub.answers(pages());
    let program = world.run(&["admin", "history", "--limit", "1", "--after", "17-3", "--json"]).await;
    let value: Value = serde_json::from_str(&program.stdout).unwrap();
    let expected = json!({
        "changes": [{
            "revision": 9, "at": "2027-01-15T08:00:00Z", "by": "ada", "by_operator": false, "kind": "device", "name": "press-7",
            "fate": "changed", "before": { "account": "acme", "label": "Old" }, "after": { "account": "acme", "label": "New" },
        }],
        "more": "8-2000",
    });
    assert_eq!(value, expected);
    assert_eq!(program.stderr, "postern: there may be older ones; `--after 8-2000` shows them\n");
    let (question, _) = world.hub.administrated().remove(0);
    let after = Some(HistoryMark { revision: 17, seen: 3 });
    assert_eq!(question, AdminQuestion::History { kind: None, name: None, after, limit: 1 });
}

#[tokio::test]
async fn a_hub_that_does_not_come_forward_is_asked_no_more_and_one_that_refuses_is_quoted() {
    let world = World::signed_in().await;
    world.hub.answers([page(Vec::new(), Some((8, 2))), page(Vec::new(), Some((8, 2)))]);
    let none = world.run(&["admin", "history"]).await;
    assert_eq!((none.code, none.stderr.as_str()), (0, "postern: no change matches of which you may know\n"));
    let problem = vec!["account `acme`: this needs `audit.read` there".to_owned()];
    world.hub.answers([HubAnswer::Declined(Declined::new(Decline::Forbidden, problem))]);
    let refused = world.run(&["admin", "history"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (4, ""));
    assert!(refused.stderr.contains("this needs `audit.read` there"), "{}", refused.stderr);
    for wrong in [["--after", "yesterday"], ["--limit", "0"], ["--kind", "A kind"]] {
        assert_eq!(world.run(&[&["admin", "history"], &wrong[..]].concat()).await.code, 2, "{wrong:?}");
    }
}
