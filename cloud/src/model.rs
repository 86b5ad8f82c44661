//! The access model: who belongs where, what exists, and who is assigned which role in which scope.
//!
//! 1. A fleet file is read into a [`Model`], or its rows are loaded from the store.
//! 2. [`Model::check`] finds every reference, cycle and foreign scope that cannot be.
//! 3. [`compile`](crate::compile) turns a checked model into the policy of one device.
//!
//! A model is a pure value without ids, keys and passwords: those are facts about people and routers that the store
//! holds. Names are unique in the whole installation for each kind of entity. Deliberately absent: anything that
//! opens a tunnel by itself. Only an assignment of a role with an access category does.

mod account;
mod administrator;
mod assignment;
mod case;
mod category;
pub(crate) mod change;
mod check;
mod device;
mod entry;
mod essential;
mod group;
mod machine;
mod mail_address;
mod permission;
mod remove;
mod role;
mod service;

use std::collections::BTreeMap;
use std::fmt;

use postern_protocol::name::Name;

pub use self::account::{Account, Delegable, Tenant, User};
pub use self::administrator::Bereft;
pub use self::assignment::{Assignment, Scope, Subject};
pub use self::case::{Case, CaseSubject, Visibility};
pub use self::category::Category;
pub use self::change::{Difference, Fate};
pub use self::check::{FAULTS, ModelFault, NESTING, Problem, SCOPE_DEPTH};
pub use self::device::Device;
pub use self::entry::{Effect, Entry, Selection};
pub use self::essential::{Essential, SERVICE_MANAGER_ENDS};
pub use self::group::{DeviceGroup, GroupType, Member, Membership, ScopeNode, UserGroup};
pub use self::machine::{Machine, MachineModel, Offer, Template};
pub(crate) use self::mail_address::EXPECTED as EXPECTED_MAIL;
pub use self::mail_address::{MailAddress, MailAddressFault};
pub use self::permission::Permission;
pub use self::remove::{Removal, RemoveFault};
pub use self::role::Role;
pub use self::service::{Beyond, Page, Service};

