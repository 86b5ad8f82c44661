//! Edits by the people of a model, in a state with keys and enrolled devices: what is stored, signed, refused, and not said.

use std::sync::Arc;

use postern_cloud::administration::{Done, Edit, Guard, Refused, Seen, edit, list, show};
use postern_cloud::fleet;
use postern_cloud::keys::{Origin, Plan};
use postern_cloud::model::EntityKind;
use postern_cloud::publish::{Affected, PublishError, Publisher};
use postern_cloud::store::{Store, StoreError, Tx};
use postern_protocol::name::Name;
use postern_protocol::trust::SecretKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gate::NOW;
use crate::ground;

/// A vendor with two customers: `vera` administrates all of it, `dora` keeps its customers' data; `ada` and `alf` administrate
/// Acme, where `wil` runs the workshop; `bob` administrates Bolt.
pub(crate) const FLEET: &str = r#"
[account.vendor]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "vendor"
delegable-categories = ["screen"]
[account.bolt]
tenant = "operating_company"
parent = "vendor"
[user]
vera = { account = "vendor" }
dora = { account = "vendor" }
ada = { account = "acme" }
alf = { account = "acme" }
wil = { account = "acme" }
bob = { account = "bolt" }
[category.screen]
kinds = ["vnc"]
[category.web]
kinds = ["http"]
[device.a1]
account = "acme"
[device.a1.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.a2]
account = "acme"
[device.b1]
account = "bolt"
[device-group.north]
account = "acme"
type = "region"
devices = ["a1"]
[device-group.north.member.wil]
role = "machine-operator"
categories = ["screen"]
[assignment.vera]
user = "vera"
role = "tenant-admin"
scope = { account = "vendor", nested = true }
[assignment.dora]
user = "dora"
role = "customer-data-manager"
scope = { account = "vendor", nested = true }
[assignment.dora-invites]
user = "dora"
role = "tenant-admin"
scope = { account = "bolt" }
[assignment.ada]
user = "ada"
role = "tenant-admin"
scope = { account = "acme" }
[assignment.alf]
user = "alf"
role = "tenant-admin"
scope = { account = "acme" }
[assignment.wil]
user = "wil"
role = "workshop-manager"
scope = { account = "acme" }
[assignment.bob]
user = "bob"
role = "tenant-admin"
scope = { account = "bolt" }
"#;

/// An installation with this model, in which everybody has accepted their invitation.
pub(crate) struct Office {
    directory: TempDir,
    pub(crate) store: Arc<Store>,
    pub(crate) publisher: Arc<Publisher>,
}

