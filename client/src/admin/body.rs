//! What a person gives for an entity or a batch: TOML as in a fleet file, or JSON as the hub takes it.
//!
//! 1. Text that begins with `{` is JSON, other text is TOML. Times of TOML become text, which is how JSON has them.
//! 2. What `postern admin show` prints can be given back: the table `[kind.name]` of TOML, and of `--json` the object with
//!    `name`, `version` and `body`, whose version then has to be there still.
//!
//! Keys are not looked at: the hub knows them.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value as Json};

use postern_protocol::limits;

use crate::args::Entity;
use crate::problem::Problem;

/// What an entity is to be, or what of it is to be different.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    /// Its keys.
    pub(super) keys: Map<String, Json>,
    /// The version that it was made from, where that was said.
    pub(super) version: Option<u64>,
}

impl Given {
    /// Reads a file, or standard input.
    pub(super) fn read(file: &Path, entity: &Entity) -> Result<Self, Problem> {
        Ok(Self::unwrap(keys(file)?, entity))
    }

    /// With the version of the command line, which counts more.
    pub(super) fn at(self, version: Option<u64>) -> Self {
        Self { version: version.or(self.version), ..self }
    }

    /// Takes the keys out of what `show` prints around them.
    fn unwrap(mut keys: Map<String, Json>, Entity { kind, name }: &Entity) -> Self {
        if keys.len() == 1
            && let Some(Json::Object(tables)) = keys.get_mut(kind.as_str())
            && tables.len() == 1
            && let Some(Json::Object(inner)) = tables.get_mut(name.as_str())
        {
            return Self { keys: std::mem::take(inner), version: None };
        }
        let version = keys.get("version").and_then(Json::as_u64);
        if keys.len() == 3
            && version.is_some()
            && keys.get("name").and_then(Json::as_str) == Some(name.as_str())
            && let Some(Json::Object(inner)) = keys.get_mut("body")
        {
            return Self { keys: std::mem::take(inner), version };
        }
        Self { keys, version: None }
    }
}

/// The edits of a file as the hub takes them.
pub(super) fn batch(file: &Path) -> Result<Vec<u8>, Problem> {
    Ok(Json::Object(keys(file)?).to_string().into_bytes())
}

/// What a file says, or standard input.
pub(super) fn keys(file: &Path) -> Result<Map<String, Json>, Problem> {
    text(file).and_then(|text| parse(&text)).map_err(|fault| Problem::body(&fault))
}

/// An entity with some keys in the place of others; null takes one away (RFC 7396, at the first level and in tables).
pub(super) fn merge(mut keys: Map<String, Json>, changes: &Map<String, Json>) -> Map<String, Json> {
    for (key, change) in changes {
        match (keys.get_mut(key), change) {
            (_, Json::Null) => {
                keys.remove(key);
            }
            (Some(Json::Object(table)), Json::Object(inner)) => {
                let merged = merge(std::mem::take(table), inner);
                keys.insert(key.clone(), Json::Object(merged));
            }
            (None | Some(_), Json::Object(inner)) => {
                keys.insert(key.clone(), Json::Object(merge(Map::new(), inner)));
            }
            (None | Some(_), other) => {
                keys.insert(key.clone(), other.clone());
            }
        }
    }
    keys
}

/// What is no entity and no batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The file.
    #[error("cannot read `{file}`: {error}")]
    Io {
        /// Its name, or that it is standard input.
        file: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// More than the hub takes.
    #[error("there is more than the hub takes at once over this link ({} bytes)", limits::BODY_BYTES)]
    TooLarge,
    /// It begins like JSON.
    #[error("this is no JSON: {0}")]
    Json(serde_json::Error),
    /// It does not begin like JSON.
    #[error("this is no TOML: {0}")]
    Toml(String),
    /// A list or a word where keys are expected.
    #[error("expected keys and their values")]
    NoTable,
}

