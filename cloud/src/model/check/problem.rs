//! What can be wrong with a model, in words that say what was expected.

use postern_protocol::limits::{self, NAME_BYTES};
use postern_protocol::name::Name;
use postern_protocol::policy::{FormFault, Kind};
use postern_protocol::time::UnixTime;

use super::{NESTING, SCOPE_DEPTH};
use crate::clock;
use crate::model::{Beyond, EntityKind, Permission, Tenant};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFault {
    /// The kind of the entity.
    pub kind: EntityKind,
    /// Its name.
    pub name: Name,
    /// The key inside it, as in a fleet file; empty for the entity itself.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an entity of a readable model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A name that nothing has.
    #[error("there is no {kind} `{name}`{}", did_you_mean(nearest.as_ref()))]
    Unknown {
        /// The kind of thing that is named.
        kind: EntityKind,
        /// The name.
        name: Name,
        /// An existing name that is spelled alike.
        nearest: Option<Name>,
    },
    /// Accounts nested in a circle.
    #[error("the account is nested in itself, by way of {}; take one `parent` away", quoted(through))]
    Cycle {
        /// The accounts of the circle, from this one outwards.
        through: Vec<Name>,
    },
    /// An account below too many others. A circle that is longer than the limit is met as this.
    #[error("the account is nested more than {NESTING} deep; take a `parent` away")]
    TooDeep,
    /// Something of another account.
    #[error("{}", foreign(*kind, name, owner, account))]
    Foreign {
        /// The kind of thing that is named.
        kind: EntityKind,
        /// Its name.
        name: Name,
        /// Where it belongs.
        owner: Name,
        /// Where it would have to belong.
        account: Name,
    },
    /// A machine model of another company than the machine's.
    #[error(
        "machine model `{model}` is for machines of account `{account}` or nested in it, but device `{device}` \
         belongs to account `{owner}`"
    )]
    ForeignModel {
        /// The machine model.
        model: Name,
        /// Its account.
        account: Name,
        /// The device that leads to the machine.
        device: Name,
        /// The device's account.
        owner: Name,
    },
    /// A machine model has services, and nobody says where the machine is.
    #[error(
        "`address` is missing: machine model `{model}` has services, expected the address of this machine"
    )]
    NoAddress {
        /// The machine model.
        model: Name,
    },
    /// A place that companies of this tenant role do not have.
    #[error("account `{account}` is {}, only {} accounts have these", found.word(), expected.word())]
    WrongTenant {
        /// The account.
        account: Name,
        /// Its tenant role.
        found: Tenant,
        /// The tenant role that has such places.
        expected: Tenant,
    },
    /// A role for companies of another kind than the user's.
    #[error(
        "role `{role}` is for {} accounts, but user `{user}` belongs to `{account}`, which is {}",
        role_tenant.word(),
        account_tenant.word()
    )]
    RoleTenant {
        /// The role.
        role: Name,
        /// Whose users may hold it.
        role_tenant: Tenant,
        /// Who would hold it.
        user: Name,
        /// The user's account.
        account: Name,
        /// The account's tenant role.
        account_tenant: Tenant,
    },
    /// A permission that companies of the role's tenant role cannot hold.
    #[error(
        "permission `{}` cannot be held in {} accounts, only in {} ones; take it away",
        permission.word(),
        tenant.word(),
        permission.holders_word()
    )]
    Permission {
        /// The permission.
        permission: Permission,
        /// The role's tenant role.
        tenant: Tenant,
    },
    /// A custom role of a tenant role that has none.
    #[error("{} accounts have no custom roles", tenant.word())]
    NoCustomRoles {
        /// The tenant role.
        tenant: Tenant,
    },
    /// A custom role that is called like one that is built in.
    #[error("role `{role}` is built in; choose another name")]
    BuiltIn {
        /// The name.
        role: Name,
    },
    /// A role that needs no leave to be handed on.
    #[error("role `{role}` is built in and may be handed on by every `tenant-admin`; leave it out")]
    DelegableAnyway {
        /// The name.
        role: Name,
    },
    /// A custom role that is for no tenant role.
    #[error("`tenant` is missing; only built-in roles are for every account")]
    NoTenant,
    /// A custom role that ends by itself.
    #[error("only built-in roles end by themselves; give the assignments of this role an end")]
    RoleEnds,
    /// Access categories of a role that may not use tunnels.
    #[error(
        "the role has access categories but not the permission `{}`; add the permission, or take the categories away",
        Permission::UseRemoteAccess.word()
    )]
    NoUse,
    /// Access categories beside a custom role, which has its own.
    #[error("role `{role}` has its own categories; change them there, or take `categories` away here")]
    OwnCategories {
        /// The role.
        role: Name,
    },
    /// Access categories beside a built-in role that may not use tunnels.
    #[error(
        "role `{role}` may not use tunnels; take `categories` away, or choose a role with the permission `{}`",
        Permission::UseRemoteAccess.word()
    )]
    OpensNothing {
        /// The role.
        role: Name,
    },
    /// Validity without the cloud beside a custom role, which decides about it.
    #[error(
        "role `{role}` says itself whether it holds without the cloud; set `offline` there, here it can only be false"
    )]
    OwnOffline {
        /// The role.
        role: Name,
    },
    /// Validity without the cloud of a role that may not use tunnels.
    #[error(
        "role `{role}` may not use tunnels; take `offline` away, or choose a role with the permission `{}`",
        Permission::UseRemoteAccess.word()
    )]
    OfflineForNothing {
        /// The role.
        role: Name,
    },
    /// A built-in role that has ended.
    #[error("role `{role}` is deprecated and has ended at {}; choose another role", moment(*ends))]
    Retired {
        /// The role.
        role: Name,
        /// The first second in which it opens nothing.
        ends: UnixTime,
    },
    /// An allow that holds nowhere in particular.
    #[error("`scope` is missing; only a deny holds everywhere without one")]
    NoScope,
    /// An allow for somebody who may not use tunnels at all.
    #[error(
        "user `{user}` has no role that may use tunnels, so no entry can open one; assign a role with the permission \
         `{}` first",
        Permission::UseRemoteAccess.word()
    )]
    NoRole {
        /// The user.
        user: Name,
    },
    /// A condition on a deny.
    #[error("a deny holds whether or not there is a second factor; take `second-factor` away")]
    DenyFactor,
    /// An approval, of a deny.
    #[error("a deny holds whether or not something is approved; take `needs-approval` away")]
    DenyApproval,
    /// Validity without the cloud, of a deny.
    #[error("a deny holds with and without the cloud; take `offline` away")]
    DenyOffline,
    /// Scopes inside of scopes.
    #[error("scopes are nested more than {SCOPE_DEPTH} deep; name the groups in one `all-of`")]
    DeepScope,
    /// An intersection of nothing.
    #[error("`all-of` is empty, expected at least one scope")]
    EmptyScope,
    /// An end that is not after the beginning.
    #[error("found {}, expected an end after the beginning, {}", clock::show(*until), clock::show(*from))]
    Window {
        /// The beginning.
        from: UnixTime,
        /// The end.
        until: UnixTime,
    },
    /// A service with pages that is not HTTP.
    #[error("a {} service has no pages; only http services have", kind.word())]
    PagesOf {
        /// What the service speaks.
        kind: Kind,
    },
    /// Rules that no device would accept.
    #[error("{}", unacceptable(*fault))]
    Rules {
        /// Why not.
        fault: FormFault,
    },
    /// A page that no snapshot can hold.
    #[error("a page has at most {assets} assets, and its path at most {bytes} bytes")]
    LargePage {
        /// Assets allowed.
        assets: usize,
        /// Bytes allowed.
        bytes: usize,
    },
    /// A page that says more than its service.
    #[error("{}", beyond(.0))]
    PageBeyond(
        /// What is beyond.
        Beyond,
    ),
    /// A page that takes too many rows.
    #[error(
        "with what its service allows, the page has {rows} rows, at most {} fit; give it fewer assets, or the service fewer rows",
        limits::ALLOWS
    )]
    PageRows {
        /// Rows of the page.
        rows: usize,
    },
    /// The name of a page on its device is too long.
    #[error(
        "the page would be called `{service}.{page}`, which is longer than {NAME_BYTES} bytes; shorten one of the names"
    )]
    LongPage {
        /// The service, as it is known on the device.
        service: Name,
        /// The page.
        page: Name,
    },
    /// Two services of one device with one name.
    #[error("device `{device}` has another service `{service}` already")]
    SameService {
        /// The device.
        device: Name,
        /// The name of both.
        service: Name,
    },
    /// The name of a machine's service on its device is too long.
    #[error(
        "the service would be called `{machine}.{service}`, which is longer than {NAME_BYTES} bytes; shorten one of the names"
    )]
    LongService {
        /// The machine.
        machine: Name,
        /// The service.
        service: Name,
    },
}

