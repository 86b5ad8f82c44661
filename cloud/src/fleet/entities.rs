//! Reads each kind of entity of a fleet file.

use std::collections::BTreeMap;

use postern_protocol::name::Name;
use postern_protocol::policy::{DeviceLimits, Kind, Mode};
use postern_protocol::trust::sealed::SealingKey;

use super::Broken;
use super::complaint::Fault;
use super::include::INCLUDE;
use super::reader::{Reader, Section};
use super::tree::Node;
use crate::model::{
    Account, Assignment, Case, CaseSubject, Category, Delegable, Device, DeviceGroup, EXPECTED_MAIL, Effect,
    EntityKind, Entry, GroupType, Machine, MachineModel, MailAddress, Member, Membership, Model, Permission,
    Role, Scope, ScopeNode, Selection, Subject, Tenant, User, UserGroup, Visibility,
};

/// Reads all entities; those with complaints are named and left out.
pub(super) fn model(reader: &mut Reader<'_>, root: Node) -> (Model, Broken) {
    let mut model = Model::default();
    let mut broken = Broken::new();
    let Some(mut root) = reader.section(String::new(), root) else { return (model, broken) };
    // Those of files are followed already: this one was given on the command line.
    if let Some(node) = root.take(INCLUDE) {
        reader.complain(node.at, INCLUDE, Fault::IncludeHere);
    }
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

pub(super) fn entity(reader: &mut Reader<'_>, model: &mut Model, kind: EntityKind, name: &Name, node: Node) {
    let Some(mut section) = reader.section(format!("{}.{name}", kind.word()), node) else { return };
    let s = &mut section;
    match kind {
        EntityKind::Account => keep(&mut model.accounts, name, account(reader, s)),
        EntityKind::User => keep(&mut model.users, name, user(reader, s)),
        EntityKind::UserGroup => keep(&mut model.user_groups, name, user_group(reader, s)),
        EntityKind::MachineModel => keep(&mut model.machine_models, name, machine_model(reader, s)),
        EntityKind::Device => keep(&mut model.devices, name, device(reader, s)),
        EntityKind::Machine => keep(&mut model.machines, name, machine(reader, s)),
        EntityKind::DeviceGroup => keep(&mut model.device_groups, name, device_group(reader, s)),
        EntityKind::Facility => keep(&mut model.facilities, name, scope_node(reader, s)),
        EntityKind::Organisation => keep(&mut model.organisations, name, scope_node(reader, s)),
        EntityKind::Category => keep(&mut model.categories, name, category(reader, s)),
        EntityKind::Role => keep(&mut model.roles, name, role(reader, s)),
        EntityKind::Assignment => keep(&mut model.assignments, name, assignment(reader, s)),
        EntityKind::Entry => keep(&mut model.entries, name, entry(reader, s)),
        EntityKind::Case => keep(&mut model.cases, name, case(reader, s)),
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
    let recording_key = recording_key(reader, s);
    let categories = reader.names(s, "delegable-categories");
    let roles = reader.names(s, "delegable-roles");
    let delegable = Delegable { categories, roles };
    let label = reader.label(s, "label");
    Some(Account { tenant: tenant?, parent, recording_key, delegable, label })
}

fn recording_key(reader: &mut Reader<'_>, s: &mut Section) -> Option<SealingKey> {
    const EXPECTED: &str = "the 64 hexadecimal digits that `postern replay keygen` printed";
    let node = s.take("recording-key")?;
    let path = s.key("recording-key");
    let (at, text) = reader.text(&path, node, EXPECTED)?;
    let key = text.parse().ok();
    if key.is_none() {
        reader.bad_value(at, &path, &text, EXPECTED);
    }
    key
}

fn user(reader: &mut Reader<'_>, s: &mut Section) -> Option<User> {
    let account = reader.name(s, "account");
    let mail = mail(reader, s);
    let label = reader.label(s, "label");
    Some(User { account: account?, mail, label })
}

fn mail(reader: &mut Reader<'_>, s: &mut Section) -> Option<MailAddress> {
    let node = s.take("mail")?;
    let path = s.key("mail");
    let (at, text) = reader.text(&path, node, EXPECTED_MAIL)?;
    let address = text.parse().ok();
    if address.is_none() {
        reader.bad_value(at, &path, &text, EXPECTED_MAIL);
    }
    address
}

fn user_group(reader: &mut Reader<'_>, s: &mut Section) -> Option<UserGroup> {
    let account = reader.name(s, "account");
    let mut members: BTreeMap<Name, Member> =
        reader.names(s, "members").into_iter().map(|name| (name, Member::default())).collect();
    for (name, mut member) in reader.sections(s, "member") {
        if members.contains_key(&name) {
            reader.complain(member.at, member.path.clone(), Fault::Twice { found: name.as_str().into() });
        }
        let until = reader.time(&mut member, "until");
        reader.finish(member);
        members.insert(name, Member { until });
    }
    let label = reader.label(s, "label");
    Some(UserGroup { account: account?, members, label })
}

fn device_group(reader: &mut Reader<'_>, s: &mut Section) -> Option<DeviceGroup> {
    let account = reader.name(s, "account");
    let group_type = reader.word(s, "type", &GroupType::ALL, GroupType::word);
    let devices = reader.names(s, "devices");
    let mut members = BTreeMap::new();
    for (name, mut member) in reader.sections(s, "member") {
        let role = reader.name(&mut member, "role");
        let categories = reader.names(&mut member, "categories");
        let until = reader.time(&mut member, "until");
        let offline = reader.optional_flag(&mut member, "offline");
        reader.finish(member);
        if let Some(role) = role {
            members.insert(name, Membership { role, categories, until, offline });
        }
    }
    let label = reader.label(s, "label");
    Some(DeviceGroup { account: account?, group_type: group_type?, devices, members, label })
}

fn device(reader: &mut Reader<'_>, s: &mut Section) -> Option<Device> {
    let account = reader.name(s, "account");
    let label = reader.label(s, "label");
    let closed = reader.flag(s, "closed");
    let tunnels = reader.count(s, "tunnels").unwrap_or(Device::LIMITS.tunnels);
    let tunnels_per_user = reader.count(s, "tunnels-per-user").unwrap_or(Device::LIMITS.tunnels_per_user);
    let freshness = reader.freshness(s);
    let services = reader.services(s);
    let limits = DeviceLimits { tunnels, tunnels_per_user };
    Some(Device { account: account?, label, closed, limits, freshness, services })
}

fn machine(reader: &mut Reader<'_>, s: &mut Section) -> Option<Machine> {
    let device = reader.name(s, "device");
    let model = reader.optional_name(s, "model");
    let address = reader.address(s, "address");
    let label = reader.label(s, "label");
    let services = reader.services(s);
    Some(Machine { device: device?, model, address, label, services })
}

fn machine_model(reader: &mut Reader<'_>, s: &mut Section) -> Option<MachineModel> {
    let account = reader.name(s, "account");
    let label = reader.label(s, "label");
    let services = reader.templates(s);
    Some(MachineModel { account: account?, label, services })
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
    let mode = mode(reader, s);
    let record = reader.flag(s, "record");
    let label = reader.label(s, "label");
    Some(Category { kinds, services, pages, mode, record, label })
}

fn mode(reader: &mut Reader<'_>, s: &mut Section) -> Mode {
    let touches = reader.optional_word(s, "mode", &[false, true], mode_word);
    let at = s.at;
    let clipboard = reader.optional_flag(s, "clipboard");
    if (touches, clipboard) == (Some(false), Some(true)) {
        reader.bad_value(
            at,
            s.key("clipboard"),
            "true",
            "false, or `mode = \"full\"`: who only looks pastes nothing",
        );
    }
    match touches {
        Some(false) => Mode::ViewOnly,
        Some(true) | None => Mode::Full { clipboard: clipboard.unwrap_or(false) },
    }
}

/// Whether something may be touched, as a word.
pub(super) const fn mode_word(touches: bool) -> &'static str {
    if touches { "full" } else { "view_only" }
}

fn role(reader: &mut Reader<'_>, s: &mut Section) -> Option<Role> {
    let tenant = reader.word(s, "tenant", &Tenant::ALL, Tenant::word);
    let permissions = reader.words(s, "permissions", Permission::ALL, Permission::word);
    let categories = reader.names(s, "categories");
    let second_factor_s = reader.seconds(s, "second-factor");
    let needs_case = reader.flag(s, "needs-case");
    let offline = reader.flag(s, "offline");
    let label = reader.label(s, "label");
    // Only deprecated essential roles end; a custom role is taken away instead.
    let ends = None;
    let tenant = Some(tenant?);
    Some(Role { tenant, permissions, categories, second_factor_s, needs_case, offline, ends, label })
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
    let categories = reader.names(s, "categories");
    if !s.has("scope") {
        reader.missing(s, "scope", EXPECTED_SCOPE);
    }
    let scope = optional_scope(reader, s);
    let from = reader.time(s, "from");
    let until = reader.time(s, "until");
    let needs_case = reader.flag(s, "needs-case");
    let needs_approval = reader.flag(s, "needs-approval");
    let offline = reader.optional_flag(s, "offline");
    let (subject, role, scope) = (subject?, role?, scope?);
    Some(Assignment { subject, role, categories, scope, from, until, needs_case, needs_approval, offline })
}

fn optional_scope(reader: &mut Reader<'_>, s: &mut Section) -> Option<Scope> {
    let node = s.take("scope")?;
    reader.scope(&s.key("scope"), node)
}

fn entry(reader: &mut Reader<'_>, s: &mut Section) -> Option<Entry> {
    let user = reader.name(s, "user");
    let effect = reader.word(s, "effect", &Effect::ALL, Effect::word);
    let category = reader.optional_name(s, "category").map(Selection::Category);
    let service = reader.optional_name(s, "service").map(Selection::Service);
    let found = usize::from(category.is_some()) + usize::from(service.is_some());
    if found != 1 {
        reader.complain(s.at, s.path.clone(), Fault::OneOf { found, expected: "`category` and `service`" });
    }
    // Whether it may do without is a rule of the model.
    let scope = optional_scope(reader, s);
    let from = reader.time(s, "from");
    let until = reader.time(s, "until");
    let second_factor_s = reader.seconds(s, "second-factor");
    let needs_approval = reader.flag(s, "needs-approval");
    let offline = reader.flag(s, "offline");
    let (user, effect, selection) = (user?, effect?, category.or(service)?);
    Some(Entry { user, effect, selection, scope, from, until, second_factor_s, needs_approval, offline })
}

fn case(reader: &mut Reader<'_>, s: &mut Section) -> Option<Case> {
    let machine = reader.optional_name(s, "machine").map(CaseSubject::Machine);
    let device = reader.optional_name(s, "device").map(CaseSubject::Device);
    let found = usize::from(machine.is_some()) + usize::from(device.is_some());
    if found != 1 {
        reader.complain(s.at, s.path.clone(), Fault::OneOf { found, expected: "`machine` and `device`" });
    }
    let visibility = reader.word(s, "visibility", &Visibility::ALL, Visibility::word);
    let from = reader.time(s, "from");
    let until = reader.time(s, "until");
    let label = reader.label(s, "label");
    Some(Case { subject: machine.or(device)?, visibility: visibility?, from, until, label })
}

const EXPECTED_SCOPE: &str = "a table such as { account = \"acme\" }";
