//! Checks roles and who holds them: permissions, categories, tenant roles, assignments.

use std::collections::BTreeSet;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::{Check, Entity, ModelFault, Problem};
use crate::model::{Assignment, EntityKind, Essential, Model, Permission, Role, Subject, Tenant};

impl Model {
    /// Faults of assignments and memberships of built-in roles that have ended. The pure check has no clock.
    #[must_use]
    pub fn retired(&self, now: UnixTime) -> Vec<ModelFault> {
        let fault = |kind, name: &Name, key, role: &Name| {
            let ends = Essential::roles().get(role)?.ends.filter(|ends| *ends <= now)?;
            Some(ModelFault {
                kind,
                name: name.clone(),
                key,
                problem: Problem::Retired { role: role.clone(), ends },
            })
        };
        let memberships = self.device_groups.iter().flat_map(|(name, group)| {
            group.members.iter().filter_map(move |(user, membership)| {
                fault(EntityKind::DeviceGroup, name, format!("member.{user}.role"), &membership.role)
            })
        });
        let assignments = self.assignments.iter().filter_map(|(name, assignment)| {
            fault(EntityKind::Assignment, name, "role".to_owned(), &assignment.role)
        });
        memberships.chain(assignments).collect()
    }
}

impl Check<'_> {
    pub(super) fn roles(&mut self) {
        for (name, role) in &self.model.roles {
            let entity = (EntityKind::Role, name);
            if Essential::from_word(name.as_str()).is_some() {
                self.fault(entity, "", Problem::BuiltIn { role: name.clone() });
            }
            match role.tenant {
                None => self.fault(entity, "tenant", Problem::NoTenant),
                Some(tenant @ Tenant::AppDeveloper) => {
                    self.fault(entity, "tenant", Problem::NoCustomRoles { tenant });
                }
                Some(tenant @ (Tenant::OperatingCompany | Tenant::ServiceProvider)) => {
                    self.permissions(entity, role, tenant);
                }
            }
            for category in &role.categories {
                self.known(entity, format_args!("categories[{category}]"), EntityKind::Category, category);
            }
            if !role.categories.is_empty() && !role.permissions.contains(&Permission::UseRemoteAccess) {
                self.fault(entity, "categories", Problem::NoUse);
            }
            if role.offline && !role.permissions.contains(&Permission::UseRemoteAccess) {
                self.fault(entity, "offline", Problem::OfflineForNothing { role: name.clone() });
            }
            if role.ends.is_some() {
                self.fault(entity, "", Problem::RoleEnds);
            }
        }
    }

    fn permissions(&mut self, entity: Entity<'_>, role: &Role, tenant: Tenant) {
        for permission in role.permissions.iter().filter(|permission| !permission.is_for(tenant)) {
            let key = format_args!("permissions[{}]", permission.word());
            self.fault(entity, key, Problem::Permission { permission: *permission, tenant });
        }
    }

    pub(super) fn assignments(&mut self) {
        let model = self.model;
        for (name, assignment) in &model.assignments {
            let entity = (EntityKind::Assignment, name);
            self.window(entity, assignment.from, assignment.until);
            self.opened(entity, &str::to_owned, &assignment.role, &assignment.categories);
            self.offline(entity, "offline", &assignment.role, assignment.offline);
            let account = match &assignment.subject {
                Subject::User(user) => {
                    self.known(entity, "user", EntityKind::User, user);
                    model.users.get(user).map(|user| &user.account)
                }
                Subject::Group(group) => {
                    self.known(entity, "group", EntityKind::UserGroup, group);
                    model.user_groups.get(group).map(|group| &group.account)
                }
            };
            self.holders(entity, assignment);
            self.scope(entity, &assignment.scope, account);
        }
    }

    /// The role exists, and categories stand beside it only where they open something.
    pub(super) fn opened(
        &mut self,
        entity: Entity<'_>,
        key: &dyn Fn(&str) -> String,
        role_name: &Name,
        categories: &BTreeSet<Name>,
    ) {
        for category in categories {
            let key = key(&format!("categories[{category}]"));
            self.known(entity, key, EntityKind::Category, category);
        }
        let Some(role) = self.model.role(role_name) else {
            self.known(entity, key("role"), EntityKind::Role, role_name);
            return;
        };
        if categories.is_empty() {
            return;
        }
        let role_name = role_name.clone();
        if Essential::from_word(role_name.as_str()).is_none() {
            self.fault(entity, key("categories"), Problem::OwnCategories { role: role_name });
        } else if !role.permissions.contains(&Permission::UseRemoteAccess) {
            self.fault(entity, key("categories"), Problem::OpensNothing { role: role_name });
        }
    }

    /// What is given of a role may hold without the cloud where it is for the giver to say so, and opens something.
    pub(super) fn offline(&mut self, entity: Entity<'_>, key: &str, role_name: &Name, said: Option<bool>) {
        let Some(role) = self.model.role(role_name).filter(|_| said == Some(true)) else { return };
        let role_name = role_name.clone();
        if Essential::from_word(role_name.as_str()).is_none() {
            self.fault(entity, key, Problem::OwnOffline { role: role_name });
        } else if !role.permissions.contains(&Permission::UseRemoteAccess) {
            self.fault(entity, key, Problem::OfflineForNothing { role: role_name });
        }
    }

    /// Every holder's account has the tenant role that the role is for. So all roles of one user are of one.
    fn holders(&mut self, entity: Entity<'_>, assignment: &Assignment) {
        match &assignment.subject {
            Subject::User(user) => self.holder(entity, "role", &assignment.role, user),
            Subject::Group(group) => {
                let Some(group) = self.model.user_groups.get(group) else { return };
                group.members.keys().for_each(|user| self.holder(entity, "role", &assignment.role, user));
            }
        }
    }

    pub(super) fn holder(&mut self, entity: Entity<'_>, key: &str, role: &Name, user: &Name) {
        let model = self.model;
        let Some(role_tenant) = model.role(role).and_then(|role| role.tenant) else { return };
        let Some(account) = model.users.get(user).map(|user| &user.account) else { return };
        let Some(account_tenant) = model.accounts.get(account).map(|account| account.tenant) else { return };
        if account_tenant != role_tenant {
            let (role, user, account) = (role.clone(), user.clone(), account.clone());
            self.fault(entity, key, Problem::RoleTenant { role, role_tenant, user, account, account_tenant });
        }
    }
}
