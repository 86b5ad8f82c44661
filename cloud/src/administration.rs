//! Edits of the model by the people it names: one entity, or a batch that is made as a whole or not at all.
//!
//! 1. Each edit names an entity and what it is to be, in the notation of fleet files. Whoever may not see something is told
//!    that it is unknown, whatever they want to do with it, and before anything else is looked at.
//! 2. An edit may say which version of the entity it was made from; one that somebody has overtaken is refused.
//! 3. The model with all edits is checked as a fleet file is, and judged by the caller's [`Rights`].
//! 4. The first user of an account becomes its tenant administrator, and no account loses its last one.
//! 5. What changed is stored with the entity as it was and as it is, compiled, and signed, in the caller's transaction.
//!
//! [`operate`] is the same for the operator of the installation, whom no rights of the model bind: 3. without the rights.
//!
//! Deliberately absent: who the caller is. Whoever calls [`edit`] has proved that, and the model is judged, not the door.

mod history;
mod refused;
mod veil;

use std::collections::BTreeSet;

use serde_json::Value as Json;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::compile::affected;
use crate::fleet;
use crate::model::{Assignment, EntityKind, Essential, Model, Permission, Scope, Subject};
use crate::publish::{Affected, Publication, Publisher};
use crate::rights::Rights;
use crate::store::Tx;

pub use self::history::{Author, HistoryPage, HistoryQuery, ToldChange, history};
pub use self::refused::{Refused, Sort};

/// What one entity is to be.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Its kind.
    pub kind: EntityKind,
    /// Its name.
    pub name: Name,
    /// Its keys; none takes it away.
    pub body: Option<Json>,
    /// Which version of it is meant.
    pub guard: Guard,
}

/// Which version of an entity an edit is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Whatever is there, or nothing.
    Any,
    /// Nothing of this name is there.
    Absent,
    /// This version.
    Is(Version),
}

/// The revision in which an entity was changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i64);

/// An entity as the caller may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// Its keys.
    pub body: Json,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The revision that it is; none where nothing was different.
    pub revision: Option<i64>,
    /// Devices for which new policy was signed.
    pub published: Vec<Publication>,
    /// Users who became the tenant administrator of an account because they are its first.
    pub founders: Vec<Name>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The name.
    pub user: Name,
    /// The account.
    pub account: Name,
    /// The permissions that are held somewhere; over what, their assignments say.
    pub permissions: BTreeSet<Permission>,
}

/// Who the caller is.
///
/// # Errors
/// [`Refused::Unknown`] for a caller who is not in the model, or that the state cannot be read.
pub fn me(tx: &Tx<'_>, caller: &Name, now: UnixTime) -> Result<Me, Refused> {
    let model = tx.model()?;
    let rights = rights(&model, caller, now)?;
    let (user, account) = (caller.clone(), rights.account().clone());
    Ok(Me { user, account, permissions: rights.permissions() })
}

/// What of a kind the caller may see, ascending by name and after `after`, at most `limit`; and behind which name there is more.
///
/// # Errors
/// As [`me`].
pub fn list(
    tx: &Tx<'_>,
    caller: &Name,
    kind: EntityKind,
    after: Option<&Name>,
    limit: usize,
    now: UnixTime,
) -> Result<(Vec<Seen>, Option<Name>), Refused> {
    let model = tx.model()?;
    let rights = rights(&model, caller, now)?;
    let names = model.names(kind).into_iter().filter(|name| after.is_none_or(|after| *name > after));
    let mut seen = names.filter(|name| rights.sees(kind, name));
    let page: Vec<&Name> = seen.by_ref().take(limit).collect();
    let more = page.last().filter(|_| seen.next().is_some()).map(|last| Name::clone(last));
    let page = page.into_iter().map(|name| describe(tx, &model, &rights, kind, name));
    Ok((page.collect::<Result<_, _>>()?, more))
}

/// One entity, if the caller may see it.
///
/// # Errors
/// [`Refused::Unknown`] alike for what is not there and what may not be seen.
pub fn show(
    tx: &Tx<'_>,
    caller: &Name,
    kind: EntityKind,
    name: &Name,
    now: UnixTime,
) -> Result<Seen, Refused> {
    let model = tx.model()?;
    let rights = rights(&model, caller, now)?;
    if !rights.sees(kind, name) {
        return Err(Refused::Unknown { kind, name: name.clone() });
    }
    describe(tx, &model, &rights, kind, name)
}

