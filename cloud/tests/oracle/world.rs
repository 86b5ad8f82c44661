//! Random worlds: a small model of everything there is, and the people in it.
//!
//! 1. Companies, people, routers, machines: a few of each, nested where things nest.
//! 2. Groups, places, categories and roles, filled with what lies within their company.
//! 3. Assignments, entries and cases over all of them ([`grants`]).
//!
//! Generation aims at models that hold, and now and then misses: such a world is discarded by [`Model::check`]. All
//! times lie in the hundred seconds around the end of the deprecated role, on a grid of ten seconds, so that edges meet.

mod grants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use postern_cloud::compile::{Approved, Enrolled, Roster};
use postern_cloud::model::{
    Account, Category, Delegable, Device, DeviceGroup, GroupType, Machine, MachineModel, Member, Model,
    Offer, Page, Permission, Role, SERVICE_MANAGER_ENDS, ScopeNode, Service, Template, Tenant, User,
    UserGroup,
};
use postern_protocol::id::{ApprovalId, UserId};
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::snapshot::rules::{Method, Methods};
use postern_protocol::policy::{
    Allow, Carries, Destination, DeviceLimits, FreshnessRule, HttpRules, Kind, ModbusRules, Mode, Network,
    Origin, Ports, Profile, Reach, Rules, Target, VncRules, VpnRules,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::{SealingKey, SealingSecret};

use crate::dice::Dice;
use crate::evaluator::{allowances, services};
use crate::keyring;

/// A model that holds, and who has signed in to it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) roster: Roster,
    /// When the snapshots of its devices expire.
    pub(crate) policy_expires: UnixTime,
}

impl World {
    /// The world of a seed; none where the model does not hold.
    pub(crate) fn of(dice: &mut Dice) -> Option<Self> {
        let model = draft(dice);
        let mut roster = roster(&model, dice);
        approvals(&model, &mut roster, dice);
        let policy_expires = if dice.percent(7) { moment(dice) } else { grid(1000) };
        model.check(&BTreeSet::new()).is_empty().then_some(Self { model, roster, policy_expires })
    }
}

/// A model that may not hold.
pub(crate) fn draft(dice: &mut Dice) -> Model {
    let mut model = Model::default();
    companies(&mut model, dice);
    people(&mut model, dice);
    devices(&mut model, dice);
    machines(&mut model, dice);
    places(&mut model, dice);
    grants::rules(&mut model, dice);
    grants::members(&mut model, dice);
    grants::assignments(&mut model, dice);
    grants::entries(&mut model, dice);
    grants::cases(&mut model, dice);
    model
}

fn companies(model: &mut Model, dice: &mut Dice) {
    let mut depths: Vec<usize> = Vec::new();
    for number in 0..dice.within(2, 4) {
        let parent = (number > 0 && dice.percent(85)).then(|| dice.within(0, number - 1));
        let parent = parent.filter(|parent| depths[*parent] < 2);
        depths.push(parent.map_or(0, |parent| depths[parent] + 1));
        let tenant = match dice.within(0, 19) {
            0 => Tenant::AppDeveloper,
            1..=9 => Tenant::ServiceProvider,
            _ => Tenant::OperatingCompany,
        };
        let parent = parent.map(|parent| name("company", parent));
        let recording_key = parent.is_none().then(recording_key);
        let account =
            Account { tenant, parent, recording_key, delegable: Delegable::default(), label: hidden() };
        model.accounts.insert(name("company", number), account);
    }
}

fn people(model: &mut Model, dice: &mut Dice) {
    for number in 0..dice.within(2, 5) {
        // Who is far out reaches more.
        let account = if dice.percent(45) { name("company", 0) } else { any(&model.accounts, dice) };
        model.users.insert(name("person", number), User { account, mail: None, label: hidden() });
    }
    for number in 0..dice.within(0, 4) {
        let account = any(&model.accounts, dice);
        let mut members = BTreeMap::new();
        for user in users_within(model, &account) {
            if dice.percent(60) {
                members.insert(user, Member { until: sometimes(dice, 35) });
            }
        }
        model.user_groups.insert(name("team", number), UserGroup { account, members, label: hidden() });
    }
}

