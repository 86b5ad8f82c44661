//! What the hub says of the model, for people and for programs.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use postern_protocol::name::Name;
use postern_protocol::wire::administration::{AdminAnswer, Edited, EntityEntry};
use postern_protocol::wire::text::readable;

use crate::args::Entity;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::problem::Problem;
use crate::screen::Screen;

/// Who asks.
pub(super) fn me(answer: &AdminAnswer, screen: &Screen) -> Result<Exit, Problem> {
    let AdminAnswer::Me { user, account, permissions } = answer else {
        return Err(HubError::Unexpected.into());
    };
    screen.answer(&Me { user, account, permissions });
    if permissions.is_empty() {
        screen.note(&format!("you are {user} of {account}, and hold no permission anywhere"));
    } else {
        screen.note(&format!("you are {user} of {account}; where you hold these, your assignments say"));
    }
    let rows: Vec<Vec<String>> = permissions.iter().map(|one| vec![one.to_string()]).collect();
    screen.list(&["PERMISSION"], &rows);
    Ok(Exit::Done)
}

/// Entities of a kind.
pub(super) fn list(kind: &Name, entities: &[EntityEntry], more: Option<&Name>, screen: &Screen) {
    screen.answer(&Page { entities: entities.iter().map(Shown::from).collect(), more });
    if entities.is_empty() {
        screen.note(&format!("there is no {kind} that you may see"));
    }
    let row = |one: &EntityEntry| vec![one.name.to_string(), one.version.to_string(), outline(one)];
    let rows: Vec<Vec<String>> = entities.iter().map(row).collect();
    screen.list(&["NAME", "VERSION", "KEYS"], &rows);
    if let Some(more) = more {
        screen.note(&format!("there are more; `--after {more}` shows them"));
    }
}

/// One entity, as a fleet file has it.
pub(super) fn entity(
    Entity { kind, name }: &Entity,
    shown: &EntityEntry,
    screen: &Screen,
) -> Result<Exit, Problem> {
    screen.answer(&Shown::from(shown));
    let keys = keys(shown).ok_or(HubError::Unexpected)?;
    let inner = toml::Table::from_iter([(name.to_string(), toml::Value::Table(table(keys)))]);
    let file = toml::Table::from_iter([(kind.to_string(), toml::Value::Table(inner))]);
    let text = toml::to_string(&file).map_err(|_| HubError::Unexpected)?;
    screen.say(&format!("# version {}", shown.version));
    text.lines().for_each(|line| screen.say(&readable(line)));
    Ok(Exit::Done)
}

/// What an edit did.
pub(super) fn edited(what: &str, edited: &Edited, screen: &Screen) {
    screen.answer(&Done::from(edited));
    match edited.revision {
        Some(revision) => screen.say(&format!("{what} (revision {revision}){}", arrival(edited))),
        None => screen.say("everything was like that before; nothing was changed"),
    }
    for founder in &edited.founders {
        screen.say(&format!("{founder} is the first of their account, and administrates it from now on"));
    }
}

/// How far new policy has come.
pub(crate) fn arrival(Edited { published, answered, .. }: &Edited) -> String {
    match (*published, *answered) {
        (0, _) => "; no device is concerned".to_owned(),
        (1, 1) => "; the device has it".to_owned(),
        (1, _) => "; the device does not have it yet: it is offline or slow, and gets it as soon as it can"
            .to_owned(),
        (all, some) if some >= all => format!("; all {all} devices have it"),
        (all, some) => {
            format!(
                "; {some} of {all} devices have it, the others are offline or slow and get it as soon as they can"
            )
        }
    }
}

