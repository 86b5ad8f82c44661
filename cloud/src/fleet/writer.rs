//! Writes a model as a fleet file that reads back to the same model.
//!
//! 1. Kinds and names stand in their own order, so that two exports of one model are the same bytes.
//! 2. What a file may leave out because it is the default is left out.
//!
//! Deliberately absent: comments. What people wrote beside the tables is not part of the model.

mod entities;
mod flows;
mod rules;
mod text;

use std::fmt::Display;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::model::{EntityKind, Model, Scope};

use self::text::moment;
pub(crate) use self::text::{key, list, quoted, span};

/// Writes a model as one fleet file.
///
/// # Errors
/// When an assignment or entry has a scope of a type that only a later version can spell.
pub fn write(model: &Model) -> Result<String, Unwritable> {
    let mut writer = Writer::default();
    writer.model(model)?;
    Ok(writer.text)
}

/// A model that this version cannot write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the scope of {kind} `{name}` is of a type that this version does not know, expected one that it can write; use a \
     newer postern-cloud"
)]
pub struct Unwritable {
    /// Assignment or entry.
    pub kind: EntityKind,
    /// Its name.
    pub name: Name,
}

#[derive(Default)]
struct Writer {
    text: String,
}

impl Writer {
    fn model(&mut self, model: &Model) -> Result<(), Unwritable> {
        for (name, body) in &model.accounts {
            self.table(EntityKind::Account, name);
            self.account(body);
        }
        for (name, body) in &model.users {
            self.table(EntityKind::User, name);
            self.user(body);
        }
        for (name, body) in &model.user_groups {
            self.table(EntityKind::UserGroup, name);
            self.user_group(name, body);
        }
        for (name, body) in &model.machine_models {
            self.table(EntityKind::MachineModel, name);
            self.machine_model(name, body);
        }
        for (name, body) in &model.devices {
            self.table(EntityKind::Device, name);
            self.device(name, body);
        }
        for (name, body) in &model.machines {
            self.table(EntityKind::Machine, name);
            self.machine(name, body);
        }
        for (name, body) in &model.device_groups {
            self.table(EntityKind::DeviceGroup, name);
            self.device_group(name, body);
        }
        for (kind, nodes) in
            [(EntityKind::Facility, &model.facilities), (EntityKind::Organisation, &model.organisations)]
        {
            for (name, body) in nodes {
                self.table(kind, name);
                self.scope_node(body);
            }
        }
        for (name, body) in &model.categories {
            self.table(EntityKind::Category, name);
            self.category(body);
        }
        for (name, body) in &model.roles {
            self.table(EntityKind::Role, name);
            self.role(body);
        }
        for (name, body) in &model.assignments {
            self.table(EntityKind::Assignment, name);
            let unknown = || Unwritable { kind: EntityKind::Assignment, name: name.clone() };
            self.assignment(body).ok_or_else(unknown)?;
        }
        for (name, body) in &model.entries {
            self.table(EntityKind::Entry, name);
            let unknown = || Unwritable { kind: EntityKind::Entry, name: name.clone() };
            self.entry(body).ok_or_else(unknown)?;
        }
        for (name, body) in &model.cases {
            self.table(EntityKind::Case, name);
            self.case(body);
        }
        Ok(())
    }

    fn table(&mut self, kind: EntityKind, name: &Name) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.header(&[kind.word(), name.as_str()]);
    }

    fn header(&mut self, path: &[&str]) {
        let keys: Vec<_> = path.iter().map(|step| key(step)).collect();
        self.text.push('[');
        self.text.push_str(&keys.join("."));
        self.text.push_str("]\n");
    }

    fn line(&mut self, key: &str, value: &str) {
        self.text.push_str(key);
        self.text.push_str(" = ");
        self.text.push_str(value);
        self.text.push('\n');
    }

    fn text(&mut self, key: &str, value: impl Display) {
        self.line(key, &quoted(&value.to_string()));
    }

    fn optional_text(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn texts(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) {
        let values: Vec<String> = values.into_iter().map(|value| quoted(&value.to_string())).collect();
        if !values.is_empty() {
            self.line(key, &list(&values));
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.line(key, "true");
        }
    }

    fn optional_flag(&mut self, key: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.line(key, if value { "true" } else { "false" });
        }
    }

    fn time(&mut self, key: &str, value: Option<UnixTime>) {
        if let Some(time) = value {
            self.line(key, &moment(time));
        }
    }

    /// A span of time, unless it is the default.
    fn span(&mut self, key: &str, seconds: u32, default: u32) {
        if seconds != default {
            self.line(key, &quoted(&span(seconds)));
        }
    }

    /// A number, unless it is the default.
    fn number(&mut self, key: &str, number: u16, default: u16) {
        if number != default {
            self.line(key, &number.to_string());
        }
    }
}

/// A scope as an inline table; none for one of an unknown type.
fn scope(scope: &Scope) -> Option<String> {
    let place = |key: &str, name: &Name| format!("{{ {key} = {} }}", quoted(name.as_str()));
    Some(match scope {
        Scope::Account { account, nested: true } => {
            format!("{{ account = {}, nested = true }}", quoted(account.as_str()))
        }
        Scope::Account { account, nested: false } => place("account", account),
        Scope::DeviceGroup { group } => place("device-group", group),
        Scope::Facility { facility } => place("facility", facility),
        Scope::Organisation { organisation } => place("organisation", organisation),
        Scope::Device { device } => place("device", device),
        Scope::Machine { machine } => place("machine", machine),
        Scope::AllOf { scopes } => {
            let scopes: Vec<String> = scopes.iter().map(self::scope).collect::<Option<_>>()?;
            format!("{{ all-of = [{}] }}", scopes.join(", "))
        }
        Scope::Unknown => return None,
    })
}
