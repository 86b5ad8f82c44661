//! What edges know of a device, and the tally by which they know that they know all.
//!
//! 1. An [`Entry`] is what a hub needs to greet one device and to offer it what is newest.
//! 2. Its [`mark`](Entry::mark) is a MAC of all of that. The [`Tally`] of a set of entries is the sum of their marks, so that it can be
//!    kept up to date with each change, and equal sets have equal tallies in whatever order they came about.
//! 3. Nobody without the key knows a mark. Who keeps entries back, or puts older ones in their place, can therefore not choose
//!    others that make up for it.
//!
//! Deliberately absent: where entries are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use postern_protocol::id::DeviceId;
use postern_protocol::name::Name;
use postern_protocol::trust::{Digest, Mac, PublicKey};
use postern_protocol::wire::codec::{self, CodecFault};
use postern_protocol::wire::control::Held;

/// What hubs know of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: Name,
    /// Its id.
    pub(crate) id: DeviceId,
    /// Its key; none before it was enrolled.
    pub(crate) key: Option<PublicKey>,
    /// The key that it has announced and not used yet.
    pub(crate) next_key: Option<PublicKey>,
    /// Whether it is to make a new key.
    pub(crate) rotate: bool,
    /// The version that it has refused for good.
    pub(crate) refused: Option<u64>,
    /// Its newest snapshot.
    pub(crate) snapshot: Option<Object>,
    /// What is locked on it.
    pub(crate) lock: Lock,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// What it is.
    pub(crate) held: Held,
    /// The envelope; empty where only its name is wanted.
    pub(crate) bytes: Vec<u8>,
}

/// What is locked on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lock {
    /// In which policy epoch.
    pub(crate) epoch: u32,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// Up to which sequence locks are lifted.
    pub(crate) cleared: u64,
    /// The envelope.
    pub(crate) sealed: Option<Vec<u8>>,
}

/// How new what an entry offers is, of two of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    snapshot: Option<(u32, u64)>,
    lock: (u32, u64),
}

/// The MAC of what an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark([u8; 32]);

impl Entry {
    /// The mark of this entry. The envelope of the snapshot is in it by its digest, so that it need not be read.
    ///
    /// # Errors
    /// That the entry is too large.
    pub(crate) fn mark(&self, key: &[u8; 32]) -> Result<Mark, CodecFault> {
        let snapshot = self.snapshot.as_ref().map(|object| Object { held: object.held, bytes: Vec::new() });
        let body = codec::encode(&Self { snapshot, ..self.clone() }, ENTRY_BYTES)?;
        Ok(Mark(*Mac::of(key, &[b"device", &body]).as_bytes()))
    }
}

impl Entry {
    /// How new it is.
    pub(crate) fn order(&self) -> Order {
        let snapshot = self.snapshot.as_ref().map(|object| (object.held.epoch, object.held.version));
        Order { snapshot, lock: (self.lock.epoch, self.lock.sequence) }
    }
}

/// The mark of a root.
pub(crate) fn root_mark(key: &[u8; 32], version: u32, sealed: &[u8]) -> Mark {
    let digest = Digest::of(&[sealed]);
    Mark(*Mac::of(key, &[b"root", &version.to_le_bytes(), digest.as_bytes()]).as_bytes())
}

/// What a mark is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A root, by its version.
    Root(u32),
    /// A device.
    Device(DeviceId),
}

impl Topic {
    /// The key in the bucket.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Root(version) => format!("root.{version}"),
            Self::Device(id) => format!("device.{id}"),
        }
    }
}

/// The marks of a set, and their sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    marks: BTreeMap<Topic, Mark>,
    sum: [u8; 32],
}

impl Tally {
    /// Their sum.
    pub(crate) const fn sum(&self) -> [u8; 32] {
        self.sum
    }

    /// Whether this is the mark that is known.
    pub(crate) fn has(&self, topic: Topic, mark: Mark) -> bool {
        self.marks.get(&topic) == Some(&mark)
    }

