//! Who may administrate what, each allow with its deny twin beside it.

use super::*;
use crate::fleet;
use crate::model::EntityKind;

const NOW: UnixTime = UnixTime::from_secs(1_900_000_000);

/// A vendor with two customers. `vera` administrates the vendor with all below, `dora` its customers' data, `tim` services
/// them; `ada` administrates the first customer, `wil` runs its workshop, `mo` a machine of it, `dan` reads; `bob` administrates
/// the second customer.
const FLEET: &str = r#"
[account.vendor]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "vendor"
delegable-categories = ["look"]
[account.bolt]
tenant = "operating_company"
parent = "vendor"

[user]
vera = { account = "vendor" }
dora = { account = "vendor" }
tim = { account = "vendor" }
ada = { account = "acme" }
wil = { account = "acme" }
mo = { account = "acme" }
dan = { account = "acme" }
new = { account = "acme" }
bob = { account = "bolt" }

[category]
look = { kinds = ["vnc"], mode = "view_only" }
touch = { kinds = ["vnc"] }

[role.planner]
tenant = "operating_company"
permissions = ["devices.read", "devices.manage", "roles.assign", "users.show"]

[device.a1]
account = "acme"
[device.a1.service.hmi]
kind = "vnc"
target = "192.168.0.10:5900"
[device.a2]
account = "acme"
[device.b1]
account = "bolt"
[machine.filler]
device = "a1"
[facility.hall]
account = "acme"
machines = ["filler"]
[device-group.north]
account = "acme"
type = "region"
devices = ["a1"]
[user-group.crew]
account = "acme"
members = ["mo"]

[assignment.vera]
user = "vera"
role = "tenant-admin"
scope = { account = "vendor", nested = true }
[assignment.dora]
user = "dora"
role = "customer-data-manager"
scope = { account = "vendor", nested = true }
[assignment.tim]
user = "tim"
role = "service-technician"
categories = ["touch"]
scope = { account = "vendor", nested = true }
[assignment.ada]
user = "ada"
role = "tenant-admin"
scope = { account = "acme" }
[assignment.wil]
user = "wil"
role = "workshop-manager"
categories = ["touch"]
scope = { account = "acme" }
[assignment.crew]
group = "crew"
role = "machine-operator"
categories = ["look"]
scope = { facility = "hall" }
[assignment.dan]
user = "dan"
role = "data-analyst"
scope = { account = "acme" }
[assignment.bob]
user = "bob"
role = "tenant-admin"
scope = { account = "bolt" }

[case.squeak]
machine = "filler"
visibility = "shared"
"#;

fn model(more: &str) -> Model {
    let read = fleet::read(&format!("{FLEET}{more}"), &[]);
    read.unwrap_or_else(|complaints| {
        panic!("{:?}", complaints.iter().map(|one| one.line("fleet")).collect::<Vec<_>>())
    })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn rights<'a>(model: &'a Model, user: &str) -> Rights<'a> {
    Rights::of(model, &name(user), NOW).unwrap()
}

/// Why a user may not make an edit; none where they may.
fn refusal(user: &str, edit: impl FnOnce(&mut Model)) -> Option<Ground> {
    refusal_in(&model(""), user, edit)
}

fn refusal_in(old: &Model, user: &str, edit: impl FnOnce(&mut Model)) -> Option<Ground> {
    let mut new = old.clone();
    edit(&mut new);
    assert_eq!(new.check(&BTreeSet::new()), [], "the edit is possible at all");
    rights(old, user).judge(&new).into_iter().next().map(|forbidden| forbidden.ground)
}

fn needs(any_of: &'static [Permission]) -> Option<Ground> {
    Some(Ground::Needs { any_of })
}

fn assign(model: &mut Model, at: &str, fleet: &str) {
    let text = format!("{FLEET}[assignment.{at}]\n{fleet}");
    let read = fleet::read(&text, &[]).unwrap();
    model.assignments.insert(name(at), read.assignments[&name(at)].clone());
}

#[test]
fn an_administrator_assigns_in_the_own_company_and_nowhere_else() {
    let to_acme = "user = \"new\"\nrole = \"machine-operator\"\nscope = { facility = \"hall\" }\n";
    assert_eq!(refusal("ada", |new| assign(new, "x", to_acme)), None);
    assert_eq!(refusal("vera", |new| assign(new, "x", to_acme)), None);
    assert_eq!(refusal("bob", |new| assign(new, "x", to_acme)), needs(&[Permission::AssignRoles]));
    assert_eq!(refusal("wil", |new| assign(new, "x", to_acme)), needs(&[Permission::AssignRoles]));
    assert_eq!(refusal("dan", |new| assign(new, "x", to_acme)), needs(&[Permission::AssignRoles]));
}

