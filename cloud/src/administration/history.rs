//! The history of the model as far as somebody may read it: who changed which entity when, with what it was and what it is.
//!
//! 1. Whoever holds `audit.read` over an account reads; over a device or a machine alone it reads nothing here.
//! 2. Of each change the part of the model that it is about is put together as it was before, and as it was after ([`Piece`]). Whose
//!    something was is read from the changes themselves, which are exact to the revision, and not from times, which are exact to the second.
//! 3. A change is told where the caller, by the rights of now, sees the entity in both, and has `audit.read` in both over every account that
//!    is named or owns what is named; an account that was founded again under its name is another one. Otherwise it is left out as a whole, also
//!    where anything cannot be found: what a device was under a former owner is that owner's.
//! 4. Of what is told, what [`veil`] hides of an entity is left out, and so is a change of nothing else. Who made it is named where
//!    the caller sees that user, as of then.
//!
//! Roles and categories belong to no account: their changes are for those who may read of the whole installation.
//!
//! The model has no secrets: of a password the name stands in it. Deliberately absent: what a revision did to others, how its author has
//! called it, and revisions that are not about the model. Bounds: changes told, changes looked at, entities read for them.

mod piece;

use serde_json::Value as Json;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use self::piece::{Piece, Then};
use super::{Refused, rights, veil};
use crate::fleet;
use crate::model::{EntityKind, Model, Permission};
use crate::rights::{Forbidden, Ground, Rights, Site};
use crate::store::{ChangeMark, NotedChange, StoreError, Tx};

/// Which changes somebody wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only of entities of this kind.
    pub kind: Option<EntityKind>,
    /// Only of entities of this name.
    pub name: Option<Name>,
    /// Only what lies behind this place.
    pub after: Option<ChangeMark>,
    /// How many at most; [`limits::CHANGES`] in any case.
    pub limit: usize,
}

/// Some changes, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// The changes; they may be none although there are more.
    pub changes: Vec<ToldChange>,
    /// Behind which place to go on; none where everything was looked at.
    pub more: Option<ChangeMark>,
}

/// One change of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldChange {
    /// The revision.
    pub revision: i64,
    /// When.
    pub at: UnixTime,
    /// Who made it.
    pub by: Author,
    /// The kind.
    pub kind: EntityKind,
    /// The name.
    pub name: Name,
    /// Its keys before, as fleet files have them; none where it is new.
    pub before: Option<Json>,
    /// Its keys after; none where it is gone.
    pub after: Option<Json>,
    /// The place behind it.
    pub mark: ChangeMark,
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// A user.
    User(Name),
    /// Whoever runs the installation.
    Operator,
    /// Somebody of whom the caller may not know.
    Hidden,
}

/// Changes of the model that the caller may know of, newest first.
///
/// # Errors
/// [`Refused::Forbidden`] for a caller who holds `audit.read` over no account; or as [`me`](super::me).
pub fn history(
    tx: &Tx<'_>,
    caller: &Name,
    query: &HistoryQuery,
    now: UnixTime,
) -> Result<HistoryPage, Refused> {
    let model = tx.model()?;
    let rights = rights(&model, caller, now)?;
    if !model.accounts.keys().any(|account| rights.over(Permission::ReadAudit, Site::Account(account))) {
        let ground = Ground::Needs { any_of: &[Permission::ReadAudit] };
        let (kind, name) = (EntityKind::Account, rights.account().clone());
        return Err(Refused::Forbidden(vec![Forbidden { kind, name, ground }]));
    }
    let mut reader = Reader { tx, model: &model, rights: &rights, read: 0 };
    let limit = query.limit.clamp(1, limits::CHANGES);
    let from = query.after.unwrap_or(ChangeMark::NEWEST);
    let (mut changes, mut mark, mut looked) = (Vec::new(), from, 0);
    let is_whole = tx.changes_behind(from, query.kind, query.name.as_ref(), |change| {
        looked += 1;
        mark = mark.past(change.revision);
        if let Some(told) = reader.tell(change, mark)? {
            changes.push(told);
        }
        Ok::<_, Refused>(changes.len() < limit && looked < LOOKED_AT && reader.read < READ)
    })?;
    Ok(HistoryPage { changes, more: (!is_whole).then_some(mark) })
}

/// What is held while a page is put together.
struct Reader<'a> {
    tx: &'a Tx<'a>,
    /// The model of now.
    model: &'a Model,
    rights: &'a Rights<'a>,
    /// Entities that were read for it.
    read: usize,
}

