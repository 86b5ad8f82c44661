//! One entity in the notation of fleet files, as JSON: the keys, words and spans are the same.
//!
//! A program that edits one device and a person who writes a fleet file learn one notation, and one reader judges both.

use serde_json::Value as Json;

use postern_protocol::name::Name;

use super::complaint::Complaint;
use super::entities;
use super::places::Places;
use super::reader::Reader;
use super::tree::{self, Field, Node, Value};
use super::writer::{self, Unwritable};
use crate::model::{EntityKind, Model};

/// Reads one entity into a model of it alone. What it names is not looked for.
///
/// # Errors
/// Every complaint, with the key that it is about and without a place.
pub fn read_one(kind: EntityKind, name: &Name, body: &Json) -> Result<Model, Vec<Complaint>> {
    let places = Places::default();
    let mut reader = Reader::new(&places);
    let mut model = Model::default();
    entities::entity(&mut reader, &mut model, kind, name, node("", body));
    let complaints = reader.into_complaints(Vec::new());
    if complaints.is_empty() { Ok(model) } else { Err(complaints) }
}

/// An entity as [`read_one`] reads it; none where it does not exist.
///
/// # Errors
/// As [`write()`](super::write).
pub fn describe(model: &Model, kind: EntityKind, name: &Name) -> Result<Option<Json>, Unwritable> {
    let text = writer::write(&model.only(kind, name))?;
    let (fields, _faults) = tree::parse(&text, 0);
    let mut json = table(fields);
    let entity = json.get_mut(kind.word()).and_then(|kind| kind.get_mut(name.as_str()));
    Ok(entity.map(Json::take))
}

fn node(key: &str, json: &Json) -> Node {
    let value = match json {
        // JSON has no times of its own.
        Json::String(text) if TIMES.contains(&key) => Value::Time(text.clone()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) if number.is_f64() => Value::Float,
        Json::Number(number) => Value::Integer(number.as_i64()),
        Json::Array(list) => Value::List(list.iter().map(|json| node("", json)).collect()),
        Json::Object(fields) => Value::Table(
            // What is null is not there.
            fields.iter().filter(|(_, json)| !json.is_null()).map(|(key, json)| field(key, json)).collect(),
        ),
        Json::Null => Value::Table(Vec::new()),
    };
    Node { at: 0, value }
}

fn field(key: &str, json: &Json) -> Field {
    Field { key: key.to_owned(), at: 0, node: node(key, json) }
}

fn table(fields: Vec<Field>) -> Json {
    Json::Object(fields.into_iter().map(|field| (field.key, json(field.node.value))).collect())
}

fn json(value: Value) -> Json {
    match value {
        Value::Text(text) | Value::Time(text) => Json::String(text),
        Value::Integer(number) => number.map_or(Json::Null, Json::from),
        Value::Flag(flag) => Json::Bool(flag),
        // Nothing in a fleet is a fraction.
        Value::Float => Json::Null,
        Value::List(nodes) => Json::Array(nodes.into_iter().map(|node| json(node.value)).collect()),
        Value::Table(fields) => table(fields),
    }
}

/// The keys of the notation that are moments.
pub(super) const TIMES: [&str; 2] = ["from", "until"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn an_entity_is_described_as_it_is_read() {
        let body = json!({
            "user": "anna", "role": "operator", "scope": { "all-of": [{ "facility": "hall" }, { "account": "acme", "nested": true }] },
            "from": "2027-01-01T00:00:00Z", "needs-case": true, "offline": null,
        });
        let model = read_one(EntityKind::Assignment, &name("a"), &body).unwrap();
        let mut expected = body;
        expected.as_object_mut().unwrap().remove("offline");
        assert_eq!(describe(&model, EntityKind::Assignment, &name("a")).unwrap(), Some(expected));
        assert_eq!(describe(&model, EntityKind::Assignment, &name("b")).unwrap(), None);
    }

    #[test]
    fn a_name_with_dots_is_one_name() {
        let body = json!({ "account": "acme", "service": { "web.hmi": { "kind": "vnc", "target": "192.168.0.1:5900" } } });
        let model = read_one(EntityKind::Device, &name("acme.press-7"), &body).unwrap();
        let described = describe(&model, EntityKind::Device, &name("acme.press-7")).unwrap().unwrap();
        assert_eq!(described["service"]["web.hmi"]["target"], "192.168.0.1:5900");
    }

    #[test]
    fn complaints_name_the_key() {
        let complaints = |body| {
            let found = read_one(EntityKind::User, &name("anna"), &body).unwrap_err();
            found.iter().map(|one| format!("{}: {}", one.key, one.fault)).collect::<Vec<_>>()
        };
        assert_eq!(complaints(json!({ "acount": "a" })).len(), 2);
        assert_eq!(
            complaints(json!({ "account": 7 })),
            ["user.anna.account: found a whole number, expected a name as text"]
        );
        assert_eq!(complaints(json!(1.5)), ["user.anna: found a fraction, expected a table"]);
    }
}
