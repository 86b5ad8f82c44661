//! A fleet of any size, in the shape that fleets of machine builders have: what P12 is measured on.
//!
//! A vendor, regions in it, customers in those, a hundred devices for each customer. Teams of the vendor's engineers
//! service groups of devices across customers; some of them are confined to what is allocated to a team *and* belongs
//! to one customer. Each customer's people operate its own devices.

use std::net::{IpAddr, Ipv4Addr};

use postern_cloud::compile::{Enrolled, Roster};
use postern_cloud::model::{
    Account, Assignment, Category, Delegable, Device, DeviceGroup, GroupType, Member, Model, Permission,
    Role, Scope, Service, Subject, Tenant, User, UserGroup,
};
use postern_protocol::id::UserId;
use postern_protocol::name::{Name, NameFault};
use postern_protocol::policy::{Kind, Reach, Target};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{KeyFault, SecretKey};

/// Customers of the fleet that P12 asks for: 100,000 devices, 20,000 users, 2,000 groups, 5,000 assignments.
pub const CUSTOMERS: u32 = 1000;

/// A fleet with this many customers; each of them adds 100 devices with 2 services, 20 users, 2 groups, 5 assignments.
///
/// # Errors
/// None: every name in it is one.
pub fn fleet(customers: u32) -> Result<Model, NameFault> {
    let mut model = Model::default();
    let vendor = name("vendor", 0)?;
    account(&mut model, vendor.clone(), Tenant::ServiceProvider, None);
    rules(&mut model)?;
    for region in 0..customers.div_ceil(CUSTOMERS_OF_REGION) {
        account(&mut model, name("region", region)?, Tenant::OperatingCompany, Some(vendor.clone()));
    }
    for engineer in 0..customers * ENGINEERS {
        model
            .users
            .insert(name("engineer", engineer)?, User { account: vendor.clone(), mail: None, label: None });
    }
    for customer in 0..customers {
        company(&mut model, customer)?;
    }
    for customer in 0..customers {
        groups(&mut model, customer, customers)?;
        assignments(&mut model, customer, customers)?;
    }
    Ok(model)
}

/// Everybody has signed in, with one key each.
///
/// # Errors
/// None: every seed makes a key.
pub fn roster(model: &Model) -> Result<Roster, KeyFault> {
    let mut roster = Roster::default();
    for (number, name) in (1u64..).zip(model.users.keys()) {
        let mut seed = [7; 32];
        seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte = number);
        let key = SecretKey::from_seed(seed)?.public();
        let enrolled = Enrolled {
            id: UserId::new(number.to_be_bytes()),
            keys: [key].into(),
            disabled: false,
            passes_from: UnixTime::EPOCH,
        };
        roster.users.insert(name.clone(), enrolled);
    }
    Ok(roster)
}

/// An edit that one device feels: a service of it moves to another port.
///
/// # Errors
/// None: every name in it is one.
pub fn move_service(model: &mut Model) -> Result<(), NameFault> {
    let screen = name("screen", 0)?;
    let device = model.devices.get_mut(&device(0, 0)?);
    let service = device.and_then(|device| device.services.get_mut(&screen));
    if let Some(service) = service
        && let Some(Target { ip, port }) = service.reach.target()
    {
        service.reach = service.reach.moved(Target { ip, port: port ^ 1 });
    }
    Ok(())
}

/// An edit that the hundred devices of one customer feel: an engineer is assigned there, or no more.
///
/// # Errors
/// None: every name in it is one.
pub fn assign_customer(model: &mut Model) -> Result<(), NameFault> {
    let scope = Scope::Account { account: name("customer", 0)?, nested: false };
    toggle(model, name("edit", 100)?, scope)
}

/// An edit that the ten thousand devices of one region feel: an engineer is assigned there, or no more.
///
/// # Errors
/// None: every name in it is one.
pub fn assign_region(model: &mut Model) -> Result<(), NameFault> {
    let scope = Scope::Account { account: name("region", 0)?, nested: true };
    toggle(model, name("edit", 10_000)?, scope)
}

