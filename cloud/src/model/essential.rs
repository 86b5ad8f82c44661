//! The essential roles: built in, the same in every installation, never edited.
//!
//! Their permissions are the tables of `docs/policy.md`, cell by cell; a test compares. They select no access category:
//! what an assignment of such a role opens is named by the assignment, and only where the role may use tunnels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::account::Tenant;
use super::permission::Permission::{self, *};
use super::role::Role;

macro_rules! essential {
    ($( $(#[$doc:meta])* $name:ident, $word:literal, $tenant:expr, $permissions:expr; )+) => {
        /// A role that is built in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Essential {
            $( $(#[$doc])* $name, )+
        }

        impl Essential {
            /// All of them, in the order of the tables.
            pub const ALL: &'static [Self] = &[$( Self::$name, )+];

            /// The name in fleet files and messages. No custom role may take it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )+ }
            }

            /// The tenant role of the accounts whose users may hold it; none is any.
            #[must_use]
            pub const fn tenant(self) -> Option<Tenant> {
                match self { $( Self::$name => $tenant, )+ }
            }

            const fn permissions(self) -> &'static [Permission] {
                match self { $( Self::$name => &$permissions, )+ }
            }
        }
    };
}

const OPERATING: Option<Tenant> = Some(Tenant::OperatingCompany);
const PROVIDER: Option<Tenant> = Some(Tenant::ServiceProvider);

essential! {
    /// Runs machines: sees its shopfloor, opens and closes shared cases, switches remote access, uses tunnels.
    MachineOperator, "machine-operator", OPERATING, [
        ReadSharedCases, ManageSharedCases, ReadShopfloor, ReadDocuments, ActivateRemoteAccess, UseRemoteAccess,
    ];
    /// Runs a workshop: all that an operator does, and shopfloor, documents, applications and devices.
    WorkshopManager, "workshop-manager", OPERATING, [
        ReadSharedCases, ManageSharedCases, ReadShopfloor, ManageShopfloor, ReadDocuments, ManageDocuments,
        ReadApplications, ManageApplications, ReadDevices, ManageDevices, ActivateRemoteAccess, UseRemoteAccess,
        ConfigureDevices,
    ];
    /// Opens internal cases; may switch remote access and not use it. Optional.
    OperatorInternalCases, "operator-internal-cases", OPERATING, [
        CreateInternalCases, ReadSharedCases, ReadShopfloor, ReadDocuments, ActivateRemoteAccess,
    ];
    /// Works on internal and shared cases, and uses tunnels. Optional.
    MaintenanceEngineer, "maintenance-engineer", OPERATING, [
        ReadInternalCases, CreateInternalCases, ManageInternalCases, ReadSharedCases, ManageSharedCases,
        ReadShopfloor, ReadDocuments, ReadApplications, ActivateRemoteAccess, UseRemoteAccess,
    ];
    /// Takes service cases and helps with documents; never enters a machine.
    FirstLevelSupport, "first-level-support", PROVIDER, [
        ReadSharedCases, ManageSharedCases, ReadCustomers, ReadModels, ReadDocuments, ManageDocuments, ReadDevices,
    ];
    /// Services machines, through tunnels while a case is active.
    ServiceTechnician, "service-technician", PROVIDER, [
        ReadSharedCases, ManageSharedCases, ReadRemoteAccess, ManageRemoteAccess, ManageFileTransfer, ReadCustomers,
        ReadModels, ReadDocuments, ManageDocuments, ReadDevices, ManageDevices, ReadApplications, UseRemoteAccess,
        ConfigureDevices,
    ];
    /// Keeps machine models and templates; never enters a machine.
    MasterDataManager, "master-data-manager", PROVIDER, [
        ReadModels, ManageModels, ReadDocuments, ManageDocuments, ReadDevices, ReadApplications, AssignApplications,
        ReadLicences, DownloadLicences,
    ];
    /// Keeps customers, organisations, machines and device links; never enters a machine.
    CustomerDataManager, "customer-data-manager", PROVIDER, [
        ReadSharedCases, ReadCustomers, ManageCustomers, ReadModels, ReadDocuments, ManageDocuments, ReadDevices,
        ManageDevices, ConfigureDevices,
    ];
    /// Everything of a service provider. Deprecated: it opens nothing from [`SERVICE_MANAGER_ENDS`] on.
    ServiceManager, "service-manager", PROVIDER, [
        ReadSharedCases, ManageSharedCases, ReadRemoteAccess, ManageRemoteAccess, ManageFileTransfer, ReadCustomers,
        ManageCustomers, ReadModels, ManageModels, ReadDocuments, ManageDocuments, ReadDevices, ManageDevices,
        ReadApplications, ManageApplications, AssignApplications, ReadLicences, DownloadLicences, UseRemoteAccess,
        ConfigureDevices,
    ];
    /// Invites and deletes users, assigns roles, keeps what is said about the company. No operational work.
    TenantAdmin, "tenant-admin", None, [
        ShowUsers, InviteUsers, ResendInvitations, RevokeInvitations, DeleteUsers, AssignRoles, ManageCompany,
        ManageAppearance,
    ];
    /// Reads everything over the API, with secrets redacted. Writes nothing, enters nothing.
    DataAnalyst, "data-analyst", None, [
        ReadInternalCases, ReadSharedCases, ReadShopfloor, ReadCustomers, ReadModels, ReadDocuments,
        ReadApplications, ReadLicences, ReadDevices, ReadRemoteAccess, ReadAudit, ShowUsers,
    ];
}

impl Essential {
    /// The essential role of a name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.word() == word)
    }

    /// Whether it combines with roles of any tenant role, as the basic roles do.
    #[must_use]
    pub const fn is_basic(self) -> bool {
        self.tenant().is_none()
    }

    /// Every essential role by its name.
    #[must_use]
    pub fn roles() -> &'static BTreeMap<Name, Role> {
        static ROLES: LazyLock<BTreeMap<Name, Role>> = LazyLock::new(|| {
            let named =
                Essential::ALL.iter().filter_map(|role| Some((role.word().parse().ok()?, role.body())));
            named.collect()
        });
        &ROLES
    }

    fn body(self) -> Role {
        Role {
            tenant: self.tenant(),
            permissions: self.permissions().iter().copied().collect(),
            categories: BTreeSet::new(),
            second_factor_s: None,
            needs_case: self == Self::ServiceTechnician,
            offline: false,
            ends: (self == Self::ServiceManager).then_some(SERVICE_MANAGER_ENDS),
            label: None,
        }
    }
}

/// 2028-01-01T00:00:00Z: from then on `service-manager` opens nothing and cannot be assigned.
pub const SERVICE_MANAGER_ENDS: UnixTime = UnixTime::from_secs(1_830_297_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_essential_role_is_found_by_its_name() {
        assert_eq!(Essential::roles().len(), Essential::ALL.len());
        for role in Essential::ALL {
            assert_eq!(Essential::from_word(role.word()), Some(*role));
        }
    }
}
