//! The essential roles, cell by cell: the tables as people write them, and what each role really holds.

use std::collections::BTreeSet;

use postern_cloud::model::Permission::{self, *};
use postern_cloud::model::{Essential, Role, SERVICE_MANAGER_ENDS, Tenant};

const OPERATING: &str = "\
| operating company | machine-operator | workshop-manager | operator-internal-cases | maintenance-engineer |
| internal service cases | - | - | create | create, manage |
| shared service cases | manage | manage | read | manage |
| digital shopfloor | read | manage | read | read |
| documents, media | read | manage | read | read |
| applications | - | manage | - | read |
| edge devices | - | manage | - | - |
| may (de)activate remote access | yes | yes | yes | yes |
| may use a tunnel | yes | yes | no | yes |
| may change device configuration | no | yes | no | no |";

const PROVIDER: &str = "\
| service provider | first-level-support | service-technician | master-data-manager | customer-data-manager | service-manager |
| service cases | manage | manage | - | read | all |
| remote access, file transfer | - | manage | - | - | all |
| customers, organisations, machines, contracts, device links | read | read | - | manage | all |
| machine models and templates | read | read | manage | read | all |
| documents, media | manage | manage | manage | manage | all |
| edge devices | read | manage | read | manage | all |
| applications | - | read | read, assign to models | - | all |
| machine licences | - | - | read, download | - | all |
| may use a tunnel | no | yes, with active case | no | no | yes, until 2028-01-01T00:00:00Z |
| may change device configuration | no | yes | no | yes | yes |";

/// What a row of the tables is about: what may be held there, from little to much, each with its word.
fn row(title: &str) -> &'static [(&'static str, &'static [Permission])] {
    match title {
        "internal service cases" => &[
            ("read", &[ReadInternalCases]),
            ("create", &[CreateInternalCases]),
            ("manage", &[ManageInternalCases]),
        ],
        "shared service cases" | "service cases" => {
            &[("read", &[ReadSharedCases]), ("manage", &[ManageSharedCases])]
        }
        "digital shopfloor" => &[("read", &[ReadShopfloor]), ("manage", &[ManageShopfloor])],
        "documents, media" => &[("read", &[ReadDocuments]), ("manage", &[ManageDocuments])],
        "applications" => &[
            ("read", &[ReadApplications]),
            ("assign to models", &[AssignApplications]),
            ("manage", &[ManageApplications]),
        ],
        "edge devices" => &[("read", &[ReadDevices]), ("manage", &[ManageDevices])],
        "remote access, file transfer" => {
            &[("read", &[ReadRemoteAccess]), ("manage", &[ManageRemoteAccess, ManageFileTransfer])]
        }
        "customers, organisations, machines, contracts, device links" => {
            &[("read", &[ReadCustomers]), ("manage", &[ManageCustomers])]
        }
        "machine models and templates" => &[("read", &[ReadModels]), ("manage", &[ManageModels])],
        "machine licences" => &[("read", &[ReadLicences]), ("download", &[DownloadLicences])],
        "may (de)activate remote access" => &[("yes", &[ActivateRemoteAccess])],
        "may use a tunnel" => &[("yes", &[UseRemoteAccess])],
        "may change device configuration" => &[("yes", &[ConfigureDevices])],
        other => panic!("no row is called `{other}`"),
    }
}