fn text(file: &Path) -> Result<String, BodyFault> {
    let is_input = file.as_os_str() == "-";
    let name = || if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = String::new();
    // One more than is taken, to notice that there is more.
    let limit = u64::try_from(limits::BODY_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = if is_input {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| BodyFault::Io { file: name(), error })?;
    if text.len() > limits::BODY_BYTES { Err(BodyFault::TooLarge) } else { Ok(text) }
}

fn parse(text: &str) -> Result<Map<String, Json>, BodyFault> {
    let json = if text.trim_start().starts_with(['{', '[', '"']) && !is_table_header(text) {
        serde_json::from_str(text).map_err(BodyFault::Json)?
    } else {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| BodyFault::Toml(error.to_string()))?;
        Json::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
    };
    let Json::Object(keys) = json else { return Err(BodyFault::NoTable) };
    // As JSON it may be larger than it was.
    if Json::Object(keys.clone()).to_string().len() > LARGEST { Err(BodyFault::TooLarge) } else { Ok(keys) }
}

/// `[user.ada]` begins a table of TOML, and no list.
fn is_table_header(text: &str) -> bool {
    let first = text.trim_start().lines().next().unwrap_or_default().trim_end();
    first.starts_with('[')
        && first.ends_with(']')
        && first.len() > 2
        && serde_json::from_str::<Json>(text).is_err()
}

/// A value of TOML as the hub takes it: times as text.
pub(crate) fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Json::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

/// A body with the count of its bytes.
const LARGEST: usize = limits::BODY_BYTES - 4;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entity() -> Entity {
        Entity { kind: "assignment".parse().unwrap(), name: "acme.ada".parse().unwrap() }
    }

    fn given(text: &str) -> Given {
        Given::unwrap(parse(text).unwrap(), &entity())
    }

    #[test]
    fn toml_and_json_say_the_same_and_so_does_what_show_prints() {
        let keys = json!({ "user": "ada", "scope": { "account": "acme" }, "until": "2027-01-01T00:00:00Z" });
        let keys = keys.as_object().unwrap();
        let lines = "user = \"ada\"\nscope = { account = \"acme\" }\nuntil = 2027-01-01T00:00:00Z\n";
        let wrapped = json!({ "name": "acme.ada", "version": 7, "body": keys }).to_string();
        for (text, version) in [
            (Json::Object(keys.clone()).to_string(), None),
            (lines.to_owned(), None),
            (format!("# version 7\n[assignment.\"acme.ada\"]\n{lines}"), None),
            (format!("[assignment.\"acme.ada\"]\n{lines}"), None),
            (wrapped, Some(7)),
        ] {
            assert_eq!(given(&text), Given { keys: keys.clone(), version }, "{text}");
        }
        assert_eq!(
            given("[scope]\naccount = \"acme\"\n").keys,
            *json!({ "scope": { "account": "acme" } }).as_object().unwrap()
        );
        let other = json!({ "name": "acme.alf", "version": 7, "body": {} });
        assert_eq!(given(&other.to_string()).keys, *other.as_object().unwrap());
    }

    #[test]
    fn what_is_no_table_or_too_large_is_refused_with_words() {
        let fault = |text: &str| parse(text).unwrap_err().to_string();
        assert!(fault("{ \"user\": ").starts_with("this is no JSON: "));
        assert!(fault("user = ").starts_with("this is no TOML: "));
        assert_eq!(fault("[1, 2]"), "expected keys and their values");
        let large = format!("label = \"{}\"", "x".repeat(limits::BODY_BYTES - 12));
        assert_eq!(fault(&large), "there is more than the hub takes at once over this link (1048576 bytes)");
    }

    #[test]
    fn single_keys_are_changed_taken_away_and_added() {
        let was = json!({ "account": "acme", "label": "Old", "service": { "hmi": { "kind": "vnc", "idle": "5m" } } });
        let change = json!({ "label": null, "tunnels": 4, "service": { "hmi": { "idle": null }, "web": { "kind": "http" } } });
        let merged = merge(was.as_object().unwrap().clone(), change.as_object().unwrap());
        let expected = json!({
            "account": "acme", "tunnels": 4, "service": { "hmi": { "kind": "vnc" }, "web": { "kind": "http" } },
        });
        assert_eq!(Json::Object(merged), expected);
    }
}