fn devices(model: &mut Model, dice: &mut Dice) {
    for number in 0..dice.within(1, 4) {
        let mut services = BTreeMap::new();
        for (position, local) in SERVICES.iter().enumerate() {
            if dice.percent(45) {
                services.insert(parsed(local), service(dice, number, position));
            }
        }
        if dice.percent(5) {
            // Looks like a service of a machine.
            services.insert(parsed("mill-0.aux"), service(dice, number, 9));
        }
        let limits = DeviceLimits {
            tunnels: u16::try_from(dice.within(1, 4)).unwrap(),
            tunnels_per_user: u16::try_from(dice.within(1, 3)).unwrap(),
        };
        let freshness = FreshnessRule {
            window_s: *dice.pick(&[60, 900, 900, 3600]).unwrap(),
            offline_s: *dice.pick(&[0, 3600, 604_800, 604_800, 2_592_000]).unwrap(),
        };
        let (account, closed) = (any(&model.accounts, dice), dice.percent(6));
        let device = Device { account, label: hidden(), closed, limits, freshness, services };
        model.devices.insert(name("router", number), device);
    }
}

fn machines(model: &mut Model, dice: &mut Dice) {
    for number in 0..dice.within(0, 2) {
        let mut services = BTreeMap::new();
        for (position, local) in SERVICES.iter().enumerate() {
            if dice.percent(40) {
                let service = service(dice, number, position);
                let template = Template {
                    tunnels: service.tunnels,
                    idle_s: service.idle_s,
                    duration_s: service.duration_s,
                    view_only: service.view_only,
                    offer: offer(&service.reach),
                    pages: service.pages,
                };
                services.insert(parsed(local), template);
            }
        }
        let account = any(&model.accounts, dice);
        model
            .machine_models
            .insert(name("design", number), MachineModel { account, label: hidden(), services });
    }
    for number in 0..dice.within(0, 4) {
        let device = any(&model.devices, dice);
        let account = &model.devices[&device].account;
        let fitting: Vec<Name> = model
            .machine_models
            .iter()
            .filter(|(_, design)| model.is_within(account, &design.account))
            .map(|(name, _)| name.clone())
            .collect();
        let mut services = BTreeMap::new();
        for (position, local) in SERVICES.iter().enumerate() {
            if dice.percent(25) {
                services.insert(parsed(local), service(dice, 10 + number, position));
            }
        }
        let design = dice.pick(&fitting).filter(|_| dice.percent(70)).cloned();
        let address = (design.is_some() || dice.percent(10)).then(|| ip(20 + number));
        let machine = Machine { device, model: design, address, label: hidden(), services };
        model.machines.insert(name("mill", number), machine);
    }
}

fn places(model: &mut Model, dice: &mut Dice) {
    for number in 0..dice.within(0, 4) {
        let account = any(&model.accounts, dice);
        let devices = dice.some(&devices_within(model, &account), 60);
        let group_type = *dice.pick(&GroupType::ALL).unwrap();
        let group = DeviceGroup { account, group_type, devices, members: BTreeMap::new(), label: hidden() };
        model.device_groups.insert(name("fleet", number), group);
    }
    for number in 0..dice.within(0, 4) {
        let account = any(&model.accounts, dice);
        let machines = dice.some(&machines_within(model, &account), 60);
        let devices = dice.some(&devices_within(model, &account), 30);
        let tenant = model.accounts[&account].tenant;
        let node = ScopeNode { account, machines, devices, label: hidden() };
        match tenant {
            Tenant::OperatingCompany => drop(model.facilities.insert(name("site", number), node)),
            Tenant::ServiceProvider => drop(model.organisations.insert(name("branch", number), node)),
            Tenant::AppDeveloper => {}
        }
    }
}

/// Who has signed in: most with a key, some with two or none, some never, some disabled.
fn roster(model: &Model, dice: &mut Dice) -> Roster {
    let mut roster = Roster::default();
    for user in model.users.keys() {
        let keys: &[u8] = match dice.within(0, 24) {
            0 => continue,
            1 | 2 => &[],
            3 | 4 => &[1],
            5..=9 => &[0, 1],
            _ => &[0],
        };
        let number = number_of(user);
        let keys = keys.iter().map(|which| keyring::public_key(number, *which)).collect();
        let enrolled =
            Enrolled { id: id_of(number), keys, disabled: dice.percent(8), passes_from: UnixTime::EPOCH };
        roster.users.insert(user.clone(), enrolled);
    }
    roster
}

/// What was approved: mostly what is demanded, now and then because of something that demands nothing or of somebody else.
fn approvals(model: &Model, roster: &mut Roster, dice: &mut Dice) {
    for device in model.devices.keys() {
        for place in services(model, device) {
            for user in model.users.keys() {
                let demanding: BTreeSet<Origin> = allowances(model, user, device, &place)
                    .into_iter()
                    .filter(|allowance| allowance.needs_approval || dice.percent(10))
                    .map(|allowance| allowance.origin)
                    .collect();
                let count = if demanding.is_empty() { 0 } else { *dice.pick(&[0, 1, 1, 1, 2]).unwrap() };
                for _ in 0..count {
                    let mode = *dice.pick(&[Mode::ViewOnly, Mode::WIDEST, Mode::WIDEST]).unwrap();
                    let user = if dice.percent(92) { user.clone() } else { any(&model.users, dice) };
                    let origins = if dice.percent(80) {
                        demanding.clone()
                    } else {
                        demanding.iter().take(1).cloned().collect()
                    };
                    let account = if dice.percent(92) {
                        model.devices[device].account.clone()
                    } else {
                        any(&model.accounts, dice)
                    };
                    let (id, service) = (ApprovalId::new(*b"approval"), parsed(&place.name));
                    let approved =
                        Approved { id, user, account, service, origins, mode, until: moment(dice) };
                    roster.approvals.entry(device.clone()).or_default().push(approved);
                }
            }
        }
    }
}

