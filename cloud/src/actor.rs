//! In whose name something is done with a case or an invitation: that of a user, by the rights that the user has, or that of the operator,
//! who may all.
//!
//! What is unknown, and who cannot act, is said once, here.

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::administration::{self, Done, Edit, Refused};
use crate::model::{EntityKind, Model};
use crate::publish::Publisher;
use crate::rights::Rights;
use crate::store::{PersonState, StoreError, Tx};

/// Who does something.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// A user of the model, by the rights that the user has.
    User(&'a Name),
    /// The operator of the installation, by the name that the system gives.
    Operator(&'a str),
}

/// A user who cannot act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user `{0}` cannot act: the invitation is not accepted yet, or the user is disabled")]
pub struct Absent(pub Name);

impl Actor<'_> {
    /// That a user may act at all: the model knows people before they have accepted, and after they are disabled.
    ///
    /// # Errors
    /// [`Refused::Unknown`] for whoever is not in the model, [`Absent`] for whoever is there and cannot act, or a [`StoreError`].
    pub(crate) fn present<E: From<Refused> + From<Absent> + From<StoreError>>(
        self,
        tx: &Tx<'_>,
    ) -> Result<(), E> {
        let Self::User(user) = self else { return Ok(()) };
        if !tx.model()?.users.contains_key(user) {
            return Err(unknown(EntityKind::User, user).into());
        }
        let is_active = tx.person(user)?.is_some_and(|person| person.state() == PersonState::Active);
        if is_active { Ok(()) } else { Err(Absent(user.clone()).into()) }
    }

    /// The rights of a user; none for the operator, who may all.
    ///
    /// # Errors
    /// [`Refused::Unknown`] for whoever is not in the model.
    pub(crate) fn rights<'m>(self, model: &'m Model, now: UnixTime) -> Result<Option<Rights<'m>>, Refused> {
        match self {
            Self::User(user) => {
                let rights = Rights::of(model, user, now);
                rights.map(Some).ok_or_else(|| unknown(EntityKind::User, user))
            }
            Self::Operator(_) => Ok(None),
        }
    }

    /// Makes edits in this name.
    ///
    /// # Errors
    /// A [`Refused`]; nothing of the transaction may be committed then.
    pub(crate) fn edit(
        self,
        tx: &Tx<'_>,
        publisher: &Publisher,
        edits: &[Edit],
        now: UnixTime,
    ) -> Result<Done, Refused> {
        match self {
            Self::User(user) => administration::edit(tx, publisher, user, edits, now),
            Self::Operator(name) => administration::operate(tx, publisher, name, edits, now),
        }
    }

    /// Who it is, for the history.
    pub(crate) fn who(self) -> String {
        match self {
            Self::User(user) => user.to_string(),
            Self::Operator(name) => format!("{name} (operator)"),
        }
    }
}

/// Whether something is there for whoever has these rights; everything is for the operator.
pub(crate) fn sees(rights: Option<&Rights<'_>>, kind: EntityKind, name: &Name) -> bool {
    rights.is_none_or(|rights| rights.sees(kind, name))
}

/// Said alike of what is not there and of what may not be seen.
pub(crate) fn unknown(kind: EntityKind, name: &Name) -> Refused {
    Refused::Unknown { kind, name: name.clone() }
}
