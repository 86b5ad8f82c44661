//! Checks roles and their assignments: categories, permissions, subjects, scopes, windows.

use postern_protocol::name::Name;

use super::{Check, Problem};
use crate::model::{Assignment, EntityKind, Scope, Subject, Tenant};

impl Check<'_> {
    pub(super) fn roles(&mut self) {
        for (name, role) in &self.model.roles {
            let entity = (EntityKind::Role, name);
            // Only essential roles are for any tenant role.
            let Some(tenant) = role.tenant else { continue };
            if tenant == Tenant::AppDeveloper {
                self.fault(entity, "tenant", Problem::NoCustomRoles { tenant });
            } else {
                for permission in role.permissions.iter().filter(|permission| !permission.is_for(tenant)) {
                    let key = format!("permissions[{}]", permission.word());
                    self.fault(entity, key, Problem::Permission { permission: *permission, tenant });
                }
            }
            for category in &role.categories {
                self.known(entity, format!("categories[{category}]"), EntityKind::Category, category);
            }
        }
    }

    pub(super) fn assignments(&mut self) {
        for (name, assignment) in &self.model.assignments {
            let entity = (EntityKind::Assignment, name);
            if let (Some(from), Some(until)) = (assignment.from, assignment.until)
                && from >= until
            {
                self.fault(entity, "until", Problem::Window);
            }
            if model.role(&assignment.role).is_none() {
                self.known(entity, "role", EntityKind::Role, &assignment.role);
            }
            let account = match &assignment.subject {
                Subject::User(user) => {
                    let known = self.known(entity, "user", EntityKind::User, user);
                    self.model.users.get(user).filter(|_| known).map(|user| user.account.clone())
                }
                Subject::Group(group) => {
                    let known = self.known(entity, "group", EntityKind::UserGroup, group);
                    self.model.user_groups.get(group).filter(|_| known).map(|group| group.account.clone())
                }
            };
            self.role_tenants(name, assignment);
            self.scope(entity, "scope", &assignment.scope, account.as_ref());
        }
    }

    /// Every holder's account has the tenant role that the role is for. So all roles of one user are of one.
    fn role_tenants(&mut self, name: &Name, assignment: &Assignment) {
        let model = self.model;
        let Some(role_tenant) = model.role(&assignment.role).and_then(|role| role.tenant) else { return };
        let users: Vec<&Name> = match &assignment.subject {
            Subject::User(user) => vec![user],
            Subject::Group(group) => {
                model.user_groups.get(group).map(|group| group.members.keys().collect()).unwrap_or_default()
            }
        };
        for user in users {
            let Some(account) = model.users.get(user).map(|user| &user.account) else { continue };
            let Some(tenant) = model.accounts.get(account).map(|account| account.tenant) else { continue };
            if tenant != role_tenant {
                let problem = Problem::RoleTenant {
                    role: assignment.role.clone(),
                    role_tenant,
                    user: user.clone(),
                    account: account.clone(),
                    account_tenant: tenant,
                };
                self.fault((EntityKind::Assignment, name), "role", problem);
            }
        }
    }

    /// What a scope names exists and lies within the account of those who are assigned.
    fn scope(&mut self, entity: (EntityKind, &Name), key: &str, scope: &Scope, account: Option<&Name>) {
        let model = self.model;
        let (kind, name, owner, word) = match scope {
            Scope::Account { account, .. } => {
                (EntityKind::Account, account, Some(account.clone()), "account")
            }
            Scope::DeviceGroup { group } => {
                let owner = model.device_groups.get(group).map(|group| group.account.clone());
                (EntityKind::DeviceGroup, group, owner, "device-group")
            }
            Scope::Facility { facility } => {
                let owner = model.facilities.get(facility).map(|node| node.account.clone());
                (EntityKind::Facility, facility, owner, "facility")
            }
            Scope::Organisation { organisation } => {
                let owner = model.organisations.get(organisation).map(|node| node.account.clone());
                (EntityKind::Organisation, organisation, owner, "organisation")
            }
            Scope::Device { device } => {
                let owner = model.devices.get(device).map(|device| device.account.clone());
                (EntityKind::Device, device, owner, "device")
            }
            Scope::Machine { machine } => {
                (EntityKind::Machine, machine, self.machine_account(machine), "machine")
            }
            Scope::AllOf { scopes } => {
                for (position, scope) in scopes.iter().enumerate() {
                    self.scope(entity, &format!("{key}.all-of[{position}]"), scope, account);
                }
                return;
            }
            // It grants nothing; the compiler reports it.
            Scope::Unknown => return,
        };
        let key = format!("{key}.{word}");
        if self.known(entity, key.as_str(), kind, name)
            && let (Some(owner), Some(account)) = (owner, account)
        {
            self.within(entity, key, (kind, name), &owner, account);
        }
    }
}