/// Makes all of some edits, or none.
///
/// # Errors
/// A [`Refused`]; nothing of the transaction may be committed then.
pub fn edit(
    tx: &Tx<'_>,
    publisher: &Publisher,
    caller: &Name,
    edits: &[Edit],
    now: UnixTime,
) -> Result<Done, Refused> {
    let old = tx.model()?;
    let rights = rights(&old, caller, now)?;
    let mut new = Model::clone(&old);
    let mut refusals = Vec::new();
    for edit in edits {
        if let Err(refused) = apply(tx, &rights, &old, &mut new, edit) {
            if refused.is_ours() {
                return Err(refused);
            }
            refusals.push(refused);
        }
    }
    Refused::none_of(refusals)?;
    veil::check(&rights, &old, &new, edits)?;
    let forbidden = rights.judge(&new);
    if !forbidden.is_empty() {
        return Err(Refused::Forbidden(forbidden));
    }
    settle(tx, publisher, caller.as_str(), (&old, new), edits, now)
}

/// Makes all of some edits, or none, on the word of the operator of the installation, who signs its policy and may all.
///
/// # Errors
/// A [`Refused`]; nothing of the transaction may be committed then.
pub fn operate(
    tx: &Tx<'_>,
    publisher: &Publisher,
    operator: &str,
    edits: &[Edit],
    now: UnixTime,
) -> Result<Done, Refused> {
    let old = tx.model()?;
    let mut new = Model::clone(&old);
    for Edit { kind, name, body, guard } in edits {
        if old.contains(*kind, name) {
            overtaken(tx, *kind, name, *guard)?;
        } else if body.is_none() || matches!(guard, Guard::Is(_)) {
            return Err(Refused::Unknown { kind: *kind, name: name.clone() });
        }
        match body {
            Some(body) => new.put(fleet::read_one(*kind, name, body).map_err(Refused::Complaints)?),
            None => new.remove(*kind, name),
        }
    }
    let faults = new.check(&BTreeSet::new());
    if !faults.is_empty() {
        return Err(Refused::Faults(faults));
    }
    settle(tx, publisher, &format!("{operator} (operator)"), (&old, new), edits, now)
}

/// Stores, compiles and signs a model that may be made.
fn settle(
    tx: &Tx<'_>,
    publisher: &Publisher,
    who: &str,
    (old, mut new): (&Model, Model),
    edits: &[Edit],
    now: UnixTime,
) -> Result<Done, Refused> {
    let founders = found(old, &mut new, now);
    let bereft = old.bereft_in(&new, now);
    if !bereft.is_empty() {
        return Err(Refused::Bereft(bereft));
    }
    // What has ended by now and was there before is nobody's fault.
    let was = old.retired(now);
    let retired: Vec<_> = new.retired(now).into_iter().filter(|fault| !was.contains(fault)).collect();
    if !retired.is_empty() {
        return Err(Refused::Faults(retired));
    }
    if *old == new {
        return Ok(Done { revision: None, published: Vec::new(), founders });
    }
    let revision = tx.save_model(&new, now, who, &what(edits))?;
    let devices = affected(old, &new);
    let published = publisher.publish(tx, Affected::Edit { model: &new, devices: &devices }, now)?;
    Ok(Done { revision: Some(revision), published, founders })
}

fn rights<'a>(model: &'a Model, caller: &Name, now: UnixTime) -> Result<Rights<'a>, Refused> {
    let unknown = || Refused::Unknown { kind: EntityKind::User, name: caller.clone() };
    Rights::of(model, caller, now).ok_or_else(unknown)
}

fn describe(
    tx: &Tx<'_>,
    model: &Model,
    rights: &Rights<'_>,
    kind: EntityKind,
    name: &Name,
) -> Result<Seen, Refused> {
    let unknown = || Refused::Unknown { kind, name: name.clone() };
    // Built-in roles are in no model.
    let essential = Essential::from_word(name.as_str()).filter(|_| kind == EntityKind::Role);
    let mut body = match essential {
        Some(_) => {
            let mut shown = Model::default();
            shown.roles.extend(model.role(name).map(|role| (name.clone(), role.clone())));
            fleet::describe(&shown, kind, name)?
        }
        None => fleet::describe(model, kind, name)?,
    }
    .ok_or_else(unknown)?;
    veil::hide(rights, model, kind, name, &mut body);
    let version = tx.version(kind, name)?.unwrap_or(Version(0));
    Ok(Seen { name: name.clone(), version, body })
}