/// What a page says beyond its service, and what to do about it.
fn beyond(beyond: &Beyond) -> String {
    let found = match beyond {
        Beyond::Path => "the service of this page lets nothing through at its path".to_owned(),
        Beyond::Method(method) => format!("the service of this page lets no `{method}` through at its path"),
        Beyond::Asset(path) => format!("the service of this page lets nobody read the asset `{path}`"),
    };
    format!(
        "{found}, and a page is never more than its service; widen the service, or take this from the page"
    )
}

/// An account belongs to nobody but itself.
fn foreign(kind: EntityKind, name: &Name, owner: &Name, account: &Name) -> String {
    if kind == EntityKind::Account {
        return format!("found account `{name}`, expected account `{account}` or one nested in it");
    }
    format!(
        "{kind} `{name}` belongs to account `{owner}`, expected one of account `{account}` or of one nested in it"
    )
}

/// What a device refuses, in the words of fleet files.
fn unacceptable(fault: FormFault) -> String {
    match fault {
        FormFault::Value { field, .. } => {
            let key = field.replace('_', "-");
            format!("no device accepts this `{key}`; docs/policy.md says what may stand there")
        }
        FormFault::Order { .. }
        | FormFault::Count { .. }
        | FormFault::Reference { .. }
        | FormFault::Retired { .. }
        | FormFault::Unassigned { .. } => fault.to_string(),
    }
}

fn did_you_mean(nearest: Option<&Name>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn quoted(names: &[Name]) -> String {
    if names.is_empty() {
        return "itself".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let known = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    known.map_or_else(|| "a time beyond all calendars".to_owned(), |time| time.to_string())
}
