//! TOML text becomes a tree of values that know where they stand.
//!
//! The tree is ours rather than the parser's so that an override can replace a value and so that every reader asks the
//! same three questions: which key, what type, where.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Override;
use super::complaint::{Complaint, Cut, Fault, Place};
use super::places::OVERRIDES;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A value of TOML.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// None is an integer beyond 64 bits.
    Integer(Option<i64>),
    Flag(bool),
    Float,
    /// A date and time as it is written.
    Time(String),
    List(Vec<Node>),
    Table(Vec<Field>),
}

/// A key of a table.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) node: Node,
}

impl Value {
    /// What it is, for people.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Flag(_) => "a truth value",
            Self::Float => "a fraction",
            Self::Time(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses TOML that begins at the offset `base`; with faults the fields are what could be recovered.
pub(super) fn parse(text: &str, base: usize) -> (Vec<Field>, Vec<(Option<usize>, Fault)>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let faults = errors
        .iter()
        .take(SYNTAX_COMPLAINTS)
        .map(|error| {
            let at = error.span().map(|span| base + span.start);
            let key = error.span().and_then(|span| text.get(span)).filter(|_| error.message() == DUPLICATE);
            let key = key.map(|key| format!(" `{}`", Cut(key))).unwrap_or_default();
            (at, Fault::Syntax { detail: format!("{}{key}", error.message()).into() })
        })
        .collect();
    (fields(table.into_inner(), base), faults)
}

/// What the parser says of a key that stands twice, without naming it.
const DUPLICATE: &str = "duplicate key";

/// Replaces or adds one value. The table that holds it must be in the file.
pub(super) fn apply(root: &mut Node, number: usize, change: &Override) -> Option<Complaint> {
    let at = OVERRIDES + number;
    let complaint = |fault| Complaint {
        file: None,
        place: Place::Override { number: number + 1 },
        key: change.path.clone(),
        fault,
    };
    let mut node = root;
    let mut path = change.path.as_str();
    loop {
        let Value::Table(fields) = &mut node.value else { return Some(complaint(Fault::NoTable)) };
        // Names may contain dots: the longest key that the rest of the path begins with is meant.
        let position = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| {
                path.strip_prefix(field.key.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .max_by_key(|(_, field)| field.key.len())
            .map(|(position, _)| position);
        let value = || Node { at, value: override_value(&change.value) };
        let Some(position) = position else {
            if path.contains('.') {
                return Some(complaint(Fault::NoTable));
            }
            fields.push(Field { key: path.to_owned(), at, node: value() });
            return None;
        };
        let Some(field) = fields.get_mut(position) else { return Some(complaint(Fault::NoTable)) };
        match path.get(field.key.len() + 1..) {
            None => {
                field.node = value();
                return None;
            }
            Some(rest) => {
                path = rest;
                node = &mut field.node;
            }
        }
    }
}

/// `true`, `5` and `["a"]` are what they look like in TOML; everything else is text, so that nobody must quote an
/// address twice.
fn override_value(text: &str) -> Value {
    DeValue::parse(text).map_or_else(|_| Value::Text(text.to_owned()), |value| convert(value.into_inner(), 0))
}

// The parser bounds the depth of its tree, so these end.

fn fields(table: DeTable<'_>, base: usize) -> Vec<Field> {
    let mut fields: Vec<Field> = table
        .into_iter()
        .map(|(key, value)| {
            let at = base + key.span().start;
            Field { key: key.into_inner().into_owned(), at, node: node(value, base) }
        })
        .collect();
    fields.sort_by_key(|field| field.at);
    fields
}

fn node(value: Spanned<DeValue<'_>>, base: usize) -> Node {
    Node { at: base + value.span().start, value: convert(value.into_inner(), base) }
}

fn convert(value: DeValue<'_>, base: usize) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(array) => Value::List(array.into_iter().map(|value| node(value, base)).collect()),
        DeValue::Table(table) => Value::Table(fields(table, base)),
    }
}

/// One missing bracket makes the parser find many faults; people repair the first ones.
const SYNTAX_COMPLAINTS: usize = 5;
