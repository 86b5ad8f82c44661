//! The keys of each kind of entity, in the order in which they read well.

use std::collections::BTreeMap;

use postern_protocol::name::Name;
use postern_protocol::policy::Mode;

use super::super::entities::mode_word;
use super::{Writer, scope, span};
use crate::model::{
    Account, Assignment, Case, CaseSubject, Category, Device, DeviceGroup, EntityKind, Entry, Machine,
    MachineModel, Role, Scope, ScopeNode, Selection, Service, Subject, User, UserGroup,
};

impl Writer {
    pub(super) fn account(&mut self, account: &Account) {
        self.text("tenant", account.tenant.word());
        self.optional_text("parent", account.parent.as_ref());
        self.optional_text("recording-key", account.recording_key.map(|key| format!("{key:?}")).as_ref());
        self.texts("delegable-categories", &account.delegable.categories);
        self.texts("delegable-roles", &account.delegable.roles);
        self.optional_text("label", account.label.as_ref());
    }

    pub(super) fn user(&mut self, user: &User) {
        self.text("account", &user.account);
        self.optional_text("mail", user.mail.as_ref());
        self.optional_text("label", user.label.as_ref());
    }

    pub(super) fn user_group(&mut self, name: &Name, group: &UserGroup) {
        self.text("account", &group.account);
        self.optional_text("label", group.label.as_ref());
        let (limited, plain): (Vec<_>, Vec<_>) =
            group.members.iter().partition(|(_, member)| member.until.is_some());
        self.texts("members", plain.into_iter().map(|(user, _)| user));
        for (user, member) in limited {
            self.header(&[EntityKind::UserGroup.word(), name.as_str(), "member", user.as_str()]);
            self.time("until", member.until);
        }
    }

    pub(super) fn device_group(&mut self, name: &Name, group: &DeviceGroup) {
        self.text("account", &group.account);
        self.text("type", group.group_type.word());
        self.optional_text("label", group.label.as_ref());
        self.texts("devices", &group.devices);
        for (user, membership) in &group.members {
            self.header(&[EntityKind::DeviceGroup.word(), name.as_str(), "member", user.as_str()]);
            self.text("role", &membership.role);
            self.texts("categories", &membership.categories);
            self.time("until", membership.until);
            self.optional_flag("offline", membership.offline);
        }
    }

    pub(super) fn machine_model(&mut self, name: &Name, model: &MachineModel) {
        self.text("account", &model.account);
        self.optional_text("label", model.label.as_ref());
        for (service, template) in &model.services {
            let path = [EntityKind::MachineModel.word(), name.as_str(), "service", service.as_str()];
            self.header(&path);
            self.text("kind", template.kind().word());
            self.offer(&template.offer);
            self.bounds(template.tunnels, template.idle_s, template.duration_s);
            self.flag("view-only", template.view_only);
            self.rules(template.offer.rules());
            self.pages(&path, &template.pages);
        }
    }

    pub(super) fn device(&mut self, name: &Name, device: &Device) {
        self.text("account", &device.account);
        self.optional_text("label", device.label.as_ref());
        self.flag("closed", device.closed);
        self.number("tunnels", device.limits.tunnels, Device::LIMITS.tunnels);
        self.number("tunnels-per-user", device.limits.tunnels_per_user, Device::LIMITS.tunnels_per_user);
        self.span("freshness", device.freshness.window_s, Device::FRESHNESS.window_s);
        self.span("offline", device.freshness.offline_s, Device::FRESHNESS.offline_s);
        self.services(EntityKind::Device, name, &device.services);
    }

    pub(super) fn machine(&mut self, name: &Name, machine: &Machine) {
        self.text("device", &machine.device);
        self.optional_text("model", machine.model.as_ref());
        self.optional_text("address", machine.address);
        self.optional_text("label", machine.label.as_ref());
        self.services(EntityKind::Machine, name, &machine.services);
    }

    fn services(&mut self, kind: EntityKind, name: &Name, services: &BTreeMap<Name, Service>) {
        for (service, body) in services {
            let path = [kind.word(), name.as_str(), "service", service.as_str()];
            self.header(&path);
            self.text("kind", body.kind().word());
            self.reach(&body.reach);
            self.bounds(body.tunnels, body.idle_s, body.duration_s);
            self.flag("view-only", body.view_only);
            self.rules(body.reach.rules());
            self.pages(&path, &body.pages);
        }
    }

    fn bounds(&mut self, tunnels: u16, idle_s: u32, duration_s: u32) {
        self.number("tunnels", tunnels, Service::TUNNELS);
        self.span("idle", idle_s, Service::IDLE_S);
        self.span("duration", duration_s, Service::DURATION_S);
    }

    pub(super) fn scope_node(&mut self, node: &ScopeNode) {
        self.text("account", &node.account);
        self.optional_text("label", node.label.as_ref());
        self.texts("machines", &node.machines);
        self.texts("devices", &node.devices);
    }

    pub(super) fn category(&mut self, category: &Category) {
        self.optional_text("label", category.label.as_ref());
        self.texts("kinds", category.kinds.iter().map(|kind| kind.word()));
        self.texts("services", &category.services);
        self.texts("pages", &category.pages);
        match category.mode {
            Mode::ViewOnly => self.text("mode", mode_word(false)),
            Mode::Full { clipboard } => self.flag("clipboard", clipboard),
        }
        self.flag("record", category.record);
    }

    pub(super) fn role(&mut self, role: &Role) {
        self.optional_text("tenant", role.tenant.map(|tenant| tenant.word()));
        self.optional_text("label", role.label.as_ref());
        self.texts("permissions", role.permissions.iter().map(|permission| permission.word()));
        self.texts("categories", &role.categories);
        if let Some(seconds) = role.second_factor_s {
            self.text("second-factor", span(seconds));
        }
        self.flag("needs-case", role.needs_case);
        self.flag("offline", role.offline);
    }

    pub(super) fn assignment(&mut self, assignment: &Assignment) -> Option<()> {
        match &assignment.subject {
            Subject::User(user) => self.text("user", user),
            Subject::Group(group) => self.text("group", group),
        }
        self.text("role", &assignment.role);
        self.texts("categories", &assignment.categories);
        self.scope(&assignment.scope)?;
        self.time("from", assignment.from);
        self.time("until", assignment.until);
        self.flag("needs-case", assignment.needs_case);
        self.flag("needs-approval", assignment.needs_approval);
        self.optional_flag("offline", assignment.offline);
        Some(())
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Option<()> {
        self.text("user", &entry.user);
        self.text("effect", entry.effect.word());
        match &entry.selection {
            Selection::Category(category) => self.text("category", category),
            Selection::Service(service) => self.text("service", service),
        }
        if let Some(scope) = &entry.scope {
            self.scope(scope)?;
        }
        self.time("from", entry.from);
        self.time("until", entry.until);
        if let Some(seconds) = entry.second_factor_s {
            self.text("second-factor", span(seconds));
        }
        self.flag("needs-approval", entry.needs_approval);
        self.flag("offline", entry.offline);
        Some(())
    }

    pub(super) fn case(&mut self, case: &Case) {
        match &case.subject {
            CaseSubject::Machine(machine) => self.text("machine", machine),
            CaseSubject::Device(device) => self.text("device", device),
        }
        self.text("visibility", case.visibility.word());
        self.time("from", case.from);
        self.time("until", case.until);
        self.optional_text("label", case.label.as_ref());
    }

    fn scope(&mut self, place: &Scope) -> Option<()> {
        self.line("scope", &scope(place)?);
        Some(())
    }
}