macro_rules! tables {
    ($( $(#[$doc:meta])* $field:ident: $type:ident, $kind:ident, $word:literal; )+) => {
        /// Everything that decides access, by name.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Model {
            $( $(#[$doc])* pub $field: BTreeMap<Name, $type>, )+
        }

        /// What kind of thing an entity of the model is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EntityKind {
            $( $(#[$doc])* $kind, )+
        }

        impl EntityKind {
            /// Every kind, in the order in which a fleet file reads well.
            pub const ALL: &'static [Self] = &[$( Self::$kind, )+];

            /// The word in fleet files, the store and messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$kind => $word, )+ }
            }
        }

        impl Model {
            /// Every entity as its kind, name and JSON body; the same model yields the same rows.
            #[must_use]
            pub fn rows(&self) -> BTreeMap<(EntityKind, Name), String> {
                let mut rows = BTreeMap::new();
                $( for (name, entity) in &self.$field {
                    // Entities are plain structs with text keys: they always have a JSON form.
                    let body = serde_json::to_string(entity).unwrap_or_default();
                    rows.insert((EntityKind::$kind, name.clone()), body);
                } )+
                rows
            }

            /// The JSON body of an entity.
            #[must_use]
            pub fn body(&self, kind: EntityKind, name: &Name) -> Option<String> {
                // Entities are plain structs with text keys: they always have a JSON form.
                match kind {
                    $( EntityKind::$kind => self.$field.get(name).and_then(|one| serde_json::to_string(one).ok()), )+
                }
            }

            /// What differs in `new`, in the order of kinds and names.
            #[must_use]
            pub fn differences<'a>(&'a self, new: &'a Self) -> Vec<Difference<'a>> {
                let mut found = Vec::new();
                $( {
                    let changes = change::changes(&self.$field, &new.$field, |body| body);
                    found.extend(changes.iter().map(|change| change.difference(EntityKind::$kind)));
                } )+
                found
            }

            /// Adds an entity from its JSON body.
            ///
            /// # Errors
            /// When the body is not one of its kind.
            pub fn insert_row(&mut self, kind: EntityKind, name: Name, body: &str) -> Result<(), serde_json::Error> {
                match kind {
                    $( EntityKind::$kind => { self.$field.insert(name, serde_json::from_str(body)?); } )+
                }
                Ok(())
            }

            /// Whether an entity of this kind and name exists.
            #[must_use]
            pub fn contains(&self, kind: EntityKind, name: &Name) -> bool {
                match kind { $( EntityKind::$kind => self.$field.contains_key(name), )+ }
            }

            /// A model of one entity alone, as far as it exists.
            pub(crate) fn only(&self, kind: EntityKind, name: &Name) -> Self {
                let mut only = Self::default();
                match kind {
                    $( EntityKind::$kind => {
                        only.$field.extend(self.$field.get(name).map(|one| (name.clone(), one.clone())));
                    } )+
                }
                only
            }

            /// Puts in what another model has, in the place of what has its name.
            pub(crate) fn put(&mut self, other: Self) {
                $( self.$field.extend(other.$field); )+
            }

            /// Takes an entity away, and nothing that names it.
            pub(crate) fn remove(&mut self, kind: EntityKind, name: &Name) {
                match kind { $( EntityKind::$kind => drop(self.$field.remove(name)), )+ }
            }

            /// The names of all entities of a kind, ascending.
            #[must_use]
            pub fn names(&self, kind: EntityKind) -> Vec<&Name> {
                match kind { $( EntityKind::$kind => self.$field.keys().collect(), )+ }
            }
        }
    };
}

tables! {
    /// Companies.
    accounts: Account, Account, "account";
    /// People.
    users: User, User, "user";
    /// Groups of people.
    user_groups: UserGroup, UserGroup, "user-group";
    /// What machines of one type have in common.
    machine_models: MachineModel, MachineModel, "machine-model";
    /// Edge routers.
    devices: Device, Device, "device";
    /// Machines behind edge routers.
    machines: Machine, Machine, "machine";
    /// Groups of edge routers.
    device_groups: DeviceGroup, DeviceGroup, "device-group";
    /// Places of an operating company.
    facilities: ScopeNode, Facility, "facility";
    /// Parts of a service provider.
    organisations: ScopeNode, Organisation, "organisation";
    /// Selections of services and pages.
    categories: Category, Category, "category";
    /// Selections of permissions and categories.
    roles: Role, Role, "role";
    /// Who has which role where.
    assignments: Assignment, Assignment, "assignment";
    /// What single users are allowed or denied beside their roles.
    entries: Entry, Entry, "entry";
    /// Service cases of machines.
    cases: Case, Case, "case";
}

impl EntityKind {
    /// The kind that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Model {
    /// A role by its name: an essential one, or one of the model.
    #[must_use]
    pub fn role(&self, name: &Name) -> Option<&Role> {
        Essential::roles().get(name).or_else(|| self.roles.get(name))
    }

    /// The account and those that it is nested in, from the inside out. Ends at an unknown parent, and one step after
    /// [`NESTING`]: no checked model is nested deeper, and a circle does not hang.
    pub fn ancestry<'a>(&'a self, account: &'a Name) -> impl Iterator<Item = &'a Name> {
        let limit = NESTING.saturating_add(2);
        let parent = |name: &&'a Name| self.accounts.get(*name).and_then(|account| account.parent.as_ref());
        std::iter::successors(Some(account), parent).take(limit)
    }

    /// Whether `account` is `outer` or nested in it. Policy flows down this way and never up or sideways.
    #[must_use]
    pub fn is_within(&self, account: &Name, outer: &Name) -> bool {
        self.ancestry(account).any(|name| name == outer)
    }

    /// The path of an account, from the outside in, joined by `/`: what a user types at login.
    #[must_use]
    pub fn path(&self, account: &Name) -> String {
        let mut names: Vec<&str> = self.ancestry(account).map(Name::as_str).collect();
        names.reverse();
        names.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn nested() -> Model {
        let mut model = Model::default();
        for (account, parent) in [("parent", None), ("a", Some("parent")), ("b", Some("parent"))] {
            let account = name(account);
            let parent = parent.map(name);
            model.accounts.insert(
                account,
                Account {
                    tenant: Tenant::OperatingCompany,
                    parent,
                    recording_key: None,
                    delegable: Delegable::default(),
                    label: None,
                },
            );
        }
        model
    }

    #[test]
    fn a_nested_account_lies_within_its_parent_and_not_the_other_way_round() {
        let model = nested();
        assert!(model.is_within(&name("a"), &name("parent")));
        assert!(!model.is_within(&name("parent"), &name("a")));
        assert!(!model.is_within(&name("b"), &name("a")));
        assert_eq!(model.path(&name("a")), "parent/a");
    }

    #[test]
    fn a_cycle_of_accounts_does_not_hang() {
        let mut model = nested();
        model.accounts.get_mut(&name("parent")).unwrap().parent = Some(name("a"));
        assert!(!model.is_within(&name("a"), &name("b")));
    }

    #[test]
    fn rows_read_back_are_the_same_model() {
        let model = nested();
        let mut again = Model::default();
        for ((kind, name), body) in model.rows() {
            again.insert_row(kind, name, &body).unwrap();
        }
        assert_eq!(again, model);
    }
}
