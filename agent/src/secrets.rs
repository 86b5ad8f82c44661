//! Secrets of this device, such as the password of a panel: opened by name, each time that one is used.
//!
//! 1. One that was set on the device lies sealed in `policy.db` and wins over the policy's of the same name: whoever
//!    stands at the machine knows its password best.
//! 2. The others are in the policy in force, sealed by the cloud.
//! 3. [`Secrets::reveal`] opens one. The plain text is wiped as soon as the borrower drops it; nothing here keeps it.
//! 4. A new key of the device takes those that were set here along: the commit of its first snapshot seals them anew
//!    ([`Secrets::begin_rekey`]), and [`Secrets::rekey`] follows in memory. A power cut leaves the old key with what was
//!    sealed to it, or the new one with what was sealed to that.
//! 5. A device that is out of service forgets them: [`Secrets::forget_all`].
//!
//! A secret opens nothing by itself: who may use the service that needs it is decided by the gate. Deliberately absent:
//! a way to show one.

mod wanting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::trust::sealed::{
    OpenFault, Place, Plaintext, SealFault, SealingKeyFault, SealingSecret, open, seal,
};
use postern_protocol::trust::{Digest, SecretKey};

use crate::gate::Gate;
use crate::store::{Reseal, StoreError};

pub(crate) use self::wanting::Wanting;

/// Sealed secrets by name.
pub(crate) type Sealed = BTreeMap<Name, Vec<u8>>;

/// The secrets of this device.
#[derive(Debug)]
pub(crate) struct Secrets {
    keyring: Mutex<Keyring>,
    gate: Arc<Gate>,
    local: Mutex<Local>,
}

/// What was set on the device; sealed, and wiped all the same when it goes.
#[derive(Debug, Default)]
struct Local {
    kept: BTreeMap<Name, Zeroizing<Vec<u8>>>,
    /// One that is on its way to the disk.
    incoming: Option<(Name, Zeroizing<Vec<u8>>)>,
    /// Snapshots for another key of the device that are on their way to the disk.
    rekeying: usize,
}

/// What opens secrets of this device and of no other.
#[derive(Clone, Debug)]
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
    /// The commit that seals them to another key is under way: what comes now would be sealed to the key before.
    #[error("the device's key is being replaced at this moment; try again")]
    Rekeying,
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// The device's key yields no sealing key.
    #[error(transparent)]
    Key(#[from] SealingKeyFault),
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

    /// Seals to another keyring what was sealed to this one; none where this one does not open it.
    fn hand_over(&self, to: &Self, name: &Name, sealed: &[u8]) -> Result<Option<Vec<u8>>, SecretError> {
        match self.open(name, sealed) {
            Ok(plain) => to.seal(name, &plain).map(Some),
            Err(_locked) => Ok(None),
        }
    }

    const fn place<'a>(&self, name: &'a Name) -> Place<'a> {
        Place { fleet: self.fleet, device: self.device, name }
    }
}

impl Secrets {
    /// Secrets of the policy that `gate` has in force, and those that were set on the device.
    pub(crate) fn new(keyring: Keyring, gate: Arc<Gate>, local: Sealed) -> Self {
        let kept = local.into_iter().map(|(name, sealed)| (name, Zeroizing::new(sealed))).collect();
        let local = Mutex::new(Local { kept, ..Local::default() });
        Self { keyring: Mutex::new(keyring), gate, local }
    }

    /// What the store seals anew in the transaction that puts another key of the device in force. Until
    /// [`end_rekey`](Self::end_rekey) nothing is admitted: it would come behind that transaction, and be sealed to the
    /// key before.
    ///
    /// # Errors
    /// When the new key yields no sealing key, which no honest one does.
    pub(crate) fn begin_rekey(&self, key: &SecretKey) -> Result<Reseal, SealingKeyFault> {
        let from = self.keyring().clone();
        let to = Keyring::new(key, from.fleet, from.device)?;
        self.local().rekeying += 1;
        Ok(Reseal::new(move |name, sealed| from.hand_over(&to, name, sealed).map_err(|_| StoreError::Reseal)))
    }

    /// That transaction is over, well or badly.
    pub(crate) fn end_rekey(&self) {
        let mut local = self.local();
        local.rekeying = local.rekeying.saturating_sub(1);
    }

