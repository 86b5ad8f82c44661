//! The part of the model that one entity is about, as it was after a revision.
//!
//! 1. The entity, what it names that belongs to somebody, and the accounts that own these, up to the reader's own.
//! 2. What cannot be found or read makes the whole uncertain, and then there is no piece; nor is there one of what lay outside of the reader's
//!    company, so that nobody can tell how much there is of it.
//!
//! A machine model that a machine is built after is not looked for: it is its maker's, and whoever sees the machine knows its name.

use std::collections::BTreeSet;

use postern_protocol::name::Name;

use crate::model::{CaseSubject, EntityKind, Model, NESTING, Scope, Subject};
use crate::store::{StoreError, Tx};

/// An entity with what it names.
#[derive(Debug)]
pub(super) struct Piece {
    /// All of it, and nothing beside.
    pub(super) model: Model,
    /// The accounts that are named, or own what is named.
    pub(super) owners: BTreeSet<Name>,
}

/// The model after one revision, of which parts are read.
#[derive(Debug)]
pub(super) struct Then<'a> {
    tx: &'a Tx<'a>,
    revision: i64,
    /// The company of whoever reads. What it lies in is nobody's business, and is not named by saying where it lies.
    company: &'a Name,
    read: usize,
}

impl<'a> Then<'a> {
    pub(super) const fn new(tx: &'a Tx<'a>, revision: i64, company: &'a Name) -> Self {
        Self { tx, revision, company, read: 0 }
    }

    /// Entities that were read.
    pub(super) const fn read(&self) -> usize {
        self.read
    }

    /// What an entity of this form was about; none where that is uncertain, or was not all of the reader's company.
    pub(super) fn piece(
        &mut self,
        kind: EntityKind,
        name: &Name,
        body: &str,
    ) -> Result<Option<Piece>, StoreError> {
        let mut piece = Piece { model: Model::default(), owners: BTreeSet::new() };
        if piece.model.insert_row(kind, name.clone(), body).is_err() {
            return Ok(None);
        }
        let Some(named) = named(&piece.model, kind, name, self.company) else { return Ok(None) };
        // Whose it was itself comes first: of most of what is others' nothing more is read.
        let is_owned = named.contains(&(kind, name.clone()));
        if is_owned && !self.add(&mut piece, kind, name)? {
            return Ok(None);
        }
        for (kind, name) in named {
            if !self.add(&mut piece, kind, &name)? {
                return Ok(None);
            }
        }
        Ok(Some(piece))
    }

    /// Adds something that is named, and whose it was; false where that is uncertain, or not of the reader's company.
    fn add(&mut self, piece: &mut Piece, kind: EntityKind, name: &Name) -> Result<bool, StoreError> {
        if !self.load(&mut piece.model, kind, name)? {
            return Ok(false);
        }
        let Some(owner) = owner(&piece.model, kind, name) else {
            // A machine is whose its device is.
            let device = piece.model.machines.get(name).filter(|_| kind == EntityKind::Machine);
            let Some(device) = device.map(|machine| machine.device.clone()) else { return Ok(false) };
            return self.add(piece, EntityKind::Device, &device);
        };
        if piece.owners.insert(owner.clone()) { self.climb(&mut piece.model, owner) } else { Ok(true) }
    }

    /// Adds an account with those that it lay in, up to the reader's own; false also where it did not lie in that one.
    fn climb(&mut self, model: &mut Model, account: Name) -> Result<bool, StoreError> {
        let mut account = account;
        for _step in 0..NESTING.saturating_add(2) {
            if !self.load(model, EntityKind::Account, &account)? {
                return Ok(false);
            }
            if account == *self.company {
                return Ok(true);
            }
            let Some(parent) = model.accounts.get(&account).and_then(|body| body.parent.clone()) else {
                return Ok(false);
            };
            account = parent;
        }
        Ok(false)
    }

    fn load(&mut self, model: &mut Model, kind: EntityKind, name: &Name) -> Result<bool, StoreError> {
        if model.contains(kind, name) {
            return Ok(true);
        }
        self.read += 1;
        let body = self.tx.entity_as_of(kind, name, self.revision)?;
        Ok(body.is_some_and(|body| model.insert_row(kind, name.clone(), &body).is_ok()))
    }
}

