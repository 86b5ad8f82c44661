//! Service cases as people handle them: opened, activated for a time, deactivated, closed.
//!
//! 1. [`list`] and [`find`] show the cases that somebody may know of; others are, for them, not there.
//! 2. [`open`] makes a case, [`activate`] sets the window of remote access, [`deactivate`] takes it away, [`close`] takes the case away.
//! 3. Each is an edit of the [`administration`](crate::administration), judged there as the same edit through the API: who manages cases is one
//!    permission, who activates remote access is another, and using it is a third that none of this gives.
//!
//! Deliberately absent: the end of a window. The device holds it by itself, so nothing here waits for it.

use postern_protocol::name::{Name, NameFault};
use postern_protocol::time::UnixTime;

use crate::actor::{Absent, Actor, sees, unknown};
use crate::administration::{Done, Edit, Guard, Refused, Version};
use crate::chance;
use crate::clock;
use crate::fleet;
use crate::model::{Case, CaseSubject, EntityKind, Model};
use crate::publish::Publisher;
use crate::store::{StoreError, Tx};

/// A case with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: Name,
    /// The case.
    pub case: Case,
}

/// When remote access is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first second; none is from now on, whatever the clock of the device says.
    pub from: Option<UnixTime>,
    /// The first second in which it is active no more.
    pub until: UnixTime,
}

/// Where remote access of a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has activated it.
    Inactive,
    /// Its window has not begun.
    Planned,
    /// It is active.
    Active,
    /// Its window is over.
    Over,
}

/// Why nothing is done.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The window ends before it begins, or has ended already.
    #[error(
        "remote access would end {}, which is not after {}; give a later end", clock::show(*.until), clock::show(*.after)
    )]
    Window {
        /// The end.
        until: UnixTime,
        /// What it has to be after.
        after: UnixTime,
    },
    /// A user who has not accepted the invitation, or is disabled.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// No name can be made up.
    #[error("no name for the case can be made up ({0}); give it one")]
    Name(#[from] NameFault),
    /// It is not there, or not permitted.
    #[error("{}", .0.lines().join("\n"))]
    Refused(#[from] Refused),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Every case that somebody may know of, ascending by name.
///
/// # Errors
/// A [`CaseError`].
pub fn list(tx: &Tx<'_>, actor: Actor<'_>, now: UnixTime) -> Result<Vec<Named>, CaseError> {
    actor.present::<CaseError>(tx)?;
    let model = tx.model()?;
    let rights = actor.rights(&model, now)?;
    let cases = model.cases.iter().filter(|(name, _)| sees(rights.as_ref(), EntityKind::Case, name));
    Ok(cases.map(|(name, case)| Named { name: name.clone(), case: case.clone() }).collect())
}

/// One case with its version.
///
/// # Errors
/// [`Refused::Unknown`] alike for one that is not there and one that may not be seen.
pub fn find(
    tx: &Tx<'_>,
    actor: Actor<'_>,
    name: &Name,
    now: UnixTime,
) -> Result<(Named, Version), CaseError> {
    actor.present::<CaseError>(tx)?;
    let model = tx.model()?;
    let rights = actor.rights(&model, now)?;
    let case = model.cases.get(name).filter(|_| sees(rights.as_ref(), EntityKind::Case, name));
    let case = case.ok_or_else(|| unknown(EntityKind::Case, name))?;
    let named = Named { name: name.clone(), case: case.clone() };
    let version = tx.version(EntityKind::Case, name)?.unwrap_or(Version(0));
    Ok((named, version))
}

/// Opens a case, under a name of its own if none is given. A case with a window is activated in the same step.
///
/// # Errors
/// A [`CaseError`]; nothing of the transaction may be committed then.
pub fn open(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    (name, case): (Option<Name>, Case),
    now: UnixTime,
) -> Result<(Named, Done), CaseError> {
    actor.present::<CaseError>(tx)?;
    let name = name.map_or_else(|| made_up(&*tx.model()?, actor, &case), Ok)?;
    if let Some(until) = case.until {
        check(Window { from: case.from, until }, now)?;
    }
    let named = Named { name, case };
    let done = put(tx, publisher, actor, &named, Guard::Absent, now)?;
    Ok((named, done))
}

/// Activates remote access for a window, whatever the window was before.
///
/// # Errors
/// A [`CaseError`]; nothing of the transaction may be committed then.
pub fn activate(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    (name, window): (&Name, Window),
    now: UnixTime,
) -> Result<(Named, Done), CaseError> {
    check(window, now)?;
    set(tx, publisher, actor, (name, window.from, Some(window.until)), now)
}

/// Ends remote access; the case stays open. Live tunnels that rest on it are cut.
///
/// # Errors
/// A [`CaseError`]; nothing of the transaction may be committed then.
pub fn deactivate(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    name: &Name,
    now: UnixTime,
) -> Result<(Named, Done), CaseError> {
    set(tx, publisher, actor, (name, None, None), now)
}

/// Closes a case. Live tunnels that rest on it are cut.
///
/// # Errors
/// A [`CaseError`]; nothing of the transaction may be committed then.
pub fn close(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    name: &Name,
    now: UnixTime,
) -> Result<(Named, Done), CaseError> {
    let (named, version) = find(tx, actor, name, now)?;
    let edit = Edit { kind: EntityKind::Case, name: name.clone(), body: None, guard: Guard::Is(version) };
    let done = actor.edit(tx, publisher, &[edit], now)?;
    Ok((named, done))
}

impl Standing {
    /// Where a case stands at a time.
    #[must_use]
    pub fn of(case: &Case, now: UnixTime) -> Self {
        if !case.is_activated() {
            Self::Inactive
        } else if case.until.is_some_and(|until| until <= now) {
            Self::Over
        } else if case.from.is_some_and(|from| now < from) {
            Self::Planned
        } else {
            Self::Active
        }
    }

    /// The word in listings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Over => "over",
        }
    }
}