    /// The device has another key from now on, on the disk already. What does not open with the one before stays as it
    /// is: it is sealed to this one, or to none that the device knows.
    ///
    /// # Errors
    /// When the new key yields no sealing key, which no honest one does, or there is no randomness: what is in memory
    /// opens no more then, and does after a restart.
    pub(crate) fn rekey(&self, key: &SecretKey) -> Result<(), SecretError> {
        let mut keyring = self.keyring();
        let to = Keyring::new(key, keyring.fleet, keyring.device)?;
        let from = std::mem::replace(&mut *keyring, to);
        let mut local = self.local();
        let Local { kept, incoming, .. } = &mut *local;
        for (name, sealed) in kept.iter_mut().chain(incoming.as_mut().map(|(name, sealed)| (&*name, sealed)))
        {
            if let Some(anew) = from.hand_over(&keyring, name, sealed)? {
                *sealed = Zeroizing::new(anew);
            }
        }
        Ok(())
    }

    fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a secret. What is returned is wiped when it is dropped: hold it for as long as it is being used.
    ///
    /// # Errors
    /// [`SecretError::Unknown`] or [`SecretError::Locked`]. One that was set on the device and does not open is not
    /// replaced by the policy's: nobody can tell which of the two the machine takes.
    pub(crate) fn reveal(&self, name: &Name) -> Result<Plaintext, SecretError> {
        let kept = self.local().kept.get(name).cloned();
        if let Some(sealed) = kept {
            return self.keyring().open(name, &sealed);
        }
        let policy = self.gate.policy();
        let secrets = policy.as_ref().map_or(&[][..], |policy| &policy.snapshot().secrets);
        let found = secrets.binary_search_by(|secret| secret.name.cmp(name)).ok();
        let found = found.and_then(|position| secrets.get(position));
        let secret = found.ok_or_else(|| SecretError::Unknown { name: name.clone() })?;
        self.keyring().open(name, &secret.sealed)
    }

    /// What tells the content of a secret from the next one under its name; none where there is none.
    pub(crate) fn version(&self, name: &Name) -> Option<Digest> {
        let kept = self.local().kept.get(name).map(|sealed| Digest::of(&[sealed.as_slice()]));
        let policy = self.gate.policy();
        let secrets = policy.iter().flat_map(|policy| &policy.snapshot().secrets);
        kept.or_else(|| {
            secrets.into_iter().find(|one| one.name == *name).map(|one| Digest::of(&[&one.sealed]))
        })
    }

    /// Every secret that could be used, ascending by name, and whether it opens.
    pub(crate) fn list(&self) -> Vec<SecretReport> {
        let local: BTreeSet<Name> = self.local().kept.keys().cloned().collect();
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
    /// [`SecretError::Rekeying`], [`SecretError::Locked`] or [`SecretError::TooMany`].
    pub(crate) fn admit(&self, name: &Name, sealed: &[u8]) -> Result<(), SecretError> {
        if self.local().rekeying > 0 {
            return Err(SecretError::Rekeying);
        }
        self.keyring().open(name, sealed)?;
        let local = self.local();
        if local.kept.len() >= limits::SECRETS && !local.kept.contains_key(name) {
            return Err(SecretError::TooMany);
        }
        Ok(())
    }

    /// The same of one that goes to the disk next. It is not used before it is there; a new key of the device takes it
    /// along meanwhile. There is one at a time.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub(crate) fn receive(&self, name: &Name, sealed: &[u8]) -> Result<(), SecretError> {
        self.admit(name, sealed)?;
        self.local().incoming = Some((name.clone(), Zeroizing::new(sealed.to_vec())));
        Ok(())
    }

    /// What was received is stored, and used from now on.
    pub(crate) fn keep(&self) {
        let mut local = self.local();
        if let Some((name, sealed)) = local.incoming.take() {
            local.kept.insert(name, sealed);
        }
    }

    /// What was received could not be stored.
    pub(crate) fn discard(&self) {
        self.local().incoming = None;
    }

    /// Does not use a secret that was set here any more.
    pub(crate) fn forget(&self, name: &Name) {
        self.local().kept.remove(name);
    }