/// What an entity names that belongs to somebody, itself included; none where it names what this version does not know.
fn named(
    model: &Model,
    kind: EntityKind,
    name: &Name,
    company: &Name,
) -> Option<BTreeSet<(EntityKind, Name)>> {
    let mut named = BTreeSet::new();
    let mut add = |kind, names: &mut dyn Iterator<Item = &Name>| {
        named.extend(names.map(|name| (kind, name.clone())));
    };
    match kind {
        EntityKind::Account => {
            let parent = model.accounts.get(name)?.parent.as_ref().filter(|_| name != company);
            add(kind, &mut parent.into_iter().chain([name]));
        }
        EntityKind::User | EntityKind::MachineModel | EntityKind::Device | EntityKind::Machine => {
            add(kind, &mut [name].into_iter());
        }
        EntityKind::UserGroup => {
            add(kind, &mut [name].into_iter());
            add(EntityKind::User, &mut model.user_groups.get(name)?.members.keys());
        }
        EntityKind::DeviceGroup => {
            let body = model.device_groups.get(name)?;
            add(kind, &mut [name].into_iter());
            add(EntityKind::Device, &mut body.devices.iter());
            add(EntityKind::User, &mut body.members.keys());
        }
        EntityKind::Facility | EntityKind::Organisation => {
            let nodes = if kind == EntityKind::Facility { &model.facilities } else { &model.organisations };
            let body = nodes.get(name)?;
            add(kind, &mut [name].into_iter());
            add(EntityKind::Device, &mut body.devices.iter());
            add(EntityKind::Machine, &mut body.machines.iter());
        }
        EntityKind::Category | EntityKind::Role => {}
        EntityKind::Assignment => {
            let body = model.assignments.get(name)?;
            match &body.subject {
                Subject::User(user) => add(EntityKind::User, &mut [user].into_iter()),
                Subject::Group(group) => add(EntityKind::UserGroup, &mut [group].into_iter()),
            }
            scope(&body.scope, &mut named)?;
        }
        EntityKind::Entry => {
            let body = model.entries.get(name)?;
            add(EntityKind::User, &mut [&body.user].into_iter());
            body.scope.as_ref().map_or(Some(()), |of| scope(of, &mut named))?;
        }
        EntityKind::Case => match &model.cases.get(name)?.subject {
            CaseSubject::Machine(machine) => add(EntityKind::Machine, &mut [machine].into_iter()),
            CaseSubject::Device(device) => add(EntityKind::Device, &mut [device].into_iter()),
        },
    }
    Some(named)
}

/// What a scope names; none where it is of a type that this version does not know.
fn scope(of: &Scope, named: &mut BTreeSet<(EntityKind, Name)>) -> Option<()> {
    let one = match of {
        Scope::Account { account, .. } => (EntityKind::Account, account),
        Scope::DeviceGroup { group } => (EntityKind::DeviceGroup, group),
        Scope::Facility { facility } => (EntityKind::Facility, facility),
        Scope::Organisation { organisation } => (EntityKind::Organisation, organisation),
        Scope::Device { device } => (EntityKind::Device, device),
        Scope::Machine { machine } => (EntityKind::Machine, machine),
        Scope::AllOf { scopes } => return scopes.iter().try_for_each(|of| scope(of, named)),
        Scope::Unknown => return None,
    };
    named.insert((one.0, one.1.clone()));
    Some(())
}

/// The account of something that has one of its own.
fn owner(model: &Model, kind: EntityKind, name: &Name) -> Option<Name> {
    let account = match kind {
        EntityKind::Account => Some(name),
        EntityKind::User => model.users.get(name).map(|body| &body.account),
        EntityKind::UserGroup => model.user_groups.get(name).map(|body| &body.account),
        EntityKind::MachineModel => model.machine_models.get(name).map(|body| &body.account),
        EntityKind::Device => model.devices.get(name).map(|body| &body.account),
        EntityKind::DeviceGroup => model.device_groups.get(name).map(|body| &body.account),
        EntityKind::Facility => model.facilities.get(name).map(|body| &body.account),
        EntityKind::Organisation => model.organisations.get(name).map(|body| &body.account),
        EntityKind::Machine
        | EntityKind::Category
        | EntityKind::Role
        | EntityKind::Assignment
        | EntityKind::Entry
        | EntityKind::Case => None,
    };
    account.cloned()
}
