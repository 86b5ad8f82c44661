//! A trail in a file that anybody can verify: one line for each thing that was written or signed.
//!
//! ```text
//! postern-audit 1
//! root HEX          a sealed root; those after the one that the reader trusts, ascending
//! device HEX        whose trail it is
//! log HEX           a log begins; a device may have several
//! row HEX           the next row, with its link
//! checkpoint HEX    what the device signed about the row before this line
//! ack HEX           what the cloud signed about the row before this line; each log ends with one of the time of the export
//! ```
//!
//! The hexadecimal digits are the encoding of an [`Item`] as on the wire. Lines that begin with `#` are for people and say
//! nothing: what a row says is decoded from its bytes.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Link, LogId, Whose};
use crate::limits;
use crate::trust::envelope::OVERHEAD;
use crate::wire::codec;
use crate::wire::text::Text;

/// The first line.
pub const HEAD: &str = "postern-audit 1";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A sealed root.
    Root(Vec<u8>),
    /// Whose trail it is.
    Device {
        /// Ids.
        whose: Whose,
        /// What people call it.
        name: Text,
    },
    /// A log begins.
    Log {
        /// Its name.
        log: LogId,
        /// Its first row.
        first: u64,
        /// The link of the row before that one.
        previous: Link,
    },
    /// The next row.
    Row {
        /// Its link.
        link: Link,
        /// Its encoding.
        body: Vec<u8>,
    },
    /// What the device signed.
    Checkpoint(Checkpoint),
    /// A sealed acknowledgement.
    Ack(Vec<u8>),
}

/// A line that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of an audit export")]
pub struct LineFault;

impl Item {
    /// The line, without its break.
    #[must_use]
    pub fn line(&self) -> String {
        let bytes = codec::encode(self, usize::MAX).unwrap_or_default();
        format!("{} {}", self.word(), HEXLOWER.encode(&bytes))
    }

    /// Reads a line without its break; none for one that says nothing.
    ///
    /// # Errors
    /// [`LineFault`].
    pub fn parse(line: &str) -> Result<Option<Self>, LineFault> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (word, digits) = line.split_once(' ').ok_or(LineFault)?;
        if digits.len() > LINE_BYTES {
            return Err(LineFault);
        }
        let bytes = HEXLOWER.decode(digits.as_bytes()).map_err(|_| LineFault)?;
        let item: Self = codec::decode(&bytes, LINE_BYTES).map_err(|_| LineFault)?;
        // One spelling: a row must not be shown as something else.
        if item.word() == word { Ok(Some(item)) } else { Err(LineFault) }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Root(_) => "root",
            Self::Device { .. } => "device",
            Self::Log { .. } => "log",
            Self::Row { .. } => "row",
            Self::Checkpoint(_) => "checkpoint",
            Self::Ack(_) => "ack",
        }
    }
}

/// Characters of a line at most: a sealed root in hexadecimal digits, and what is around it.
pub const LINE_BYTES: usize = 2 * (limits::ROOT_BYTES + OVERHEAD) + 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::End;
    use crate::id::{DeviceId, FleetId};
    use crate::trust::{Digest, SecretKey};

    fn items() -> Vec<Item> {
        let whose = Whose { fleet: FleetId::new([1; 8]), device: DeviceId::new([2; 8]) };
        let (log, link) = (LogId::new([3; 16]), Digest::of(&[b"row"]));
        let key = SecretKey::from_seed([7; 32]).unwrap();
        vec![
            Item::Root(vec![1, 2]),
            Item::Device { whose, name: Text::clean("press-7") },
            Item::Log { log, first: 1, previous: Digest::new([0; 32]) },
            Item::Row { link, body: vec![3] },
            Item::Checkpoint(Checkpoint::sign(whose, log, End { seq: 1, link }, &key)),
            Item::Ack(vec![4]),
        ]
    }

    #[test]
    fn every_line_reads_back_and_says_what_it_is() {
        for (item, word) in items().iter().zip(["root", "device", "log", "row", "checkpoint", "ack"]) {
            let line = item.line();
            assert!(line.starts_with(word));
            assert_eq!(Item::parse(&line), Ok(Some(item.clone())));
        }
        assert_eq!((Item::parse(""), Item::parse("# row 12")), (Ok(None), Ok(None)));
    }

    #[test]
    fn a_line_under_another_word_or_with_other_digits_is_none() {
        let line = items()[3].line();
        for wrong in [line.replace("row", "ack"), line.replace(' ', "  "), format!("{line}00"), "row".into()]
        {
            assert_eq!(Item::parse(&wrong), Err(LineFault), "{wrong}");
        }
        assert_eq!(Item::parse(&line.to_uppercase()), Err(LineFault));
        assert_eq!(Item::parse(&format!("row {}", "0".repeat(LINE_BYTES + 2))), Err(LineFault));
    }

    #[test]
    fn the_largest_root_fits_a_line() {
        let root = Item::Root(vec![0; limits::ROOT_BYTES + OVERHEAD]);
        assert_eq!(Item::parse(&root.line()), Ok(Some(root)));
    }
}
