//! What links learn of devices, as data: recorded where the model's database is.
//!
//! 1. A link turns each message of its device into a [`Report`], and names whose link it is ([`Whence`]).
//! 2. [`Hub::record`] verifies what is signed, writes it down, and says what came of it: an [`Outcome`].
//! 3. The link tells the device, or ends.
//!
//! To record a report again changes nothing: a device that was not answered says everything once more over its next link.
//! Deliberately absent: the conversation itself, which is the link's, and what is newest for a device.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use postern_protocol::audit::{Batch, Begin, LogId, Whose};
use postern_protocol::id::DeviceId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::Announcement;
use postern_protocol::trust::{NextKey, PublicKey, ReceiptId, SignedReceipt};
use postern_protocol::wire::control::{self, Held, NackCode, RootCode, RowsCode};
use postern_protocol::wire::hub::Refusal;
use postern_protocol::wire::registry::ProtocolFault;
use postern_protocol::wire::text::Text;

use super::{Failed, Hub, blocking, trail};
use crate::cluster::What;
use crate::metrics::TAKEN;
use crate::publish::{Affected, PublishError};
use crate::store::{AlarmKind, StoreError, Tx};

/// Whose link it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whence {
    /// The device's name.
    pub(crate) device: Name,
    /// Its id.
    pub(crate) id: DeviceId,
    /// The key of the connection.
    pub(crate) key: PublicKey,
}

/// What a link has learned of its device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The link is over; when the device last heard that it holds what is newest.
    Down {
        /// By the hub's time.
        confirmed: Option<UnixTime>,
    },
    /// The device has put a snapshot in force.
    Applied(Held),
    /// It refused one.
    Refused {
        /// Which version.
        version: u64,
        /// Why.
        code: NackCode,
        /// Details for people.
        detail: Text,
    },
    /// It has put a root of this version in force.
    RootTaken(u32),
    /// It refused a root.
    RootRefused {
        /// Which version.
        version: u32,
        /// Why.
        code: RootCode,
        /// Details for people.
        detail: Text,
    },
    /// It can be reached elsewhere.
    Moved(Vec<SocketAddr>),
    /// It says to which key its secrets are sealed; not verified yet.
    SealingKey(Announcement),
    /// A lock of this sequence is in force on it.
    LockTaken(u64),
    /// It says what tunnels it has stopped; not verified yet.
    Receipt(SignedReceipt),
    /// It heard at this time that it holds what is newest.
    Confirmed(UnixTime),
    /// It raised an alarm.
    Alarm {
        /// What it is about.
        kind: control::AlarmKind,
        /// Details for people.
        detail: Text,
    },
    /// It announces its next key; not verified yet.
    NextKey(NextKey),
    /// It names the log whose rows follow.
    Log(Begin),
    /// It sends rows of its trail; not verified yet.
    Rows(Batch),
}

/// What came of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It is written down.
    Noted,
    /// A receipt is durable: the device may forget it.
    ReceiptStored(ReceiptId),
    /// Rows are durable; the sealed acknowledgement.
    RowsTaken(Vec<u8>),
    /// Rows of this log were not taken.
    RowsRefused(LogId, RowsCode),
    /// The device broke a rule, or its key is worth nothing any more: the link ends.
    Over(ProtocolFault),
}

impl Hub {
    /// Has a report recorded: here, or where the model's database is, which says later what came of it.
    pub(super) async fn report(self: &Arc<Self>, whence: Whence, report: Report) -> Result<Outcome, Failed> {
        if let Some(edge) = self.edge() {
            return Ok(self.say(edge, whence, What::Learned(report)));
        }
        let (hub, now) = (Arc::clone(self), (self.clock)());
        blocking(move || hub.record(&whence, report, now)).await
    }

    /// Records a report that was made at `at`.
    pub(super) fn record(&self, whence: &Whence, report: Report, at: UnixTime) -> Result<Outcome, Failed> {
        let device = &whence.device;
        match report {
            Report::Down { confirmed } => self.store.note(|tx| {
                confirmed.map_or(Ok(()), |asked| tx.confirmed(device, asked))?;
                tx.link_down(device, at)
            })?,
            Report::Applied(held) => return self.applied(whence, held, at),
            Report::Refused { version, code, detail } => {
                self.links.answered(device, version);
                self.store.note(|tx| tx.refused(device, version, code, detail.as_str(), at))?;
            }
            Report::RootTaken(version) => self.store.note(|tx| tx.root_taken(device, version, at))?,
            Report::RootRefused { version, code, detail } => {
                self.store.note(|tx| tx.root_refused(device, version, code, detail.as_str(), at))?;
            }
            Report::Moved(addresses) => self.store.note(|tx| tx.moved(device, &addresses))?,
            Report::SealingKey(announcement) => self.hear_sealing_key(device, &announcement)?,
            Report::LockTaken(sequence) => self.store.note(|tx| tx.lock_taken(device, sequence))?,
            Report::Receipt(signed) => return self.stopped(whence, &signed, at),
            Report::Confirmed(asked) => self.store.note(|tx| tx.confirmed(device, asked))?,
            Report::Alarm { kind, detail } => {
                self.store.note(|tx| tx.alarm(device, AlarmKind::from(kind), detail.as_str(), at))?;
            }
            Report::NextKey(next) => return self.announced(whence, &next, at),
            Report::Log(begin) => self.store.write(|tx| trail::begin(tx, device, &begin, at))?,
            Report::Rows(batch) => return Ok(self.take_rows(whence, &batch, at)),
        }
        Ok(Outcome::Noted)
    }