impl Office {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let plan =
            Plan { listen: "127.0.0.1:7000".parse().unwrap(), advertise: Vec::new(), origin: Origin::USUAL };
        let store = Arc::new(ground::found(&state, &plan, NOW));
        let publisher = Arc::new(store.read(|tx| Publisher::open(&state, tx)).unwrap());
        let office = Self { directory, store, publisher };
        office.reset();
        office
    }

    /// The model of the beginning, with `a1` and `b1` enrolled.
    fn reset(&self) {
        let model = fleet::read(FLEET, &[]).unwrap();
        let key = |seed| SecretKey::from_seed([seed; 32]).unwrap().public();
        self.store
            .write::<_, PublishError>(|tx| {
                tx.save_model(&model, NOW, "test", "apply")?;
                for user in model.users.keys() {
                    tx.restart_person(user, "a password's hash")?;
                }
                if tx.device(&name("a1"))?.is_none_or(|device| device.key.is_none()) {
                    tx.bind_device(&name("a1"), &key(1), false, NOW)?;
                    tx.bind_device(&name("b1"), &key(2), false, NOW)?;
                    tx.register_key(&name("wil"), &key(3), NOW)?;
                }
                self.publisher.publish(tx, Affected::All, NOW).map(drop)
            })
            .unwrap();
    }

    /// Adds to the model, and does something for each user that is new with that.
    pub(crate) fn extend(&self, more: &str, each: impl Fn(&Tx<'_>, &Name) -> Result<(), StoreError>) {
        self.store
            .write::<_, PublishError>(|tx| {
                let old = tx.model()?;
                let text = format!("{}{more}", fleet::write(&old).unwrap());
                let model = fleet::read(&text, &[]).unwrap();
                tx.save_model(&model, NOW, "test", "apply")?;
                for user in model.users.keys().filter(|user| !old.users.contains_key(*user)) {
                    each(tx, user)?;
                }
                self.publisher.publish(tx, Affected::All, NOW).map(drop)
            })
            .unwrap();
    }

    /// Everything that is in the files of the state.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.directory.path().join("state")).unwrap();
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
            .flat_map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    fn edit(&self, caller: &str, edits: &[Edit]) -> Result<Done, Refused> {
        self.store.write(|tx| edit(tx, &self.publisher, &name(caller), edits, NOW))
    }

    fn list(&self, caller: &str, kind: EntityKind) -> Vec<String> {
        let (seen, _) = self.store.read(|tx| list(tx, &name(caller), kind, None, 100, NOW)).unwrap();
        seen.into_iter().map(|one| one.name.to_string()).collect()
    }

    fn show(&self, caller: &str, kind: EntityKind, entity: &str) -> Result<Seen, Refused> {
        self.store.read(|tx| show(tx, &name(caller), kind, &name(entity), NOW))
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn put(kind: EntityKind, entity: &str, body: Value) -> Edit {
    Edit { kind, name: name(entity), body: Some(body), guard: Guard::Any }
}

fn remove(kind: EntityKind, entity: &str) -> Edit {
    Edit { kind, name: name(entity), body: None, guard: Guard::Any }
}

fn lines(done: Result<Done, Refused>) -> Vec<String> {
    done.unwrap_err().lines()
}

#[test]
fn an_edit_is_stored_with_what_was_before_and_signed_for_the_devices_that_it_touches() {
    let office = Office::new();
    let role = json!({ "user": "wil", "role": "machine-operator", "categories": ["screen"], "scope": { "device": "a1" } });
    let done = office.edit("ada", &[put(EntityKind::Assignment, "acme.wil", role.clone())]).unwrap();
    // Wil has the screen already, by the group: the policy of the device names another origin as well.
    let devices: Vec<&str> = done.published.iter().map(|one| one.device.as_str()).collect();
    assert_eq!((devices, done.founders), (vec!["a1"], Vec::new()));
    let revision = done.revision.unwrap();
    let (changes, newest) =
        office.store.read::<_, Refused>(|tx| Ok((tx.changes(revision)?, tx.revisions(1)?))).unwrap();
    assert_eq!((newest[0].who.as_str(), newest[0].what.as_str()), ("ada", "put assignment acme.wil"));
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].name.as_str(), &changes[0].before), ("acme.wil", &None));
    assert!(changes[0].after.as_deref().unwrap().contains("machine-operator"));
    let seen = office.show("ada", EntityKind::Assignment, "acme.wil").unwrap();
    assert_eq!((seen.body, seen.version.0), (role, revision));
    // The same once more is no change.
    let again = put(
        EntityKind::Assignment,
        "acme.wil",
        office.show("ada", EntityKind::Assignment, "acme.wil").unwrap().body,
    );
    assert_eq!(office.edit("ada", &[again]).unwrap().revision, None);
}

#[test]
fn what_is_hidden_is_answered_as_what_is_not_there() {
    let office = Office::new();
    for (kind, hidden) in
        [(EntityKind::Device, "b1"), (EntityKind::User, "bob"), (EntityKind::Account, "bolt")]
    {
        let asked = |entity: &str| {
            let body = json!({ "account": "acme" });
            let guarded = Edit {
                guard: Guard::Is(postern_cloud::administration::Version(1)),
                ..put(kind, entity, body.clone())
            };
            [
                office.show("ada", kind, entity).map(drop).unwrap_err().lines(),
                lines(office.edit("ada", &[remove(kind, entity)])),
                lines(office.edit("ada", &[put(kind, entity, body)])),
                lines(office.edit("ada", &[guarded])),
            ]
            .map(|lines| lines.join("\n").replace(entity, "X"))
        };
        assert_eq!(asked(hidden), asked("nobody"), "{kind}");
    }
    assert_eq!(office.list("wil", EntityKind::Device), ["a1", "a2"]);
    assert_eq!(office.list("ada", EntityKind::User), ["ada", "alf", "wil"]);
    assert_eq!(office.list("vera", EntityKind::User).len(), 6);
}

