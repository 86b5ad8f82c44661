//! What is to be stored of a snapshot, all or nothing.

use std::fmt;

use postern_protocol::name::Name;
use postern_protocol::policy::Floor;
use postern_protocol::time::UnixTime;

use super::StoreError;

/// A verified snapshot on its way to the disk, and what changes with it.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The floor that it sets.
    pub(crate) floor: Floor,
    /// Its envelope.
    pub(crate) sealed: Vec<u8>,
    /// What time it is at least.
    pub(crate) time: UnixTime,
    /// Locks of its epoch up to this sequence end, and those of earlier epochs.
    pub(crate) cleared: u64,
    /// The device is out of service: the secrets that were set on it go, and nothing of earlier snapshots is left.
    pub(crate) retired: bool,
    /// It is for another key of the device, to which this seals those secrets anew.
    pub(crate) reseal: Option<Reseal>,
}

/// Seals one secret anew; none where it stays as it is. The store asks it within the transaction that stores the
/// snapshot, so that no moment has one key in force and the secrets sealed to the other.
pub(crate) struct Reseal(Box<Anew>);

type Anew = dyn Fn(&Name, &[u8]) -> Result<Option<Vec<u8>>, StoreError> + Send;

impl Reseal {
    pub(crate) fn new(
        anew: impl Fn(&Name, &[u8]) -> Result<Option<Vec<u8>>, StoreError> + Send + 'static,
    ) -> Self {
        Self(Box::new(anew))
    }

    pub(crate) fn anew(&self, name: &Name, sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (self.0)(name, sealed)
    }
}

impl fmt::Debug for Reseal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reseal")
    }
}
