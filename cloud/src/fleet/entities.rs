//! Reads each kind of entity of a fleet file.

use std::collections::BTreeMap;

use postern_protocol::name::Name;
use postern_protocol::policy::{DeviceLimits, Kind};

use super::Broken;
use super::complaint::Fault;
use super::reader::{Reader, Section};
use super::tree::Node;
use crate::model::{
    Account, Assignment, Category, Device, DeviceGroup, EntityKind, GroupType, Machine, Model, Permission,
    Role, ScopeNode, Subject, Tenant, User, UserGroup,
};

/// Reads all entities; those with complaints are named and left out.
pub(super) fn model(reader: &mut Reader<'_>, root: Node) -> (Model, Broken) {
    let mut model = Model::default();
    let mut broken = Broken::new();
    let Some(mut root) = reader.section(String::new(), root) else { return (model, broken) };
    for kind in EntityKind::ALL {
        let Some(node) = root.take(kind.word()) else { continue };
        for (name, node) in reader.named(kind.word(), node) {
            let before = reader.complaint_count();
            entity(reader, &mut model, *kind, &name, node);
            if reader.complaint_count() > before {
                broken.insert((*kind, name));
            }
        }
    }
    reader.finish(root);
    (model, broken)
}

fn entity(reader: &mut Reader<'_>, model: &mut Model, kind: EntityKind, name: &Name, node: Node) {
    let Some(mut section) = reader.section(format!("{}.{name}", kind.word()), node) else { return };
    let s = &mut section;
    match kind {
        EntityKind::Account => keep(&mut model.accounts, name, account(reader, s)),
        EntityKind::User => keep(&mut model.users, name, user(reader, s)),
        EntityKind::UserGroup => keep(&mut model.user_groups, name, user_group(reader, s)),
        EntityKind::Device => keep(&mut model.devices, name, device(reader, s)),
        EntityKind::Machine => keep(&mut model.machines, name, machine(reader, s)),
        EntityKind::DeviceGroup => keep(&mut model.device_groups, name, device_group(reader, s)),
        EntityKind::Facility => keep(&mut model.facilities, name, scope_node(reader, s)),
        EntityKind::Organisation => keep(&mut model.organisations, name, scope_node(reader, s)),
        EntityKind::Category => keep(&mut model.categories, name, category(reader, s)),
        EntityKind::Role => keep(&mut model.roles, name, role(reader, s)),
        EntityKind::Assignment => keep(&mut model.assignments, name, assignment(reader, s)),
    }
    reader.finish(section);
}

fn keep<T>(table: &mut BTreeMap<Name, T>, name: &Name, entity: Option<T>) {
    if let Some(entity) = entity {
        table.insert(name.clone(), entity);
    }
}

// Each reader asks for all of its keys before it gives up on one, so that nothing known is called unknown.

fn account(reader: &mut Reader<'_>, s: &mut Section) -> Option<Account> {
    let tenant = reader.word(s, "tenant", &Tenant::ALL, Tenant::word);
    let parent = reader.optional_name(s, "parent");
    let label = reader.label(s, "label");
    Some(Account { tenant: tenant?, parent, label })
}

fn user(reader: &mut Reader<'_>, s: &mut Section) -> Option<User> {
    let account = reader.name(s, "account");
    let label = reader.label(s, "label");
    Some(User { account: account?, label })
}

fn user_group(reader: &mut Reader<'_>, s: &mut Section) -> Option<UserGroup> {
    let account = reader.name(s, "account");
    let members = reader.names(s, "members");
    let label = reader.label(s, "label");
    Some(UserGroup { account: account?, members, label })
}

fn device_group(reader: &mut Reader<'_>, s: &mut Section) -> Option<DeviceGroup> {
    let account = reader.name(s, "account");
    let group_type = reader.word(s, "type", &GroupType::ALL, GroupType::word);
    let devices = reader.names(s, "devices");
    let label = reader.label(s, "label");
    Some(DeviceGroup { account: account?, group_type: group_type?, devices, label })
}

fn device(reader: &mut Reader<'_>, s: &mut Section) -> Option<Device> {
    let account = reader.name(s, "account");
    let label = reader.label(s, "label");
    let tunnels = reader.count(s, "tunnels").unwrap_or(Device::LIMITS.tunnels);
    let tunnels_per_user = reader.count(s, "tunnels-per-user").unwrap_or(Device::LIMITS.tunnels_per_user);
    let services = reader.services(s);
    Some(Device { account: account?, label, limits: DeviceLimits { tunnels, tunnels_per_user }, services })
}

fn machine(reader: &mut Reader<'_>, s: &mut Section) -> Option<Machine> {
    let device = reader.name(s, "device");
    let label = reader.label(s, "label");
    let services = reader.services(s);
    Some(Machine { device: device?, label, services })
}

fn scope_node(reader: &mut Reader<'_>, s: &mut Section) -> Option<ScopeNode> {
    let account = reader.name(s, "account");
    let machines = reader.names(s, "machines");
    let devices = reader.names(s, "devices");
    let label = reader.label(s, "label");
    Some(ScopeNode { account: account?, machines, devices, label })
}

fn category(reader: &mut Reader<'_>, s: &mut Section) -> Option<Category> {
    let kinds = reader.words(s, "kinds", &Kind::ALL, Kind::word);
    let services = reader.names(s, "services");
    let pages = reader.names(s, "pages");
    let label = reader.label(s, "label");
    Some(Category { kinds, services, pages, label })
}

fn role(reader: &mut Reader<'_>, s: &mut Section) -> Option<Role> {
    let tenant = reader.word(s, "tenant", &Tenant::ALL, Tenant::word);
    let permissions = reader.words(s, "permissions", Permission::ALL, Permission::word);
    let categories = reader.names(s, "categories");
    let second_factor_s = reader.seconds(s, "second-factor");
    let label = reader.label(s, "label");
    Some(Role { tenant: tenant?, permissions, categories, second_factor_s, label })
}

fn assignment(reader: &mut Reader<'_>, s: &mut Section) -> Option<Assignment> {
    let complaints = reader.complaint_count();
    let user = reader.optional_name(s, "user");
    let group = reader.optional_name(s, "group");
    let subject = match (user, group) {
        (Some(user), None) => Some(Subject::User(user)),
        (None, Some(group)) => Some(Subject::Group(group)),
        (None, None) if reader.complaint_count() > complaints => None,
        (user @ (Some(_) | None), _) => {
            let found = if user.is_some() { 2 } else { 0 };
            reader.complain(s.at, s.path.clone(), Fault::OneOf { found, expected: "`user` and `group`" });
            None
        }
    };
    let role = reader.name(s, "role");
    let scope = match s.take("scope") {
        Some(node) => reader.scope(&s.key("scope"), node),
        None => {
            reader.missing(s, "scope", "a table such as { account = \"acme\" }");
            None
        }
    };
    let from = reader.time(s, "from");
    let until = reader.time(s, "until");
    Some(Assignment { subject: subject?, role: role?, scope: scope?, from, until })
}
