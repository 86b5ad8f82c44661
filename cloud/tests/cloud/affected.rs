//! Which devices an edit is said to affect: never too few, and few where the edit is narrow.

use std::collections::{BTreeMap, BTreeSet};

use postern_cloud::compile::{Compiler, Content, Enrolled, Roster, affected};
use postern_cloud::fleet;
use postern_cloud::model::{
    Account, Assignment, Case, CaseSubject, Category, Delegable, Device, DeviceGroup, Effect, Entry,
    GroupType, Machine, MachineModel, Member, Membership, Model, Offer, Role, Scope, ScopeNode, Selection,
    Service, Subject, Template, Tenant, User, UserGroup, Visibility,
};
use postern_protocol::id::UserId;
use postern_protocol::name::Name;
use postern_protocol::policy::{Carries, FreshnessRule, Kind, Mode, Ports, Rules};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::SecretKey;
use postern_protocol::trust::sealed::{SealingKey, SealingSecret};
use proptest::prelude::*;

use crate::gate::Gate;

/// A small generator: the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// A flag that may be left out.
    fn said(&mut self) -> Option<bool> {
        match self.below(3) {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        }
    }

    fn name(&mut self, kind: &str, count: u64) -> Name {
        format!("{kind}{}", self.below(count)).parse().unwrap()
    }

    fn some<T: Ord>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> BTreeSet<T> {
        (0..self.below(4)).map(|_| one(self)).collect()
    }

    fn time(&mut self) -> Option<UnixTime> {
        let time = UnixTime::from_secs(self.below(4) * 100);
        (!self.one_in(2)).then_some(time)
    }

    fn kind(&mut self) -> Kind {
        Kind::ALL[usize::try_from(self.below(3)).unwrap()]
    }

    fn services(&mut self) -> BTreeMap<Name, Service> {
        let names = self.some(|dice| dice.name("s", 3));
        names.into_iter().map(|name| (name, self.service())).collect()
    }

    fn service(&mut self) -> Service {
        self.template().at([10, 0, 0, 1].into())
    }

    fn template(&mut self) -> Template {
        let port = 1 + u16::try_from(self.below(3)).unwrap();
        let view_only = self.one_in(4);
        let offer = match Rules::whole(self.kind()) {
            Some(rules) => Offer::Port { port, rules },
            None => Offer::Flows([Carries::Tcp { ports: Ports::only(port), profile: None }].into()),
        };
        Template {
            tunnels: Service::TUNNELS,
            idle_s: Service::IDLE_S,
            duration_s: Service::DURATION_S,
            view_only,
            offer,
            pages: BTreeMap::new(),
        }
    }

    fn scope(&mut self) -> Scope {
        match self.below(9) {
            0 | 1 => Scope::Account { account: self.name("a", ACCOUNTS), nested: self.one_in(2) },
            2 => Scope::DeviceGroup { group: self.name("dg", 3) },
            3 => Scope::Facility { facility: self.name("f", 2) },
            4 => Scope::Organisation { organisation: self.name("o", 2) },
            5 => Scope::Device { device: self.name("d", DEVICES) },
            6 => Scope::Machine { machine: self.name("m", MACHINES) },
            7 => Scope::AllOf { scopes: (0..self.below(3)).map(|_| self.scope()).collect() },
            _ => Scope::Unknown,
        }
    }

    fn role(&mut self) -> Name {
        if self.one_in(2) { "service-technician".parse().unwrap() } else { self.name("r", 3) }
    }

    fn categories(&mut self) -> BTreeSet<Name> {
        self.some(|dice| dice.name("c", 3))
    }

    fn node(&mut self) -> ScopeNode {
        ScopeNode {
            account: self.name("a", ACCOUNTS),
            machines: self.some(|dice| dice.name("m", MACHINES)),
            devices: self.some(|dice| dice.name("d", DEVICES)),
            label: None,
        }
    }
}

const ACCOUNTS: u64 = 4;
const USERS: u64 = 5;
const DEVICES: u64 = 4;
const MACHINES: u64 = 4;

fn put<T>(map: &mut BTreeMap<Name, T>, name: Name, entity: Option<T>) {
    match entity {
        Some(entity) => drop(map.insert(name, entity)),
        None => drop(map.remove(&name)),
    }
}

