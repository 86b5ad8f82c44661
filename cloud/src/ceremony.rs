//! Roots on their way between their holders: files that need no hub, no network and no state.
//!
//! 1. [`next`] draws up the root that follows, from one root and a list of [`Change`]s; [`differences`] says in words what
//!    that means, so that nobody signs what they have not read.
//! 2. [`RootFile::sign`] adds the signature of one holder. The payload never changes on the way.
//! 3. [`RootFile::tallies`] says who has signed, and how many more must, for the old root and for the new one.
//!
//! Pure: the caller reads and writes files. A root file is text, so that it passes through any medium and any mail:
//!
//! ```text
//! postern root 1
//! previous 0101..   the sealed root that it follows; absent for version 1
//! root 0101..       the root with the signatures that it has so far
//! ```

use std::fmt;

use data_encoding::HEXLOWER;

use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, EnvelopeFault, PublicKey, Role, Root, RootFault, SecretKey};

use crate::clock;
use crate::keys::Purpose;

/// A root with the signatures that it has, and the root that it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFile {
    previous: Option<Vec<u8>>,
    sealed: Vec<u8>,
}

/// Who of one root's holders has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Whether this is about the holders of the root before.
    pub is_old: bool,
    /// Those whose signature holds.
    pub signed: Vec<PublicKey>,
    /// How many must sign.
    pub needed: usize,
}

impl Tally {
    /// How many more must sign.
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.needed.saturating_sub(self.signed.len())
    }
}

/// Why a file is no root file, or cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootFileFault {
    /// Another file.
    #[error("this is no root file: it does not begin with `{HEAD}`")]
    Head,
    /// A line that does not belong there, or bytes that are not hexadecimal.
    #[error("line {0} is none of a root file")]
    Line(usize),
    /// No root in it.
    #[error("the file ends before its root")]
    Cut,
    /// The root, or the one before it, is none.
    #[error("the {} is none: {fault}", if *previous { "root before it" } else { "root" })]
    Root {
        /// Whether it is the one before.
        previous: bool,
        /// Why.
        fault: RootFault,
    },
    /// The key is nobody's.
    #[error(
        "key {0} is named by neither the old nor the new root: its signature would count for nothing; use the key file \
         of a holder"
    )]
    Stranger(String),
    /// The key has signed.
    #[error("key {0} has signed this root already")]
    Signed(String),
    /// The signature cannot be added.
    #[error("the signature cannot be added: {0}")]
    Envelope(#[from] EnvelopeFault),
}

impl RootFile {
    /// A root that follows `previous`, or none for the first, with the signatures that `sealed` has.
    ///
    /// # Errors
    /// [`RootFileFault::Root`].
    pub fn new(previous: Option<Vec<u8>>, sealed: Vec<u8>) -> Result<Self, RootFileFault> {
        let file = Self { previous, sealed };
        file.root()?;
        file.previous()?;
        Ok(file)
    }

