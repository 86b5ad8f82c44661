//! `account remove`: takes an account away; its devices go to the account that it was nested in, closed.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use postern_protocol::name::Name;

use super::change::{Basis, Mode, Proposal};
use super::{Answer, CommandError, known};
use crate::model::{EntityKind, Model, Removal};

pub(super) fn remove(state: &Path, name: &str, mode: Mode) -> Result<Answer, CommandError> {
    let basis = Basis::load(state)?;
    let account = known(&basis.model, EntityKind::Account, name)?;
    let mut model = Model::clone(&basis.model);
    let removal = model.remove_account(&account)?;
    let removed: Vec<_> =
        removal.removed.iter().map(|(kind, name)| json!({ "kind": kind.word(), "name": name })).collect();
    let proposal = Proposal {
        model,
        what: format!("account remove {account}"),
        preface: preface(&account, &removal),
        question: Some("This cannot be taken back: users lose keys and passwords. Remove the account?"),
        json: json!({
            "account": account,
            "parent": removal.parent,
            "returned": removal.returned,
            "inherited": removal.inherited,
            "removed": removed,
        }),
    };
    basis.carry_out(state, &proposal, mode)
}

fn preface(account: &Name, removal: &Removal) -> String {
    let users = removal.removed.iter().filter(|(kind, _)| *kind == EntityKind::User);
    let users: Vec<&Name> = users.map(|(_, name)| name).collect();
    let returned: Vec<&Name> = removal.returned.iter().collect();
    let mut text = String::new();
    // Writing to a string cannot fail; the results are named to say so.
    let _infallible = writeln!(text, "Account {account} would be removed.");
    if !users.is_empty() {
        let _infallible = writeln!(text, "  users who are deleted: {}", enumerate(&users));
    }
    if let Some(parent) = removal.parent.as_ref().filter(|_| !returned.is_empty()) {
        let _infallible = writeln!(
            text,
            "  devices that go to {parent}, closed: {} (`closed = false` in the fleet file opens one)",
            enumerate(&returned)
        );
    }
    text
}

fn enumerate(names: &[&Name]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
    match names.len().checked_sub(SHOWN).filter(|rest| *rest > 0) {
        Some(rest) => format!("{} and {rest} more", shown.join(", ")),
        None => shown.join(", "),
    }
}

/// Names of each kind that a person is shown.
const SHOWN: usize = 12;
