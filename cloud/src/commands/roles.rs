//! `roles`: what there is to be assigned, for people who choose.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use postern_protocol::name::Name;

use super::table::table;
use super::words::span;
use super::{Answer, CommandError, open};
use crate::clock;
use crate::fleet::Cut;
use crate::model::{EntityKind, Essential, Model, Permission, Role, Tenant};
use crate::nearest::nearest;

pub(super) fn run(state: &Path, name: Option<&str>) -> Result<Answer, CommandError> {
    let model = open(state)?.read(|tx| tx.model())?;
    match name {
        Some(name) => one(&model, name),
        None => Ok(all(&model)),
    }
}

fn all(model: &Arc<Model>) -> Answer {
    let roles = every(model);
    let rows = roles.iter().map(|(name, role)| {
        vec![
            name.to_string(),
            role.tenant.map_or("any", Tenant::word).to_owned(),
            tunnels(name, role),
            conditions(role).unwrap_or_else(|| "-".to_owned()),
            role.permissions.len().to_string(),
        ]
    });
    let text = table(&["ROLE", "FOR", "TUNNELS", "CONDITIONS", "PERMISSIONS"], rows.collect());
    let entries: Vec<Value> = roles.iter().map(|(name, role)| entry(name, role)).collect();
    Answer { text, json: json!({ "roles": entries }) }
}

fn one(model: &Arc<Model>, name: &str) -> Result<Answer, CommandError> {
    let roles = every(model);
    let Some((name, role)) = roles.iter().find(|(known, _)| known.as_str() == name) else {
        let nearest = nearest(name, roles.iter().map(|(known, _)| known.as_str())).map(str::to_owned);
        let name = Cut(name).to_string();
        return Err(CommandError::Unknown { kind: EntityKind::Role, name, nearest });
    };
    let mut text = String::new();
    // Writing to a string cannot fail; the results are named to say so.
    let company = role.tenant.map_or("any", Tenant::word);
    let _infallible = writeln!(text, "{name}, for users of {company} accounts");
    let conditions = conditions(role).map(|words| format!(", {words}")).unwrap_or_default();
    let _infallible = writeln!(text, "Tunnels: {}{conditions}", tunnels(name, role));
    text.push_str("Permissions, none of which opens a tunnel by itself:\n");
    for permission in &role.permissions {
        let _infallible = writeln!(text, "  {}", permission.word());
    }
    Ok(Answer { text, json: entry(name, role) })
}

/// Essential roles in the order of their tables, then custom ones.
fn every(model: &Model) -> Vec<(&Name, &Role)> {
    let built_in = Essential::ALL.iter().filter_map(|role| Essential::roles().get_key_value(role.word()));
    built_in.chain(&model.roles).collect()
}

fn tunnels(name: &Name, role: &Role) -> String {
    let may = role.permissions.contains(&Permission::UseRemoteAccess);
    match (Essential::from_word(name.as_str()), may) {
        (Some(_), true) => "to the categories that the assignment names".to_owned(),
        (None, true) if !role.categories.is_empty() => {
            let categories: Vec<&str> = role.categories.iter().map(Name::as_str).collect();
            format!("to {}", categories.join(", "))
        }
        (_, _) => "none".to_owned(),
    }
}

fn conditions(role: &Role) -> Option<String> {
    let mut conditions = Vec::new();
    conditions
        .extend(role.second_factor_s.map(|age| format!("with a second factor not older than {}", span(age))));
    conditions.extend(role.needs_case.then(|| "with an active case".to_owned()));
    conditions.extend(role.offline.then(|| "also without the cloud".to_owned()));
    conditions.extend(role.ends.map(|ends| format!("until {}", clock::show(ends))));
    (!conditions.is_empty()).then(|| conditions.join(", "))
}

fn entry(name: &Name, role: &Role) -> Value {
    json!({
        "name": name,
        "essential": Essential::from_word(name.as_str()).is_some(),
        "tenant": role.tenant,
        "permissions": role.permissions,
        "categories": role.categories,
        "second_factor_s": role.second_factor_s,
        "needs_case": role.needs_case,
        "offline": role.offline,
        "ends": role.ends,
        "label": role.label,
    })
}