    /// Reads the text of a root file.
    ///
    /// # Errors
    /// The first [`RootFileFault`].
    pub fn parse(text: &str) -> Result<Self, RootFileFault> {
        let mut lines = text.lines().map(str::trim_end).zip(1..);
        if lines.next().is_none_or(|(line, _)| line != HEAD) {
            return Err(RootFileFault::Head);
        }
        let (mut previous, mut sealed) = (None, None);
        for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
            let fault = RootFileFault::Line(number);
            let (word, digits) = line.split_once(' ').ok_or_else(|| fault.clone())?;
            let bytes = HEXLOWER.decode(digits.as_bytes()).map_err(|_| fault.clone())?;
            let place = match word {
                "previous" if sealed.is_none() => &mut previous,
                "root" => &mut sealed,
                _ => return Err(fault),
            };
            if place.replace(bytes).is_some() {
                return Err(fault);
            }
        }
        Self::new(previous, sealed.ok_or(RootFileFault::Cut)?)
    }

    /// The root.
    ///
    /// # Errors
    /// [`RootFileFault::Root`], which [`RootFile::new`] has excluded.
    pub fn root(&self) -> Result<Root, RootFileFault> {
        Root::unverified(&self.sealed).map_err(|fault| RootFileFault::Root { previous: false, fault })
    }

    /// The root that it follows, signed by its own holders.
    ///
    /// # Errors
    /// As [`RootFile::root`].
    pub fn previous(&self) -> Result<Option<Root>, RootFileFault> {
        let previous = self.previous.as_deref().map(Root::self_signed).transpose();
        previous.map_err(|fault| RootFileFault::Root { previous: true, fault })
    }

    /// The sealed root.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Adds the signature of one holder.
    ///
    /// # Errors
    /// [`RootFileFault::Stranger`] or [`RootFileFault::Signed`].
    pub fn sign(&self, key: &SecretKey) -> Result<Self, RootFileFault> {
        let public = key.public();
        let is_holder = |root: &Root| root.role(Role::Root).is_ok_and(|role| role.keys.contains(&public));
        if !is_holder(&self.root()?) && !self.previous()?.as_ref().is_some_and(is_holder) {
            return Err(RootFileFault::Stranger(public.fingerprint().to_string()));
        }
        let sealed = Envelope::countersign::<Root>(&self.sealed, key).map_err(|fault| match fault {
            EnvelopeFault::Order => RootFileFault::Signed(public.fingerprint().to_string()),
            other @ (EnvelopeFault::TooLarge { .. }
            | EnvelopeFault::Frame
            | EnvelopeFault::Format { .. }
            | EnvelopeFault::Domain { .. }
            | EnvelopeFault::Threshold { .. }
            | EnvelopeFault::Codec(_)) => RootFileFault::Envelope(other),
        })?;
        Ok(Self { previous: self.previous.clone(), sealed })
    }

    /// Who has signed, of the old holders and of the new.
    ///
    /// # Errors
    /// As [`RootFile::root`].
    pub fn tallies(&self) -> Result<Vec<Tally>, RootFileFault> {
        let tally = |is_old, root: &Root| {
            let (signed, needed) = root
                .signed_by(&self.sealed)
                .map_err(|fault| RootFileFault::Root { previous: is_old, fault })?;
            Ok(Tally { is_old, signed, needed })
        };
        let old = self.previous()?.map(|root| tally(true, &root));
        old.into_iter().chain([tally(false, &self.root()?)]).collect()
    }
}

impl fmt::Display for RootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        if let Some(previous) = &self.previous {
            writeln!(f, "previous {}", HEXLOWER.encode(previous))?;
        }
        writeln!(f, "root {}", HEXLOWER.encode(&self.sealed))
    }
}

/// One change from a root to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key begins to count.
    Add(Purpose, PublicKey),
    /// A key counts no more.
    Remove(Purpose, PublicKey),
    /// So many keys of a role must sign.
    Threshold(Role, u8),
    /// Everything that was signed for devices before is worthless.
    RaiseEpoch,
}

/// Why a change makes no root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFault {
    /// A key is added twice.
    #[error("the root names `{purpose}` key {key} already")]
    Present {
        /// For what.
        purpose: &'static str,
        /// Its fingerprint.
        key: String,
    },
    /// A key is removed that is not there.
    #[error("the root names no `{purpose}` key {key}")]
    Absent {
        /// For what.
        purpose: &'static str,
        /// Its fingerprint.
        key: String,
    },
    /// Nobody could sign for the role, or anybody.
    #[error("`{role}` would need {threshold} signatures of {keys} keys, which nobody can give", role = role.word())]
    Threshold {
        /// The role.
        role: Role,
        /// Signatures needed.
        threshold: u8,
        /// Keys that the role would have.
        keys: usize,
    },
    /// Nobody would recognise the hub.
    #[error("no hub key would be left")]
    NoHub,
    /// It would be over before it begins.
    #[error("the root would have expired at {0} already")]
    Past(String),
    /// The end of the range.
    #[error("no version or epoch follows the last one")]
    Last,
    /// Anything else that no device would accept.
    #[error(transparent)]
    Form(#[from] RootFault),
}

