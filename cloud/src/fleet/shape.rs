//! What can stand in an entity, as JSON Schema (2020-12): found by asking the one reader that judges it.
//!
//! 1. A value of each type is put at a place; the types that the reader does not complain about are possible there.
//! 2. A key that nobody has makes it say the keys of a table, and a table without any those that must be there.
//! 3. A word that nobody knows makes it say the words; numbers are tried until the bounds are found.
//! 4. What a table is that has a `kind` depends on it: such a table is described once for each word.
//!
//! So the document of the API cannot say something else than the reader. Deliberately absent: rules about several values at
//! once, such as two spans of time; the reader's sentence stands in the description.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use postern_protocol::limits;
use postern_protocol::name::Name;

use super::complaint::{Complaint, Fault};
use super::notation::{TIMES, read_one};
use crate::model::EntityKind;

/// Schemas by name; references are to `#/components/schemas/`.
pub type Shapes = BTreeMap<String, Json>;

/// The schema of every kind of entity, under [`title`], and what they refer to.
#[must_use]
pub fn shapes() -> Shapes {
    let mut shapes = Shapes::new();
    for kind in EntityKind::ALL {
        let Ok(name) = ANY.parse() else { continue };
        let mut asker = Asker { kind: *kind, name, shapes: &mut shapes, tables: Vec::new() };
        let key = kind.word();
        let entity = asker.table(&Place { key, path: format!("{key}.{ANY}"), put: &|json| json });
        shapes.insert(title(key), entity);
    }
    shapes
}

/// A word of the notation as the name of a schema.
#[must_use]
pub fn title(word: &str) -> String {
    let parts = word.split(['-', '_']).map(|part| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    parts.collect()
}

/// The schema of a name.
#[must_use]
pub fn name() -> Json {
    json!({ "type": "string", "pattern": NAME, "maxLength": limits::NAME_BYTES })
}

/// A reference to a schema.
#[must_use]
pub fn reference(title: &str) -> Json {
    json!({ "$ref": place(title) })
}

/// Where a schema stands in the document.
#[must_use]
pub fn place(title: &str) -> String {
    format!("#/components/schemas/{title}")
}

struct Asker<'s> {
    kind: EntityKind,
    name: Name,
    shapes: &'s mut Shapes,
    /// The tables around the place: their keys, what they would be called, and whether something refers to them.
    tables: Vec<(Vec<String>, String, bool)>,
}

/// A place in an entity: how a value gets there, and under which key the reader complains about it.
struct Place<'p> {
    key: &'p str,
    path: String,
    put: &'p dyn Fn(Json) -> Json,
}