impl Reader<'_> {
    /// What the caller may know of a change.
    fn tell(&mut self, change: NotedChange, mark: ChangeMark) -> Result<Option<ToldChange>, Refused> {
        let NotedChange { revision, at, who, what, kind, name, before, after } = change;
        let [before, after] =
            [(revision - 1, before), (revision, after)].map(|(revision, body)| match body {
                Some(body) => self.side(revision, kind, &name, &body).map(Some),
                None => Ok(None),
            });
        let (before, after) = match (before?, after?) {
            // A side that may not be known hides the other one.
            (Some(Side::Hidden), _) | (_, Some(Side::Hidden)) => return Ok(None),
            (before, after) => (before.and_then(Side::shown), after.and_then(Side::shown)),
        };
        if before == after {
            return Ok(None);
        }
        let by = self.author(revision, &who, &what)?;
        Ok(Some(ToldChange { revision, at, by, kind, name, before, after, mark }))
    }

    /// An entity as it was after a revision, as far as the caller may know of it.
    fn side(&mut self, revision: i64, kind: EntityKind, name: &Name, body: &str) -> Result<Side, Refused> {
        let mut then = Then::new(self.tx, revision, self.rights.account());
        let piece = then.piece(kind, name, body)?;
        self.read = self.read.saturating_add(then.read());
        let Some(piece) = piece else { return Ok(Side::Hidden) };
        let rights = self.rights.within(&piece.model);
        let is_known = match kind {
            EntityKind::Role | EntityKind::Category => {
                // What is given to whom says who sees them, and of then that is not put together.
                let is_there = self.model.contains(kind, name);
                self.rights.over_everything(Permission::ReadAudit)
                    && (!is_there || self.rights.sees(kind, name))
            }
            EntityKind::Account
            | EntityKind::User
            | EntityKind::UserGroup
            | EntityKind::MachineModel
            | EntityKind::Device
            | EntityKind::Machine
            | EntityKind::DeviceGroup
            | EntityKind::Facility
            | EntityKind::Organisation
            | EntityKind::Assignment
            | EntityKind::Entry
            | EntityKind::Case => rights.sees(kind, name) && self.is_audited(&rights, &piece, revision)?,
        };
        if !is_known {
            return Ok(Side::Hidden);
        }
        let Some(mut keys) = fleet::describe(&piece.model, kind, name)? else { return Ok(Side::Hidden) };
        veil::hide(&rights, &piece.model, kind, name, &mut keys);
        Ok(Side::Shown(keys))
    }

    /// Whether the caller may read of every account that a piece names, and each is the one that it was then.
    fn is_audited(&self, rights: &Rights<'_>, piece: &Piece, revision: i64) -> Result<bool, StoreError> {
        for account in &piece.owners {
            if !rights.over(Permission::ReadAudit, Site::Account(account)) {
                return Ok(false);
            }
            // An account that is gone is named by nobody's rights any more; those around it are.
            for name in piece.model.ancestry(account) {
                let is_another = self.model.accounts.contains_key(name)
                    && self.tx.was_removed_since(EntityKind::Account, name, revision)?;
                if is_another {
                    return Ok(false);
                }
                if name == rights.account() {
                    break;
                }
            }
        }
        Ok(!piece.owners.is_empty())
    }

    /// Who made a change, where the caller sees that user.
    fn author(&mut self, revision: i64, who: &str, what: &str) -> Result<Author, Refused> {
        // The operator has the name that the system gives, which may be that of a user as well.
        let user: Name = match who.parse() {
            Ok(user) if super::is_of_user(what) => user,
            Ok(_) | Err(_) => return Ok(Author::Operator),
        };
        // Whoever takes themselves away was there before.
        for revision in [revision, revision - 1] {
            let Some(body) = self.tx.entity_as_of(EntityKind::User, &user, revision)? else { continue };
            let is_known = matches!(self.side(revision, EntityKind::User, &user, &body)?, Side::Shown(_));
            return Ok(if is_known { Author::User(user) } else { Author::Hidden });
        }
        Ok(Author::Hidden)
    }
}

/// An entity as it was once.
enum Side {
    /// It is not the caller's to know.
    Hidden,
    /// Its keys.
    Shown(Json),
}

impl Side {
    fn shown(self) -> Option<Json> {
        match self {
            Self::Hidden => None,
            Self::Shown(keys) => Some(keys),
        }
    }
}

/// Changes that are looked at for one page, most of which may be others'.
const LOOKED_AT: usize = 2_000;
/// Entities that are read for one page; the last change of it may take more.
const READ: usize = 20_000;