#[test]
fn a_category_is_handed_on_where_it_is_delegable_or_held_and_not_otherwise() {
    let with = |category: &str| {
        format!(
            "user = \"new\"\nrole = \"machine-operator\"\ncategories = [\"{category}\"]\nscope = {{ account = \"acme\" }}\n"
        )
    };
    assert_eq!(refusal("ada", |new| assign(new, "x", &with("look"))), None);
    let category = name("touch");
    assert_eq!(
        refusal("ada", |new| assign(new, "x", &with("touch"))),
        Some(Ground::NotDelegable { category })
    );
    // Who holds it himself may, where he may assign at all.
    let more =
        "[assignment.wil-too]\nuser = \"wil\"\nrole = \"tenant-admin\"\nscope = { account = \"acme\" }\n";
    assert_eq!(refusal_in(&model(more), "wil", |new| assign(new, "x", &with("touch"))), None);
}

#[test]
fn a_custom_role_is_handed_on_where_it_is_held_or_delegable() {
    let planner = "user = \"new\"\nrole = \"planner\"\nscope = { account = \"acme\" }\n";
    let permission = Permission::ReadDevices;
    assert_eq!(refusal("ada", |new| assign(new, "x", planner)), Some(Ground::NotHeld { permission }));
    let mut marked = model("");
    marked.accounts.get_mut("acme").unwrap().delegable.roles.insert(name("planner"));
    assert_eq!(refusal_in(&marked, "ada", |new| assign(new, "x", planner)), None);
    // What is delegable for one company is not for its neighbour.
    let for_bolt = "user = \"bob\"\nrole = \"planner\"\nscope = { account = \"bolt\" }\n";
    assert_eq!(
        refusal_in(&marked, "bob", |new| assign(new, "x", for_bolt)),
        Some(Ground::NotHeld { permission })
    );
}

#[test]
fn nobody_widens_what_they_may_hand_on_and_whoever_is_above_marks_only_what_they_have() {
    let mark = |new: &mut Model, account: &str, category: &str| {
        new.accounts.get_mut(account).unwrap().delegable.categories.insert(name(category));
    };
    assert_eq!(refusal("ada", |new| mark(new, "acme", "touch")), needs(&[Permission::ManageCustomers]));
    let category = name("touch");
    assert_eq!(refusal("dora", |new| mark(new, "acme", "touch")), Some(Ground::NotDelegable { category }));
    let more = "[assignment.tim-too]\nuser = \"tim\"\nrole = \"customer-data-manager\"\nscope = { account = \"vendor\", nested = true }\n";
    assert_eq!(refusal_in(&model(more), "tim", |new| mark(new, "acme", "touch")), None);
}

#[test]
fn a_new_member_of_a_group_is_given_its_roles_as_if_by_name() {
    let join = |new: &mut Model| {
        new.user_groups.get_mut("crew").unwrap().members.insert(name("new"), crate::model::Member::default());
    };
    assert_eq!(refusal("ada", join), None);
    assert_eq!(refusal("wil", join), needs(&[Permission::AssignRoles]));
    let mut old = model("");
    old.assignments.get_mut("crew").unwrap().categories = BTreeSet::from([name("touch")]);
    assert_eq!(refusal_in(&old, "ada", join), Some(Ground::NotDelegable { category: name("touch") }));
    // Somebody who leaves is given nothing.
    let leave = |new: &mut Model| new.user_groups.get_mut("crew").unwrap().members.clear();
    assert_eq!(refusal_in(&old, "ada", leave), None);
}

#[test]
fn a_membership_of_a_device_group_is_given_like_an_assignment() {
    let join = |category: &'static str| {
        move |new: &mut Model| {
            let member = crate::model::Membership {
                role: name("machine-operator"),
                categories: BTreeSet::from([name(category)]),
                until: None,
                offline: None,
            };
            new.device_groups.get_mut("north").unwrap().members.insert(name("new"), member);
        }
    };
    assert_eq!(refusal("ada", join("look")), None);
    assert_eq!(refusal("ada", join("touch")), Some(Ground::NotDelegable { category: name("touch") }));
    assert_eq!(refusal("wil", join("touch")), needs(&[Permission::AssignRoles]));
}

#[test]
fn allocating_is_giving() {
    let allocate = |new: &mut Model| {
        new.device_groups.get_mut("north").unwrap().devices.insert(name("a2"));
    };
    let of_north = |role: &str| {
        format!(
            "[assignment.north]\nuser = \"new\"\nrole = \"{role}\"\nscope = {{ device-group = \"north\" }}\n"
        )
    };
    assert_eq!(refusal("wil", allocate), None);
    assert_eq!(refusal("mo", allocate), needs(&[Permission::ManageDevices]));
    assert_eq!(refusal_in(&model(&of_north("machine-operator")), "wil", allocate), None);
    let permission = Permission::ReadInternalCases;
    assert_eq!(
        refusal_in(&model(&of_north("maintenance-engineer")), "wil", allocate),
        Some(Ground::NotHeld { permission })
    );
}

