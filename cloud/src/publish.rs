//! Compiled policy becomes signed snapshots: only for devices whose policy changed, or whose snapshot grows old.
//!
//! 1. Of the devices that an edit can affect, each is compiled, a few thousand at a time and on all cores.
//! 2. Content that equals that of the newest snapshot is left alone, unless half of its lifetime is over.
//! 3. Everything else is checked as the device will check it, signed with the policy key, and stored with the next
//!    version, in the caller's transaction: the edit and its snapshots are stored together or not at all.

mod locks;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::FormFault;
use postern_protocol::policy::{Secret, Snapshot};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, EnvelopeFault, Signed as _};
use postern_protocol::wire::codec::{self, CodecFault};
use postern_protocol::wire::control::Held;
use serde::Serialize;

use crate::compile::{Addressee, CompileError, Compiler, Content, Roster, Term};
use crate::model::Model;
use crate::parallel;
use crate::signer::{Authority, Signer, SignerError};
use crate::store::{DeviceState, Sealed, SealedTerm, Standing, StoreError, Tx};

/// Signs snapshots for one installation.
#[derive(Debug)]
pub struct Publisher {
    signer: Arc<Signer>,
}

/// Which devices an edit can affect.
#[derive(Clone, Copy, Debug)]
pub enum Affected<'a> {
    /// Any.
    All,
    /// Those to which an edit leads, as [`affected`](crate::compile::affected()) found.
    Edit {
        /// The model, as it was saved in this transaction: reading it again would take longer than all the rest.
        model: &'a Model,
        /// The devices.
        devices: &'a BTreeSet<Name>,
    },
    /// Those on which a user is granted something.
    User(&'a Name),
    /// One.
    Device(&'a Name),
    /// Those whose snapshot has half of its lifetime behind it.
    Due,
}

/// What came of a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Devices whose policy was compiled.
    pub compiled: usize,
    /// Snapshots that were signed, ascending by device.
    pub publications: Vec<Publication>,
}

/// One snapshot that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// For which device.
    pub device: Name,
    /// Its version.
    pub version: u64,
    /// Why.
    pub cause: Cause,
}

/// Why a snapshot was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The policy is different.
    Changed,
    /// Half of the lifetime is over.
    Renewed,
    /// The device holds a version that this state does not know: it was restored from a backup.
    Raised,
}