    /// Puts a mark in the place of the one before.
    pub(crate) fn put(&mut self, topic: Topic, mark: Mark) {
        if let Some(before) = self.marks.insert(topic, mark) {
            self.add(before);
        }
        self.add(mark);
    }

    /// Takes a mark away; false where none was.
    pub(crate) fn remove(&mut self, topic: Topic) -> bool {
        let removed = self.marks.remove(&topic);
        removed.into_iter().for_each(|mark| self.add(mark));
        removed.is_some()
    }

    /// What is marked.
    pub(crate) fn topics(&self) -> impl Iterator<Item = Topic> {
        self.marks.keys().copied()
    }

    /// Bit by bit, without carry: what is added twice is gone.
    fn add(&mut self, Mark(mark): Mark) {
        self.sum.iter_mut().zip(mark).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// For an entry: a snapshot, a lock, and what goes around them.
pub(crate) const ENTRY_BYTES: usize = 768 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use postern_protocol::trust::SecretKey;

    const KEY: [u8; 32] = [7; 32];

    fn entry(device: u8, version: u64) -> Entry {
        let held = Held { epoch: 1, version, digest: Digest::of(&[&version.to_le_bytes()]) };
        Entry {
            name: format!("press-{device}").parse().unwrap(),
            id: DeviceId::new([device; 8]),
            key: Some(SecretKey::from_seed([device; 32]).unwrap().public()),
            next_key: None,
            rotate: false,
            refused: None,
            snapshot: Some(Object { held, bytes: vec![1, 2, 3] }),
            lock: Lock::default(),
        }
    }

    fn tally(entries: &[Entry]) -> Tally {
        let mut tally = Tally::default();
        entries.iter().for_each(|entry| tally.put(Topic::Device(entry.id), entry.mark(&KEY).unwrap()));
        tally
    }

    #[test]
    fn equal_sets_have_equal_tallies_in_whatever_order_they_came_about() {
        let (one, two, newer) = (entry(1, 1), entry(2, 1), entry(1, 2));
        let straight = tally(&[newer.clone(), two.clone()]);
        let round = tally(&[one.clone(), two.clone(), newer]);
        assert_eq!((straight.sum(), straight.topics().count()), (round.sum(), 2));
        let mut gone = tally(&[one, two.clone()]);
        assert!(gone.remove(Topic::Device(DeviceId::new([1; 8]))));
        assert!(!gone.remove(Topic::Device(DeviceId::new([1; 8]))));
        assert_eq!(gone.sum(), tally(&[two]).sum());
        assert_eq!(Tally::default().sum(), [0; 32]);
    }

    #[test]
    fn an_older_a_missing_and_a_changed_entry_show() {
        let newest = tally(&[entry(1, 2), entry(2, 2)]).sum();
        assert_ne!(tally(&[entry(1, 1), entry(2, 2)]).sum(), newest, "older");
        assert_ne!(tally(&[entry(1, 1), entry(2, 1)]).sum(), newest, "both older");
        assert_ne!(tally(&[entry(1, 2)]).sum(), newest, "missing");
        let changes: [fn(&mut Entry); 6] = [
            |entry| entry.key = None,
            |entry| entry.next_key = entry.key,
            |entry| entry.rotate = true,
            |entry| entry.refused = Some(2),
            |entry| entry.snapshot = None,
            |entry| entry.lock.sealed = Some(vec![1]),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = entry(1, 2);
            change(&mut changed);
            assert_ne!(tally(&[changed, entry(2, 2)]).sum(), newest, "change {number}");
        }
    }

    #[test]
    fn a_mark_needs_no_envelope_and_is_worth_nothing_under_another_key() {
        let (whole, mut named) = (entry(1, 1), entry(1, 1));
        named.snapshot.as_mut().unwrap().bytes.clear();
        assert_eq!(whole.mark(&KEY).unwrap(), named.mark(&KEY).unwrap());
        assert_ne!(whole.mark(&KEY).unwrap(), whole.mark(&[8; 32]).unwrap());
    }
}