#[test]
fn a_reference_to_what_is_hidden_is_one_to_nothing() {
    let office = Office::new();
    let to = |scope: Value| {
        let body = json!({ "user": "wil", "role": "machine-operator", "scope": scope });
        lines(office.edit("ada", &[put(EntityKind::Assignment, "acme.x", body)]))
    };
    assert_eq!(
        to(json!({ "device": "b1" })),
        ["`assignment.acme.x.scope.device`: there is no device `b1`; did you mean `a1`?"]
    );
    assert_eq!(
        to(json!({ "device": "b2" })),
        ["`assignment.acme.x.scope.device`: there is no device `b2`; did you mean `a2`?"]
    );
    assert_eq!(
        to(json!({ "account": "bolt" })),
        ["`assignment.acme.x.scope.account`: there is no account `bolt`"]
    );
}

#[test]
fn a_batch_is_made_as_a_whole_and_names_everything_that_is_wrong_with_it() {
    let office = Office::new();
    let moved = |device: &str, account: &str| put(EntityKind::Device, device, json!({ "account": account }));
    let refused = lines(
        office.edit("dora", &[moved("a2", "bolt"), moved("zz", "bolt"), remove(EntityKind::Device, "yy")]),
    );
    assert_eq!(
        refused,
        [
            "device `zz` cannot be made under this name: a new name begins with `vendor.`",
            "device `yy` is unknown"
        ]
    );
    assert_eq!(office.show("dora", EntityKind::Device, "a2").unwrap().body["account"], "acme");
    office.edit("dora", &[moved("a2", "bolt")]).unwrap();
    assert_eq!(office.list("wil", EntityKind::Device), ["a1"]);
    // Who may not, may not as a part of a batch either.
    let north = json!({ "account": "acme", "type": "region", "devices": ["a1"], "label": "North" });
    let label = put(EntityKind::DeviceGroup, "north", north);
    let forbidden = lines(office.edit("wil", &[label, remove(EntityKind::Assignment, "alf")]));
    assert_eq!(forbidden, ["assignment `alf` is unknown"]);
    assert_eq!(office.show("wil", EntityKind::DeviceGroup, "north").unwrap().body.get("label"), None);
}

#[test]
fn an_edit_of_something_that_somebody_else_has_changed_is_refused() {
    let office = Office::new();
    let version = office.show("wil", EntityKind::Device, "a2").unwrap().version;
    let label = |label: &str, guard| Edit {
        guard,
        ..put(EntityKind::Device, "a2", json!({ "account": "acme", "label": label }))
    };
    office.edit("wil", &[label("One", Guard::Is(version))]).unwrap();
    assert_eq!(
        lines(office.edit("wil", &[label("Two", Guard::Is(version))])),
        ["device `a2` was changed by somebody else in the meantime; look at it again"]
    );
    assert_eq!(office.show("wil", EntityKind::Device, "a2").unwrap().body["label"], "One");
    assert_eq!(
        lines(office.edit("wil", &[label("Two", Guard::Absent)])),
        ["device `a2` is there already; change it, or choose another name"]
    );
}

#[test]
fn administrators_who_remove_each_other_at_once_leave_one() {
    let office = Arc::new(Office::new());
    for round in 0..100 {
        office.reset();
        let racers = [("ada", "alf"), ("alf", "ada")].map(|(caller, victim)| {
            let office = Arc::clone(&office);
            std::thread::spawn(move || {
                let edits = if round % 2 == 0 {
                    vec![remove(EntityKind::Assignment, victim)]
                } else {
                    vec![remove(EntityKind::Assignment, victim), remove(EntityKind::User, victim)]
                };
                office.edit(caller, &edits).is_ok()
            })
        });
        let done = racers.map(|racer| racer.join().unwrap());
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "round {round}");
        let left = office.list("vera", EntityKind::Assignment);
        assert_eq!(left.iter().filter(|name| ["ada", "alf"].contains(&name.as_str())).count(), 1);
    }
}

#[test]
fn the_last_administrator_cannot_go_by_any_way() {
    let office = Office::new();
    office.edit("ada", &[remove(EntityKind::Assignment, "alf")]).unwrap();
    let left = "account `acme` would have users and no tenant administrator; assign `tenant-admin` to one of them first";
    assert_eq!(lines(office.edit("vera", &[remove(EntityKind::Assignment, "ada")])), [left]);
    let ended = json!({ "user": "ada", "role": "tenant-admin", "scope": { "account": "acme" }, "until": "2099-01-01T00:00:00Z" });
    assert_eq!(lines(office.edit("vera", &[put(EntityKind::Assignment, "ada", ended)])), [left]);
}

