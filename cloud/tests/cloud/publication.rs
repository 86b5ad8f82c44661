//! What is compiled and signed after an edit, and what is left alone.

use postern_cloud::compile::affected;
use postern_cloud::fleet;
use postern_cloud::keys::{Origin, Plan};
use postern_cloud::model::Model;
use postern_cloud::publish::{Affected, Cause, LIFETIME_S, PublishError, Published, Publisher};
use postern_cloud::store::Store;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::SecretKey;
use tempfile::TempDir;

use crate::gate::NOW;
use crate::ground;

const FLEET: &str = r#"
[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[device.d1]
account = "acme"
[device.d1.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d2]
account = "acme"
[device.d2.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d3]
account = "acme"
[category.screen]
kinds = ["vnc"]
[role.operator]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["screen"]
[assignment.a]
user = "otto"
role = "operator"
scope = { device = "d1" }
"#;

/// An installation in which `d1` and `d2` are enrolled, `d3` is not, and otto has signed in.
struct Office {
    _directory: TempDir,
    store: Store,
    publisher: Publisher,
    model: Model,
}

impl Office {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let plan =
            Plan { listen: "127.0.0.1:7000".parse().unwrap(), advertise: Vec::new(), origin: Origin::USUAL };
        let store = ground::found(&state, &plan, NOW);
        let publisher = store.read(|tx| Publisher::open(&state, tx)).unwrap();
        let model = fleet::read(FLEET, &[]).unwrap();
        let key = |seed| SecretKey::from_seed([seed; 32]).unwrap().public();
        store
            .write::<_, PublishError>(|tx| {
                tx.save_model(&model, NOW, "test", "apply")?;
                tx.bind_device(&name("d1"), &key(1), false, NOW)?;
                tx.bind_device(&name("d2"), &key(2), false, NOW)?;
                tx.register_key(&name("otto"), &key(3), NOW)?;
                publisher.publish(tx, Affected::All, NOW).map(drop)
            })
            .unwrap();
        Self { _directory: directory, store, publisher, model }
    }

    fn edit(&mut self, text: &str) -> (Published, Vec<(usize, usize)>) {
        let model = fleet::read(text, &[]).unwrap();
        let devices = affected(&self.model, &model);
        let mut steps = Vec::new();
        let published = self.store.write::<_, PublishError>(|tx| {
            tx.save_model(&model, NOW, "test", "apply")?;
            let edit = Affected::Edit { model: &model, devices: &devices };
            self.publisher.publish_watched(tx, edit, NOW, &mut |done, all| steps.push((done, all)))
        });
        self.model = model;
        (published.unwrap(), steps)
    }

    fn publish(&self, affected: Affected<'_>, now: UnixTime) -> Vec<(String, u64, Cause)> {
        let published = self.store.write(|tx| self.publisher.publish(tx, affected, now)).unwrap();
        published.into_iter().map(|one| (one.device.to_string(), one.version, one.cause)).collect()
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn signed(published: &Published) -> Vec<(&str, u64)> {
    published.publications.iter().map(|one| (one.device.as_str(), one.version)).collect()
}

#[test]
fn an_edit_signs_the_devices_that_it_changes_and_says_how_many_it_compiled() {
    let mut office = Office::new();
    let (published, steps) = office.edit(&FLEET.replacen("10.0.0.1:5900", "10.0.0.1:5901", 1));
    assert_eq!((published.compiled, signed(&published)), (1, vec![("d1", 2)]));
    assert_eq!(steps, [(1, 1)]);
    // The service of d2 is used by nobody: it is compiled, and is the same policy.
    let (published, _) = office.edit(&FLEET.replace("10.0.0.1:5900", "10.0.0.1:5901"));
    assert_eq!((published.compiled, signed(&published)), (1, vec![]));
    let (published, steps) = office.edit(FLEET);
    assert_eq!((published.compiled, signed(&published)), (2, vec![("d1", 3)]));
    assert_eq!(steps, [(2, 2)]);
}

#[test]
fn an_edit_of_a_label_compiles_nothing() {
    let mut office = Office::new();
    let (published, steps) = office.edit(&FLEET.replace("[user.otto]\n", "[user.otto]\nlabel = \"Otto\"\n"));
    assert_eq!((published, steps), (Published::default(), vec![]));
}

#[test]
fn a_device_that_is_not_enrolled_is_not_compiled() {
    let mut office = Office::new();
    let (published, _) = office.edit(&FLEET.replace("[device.d3]\n", "[device.d3]\nclosed = true\n"));
    assert_eq!(published, Published::default());
}

#[test]
fn a_device_that_leaves_the_model_is_told_so() {
    let mut office = Office::new();
    let without = FLEET.replace("[device.d2]\naccount = \"acme\"\n[device.d2.service.hmi]\nkind = \"vnc\"\ntarget = \"10.0.0.1:5900\"\n", "");
    let (published, _) = office.edit(&without);
    assert_eq!((published.compiled, signed(&published)), (1, vec![("d2", 2)]));
}

#[test]
fn signing_everything_again_signs_nothing_before_half_of_the_lifetime() {
    let office = Office::new();
    let half = NOW.saturating_add(LIFETIME_S / 2);
    let before = NOW.saturating_add(LIFETIME_S / 2 - 1);
    assert_eq!(office.publish(Affected::All, before), []);
    assert_eq!(office.publish(Affected::Due, before), []);
    let renewed = |device: &str| (device.to_owned(), 2, Cause::Renewed);
    assert_eq!(office.publish(Affected::Due, half), [renewed("d1"), renewed("d2")]);
    assert_eq!(office.publish(Affected::Due, half), []);
}

#[test]
fn what_concerns_a_user_or_device_is_looked_at_alone() {
    let office = Office::new();
    let half = NOW.saturating_add(LIFETIME_S / 2);
    assert_eq!(office.publish(Affected::User(&name("otto")), half), [("d1".to_owned(), 2, Cause::Renewed)]);
    assert_eq!(office.publish(Affected::Device(&name("d2")), half), [("d2".to_owned(), 2, Cause::Renewed)]);
    office.store.write(|tx| tx.set_disabled(&name("otto"), true)).unwrap();
    assert_eq!(office.publish(Affected::User(&name("otto")), half), [("d1".to_owned(), 3, Cause::Changed)]);
}

#[test]
fn a_snapshot_outlives_the_budget_of_its_device() {
    let mut office = Office::new();
    let longer = FLEET.replace("[device.d2]\n", "[device.d2]\noffline = \"30d\"\n");
    let (published, _) = office.edit(&longer);
    assert_eq!((published.compiled, signed(&published)), (1, vec![("d2", 2)]));
    let day = |days: u64| NOW.saturating_add(days * 86_400);
    let renewed = |device: &str, version| (device.to_owned(), version, Cause::Renewed);
    assert_eq!(office.publish(Affected::Due, day(7)), [renewed("d1", 2)]);
    assert_eq!(office.publish(Affected::Due, day(30)), [renewed("d1", 3), renewed("d2", 3)]);
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "an_edit_signs_the_devices_that_it_changes_and_says_how_many_it_compiled",
            an_edit_signs_the_devices_that_it_changes_and_says_how_many_it_compiled,
        ),
        ("an_edit_of_a_label_compiles_nothing", an_edit_of_a_label_compiles_nothing),
        ("a_device_that_is_not_enrolled_is_not_compiled", a_device_that_is_not_enrolled_is_not_compiled),
        ("a_device_that_leaves_the_model_is_told_so", a_device_that_leaves_the_model_is_told_so),
        (
            "signing_everything_again_signs_nothing_before_half_of_the_lifetime",
            signing_everything_again_signs_nothing_before_half_of_the_lifetime,
        ),
        (
            "what_concerns_a_user_or_device_is_looked_at_alone",
            what_concerns_a_user_or_device_is_looked_at_alone,
        ),
        ("a_snapshot_outlives_the_budget_of_its_device", a_snapshot_outlives_the_budget_of_its_device),
    ]);
}
