//! Reads single values out of tables, and turns everything unexpected into complaints.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr;

use postern_protocol::name::{Label, Name, NameFault};

use super::complaint::{Complaint, Fault};
use super::places::Places;
use super::tree::{Field, Node, Value};
use crate::model::ModelFault;
use crate::nearest::nearest;

/// Collects complaints and remembers where each key stands.
pub(super) struct Reader<'a> {
    texts: &'a Places<'a>,
    /// The first complaints: offset, key and fault. Only those that are listed get their line and column, which takes
    /// a walk along the line: a file may be one line of some megabytes.
    complaints: Vec<(usize, String, Fault)>,
    /// How many there were.
    count: usize,
    /// The offset of each key that a fault of the model may be about, under the hash of the key: in a large fleet the
    /// keys themselves are larger than the model, and two with one hash would only put a complaint in a wrong place.
    marks: Vec<(u64, usize)>,
}

/// A table that is being read: each key that is asked for is taken out, what is left over is unknown.
pub(super) struct Section {
    pub(super) path: String,
    pub(super) at: usize,
    fields: BTreeMap<String, Field>,
    asked: Vec<&'static str>,
}

impl Section {
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.note(key);
        self.fields.remove(key).map(|field| field.node)
    }

    /// Whether a key stands there.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.note(key);
        self.fields.contains_key(key)
    }

    fn note(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

impl<'a> Reader<'a> {
    pub(super) const fn new(texts: &'a Places<'a>) -> Self {
        Self { texts, complaints: Vec::new(), count: 0, marks: Vec::new() }
    }

    pub(super) const fn complaint_count(&self) -> usize {
        self.count
    }

    pub(super) fn complain(&mut self, at: usize, key: impl Into<String>, fault: Fault) {
        self.count += 1;
        if self.complaints.len() < KEPT {
            self.complaints.push((at, key.into(), fault));
        }
    }

    /// All complaints in the order of the files, those of the model placed where their key stands.
    pub(super) fn into_complaints(mut self, faults: Vec<ModelFault>) -> Vec<Complaint> {
        // The last mark of a key counts, and comes first where the order is the other way round.
        self.marks.reverse();
        self.marks.sort_by_key(|(hash, _)| *hash);
        for ModelFault { kind, name, key, problem } in faults {
            let entity = join(kind.word(), name.as_str());
            let path = if key.is_empty() { entity.clone() } else { join(&entity, &key) };
            let at = self.marked(&path).or_else(|| self.marked(&entity)).unwrap_or(0);
            self.complain(at, path, Fault::Model(problem));
        }
        let Self { texts, mut complaints, count, .. } = self;
        complaints.sort_by_key(|(at, ..)| *at);
        complaints.dedup();
        let listed = complaints.into_iter().take(LISTED);
        let mut complaints: Vec<Complaint> =
            listed.map(|(at, key, fault)| texts.complaint(at, key, fault)).collect();
        if count > LISTED {
            complaints.push(Complaint::of_file(Fault::More { count: count - LISTED }));
        }
        complaints
    }

    pub(super) fn mark(&mut self, path: &str, at: usize) {
        self.marks.push((hash(path), at));
    }

    fn marked(&self, path: &str) -> Option<usize> {
        let hash = hash(path);
        let first = self.marks.partition_point(|(mark, _)| *mark < hash);
        self.marks.get(first).filter(|(mark, _)| *mark == hash).map(|(_, at)| *at)
    }

    /// A table, ready to be read.
    pub(super) fn section(&mut self, path: String, node: Node) -> Option<Section> {
        let at = node.at;
        match node.value {
            Value::Table(fields) => {
                let fields = fields.into_iter().map(|field| (field.key.clone(), field)).collect();
                Some(Section { path, at, fields, asked: Vec::new() })
            }
            other @ (Value::Text(_)
            | Value::Integer(_)
            | Value::Flag(_)
            | Value::Float
            | Value::Time(_)
            | Value::List(_)) => {
                self.complain(at, path, Fault::Type { found: other.describe(), expected: "a table" });
                None
            }
        }
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(&mut self, section: Section) {
        for (key, field) in section.fields {
            if self.complaints.len() == KEPT {
                self.count += 1;
                continue;
            }
            let nearest = nearest(&key, section.asked.iter().copied()).map(Into::into);
            let fault = Fault::UnknownKey { known: section.asked.as_slice().into(), nearest };
            self.complain(field.at, join(&section.path, &key), fault);
        }
    }

    /// The entries of a table of named things, with their names checked.
    pub(super) fn named(&mut self, path: &str, node: Node) -> Vec<(Name, Node)> {
        let Some(section) = self.section(path.to_owned(), node) else { return Vec::new() };
        let mut entries: Vec<Field> = section.fields.into_values().collect();
        entries.sort_by_key(|field| field.at);
        let mut named = Vec::with_capacity(entries.len());
        for field in entries {
            let key = join(path, &field.key);
            match Name::from_str(&field.key) {
                Ok(name) => {
                    self.mark(&key, field.at);
                    named.push((name, field.node));
                }
                Err(fault) => {
                    self.complain(field.at, key, Fault::Name { found: field.key.as_str().into(), fault });
                }
            }
        }
        named
    }

    /// The sections of a table of named tables inside of another, such as `[device-group.north.member.anna]`.
    pub(super) fn sections(&mut self, section: &mut Section, key: &'static str) -> Vec<(Name, Section)> {
        let Some(node) = section.take(key) else { return Vec::new() };
        let path = section.key(key);
        let named = self.named(&path, node);
        named
            .into_iter()
            .filter_map(|(name, node)| {
                let section = self.section(format!("{path}.{name}"), node)?;
                Some((name, section))
            })
            .collect()
    }

    pub(super) fn missing(&mut self, section: &Section, missing: &'static str, expected: &'static str) {
        self.complain(section.at, section.path.clone(), Fault::Missing { missing, expected });
    }

    pub(super) fn text(&mut self, key: &str, node: Node, expected: &'static str) -> Option<(usize, String)> {
        let at = node.at;
        match node.value {
            Value::Text(text) => Some((at, text)),
            other @ (Value::Integer(_)
            | Value::Flag(_)
            | Value::Float
            | Value::Time(_)
            | Value::List(_)
            | Value::Table(_)) => {
                self.complain(at, key, Fault::Type { found: other.describe(), expected });
                None
            }
        }
    }

    /// A text that one of our types reads, with the rule that it breaks otherwise.
    pub(super) fn parsed<T: FromStr<Err = NameFault>>(
        &mut self,
        key: &str,
        node: Node,
        expected: &'static str,
    ) -> Option<T> {
        let (at, text) = self.text(key, node, expected)?;
        self.mark(key, at);
        match text.parse() {
            Ok(value) => Some(value),
            Err(fault) => {
                self.complain(at, key, Fault::Name { found: text.into(), fault });
                None
            }
        }
    }

    pub(super) fn optional_name(&mut self, section: &mut Section, key: &'static str) -> Option<Name> {
        let node = section.take(key)?;
        self.parsed(&section.key(key), node, "a name as text")
    }

    pub(super) fn name(&mut self, section: &mut Section, key: &'static str) -> Option<Name> {
        match section.take(key) {
            Some(node) => self.parsed(&section.key(key), node, "a name as text"),
            None => {
                self.missing(section, key, "a name as text");
                None
            }
        }
    }

    pub(super) fn label(&mut self, section: &mut Section, key: &'static str) -> Option<Label> {
        let node = section.take(key)?;
        self.parsed(&section.key(key), node, "text")
    }

    /// A list of words that `parse` knows; none where the key is missing.
    pub(super) fn list<T: Ord>(
        &mut self,
        section: &mut Section,
        key: &'static str,
        mut parse: impl FnMut(&mut Self, &str, Node) -> Option<(T, String)>,
    ) -> BTreeSet<T> {
        let mut entries = BTreeSet::new();
        let Some(node) = section.take(key) else { return entries };
        let path = section.key(key);
        let start = node.at;
        let nodes = match node.value {
            Value::List(nodes) => nodes,
            other @ (Value::Text(_)
            | Value::Integer(_)
            | Value::Flag(_)
            | Value::Float
            | Value::Time(_)
            | Value::Table(_)) => {
                let fault = Fault::Type { found: other.describe(), expected: "a list of words" };
                self.complain(node.at, path, fault);
                return entries;
            }
        };
        for node in nodes {
            let at = node.at;
            let Some((entry, word)) = parse(self, &path, node) else { continue };
            self.mark(&format!("{path}[{word}]"), at);
            if !entries.insert(entry) {
                self.complain(at, path.as_str(), Fault::Twice { found: word.into() });
            }
        }
        // Last: each entry has left its own place under the key of the list.
        self.mark(&path, start);
        entries
    }

    pub(super) fn names(&mut self, section: &mut Section, key: &'static str) -> BTreeSet<Name> {
        self.list(section, key, |reader, path, node| {
            let name: Name = reader.parsed(path, node, "a name as text")?;
            let word = name.to_string();
            Some((name, word))
        })
    }

    pub(super) fn words<T: Copy + Ord>(
        &mut self,
        section: &mut Section,
        key: &'static str,
        vocabulary: &[T],
        word: fn(T) -> &'static str,
    ) -> BTreeSet<T> {
        self.list(section, key, |reader, path, node| {
            let value = reader.word_of(path, node, vocabulary, word)?;
            Some((value, word(value).to_owned()))
        })
    }

    /// One word of a closed vocabulary.
    pub(super) fn word_of<T: Copy>(
        &mut self,
        key: &str,
        node: Node,
        vocabulary: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let (at, text) = self.text(key, node, "a word as text")?;
        self.mark(key, at);
        let found = vocabulary.iter().copied().find(|value| word(*value) == text);
        if found.is_none() {
            let words: Box<[&'static str]> = vocabulary.iter().map(|value| word(*value)).collect();
            let nearest = nearest(&text, words.iter().copied()).map(Into::into);
            let fault = Fault::Word { found: text.into(), words, nearest };
            self.complain(at, key, fault);
        }
        found
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        section: &mut Section,
        key: &'static str,
        vocabulary: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        match section.take(key) {
            Some(node) => self.word_of(&section.key(key), node, vocabulary, word),
            None => {
                self.missing(section, key, "a word as text");
                None
            }
        }
    }

    pub(super) fn bad_value(&mut self, at: usize, key: impl Into<String>, found: &str, expected: &str) {
        let fault = Fault::Value { found: found.into(), expected: expected.into(), nearest: None };
        self.complain(at, key, fault);
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Complaints that are kept to be sorted: a file of some megabytes can have a million.
const KEPT: usize = 10_000;
/// Complaints that are listed.
pub(super) const LISTED: usize = 200;
