//! The declarative fleet file: the whole model as TOML that reads like a description of the plant.
//!
//! 1. [`read`] bounds the size, parses the TOML and applies overrides (`--set`) to the parsed tree.
//! 2. The entities are read key by key; whatever is mistyped, missing or impossible is a [`Complaint`] with its place.
//! 3. The model is checked as a whole; faults get the place of the key that they are about.
//!
//! Either there are no complaints, or there is no model: nothing is ever applied in part. All complaints of one run
//! are returned, so that a file is repaired in one sitting. Deliberately absent: ids, keys, passwords and
//! anything else that a file must not decide.

mod complaint;
mod entities;
mod places;
mod reader;
mod scope;
mod service;
mod tree;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use crate::model::Model;

pub use self::complaint::{Complaint, Fault, Place};

/// A fleet file is at most this large: 100,000 devices with two services each need about 20 MB.
pub const FILE_BYTES: usize = 32 * 1024 * 1024;

/// Changes one value of a fleet file before it is read: `device.press-7.service.hmi.target=127.0.0.1:5900`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The keys from the outside in, joined by `.`.
    pub path: String,
    /// A TOML value, or text where it is none.
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = OverrideFault;

    fn from_str(text: &str) -> Result<Self, OverrideFault> {
        let (path, value) = text.split_once('=').ok_or(OverrideFault)?;
        if path.trim().is_empty() {
            return Err(OverrideFault);
        }
        Ok(Self { path: path.trim().to_owned(), value: value.trim().to_owned() })
    }
}

/// An override that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `KEY=VALUE`, such as `device.press-7.service.hmi.target=127.0.0.1:5900`")]
pub struct OverrideFault;

/// Reads the text of a fleet file.
///
/// # Errors
/// Every complaint, in the order of the file.
pub fn read(text: &str, overrides: &[Override]) -> Result<Model, Vec<Complaint>> {
    if text.len() > FILE_BYTES {
        return Err(vec![Complaint::of_file(Fault::FileSize { limit: FILE_BYTES })]);
    }
    let (mut root, mut complaints) = tree::parse(text);
    if complaints.is_empty() {
        complaints.extend(
            overrides.iter().enumerate().filter_map(|(at, change)| tree::apply(&mut root, at, change)),
        );
    }
    if !complaints.is_empty() {
        // A tree that could not be built as written would only yield complaints about its remains.
        return Err(complaints);
    }
    let lines = places::Lines::new(text);
    let mut reader = reader::Reader::new(&lines);
    let (model, broken) = entities::model(&mut reader, root);
    let mut complaints = reader.into_complaints(model.check(&broken));
    if complaints.is_empty() {
        return Ok(model);
    }
    complaints.sort_by_key(|complaint| complaint.place);
    complaints.dedup();
    Err(complaints)
}

/// Reads a fleet file.
///
/// # Errors
/// Every complaint, in the order of the file.
pub fn read_file(path: &Path, overrides: &[Override]) -> Result<Model, Vec<Complaint>> {
    let text = load(path).map_err(|fault| vec![Complaint::of_file(fault)])?;
    read(&text, overrides)
}

fn load(path: &Path) -> Result<String, Fault> {
    let io = |error: std::io::Error| Fault::Unreadable { error: error.kind() };
    let file = std::fs::File::open(path).map_err(io)?;
    let limit = u64::try_from(FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know, whatever the file claims about its size.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > FILE_BYTES {
        return Err(Fault::FileSize { limit: FILE_BYTES });
    }
    String::from_utf8(bytes).map_err(|fault| Fault::NotText { offset: fault.utf8_error().valid_up_to() })
}

/// Entities that a file declares and that could not be read.
type Broken = BTreeSet<(crate::model::EntityKind, postern_protocol::name::Name)>;