/// Replaces, adds or removes one entity, of any kind, in any way; also in ways that the check refuses.
fn edit(model: &mut Model, dice: &mut Dice, removing: bool) {
    let gone = removing && dice.one_in(4);
    let keep = |gone: bool| !gone;
    let (from, until) = (dice.time(), dice.time());
    match dice.below(14) {
        0 => {
            let number = dice.below(ACCOUNTS);
            // Parents have lower numbers: there are no circles.
            let parent = (number > 0 && !dice.one_in(4)).then(|| dice.name("a", number));
            let recording_key = (!dice.one_in(4)).then(|| recording_key(dice.one_in(2)));
            let account = Account {
                tenant: Tenant::OperatingCompany,
                parent,
                recording_key,
                delegable: Delegable::default(),
                label: None,
            };
            put(&mut model.accounts, format!("a{number}").parse().unwrap(), keep(gone).then_some(account));
        }
        1 => {
            let user = User { account: dice.name("a", ACCOUNTS), mail: None, label: None };
            put(&mut model.users, dice.name("u", USERS), keep(gone).then_some(user));
        }
        2 => {
            let members = dice.some(|dice| dice.name("u", USERS));
            let members = members.into_iter().map(|user| (user, Member { until: dice.time() })).collect();
            let group = UserGroup { account: dice.name("a", ACCOUNTS), members, label: None };
            put(&mut model.user_groups, dice.name("g", 3), keep(gone).then_some(group));
        }
        3 => {
            let names = dice.some(|dice| dice.name("s", 3));
            let services = names.into_iter().map(|name| (name, dice.template())).collect();
            let model_of = MachineModel { account: dice.name("a", ACCOUNTS), label: None, services };
            put(&mut model.machine_models, dice.name("t", 2), keep(gone).then_some(model_of));
        }
        4 => {
            let device = Device {
                account: dice.name("a", ACCOUNTS),
                label: None,
                closed: dice.one_in(8),
                limits: Device::LIMITS,
                freshness: FreshnessRule {
                    offline_s: if dice.one_in(8) { 0 } else { 3600 },
                    ..Device::FRESHNESS
                },
                services: dice.services(),
            };
            put(&mut model.devices, dice.name("d", DEVICES), keep(gone).then_some(device));
        }
        5 => {
            let machine = Machine {
                device: dice.name("d", DEVICES),
                model: dice.one_in(2).then(|| dice.name("t", 2)),
                address: (!dice.one_in(4)).then_some([10, 0, 0, 2].into()),
                label: None,
                services: dice.services(),
            };
            put(&mut model.machines, dice.name("m", MACHINES), keep(gone).then_some(machine));
        }
        6 => {
            let members = dice.some(|dice| dice.name("u", USERS));
            let membership = |dice: &mut Dice| Membership {
                role: dice.role(),
                categories: dice.categories(),
                until: dice.time(),
                offline: dice.said(),
            };
            let group = DeviceGroup {
                account: dice.name("a", ACCOUNTS),
                group_type: GroupType::Project,
                devices: dice.some(|dice| dice.name("d", DEVICES)),
                members: members.into_iter().map(|user| (user, membership(dice))).collect(),
                label: None,
            };
            put(&mut model.device_groups, dice.name("dg", 3), keep(gone).then_some(group));
        }
        7 => {
            let node = dice.node();
            put(&mut model.facilities, dice.name("f", 2), keep(gone).then_some(node));
        }
        8 => {
            let node = dice.node();
            put(&mut model.organisations, dice.name("o", 2), keep(gone).then_some(node));
        }
        9 => {
            let category = Category {
                kinds: dice.some(Dice::kind),
                services: dice.some(|dice| dice.name("s", 3)),
                mode: if dice.one_in(3) { Mode::ViewOnly } else { Category::MODE },
                record: dice.one_in(10),
                ..Category::default()
            };
            put(&mut model.categories, dice.name("c", 3), keep(gone).then_some(category));
        }
        10 => {
            let role = Role {
                tenant: None,
                permissions: BTreeSet::new(),
                categories: dice.categories(),
                second_factor_s: dice.one_in(2).then_some(60),
                needs_case: dice.one_in(4),
                offline: dice.one_in(2),
                ends: dice.one_in(4).then_some(UnixTime::from_secs(250)),
                label: None,
            };
            put(&mut model.roles, dice.name("r", 3), keep(gone).then_some(role));
        }
        11 => {
            let subject = match dice.one_in(2) {
                true => Subject::User(dice.name("u", USERS)),
                false => Subject::Group(dice.name("g", 3)),
            };
            let (role, categories, scope) = (dice.role(), dice.categories(), dice.scope());
            let (needs_case, offline) = (dice.one_in(4), dice.said());
            let needs_approval = dice.one_in(4);
            let assignment = Assignment {
                subject,
                role,
                categories,
                scope,
                from,
                until,
                needs_case,
                needs_approval,
                offline,
            };
            put(&mut model.assignments, dice.name("x", 6), keep(gone).then_some(assignment));
        }
        12 => {
            let selection = match dice.one_in(2) {
                true => Selection::Category(dice.name("c", 3)),
                false => Selection::Service(dice.name("s", 3)),
            };
            let entry = Entry {
                user: dice.name("u", USERS),
                effect: if dice.one_in(2) { Effect::Allow } else { Effect::Deny },
                selection,
                scope: (!dice.one_in(4)).then(|| dice.scope()),
                from,
                until,
                second_factor_s: dice.one_in(4).then_some(60),
                needs_approval: dice.one_in(4),
                offline: dice.one_in(4),
            };
            put(&mut model.entries, dice.name("e", 4), keep(gone).then_some(entry));
        }
        _ => {
            let subject = match dice.one_in(2) {
                true => CaseSubject::Machine(dice.name("m", MACHINES)),
                false => CaseSubject::Device(dice.name("d", DEVICES)),
            };
            let visibility = if dice.one_in(4) { Visibility::Internal } else { Visibility::Shared };
            let case = Case { subject, visibility, from, until, label: None };
            put(&mut model.cases, dice.name("k", 3), keep(gone).then_some(case));
        }
    }
}