/// The keys with one value each, to know an entity in a list.
fn outline(entity: &EntityEntry) -> String {
    let Some(keys) = keys(entity) else { return "more than a list shows".to_owned() };
    let word = |(key, value): (&String, &Json)| match value {
        Json::String(text) => Some(format!("{key}={text}")),
        Json::Bool(_) | Json::Number(_) => Some(format!("{key}={value}")),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    readable(&keys.iter().filter_map(word).collect::<Vec<_>>().join(" "))
}

fn keys(entity: &EntityEntry) -> Option<Map<String, Json>> {
    match serde_json::from_str(entity.body.as_deref()?) {
        Ok(Json::Object(keys)) => Some(keys),
        Ok(_) | Err(_) => None,
    }
}

fn table(keys: Map<String, Json>) -> toml::Table {
    keys.into_iter().filter_map(|(key, value)| Some((key.clone(), of_json(&key, value)?))).collect()
}

fn of_json(key: &str, value: Json) -> Option<toml::Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => flag.into(),
        Json::Number(number) => number.as_i64()?.into(),
        // A fleet file has times as times.
        Json::String(text) if TIMES.contains(&key) => {
            text.parse().map_or(toml::Value::String(text), toml::Value::Datetime)
        }
        Json::String(text) => text.into(),
        Json::Array(list) => list.into_iter().filter_map(|one| of_json("", one)).collect::<Vec<_>>().into(),
        Json::Object(keys) => toml::Value::Table(table(keys)),
    })
}

#[derive(Serialize)]
struct Me<'a> {
    user: &'a Name,
    account: &'a Name,
    permissions: &'a [Name],
}

#[derive(Serialize)]
struct Page<'a> {
    entities: Vec<Shown<'a>>,
    more: Option<&'a Name>,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a Name,
    version: u64,
    body: Option<Map<String, Json>>,
}

impl<'a> From<&'a EntityEntry> for Shown<'a> {
    fn from(entity: &'a EntityEntry) -> Self {
        Self { name: &entity.name, version: entity.version, body: keys(entity) }
    }
}

/// What an edit did, for programs.
#[derive(Serialize)]
pub(crate) struct Done<'a> {
    revision: Option<u64>,
    published: u32,
    answered: u32,
    devices: &'a [Name],
    founders: &'a [Name],
}

impl<'a> From<&'a Edited> for Done<'a> {
    fn from(edited: &'a Edited) -> Self {
        let Edited { revision, published, answered, devices, founders } = edited;
        Self { revision: *revision, published: *published, answered: *answered, devices, founders }
    }
}

/// Keys of the notation that are moments.
const TIMES: [&str; 2] = ["from", "until"];

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(body: Option<&str>) -> EntityEntry {
        EntityEntry { name: "acme.ada".parse().unwrap(), version: 7, body: body.map(str::to_owned) }
    }

    #[test]
    fn a_list_shows_single_values_and_no_characters_that_deceive() {
        let body =
            r#"{"account":"acme","label":"A\u001b[2J","closed":true,"service":{"hmi":{}},"tunnels":4}"#;
        assert_eq!(outline(&entity(Some(body))), "account=acme closed=true label=A [2J tunnels=4");
        assert_eq!(outline(&entity(None)), "more than a list shows");
    }

    #[test]
    fn how_far_new_policy_came_is_said_as_it_is() {
        let edited = |published, answered| Edited {
            revision: Some(1),
            published,
            answered,
            devices: Vec::new(),
            founders: Vec::new(),
        };
        assert_eq!(arrival(&edited(0, 0)), "; no device is concerned");
        assert_eq!(arrival(&edited(1, 1)), "; the device has it");
        assert!(arrival(&edited(1, 0)).starts_with("; the device does not have it yet"));
        assert_eq!(arrival(&edited(3, 3)), "; all 3 devices have it");
        assert!(arrival(&edited(3, 2)).starts_with("; 2 of 3 devices have it, the others"));
    }

    #[test]
    fn an_entity_is_written_as_a_fleet_file_has_it() {
        let body =
            r#"{"service":{"web.hmi":{"kind":"vnc"}},"until":"2027-01-01T00:00:00Z","account":"acme"}"#;
        let text = toml::to_string(&table(keys(&entity(Some(body))).unwrap())).unwrap();
        assert_eq!(
            text,
            "account = \"acme\"\nuntil = 2027-01-01T00:00:00Z\n\n[service.\"web.hmi\"]\nkind = \"vnc\"\n"
        );
    }
}
