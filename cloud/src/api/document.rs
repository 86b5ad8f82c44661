//! The OpenAPI document: what the handlers say of themselves, with each kind of entity spelled out.
//!
//! 1. The handlers' document has one path for every kind, and bodies that may be anything.
//! 2. Each such path becomes one for each kind, with the schema of its bodies as [`shape`] finds it.
//!
//! Whoever generates a client gets a type for each kind, and nobody writes one down twice.

use serde_json::{Map, Value as Json, json};
use utoipa::openapi::OpenApi;

use crate::fleet::shape::{self, place, reference, title};
use crate::model::EntityKind;

/// The document as JSON.
pub(super) fn write(document: &OpenApi) -> Json {
    // It has a JSON form: its keys are text.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    if let Some(paths) = document.get_mut("paths").and_then(Json::as_object_mut) {
        spell_out(paths);
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Json::as_object_mut) {
        describe(schemas);
    }
    document
}

/// One path for each kind in the place of one for all.
fn spell_out(paths: &mut Map<String, Json>) {
    for (path, operations) in std::mem::take(paths) {
        if !path.contains(ANY_KIND) {
            paths.insert(path, operations);
            continue;
        }
        for kind in EntityKind::ALL {
            let mut operations = operations.clone();
            for operation in operations.as_object_mut().into_iter().flat_map(Map::values_mut) {
                narrow(operation, *kind);
            }
            paths.insert(path.replace(ANY_KIND, kind.word()), operations);
        }
    }
}

/// An operation on any kind becomes one on this kind.
fn narrow(operation: &mut Json, kind: EntityKind) {
    if let Some(parameters) = operation.get_mut("parameters").and_then(Json::as_array_mut) {
        parameters.retain(|parameter| parameter["name"] != "kind");
        for parameter in parameters.iter_mut().filter(|parameter| parameter["name"] == "name") {
            parameter["schema"] = shape::name();
        }
    }
    if let Some(Json::String(id)) = operation.get_mut("operationId") {
        *id = format!("{id}_{}", kind.word().replace('-', "_"));
    }
    if let Some(operation) = operation.as_object_mut() {
        operation.insert("tags".to_owned(), json!([kind.word()]));
    }
    let kind = title(kind.word());
    if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
        *body = reference(&kind);
    }
    if let Some(answer) = operation.pointer_mut("/responses/200/content/application~1json/schema") {
        for any in [ENTITY, PAGE] {
            if *answer == reference(any) {
                *answer = reference(&format!("{kind}{any}"));
            }
        }
    }
}

/// The schemas of each kind in the place of those for all.
fn describe(schemas: &mut Map<String, Json>) {
    let [entity, page, edit] = [ENTITY, PAGE, EDIT].map(|any| schemas.remove(any).unwrap_or_default());
    // Each path names its own, and so does each edit.
    schemas.remove(KIND);
    let mut edits = Vec::new();
    let mut mapping = Map::new();
    for kind in EntityKind::ALL {
        let title = title(kind.word());
        let put = |any: &Json, place: &str, value: Json| {
            let mut schema = any.clone();
            if let Some(there) = schema.pointer_mut(place) {
                *there = value;
            }
            schema
        };
        let shown = put(&entity, "/properties/body", reference(&title));
        schemas.insert(format!("{title}{ENTITY}"), shown);
        let listed = put(&page, "/properties/items/items", reference(&format!("{title}{ENTITY}")));
        schemas.insert(format!("{title}{PAGE}"), listed);
        let body = json!({ "anyOf": [reference(&title), { "type": "null" }] });
        let edited = put(&edit, "/properties/body", body);
        let edited = put(&edited, "/properties/kind", json!({ "type": "string", "const": kind.word() }));
        let name = format!("{title}{EDIT}");
        edits.push(reference(&name));
        mapping.insert(kind.word().to_owned(), place(&name).into());
        schemas.insert(name, edited);
    }
    let discriminator = json!({ "propertyName": "kind", "mapping": mapping });
    schemas.insert(EDIT.to_owned(), json!({ "oneOf": edits, "discriminator": discriminator }));
    let shapes = shape::shapes();
    if let Some(assignment) = shapes.get(&title(EntityKind::Assignment.word())) {
        schemas.insert(ACCESS.to_owned(), without_subject(assignment.clone()));
    }
    schemas.extend(shapes);
}

/// An assignment of which it is known whose it is.
fn without_subject(mut assignment: Json) -> Json {
    if let Some(keys) = assignment.get_mut("properties").and_then(Json::as_object_mut) {
        keys.retain(|key, _| !SUBJECT.contains(&key.as_str()));
    }
    if let Some(assignment) = assignment.as_object_mut() {
        // Which of the two subjects there has to be.
        assignment.remove("description");
    }
    assignment
}

const ACCESS: &str = "Access";
const SUBJECT: [&str; 2] = ["user", "group"];
const ANY_KIND: &str = "{kind}";
const KIND: &str = "Kind";
const ENTITY: &str = "Entity";
const PAGE: &str = "Page";
const EDIT: &str = "BatchEdit";
