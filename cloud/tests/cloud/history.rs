//! The history of the model as somebody may read it: their own time, of what they see, and nothing that was another company's.

use postern_cloud::administration::{Author, HistoryPage, HistoryQuery, Refused, ToldChange, history};
use postern_cloud::fleet;
use postern_cloud::model::EntityKind;
use postern_cloud::publish::{Affected, PublishError};
use postern_cloud::store::ChangeMark;
use postern_protocol::name::Name;
use serde_json::json;

use crate::administration::{FLEET, Office};
use crate::gate::NOW;

/// Analysts beside the people of the office: `vic` of the vendor with all below, `ana` of Acme, `bea` of Bolt; and `olga`, who may audit one
/// device.
const ANALYSTS: &str = r#"
[user.vic]
account = "vendor"
[user.ana]
account = "acme"
[user.bea]
account = "bolt"
[user.olga]
account = "acme"
[role.auditor-of-one]
tenant = "operating_company"
permissions = ["audit.read", "devices.read"]
[assignment.vic]
user = "vic"
role = "data-analyst"
scope = { account = "vendor", nested = true }
[assignment.ana]
user = "ana"
role = "data-analyst"
scope = { account = "acme", nested = true }
[assignment.bea]
user = "bea"
role = "data-analyst"
scope = { account = "bolt", nested = true }
[assignment.olga]
user = "olga"
role = "auditor-of-one"
scope = { device = "a1" }
"#;

const NOTHING: [i64; 0] = [];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// An office whose model is changed as a whole, by whom and by what each test says.
struct Chronicle {
    office: Office,
    text: String,
}

impl Chronicle {
    fn new() -> Self {
        let mut chronicle = Self { office: Office::new(), text: format!("{FLEET}{ANALYSTS}") };
        let text = chronicle.text.clone();
        chronicle.save("root", "apply", &text);
        chronicle
    }

    /// Makes the model what a fleet file says.
    fn save(&mut self, who: &str, what: &str, text: &str) -> i64 {
        let model = fleet::read(text, &[]).unwrap();
        text.clone_into(&mut self.text);
        let saved = self.office.store.write::<_, PublishError>(|tx| {
            let revision = tx.save_model(&model, NOW, who, what)?;
            self.office.publisher.publish(tx, Affected::All, NOW)?;
            Ok(revision)
        });
        saved.unwrap()
    }

    /// Replaces a part of the fleet file, as an edit of this user.
    fn edit(&mut self, who: &str, from: &str, to: &str) -> i64 {
        assert_eq!(self.text.matches(from).count(), 1, "{from}");
        let text = self.text.replacen(from, to, 1);
        self.save(who, "put something", &text)
    }

    fn page(&self, caller: &str, query: &HistoryQuery) -> Result<HistoryPage, Refused> {
        self.office.store.read(|tx| history(tx, &name(caller), query, NOW))
    }

    /// All that somebody may read of entities of a name.
    fn told(&self, caller: &str, kind: EntityKind, entity: &str) -> Vec<ToldChange> {
        let query = HistoryQuery { kind: Some(kind), name: Some(name(entity)), after: None, limit: 200 };
        let HistoryPage { changes, more } = self.page(caller, &query).unwrap();
        assert_eq!(more, None);
        assert!(changes.iter().all(|one| one.kind == kind && one.name == name(entity)));
        changes
    }

    /// The revisions of these, newest first.
    fn revisions(&self, caller: &str, kind: EntityKind, entity: &str) -> Vec<i64> {
        self.told(caller, kind, entity).iter().map(|one| one.revision).collect()
    }
}

/// `Added` before the first revision of a test has the number of the revision that made the office.
fn first(chronicle: &Chronicle, kind: EntityKind, entity: &str) -> i64 {
    *chronicle.revisions("vic", kind, entity).last().unwrap()
}

