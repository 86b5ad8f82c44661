//! The declarative fleet file: the whole model as TOML that reads like a description of the plant.
//!
//! 1. [`read_file`] bounds the size, parses the TOML, unites the files that are included, and applies overrides
//!    (`--set`) to the united tree.
//! 2. The entities are read key by key; whatever is mistyped, missing or impossible is a [`Complaint`] with its place.
//! 3. The model is checked as a whole; faults get the place of the key that they are about.
//!
//! [`write()`] is the way back: a model as one file that reads as the same model. [`read_one`] and [`describe`] speak of one
//! entity in the same notation, as JSON, and [`shape`] says what can stand there.
//!
//! Either there are no complaints, or there is no model: nothing is ever applied in part. All complaints of one run
//! are returned, so that a file is repaired in one sitting. Deliberately absent: ids, keys, passwords and
//! anything else that a file must not decide, and a fleet from the standard input, which could include nothing.

mod complaint;
mod entities;
mod flows;
mod include;
mod notation;
mod places;
mod reader;
mod rules;
mod scope;
mod service;
pub mod shape;
mod tree;
mod values;
mod writer;

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::Model;

use self::include::Loaded;
use self::reader::Reader;

pub(crate) use self::complaint::Cut;
pub use self::complaint::{Complaint, Fault, Place};
pub use self::notation::{describe, read_one};
pub(crate) use self::values::seconds;
pub use self::writer::{Unwritable, write};
pub(crate) use self::writer::{key, list, quoted, span};

/// The files of a fleet are together at most this large: 100,000 devices with two services each need about 20 MB.
pub const FILE_BYTES: usize = 32 * 1024 * 1024;
/// Files of one fleet.
pub const INCLUDES: usize = 512;
/// Files in one chain of includes, the first one counted.
pub const INCLUDE_DEPTH: usize = 8;

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

/// Reads the text of a fleet file, which includes no others.
///
/// # Errors
/// Every complaint, in the order of the file.
pub fn read(text: &str, overrides: &[Override]) -> Result<Model, Vec<Complaint>> {
    understand(include::text(text), overrides)
}

/// Reads a fleet file and those that it includes.
///
/// # Errors
/// Every complaint, in the order of the files.
pub fn read_file(path: &Path, overrides: &[Override]) -> Result<Model, Vec<Complaint>> {
    understand(include::file(path), overrides)
}

fn understand(loaded: Loaded<'_>, overrides: &[Override]) -> Result<Model, Vec<Complaint>> {
    let Loaded { mut root, places, mut complaints } = loaded;
    if complaints.is_empty() {
        complaints.extend(
            overrides.iter().enumerate().filter_map(|(at, change)| tree::apply(&mut root, at, change)),
        );
    }
    if !complaints.is_empty() {
        // A tree that could not be built as written would only yield complaints about its remains.
        return Err(complaints);
    }
    let mut reader = Reader::new(&places);
    let (model, broken) = entities::model(&mut reader, root);
    let complaints = reader.into_complaints(model.check(&broken));
    if complaints.is_empty() { Ok(model) } else { Err(complaints) }
}

/// Entities that a file declares and that could not be read.
type Broken = BTreeSet<(crate::model::EntityKind, postern_protocol::name::Name)>;
