//! A model is written as a fleet file that reads back to the same model.

use std::collections::{BTreeMap, BTreeSet};

use postern_cloud::fleet;
use postern_cloud::model::{
    Account, Assignment, Case, CaseSubject, Category, Delegable, Device, DeviceGroup, Effect, EntityKind,
    Entry, GroupType, Machine, MachineModel, Member, Membership, Model, Offer, Page, Permission, Role, Scope,
    ScopeNode, Selection, Service, Subject, Template, Tenant, User, UserGroup, Visibility,
};
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::snapshot::rules::{Methods, ModbusSpan, ModbusTable, UnitSpan};
use postern_protocol::policy::{
    Allow, Carries, Credential, Destination, DeviceLimits, FreshnessRule, HttpRules, Kind, ModbusRules, Mode,
    Network, PathLog, Pattern, Ports, Profile, Reach, Rules, Scheme, Target, Upstream, VncRules, VpnRules,
    WebsocketRules,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::{SealingKey, SealingSecret};
use postern_protocol::wire::text::Text;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn read(text: &str) -> Model {
    match fleet::read(text, &[]) {
        Ok(model) => model,
        Err(complaints) => panic!("{}\n{text}", complaints[0].line("f")),
    }
}

fn recording_key() -> SealingKey {
    SealingSecret::for_recordings(&[7; 32].into()).unwrap().public()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn an_export_leaves_out_what_is_the_default_and_keeps_its_order() {
    let text = r#"[account.acme]
tenant = "operating_company"

[user."anna.b"]
account = "acme"
label = "Anna \"B\" \\ Söhne 株"

[user.otto]
account = "acme"

[user-group.all]
account = "acme"
members = ["anna.b"]
[user-group.all.member.otto]
until = 2030-01-01T00:00:00Z

[device."press.7"]
account = "acme"
closed = true
tunnels = 8
[device."press.7".service.web]
kind = "http"
target = "[2001:db8::1]:80"
idle = "90s"
duration = "4h"
[device."press.7".service.web.page.home]
path = "/"

[category.screen]
kinds = ["vnc", "http"]

[assignment.a]
group = "all"
role = "machine-operator"
categories = ["screen"]
scope = { all-of = [{ account = "acme", nested = true }, { device = "press.7" }] }
until = 2030-01-01T00:00:00Z

[case.help]
device = "press.7"
visibility = "shared"
"#;
    assert_eq!(fleet::write(&read(text)).unwrap(), text);
    let verbose = text.replace("idle = \"90s\"", "idle = \"1m30s\"\ntunnels = 16");
    let verbose = verbose.replace("closed = true", "closed = true\ntunnels-per-user = 16");
    assert_eq!(fleet::write(&read(&verbose)).unwrap(), text);
}

#[test]
fn long_lists_take_a_line_for_each_entry() {
    let users: Vec<String> = (10..30).map(|n| format!("user-{n}")).collect();
    let mut text = "[account.acme]\ntenant = \"operating_company\"\n".to_owned();
    users.iter().for_each(|user| text.push_str(&format!("\n[user.{user}]\naccount = \"acme\"\n")));
    let members: String = users.iter().map(|user| format!("    \"{user}\",\n")).collect();
    text.push_str(&format!("\n[user-group.g]\naccount = \"acme\"\nmembers = [\n{members}]\n"));
    assert_eq!(fleet::write(&read(&text)).unwrap(), text);
}

#[test]
fn a_scope_that_only_a_later_version_can_spell_is_named_and_not_dropped() {
    let mut model = read(
        "[account.acme]\ntenant = \"operating_company\"\n[user.o]\naccount = \"acme\"\n[assignment.a]\nuser = \"o\"\n\
         role = \"data-analyst\"\nscope = { account = \"acme\" }\n",
    );
    let scope = Scope::AllOf { scopes: vec![Scope::Unknown] };
    model.assignments.get_mut(&name("a")).unwrap().scope = scope;
    let unwritable = fleet::write(&model).unwrap_err();
    assert_eq!(unwritable, fleet::Unwritable { kind: EntityKind::Assignment, name: name("a") });
}

#[test]
fn a_moment_beyond_the_calendar_is_the_last_of_the_calendar() {
    let mut model = read(
        "[account.acme]\ntenant = \"operating_company\"\n[device.d]\naccount = \"acme\"\n[case.c]\ndevice = \"d\"\n\
         visibility = \"shared\"\nuntil = 2030-01-01T00:00:00Z\n",
    );
    model.cases.get_mut(&name("c")).unwrap().until = Some(UnixTime::from_secs(u64::MAX));
    let again = read(&fleet::write(&model).unwrap());
    assert_eq!(again.cases[&name("c")].until, Some(UnixTime::from_secs(253_402_207_200)));
}

// What stands in no account and in no relation to anything else is drawn freely; what refers to something draws its
// referent from one small company, so that the model is sound and the reader's checks agree.

fn labels() -> impl Strategy<Value = Option<Label>> {
    let hostile =
        ["\"", "\\", "a\"]\n", "é 株 🦀", "# no comment", "'''", "\\u0041", "x = 1", "a'b\"c", " [x] "];
    let text = prop_oneof![select(hostile.to_vec()).prop_map(str::to_owned), "[ -~]{1,20}"];
    proptest::option::of(text.prop_filter_map("no label", |text| text.parse::<Label>().ok()))
}

fn names() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9._-]{0,6}".prop_map(|text| name(&text))
}