#[test]
fn of_a_device_that_moved_each_company_reads_its_own_time_and_the_maker_all_of_it() {
    let mut chronicle = Chronicle::new();
    let device =
        |account: &str, label: &str| format!("[device.a2]\naccount = \"{account}\"\nlabel = \"{label}\"\n");
    let made = first(&chronicle, EntityKind::Device, "a2");
    let plain = "[device.a2]\naccount = \"acme\"\n";
    let labelled = chronicle.edit("wil", plain, &device("acme", "Secret press of Acme"));
    let moved =
        chronicle.edit("dora", &device("acme", "Secret press of Acme"), &device("bolt", "Moved to Bolt"));
    let renamed = chronicle.edit("bob", &device("bolt", "Moved to Bolt"), &device("bolt", "Ours"));

    let of = |chronicle: &Chronicle, who: &str| chronicle.revisions(who, EntityKind::Device, "a2");
    assert_eq!(of(&chronicle, "ana"), [labelled, made]);
    assert_eq!(of(&chronicle, "bea"), [renamed]);
    assert_eq!(of(&chronicle, "vic"), [renamed, moved, labelled, made]);
    let text = |who: &str| {
        format!("{:?}", chronicle.page(who, &HistoryQuery { limit: 200, ..HistoryQuery::default() }))
    };
    for secret in ["Secret press", "acme", "wil"] {
        assert!(!text("bea").contains(secret), "{secret}");
    }
    for secret in ["Moved to Bolt", "Ours", "bolt", "bob"] {
        assert!(!text("ana").contains(secret), "{secret}");
    }
    let change = chronicle.told("ana", EntityKind::Device, "a2").remove(0);
    assert_eq!(
        (change.before, change.after, change.by, change.at),
        (
            Some(json!({ "account": "acme" })),
            Some(json!({ "account": "acme", "label": "Secret press of Acme" })),
            Author::User(name("wil")),
            NOW
        )
    );
    // Whoever moved it is the maker's, and named to the maker alone; so is what became of it for each.
    let by = |who: &str| {
        chronicle.told(who, EntityKind::Device, "a2").into_iter().map(|one| one.by).collect::<Vec<_>>()
    };
    assert_eq!(by("vic")[1], Author::User(name("dora")));
    assert_eq!(by("bea"), [Author::User(name("bob"))]);
    assert_eq!(by("ana")[1], Author::Operator);

    // It comes back, and what it was meanwhile stays Bolt's.
    let back = chronicle.edit("dora", &device("bolt", "Ours"), plain);
    let again = chronicle.edit("dora", plain, &device("acme", "Home"));
    assert_eq!(of(&chronicle, "ana"), [again, labelled, made]);
    assert_eq!(chronicle.told("ana", EntityKind::Device, "a2")[0].by, Author::Hidden);
    assert_eq!(of(&chronicle, "bea"), [renamed]);
    assert_eq!(of(&chronicle, "vic")[..2], [again, back]);
    // And it goes, which is told to whose it was.
    let gone = chronicle.edit("wil", &device("acme", "Home"), "");
    assert_eq!(of(&chronicle, "ana")[0], gone);
    assert_eq!(chronicle.told("ana", EntityKind::Device, "a2")[0].after, None);
    assert_eq!(of(&chronicle, "bea"), [renamed]);
}

#[test]
fn a_user_who_went_to_another_company_is_known_to_each_by_its_own_time_with_what_was_assigned() {
    let mut chronicle = Chronicle::new();
    let at_acme = "[user.otto]\naccount = \"acme\"\n[assignment.otto]\nuser = \"otto\"\nrole = \"machine-operator\"\nscope = { device = \"a1\" }\n";
    let at_bolt = "[user.otto]\naccount = \"bolt\"\n[assignment.otto-b]\nuser = \"otto\"\nrole = \"machine-operator\"\nscope = { device = \"b1\" }\n";
    let text = format!("{}{at_acme}", chronicle.text);
    let joined = chronicle.save("ada", "put user otto", &text);
    let went = chronicle.edit("vera", at_acme, at_bolt);
    let left = chronicle.edit("bob", at_bolt, "");
    let of = |who: &str, kind: EntityKind, entity: &str| chronicle.revisions(who, kind, entity);
    assert_eq!(of("ana", EntityKind::User, "otto"), [joined]);
    assert_eq!(of("bea", EntityKind::User, "otto"), [left]);
    assert_eq!(of("vic", EntityKind::User, "otto"), [left, went, joined]);
    // What he had at Acme came and went there, and Bolt reads neither; the other way round as well.
    assert_eq!(of("ana", EntityKind::Assignment, "otto"), [went, joined]);
    assert_eq!(of("bea", EntityKind::Assignment, "otto"), NOTHING);
    assert_eq!(of("bea", EntityKind::Assignment, "otto-b"), [left, went]);
    assert_eq!(of("ana", EntityKind::Assignment, "otto-b"), NOTHING);
    // Who is in charge of nobody there is not named as the author.
    let author = |who: &str| chronicle.told(who, EntityKind::Assignment, "otto").remove(0).by;
    assert_eq!((author("ana"), author("vic")), (Author::Hidden, Author::User(name("vera"))));
}

