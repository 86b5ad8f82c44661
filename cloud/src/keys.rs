//! The installation's private keys: kept in files that nobody else may read, and chosen by the root.
//!
//! 1. [`found`] makes an installation with its first root, whose keys lie in `offline/` or were never here.
//! 2. [`Keys::load`] reads the online keys that a root names, and refuses files that others could have read.
//! 3. [`Exchange`] puts the keys of the next root into place, so that a power cut at any moment leaves a hub that can
//!    sign: which key is used is said by the root in the state file, not by the name of the key's file.
//!
//! A role has files `policy.key`, `policy-2.key`, ... as far as its root names several keys that are held here. Every
//! key that is held signs, so that what is signed outlasts the removal of one of them from the root.

mod exchange;
mod file;
mod founding;

use std::io;
use std::path::{Path, PathBuf};

use postern_protocol::trust::{Envelope, EnvelopeFault, PublicKey, Role, RoleKeys, Root, SecretKey, Signed};

pub use self::exchange::{Exchange, ExchangeError};
pub use self::file::{KeyFileError, make, read};
pub(crate) use self::file::{copy, read_or_make};
pub use self::founding::{FoundError, Origin, Plan, found, found_in};
pub(crate) use self::founding::{ROOT_LIFETIME_S, make_root_keys};

/// The keys of a root that a running hub holds.
#[derive(Debug)]
pub struct Keys {
    /// Signs snapshots.
    pub policy: Signers,
    /// Signs passes.
    pub identity: Signers,
    /// Signs timestamps.
    pub timestamp: Signers,
    /// Signs locks.
    pub lock: Signers,
    /// Signs acknowledgements of audit rows.
    pub audit_ack: Signers,
    /// Proves the hub in handshakes.
    pub hub: SecretKey,
}

impl Keys {
    /// Reads the online keys of a state directory that `root` names.
    ///
    /// # Errors
    /// A [`KeyFileError`]; [`KeyFileError::Unheld`] where too few keys of a role are there.
    pub fn load(state: &Path, root: &Root) -> Result<Self, KeyFileError> {
        let signers = |role| Signers::load(state, root, role);
        Ok(Self {
            policy: signers(Role::Policy)?,
            identity: signers(Role::Identity)?,
            timestamp: signers(Role::Timestamp)?,
            lock: signers(Role::Lock)?,
            audit_ack: signers(Role::AuditAck)?,
            hub: hub(state, root)?,
        })
    }
}

impl Keys {
    /// Reads the keys of an edge: those that prove it to devices and say what time it is. It can sign nothing else.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_edge(state: &Path, root: &Root) -> Result<Self, KeyFileError> {
        let none = || Signers(Vec::new());
        let timestamp = Signers::load(state, root, Role::Timestamp)?;
        let (policy, identity, lock, audit_ack, hub) = (none(), none(), none(), none(), hub(state, root)?);
        Ok(Self { policy, identity, timestamp, lock, audit_ack, hub })
    }

    /// Copies into a directory what an edge needs of them.
    ///
    /// # Errors
    /// A [`KeyFileError`] of a file that cannot be made.
    pub(crate) fn copy_for_edge(&self, directory: &Path) -> Result<(), KeyFileError> {
        copy(&self.hub, &directory.join(format!("{HUB}.key")))?;
        let slots = slots(directory, stem(Role::Timestamp));
        self.timestamp.keys().iter().zip(slots).try_for_each(|(key, slot)| copy(key, &slot))
    }

    /// What a hub in this directory lacks to sign under `root`, in words.
    ///
    /// # Errors
    /// A [`KeyFileError`] other than that a key is not there.
    pub fn missing(state: &Path, root: &Root) -> Result<Vec<String>, KeyFileError> {
        let mut missing = Vec::new();
        let mut note = |error: KeyFileError| match error {
            KeyFileError::Unheld { role, needed, held, .. } => {
                let named: Vec<String> =
                    Purpose::Role(role).named(root).iter().map(|key| key.fingerprint().to_string()).collect();
                missing.push(format!(
                    "  {}: {held} of {needed} keys are here, of {}",
                    role.word(),
                    named.join(" ")
                ));
                Ok(())
            }
            KeyFileError::NoHub { .. } => {
                let named: Vec<String> = root.hubs.iter().map(|key| key.fingerprint().to_string()).collect();
                missing.push(format!("  {HUB}: none of {} is here", named.join(" ")));
                Ok(())
            }
            error @ (KeyFileError::Io { .. }
            | KeyFileError::Exposed { .. }
            | KeyFileError::NotPlain { .. }
            | KeyFileError::Malformed { .. }
            | KeyFileError::Key(_)) => Err(error),
        };
        for purpose in Purpose::ONLINE {
            let lack = match purpose {
                Purpose::Role(role) => Signers::load(state, root, role).err(),
                Purpose::Hub => hub(state, root).err(),
            };
            lack.map_or(Ok(()), &mut note)?;
        }
        Ok(missing)
    }
}

/// The keys of one role that are held here: at least as many as the role's threshold.
#[derive(Clone, Debug)]
pub struct Signers(Vec<SecretKey>);

