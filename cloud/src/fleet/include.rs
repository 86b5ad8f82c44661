//! A fleet of several files: the first names others with `include`, and all of them are read as one.
//!
//! 1. The first file is read, then each file that it includes, in order, each followed by what it includes itself.
//! 2. A path is relative to the file that includes it and stays inside the directory of the first file; a symbolic link
//!    there may lead elsewhere, as whoever can make one can write the file too.
//! 3. The tables of all files unite. The same entity in two files is refused with both places, never merged: nobody
//!    should have to look into two files to know what a role may do.
//!
//! Files, their depth and their bytes are bounded; a file that is included twice or by way of itself is refused with
//! the chain that leads to it. Deliberately absent: patterns, so that a file that is forgotten in a directory never
//! grants anything.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_protocol::name::Label;

use super::complaint::{Complaint, Fault};
use super::places::Places;
use super::reader::LISTED;
use super::tree::{self, Field, Node, Value};
use super::{FILE_BYTES, INCLUDE_DEPTH, INCLUDES};

/// What was read: the united tree, where everything stands, and what is wrong already.
pub(super) struct Loaded<'a> {
    pub(super) root: Node,
    pub(super) places: Places<'a>,
    pub(super) complaints: Vec<Complaint>,
}

/// Reads one text, which has no directory and includes nothing.
pub(super) fn text(text: &str) -> Loaded<'_> {
    let mut loader = Loader::default();
    if text.len() > FILE_BYTES {
        loader.complaints.push(Complaint::of_file(Fault::FileSize { limit: FILE_BYTES }));
    } else {
        loader.add(None, Cow::Borrowed(text), None);
    }
    loader.finish()
}

/// Reads a file and all that it includes.
pub(super) fn file(path: &Path) -> Loaded<'static> {
    let mut loader = Loader::default();
    match load(path, 0) {
        Err(fault) => loader.complaints.push(Complaint::of_file(fault)),
        Ok(text) => {
            let name: Arc<str> = path.display().to_string().into();
            loader.met.insert(identity(path), Arc::clone(&name));
            let top = path.parent().unwrap_or(Path::new("")).to_owned();
            let here = Here { top: &top, inside: Vec::new(), chain: vec![Arc::clone(&name)] };
            loader.add(Some(name), Cow::Owned(text), Some(&here));
        }
    }
    loader.finish()
}

/// The file whose includes are being read.
struct Here<'h> {
    /// The directory of the first file.
    top: &'h Path,
    /// The directory of this file, inside of that one.
    inside: Vec<String>,
    /// The files that lead here, this one last.
    chain: Vec<Arc<str>>,
}

#[derive(Default)]
struct Loader<'a> {
    places: Places<'a>,
    complaints: Vec<Complaint>,
    /// Complaints beyond those that are listed.
    unlisted: usize,
    /// The united tables, in the order of their first appearance.
    tables: Vec<Field>,
    /// Which of the united tables a key is: a file may have a million keys that mean nothing.
    kinds: HashMap<String, usize>,
    /// Where each entity of the united tables stands, as `kind.name`; filled when a second file comes.
    entities: HashMap<String, usize>,
    /// Each file that was read, by what the file system says it is, with the name that people know.
    met: BTreeMap<PathBuf, Arc<str>>,
}