#[test]
fn the_first_user_of_an_account_administrates_it() {
    let office = Office::new();
    let account = json!({ "tenant": "operating_company", "parent": "vendor" });
    office.edit("dora", &[put(EntityKind::Account, "vendor.coil", account)]).unwrap();
    let done = office
        .edit("vera", &[put(EntityKind::User, "vendor.cleo", json!({ "account": "vendor.coil" }))])
        .unwrap();
    assert_eq!(done.founders, [name("vendor.cleo")]);
    let admin = office.show("vera", EntityKind::Assignment, "vendor.cleo.admin").unwrap().body;
    assert_eq!(
        admin,
        json!({ "user": "vendor.cleo", "role": "tenant-admin", "scope": { "account": "vendor.coil" } })
    );
    // The second one does not.
    let done = office
        .edit(
            "vendor.cleo",
            &[put(EntityKind::User, "vendor.coil.otto", json!({ "account": "vendor.coil" }))],
        )
        .unwrap();
    assert_eq!(done.founders, Vec::<Name>::new());
}

#[test]
fn what_was_not_shown_is_not_taken_away() {
    let office = Office::new();
    let group = office.show("wil", EntityKind::DeviceGroup, "north").unwrap().body;
    assert_eq!(group.get("member"), None);
    let mut wider = group;
    wider["devices"] = json!(["a1", "a2"]);
    // Whoever is in the group gets the screen on the second device too: that is delegable for Acme.
    office.edit("wil", &[put(EntityKind::DeviceGroup, "north", wider)]).unwrap();
    let seen = office.show("ada", EntityKind::DeviceGroup, "north").unwrap().body;
    assert_eq!(seen["member"]["wil"]["role"], "machine-operator");
    // The parent of the own account is nobody's to see, and stays.
    let account = office.show("ada", EntityKind::Account, "acme").unwrap().body;
    assert_eq!(account.get("parent"), None);
    let mut named = account;
    named["label"] = json!("Acme Forging");
    office.edit("ada", &[put(EntityKind::Account, "acme", named)]).unwrap();
    assert_eq!(office.show("vera", EntityKind::Account, "acme").unwrap().body["parent"], "vendor");
}

#[test]
fn what_others_depend_on_does_not_go_and_they_are_not_named() {
    let office = Office::new();
    let role = json!({ "user": "wil", "role": "machine-operator", "scope": { "device": "a2" } });
    office.edit("ada", &[put(EntityKind::Assignment, "acme.wil", role)]).unwrap();
    assert_eq!(
        lines(office.edit("dora", &[remove(EntityKind::Device, "a2")])),
        ["something that you may not see depends on this; ask whoever is responsible for the account above"]
    );
    let seen = lines(office.edit("wil", &[remove(EntityKind::Device, "a1")]));
    assert_eq!(seen, ["`device-group.north.devices[a1]`: there is no device `a1`"]);
}

#[test]
fn everybody_knows_their_company_and_only_its_administrators_what_it_may_hand_on() {
    let office = Office::new();
    let body = |caller| office.show(caller, EntityKind::Account, "acme").unwrap().body;
    assert_eq!(body("ada")["delegable-categories"], json!(["screen"]));
    assert_eq!(body("wil"), json!({ "tenant": "operating_company" }));
}

#[test]
fn who_assigns_roles_may_name_a_device_and_does_not_read_it() {
    let office = Office::new();
    assert_eq!(office.show("ada", EntityKind::Device, "a1").unwrap().body, json!({ "account": "acme" }));
    assert_eq!(
        office.show("wil", EntityKind::Device, "a1").unwrap().body["service"]["hmi"]["target"],
        "10.0.0.1:5900"
    );
}

#[test]
fn who_switches_remote_access_may_name_a_device_and_does_not_read_it() {
    let office = Office::new();
    let role = json!({ "user": "acme.op", "role": "machine-operator", "scope": { "device": "a1" } });
    let user = put(EntityKind::User, "acme.op", json!({ "account": "acme" }));
    office.edit("ada", &[user, put(EntityKind::Assignment, "acme.op", role)]).unwrap();
    assert_eq!(office.list("acme.op", EntityKind::Device), ["a1"]);
    assert_eq!(office.show("acme.op", EntityKind::Device, "a1").unwrap().body, json!({ "account": "acme" }));
    let hidden = office.show("acme.op", EntityKind::Device, "a2").unwrap_err();
    assert_eq!(hidden.lines(), ["device `a2` is unknown"]);
    let case = json!({ "device": "a1", "visibility": "shared", "until": "2099-01-01T00:00:00Z" });
    office.edit("acme.op", &[put(EntityKind::Case, "acme.jam", case)]).unwrap();
}