fn everybody() -> Roster {
    let mut roster = Roster::default();
    for number in 0..u8::try_from(USERS).unwrap() {
        let keys = [SecretKey::from_seed([number + 1; 32]).unwrap().public()].into();
        let enrolled =
            Enrolled { id: UserId::new([number; 8]), keys, disabled: false, passes_from: UnixTime::EPOCH };
        roster.users.insert(format!("u{number}").parse().unwrap(), enrolled);
    }
    roster
}

fn recording_key(first: bool) -> SealingKey {
    SealingSecret::for_recordings(&[u8::from(first); 32].into()).unwrap().public()
}

/// What each device gets, or why it gets nothing.
fn contents(model: &Model, roster: &Roster) -> BTreeMap<Name, Result<Content, String>> {
    let compiler = Compiler::new(model, roster);
    let names = (0..DEVICES).map(|number| format!("d{number}").parse().unwrap());
    names
        .map(|name| {
            let content = compiler.compile(&name).map_err(|error| error.to_string());
            (name, content)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_device_whose_policy_differs_is_always_among_the_affected(seed in any::<u64>(), edits in 1u32..4) {
        let (roster, mut dice) = (everybody(), Dice(seed));
        let mut old = Model::default();
        (0..120).for_each(|_| edit(&mut old, &mut dice, false));
        let mut new = old.clone();
        (0..edits).for_each(|_| edit(&mut new, &mut dice, true));
        let (before, after) = (contents(&old, &roster), contents(&new, &roster));
        let found = affected(&old, &new);
        let few: Vec<&Name> = after.keys().filter(|_| dice.below(3) == 0).collect();
        let among = Compiler::among(&new, &roster, few.iter().copied());
        for device in few {
            prop_assert_eq!(&among.compile(device).map_err(|error| error.to_string()), &after[device], "{}", device);
        }
        for (device, content) in &before {
            prop_assert!(after[device] == *content || found.contains(device), "{device} {found:?}");
        }
    }
}

/// The worlds above would show nothing if little were granted in them.
#[test]
fn the_random_worlds_have_grants_prohibitions_and_cases_that_edits_change() {
    let roster = everybody();
    let (mut users, mut bans, mut cases, mut changed) = (0, 0, 0, 0);
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut old = Model::default();
        (0..120).for_each(|_| edit(&mut old, &mut dice, false));
        let mut new = old.clone();
        edit(&mut new, &mut dice, true);
        let (before, after) = (contents(&old, &roster), contents(&new, &roster));
        changed += before.iter().filter(|(device, content)| after[*device] != **content).count();
        let gate = Gate::of(old);
        // Some cannot be compiled: they are to record what no device records.
        for device in before.iter().filter_map(|(device, content)| content.is_ok().then_some(device)) {
            let index = gate.index(device.as_str());
            users += index.snapshot().users.len();
            bans += index.snapshot().prohibitions.len();
            cases += index.snapshot().cases.len();
        }
    }
    assert!(users > 250 && bans > 15 && cases > 30 && changed > 50, "{users} {bans} {cases} {changed}");
}

const FLEET: &str = r#"
[account.vendor]
tenant = "service_provider"
[account.plant]
tenant = "operating_company"
parent = "vendor"
[user.tom]
account = "vendor"
[user.ida]
account = "vendor"
[user.otto]
account = "plant"
[user-group.team]
account = "vendor"
members = ["tom"]
[machine-model.press-9]
account = "vendor"
[machine-model.press-9.service.hmi]
kind = "vnc"
port = 5900
[device.d1]
account = "plant"
[device.d1.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d2]
account = "plant"
[device.d2.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d3]
account = "vendor"
[device.d3.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d4]
account = "vendor"
[machine.m4]
device = "d4"
model = "press-9"
address = "10.0.0.2"
[device-group.north]
account = "vendor"
type = "region"
devices = ["d1", "d3"]
[facility.hall]
account = "plant"
devices = ["d2"]
[category.screen]
kinds = ["vnc"]
[category.pages]
kinds = ["http"]
[role.servicing]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screen"]
[role.operating]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["screen"]
[assignment.team]
group = "team"
role = "servicing"
scope = { device-group = "north" }
[assignment.otto]
user = "otto"
role = "operating"
scope = { account = "plant" }
[entry.no]
user = "otto"
effect = "deny"
category = "screen"
scope = { device = "d2" }
[case.c1]
device = "d3"
visibility = "shared"
"#;

fn after(from: &str, to: &str) -> Vec<String> {
    assert!(FLEET.contains(from), "{from}");
    let (old, new) =
        (fleet::read(FLEET, &[]).unwrap(), fleet::read(&FLEET.replacen(from, to, 1), &[]).unwrap());
    let found = affected(&old, &new);
    assert_eq!(affected(&new, &old), found);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_model_affects_nothing() {
    assert_eq!(after("[account.vendor]", "[account.vendor]"), [""; 0]);
}

#[test]
fn a_label_or_permission_or_page_affects_nothing() {
    for (from, to) in [
        ("[device.d1]\n", "[device.d1]\nlabel = \"One\"\n"),
        ("[user.tom]\n", "[user.tom]\nlabel = \"Tom\"\n"),
        ("[account.plant]\n", "[account.plant]\nlabel = \"Plant\"\n"),
        ("[machine.m4]\n", "[machine.m4]\nlabel = \"Four\"\n"),
        ("type = \"region\"", "type = \"division\""),
        ("[category.pages]\n", "[category.pages]\npages = [\"info\"]\n"),
        ("permissions = [\"remote-access.use\"]", "permissions = [\"remote-access.use\", \"users.show\"]"),
        ("[facility.hall]\n", "[facility.hall]\nlabel = \"Hall\"\n"),
        // A case that is not activated opens nothing, whatever it is called.
        ("[case.c1]\n", "[case.c1]\nlabel = \"Leak\"\n"),
        ("visibility = \"shared\"", "visibility = \"internal\""),
    ] {
        assert_eq!(after(from, to), [""; 0], "{to}");
    }
}

#[test]
fn an_edit_of_a_group_affects_the_scopes_of_its_assignments_alone() {
    assert_eq!(after("members = [\"tom\"]", "members = [\"tom\", \"ida\"]"), ["d1", "d3"]);
    assert_eq!(
        after(
            "members = [\"tom\"]",
            "members = []\n[user-group.team.member.tom]\nuntil = 2027-01-01T00:00:00Z"
        ),
        ["d1", "d3"]
    );
}

#[test]
fn a_device_that_joins_or_leaves_a_group_is_the_only_one_affected() {
    assert_eq!(after(r#"devices = ["d1", "d3"]"#, r#"devices = ["d1", "d3", "d4"]"#), ["d4"]);
    assert_eq!(after(r#"devices = ["d1", "d3"]"#, r#"devices = ["d1"]"#), ["d3"]);
    assert_eq!(after("devices = [\"d2\"]", "devices = [\"d2\"]\nmachines = []"), [""; 0]);
    assert_eq!(after("devices = [\"d2\"]", "devices = [\"d1\"]"), ["d1", "d2"]);
}

#[test]
fn a_membership_affects_the_devices_of_its_group() {
    let with = "[device-group.north.member.ida]\nrole = \"servicing\"\n[facility.hall]";
    assert_eq!(after("[facility.hall]", with), ["d1", "d3"]);
}

#[test]
fn an_edit_of_one_device_or_machine_affects_that_one() {
    assert_eq!(after("[device.d1]\n", "[device.d1]\nclosed = true\n"), ["d1"]);
    assert_eq!(after("[device.d1]\n", "[device.d1]\ntunnels = 3\n"), ["d1"]);
    assert_eq!(after("address = \"10.0.0.2\"", "address = \"10.0.0.3\""), ["d4"]);
    assert_eq!(after("device = \"d4\"\nmodel", "device = \"d3\"\nmodel"), ["d3", "d4"]);
    assert_eq!(after("port = 5900", "port = 5901"), ["d4"]);
    assert_eq!(after("[device.d4]\n", "[device.d5]\naccount = \"vendor\"\n[device.d4]\n"), ["d5"]);
}

#[test]
fn a_rule_affects_the_scope_that_it_had_and_the_one_that_it_has() {
    assert_eq!(after("scope = { account = \"plant\" }", "scope = { device = \"d1\" }"), ["d1", "d2"]);
    assert_eq!(after("role = \"servicing\"", "role = \"tenant-admin\""), ["d1", "d3"]);
    assert_eq!(
        after("scope = { device-group = \"north\" }", "scope = { device = \"d4\" }"),
        ["d1", "d3", "d4"]
    );
}

#[test]
fn a_role_or_category_affects_what_is_given_with_it() {
    let role = "[role.operating]\ntenant = \"operating_company\"\n";
    assert_eq!(after(role, &format!("{role}second-factor = \"1h\"\n")), ["d1", "d2"]);
    assert_eq!(
        after("[category.screen]\nkinds = [\"vnc\"]", "[category.screen]\nkinds = [\"vpn\"]"),
        ["d1", "d2", "d3"]
    );
    assert_eq!(after("[category.pages]\nkinds = [\"http\"]", "[category.pages]\nkinds = [\"vpn\"]"), [""; 0]);
}

#[test]
fn a_denial_affects_where_its_user_can_be_within_its_scope() {
    assert_eq!(
        after("effect = \"deny\"\ncategory = \"screen\"", "effect = \"deny\"\nservice = \"hmi\""),
        ["d2"]
    );
    assert_eq!(after("scope = { device = \"d2\" }\n[case", "[case"), ["d1", "d2"]);
    assert_eq!(after("[entry.no]\nuser = \"otto\"", "[entry.no]\nuser = \"ida\""), ["d2"]);
}

#[test]
fn a_case_affects_its_device_once_it_is_activated() {
    assert_eq!(
        after("visibility = \"shared\"", "visibility = \"shared\"\nuntil = 2027-01-01T00:00:00Z"),
        ["d3"]
    );
}

#[test]
fn a_user_who_changes_companies_affects_what_they_could_reach() {
    let old = fleet::read(FLEET, &[]).unwrap();
    let mut new = old.clone();
    new.users.get_mut("otto").unwrap().account = "vendor".parse().unwrap();
    assert_eq!(affected(&old, &new).iter().map(Name::as_str).collect::<Vec<_>>(), ["d1", "d2"]);
    new.users.remove("otto");
    assert_eq!(affected(&old, &new).iter().map(Name::as_str).collect::<Vec<_>>(), ["d1", "d2"]);
}

#[test]
fn an_account_that_moves_affects_the_devices_in_it_and_no_others() {
    let old = fleet::read(FLEET, &[]).unwrap();
    let mut new = old.clone();
    new.accounts.get_mut("plant").unwrap().parent = None;
    assert_eq!(affected(&old, &new).iter().map(Name::as_str).collect::<Vec<_>>(), ["d1", "d2"]);
}