impl Asker<'_> {
    /// What the reader says of the place itself when this stands there.
    fn faults(&self, place: &Place<'_>, json: Json) -> Vec<Fault> {
        let own = |complaint: Complaint| (complaint.key == place.path).then_some(complaint.fault);
        self.complaints(place, json).into_iter().filter_map(own).collect()
    }

    fn complaints(&self, place: &Place<'_>, json: Json) -> Vec<Complaint> {
        read_one(self.kind, &self.name, &(place.put)(json)).err().unwrap_or_default()
    }

    /// Whether a value of this type can stand there.
    fn fits(&self, place: &Place<'_>, json: Json) -> bool {
        !self.faults(place, json).iter().any(|fault| matches!(fault, Fault::Type { .. }))
    }

    fn value(&mut self, place: &Place<'_>) -> Json {
        let examples = [json!(true), json!(1), json!(STRANGE), json!([]), json!({ STRANGE: NOTHING })];
        if examples.iter().all(|json| self.fits(place, json.clone())) {
            // Nobody looks there.
            return json!({});
        }
        let mut possible = Vec::new();
        if self.fits(place, json!(true)) {
            possible.push(json!({ "type": "boolean" }));
        }
        if self.fits(place, json!(1)) {
            possible.push(self.whole(place));
        }
        if self.fits(place, json!(STRANGE)) {
            possible.push(self.text(place));
        }
        if self.fits(place, json!([])) {
            possible.push(self.list(place));
        }
        if self.fits(place, json!({ STRANGE: NOTHING })) {
            possible.push(self.table(place));
        }
        if possible.len() > 1 { json!({ "anyOf": possible }) } else { possible.pop().unwrap_or_default() }
    }

    /// A number, with the bounds between which no value is complained about.
    fn whole(&self, place: &Place<'_>) -> Json {
        let is_good = |number: i64| self.faults(place, json!(number)).is_empty();
        let least = (0..=1).find(|number| is_good(*number)).unwrap_or(1);
        let (mut most, mut beyond) = (least, i64::from(u32::MAX) + 1);
        while most + 1 < beyond {
            let middle = most + (beyond - most) / 2;
            if is_good(middle) { most = middle } else { beyond = middle }
        }
        json!({ "type": "integer", "minimum": least, "maximum": most })
    }

    fn text(&self, place: &Place<'_>) -> Json {
        let mut text = json!({ "type": "string" });
        for fault in self.faults(place, json!(STRANGE)) {
            if let Fault::Name { .. } = fault {
                merge(&mut text, json!({ "pattern": NAME, "maxLength": limits::NAME_BYTES }));
            } else if let Fault::Pattern { .. } = fault {
                merge(&mut text, json!({ "pattern": "^/" }));
            } else if let Fault::Word { words, .. } = fault {
                merge(&mut text, json!({ "enum": words }));
            } else if let Fault::Value { expected, .. } = fault {
                merge(&mut text, json!({ "description": expected }));
            }
        }
        if TIMES.contains(&place.key) {
            merge(&mut text, json!({ "format": "date-time" }));
        }
        text
    }

    fn list(&mut self, place: &Place<'_>) -> Json {
        // Some complain about an element under the key of the list, some with its position.
        let numbered = format!("{}[0]", place.path);
        let is_numbered = self.complaints(place, json!([NOTHING])).iter().any(|one| one.key == numbered);
        let path = if is_numbered { numbered } else { place.path.clone() };
        let put = |json| (place.put)(json!([json]));
        let items = self.value(&Place { key: place.key, path, put: &put });
        let mut list = json!({ "type": "array", "items": items });
        if !self.faults(place, json!([])).is_empty() {
            merge(&mut list, json!({ "minItems": 1 }));
        }
        list
    }

    fn table(&mut self, place: &Place<'_>) -> Json {
        let stranger = format!("{}.{STRANGE}", place.path);
        let complaints = self.complaints(place, json!({ STRANGE: NOTHING }));
        let of_stranger = complaints.into_iter().find(|one| one.key == stranger).map(|one| one.fault);
        let keys: Vec<String> = match of_stranger {
            Some(Fault::UnknownKey { known, .. }) => of_words(&known),
            Some(Fault::Name { .. }) => return self.named(place),
            // Nobody looks there.
            _ => return json!({ "type": "object" }),
        };
        if let Some((_, title, is_meant)) = self.tables.iter_mut().find(|(known, ..)| *known == keys) {
            *is_meant = true;
            return reference(title);
        }
        let title = self.title(place);
        self.tables.push((keys.clone(), title.clone(), false));
        let words = if keys.iter().any(|key| key == KIND) { self.words(place) } else { Vec::new() };
        let table =
            if words.is_empty() { self.keys(place, &keys) } else { self.kinds(place, &title, &words) };
        let is_meant = self.tables.pop().is_some_and(|(.., is_meant)| is_meant);
        if !is_meant {
            return table;
        }
        self.shapes.insert(title.clone(), table);
        reference(&title)
    }

    /// A table of things that somebody names.
    fn named(&mut self, place: &Place<'_>) -> Json {
        let put = |json| (place.put)(json!({ ANY: json }));
        let each = self.value(&Place { key: place.key, path: format!("{}.{ANY}", place.path), put: &put });
        json!({
            "type": "object",
            "propertyNames": { "pattern": NAME, "maxLength": limits::NAME_BYTES },
            "additionalProperties": or_null(each),
        })
    }

    /// A table whose keys depend on its kind.
    fn kinds(&mut self, place: &Place<'_>, title: &str, words: &[String]) -> Json {
        let mut titles = Vec::new();
        for word in words {
            let put = |json: Json| (place.put)(with(json, KIND, json!(word)));
            let place = Place { key: place.key, path: place.path.clone(), put: &put };
            let complaints = self.complaints(&place, json!({ STRANGE: NOTHING }));
            let keys = complaints.iter().find_map(|one| {
                let Fault::UnknownKey { known, .. } = &one.fault else { return None };
                Some(of_words(known))
            });
            let keys: Vec<String> = keys.unwrap_or_default();
            let others: Vec<String> = keys.into_iter().filter(|key| key != KIND).collect();
            let mut table = self.keys(&place, &others);
            if let Some(keys) = table.get_mut("properties").and_then(Json::as_object_mut) {
                keys.insert(KIND.to_owned(), json!({ "type": "string", "const": word }));
            }
            let required = table.get_mut("required").map(Json::take);
            let mut required = required.and_then(|keys| keys.as_array().cloned()).unwrap_or_default();
            required.insert(0, json!(KIND));
            merge(&mut table, json!({ "required": required }));
            let title = format!("{title}{}", self::title(word));
            self.shapes.insert(title.clone(), table);
            titles.push((word, title));
        }
        let of: Vec<Json> = titles.iter().map(|(_, title)| reference(title)).collect();
        let mapping: Map<String, Json> =
            titles.iter().map(|(word, title)| ((*word).clone(), self::place(title).into())).collect();
        json!({ "oneOf": of, "discriminator": { "propertyName": KIND, "mapping": mapping } })
    }

    /// A table with these keys and no others. That exactly one of some must be there is a sentence: few programs that
    /// generate clients understand it otherwise.
    fn keys(&mut self, place: &Place<'_>, keys: &[String]) -> Json {
        let mut properties = Map::new();
        for key in keys {
            let put = |json: Json| (place.put)(json!({ key: json }));
            let value = self.value(&Place { key, path: format!("{}.{key}", place.path), put: &put });
            properties.insert(key.clone(), value);
        }
        let mut required = Vec::new();
        for key in keys {
            // Beside all others: some are only needed where another one is not.
            let others =
                keys.iter().filter(|other| *other != key).map(|other| (other.clone(), NOTHING.into()));
            let faults = self.faults(place, Json::Object(others.collect()));
            if faults.iter().any(|fault| matches!(fault, Fault::Missing { missing, .. } if missing == key)) {
                required.push(key.clone());
            }
        }
        let either = self.faults(place, json!({})).into_iter().find_map(|fault| {
            let Fault::OneOf { expected, .. } = fault else { return None };
            Some(format!("exactly one of {expected}"))
        });
        for (key, value) in &mut properties {
            if !required.contains(key) {
                *value = or_null(value.take());
            }
        }
        let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !required.is_empty() {
            merge(&mut table, json!({ "required": required }));
        }
        if let Some(either) = either {
            merge(&mut table, json!({ "description": either }));
        }
        table
    }

    fn words(&self, place: &Place<'_>) -> Vec<String> {
        let put = |json: Json| (place.put)(json!({ KIND: json }));
        let text = self.text(&Place { key: KIND, path: format!("{}.{KIND}", place.path), put: &put });
        let words = text.get("enum").and_then(Json::as_array).into_iter().flatten();
        words.filter_map(Json::as_str).map(str::to_owned).collect()
    }

    fn title(&self, place: &Place<'_>) -> String {
        format!("{}{}", title(self.kind.word()), title(place.key))
    }
}