    fn applied(&self, Whence { device, .. }: &Whence, held: Held, at: UnixTime) -> Result<Outcome, Failed> {
        let noted = self.store.note(|tx| tx.applied(device, held.version, at));
        self.links.answered(device, held.version);
        noted?;
        if self.forget_retired(device, held)? {
            tracing::info!(device = %device, "the key of a device out of service was forgotten");
            return Ok(Outcome::Over(ProtocolFault::Unknown));
        }
        Ok(Outcome::Noted)
    }

    /// Forgets the key of a device that has acknowledged that it is out of service, where that was asked for.
    fn forget_retired(&self, name: &Name, held: Held) -> Result<bool, StoreError> {
        let asked = |tx: &Tx<'_>| {
            let device = tx.device(name)?.is_some_and(|device| device.retired && device.forget);
            Ok::<_, StoreError>(device && tx.snapshot_term(name)?.is_some_and(|term| term.held == held))
        };
        if !self.store.read(asked)? {
            return Ok(false);
        }
        self.store.write(|tx| if asked(tx)? { tx.unbind_device(name).map(|()| true) } else { Ok(false) })
    }

    /// A device says what tunnels it has stopped. It says so on each link until it hears that this is stored.
    fn stopped(&self, whence: &Whence, signed: &SignedReceipt, at: UnixTime) -> Result<Outcome, Failed> {
        let Whence { device, id, key } = whence;
        let receipt = match signed.verify(key, self.signer().now().root.fleet, *id) {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::warn!(device = %device, %error, "a receipt is not the device's");
                return Ok(Outcome::Over(ProtocolFault::Malformed));
            }
        };
        let (cut, reason) = (receipt.cut, receipt.cause.word());
        tracing::info!(device = %device, cut, reason, ms = receipt.stopped_ms, "tunnels have stopped");
        self.store.note(|tx| tx.keep_receipt(device, (signed, &receipt), key, at))?;
        Ok(Outcome::ReceiptStored(receipt.id))
    }

    /// A device has announced its next key. Snapshots are for that key from now on; whether the device has one of them
    /// shows when it presents the key.
    fn announced(&self, whence: &Whence, next: &NextKey, at: UnixTime) -> Result<Outcome, Failed> {
        let Whence { device: name, key, .. } = whence;
        let announced = self.store.write(|tx| {
            let device = tx.device(name)?.filter(|device| device.key == Some(*key));
            let device = device.ok_or(Refusal::UnknownKey)?;
            // A key of another device or of this one's past: one key, one device, and no way back.
            let elsewhere = tx.device_of_key(&next.key)?.is_some_and(|other| other.name != *name);
            if elsewhere || !next.holds(device.id, key) {
                return Err(Failed::from(Refusal::UnknownKey));
            }
            tx.announce_key(name, &next.key)?;
            self.publisher.publish(tx, Affected::Device(name), at)?;
            Ok(())
        });
        match announced {
            Ok(()) => {
                tracing::info!(device = %name, "a next key was announced");
                self.news.publish();
                Ok(Outcome::Noted)
            }
            Err(Failed::Refused(_)) => Ok(Outcome::Over(ProtocolFault::Malformed)),
            Err(error) => Err(error),
        }
    }

    /// Stores rows of a device's trail. Whatever goes wrong with them, its link goes on: what is withdrawn must be heard of.
    fn take_rows(&self, Whence { device: name, id, .. }: &Whence, batch: &Batch, at: UnixTime) -> Outcome {
        let answered = self.store.write(|tx| {
            let authority = self.signer().refresh(tx).map_err(PublishError::from)?;
            let whose = Whose { fleet: authority.root.fleet, device: *id };
            trail::take(tx, &authority, (name, whose), batch, at).map_err(Failed::from)
        });
        let outcome = match &answered {
            Ok(Ok(_)) => TAKEN,
            Ok(Err(code)) => code.word(),
            Err(_) => RowsCode::Storage.word(),
        };
        self.metrics.batch(outcome, batch.rows.len());
        // Committed; only now the device may hear of it.
        match answered {
            Ok(Ok(ack)) => Outcome::RowsTaken(ack),
            Ok(Err(code)) => Outcome::RowsRefused(batch.log, code),
            Err(error) => {
                tracing::error!(%error, device = %name, "rows of a trail could not be stored");
                Outcome::RowsRefused(batch.log, RowsCode::Storage)
            }
        }
    }
}