#[test]
fn a_company_that_was_sold_with_its_devices_takes_its_past_to_nobody() {
    let mut chronicle = Chronicle::new();
    let site = |parent: &str, label: &str| {
        format!(
            "[account.site]\ntenant = \"operating_company\"\nparent = \"{parent}\"\n[device.s1]\naccount = \"site\"\nlabel = \"{label}\"\n"
        )
    };
    let text = format!("{}{}", chronicle.text, site("acme", "Before"));
    let founded = chronicle.save("root", "apply", &text);
    let before = chronicle.edit("wil", &site("acme", "Before"), &site("acme", "Known to Acme"));
    let sold = chronicle.edit("vera", &site("acme", "Known to Acme"), &site("bolt", "Known to Acme"));
    let after = chronicle.edit("bob", &site("bolt", "Known to Acme"), &site("bolt", "Known to Bolt"));
    let of = |who: &str, kind: EntityKind, entity: &str| chronicle.revisions(who, kind, entity);
    assert_eq!(of("ana", EntityKind::Device, "s1"), [before, founded]);
    // What it was called by then is what Bolt got; who called it so is before its time.
    assert_eq!(of("bea", EntityKind::Device, "s1"), [after]);
    assert_eq!(of("vic", EntityKind::Device, "s1"), [after, before, founded]);
    assert_eq!(of("ana", EntityKind::Account, "site"), [founded]);
    assert_eq!(of("bea", EntityKind::Account, "site"), NOTHING);
    assert_eq!(of("vic", EntityKind::Account, "site"), [sold, founded]);
}

#[test]
fn an_account_that_is_founded_again_under_its_name_has_nothing_of_the_one_before() {
    let mut chronicle = Chronicle::new();
    let site = |label: &str| {
        format!(
            "[account.site]\ntenant = \"operating_company\"\nparent = \"acme\"\n[device.s1]\naccount = \"site\"\nlabel = \"{label}\"\n\
             [user.sia]\naccount = \"site\"\n[assignment.sia]\nuser = \"sia\"\nrole = \"data-analyst\"\nscope = {{ account = \"site\" }}\n"
        )
    };
    let text = format!("{}{}", chronicle.text, site("The one"));
    let one = chronicle.save("root", "apply", &text);
    let gone = chronicle.edit("root", &site("The one"), "");
    let text = format!("{}{}", chronicle.text, site("The other"));
    let other = chronicle.save("root", "apply", &text);
    let of = |who: &str| chronicle.revisions(who, EntityKind::Device, "s1");
    assert_eq!(of("sia"), [other]);
    // For the company around it the one that has the name now may not be the one that had it.
    assert_eq!(of("ana"), [other]);
    // Where nobody has the name any more, nobody can be meant but the one that had it.
    chronicle.edit("root", &site("The other"), "");
    let of = |who: &str| chronicle.revisions(who, EntityKind::Device, "s1");
    assert_eq!(of("ana").len(), 4);
    assert!(of("ana").contains(&one) && of("ana").contains(&gone));
    assert_eq!(of("bea"), NOTHING);
}

#[test]
fn operators_of_single_machines_administrators_and_workshops_read_nothing_of_it() {
    let chronicle = Chronicle::new();
    for caller in ["olga", "ada", "wil", "dora", "vera"] {
        let Err(refused) = chronicle.page(caller, &HistoryQuery { limit: 9, ..HistoryQuery::default() })
        else {
            panic!("{caller}")
        };
        let account = if ["dora", "vera"].contains(&caller) { "vendor" } else { "acme" };
        assert_eq!(refused.lines(), [format!("account `{account}`: this needs `audit.read` there")]);
    }
    let unknown = chronicle.page("nobody", &HistoryQuery::default()).unwrap_err();
    assert_eq!(unknown.lines(), ["user `nobody` is unknown"]);
    // The twin.
    assert!(
        !chronicle
            .page("ana", &HistoryQuery { limit: 9, ..HistoryQuery::default() })
            .unwrap()
            .changes
            .is_empty()
    );
}