fn rules(model: &mut Model) -> Result<(), NameFault> {
    let kinds = |kind| Category { kinds: [kind].into(), ..Category::default() };
    let (screens, pages) = (name("screens", 0)?, name("pages", 0)?);
    model.categories.insert(screens.clone(), kinds(Kind::Vnc));
    model.categories.insert(pages.clone(), kinds(Kind::Http));
    let role = |tenant, categories: &[&Name], second_factor_s| Role {
        tenant: Some(tenant),
        permissions: [Permission::UseRemoteAccess].into(),
        categories: categories.iter().copied().cloned().collect(),
        second_factor_s,
        needs_case: false,
        offline: false,
        ends: None,
        label: None,
    };
    let engineering = role(Tenant::ServiceProvider, &[&screens, &pages], Some(8 * 3600));
    model.roles.insert(name("engineering", 0)?, engineering);
    model.roles.insert(name("operating", 0)?, role(Tenant::OperatingCompany, &[&screens], None));
    Ok(())
}

fn account(model: &mut Model, name: Name, tenant: Tenant, parent: Option<Name>) {
    model.accounts.insert(
        name,
        Account { tenant, parent, recording_key: None, delegable: Delegable::default(), label: None },
    );
}

/// A customer with its people and devices.
fn company(model: &mut Model, customer: u32) -> Result<(), NameFault> {
    let owner = name("customer", customer)?;
    let region = name("region", customer / CUSTOMERS_OF_REGION)?;
    account(model, owner.clone(), Tenant::OperatingCompany, Some(region));
    for person in 0..OPERATORS {
        model
            .users
            .insert(operator(customer, person)?, User { account: owner.clone(), mail: None, label: None });
    }
    for number in 0..DEVICES {
        let services =
            [(name("screen", 0)?, service(Kind::Vnc, 5900)), (name("web", 0)?, service(Kind::Http, 80))];
        let body = Device {
            account: owner.clone(),
            label: None,
            closed: false,
            limits: Device::LIMITS,
            freshness: Device::FRESHNESS,
            services: services.into(),
        };
        model.devices.insert(device(customer, number)?, body);
    }
    Ok(())
}

/// A group of devices from a hundred customers; a team of engineers, or the crew of a customer.
fn groups(model: &mut Model, customer: u32, customers: u32) -> Result<(), NameFault> {
    let vendor = name("vendor", 0)?;
    let mut allocated = DeviceGroup {
        account: vendor.clone(),
        group_type: GroupType::Allocation,
        devices: [].into(),
        members: [].into(),
        label: None,
    };
    for number in 0..DEVICES {
        allocated.devices.insert(device((customer + STRIDE * number) % customers, number)?);
    }
    model.device_groups.insert(name("allocation", customer)?, allocated);
    let mut group = UserGroup { account: vendor, members: [].into(), label: None };
    if customer.is_multiple_of(2) {
        for member in 0..TEAM {
            let engineer = name("engineer", (customer * ENGINEERS + member) % (customers * ENGINEERS))?;
            group.members.insert(engineer, Member::default());
        }
    } else {
        group.account = name("customer", customer)?;
        for member in 0..OPERATORS {
            group.members.insert(operator(customer, member)?, Member::default());
        }
    }
    model.user_groups.insert(people(customer)?, group);
    Ok(())
}