impl Cause {
    /// The word in JSON and in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Renewed => "renewed",
            Self::Raised => "raised",
        }
    }

    /// Counts a snapshot that was signed for this cause.
    fn count(self, tx: &Tx<'_>) {
        if let Some(metrics) = tx.metrics() {
            metrics.publication(self.word());
        }
    }
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A policy is too large.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A policy is too large in bytes.
    #[error("the policy of device `{device}`: {fault}")]
    Size {
        /// The device.
        device: Name,
        /// How large it is.
        fault: CodecFault,
    },
    /// The device would refuse it.
    #[error("the policy of device `{device}` is {fault}; this is an error in postern-cloud")]
    Form {
        /// The device.
        device: Name,
        /// What it would say.
        fault: FormFault,
    },
    /// It could not be signed.
    #[error("the policy of device `{device}` could not be signed: {fault}")]
    Seal {
        /// The device.
        device: Name,
        /// Why.
        fault: EnvelopeFault,
    },
    /// No higher version exists; a root with a higher epoch starts them anew.
    #[error("device `{device}` holds the last version number; publish a root with a higher policy epoch")]
    Exhausted {
        /// The device.
        device: Name,
    },
    /// A device claims a version that no restored backup explains.
    #[error(
        "device `{device}` says that it holds version {claimed}, the newest here is {newest}; if it does, publish a \
         root with a higher policy epoch"
    )]
    Ahead {
        /// The device.
        device: Name,
        /// What it says.
        claimed: u64,
        /// What was published.
        newest: u64,
    },
    /// Nobody can sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Publisher {
    /// A publisher that signs as `signer` says.
    #[must_use]
    pub const fn new(signer: Arc<Signer>) -> Self {
        Self { signer }
    }

    /// A publisher for the installation in a state directory.
    ///
    /// # Errors
    /// When root or keys cannot be read.
    pub fn open(state: &Path, tx: &Tx<'_>) -> Result<Self, PublishError> {
        Ok(Self::new(Arc::new(Signer::open(state, tx)?)))
    }

    /// Who signs.
    #[must_use]
    pub const fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// Signs what changed or grows old among the affected devices.
    ///
    /// # Errors
    /// The first [`PublishError`]; nothing of the transaction may be committed then.
    pub fn publish(
        &self,
        tx: &Tx<'_>,
        affected: Affected<'_>,
        now: UnixTime,
    ) -> Result<Vec<Publication>, PublishError> {
        Ok(self.publish_watched(tx, affected, now, &mut |_, _| ())?.publications)
    }

    /// As [`publish`](Self::publish), and says on the way how many devices are done, and of how many.
    ///
    /// # Errors
    /// The first [`PublishError`]; nothing of the transaction may be committed then.
    pub fn publish_watched(
        &self,
        tx: &Tx<'_>,
        affected: Affected<'_>,
        now: UnixTime,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Published, PublishError> {
        let authority = self.signer.refresh(tx)?;
        let stored;
        let model = match affected {
            Affected::Edit { model, .. } => model,
            Affected::All | Affected::User(_) | Affected::Device(_) | Affected::Due => {
                stored = tx.model()?;
                &stored
            }
        };
        // What has ended is said no more to anybody, and is called ended by those who list it.
        tx.lapse_approvals(now)?;
        let roster = tx.roster()?;
        let names = Self::affected(tx, affected, model, now)?;
        let compiler = Compiler::among(model, &roster, &names);
        let (mut published, mut done) = (Published::default(), 0);
        for portion in names.chunks(PORTION) {
            let mut devices = Vec::with_capacity(portion.len());
            for name in portion {
                let Some(state) = tx.device(name)? else { continue };
                // A device without a key has no snapshot: it names the key that may hold it.
                let Some(addressee) = addressee(tx, &authority, &state)? else { continue };
                devices.push((
                    name,
                    addressee,
                    state.standing(),
                    tx.snapshot_term(name)?,
                    tx.sealed_secrets(&state)?,
                ));
            }
            published.compiled += devices.len();
            // One device after another is stored, by the one who holds the transaction.
            let sealed = parallel::map(&devices, |(name, addressee, standing, newest, secrets)| {
                let content = content(&compiler, name, *standing, secrets)?;
                renewed(&authority, content, name, *addressee, newest.as_ref(), now)
            });
            for ((name, ..), sealed) in devices.into_iter().zip(sealed) {
                let Some((sealed, cause)) = sealed? else { continue };
                tx.save_snapshot(name, &sealed)?;
                cause.count(tx);
                let version = sealed.term.held.version;
                published.publications.push(Publication { device: name.clone(), version, cause });
            }
            done += portion.len();
            progress(done, names.len());
        }
        Ok(published)
    }

    /// Signs the snapshot that a device gets at enrolment: it belongs to somebody and permits nothing yet.
    ///
    /// # Errors
    /// A [`PublishError`].
    pub fn publish_deny_all(
        &self,
        tx: &Tx<'_>,
        device: &DeviceState,
        now: UnixTime,
    ) -> Result<Sealed, PublishError> {
        let authority = self.signer.refresh(tx)?;
        let Some(addressee) = addressee(tx, &authority, device)? else {
            return Err(StoreError::Damaged { what: "device key" }.into());
        };
        let above = above(&authority, tx.snapshot_term(&device.name)?.as_ref());
        let sealed = seal(&authority, &device.name, Content::deny_all(), addressee, above, now)?;
        tx.save_snapshot(&device.name, &sealed)?;
        Cause::Changed.count(tx);
        Ok(sealed)
    }

    /// The policy epoch in which is signed, as of the last look at the root.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.signer.now().root.policy_epoch
    }

    /// Whether a device holds something that this state never signed or has forgotten.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn is_behind(&self, tx: &Tx<'_>, device: &DeviceState, held: &Held) -> Result<bool, PublishError> {
        let epoch = self.signer.refresh(tx)?.root.policy_epoch;
        let newest = tx.snapshot_term(&device.name)?.map(|term| term.held);
        let newest = newest.filter(|newest| newest.epoch == epoch);
        let known = newest.is_some_and(|newest| newest.version > held.version || newest == *held);
        Ok(!known && held.epoch == epoch)
    }

    /// Signs the present policy again with a version above `held`, when a device holds something that this state
    /// never signed or has forgotten. Without it such a device would keep its policy until it expires.
    ///
    /// # Errors
    /// A [`PublishError`].
    pub fn raise(
        &self,
        tx: &Tx<'_>,
        device: &DeviceState,
        held: &Held,
        now: UnixTime,
    ) -> Result<Option<Publication>, PublishError> {
        let authority = self.signer.refresh(tx)?;
        let Some(addressee) = addressee(tx, &authority, device)? else { return Ok(None) };
        if !self.is_behind(tx, device, held)? {
            return Ok(None);
        }
        let newest = above(&authority, tx.snapshot_term(&device.name)?.as_ref());
        if held.version.saturating_sub(newest) > LEAP {
            return Err(PublishError::Ahead { device: device.name.clone(), claimed: held.version, newest });
        }
        tx.lapse_approvals(now)?;
        let (model, roster) = (tx.model()?, tx.roster()?);
        let compiler = Compiler::among(&model, &roster, [&device.name]);
        let content = content(&compiler, &device.name, device.standing(), &tx.sealed_secrets(device)?)?;
        let sealed = seal(&authority, &device.name, content, addressee, held.version, now)?;
        tx.save_snapshot(&device.name, &sealed)?;
        Cause::Raised.count(tx);
        let version = sealed.term.held.version;
        Ok(Some(Publication { device: device.name.clone(), version, cause: Cause::Raised }))
    }

    fn affected(
        tx: &Tx<'_>,
        affected: Affected<'_>,
        model: &Model,
        now: UnixTime,
    ) -> Result<Vec<Name>, StoreError> {
        match affected {
            Affected::All => tx.device_names(),
            Affected::Edit { devices, .. } => Ok(devices.iter().cloned().collect()),
            Affected::User(user) => {
                // Which devices these are does not depend on keys.
                let roster = Roster::default();
                let devices = Compiler::new(model, &roster).devices_of(user);
                Ok(devices.into_iter().cloned().collect())
            }
            Affected::Device(name) => Ok(vec![name.clone()]),
            Affected::Due => tx.due_devices(now),
        }
    }
}