/// The id of the person of a number; eight bytes that occur nowhere else.
pub(crate) const fn id_of(number: u8) -> UserId {
    UserId::new([0x1d, 0xe7, 0xa1, number, 0x5c, 0x93, number, 0x77])
}

/// The number of a person, from the name; those who are no persons of the model have one too.
pub(crate) fn number_of(user: &Name) -> u8 {
    user.as_str().rsplit('-').next().and_then(|number| number.parse().ok()).unwrap()
}

fn service(dice: &mut Dice, block: usize, position: usize) -> Service {
    let kind = *dice.pick(&Kind::ALL).unwrap();
    let port = u16::try_from(1000 + 10 * block + position).unwrap();
    let mut pages = BTreeMap::new();
    if kind == Kind::Http && dice.percent(30) {
        let assets = dice.some(&["/static/**".parse().unwrap()], 50);
        let methods = if dice.percent(50) { Methods::READ } else { Methods::ALL };
        pages.insert(parsed("panel"), Page { path: "/panel".parse().unwrap(), methods, assets });
        // One page may lie within another.
        for (page, path) in [("log", "/panel/log"), ("all", "/")] {
            if dice.percent(40) {
                let (path, methods) = (path.parse().unwrap(), Methods::READ);
                pages.insert(parsed(page), Page { path, methods, assets: BTreeSet::new() });
            }
        }
    }
    let writers = u16::try_from(dice.within(0, 2)).unwrap();
    let target = Target { ip: ip(block), port };
    let reach = match kind {
        Kind::Vnc => Reach::Place { target, rules: Rules::Vnc(VncRules { password: None, writers }) },
        Kind::Vpn => Reach::Flows(flows(dice, target)),
        Kind::Http => {
            let rules = Rules::Http(HttpRules { allow: allow(dice), ..HttpRules::whole() });
            Reach::Place { target, rules }
        }
        Kind::Websocket => Reach::whole(kind, target),
    };
    Service {
        tunnels: u16::try_from(dice.within(1, 3)).unwrap(),
        idle_s: 600,
        duration_s: 3600,
        view_only: dice.percent(15),
        reach,
        pages,
    }
}

/// What a web server lets through: all of it, what reads, or a few things; wide enough that most pages are a part of it.
fn allow(dice: &mut Dice) -> Vec<Allow> {
    let row = |path: &str, methods| Allow { path: path.parse().unwrap(), methods, query: None };
    let get = Methods::of([Method::Get]).unwrap();
    match dice.within(0, 9) {
        0..=4 => HttpRules::whole().allow,
        5 | 6 => vec![row("/**", Methods::READ)],
        7 => vec![row("/**", get), row("/panel/*", Methods::ALL)],
        8 => vec![row("/panel/**", Methods::ALL), row("/static/**", get)],
        _ => vec![
            row("/*/log/**", Methods::ALL),
            row("/panel", Methods::READ),
            row("/static/*", Methods::READ),
        ],
    }
}

/// The machine's own port, and something beside it.
fn flows(dice: &mut Dice, target: Target) -> VpnRules {
    let net = Network::only(target.ip);
    let mut rules = VpnRules::tcp(target);
    let ports = Ports::only(2000 + u16::try_from(dice.within(0, 2)).unwrap());
    let read = Some(Profile::Modbus(ModbusRules::read_only()));
    let more = [
        Carries::Tcp { ports, profile: None },
        Carries::Tcp { ports, profile: read },
        Carries::Udp { ports },
        Carries::Icmp,
    ];
    for carries in more {
        if dice.percent(25) {
            rules.destinations.push(Destination { net, carries });
        }
    }
    rules.destinations.sort();
    rules
}

/// A service of a machine as its model has it, without the address.
fn offer(reach: &Reach) -> Offer {
    match reach {
        Reach::Flows(rules) => {
            Offer::Flows(rules.destinations.iter().map(|one| one.carries.clone()).collect())
        }
        Reach::Place { target, rules } => Offer::Port { port: target.port, rules: rules.clone() },
    }
}