fn assignments(model: &mut Model, customer: u32, customers: u32) -> Result<(), NameFault> {
    let own = Scope::Account { account: name("customer", customer)?, nested: false };
    let group = |number: u32| Ok(Scope::DeviceGroup { group: name("allocation", number % customers)? });
    let engineer = |number| Ok(Subject::User(name("engineer", customer * ENGINEERS + number)?));
    let team = Subject::Group(people(customer - customer % 2)?);
    assign(model, name("team", customer)?, team, "engineering", group(customer)?)?;
    let both = Scope::AllOf { scopes: vec![group(customer + customers - STRIDE % customers)?, own.clone()] };
    assign(model, name("confined", customer)?, engineer(0)?, "engineering", both)?;
    assign(model, name("account", customer)?, engineer(1)?, "engineering", own.clone())?;
    let crew = if customer.is_multiple_of(2) {
        Subject::User(operator(customer, 0)?)
    } else {
        Subject::Group(people(customer)?)
    };
    assign(model, name("crew", customer)?, crew, "operating", own)?;
    let one = Scope::Device { device: device(customer, 1)? };
    assign(model, name("operator", customer)?, Subject::User(operator(customer, 1)?), "operating", one)
}

fn assign(
    model: &mut Model,
    name: Name,
    subject: Subject,
    role: &str,
    scope: Scope,
) -> Result<(), NameFault> {
    let assignment = Assignment {
        subject,
        role: self::name(role, 0)?,
        categories: [].into(),
        scope,
        from: None,
        until: None,
        needs_case: false,
        needs_approval: false,
        offline: None,
    };
    model.assignments.insert(name, assignment);
    Ok(())
}

fn service(kind: Kind, port: u16) -> Service {
    Service {
        tunnels: Service::TUNNELS,
        idle_s: Service::IDLE_S,
        duration_s: Service::DURATION_S,
        view_only: false,
        reach: Reach::whole(kind, Target { ip: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10)), port }),
        pages: [].into(),
    }
}

fn toggle(model: &mut Model, name: Name, scope: Scope) -> Result<(), NameFault> {
    if model.assignments.remove(&name).is_some() {
        return Ok(());
    }
    assign(model, name, Subject::User(self::name("engineer", 4)?), "engineering", scope)
}

/// A fleet of one device and one group of people who may use all of it; for `ends`, each of them until a time of
/// their own.
///
/// # Errors
/// None: every name in it is one.
pub fn crowd(people: u32, ends: Option<UnixTime>) -> Result<Model, NameFault> {
    let mut model = Model::default();
    account(&mut model, name("vendor", 0)?, Tenant::ServiceProvider, None);
    account(&mut model, name("region", 0)?, Tenant::OperatingCompany, Some(name("vendor", 0)?));
    rules(&mut model)?;
    company(&mut model, 0)?;
    let mut group = UserGroup { account: name("customer", 0)?, members: [].into(), label: None };
    for person in 0..people {
        let user = name("person", person)?;
        model.users.insert(user.clone(), User { account: group.account.clone(), mail: None, label: None });
        group.members.insert(user, Member { until: ends.map(|ends| ends.saturating_add(person.into())) });
    }
    let scope = Scope::Account { account: group.account.clone(), nested: false };
    model.user_groups.insert(name("crowd", 0)?, group);
    assign(&mut model, name("crowd", 0)?, Subject::Group(name("crowd", 0)?), "engineering", scope)?;
    Ok(model)
}

/// The device with a number of a customer.
///
/// # Errors
/// None: it is always a name.
pub fn device(customer: u32, number: u32) -> Result<Name, NameFault> {
    format!("press-{customer}-{number}").parse()
}

/// A person who operates devices of a customer. The first of an odd customer is in its crew and reaches all of them.
///
/// # Errors
/// None: it is always a name.
pub fn operator(customer: u32, number: u32) -> Result<Name, NameFault> {
    format!("operator-{customer}-{number}").parse()
}

fn people(customer: u32) -> Result<Name, NameFault> {
    name(if customer.is_multiple_of(2) { "engineers" } else { "operators" }, customer)
}

fn name(kind: &str, number: u32) -> Result<Name, NameFault> {
    format!("{kind}-{number}").parse()
}

const CUSTOMERS_OF_REGION: u32 = 100;
/// Devices of a customer.
pub const DEVICES: u32 = 100;
const ENGINEERS: u32 = 5;
const OPERATORS: u32 = 15;
const TEAM: u32 = 20;
/// From one device of a group to the next, in customers.
const STRIDE: u32 = 7;