/// A device's next snapshot; none where the newest says the same and is not old.
fn renewed(
    authority: &Authority,
    content: Content,
    device: &Name,
    addressee: Addressee,
    newest: Option<&SealedTerm>,
    now: UnixTime,
) -> Result<Option<(Sealed, Cause)>, PublishError> {
    let digest = digest(authority, device, &content, &addressee)?;
    let cause = match newest {
        Some(term) if term.content == digest && !is_due(term, now) => return Ok(None),
        Some(term) if term.content == digest => Cause::Renewed,
        Some(_) | None => Cause::Changed,
    };
    let above = above(authority, newest);
    Ok(Some((seal(authority, device, content, addressee, above, now)?, cause)))
}

fn addressee(
    tx: &Tx<'_>,
    authority: &Authority,
    device: &DeviceState,
) -> Result<Option<Addressee>, StoreError> {
    let (fleet, epoch) = (authority.root.fleet, authority.root.policy_epoch);
    let Some(device_key) = device.addressed_key() else { return Ok(None) };
    let locks_cleared = tx.device_lock(&device.name, epoch)?.cleared;
    Ok(Some(Addressee { fleet, device: device.id, device_key, epoch, locks_cleared }))
}

/// The version above which the next snapshot must be: a new epoch starts its versions anew.
fn above(authority: &Authority, newest: Option<&SealedTerm>) -> u64 {
    let held = newest.map(|term| term.held).filter(|held| held.epoch == authority.root.policy_epoch);
    held.map_or(0, |held| held.version)
}