fn ip(block: usize) -> std::net::IpAddr {
    [192, 168, 7, u8::try_from(block).unwrap() + 1].into()
}

/// The key of every recording.
pub(crate) fn recording_key() -> SealingKey {
    static KEY: LazyLock<SealingKey> =
        LazyLock::new(|| SealingSecret::for_recordings(&[0x5e; 32].into()).unwrap().public());
    *KEY
}

/// A second of the grid.
pub(crate) fn grid(tens: u64) -> UnixTime {
    UnixTime::from_secs(SERVICE_MANAGER_ENDS.as_secs() - 50 + tens * 10)
}

/// Any second of the grid.
pub(crate) fn moment(dice: &mut Dice) -> UnixTime {
    grid(u64::try_from(dice.within(0, 10)).unwrap())
}

fn sometimes(dice: &mut Dice, share: u64) -> Option<UnixTime> {
    dice.percent(share).then(|| moment(dice))
}

/// A beginning and an end, either or both or none.
fn window(dice: &mut Dice) -> (Option<UnixTime>, Option<UnixTime>) {
    let (from, until) = (sometimes(dice, 20), sometimes(dice, 22));
    match (from, until) {
        (Some(from), Some(until)) if until < from => (Some(until), Some(from)),
        (Some(from), Some(until)) if until == from => (Some(from), None),
        (from, until) => (from, until),
    }
}

fn any<T>(things: &BTreeMap<Name, T>, dice: &mut Dice) -> Name {
    let names: Vec<&Name> = things.keys().collect();
    (*dice.pick(&names).unwrap()).clone()
}

fn users_within(model: &Model, account: &Name) -> Vec<Name> {
    let within = model.users.iter().filter(|(_, user)| model.is_within(&user.account, account));
    within.map(|(name, _)| name.clone()).collect()
}

fn devices_within(model: &Model, account: &Name) -> Vec<Name> {
    let within = model.devices.iter().filter(|(_, device)| model.is_within(&device.account, account));
    within.map(|(name, _)| name.clone()).collect()
}

fn machines_within(model: &Model, account: &Name) -> Vec<Name> {
    let devices = devices_within(model, account);
    let within = model.machines.iter().filter(|(_, machine)| devices.contains(&machine.device));
    within.map(|(name, _)| name.clone()).collect()
}

/// A category of everything that may be selected; a role of one tenant.
fn category(dice: &mut Dice) -> Category {
    let locals: Vec<Name> = SERVICES.iter().map(|local| parsed(local)).collect();
    // Of all kinds two are recorded, and what a service of a name speaks differs from machine to machine.
    let record = dice.percent(30);
    let recordable = [Kind::Vnc, Kind::Http];
    Category {
        kinds: if record { dice.some(&recordable, 60) } else { dice.some(&Kind::ALL, 45) },
        services: if record { BTreeSet::new() } else { dice.some(&locals, 20) },
        pages: dice.some(&[parsed("panel"), parsed("log"), parsed("all")], 20),
        mode: *dice.pick(&[Mode::ViewOnly, Category::MODE, Category::MODE, Mode::WIDEST]).unwrap(),
        record,
        label: hidden(),
    }
}

fn custom_role(tenant: Tenant, categories: BTreeSet<Name>, dice: &mut Dice) -> Role {
    let allowed: Vec<Permission> = Permission::ALL.iter().copied().filter(|it| it.is_for(tenant)).collect();
    let mut permissions: BTreeSet<Permission> = dice.some(&allowed, 15);
    if !categories.is_empty() {
        permissions.insert(Permission::UseRemoteAccess);
    }
    let offline = permissions.contains(&Permission::UseRemoteAccess) && dice.percent(45);
    Role {
        tenant: Some(tenant),
        permissions,
        categories,
        second_factor_s: dice.percent(30).then(|| *dice.pick(&AGES).unwrap()),
        needs_case: dice.percent(18),
        offline,
        ends: None,
        label: hidden(),
    }
}

pub(crate) fn name(kind: &str, number: usize) -> Name {
    parsed(&format!("{kind}-{number}"))
}

pub(crate) fn parsed(text: &str) -> Name {
    text.parse().unwrap()
}

/// What people call things must reach no device.
fn hidden() -> Option<Label> {
    static LABEL: LazyLock<Option<Label>> = LazyLock::new(|| HIDDEN.parse().ok());
    LABEL.clone()
}

/// The label of every company, person, place and router.
pub(crate) const HIDDEN: &str = "HIDDEN of Müller & Söhne";
/// The local names of services.
const SERVICES: [&str; 4] = ["cam", "hmi", "plc", "web"];
/// Ages of second factors.
const AGES: [u32; 3] = [10, 30, 50];