/// A window that is not over before it begins. One that begins now ends later than now.
fn check(Window { from, until }: Window, now: UnixTime) -> Result<(), CaseError> {
    let after = from.map_or(now, |from| from.max(now));
    if after < until { Ok(()) } else { Err(CaseError::Window { until, after }) }
}

/// A name that nobody can guess another one from: counting would say how many cases there are that one may not see.
fn made_up(model: &Model, actor: Actor<'_>, case: &Case) -> Result<Name, CaseError> {
    let account = match actor {
        Actor::User(user) => model.users.get(user).map(|user| &user.account),
        Actor::Operator(_) => {
            model.device_of_case(case).and_then(|device| model.devices.get(device)).map(|one| &one.account)
        }
    };
    let number = u32::from_be_bytes(chance::bytes());
    let name = account
        .map_or_else(|| format!("case-{number:08x}"), |account| format!("{account}.case-{number:08x}"));
    Ok(name.parse()?)
}

/// Sets the window of a case that is there.
fn set(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    (name, from, until): (&Name, Option<UnixTime>, Option<UnixTime>),
    now: UnixTime,
) -> Result<(Named, Done), CaseError> {
    let (mut named, version) = find(tx, actor, name, now)?;
    (named.case.from, named.case.until) = (from, until);
    let done = put(tx, publisher, actor, &named, Guard::Is(version), now)?;
    Ok((named, done))
}

fn put(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    Named { name, case }: &Named,
    guard: Guard,
    now: UnixTime,
) -> Result<Done, CaseError> {
    let mut alone = Model::default();
    alone.cases.insert(name.clone(), case.clone());
    let body = fleet::describe(&alone, EntityKind::Case, name).map_err(Refused::from)?;
    let edit = Edit { kind: EntityKind::Case, name: name.clone(), body, guard };
    Ok(actor.edit(tx, publisher, &[edit], now)?)
}

/// What a case is about, as people name it.
#[must_use]
pub fn subject(case: &Case) -> (&'static str, &Name) {
    match &case.subject {
        CaseSubject::Machine(machine) => ("machine", machine),
        CaseSubject::Device(device) => ("device", device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Visibility;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn case(from: Option<u64>, until: Option<u64>) -> Case {
        Case {
            subject: CaseSubject::Machine("press".parse().unwrap()),
            visibility: Visibility::Shared,
            from: from.map(at),
            until: until.map(at),
            label: None,
        }
    }

    #[test]
    fn a_case_stands_where_its_window_says_and_its_last_second_is_not_in_it() {
        let stands = |from, until| Standing::of(&case(from, until), at(100));
        assert_eq!(stands(None, None), Standing::Inactive);
        assert_eq!(stands(None, Some(101)), Standing::Active);
        assert_eq!(stands(Some(100), None), Standing::Active);
        assert_eq!(stands(Some(101), Some(200)), Standing::Planned);
        assert_eq!(stands(Some(50), Some(100)), Standing::Over);
    }

    #[test]
    fn a_window_that_is_over_before_it_begins_is_refused() {
        let ends_after = |from: Option<u64>, until| match check(
            Window { from: from.map(at), until: at(until) },
            at(100),
        ) {
            Err(CaseError::Window { after, .. }) => Some(after),
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(ends_after(None, 101), None);
        assert_eq!(ends_after(None, 100), Some(at(100)));
        assert_eq!(ends_after(Some(50), 90), Some(at(100)));
        assert_eq!(ends_after(Some(200), 201), None);
        assert_eq!(ends_after(Some(200), 200), Some(at(200)));
    }
}
