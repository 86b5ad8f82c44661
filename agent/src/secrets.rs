//! Secrets of this device, such as the password of a panel: opened by name, each time that one is used.
//!
//! 1. One that was set on the device lies sealed in `policy.db` and wins over the policy's of the same name: whoever
//!    stands at the machine knows its password best.
//! 2. The others are in the policy in force, sealed by the cloud.
//! 3. [`Secrets::reveal`] opens one. The plain text is wiped as soon as the borrower drops it; nothing here keeps it.
//!
//! A secret opens nothing by itself: who may use the service that needs it is decided by the gate. Deliberately absent:
//! a way to show one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::trust::SecretKey;
use postern_protocol::trust::sealed::{
    OpenFault, Place, Plaintext, SealFault, SealingKeyFault, SealingSecret, open, seal,
};

use crate::gate::Gate;

/// Sealed secrets by name.
pub(crate) type Sealed = BTreeMap<Name, Vec<u8>>;

/// The secrets of this device.
#[derive(Debug)]
pub(crate) struct Secrets {
    keyring: Mutex<Keyring>,
    gate: Arc<Gate>,
    local: Mutex<Sealed>,
}

/// What opens secrets of this device and of no other.
#[derive(Debug)]
pub(crate) struct Keyring {
    key: SealingSecret,
    fleet: FleetId,
    device: DeviceId,
}

/// Where a secret comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// It was set on this device.
    Device,
    /// It is in the policy.
    Cloud,
}

/// One secret, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretReport {
    /// Its name.
    pub(crate) name: Name,
    /// Where the one that is used comes from.
    pub(crate) source: Source,
    /// Whether the policy has another one of this name, which is not used.
    pub(crate) covers: bool,
    /// Why it does not open.
    pub(crate) problem: Option<String>,
}

/// Why there is no plain text, or no secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    /// Neither the device nor the policy has one of this name.
    #[error(
        "there is no secret `{name}` on this device; `postern-agent secret list` shows those that there are"
    )]
    Unknown {
        /// The name.
        name: Name,
    },
    /// It does not open.
    #[error("the secret `{name}` does not open: {fault}; set it again")]
    Locked {
        /// The name.
        name: Name,
        /// Why.
        fault: OpenFault,
    },
    /// As many as there may be.
    #[error("this device keeps {} secrets already; remove one first", limits::SECRETS)]
    TooMany,
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl Keyring {
    /// The keyring of the device with this key.
    ///
    /// # Errors
    /// When the key yields no sealing key, which no honest one does.
    pub(crate) fn new(key: &SecretKey, fleet: FleetId, device: DeviceId) -> Result<Self, SealingKeyFault> {
        Ok(Self { key: SealingSecret::derive(key)?, fleet, device })
    }

    /// Seals a secret to this device itself.
    ///
    /// # Errors
    /// [`SecretError::Random`] or [`SecretError::Seal`].
    pub(crate) fn seal(&self, name: &Name, secret: &Plaintext) -> Result<Vec<u8>, SecretError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| SecretError::Random)?;
        Ok(seal(&self.key.public(), &self.place(name), secret, seed)?)
    }

    /// Opens what was sealed to this device under this name.
    ///
    /// # Errors
    /// [`SecretError::Locked`].
    pub(crate) fn open(&self, name: &Name, sealed: &[u8]) -> Result<Plaintext, SecretError> {
        open(&self.key, &self.place(name), sealed)
            .map_err(|fault| SecretError::Locked { name: name.clone(), fault })
    }

    const fn place<'a>(&self, name: &'a Name) -> Place<'a> {
        Place { fleet: self.fleet, device: self.device, name }
    }
}

impl Secrets {
    /// Secrets of the policy that `gate` has in force, and those that were set on the device.
    pub(crate) const fn new(keyring: Keyring, gate: Arc<Gate>, local: Sealed) -> Self {
        Self { keyring: Mutex::new(keyring), gate, local: Mutex::new(local) }
    }

    /// Seals what was set on this device to its new key, and returns it for the store. What does not open with the
    /// present key stays as it is.
    ///
    /// # Errors
    /// When the new key yields no sealing key, which no honest one does.
    pub(crate) fn rekey(&self, key: &SecretKey) -> Result<Vec<(Name, Vec<u8>)>, SealingKeyFault> {
        let mut keyring = self.keyring();
        let next = Keyring::new(key, keyring.fleet, keyring.device)?;
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sealed_anew = Vec::new();
        for (name, sealed) in local.iter_mut() {
            if let Ok(anew) = keyring.open(name, sealed).and_then(|plain| next.seal(name, &plain)) {
                sealed.clone_from(&anew);
                sealed_anew.push((name.clone(), anew));
            }
        }
        *keyring = next;
        Ok(sealed_anew)
    }

    fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a secret. What is returned is wiped when it is dropped: hold it for as long as it is being used.
    ///
    /// # Errors
    /// [`SecretError::Unknown`] or [`SecretError::Locked`]. One that was set on the device and does not open is not
    /// replaced by the policy's: nobody can tell which of the two the machine takes.
    pub(crate) fn reveal(&self, name: &Name) -> Result<Plaintext, SecretError> {
        if let Some(sealed) = self.local.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return self.keyring().open(name, sealed);
        }
        let policy = self.gate.policy();
        let secrets = policy.as_ref().map_or(&[][..], |policy| &policy.snapshot().secrets);
        let found = secrets.binary_search_by(|secret| secret.name.cmp(name)).ok();
        let found = found.and_then(|position| secrets.get(position));
        let secret = found.ok_or_else(|| SecretError::Unknown { name: name.clone() })?;
        self.keyring().open(name, &secret.sealed)
    }

    /// Every secret that could be used, ascending by name, and whether it opens.
    pub(crate) fn list(&self) -> Vec<SecretReport> {
        let local: BTreeSet<Name> =
            self.local.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let policy = self.gate.policy();
        let cloud: BTreeSet<Name> = policy
            .iter()
            .flat_map(|policy| &policy.snapshot().secrets)
            .map(|secret| secret.name.clone())
            .collect();
        let report = |name: &Name| SecretReport {
            name: name.clone(),
            source: if local.contains(name) { Source::Device } else { Source::Cloud },
            covers: local.contains(name) && cloud.contains(name),
            problem: self.reveal(name).err().map(|error| error.to_string()),
        };
        local.union(&cloud).map(report).collect()
    }

    /// Whether a secret that somebody wants to set here opens, and there is room for it.
    ///
    /// # Errors
    /// [`SecretError::Locked`] or [`SecretError::TooMany`].
    pub(crate) fn admit(&self, name: &Name, sealed: &[u8]) -> Result<(), SecretError> {
        self.keyring().open(name, sealed)?;
        let local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= limits::SECRETS && !local.contains_key(name) {
            return Err(SecretError::TooMany);
        }
        Ok(())
    }

    /// Uses a secret that was admitted and stored from now on.
    pub(crate) fn keep(&self, name: Name, sealed: Vec<u8>) {
        self.local.lock().unwrap_or_else(PoisonError::into_inner).insert(name, sealed);
    }

    /// Does not use a secret that was set here any more.
    pub(crate) fn forget(&self, name: &Name) {
        self.local.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use postern_protocol::session::freshness::Memory;
    use postern_protocol::time::UnixTime;

    use super::*;
    use crate::clock::Clock;

    fn keyring(seed: u8, device: u8) -> Keyring {
        let key = SecretKey::from_seed([seed; 32]).unwrap();
        Keyring::new(&key, FleetId::new([1; 8]), DeviceId::new([device; 8])).unwrap()
    }

    fn secrets(local: Sealed) -> Secrets {
        let memory = Memory { time: UnixTime::EPOCH, spent: None, root_version: 1 };
        let gate = Gate::new(Arc::new(Clock::new(&memory)), crate::anchor::Anchor::of_nobody());
        Secrets::new(keyring(1, 1), Arc::new(gate), local)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn plain(text: &str) -> Plaintext {
        Plaintext::new(text.as_bytes().to_vec().into()).unwrap()
    }

    #[test]
    fn what_was_sealed_here_is_revealed_and_what_was_sealed_elsewhere_is_locked() {
        let hmi = name("hmi");
        let here = keyring(1, 1).seal(&hmi, &plain("4711")).unwrap();
        let there = keyring(1, 2).seal(&hmi, &plain("4711")).unwrap();
        assert_ne!(here, keyring(1, 1).seal(&hmi, &plain("4711")).unwrap(), "fresh randomness each time");
        assert_eq!(secrets(Sealed::from([(hmi.clone(), here)])).reveal(&hmi).unwrap().reveal(), b"4711");
        let locked = SecretError::Locked { name: hmi.clone(), fault: OpenFault::Foreign };
        let foreign = secrets(Sealed::from([(hmi.clone(), there.clone())]));
        assert_eq!(foreign.reveal(&hmi).err(), Some(locked.clone()));
        assert_eq!(foreign.list()[0].problem, Some(locked.to_string()));
        assert_eq!(secrets(Sealed::new()).admit(&hmi, &there), Err(locked));
        assert_eq!(secrets(Sealed::new()).reveal(&hmi).err(), Some(SecretError::Unknown { name: hmi }));
    }

    #[test]
    fn a_device_keeps_so_many_secrets_and_no_more() {
        let sealed = |name: &Name| keyring(1, 1).seal(name, &plain("4711")).unwrap();
        let held =
            secrets((0..64).map(|i| name(&format!("s-{i}"))).map(|n| (n.clone(), sealed(&n))).collect());
        let (known, new) = (name("s-7"), name("new"));
        assert_eq!(held.admit(&known, &sealed(&known)), Ok(()));
        assert_eq!(held.admit(&new, &sealed(&new)), Err(SecretError::TooMany));
        held.forget(&known);
        assert_eq!(
            (held.reveal(&known).err(), held.admit(&new, &sealed(&new))),
            (Some(SecretError::Unknown { name: known }), Ok(()))
        );
    }
}