#[test]
fn nobody_deletes_or_demotes_themselves_and_another_administrator_may() {
    let delete = |new: &mut Model| {
        new.users.remove("ada");
        new.assignments.remove("ada");
    };
    let demote = |new: &mut Model| drop(new.assignments.remove("ada"));
    for edit in [delete as fn(&mut Model), demote] {
        assert_eq!(refusal("ada", edit), Some(Ground::Oneself));
        assert_eq!(refusal("vera", edit), None);
    }
    let more = "[assignment.new]\nuser = \"new\"\nrole = \"tenant-admin\"\nscope = { account = \"acme\" }\n";
    assert_eq!(refusal_in(&model(more), "new", demote), None);
    // An end is a demotion with a date.
    let end = |new: &mut Model| new.assignments.get_mut("ada").unwrap().until = Some(NOW);
    assert_eq!(refusal("ada", end), Some(Ground::Oneself));
}

#[test]
fn people_are_made_and_deleted_by_their_own_administrators() {
    let make = |account: &'static str| {
        move |new: &mut Model| {
            new.users.insert(
                name("fresh"),
                crate::model::User { account: name(account), mail: None, label: None },
            );
        }
    };
    assert_eq!(refusal("ada", make("acme")), None);
    assert!(refusal("ada", make("bolt")).is_some());
    assert!(refusal("ada", make("vendor")).is_some());
    assert!(refusal("dora", make("acme")).is_some());
    assert_eq!(refusal("ada", |new| drop(new.users.remove("new"))), None);
    assert_eq!(refusal("bob", |new| drop(new.users.remove("new"))), needs(&[Permission::DeleteUsers]));
    let label = |new: &mut Model| new.users.get_mut("new").unwrap().label = Some("New".parse().unwrap());
    assert_eq!(refusal("ada", label), needs(&[Permission::EditUsers]));
}

#[test]
fn devices_are_managed_where_they_are_and_where_they_go() {
    let relabel = |new: &mut Model| new.devices.get_mut("a1").unwrap().label = Some("Press".parse().unwrap());
    assert_eq!(refusal("wil", relabel), None);
    assert_eq!(refusal("dora", relabel), None);
    assert_eq!(refusal("mo", relabel), needs(&[Permission::ManageDevices]));
    assert_eq!(refusal("ada", relabel), needs(&[Permission::ManageDevices]));
    let moved = |new: &mut Model| new.devices.get_mut("a2").unwrap().account = name("bolt");
    assert_eq!(refusal("dora", moved), None);
    assert_eq!(refusal("wil", moved), needs(&[Permission::ManageDevices]));
    let services = |new: &mut Model| new.devices.get_mut("a1").unwrap().services.clear();
    assert_eq!(refusal("wil", services), None);
    assert_eq!(
        refusal("ada", services),
        needs(&[Permission::ConfigureDevices, Permission::ManageRemoteAccess])
    );
}

#[test]
fn a_machine_that_brings_services_needs_the_permission_to_configure_them() {
    let more = "[role.floor]\ntenant = \"operating_company\"\npermissions = [\"shopfloor.manage\"]\n\
                [assignment.floor]\nuser = \"new\"\nrole = \"floor\"\nscope = { account = \"acme\" }\n\
                [machine-model.mk1]\naccount = \"acme\"\n[machine-model.mk1.service.hmi]\nkind = \"vnc\"\nport = 5900\n";
    let old = model(more);
    let make = |of: Option<&str>| {
        let of = of.map(name);
        move |new: &mut Model| {
            let machine = crate::model::Machine {
                device: name("a1"),
                address: of.as_ref().map(|_| [192, 168, 0, 9].into()),
                model: of,
                label: None,
                services: std::collections::BTreeMap::new(),
            };
            new.machines.insert(name("mixer"), machine);
        }
    };
    assert_eq!(refusal_in(&old, "new", make(None)), None);
    assert_eq!(
        refusal_in(&old, "new", make(Some("mk1"))),
        needs(&[Permission::ConfigureDevices, Permission::ManageRemoteAccess])
    );
    assert_eq!(refusal_in(&old, "wil", make(Some("mk1"))), None);
}

#[test]
fn activating_remote_access_and_managing_a_case_are_two_permissions() {
    let activate = |new: &mut Model| new.cases.get_mut("squeak").unwrap().until = Some(NOW);
    let label =
        |new: &mut Model| new.cases.get_mut("squeak").unwrap().label = Some("Squeaks".parse().unwrap());
    // The operator of the machine may do both, the technician takes part and does not open the machine to himself.
    assert_eq!((refusal("mo", activate), refusal("mo", label)), (None, None));
    assert_eq!(refusal("tim", activate), needs(&[Permission::ActivateRemoteAccess]));
    assert_eq!(refusal("tim", label), None);
    assert_eq!(refusal("bob", label), needs(&[Permission::ManageSharedCases]));
}

