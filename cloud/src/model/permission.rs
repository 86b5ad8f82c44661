//! The closed vocabulary of administrative permissions.
//!
//! A permission lets somebody see, change or manage things of the cloud. No permission opens a tunnel: the
//! compiler does not read them. `docs/policy.md` lists them and a test compares.

use serde::{Deserialize, Serialize};

use super::account::Tenant;

macro_rules! permissions {
    ($( $(#[$doc:meta])* $name:ident, $word:literal, $holders:ident; )+) => {
        /// An administrative right.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Permission {
            $( $(#[$doc])* #[serde(rename = $word)] $name, )+
        }

        impl Permission {
            /// The whole vocabulary.
            pub const ALL: &'static [Self] = &[$( Self::$name, )+];

            /// The word in fleet files and messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )+ }
            }

            const fn holders(self) -> Holders {
                match self { $( Self::$name => Holders::$holders, )+ }
            }
        }
    };
}

/// Which companies' custom roles may contain a permission.
#[derive(Clone, Copy)]
enum Holders {
    Operating,
    Provider,
    Both,
}

permissions! {
    /// See cases inside the company.
    ReadInternalCases, "internal-cases.read", Operating;
    /// Open cases inside the company.
    CreateInternalCases, "internal-cases.create", Operating;
    /// Assign, edit and close cases inside the company.
    ManageInternalCases, "internal-cases.manage", Operating;
    /// See cases that are shared between operating company and service provider.
    ReadSharedCases, "shared-cases.read", Both;
    /// Open, edit and close shared cases.
    ManageSharedCases, "shared-cases.manage", Both;
    /// See facilities and assets.
    ReadShopfloor, "shopfloor.read", Operating;
    /// Change facilities and assets.
    ManageShopfloor, "shopfloor.manage", Operating;
    /// See customers, organisations, machines, contracts and device links.
    ReadCustomers, "customers.read", Provider;
    /// Change customers, organisations, machines, contracts and device links.
    ManageCustomers, "customers.manage", Provider;
    /// See machine models and templates.
    ReadModels, "machine-models.read", Provider;
    /// Change machine models and templates.
    ManageModels, "machine-models.manage", Provider;
    /// See documents and media.
    ReadDocuments, "documents.read", Both;
    /// Change documents and media.
    ManageDocuments, "documents.manage", Both;
    /// See applications.
    ReadApplications, "applications.read", Both;
    /// Install and remove applications.
    ManageApplications, "applications.manage", Both;
    /// Assign applications to machine models.
    AssignApplications, "applications.assign", Provider;
    /// See machine licences.
    ReadLicences, "licences.read", Provider;
    /// Download machine licences.
    DownloadLicences, "licences.download", Provider;
    /// See edge devices.
    ReadDevices, "devices.read", Both;
    /// Enrol, edit and remove edge devices.
    ManageDevices, "devices.manage", Both;
    /// Change the configuration of an edge device.
    ConfigureDevices, "devices.configure", Both;
    /// See how tunnels are configured, with secrets redacted.
    ReadRemoteAccess, "remote-access.read", Both;
    /// Configure remote access of machines; using it is not part of this.
    ManageRemoteAccess, "remote-access.manage", Provider;
    /// Activate and deactivate remote access; using it is not part of this.
    ActivateRemoteAccess, "remote-access.activate", Operating;
    /// Use tunnels, to what the access categories contain; without a category it opens nothing.
    UseRemoteAccess, "remote-access.use", Both;
    /// Transfer files to and from machines through the cloud.
    ManageFileTransfer, "file-transfer.manage", Provider;
    /// See who entered which machine, and what was refused.
    ReadAudit, "audit.read", Both;
    /// See users.
    ShowUsers, "users.show", Both;
    /// Create users.
    CreateUsers, "users.create", Both;
    /// Edit users.
    EditUsers, "users.edit", Both;
    /// Invite users of a customer.
    InviteCustomerUsers, "users.invite-customer", Both;
    /// Invite users of the own company.
    InviteUsers, "users.invite", Both;
    /// Send an invitation again to somebody who has not accepted it.
    ResendInvitations, "users.resend-invite", Both;
    /// Take an invitation back.
    RevokeInvitations, "users.revoke-invite", Both;
    /// Delete users.
    DeleteUsers, "users.delete", Both;
    /// Create and edit custom roles.
    ManageRoles, "roles.manage", Both;
    /// Assign roles and scopes.
    AssignRoles, "roles.assign", Both;
    /// Change what is said about the company.
    ManageCompany, "company.manage", Both;
    /// Change the appearance of the company's pages.
    ManageAppearance, "appearance.manage", Both;
}

impl Permission {
    /// Whether a custom role of this tenant role may contain it.
    #[must_use]
    pub const fn is_for(self, tenant: Tenant) -> bool {
        match (self.holders(), tenant) {
            (Holders::Operating | Holders::Both, Tenant::OperatingCompany)
            | (Holders::Provider | Holders::Both, Tenant::ServiceProvider) => true,
            (Holders::Operating, Tenant::ServiceProvider | Tenant::AppDeveloper)
            | (Holders::Provider, Tenant::OperatingCompany | Tenant::AppDeveloper)
            | (Holders::Both, Tenant::AppDeveloper) => false,
        }
    }

    /// The tenant roles whose custom roles may contain it, in words.
    #[must_use]
    pub const fn holders_word(self) -> &'static str {
        match self.holders() {
            Holders::Operating => "operating_company",
            Holders::Provider => "service_provider",
            Holders::Both => "both",
        }
    }
}
