//! What of the model may be shown to somebody. What may not be shown is, for them, not there.

use postern_protocol::name::Name;

use super::{Extent, Held, Rights, Site};
use crate::model::{
    Case, CaseSubject, EntityKind, Essential,
    Permission::{self, *},
    Scope, Selection, Subject, Visibility,
};

impl Rights<'_> {
    /// Whether something of the model may be shown to the user.
    #[must_use]
    pub fn sees(&self, kind: EntityKind, name: &Name) -> bool {
        let model = self.model;
        match kind {
            EntityKind::Account => name == self.account || self.over_any(COMPANIES, Site::Account(name)),
            EntityKind::User => {
                name == self.user
                    || model
                        .users
                        .get(name)
                        .is_some_and(|user| self.over_any(PEOPLE, Site::Account(&user.account)))
            }
            EntityKind::UserGroup => {
                let owner = model.user_groups.get(name).map(|group| &group.account);
                owner.is_some_and(|account| self.over_any(PEOPLE, Site::Account(account)))
            }
            EntityKind::MachineModel => {
                let owner = model.machine_models.get(name).map(|one| &one.account);
                owner
                    .is_some_and(|account| self.over_any(&[ReadModels, ManageModels], Site::Account(account)))
            }
            EntityKind::Device => {
                self.reads(kind, name)
                    || model.devices.contains_key(name) && self.over_any(NAMING, Site::Device(name))
            }
            EntityKind::Machine => {
                self.reads(kind, name)
                    || model.machines.contains_key(name) && self.over_any(NAMING, Site::Machine(name))
            }
            EntityKind::DeviceGroup => {
                let scope = Scope::DeviceGroup { group: name.clone() };
                let owner = model.device_groups.get(name).map(|group| &group.account);
                owner.is_some_and(|owner| {
                    self.sees_place(&scope, owner, &[ReadDevices, ManageDevices, AssignRoles])
                })
            }
            EntityKind::Facility => {
                let scope = Scope::Facility { facility: name.clone() };
                let owner = model.facilities.get(name).map(|node| &node.account);
                owner.is_some_and(|owner| {
                    self.sees_place(&scope, owner, &[ReadShopfloor, ManageShopfloor, AssignRoles])
                })
            }
            EntityKind::Organisation => {
                let scope = Scope::Organisation { organisation: name.clone() };
                let owner = model.organisations.get(name).map(|node| &node.account);
                owner.is_some_and(|owner| {
                    self.sees_place(&scope, owner, &[ReadCustomers, ManageCustomers, AssignRoles])
                })
            }
            EntityKind::Category => self.sees_category(name),
            EntityKind::Role => self.sees_role(name),
            EntityKind::Assignment => {
                model.assignments.get(name).is_some_and(|one| self.sees_subject(&one.subject))
            }
            EntityKind::Entry => model
                .entries
                .get(name)
                .is_some_and(|entry| self.sees_subject(&Subject::User(entry.user.clone()))),
            EntityKind::Case => model.cases.get(name).is_some_and(|case| self.sees_case(case)),
        }
    }

    /// Whether the whole of something that the user sees may be shown. Who assigns roles on devices and machines, or switches remote access of
    /// them, must be able to name them, and does not have to know what is behind them; everybody knows their company, and not what it may hand on.
    #[must_use]
    pub fn reads(&self, kind: EntityKind, name: &Name) -> bool {
        match kind {
            EntityKind::Device => {
                self.model.devices.contains_key(name) && self.over_any(DEVICES, Site::Device(name))
            }
            EntityKind::Machine => {
                self.model.machines.contains_key(name) && self.over_any(MACHINES, Site::Machine(name))
            }
            EntityKind::Account => self.over_any(COMPANIES, Site::Account(name)),
            EntityKind::User
            | EntityKind::UserGroup
            | EntityKind::MachineModel
            | EntityKind::DeviceGroup
            | EntityKind::Facility
            | EntityKind::Organisation
            | EntityKind::Category
            | EntityKind::Role
            | EntityKind::Assignment
            | EntityKind::Entry
            | EntityKind::Case => true,
        }
    }

    /// Whether who has which role on a group may be shown, and not only which devices are in it.
    #[must_use]
    pub fn sees_members(&self, group: &Name) -> bool {
        let owner = self.model.device_groups.get(group).map(|group| &group.account);
        owner.is_some_and(|owner| self.over_any(PEOPLE, Site::Account(owner)))
    }

    /// A group or place: of an account in one's charge, or the very one in which one has a role.
    fn sees_place(&self, scope: &Scope, owner: &Name, any_of: &[Permission]) -> bool {
        let holds = |held: &&Held<'_>| any_of.iter().any(|one| held.role.permissions.contains(one));
        self.over_any(any_of, Site::Account(owner))
            || self.model.is_within(owner, self.account)
                && self.held.iter().filter(holds).any(|held| match held.extent {
                    Extent::Scope(of) => of == scope,
                    Extent::Group(of) => matches!(scope, Scope::DeviceGroup { group } if group == of),
                })
    }

    /// The people of an account, with what is assigned to them.
    fn sees_subject(&self, subject: &Subject) -> bool {
        match subject {
            Subject::User(user) => self.sees(EntityKind::User, user),
            Subject::Group(group) => self.sees(EntityKind::UserGroup, group),
        }
    }

    /// Whether roles may be assigned anywhere, so that one has to know what there is to hand on.
    fn assigns(&self) -> bool {
        self.held.iter().any(|held| held.role.permissions.contains(&AssignRoles))
    }

    /// A category is seen by those who hold it, may hand it on, or see somebody who has it.
    fn sees_category(&self, name: &Name) -> bool {
        let model = self.model;
        let own = |held: &Held<'_>| held.opens(name);
        let delegable = model
            .accounts
            .get(self.account)
            .is_some_and(|account| account.delegable.categories.contains(name));
        let given = || {
            let of_role =
                |role: &Name| model.roles.get(role).is_some_and(|role| role.categories.contains(name));
            model.assignments.values().any(|one| {
                (one.categories.contains(name) || of_role(&one.role)) && self.sees_subject(&one.subject)
            }) || model.device_groups.values().any(|group| {
                group.members.iter().any(|(user, member)| {
                    (member.categories.contains(name) || of_role(&member.role))
                        && self.sees(EntityKind::User, user)
                })
            }) || model.entries.values().any(|entry| {
                entry.selection == Selection::Category(name.clone())
                    && self.sees(EntityKind::User, &entry.user)
            })
        };
        model.categories.contains_key(name)
            && (self.held.iter().any(own)
                || self.assigns() && delegable
                || self.over_everything(ManageRoles)
                || given())
    }

    fn sees_role(&self, name: &Name) -> bool {
        let model = self.model;
        if Essential::from_word(name.as_str()).is_some() {
            return true;
        }
        let own = |held: &Held<'_>| held.name == name;
        let delegable =
            model.accounts.get(self.account).is_some_and(|account| account.delegable.roles.contains(name));
        let given = || {
            model.assignments.values().any(|one| one.role == *name && self.sees_subject(&one.subject))
                || model.device_groups.values().any(|group| {
                    let of_role = |(user, member): (&Name, &crate::model::Membership)| {
                        member.role == *name && self.sees(EntityKind::User, user)
                    };
                    group.members.iter().any(of_role)
                })
        };
        model.roles.contains_key(name)
            && (self.held.iter().any(own)
                || self.assigns() && delegable
                || self.over_everything(ManageRoles)
                || given())
    }

    fn sees_case(&self, case: &Case) -> bool {
        let site = match &case.subject {
            CaseSubject::Machine(machine) => Site::Machine(machine),
            CaseSubject::Device(device) => Site::Device(device),
        };
        match case.visibility {
            Visibility::Shared => self.over_any(&[ReadSharedCases, ManageSharedCases], site),
            Visibility::Internal => {
                self.over_any(&[ReadInternalCases, CreateInternalCases, ManageInternalCases], site)
            }
        }
    }
}

const COMPANIES: &[Permission] =
    &[ReadCustomers, ManageCustomers, ManageCompany, ShowUsers, AssignRoles, InviteCustomerUsers];
const PEOPLE: &[Permission] = &[
    ShowUsers,
    CreateUsers,
    EditUsers,
    InviteUsers,
    InviteCustomerUsers,
    ResendInvitations,
    RevokeInvitations,
    DeleteUsers,
    AssignRoles,
];
const DEVICES: &[Permission] =
    &[ReadDevices, ManageDevices, ConfigureDevices, ReadRemoteAccess, ManageRemoteAccess];
const MACHINES: &[Permission] = &[
    ReadShopfloor,
    ManageShopfloor,
    ReadCustomers,
    ManageCustomers,
    ReadRemoteAccess,
    ManageRemoteAccess,
    ConfigureDevices,
];
/// Takes the name of a device or machine, and nothing behind it.
const NAMING: &[Permission] = &[AssignRoles, ActivateRemoteAccess];