/// Puts one edit into the model.
fn apply(tx: &Tx<'_>, rights: &Rights<'_>, old: &Model, new: &mut Model, edit: &Edit) -> Result<(), Refused> {
    let Edit { kind, ref name, ref body, guard } = *edit;
    let unknown = || Refused::Unknown { kind, name: name.clone() };
    let is_seen = rights.sees(kind, name) && old.contains(kind, name);
    let (true, Some(body)) = (is_seen, body) else {
        // Taking away, or a version, of what is not there for this caller.
        let Some(body) = body.as_ref().filter(|_| !matches!(guard, Guard::Is(_))) else {
            if !is_seen {
                return Err(unknown());
            }
            overtaken(tx, kind, name, guard)?;
            new.remove(kind, name);
            return Ok(());
        };
        let prefix = format!("{}.", rights.account());
        if !name.as_str().starts_with(&prefix) {
            return Err(Refused::Prefix { kind, name: name.clone(), prefix });
        }
        if old.contains(kind, name) {
            return Err(Refused::Taken { kind, name: name.clone() });
        }
        new.put(fleet::read_one(kind, name, body).map_err(Refused::Complaints)?);
        return Ok(());
    };
    overtaken(tx, kind, name, guard)?;
    let mut read = fleet::read_one(kind, name, body).map_err(Refused::Complaints)?;
    veil::keep(rights, old, name, &mut read);
    new.put(read);
    Ok(())
}

fn overtaken(tx: &Tx<'_>, kind: EntityKind, name: &Name, guard: Guard) -> Result<(), Refused> {
    match guard {
        Guard::Any => Ok(()),
        Guard::Absent => Err(Refused::Taken { kind, name: name.clone() }),
        Guard::Is(version) if tx.version(kind, name)? == Some(version) => Ok(()),
        Guard::Is(_) => Err(Refused::Overtaken { kind, name: name.clone() }),
    }
}

/// Makes the first user of each account that had none its tenant administrator; says who that is.
fn found(old: &Model, new: &mut Model, now: UnixTime) -> Vec<Name> {
    let populated: BTreeSet<&Name> = old.users.values().map(|user| &user.account).collect();
    let mut accounts: BTreeSet<Name> = new.users.values().map(|user| user.account.clone()).collect();
    accounts.retain(|account| !populated.contains(account));
    let mut founders = Vec::new();
    for account in accounts {
        // Administrators of the account above see down, and are nobody of this one.
        if new.administrators(now).contains_key(&account) {
            continue;
        }
        let Some((first, _)) = new.users.iter().find(|(_, user)| user.account == account) else { continue };
        let (Ok(at), Ok(role)) = (format!("{first}.admin").parse(), Essential::TenantAdmin.word().parse())
        else {
            continue;
        };
        let first: Name = first.clone();
        let assignment = Assignment {
            subject: Subject::User(first.clone()),
            role,
            categories: BTreeSet::new(),
            scope: Scope::Account { account, nested: false },
            from: None,
            until: None,
            needs_case: false,
            needs_approval: false,
            offline: None,
        };
        new.assignments.insert(at, assignment);
        founders.push(first);
    }
    founders
}

/// Whether the log of revisions says so of an edit by a user: whoever else changes the model calls it otherwise.
fn is_of_user(what: &str) -> bool {
    [PUT, REMOVE].iter().any(|verb| what.strip_prefix(verb).is_some_and(|rest| rest.starts_with(' ')))
}

/// For the log of revisions.
fn what(edits: &[Edit]) -> String {
    let one = |edit: &Edit| {
        format!("{} {} {}", if edit.body.is_some() { PUT } else { REMOVE }, edit.kind, edit.name)
    };
    let mut text = edits.iter().take(NAMED).map(one).collect::<Vec<_>>().join(", ");
    if let Some(more) = edits.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Makes or replaces something, in the log of revisions.
const PUT: &str = "put";
/// Takes something away, in the log of revisions.
const REMOVE: &str = "remove";
/// Edits that a revision names.
const NAMED: usize = 4;