/// What a snapshot says and who signs it: with another policy key the same content is signed anew.
fn digest(
    authority: &Authority,
    device: &Name,
    content: &Content,
    addressee: &Addressee,
) -> Result<Digest, PublishError> {
    let content =
        content.digest(addressee).map_err(|fault| PublishError::Size { device: device.clone(), fault })?;
    let keys: Vec<_> = authority.keys.policy.keys().iter().map(|key| *key.public().as_bytes()).collect();
    Ok(Digest::of(&[content.as_bytes(), &keys.concat()]))
}

fn seal(
    authority: &Authority,
    device: &Name,
    content: Content,
    addressee: Addressee,
    above: u64,
    now: UnixTime,
) -> Result<Sealed, PublishError> {
    let name = || device.clone();
    // SQLite's integers end at 2^63; a device that claims a version beyond cannot be followed.
    let version = above.checked_add(1).filter(|version| i64::try_from(*version).is_ok());
    let version = version.ok_or_else(|| PublishError::Exhausted { device: name() })?;
    let digest = digest(authority, device, &content, &addressee)?;
    let term = Term { version, issued: now, expires: now.saturating_add(lifetime_s(content.offline_s())) };
    let snapshot = content.into_snapshot(addressee, term);
    snapshot.check_form().map_err(|fault| PublishError::Form { device: name(), fault })?;
    let payload = codec::encode(&snapshot, Snapshot::MAX_BYTES)
        .map_err(|fault| PublishError::Size { device: name(), fault })?;
    let held = Held { epoch: addressee.epoch, version, digest: Digest::of(&[&payload]) };
    let sealed = authority.keys.policy.seal_payload::<Snapshot>(&payload);
    let bytes = sealed.map_err(|fault| PublishError::Seal { device: name(), fault })?;
    let term = SealedTerm { held, content: digest, issued: now, expires: term.expires };
    Ok(Sealed { term, bytes })
}

/// What a device may be told: its policy only while it is in service.
fn content(
    compiler: &Compiler<'_>,
    device: &Name,
    standing: Standing,
    secrets: &[Secret],
) -> Result<Content, CompileError> {
    match standing {
        Standing::InService => Ok(compiler.compile(device)?.with_secrets(secrets.to_vec())),
        Standing::AwaitsConfirmation => Ok(Content::deny_all()),
        Standing::Retired => Ok(Content::retired()),
    }
}

/// Whether half of a snapshot's lifetime is over. A device that is reached in the second half misses nothing.
fn is_due(term: &SealedTerm, now: UnixTime) -> bool {
    now.secs_since(term.issued) >= term.expires.secs_since(term.issued) / 2
}

/// For how long the snapshot of a device that may work for so long without its cloud is good. It is signed again in the
/// second half of that time, so that a device which is cut off then does not lose its budget to the age of its snapshot.
#[must_use]
pub fn lifetime_s(offline_s: u32) -> u64 {
    LIFETIME_S.max(2 * u64::from(offline_s))
}

/// How far above the newest version a device is followed: many times what is published between two backups. Without
/// it a device could claim the last version but one, and nothing could be published with it in the fleet any more.
const LEAP: u64 = 1 << 20;
/// For how long a snapshot is good at least.
pub const LIFETIME_S: u64 = 14 * 24 * 3600;
/// Devices that are compiled before their snapshots are stored: they are held in memory meanwhile.
const PORTION: usize = 4096;