fn times() -> impl Strategy<Value = Option<UnixTime>> {
    proptest::option::of((0_u64..253_402_207_200).prop_map(UnixTime::from_secs))
}

fn windows() -> impl Strategy<Value = (Option<UnixTime>, Option<UnixTime>)> {
    (times(), times()).prop_map(|(from, until)| match (from, until) {
        (Some(from), Some(until)) if from == until => (Some(from), None),
        (Some(from), Some(until)) => (Some(from.min(until)), Some(from.max(until))),
        window => window,
    })
}

fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..=31_622_400, select(vec![60, 900, 3600, 43_200, 90])]
}

fn pages() -> impl Strategy<Value = BTreeMap<Name, Page>> {
    let page = (path(), methods(), proptest::collection::btree_set(pattern(), 0..3));
    let page = page.prop_map(|(path, methods, assets)| Page { path, methods, assets });
    proptest::collection::btree_map(names(), page, 0..3)
}

fn path() -> impl Strategy<Value = Pattern> {
    "(/[a-z0-9-]{1,5}){1,3}/?".prop_map(|text| text.parse().unwrap())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "(/[a-z]{1,3}|/\\*){0,3}(/\\*\\*|/)".prop_map(|text| text.parse().unwrap())
}

fn methods() -> impl Strategy<Value = Methods> {
    prop_oneof![Just(Methods::READ), (1_u8..0x80).prop_map(|bits| bits.try_into().unwrap())]
}

fn texts(form: &'static str) -> impl Strategy<Value = Vec<Text>> {
    proptest::collection::btree_set(form, 0..3)
        .prop_map(|texts| texts.iter().map(|it| Text::clean(it)).collect())
}

fn upstream() -> impl Strategy<Value = Upstream> {
    let pins =
        proptest::collection::btree_set(any::<[u8; 32]>(), 1..4).prop_map(|pins| pins.into_iter().collect());
    (option::of("[a-z.]{1,9}(:[0-9]{2})?"), option::of(pins))
        .prop_map(|(host, tls)| Upstream { host: host.map(|host| Text::clean(&host)), tls })
}

fn login() -> impl Strategy<Value = Credential> {
    let scheme = select(vec![Scheme::Basic, Scheme::Digest]);
    (scheme, "[a-z ]{1,5}", names()).prop_map(|(scheme, user, secret)| Credential {
        scheme,
        user: Text::clean(&user),
        secret,
    })
}

fn http() -> impl Strategy<Value = HttpRules> {
    let allow = (pattern(), methods(), option::of(texts("[a-z]{1,4}")))
        .prop_map(|(path, methods, query)| Allow { path, methods, query });
    let allow = proptest::collection::btree_set(allow, 1..4).prop_map(|rows| rows.into_iter().collect());
    let whole = |methods| vec![Allow { path: Pattern::everything(), methods, query: None }];
    let allow = prop_oneof![Just(whole(Methods::ALL)), Just(whole(Methods::READ)), allow];
    let log = select(vec![PathLog::Full, PathLog::Prefix, PathLog::None]);
    (upstream(), path(), allow, option::of(login()), any::<bool>(), log).prop_map(
        |(upstream, start, allow, credential, identity, log)| {
            let start = Text::clean(start.as_str());
            HttpRules { upstream, start, allow, credential, identity, log }
        },
    )
}