#[test]
fn an_activated_case_goes_to_no_other_machine_without_the_permission_to_activate() {
    let mut old = model("[machine.mixer]\ndevice = \"a2\"\n");
    let case = old.cases.get_mut("squeak").unwrap();
    (case.until, case.visibility) = (Some(NOW), crate::model::Visibility::Internal);
    let moved = |new: &mut Model| {
        let case = new.cases.get_mut("squeak").unwrap();
        case.subject = crate::model::CaseSubject::Machine(name("mixer"));
    };
    let shared =
        |new: &mut Model| new.cases.get_mut("squeak").unwrap().visibility = crate::model::Visibility::Shared;
    assert_eq!(refusal_in(&old, "wil", moved), needs(&[Permission::ManageInternalCases]));
    assert_eq!(refusal_in(&old, "wil", shared), needs(&[Permission::ManageInternalCases]));
    shared(&mut old);
    // Who takes part in a case may give it another machine, but not with the door open.
    assert_eq!(refusal_in(&old, "tim", moved), needs(&[Permission::ActivateRemoteAccess]));
    assert_eq!(refusal_in(&old, "wil", moved), None);
    old.cases.get_mut("squeak").unwrap().until = None;
    assert_eq!(refusal_in(&old, "tim", moved), None);
}

#[test]
fn what_belongs_to_the_installation_is_its_operators() {
    let category = |new: &mut Model| new.categories.get_mut("look").unwrap().record = true;
    assert_eq!(refusal("vera", category), Some(Ground::Operator));
    let role = |new: &mut Model| {
        new.roles.get_mut("planner").unwrap().permissions.insert(Permission::ReadDocuments);
    };
    assert_eq!(refusal("vera", role), Some(Ground::Operator));
    let root = |new: &mut Model| drop(new.accounts.insert(name("other"), new.accounts["vendor"].clone()));
    assert_eq!(refusal("dora", root), Some(Ground::Operator));
}

#[test]
fn a_reader_reads_the_own_company_and_writes_nothing() {
    let model = model("");
    let dan = rights(&model, "dan");
    let seen = |kind| {
        model
            .names(kind)
            .into_iter()
            .filter(|name| dan.sees(kind, name))
            .map(Name::as_str)
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(EntityKind::Device), ["a1", "a2"]);
    assert_eq!(seen(EntityKind::Machine), ["filler"]);
    assert_eq!(seen(EntityKind::User), ["ada", "dan", "mo", "new", "wil"]);
    assert_eq!(seen(EntityKind::Account), ["acme"]);
    assert_eq!(seen(EntityKind::Assignment), ["ada", "crew", "dan", "wil"]);
    assert_eq!(seen(EntityKind::Case), ["squeak"]);
    assert_eq!(seen(EntityKind::Category), ["look", "touch"]);
    assert_eq!(seen(EntityKind::Role), [""; 0]);
    for kind in EntityKind::ALL {
        for entity in model.names(*kind) {
            let mut new = model.clone();
            new.remove(*kind, entity);
            assert!(!dan.judge(&new).is_empty(), "{kind} {entity}");
        }
    }
}

#[test]
fn somebody_without_a_role_sees_themselves_and_their_company() {
    let model = model("");
    let new = rights(&model, "new");
    for kind in EntityKind::ALL {
        let seen: Vec<&str> =
            model.names(*kind).into_iter().filter(|name| new.sees(*kind, name)).map(Name::as_str).collect();
        let own = [(EntityKind::Account, "acme"), (EntityKind::User, "new")];
        let expected: Vec<&str> = own.iter().filter(|(of, _)| of == kind).map(|(_, name)| *name).collect();
        assert_eq!(seen, expected, "{kind}");
    }
}

#[test]
fn a_role_that_is_over_or_not_begun_gives_nothing() {
    let mut model = model("");
    let assign = model.assignments.get_mut("ada").unwrap();
    (assign.from, assign.until) = (Some(NOW), Some(UnixTime::from_secs(NOW.as_secs() + 1)));
    assert!(rights(&model, "ada").over(Permission::AssignRoles, Site::Account(&name("acme"))));
    for now in [NOW.as_secs() - 1, NOW.as_secs() + 1] {
        let rights = Rights::of(&model, &name("ada"), UnixTime::from_secs(now)).unwrap();
        assert!(!rights.over(Permission::AssignRoles, Site::Account(&name("acme"))));
    }
    assert!(Rights::of(&model, &name("nobody"), NOW).is_none());
}