/// The cell of a role in a row. Who manages a thing can read it, and `manage` says so.
fn cell(title: &str, name: &str, role: &Role) -> String {
    let levels = row(title);
    let all: BTreeSet<Permission> = levels.iter().flat_map(|(_, all)| all.iter().copied()).collect();
    let held: BTreeSet<Permission> = all.intersection(&role.permissions).copied().collect();
    let words: Vec<&str> = levels
        .iter()
        .filter(|(_, level)| level.iter().all(|one| held.contains(one)))
        .map(|(word, _)| *word)
        .collect();
    let told =
        levels.iter().filter(|(word, _)| words.contains(word)).flat_map(|(_, level)| level.iter().copied());
    assert_eq!(told.collect::<BTreeSet<_>>(), held, "{name} holds a part of a level of `{title}`");
    if title.starts_with("may ") {
        let conditions = match (title, role.needs_case, role.ends) {
            ("may use a tunnel", true, None) => ", with active case".to_owned(),
            ("may use a tunnel", false, Some(ends)) => {
                assert_eq!(ends, SERVICE_MANAGER_ENDS);
                ", until 2028-01-01T00:00:00Z".to_owned()
            }
            (_, _, _) => String::new(),
        };
        return if words.is_empty() { "no".to_owned() } else { format!("yes{conditions}") };
    }
    // The deprecated role holds everything that there is, and its column says only that.
    if name == "service-manager" && held == all {
        return "all".to_owned();
    }
    let managing = words.contains(&"manage");
    let words: Vec<&str> = words.into_iter().filter(|word| !(managing && *word == "read")).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn each_cell_of_the_tables_is_what_the_role_holds() {
    for (table, tenant) in [(OPERATING, Tenant::OperatingCompany), (PROVIDER, Tenant::ServiceProvider)] {
        let mut lines = table.lines();
        let names = cells(lines.next().unwrap());
        let expected: Vec<&str> = Essential::ALL
            .iter()
            .filter(|role| role.tenant() == Some(tenant))
            .map(|role| role.word())
            .collect();
        assert_eq!(names[1..], expected);
        for line in lines {
            let line = cells(line);
            for (name, expected) in names.iter().zip(&line).skip(1) {
                let role = &Essential::roles()[*name];
                assert_eq!(cell(line[0], name, role), *expected, "{} of {name}", line[0]);
            }
        }
    }
}

#[test]
fn the_tables_tell_everything_that_an_essential_role_holds() {
    for (table, tenant) in [(OPERATING, Tenant::OperatingCompany), (PROVIDER, Tenant::ServiceProvider)] {
        let told: BTreeSet<Permission> = table
            .lines()
            .skip(1)
            .flat_map(|line| row(cells(line)[0]).iter().flat_map(|(_, level)| level.iter().copied()))
            .collect();
        for role in Essential::ALL.iter().filter(|role| role.tenant() == Some(tenant)) {
            let held = &Essential::roles()[role.word()].permissions;
            let untold: Vec<_> = held.difference(&told).collect();
            assert_eq!(untold, Vec::<&Permission>::new(), "{}", role.word());
        }
    }
}

#[test]
fn the_basic_roles_administrate_or_read_and_never_enter() {
    let held = |role: Essential| {
        let permissions = &Essential::roles()[role.word()].permissions;
        permissions.iter().map(|permission| permission.word()).collect::<BTreeSet<_>>()
    };
    let admin = [
        "users.show",
        "users.invite",
        "users.resend-invite",
        "users.revoke-invite",
        "users.delete",
        "roles.assign",
        "company.manage",
        "appearance.manage",
    ];
    assert_eq!(held(Essential::TenantAdmin), BTreeSet::from(admin));
    let reading: BTreeSet<&str> = Permission::ALL
        .iter()
        .map(|one| one.word())
        .filter(|word| word.ends_with(".read"))
        .chain(["users.show"])
        .collect();
    assert_eq!(held(Essential::DataAnalyst), reading);
    for role in Essential::ALL.iter().filter(|role| role.is_basic()) {
        assert!(!held(*role).contains("remote-access.use"), "{}", role.word());
    }
}

#[test]
fn a_custom_role_may_hold_whatever_the_essential_roles_of_its_tenant_role_hold() {
    for role in Essential::ALL {
        let Some(tenant) = role.tenant() else { continue };
        let held = &Essential::roles()[role.word()].permissions;
        let refused: Vec<_> = held.iter().filter(|permission| !permission.is_for(tenant)).collect();
        assert_eq!(refused, Vec::<&Permission>::new(), "{}", role.word());
    }
    // What the tables give to one side only stays there.
    for (permission, operating, provider) in [
        (ManageInternalCases, true, false),
        (ActivateRemoteAccess, true, false),
        (ManageFileTransfer, false, true),
        (DownloadLicences, false, true),
        (UseRemoteAccess, true, true),
        (ManageRoles, true, true),
    ] {
        assert_eq!(permission.is_for(Tenant::OperatingCompany), operating, "{}", permission.word());
        assert_eq!(permission.is_for(Tenant::ServiceProvider), provider, "{}", permission.word());
        assert!(!permission.is_for(Tenant::AppDeveloper), "{}", permission.word());
    }
}

#[test]
fn the_vocabulary_of_user_administration_is_fine_grained() {
    let users: Vec<&str> = Permission::ALL
        .iter()
        .map(|permission| permission.word())
        .filter(|word| word.starts_with("users."))
        .collect();
    assert_eq!(
        users,
        [
            "users.show",
            "users.create",
            "users.edit",
            "users.invite-customer",
            "users.invite",
            "users.resend-invite",
            "users.revoke-invite",
            "users.delete",
        ]
    );
}