    /// Forgets everything that was set here, and wipes it. What is in the policy goes with the policy.
    pub(crate) fn forget_all(&self) {
        let mut local = self.local();
        (local.kept, local.incoming) = (BTreeMap::new(), None);
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
        let memory = Memory { time: UnixTime::EPOCH, spent: u32::MAX, is_debited: false, root_version: 1 };
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

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32]).unwrap()
    }

    /// What the store's transaction makes of the rows.
    fn committed(rows: &Sealed, reseal: &Reseal) -> Sealed {
        let anew = |name: &Name, sealed: &Vec<u8>| reseal.anew(name, sealed).unwrap();
        rows.iter()
            .map(|(n, sealed)| (n.clone(), anew(n, sealed).unwrap_or_else(|| sealed.clone())))
            .collect()
    }

    #[test]
    fn a_secret_opens_whenever_the_power_is_cut_while_the_devices_key_is_replaced() {
        let hmi = name("hmi");
        let before = Sealed::from([(hmi.clone(), keyring(1, 1).seal(&hmi, &plain("4711")).unwrap())]);
        let reveals = |secrets: &Secrets| secrets.reveal(&hmi).unwrap().reveal() == b"4711";
        let running = secrets(before.clone());
        let reseal = running.begin_rekey(&key(2)).unwrap();
        // 1. Before the commit: the old key, and what is sealed to it; also in the memory of the agent that goes on.
        assert!(reveals(&secrets(before.clone())) && reveals(&running));
        let after = committed(&before, &reseal);
        assert_ne!(after, before);
        // 2. After it, and before the file of the new key has its name: the start settles the key.
        let started = secrets(after.clone());
        assert_eq!(
            started.reveal(&hmi).err(),
            Some(SecretError::Locked { name: hmi.clone(), fault: OpenFault::Foreign })
        );
        assert_eq!(started.rekey(&key(2)), Ok(()));
        assert!(reveals(&started));
        // 3. With the new key under its name.
        let gate = Arc::clone(&started.gate);
        assert!(reveals(&Secrets::new(keyring(2, 1), gate, after.clone())));
        // Without a cut, memory follows the disk.
        running.end_rekey();
        assert_eq!(running.rekey(&key(2)), Ok(()));
        assert!(reveals(&running));
        // A second snapshot for the same key finds nothing to do.
        assert_eq!(committed(&after, &reseal), after);
    }

    #[test]
    fn what_opens_with_no_key_of_the_device_stays_as_it_is_when_the_key_is_replaced() {
        let hmi = name("hmi");
        let foreign = Sealed::from([(hmi.clone(), keyring(1, 2).seal(&hmi, &plain("4711")).unwrap())]);
        let held = secrets(foreign.clone());
        assert_eq!(committed(&foreign, &held.begin_rekey(&key(2)).unwrap()), foreign);
        assert_eq!(held.rekey(&key(2)), Ok(()));
        assert_eq!(
            held.reveal(&hmi).err(),
            Some(SecretError::Locked { name: hmi, fault: OpenFault::Foreign })
        );
    }

    #[test]
    fn a_secret_on_its_way_to_the_disk_goes_along_with_a_new_key_and_none_comes_in_while_that_is_stored() {
        let (hmi, held) = (name("hmi"), secrets(Sealed::new()));
        let sealed = |seed: u8| keyring(seed, 1).seal(&hmi, &plain("4711")).unwrap();
        assert_eq!(held.receive(&hmi, &sealed(1)), Ok(()));
        assert_eq!(
            held.reveal(&hmi).err(),
            Some(SecretError::Unknown { name: hmi.clone() }),
            "not stored yet"
        );
        // Two snapshots for the new key: it is over when both are.
        drop((held.begin_rekey(&key(2)).unwrap(), held.begin_rekey(&key(2)).unwrap()));
        assert_eq!(held.receive(&hmi, &sealed(1)), Err(SecretError::Rekeying));
        held.end_rekey();
        assert_eq!(held.rekey(&key(2)), Ok(()));
        held.keep();
        assert_eq!(held.reveal(&hmi).unwrap().reveal(), b"4711");
        assert_eq!(held.receive(&hmi, &sealed(2)), Err(SecretError::Rekeying));
        held.end_rekey();
        let locked = SecretError::Locked { name: hmi.clone(), fault: OpenFault::Foreign };
        assert_eq!(held.receive(&hmi, &sealed(1)), Err(locked));
        assert_eq!(held.receive(&name("hmi"), &sealed(2)), Ok(()));
        held.discard();
        held.keep();
        held.forget(&hmi);
        assert_eq!(held.reveal(&hmi).err(), Some(SecretError::Unknown { name: hmi }));
    }

    #[test]
    fn a_device_out_of_service_forgets_what_was_set_on_it_also_what_is_on_its_way() {
        let (hmi, panel) = (name("hmi"), name("panel"));
        let sealed = |name: &Name| keyring(1, 1).seal(name, &plain("4711")).unwrap();
        let held = secrets(Sealed::from([(hmi.clone(), sealed(&hmi))]));
        assert_eq!(held.receive(&panel, &sealed(&panel)), Ok(()));
        held.forget_all();
        held.keep();
        assert_eq!(held.list(), []);
        for name in [hmi, panel] {
            assert_eq!(held.reveal(&name).err(), Some(SecretError::Unknown { name }));
        }
    }
}
