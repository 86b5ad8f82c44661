//! Signs what is locked: one lock for each device whose targets are others than before.
//!
//! 1. Rules say what is locked where; together they are the targets of a device.
//! 2. [`Publisher::relock`] signs them with the next sequence, if they changed or a root has retired the key that did.
//! 3. [`Publisher::lift`] marks everything that was signed as lifted before, so that the snapshot that follows says so.
//!
//! A lock is no part of the model: a device that leaves the epoch, or is enrolled anew, gets what the rules say.

use std::collections::BTreeSet;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Lock, LockTarget};

use super::{PublishError, Publisher};
use crate::store::{DeviceLock, DeviceState, LockKind, LockRule, StoreError, Tx};

impl Publisher {
    /// Signs what the rules lock on a device, unless that was signed already. Returns the newest lock.
    ///
    /// # Errors
    /// A [`PublishError`].
    pub fn relock(
        &self,
        tx: &Tx<'_>,
        device: &DeviceState,
        rules: &[LockRule],
        now: UnixTime,
    ) -> Result<DeviceLock, PublishError> {
        let authority = self.signer.refresh(tx)?;
        let epoch = authority.root.policy_epoch;
        let known = tx.device_lock(&device.name, epoch)?;
        let targets = targets(tx, &device.name, rules)?;
        // What a retired key has signed is taken by nobody who does not hold it yet.
        let signed = known.sealed.as_deref().and_then(|it| Lock::verify(it, &authority.root, device.id).ok());
        let stands = signed.as_ref().map_or(&[][..], |lock| lock.targets.as_slice()) == targets.as_slice();
        // What was lifted must be said again under a sequence that is not.
        if stands && (targets.is_empty() || known.sequence > known.cleared) {
            return Ok(known);
        }
        let sealed = if targets.is_empty() {
            None
        } else {
            let (fleet, device) = (authority.root.fleet, device.id);
            let sequence = known.sequence.saturating_add(1);
            let lock = Lock { fleet, device, epoch, sequence, issued: now, targets };
            Some(authority.keys.lock.seal(&lock))
        };
        let sealed = sealed.transpose();
        let sealed = sealed.map_err(|fault| PublishError::Seal { device: device.name.clone(), fault })?;
        let sequence = known.sequence.saturating_add(u64::from(sealed.is_some()));
        let newest = DeviceLock { sequence, sealed, ..known };
        tx.save_device_lock(&device.name, &newest)?;
        Ok(newest)
    }

    /// Follows a device that holds a later lock than this state has signed, as after a backup was restored, so that the
    /// next one counts.
    ///
    /// # Errors
    /// A [`PublishError`].
    pub fn follow_lock(&self, tx: &Tx<'_>, device: &DeviceState, held: u64) -> Result<bool, PublishError> {
        let epoch = self.signer.refresh(tx)?.root.policy_epoch;
        let known = tx.device_lock(&device.name, epoch)?;
        if held <= known.sequence || held - known.sequence > super::LEAP {
            return Ok(false);
        }
        tx.save_device_lock(&device.name, &DeviceLock { sequence: held, sealed: None, ..known })?;
        Ok(true)
    }

    /// Lifts everything that was signed for a device; what rules still lock must be signed again, and the policy too.
    ///
    /// # Errors
    /// A [`PublishError`].
    pub fn lift(&self, tx: &Tx<'_>, device: &Name) -> Result<(), PublishError> {
        let epoch = self.signer.refresh(tx)?.root.policy_epoch;
        let known = tx.device_lock(device, epoch)?;
        if known.sequence > 0 {
            let lifted = DeviceLock { cleared: known.sequence, sealed: None, ..known };
            tx.save_device_lock(device, &lifted)?;
        }
        Ok(())
    }
}

/// What the rules lock on a device.
fn targets(tx: &Tx<'_>, device: &Name, rules: &[LockRule]) -> Result<Vec<LockTarget>, StoreError> {
    let mut targets = BTreeSet::new();
    for rule in rules.iter().filter(|rule| rule.on.as_ref().is_none_or(|on| on == device)) {
        match rule.kind {
            LockKind::Device => {
                if rule.name == *device {
                    targets.insert(LockTarget::Device);
                }
            }
            LockKind::User => {
                if let Some(person) = tx.person(&rule.name)? {
                    targets.insert(LockTarget::User(person.id));
                }
            }
            LockKind::Category => {
                targets.insert(LockTarget::Category(rule.name.clone()));
            }
        }
    }
    // More than one lock can name: then everything.
    if targets.len() > postern_protocol::limits::LOCK_TARGETS {
        targets = BTreeSet::from([LockTarget::Device]);
    }
    Ok(targets.into_iter().collect())
}