fn websocket() -> impl Strategy<Value = WebsocketRules> {
    let paths =
        proptest::collection::btree_set(pattern(), 0..3).prop_map(|paths| paths.into_iter().collect());
    let paths = prop_oneof![Just(WebsocketRules::whole().paths), paths];
    let sizes = prop_oneof![
        Just((WebsocketRules::FRAME_BYTES, WebsocketRules::MESSAGE_BYTES)),
        (1_u32..500_000, 0_u32..900_000).prop_map(|(frame, more)| (frame, frame + more)),
    ];
    let origin =
        option::of("https?://[a-z]{1,5}").prop_map(|origin| origin.map(|origin| Text::clean(&origin)));
    (upstream(), paths, texts("[a-z.]{1,5}"), (origin, option::of(login())), sizes).prop_map(
        |(upstream, paths, subprotocols, (origin, credential), (frame_bytes, message_bytes))| {
            WebsocketRules { upstream, paths, subprotocols, origin, credential, frame_bytes, message_bytes }
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    let vnc = (option::of(names()), any::<u16>())
        .prop_map(|(password, writers)| Rules::Vnc(VncRules { password, writers }));
    let (http, websocket) = (http().prop_map(Rules::Http), websocket().prop_map(Rules::Websocket));
    let whole = select(Kind::ALL.iter().filter_map(|kind| Rules::whole(*kind)).collect::<Vec<_>>());
    prop_oneof![whole, vnc, http, websocket]
}

fn profile() -> impl Strategy<Value = Profile> {
    let all = [ModbusTable::Coils, ModbusTable::DiscreteInputs, ModbusTable::HoldingRegisters];
    let span = move |table| {
        (0_u16..100, 0_u16..100).prop_map(move |(first, more)| ModbusSpan {
            table,
            first,
            last: first + more,
        })
    };
    let reads = all.map(span).prop_map(|spans| spans.to_vec());
    let writes = span(ModbusTable::Coils).prop_map(|span| vec![span]);
    let units = (0_u8..9, 0_u8..9).prop_map(|(first, more)| vec![UnitSpan { first, last: first + more }]);
    let some = (units, reads, writes).prop_map(|(units, reads, writes)| ModbusRules { units, reads, writes });
    prop_oneof![Just(ModbusRules::read_only()), some].prop_map(Profile::Modbus)
}

fn carries() -> impl Strategy<Value = Carries> {
    let ports = || (1_u16..2000, 0_u16..200).prop_map(|(first, more)| Ports { first, last: first + more });
    prop_oneof![
        (ports(), option::of(profile())).prop_map(|(ports, profile)| Carries::Tcp { ports, profile }),
        (1_u16..).prop_map(|port| Carries::Tcp { ports: Ports::only(port), profile: None }),
        ports().prop_map(|ports| Carries::Udp { ports }),
        Just(Carries::Icmp),
    ]
}

fn vpn() -> impl Strategy<Value = VpnRules> {
    let net = (any::<u8>(), 8_u8..=32).prop_map(|(host, prefix)| {
        let ip = (0x0a00_0000 | u32::from(host)) & !u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        Network { ip: std::net::Ipv4Addr::from_bits(ip).into(), prefix }
    });
    let destination = (net, carries()).prop_map(|(net, carries)| Destination { net, carries });
    proptest::collection::btree_set(destination, 1..6)
        .prop_map(|destinations| VpnRules { destinations: destinations.into_iter().collect() })
}

fn offers() -> impl Strategy<Value = Offer> {
    let port = (1_u16.., rules()).prop_map(|(port, rules)| Offer::Port { port, rules });
    let flows = proptest::collection::btree_set(carries(), 1..4).prop_map(Offer::Flows);
    prop_oneof![3 => port, 1 => flows]
}

fn templates() -> impl Strategy<Value = Template> {
    (offers(), 1_u16.., seconds(), seconds(), (any::<bool>(), pages())).prop_map(
        |(offer, tunnels, idle_s, duration_s, (view_only, pages))| {
            let pages = if offer.kind() == Kind::Http { pages } else { BTreeMap::new() };
            Template { tunnels, idle_s, duration_s, view_only, offer, pages }
        },
    )
}

fn services() -> impl Strategy<Value = BTreeMap<Name, Service>> {
    let ips = select(vec!["10.0.0.1", "192.168.1.20", "2001:db8::7", "fe80::1"]);
    let service = (templates(), ips, option::weighted(0.2, vpn())).prop_map(|(template, ip, flows)| {
        let service = template.at(ip.parse().unwrap());
        match flows {
            Some(flows) => Service { reach: Reach::Flows(flows), pages: BTreeMap::new(), ..service },
            None => service,
        }
    });
    proptest::collection::btree_map(names(), service, 0..3)
}

fn permissions() -> impl Strategy<Value = BTreeSet<Permission>> {
    let tenant = Tenant::OperatingCompany;
    let may: Vec<Permission> = Permission::ALL.iter().copied().filter(|one| one.is_for(tenant)).collect();
    let count = may.len();
    proptest::sample::subsequence(may, 0..count).prop_map(|mut all| {
        all.push(Permission::UseRemoteAccess);
        all.into_iter().collect()
    })
}

/// What the relations of a model are drawn from.
#[derive(Clone, Debug)]
struct Draws {
    picks: Vec<Index>,
    next: usize,
}

impl Draws {
    fn index(&mut self) -> Index {
        self.next += 1;
        self.picks[self.next % self.picks.len()]
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.index().index(all.len())].clone()
    }

    fn some<T: Clone + Ord>(&mut self, all: &[T]) -> BTreeSet<T> {
        all.iter().filter(|_| self.index().index(2) == 0).cloned().collect()
    }

    fn flag(&mut self) -> bool {
        self.index().index(2) == 0
    }
}

const ACME: &str = "acme";

prop_compose! {
    /// One company with some of everything, and another one nested in it that has devices.
    pub(crate) fn models()(
        people in proptest::collection::btree_map(names(), labels(), 1..5),
        devices in proptest::collection::btree_map(names(), (labels(), 1_u16.., 1_u16.., services()), 1..4),
        machines in proptest::collection::btree_map("m[a-z]{0,3}".prop_map(|text| name(&text)), (labels(), services()), 0..3),
        machine_models in proptest::collection::btree_map(names(), (labels(), proptest::collection::btree_map("t[a-z]{1,3}".prop_map(|text| name(&text)), templates(), 0..3)), 1..3),
        places in proptest::collection::btree_map(names(), labels(), 1..4),
        categories in proptest::collection::btree_map(names(), (labels(), proptest::sample::subsequence(Kind::ALL.to_vec(), 0..4), proptest::collection::btree_set(names(), 0..3)), 1..4),
        roles in proptest::collection::btree_map("r[a-z]{0,3}".prop_map(|text| name(&text)), (labels(), permissions(), proptest::option::of(seconds())), 1..4),
        grants in proptest::collection::btree_map(names(), (windows(), proptest::option::of(seconds()), labels()), 0..6),
        picks in proptest::collection::vec(any::<Index>(), 64),
    ) -> Model {
        let mut draws = Draws { picks, next: 0 };
        let mut model = Model::default();
        let d = &mut draws;
        let account = name(ACME);
        let label = labels_of(&people);
        let root = Account { tenant: Tenant::OperatingCompany, parent: None, recording_key: Some(recording_key()), delegable: Delegable::default(), label: label.clone() };
        model.accounts.insert(account.clone(), root);
        let inner = Account { tenant: Tenant::OperatingCompany, parent: Some(account.clone()), recording_key: None, delegable: Delegable::default(), label };
        model.accounts.insert(name("acme.inner"), inner);
        model.users = people.iter().map(|(name, label)| (name.clone(), User { account: account.clone(), mail: None, label: label.clone() })).collect();
        model.machine_models = machine_models.into_iter().map(|(name, (label, services))| (name, MachineModel { account: account.clone(), label, services })).collect();
        model.devices = devices.into_iter().map(|(name, (label, tunnels, tunnels_per_user, services))| {
            let account = d.of(&[account.clone(), "acme.inner".parse().unwrap()]);
            let limits = DeviceLimits { tunnels, tunnels_per_user };
            let freshness = d.of(&[Device::FRESHNESS, FreshnessRule { window_s: 86_400, offline_s: 0 }, FreshnessRule { window_s: 60, offline_s: 7_776_000 }]);
            (name, Device { account, label, closed: d.flag(), limits, freshness, services })
        }).collect();
        categories.into_iter().for_each(|(name, (label, kinds, words))| {
            let (kinds, pages) = (kinds.into_iter().collect(), if d.flag() { words.clone() } else { BTreeSet::new() });
            let mode = d.of(&[Category::MODE, Mode::ViewOnly, Mode::WIDEST]);
            model.categories.insert(name, Category { kinds, services: words, pages, mode, record: d.flag(), label });
        });
        let known = Known::of(&model);
        machines.into_iter().for_each(|(name, (label, services))| {
            let (device, machine_model) = (d.of(&known.devices), d.flag().then(|| d.of(&known.models)));
            let address = Some("10.1.2.3".parse().unwrap());
            model.machines.insert(name, Machine { device, model: machine_model, address, label, services });
        });
        roles.into_iter().for_each(|(name, (label, permissions, second_factor_s))| {
            let (categories, needs_case) = (d.some(&known.categories), d.flag());
            let tenant = Some(Tenant::OperatingCompany);
            let offline = permissions.contains(&Permission::UseRemoteAccess) && d.flag();
            model.roles.insert(name, Role { tenant, permissions, categories, second_factor_s, needs_case, offline, ends: None, label });
        });
        let custom: Vec<Name> = model.roles.keys().cloned().collect();
        let delegable = Delegable { categories: d.some(&known.categories), roles: d.some(&custom) };
        model.accounts.get_mut("acme.inner").unwrap().delegable = delegable;
        places.into_iter().for_each(|(name, label)| place(&mut model, &known, d, &name, label));
        grants.into_iter().for_each(|(name, (window, second_factor_s, label))| {
            grant(&mut model, &known, d, &name, window, second_factor_s, label);
        });
        model
    }
}

fn labels_of(people: &BTreeMap<Name, Option<Label>>) -> Option<Label> {
    people.values().next().cloned().flatten()
}

/// The names that relations may lead to.
struct Known {
    users: Vec<Name>,
    devices: Vec<Name>,
    models: Vec<Name>,
    categories: Vec<Name>,
}

impl Known {
    fn of(model: &Model) -> Self {
        Self {
            users: model.users.keys().cloned().collect(),
            devices: model.devices.keys().cloned().collect(),
            models: model.machine_models.keys().cloned().collect(),
            categories: model.categories.keys().cloned().collect(),
        }
    }
}

fn place(model: &mut Model, known: &Known, d: &mut Draws, at: &Name, label: Option<Label>) {
    let account = name(ACME);
    let until = |d: &mut Draws| d.flag().then(|| UnixTime::from_secs(d.index().index(4_000_000_000) as u64));
    let members: Vec<Name> = d.some(&known.users).into_iter().collect();
    let group_members = members.iter().map(|user| (user.clone(), Member { until: until(d) })).collect();
    let group = UserGroup { account: account.clone(), members: group_members, label: label.clone() };
    model.user_groups.insert(at.clone(), group);
    let members = members
        .into_iter()
        .map(|user| {
            let role = name("machine-operator");
            let offline = d.of(&[None, Some(false), Some(true)]);
            (user, Membership { role, categories: d.some(&known.categories), until: until(d), offline })
        })
        .collect();
    let (devices, group_type) = (d.some(&known.devices), d.of(&GroupType::ALL));
    let group = DeviceGroup { account: account.clone(), group_type, devices, members, label: label.clone() };
    model.device_groups.insert(at.clone(), group);
    let machines: Vec<Name> = model.machines.keys().cloned().collect();
    let node = ScopeNode { account, machines: d.some(&machines), devices: d.some(&known.devices), label };
    model.facilities.insert(at.clone(), node);
}

fn scope(model: &Model, known: &Known, d: &mut Draws, depth: usize) -> Scope {
    let groups: Vec<Name> = model.device_groups.keys().cloned().collect();
    match d.index().index(if depth < 3 { 6 } else { 5 }) {
        0 => Scope::Account { account: name(ACME), nested: d.flag() },
        1 => Scope::DeviceGroup { group: d.of(&groups) },
        2 => Scope::Facility { facility: d.of(&groups) },
        3 => Scope::Device { device: d.of(&known.devices) },
        4 => match model.machines.keys().next() {
            Some(machine) => Scope::Machine { machine: machine.clone() },
            None => Scope::Account { account: name("acme.inner"), nested: false },
        },
        _ => Scope::AllOf {
            scopes: vec![scope(model, known, d, depth + 1), scope(model, known, d, depth + 1)],
        },
    }
}

fn grant(
    model: &mut Model,
    known: &Known,
    d: &mut Draws,
    at: &Name,
    (from, until): (Option<UnixTime>, Option<UnixTime>),
    second_factor_s: Option<u32>,
    label: Option<Label>,
) {
    let groups: Vec<Name> = model.user_groups.keys().cloned().collect();
    let subject = if d.flag() { Subject::User(d.of(&known.users)) } else { Subject::Group(d.of(&groups)) };
    let (role, categories, offline) = if d.flag() {
        let role = d.of(&model.roles.keys().cloned().collect::<Vec<_>>());
        (role, BTreeSet::new(), d.of(&[None, Some(false)]))
    } else {
        (name("workshop-manager"), d.some(&known.categories), d.of(&[None, Some(false), Some(true)]))
    };
    let place = scope(model, known, d, 0);
    let (needs_case, needs_approval) = (d.flag(), d.flag());
    let assignment = Assignment {
        subject,
        role,
        categories,
        scope: place,
        from,
        until,
        needs_case,
        needs_approval,
        offline,
    };
    model.assignments.insert(at.clone(), assignment);
    let effect = d.of(&Effect::ALL);
    let selection = if d.flag() {
        Selection::Category(d.of(&known.categories))
    } else {
        Selection::Service(name("web.service"))
    };
    let place = (effect == Effect::Allow || d.flag()).then(|| scope(model, known, d, 0));
    let second_factor_s = second_factor_s.filter(|_| effect == Effect::Allow);
    let (user, offline) = (d.of(&known.users), effect == Effect::Allow && d.flag());
    let needs_approval = effect == Effect::Allow && d.flag();
    let entry = Entry {
        user,
        effect,
        selection,
        scope: place,
        from,
        until,
        second_factor_s,
        needs_approval,
        offline,
    };
    model.entries.insert(at.clone(), entry);
    let subject = match model.machines.keys().next() {
        Some(machine) if d.flag() => CaseSubject::Machine(machine.clone()),
        _ => CaseSubject::Device(d.of(&known.devices)),
    };
    model.cases.insert(at.clone(), Case { subject, visibility: d.of(&Visibility::ALL), from, until, label });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_sound_model_reads_back_from_its_export(model in models()) {
        prop_assume!(model.check(&BTreeSet::new()).is_empty());
        let text = fleet::write(&model).unwrap();
        let again = fleet::read(&text, &[]).map_err(|complaints| TestCaseError::fail(complaints[0].line("f")))?;
        prop_assert_eq!(&again, &model);
        prop_assert_eq!(fleet::write(&again).unwrap(), text);
        for kind in EntityKind::ALL {
            for name in model.names(*kind) {
                // One entity at a time, the same comes back.
                let body = fleet::describe(&model, *kind, name).unwrap().unwrap();
                let one = fleet::read_one(*kind, name, &body).map_err(|complaints| TestCaseError::fail(complaints[0].line("f")))?;
                prop_assert_eq!(one.body(*kind, name), model.body(*kind, name));
                prop_assert_eq!(one.rows().len(), 1);
            }
        }
    }
}

#[test]
fn a_target_is_written_as_it_is_read() {
    let target = Target { ip: "2001:db8::7".parse().unwrap(), port: 5900 };
    assert_eq!(std::net::SocketAddr::from(target).to_string(), "[2001:db8::7]:5900");
}