#[test]
fn who_is_in_charge_of_a_group_says_what_is_in_it_and_neither_whose_it_is_nor_more_than_they_manage() {
    let office = Office::new();
    let user = put(EntityKind::User, "acme.mo", json!({ "account": "acme" }));
    let charge = |name: &str, scope: Value| {
        put(
            EntityKind::Assignment,
            name,
            json!({ "user": "acme.mo", "role": "workshop-manager", "scope": scope }),
        )
    };
    let of_group = charge("acme.mo-group", json!({ "device-group": "north" }));
    office.edit("ada", &[user, of_group]).unwrap();
    let north = |devices: Value| json!({ "account": "acme", "type": "region", "devices": devices });
    let group = |body: Value| [put(EntityKind::DeviceGroup, "north", body)];
    // A device that is not in their charge is not there for them.
    assert_eq!(
        lines(office.edit("acme.mo", &group(north(json!(["a1", "a2"]))))),
        ["`device-group.north.devices[a2]`: there is no device `a2`; did you mean `a1`?"]
    );
    office.edit("ada", &[charge("acme.mo-a2", json!({ "device": "a2" }))]).unwrap();
    office.edit("acme.mo", &group(north(json!(["a1", "a2"])))).unwrap();
    let mut named = north(json!(["a1", "a2"]));
    named["label"] = json!("Mine");
    assert_eq!(
        lines(office.edit("acme.mo", &group(named))),
        ["device-group `north`: this needs `devices.manage` there"]
    );
    // Without the group, the devices alone do not do.
    office.edit("ada", &[remove(EntityKind::Assignment, "acme.mo-group")]).unwrap();
    let alone = office.edit("acme.mo", &group(north(json!(["a2"]))));
    assert!(alone.is_err_and(|refused| !refused.is_ours()));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "an_edit_is_stored_with_what_was_before_and_signed_for_the_devices_that_it_touches",
            an_edit_is_stored_with_what_was_before_and_signed_for_the_devices_that_it_touches,
        ),
        ("what_is_hidden_is_answered_as_what_is_not_there", what_is_hidden_is_answered_as_what_is_not_there),
        ("a_reference_to_what_is_hidden_is_one_to_nothing", a_reference_to_what_is_hidden_is_one_to_nothing),
        (
            "a_batch_is_made_as_a_whole_and_names_everything_that_is_wrong_with_it",
            a_batch_is_made_as_a_whole_and_names_everything_that_is_wrong_with_it,
        ),
        (
            "an_edit_of_something_that_somebody_else_has_changed_is_refused",
            an_edit_of_something_that_somebody_else_has_changed_is_refused,
        ),
        (
            "administrators_who_remove_each_other_at_once_leave_one",
            administrators_who_remove_each_other_at_once_leave_one,
        ),
        ("the_last_administrator_cannot_go_by_any_way", the_last_administrator_cannot_go_by_any_way),
        ("the_first_user_of_an_account_administrates_it", the_first_user_of_an_account_administrates_it),
        ("what_was_not_shown_is_not_taken_away", what_was_not_shown_is_not_taken_away),
        (
            "what_others_depend_on_does_not_go_and_they_are_not_named",
            what_others_depend_on_does_not_go_and_they_are_not_named,
        ),
        (
            "everybody_knows_their_company_and_only_its_administrators_what_it_may_hand_on",
            everybody_knows_their_company_and_only_its_administrators_what_it_may_hand_on,
        ),
        (
            "who_assigns_roles_may_name_a_device_and_does_not_read_it",
            who_assigns_roles_may_name_a_device_and_does_not_read_it,
        ),
        (
            "who_switches_remote_access_may_name_a_device_and_does_not_read_it",
            who_switches_remote_access_may_name_a_device_and_does_not_read_it,
        ),
        (
            "who_is_in_charge_of_a_group_says_what_is_in_it_and_neither_whose_it_is_nor_more_than_they_manage",
            who_is_in_charge_of_a_group_says_what_is_in_it_and_neither_whose_it_is_nor_more_than_they_manage,
        ),
    ]);
}
