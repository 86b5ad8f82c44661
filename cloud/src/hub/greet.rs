//! The greeting of a device: who it is, what it may have missed, and what is to be pushed to it.
//!
//! 1. The device is whoever enrolled the key of this connection; one that presents its next key has that from now on.
//! 2. What it holds is compared with this state: a device that is ahead (this state comes from a backup) gets its policy
//!    again with a higher version, and its lock above the one that it has.
//! 3. One transaction notes the link, ends an earlier one of the device, and raises an alarm where a copy of the device or
//!    an older image of it has called.
//! 4. The newest snapshot, lock and roots that it does not have are what the link begins with.
//!
//! Deliberately absent: the conversation itself, which is the link's.

use std::net::IpAddr;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::session::hub::{Published, SealedRoot};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::control::{Held, Hello};
use postern_transport::quic::Connection;

use super::links::Inbox;
use super::{Failed, Hub};
use crate::publish::PublishError;
use crate::store::{DeviceLock, StoreError, Tx};

/// A device that was recognised.
pub(super) struct Greeted<T = Inbox> {
    /// Its name.
    pub(super) device: Name,
    /// Its id.
    pub(super) id: DeviceId,
    /// What is newest for it.
    pub(super) newest: Newest,
    /// What is locked on it.
    pub(super) lock: DeviceLock,
    /// The roots that follow its own.
    pub(super) roots: Vec<SealedRoot>,
    /// How it is told of what it did not ask for.
    pub(super) inbox: T,
}

/// What is newest for a device.
#[derive(Default)]
pub(super) struct Newest {
    /// What timestamps name.
    pub(super) held: Option<Held>,
    /// What is pushed.
    pub(super) offered: Option<Published>,
}

impl Hub {
    /// Recognises a device and prepares what is to be pushed to it. None for a key that is not enrolled.
    pub(super) fn greet(&self, connection: &Connection, hello: &Hello) -> Result<Option<Greeted>, Failed> {
        let (key, from) = (connection.peer_key(), connection.remote_addr().ip());
        if self.edge().is_some() {
            return self.recognise_replica(connection, hello);
        }
        let greeted = self.welcome(&key, from, hello, |device, in_force| {
            self.links.take_over(device, connection, in_force)
        })?;
        greeted.iter().for_each(|greeted| self.linked_here(&greeted.device));
        Ok(greeted)
    }

    /// What an edge finds in its replica. The rest of the greeting is the primary's, which hears of it.
    fn recognise_replica(&self, connection: &Connection, hello: &Hello) -> Result<Option<Greeted>, Failed> {
        self.store.read(|tx| {
            let Some(device) = tx.device_of_key(&connection.peer_key())? else { return Ok(None) };
            let (newest, roots) = (newest(tx, &device.name)?, roots_after(tx, hello.root_version)?);
            let lock = tx.device_lock(&device.name, self.publisher.epoch())?;
            let in_force = hello.held.map_or(0, |held| held.version);
            let inbox = self.links.take_over(&device.name, connection, in_force);
            Ok(Some(Greeted { device: device.name, id: device.id, newest, lock, roots, inbox }))
        })
    }

    /// Recognises a device that links here or at another hub; `link` gives the link to it, and hears which version is in force.
    pub(super) fn welcome<T>(
        &self,
        key: &PublicKey,
        from: IpAddr,
        hello: &Hello,
        link: impl FnOnce(&Name, u64) -> T,
    ) -> Result<Option<Greeted<T>>, Failed> {
        let now = (self.clock)();
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        if self.store.read(|tx| tx.device_of_key(key))?.is_none() {
            return Ok(None);
        }
        self.promote(key)?;
        if let Some(held) = &hello.held {
            self.catch_up(key, held, now)?;
        }
        self.catch_up_locks(key, hello.locks, now)?;
        self.store.note(|tx| {
            let Some(device) = tx.device_of_key(key)? else { return Ok(None) };
            // An agent whose database was lost counts anew.
            let boots = Some(hello.boots).filter(|_| hello.active);
            if let Some(kind) = tx.greeted(&device.name, hello.life, boots)? {
                let detail = format!("start {} at {from}", hello.boots);
                tx.alarm(&device.name, kind, &detail, now)?;
                tracing::warn!(device = %device.name, reason = kind.word(), "an alarm was raised");
            }
            let epoch = self.publisher.signer().refresh(tx).map_err(PublishError::from)?.root.policy_epoch;
            // Versions of an earlier epoch are worth nothing, and are numbers of their own.
            let applied =
                hello.held.filter(|held| hello.active && held.epoch == epoch).map(|held| held.version);
            tx.link_up(&device.name, now, hello.agent.as_str(), &hello.addresses, applied)?;
            // Inside the transaction, so that of two connections the later one to be noted is the one that stays.
            let inbox = link(&device.name, applied.unwrap_or(0));
            tx.root_known(&device.name, hello.root_version)?;
            let (newest, roots) = (newest(tx, &device.name)?, roots_after(tx, hello.root_version)?);
            tx.lock_taken(&device.name, hello.locks)?;
            let lock = tx.device_lock(&device.name, self.publisher.epoch())?;
            Ok(Some(Greeted { device: device.name, id: device.id, newest, lock, roots, inbox }))
        })
    }