impl Signers {
    /// Seals a value with every key that is held.
    ///
    /// # Errors
    /// As [`Envelope::seal`].
    pub fn seal<T: Signed>(&self, value: &T) -> Result<Vec<u8>, EnvelopeFault> {
        Envelope::seal(value, &self.0.iter().collect::<Vec<_>>())
    }

    /// Seals the encoding of a `T` with every key that is held.
    ///
    /// # Errors
    /// As [`Envelope::seal_payload`].
    pub fn seal_payload<T: Signed>(&self, payload: &[u8]) -> Result<Vec<u8>, EnvelopeFault> {
        Envelope::seal_payload(T::DOMAIN, payload, &self.0.iter().collect::<Vec<_>>())
    }

    /// The keys, ascending by their public halves.
    #[must_use]
    pub fn keys(&self) -> &[SecretKey] {
        &self.0
    }

    fn load(state: &Path, root: &Root, role: Role) -> Result<Self, KeyFileError> {
        let empty = RoleKeys { role, threshold: 1, keys: Vec::new() };
        let named = root.role(role).unwrap_or(&empty);
        let mut held = held(state, stem(role), &named.keys)?;
        held.sort_by_key(SecretKey::public);
        held.dedup_by_key(|key| key.public());
        let needed = usize::from(named.threshold).max(1);
        if held.len() < needed {
            let (directory, named, held) = (state.to_owned(), named.keys.len(), held.len());
            return Err(KeyFileError::Unheld { role, needed, held, named, directory });
        }
        Ok(Self(held))
    }
}

fn hub(state: &Path, root: &Root) -> Result<SecretKey, KeyFileError> {
    let held = held(state, HUB, &root.hubs)?;
    // The first file: the key that devices know longest. It serves until the root names it no more.
    let none = || KeyFileError::NoHub { named: root.hubs.len(), directory: state.to_owned() };
    held.into_iter().next().ok_or_else(none)
}

/// The keys in the files of one stem that are among `named`, in the order of the files.
fn held(state: &Path, stem: &str, named: &[PublicKey]) -> Result<Vec<SecretKey>, KeyFileError> {
    let mut keys = Vec::new();
    // What an exchange that was cut short has not moved into place yet counts like what is in place.
    for path in slots(state, stem).flat_map(|slot| [slot.clone(), exchange::incoming(&slot)]) {
        match file::read(&path) {
            Ok(key) if named.contains(&key.public()) => keys.push(key),
            Ok(_of_another_root) => {}
            Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

/// The files in which keys of one stem may lie.
fn slots(state: &Path, stem: &str) -> impl Iterator<Item = PathBuf> {
    let first = state.join(format!("{stem}.key"));
    let more = (2..=postern_protocol::limits::ROLE_KEYS).map(move |n| format!("{stem}-{n}.key"));
    let state = state.to_owned();
    std::iter::once(first).chain(more.map(move |name| state.join(name)))
}

/// What a key is for: a role of the root, or the hub's handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A role. Keys of the root role are never in a state directory.
    Role(Role),
    /// Handshakes of the hub.
    Hub,
}

impl Purpose {
    /// Everything for which a hub holds keys.
    pub const ONLINE: [Self; 6] = [
        Self::Role(Role::Policy),
        Self::Role(Role::Identity),
        Self::Role(Role::Timestamp),
        Self::Role(Role::Lock),
        Self::Role(Role::AuditAck),
        Self::Hub,
    ];

    /// The word on command lines and in messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Role(role) => role.word(),
            Self::Hub => HUB,
        }
    }

    /// What the files of its keys are called, before `.key`.
    const fn stem(self) -> &'static str {
        match self {
            Self::Role(role) => stem(role),
            Self::Hub => HUB,
        }
    }

    /// The keys that a root names for it.
    #[must_use]
    pub fn named(self, root: &Root) -> &[PublicKey] {
        match self {
            Self::Role(role) => root.role(role).map_or(&[], |keys| &keys.keys),
            Self::Hub => &root.hubs,
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = PurposeFault;

    fn from_str(text: &str) -> Result<Self, PurposeFault> {
        let known = Self::ONLINE.into_iter().chain([Self::Role(Role::Root)]);
        // The files spell it with a hyphen, and so do people.
        known.into_iter().find(|known| known.word() == text.replace('-', "_")).ok_or(PurposeFault)
    }
}

/// A word that is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a role: root, policy, identity, timestamp, lock, audit_ack or hub")]
pub struct PurposeFault;

const fn stem(role: Role) -> &'static str {
    match role {
        Role::Root => "root",
        Role::Policy => "policy",
        Role::Identity => "identity",
        Role::Timestamp => "timestamp",
        Role::Lock => "lock",
        Role::AuditAck => "audit-ack",
    }
}

/// The state file in a state directory.
pub const DATABASE: &str = "cloud.db";
/// The directory for keys that belong elsewhere.
pub const OFFLINE: &str = "offline";
const HUB: &str = "hub";

#[cfg(test)]
mod tests;