/// The root that follows `root`.
///
/// # Errors
/// The first [`ChangeFault`].
pub fn next(root: &Root, changes: &[Change], expires: UnixTime, now: UnixTime) -> Result<Root, ChangeFault> {
    if expires <= now {
        return Err(ChangeFault::Past(clock::show(expires)));
    }
    let version = root.version.checked_add(1).ok_or(ChangeFault::Last)?;
    let mut next = Root { version, expires, ..root.clone() };
    for change in changes {
        apply(&mut next, *change)?;
    }
    for role in &next.roles {
        let (threshold, keys) = (role.threshold, role.keys.len());
        if threshold == 0 || usize::from(threshold) > keys || keys > limits::ROLE_KEYS {
            return Err(ChangeFault::Threshold { role: role.role, threshold, keys });
        }
    }
    if next.hubs.is_empty() {
        return Err(ChangeFault::NoHub);
    }
    next.check_form()?;
    Ok(next)
}

fn apply(root: &mut Root, change: Change) -> Result<(), ChangeFault> {
    let (purpose, key, adds) = match change {
        Change::RaiseEpoch => {
            root.policy_epoch = root.policy_epoch.checked_add(1).ok_or(ChangeFault::Last)?;
            return Ok(());
        }
        Change::Threshold(role, threshold) => {
            if let Some(keys) = root.roles.iter_mut().find(|keys| keys.role == role) {
                keys.threshold = threshold;
            }
            return Ok(());
        }
        Change::Add(purpose, key) => (purpose, key, true),
        Change::Remove(purpose, key) => (purpose, key, false),
    };
    let keys = match purpose {
        Purpose::Hub => Some(&mut root.hubs),
        Purpose::Role(role) => {
            root.roles.iter_mut().find(|keys| keys.role == role).map(|keys| &mut keys.keys)
        }
    };
    let Some(keys) = keys else { return Ok(()) };
    let (purpose, shown) = (purpose.word(), key.fingerprint().to_string());
    match (keys.binary_search(&key), adds) {
        (Ok(_), true) => return Err(ChangeFault::Present { purpose, key: shown }),
        (Err(_), false) => return Err(ChangeFault::Absent { purpose, key: shown }),
        (Err(place), true) => keys.insert(place, key),
        (Ok(place), false) => drop(keys.remove(place)),
    }
    Ok(())
}

/// What is different, a line for each.
#[must_use]
pub fn differences(old: &Root, new: &Root) -> Vec<String> {
    let mut lines = vec![format!(
        "version {} becomes {}, until {} (before: {})",
        old.version,
        new.version,
        clock::show(new.expires),
        clock::show(old.expires)
    )];
    if old.policy_epoch != new.policy_epoch {
        lines.push(format!(
            "policy epoch {} becomes {}: every policy that was signed before is worthless, tunnels end",
            old.policy_epoch, new.policy_epoch
        ));
    }
    if old.fleet != new.fleet {
        lines.push(format!("fleet {} becomes {}: no device accepts that", old.fleet, new.fleet));
    }
    for purpose in std::iter::once(Purpose::Role(Role::Root)).chain(Purpose::ONLINE) {
        let (before, after) = (purpose.named(old), purpose.named(new));
        let word = purpose.word();
        let only = |of: &[PublicKey], without: &[PublicKey], what: &str| {
            let keys = of.iter().filter(|key| !without.contains(key));
            keys.map(|key| format!("{word}: key {} {what}", key.fingerprint())).collect::<Vec<_>>()
        };
        lines.extend(only(after, before, "is added"));
        lines.extend(only(before, after, "goes: what it signed counts no more"));
        let Purpose::Role(role) = purpose else { continue };
        let rule = |root: &Root| root.role(role).map(|keys| (keys.threshold, keys.keys.len())).ok();
        if let (Some(was), Some(is)) = (rule(old), rule(new))
            && was != is
        {
            lines.push(format!("{word}: {} of {} must sign (before: {} of {})", is.0, is.1, was.0, was.1));
        }
    }
    lines
}

const HEAD: &str = "postern root 1";

#[cfg(test)]
mod tests;