    /// A device that presents its next key has it in force: the one before is worth nothing from now on.
    fn promote(&self, key: &PublicKey) -> Result<(), Failed> {
        let is_next = |tx: &Tx<'_>| {
            let device = tx.device_of_key(key)?;
            Ok::<_, StoreError>(device.filter(|device| device.next_key == Some(*key)))
        };
        if self.store.read(is_next)?.is_some() {
            self.store.write(|tx| match is_next(tx)? {
                Some(device) => tx.promote_key(&device.name),
                None => Ok(()),
            })?;
            tracing::info!("a device presents its new key");
        }
        Ok(())
    }

    /// Signs what is locked on a device since it was last here, and above what it holds.
    fn catch_up_locks(&self, key: &PublicKey, held: u64, now: UnixTime) -> Result<(), Failed> {
        let stands = self.store.read(|tx| match tx.device_of_key(key)? {
            Some(device) => {
                let lock = tx.device_lock(&device.name, self.publisher.epoch())?;
                Ok::<_, StoreError>(held <= lock.sequence && tx.lock_rules()?.is_empty())
            }
            None => Ok(true),
        })?;
        if stands {
            return Ok(());
        }
        self.store.write(|tx| {
            let Some(device) = tx.device_of_key(key)? else { return Ok(()) };
            if self.publisher.follow_lock(tx, &device, held)? {
                tracing::warn!(device = %device.name, "the device held a lock that this state does not know");
            }
            let rules = tx.lock_rules()?;
            self.publisher.relock(tx, &device, &rules, now).map(drop)
        })?;
        Ok(())
    }

    /// Signs above what a device holds, if this state does not know it.
    fn catch_up(&self, key: &PublicKey, held: &Held, now: UnixTime) -> Result<(), Failed> {
        let behind = self.store.read(|tx| match tx.device_of_key(key)? {
            Some(device) => self.publisher.is_behind(tx, &device, held),
            None => Ok(false),
        })?;
        if !behind {
            return Ok(());
        }
        let raised = self.store.write(|tx| match tx.device_of_key(key)? {
            Some(device) => self.publisher.raise(tx, &device, held, now),
            None => Ok(None),
        });
        match raised {
            Ok(Some(raised)) => {
                tracing::warn!(device = %raised.device, version = raised.version, "the device was ahead of this state");
                Ok(())
            }
            Ok(None) => Ok(()),
            // Its link is of use all the same: it shows that the device is there and what it holds.
            Err(error @ (PublishError::Exhausted { .. } | PublishError::Ahead { .. })) => {
                tracing::warn!(%error, "the device cannot be followed");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The newest snapshot of a device; not offered when the device has refused it for good.
pub(super) fn newest(tx: &Tx<'_>, device: &Name) -> Result<Newest, StoreError> {
    let refused = tx.device(device)?.and_then(|device| device.refused).filter(|refused| refused.is_final);
    let Some(sealed) = tx.snapshot(device)? else { return Ok(Newest::default()) };
    let held = sealed.term.held;
    let is_refused = refused.is_some_and(|refused| held.version <= refused.version);
    let offered = (!is_refused).then(|| Published { held, bytes: sealed.bytes.into() });
    Ok(Newest { held: Some(held), offered })
}

/// The roots that follow a version: one more than a link may carry, so that the link knows that there are more.
pub(super) fn roots_after(tx: &Tx<'_>, version: u32) -> Result<Vec<SealedRoot>, StoreError> {
    let roots = tx.roots_after(version, limits::ROOT_CHAIN + 1)?;
    Ok(roots.into_iter().map(|(version, bytes)| SealedRoot { version, bytes: bytes.into() }).collect())
}