fn of_words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn merge(schema: &mut Json, more: Json) {
    if let (Json::Object(schema), Json::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

fn with(mut json: Json, key: &str, value: Json) -> Json {
    if let Some(table) = json.as_object_mut() {
        table.insert(key.to_owned(), value);
    }
    json
}

/// What is null is not there.
fn or_null(mut schema: Json) -> Json {
    let Some(table) = schema.as_object_mut() else { return schema };
    if let Some(Json::Array(words)) = table.get_mut("enum") {
        words.push(Json::Null);
    }
    match table.get("type").cloned() {
        Some(one @ Json::String(_)) => {
            table.insert("type".to_owned(), json!([one, "null"]));
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// What names look like, beside their length.
const NAME: &str = "^[a-z0-9][a-z0-9._-]*$";
/// Nothing in a fleet is a fraction.
const NOTHING: f64 = 0.5;
/// No name, no key, and no word of any vocabulary.
const STRANGE: &str = "?";
/// A name.
const ANY: &str = "x";
/// The key on which the others depend.
const KIND: &str = "kind";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_described_as_the_reader_reads_it() {
        let shapes = shapes();
        let user = json!({
            "type": "object",
            "properties": {
                "account": { "type": "string", "pattern": NAME, "maxLength": 64 },
                "mail": { "type": ["string", "null"], "description": "an address such as `jo@example.com`" },
                "label": { "type": ["string", "null"] },
            },
            "additionalProperties": false,
            "required": ["account"],
        });
        assert_eq!(shapes["User"], user);
        let device = &shapes["Device"]["properties"];
        assert_eq!(device["tunnels"], json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 65535 }));
        assert_eq!(device["closed"], json!({ "type": ["boolean", "null"] }));
        assert_eq!(shapes["Account"]["properties"]["tenant"]["enum"][0], "operating_company");
        assert_eq!(shapes["Case"]["properties"]["until"]["format"], "date-time");
        assert_eq!(shapes["Case"]["description"], "exactly one of `machine` and `device`");
        assert_eq!(shapes["Assignment"]["required"], json!(["role", "scope"]));
    }

    #[test]
    fn a_service_has_the_keys_of_its_kind_and_no_others() {
        let shapes = shapes();
        let of = |kind: &str| {
            let service = &shapes[&format!("DeviceService{kind}")];
            let keys = service["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            (keys, service["required"].clone())
        };
        let (vnc, needed) = of("Vnc");
        assert!(vnc.contains(&"writers".to_owned()) && !vnc.contains(&"paths".to_owned()), "{vnc:?}");
        assert_eq!(needed, json!(["kind", "target"]));
        // A VPN has a target, or says where its flows may go.
        assert_eq!(of("Vpn").1, json!(["kind"]));
        let allow = &shapes["DeviceServiceVpn"]["properties"]["allow"];
        let flow = &allow["items"]["anyOf"];
        assert_eq!(
            (&flow[0]["type"], &flow[1]["required"]),
            (&json!("string"), &json!(["flow"])),
            "{allow:#}"
        );
    }

    #[test]
    fn scopes_in_scopes_refer_to_themselves() {
        let shapes = shapes();
        assert_eq!(shapes["Assignment"]["properties"]["scope"], reference("AssignmentScope"));
        let inner = &shapes["AssignmentScope"]["properties"]["all-of"];
        assert_eq!(
            (&inner["items"], &inner["minItems"]),
            (&reference("AssignmentScope"), &json!(1)),
            "{inner:#}"
        );
    }
}