#[test]
fn what_belongs_to_no_company_is_for_whoever_reads_of_all_and_what_is_hidden_of_an_entity_stays_hidden() {
    let mut chronicle = Chronicle::new();
    let kinds = |kinds: &str| format!("[category.screen]\nkinds = [{kinds}]\n");
    let changed = chronicle.edit("root", &kinds("\"vnc\""), &kinds("\"vnc\", \"http\""));
    assert_eq!(chronicle.revisions("vic", EntityKind::Category, "screen")[0], changed);
    for who in ["ana", "bea"] {
        assert_eq!(chronicle.revisions(who, EntityKind::Category, "screen"), NOTHING, "{who}");
        assert_eq!(chronicle.revisions(who, EntityKind::Role, "auditor-of-one"), NOTHING, "{who}");
    }
    // Where their own company lies is nothing that Acme's people are told.
    let account = chronicle.told("ana", EntityKind::Account, "acme").remove(0);
    assert_eq!(account.after.unwrap().get("parent"), None);
    assert_eq!(
        chronicle.told("vic", EntityKind::Account, "acme")[0].after.as_ref().unwrap()["parent"],
        "vendor"
    );
    assert_eq!(chronicle.revisions("bea", EntityKind::Account, "acme"), NOTHING);

    // Who sees devices and no people reads which devices are in a group, and not who has a role on them.
    let nell = "[user.nell]\naccount = \"acme\"\n[role.device-auditor]\ntenant = \"operating_company\"\npermissions = [\"audit.read\", \"devices.read\"]\n\
                [assignment.nell]\nuser = \"nell\"\nrole = \"device-auditor\"\nscope = { account = \"acme\" }\n";
    let text = format!("{}{nell}", chronicle.text);
    chronicle.save("root", "apply", &text);
    let member = "[device-group.north.member.wil]\nrole = \"machine-operator\"\n";
    let until = format!("{member}until = 2099-01-01T00:00:00Z\n");
    let ends = chronicle.edit("ada", member, &until);
    let devices = "devices = [\"a1\"]\n";
    let grown = chronicle.edit("wil", devices, "devices = [\"a1\", \"a2\"]\n");
    assert_eq!(chronicle.revisions("ana", EntityKind::DeviceGroup, "north")[..2], [grown, ends]);
    let of_nell = chronicle.told("nell", EntityKind::DeviceGroup, "north");
    assert_eq!((of_nell.len(), of_nell[0].revision, &of_nell[0].by), (2, grown, &Author::Hidden));
    assert!(!format!("{of_nell:?}").contains("wil"), "{of_nell:?}");
    assert_eq!(chronicle.told("nell", EntityKind::User, "wil"), []);
    assert_eq!(chronicle.revisions("nell", EntityKind::Device, "a1").len(), 1);
}

#[test]
fn pages_and_conditions_leave_nothing_out_and_tell_nothing_twice() {
    let mut chronicle = Chronicle::new();
    for label in ["One", "Two", "Three"] {
        let (from, to) = if label == "One" {
            (
                "[device.a2]\naccount = \"acme\"\n".to_owned(),
                "[device.a2]\naccount = \"acme\"\nlabel = \"One\"\n".to_owned(),
            )
        } else {
            let last = if label == "Two" { "One" } else { "Two" };
            (format!("label = \"{last}\"\n"), format!("label = \"{label}\"\n"))
        };
        chronicle.edit("wil", &from, &to);
    }
    let query = |limit| HistoryQuery { limit, ..HistoryQuery::default() };
    for who in ["ana", "vic"] {
        let all = chronicle.page(who, &query(200)).unwrap();
        assert_eq!(all.more, None);
        let revisions: Vec<i64> = all.changes.iter().map(|one| one.revision).collect();
        assert!(revisions.is_sorted_by(|a, b| a >= b), "{revisions:?}");
        for limit in [1, 2, 7] {
            let (mut told, mut after) = (Vec::new(), None);
            loop {
                let page = chronicle.page(who, &HistoryQuery { after, ..query(limit) }).unwrap();
                assert!(page.changes.len() <= limit);
                told.extend(page.changes);
                after = page.more;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(told, all.changes, "{who} {limit}");
        }
        let devices =
            chronicle.page(who, &HistoryQuery { kind: Some(EntityKind::Device), ..query(200) }).unwrap();
        let expected: Vec<_> =
            all.changes.iter().filter(|one| one.kind == EntityKind::Device).cloned().collect();
        assert_eq!(without_marks(&devices.changes), without_marks(&expected));
        let named = chronicle.page(who, &HistoryQuery { name: Some(name("wil")), ..query(200) }).unwrap();
        let expected: Vec<_> = all.changes.iter().filter(|one| one.name == name("wil")).cloned().collect();
        assert_eq!(without_marks(&named.changes), without_marks(&expected));
    }
    let beyond = ChangeMark { revision: 0, seen: 0 };
    let page = chronicle.page("vic", &HistoryQuery { after: Some(beyond), ..query(9) }).unwrap();
    assert_eq!(page, HistoryPage { changes: Vec::new(), more: None });
}

/// Where one goes on depends on what is asked for.
fn without_marks(changes: &[ToldChange]) -> Vec<ToldChange> {
    changes.iter().map(|one| ToldChange { mark: ChangeMark::NEWEST, ..one.clone() }).collect()
}