impl<'a> Loader<'a> {
    fn finish(self) -> Loaded<'a> {
        let root = Node { at: 0, value: Value::Table(self.tables) };
        let mut complaints = self.complaints;
        if self.unlisted > 0 {
            complaints.push(Complaint::of_file(Fault::More { count: self.unlisted }));
        }
        Loaded { root, places: self.places, complaints }
    }

    fn complain(&mut self, at: usize, key: impl Into<String>, fault: Fault) {
        if self.is_full() {
            self.unlisted += 1;
        } else {
            let complaint = self.places.complaint(at, key, fault);
            self.complaints.push(complaint);
        }
    }

    /// Whether no more complaints are listed: two copies of one large file would yield a million.
    fn is_full(&self) -> bool {
        self.complaints.len() >= LISTED
    }

    fn add(&mut self, name: Option<Arc<str>>, text: Cow<'a, str>, here: Option<&Here<'_>>) {
        let base = self.places.add(name, text);
        let (mut fields, faults) = tree::parse(self.places.newest(), base);
        let sound = faults.is_empty();
        for (at, fault) in faults {
            match at {
                Some(at) => self.complain(at, "", fault),
                None => self.complaints.push(Complaint::of_file(fault)),
            }
        }
        let include =
            fields.iter().position(|field| field.key == INCLUDE).map(|position| fields.remove(position));
        self.unite(fields);
        match (include, here) {
            (Some(include), Some(here)) if sound => self.includes(include, here),
            (Some(include), None) => self.complain(include.at, INCLUDE, Fault::IncludeHere),
            (Some(_) | None, _) => {}
        }
    }

    /// Adds the tables of one more file.
    fn unite(&mut self, fields: Vec<Field>) {
        if self.places.count() == 1 {
            self.tables = fields;
            return;
        }
        if self.kinds.is_empty() {
            for (position, field) in self.tables.iter().enumerate() {
                self.kinds.insert(field.key.clone(), position);
                let Value::Table(entities) = &field.node.value else { continue };
                let named =
                    entities.iter().map(|entity| (format!("{}.{}", field.key, entity.key), entity.at));
                self.entities.extend(named);
            }
        }
        for field in fields {
            self.unite_kind(field);
        }
    }

    fn unite_kind(&mut self, field: Field) {
        let Value::Table(entities) = field.node.value else {
            let fault = Fault::Type { found: field.node.value.describe(), expected: "a table" };
            self.complain(field.node.at, field.key, fault);
            return;
        };
        let mut fresh = Vec::with_capacity(entities.len());
        for entity in entities {
            let key = format!("{}.{}", field.key, entity.key);
            if let Some(other) = self.entities.get(&key) {
                if self.is_full() {
                    self.unlisted += 1;
                    continue;
                }
                let fault = Fault::Duplicate { other: self.places.describe(*other).into() };
                self.complain(entity.at, key, fault);
            } else {
                self.entities.insert(key, entity.at);
                fresh.push(entity);
            }
        }
        let known = self.kinds.get(&field.key).and_then(|position| self.tables.get_mut(*position));
        let Some(known) = known else {
            self.kinds.insert(field.key.clone(), self.tables.len());
            let node = Node { at: field.node.at, value: Value::Table(fresh) };
            self.tables.push(Field { node, ..field });
            return;
        };
        if let Value::Table(united) = &mut known.node.value {
            united.extend(fresh);
            return;
        }
        // What stood there is no table; it is said here and not again.
        let fault = Fault::Type { found: known.node.value.describe(), expected: "a table" };
        known.node.value = Value::Table(fresh);
        let (at, key) = (known.node.at, known.key.clone());
        self.complain(at, key, fault);
    }

    fn includes(&mut self, include: Field, here: &Here<'_>) {
        let Value::List(nodes) = include.node.value else {
            let fault = Fault::Type { found: include.node.value.describe(), expected: EXPECTED };
            self.complain(include.node.at, INCLUDE, fault);
            return;
        };
        for node in nodes {
            let Value::Text(path) = &node.value else {
                let fault = Fault::Type { found: node.value.describe(), expected: "a path as text" };
                self.complain(node.at, INCLUDE, fault);
                continue;
            };
            if let Err(fault) = self.include(path, here) {
                self.complain(node.at, INCLUDE, fault);
            }
        }
    }

    fn include(&mut self, path: &str, here: &Here<'_>) -> Result<(), Fault> {
        let shown = |why: Fault| Fault::Include { file: path.into(), why: Box::new(why) };
        // The path ends up in every message about that file.
        path.parse::<Label>().map_err(|fault| Fault::Name { found: path.into(), fault })?;
        let inside = resolve(&here.inside, path).ok_or_else(|| outside(path))?;
        let mut full = here.top.to_owned();
        full.extend(&inside);
        let name: Arc<str> = full.display().to_string().into();
        let mut chain = here.chain.clone();
        chain.push(Arc::clone(&name));
        if chain.len() > INCLUDE_DEPTH {
            return Err(Fault::IncludeDepth { chain: chained(&chain), limit: INCLUDE_DEPTH });
        }
        if self.places.count() >= INCLUDES {
            return Err(Fault::IncludeCount { limit: INCLUDES });
        }
        let identity = identity(&full);
        if let Some(known) = self.met.get(&identity) {
            let chain = chained(&chain);
            let circle = here.chain.contains(known);
            return Err(if circle { Fault::IncludeCircle { chain } } else { Fault::IncludedTwice { chain } });
        }
        // A pipe would wait for somebody to write into it.
        if std::fs::metadata(&full).is_ok_and(|file| !file.is_file()) {
            return Err(shown(Fault::NoFile));
        }
        let text = load(&full, self.places.bytes()).map_err(shown)?;
        self.met.insert(identity, Arc::clone(&name));
        let inside = inside.split_last().map_or(Vec::new(), |(_, directory)| directory.to_vec());
        let next = Here { top: here.top, inside, chain };
        self.add(Some(name), Cow::Owned(text), Some(&next));
        Ok(())
    }
}

/// The steps from the first file's directory to a file; none when they would leave it.
fn resolve(inside: &[String], path: &str) -> Option<Vec<String>> {
    let mut steps = inside.to_vec();
    for step in path.split('/') {
        match step {
            "" => return None,
            "." => {}
            ".." => drop(steps.pop()?),
            _ => steps.push(step.to_owned()),
        }
    }
    (!steps.is_empty()).then_some(steps)
}

fn outside(path: &str) -> Fault {
    Fault::Value { found: path.into(), expected: EXPECTED_PATH.into(), nearest: None }
}

fn chained(chain: &[Arc<str>]) -> Box<str> {
    chain.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(" includes ").into()
}

/// What the file system says a file is: two paths to one file are one.
fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The text of a file, when it fits beside the bytes of those before.
fn load(path: &Path, before: usize) -> Result<String, Fault> {
    let io = |error: std::io::Error| Fault::Unreadable { error: error.kind() };
    let file = std::fs::File::open(path).map_err(io)?;
    let room = FILE_BYTES.saturating_sub(before);
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know, whatever the file claims about its size.
    let limit = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > room {
        return Err(Fault::FileSize { limit: FILE_BYTES });
    }
    String::from_utf8(bytes).map_err(|fault| Fault::NotText { offset: fault.utf8_error().valid_up_to() })
}

pub(super) const INCLUDE: &str = "include";

const EXPECTED: &str = "a list of files, such as [\"people.toml\"]";
const EXPECTED_PATH: &str =
    "a relative path that stays in the directory of the first file, such as \"sites/hawthorne.toml\"";
