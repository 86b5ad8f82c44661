//! What this computer knows about one user: a directory that only the user can enter.
//!
//! | file | content | written by |
//! | --- | --- | --- |
//! | `key` | the seed of the user's key, 64 hexadecimal digits | `login`, before the hub is dialled |
//! | `hub.json` | where and who the hub is, account and user | `login` |
//! | `pass` | the sealed pass | `login`, `step-up` |
//! | `networks.json` | what networks let pass, of which none is named | connecting to the hub |
//! | `devices.json` | the last listing, so that connecting works while the hub is away | `devices`, `connect` |
//!
//! `logout` leaves `hub.json`, which holds no secret and spares the next `login` its arguments.
//! Deliberately absent: the password, and any file that others could read.

mod networks;
mod private;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use postern_protocol::id::{FleetId, UserId};
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::trust::{KeyFault, PublicKey, SecretKey};
use postern_protocol::wire::text::Text;
use postern_transport::ladder::Ladder;
use postern_transport::proxy::Proxies;

use crate::directory::Listing;

pub(crate) use self::private::FileFault;

/// The directory of one user.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    dir: PathBuf,
    ladder: Ladder,
}

impl Profile {
    /// Names the directory: `home` where given, otherwise the platform's. Nothing is created.
    pub(crate) fn locate(home: Option<&Path>, proxies: Proxies) -> Result<Self, ProfileError> {
        // An empty POSTERN_HOME means the same as none: otherwise the key would land in the current directory.
        let dir = match home.filter(|home| !home.as_os_str().is_empty()) {
            Some(home) => home.to_owned(),
            None => directories::ProjectDirs::from("", "", "postern")
                .map(|dirs| dirs.data_local_dir().to_owned())
                .ok_or(ProfileError::NoHome)?,
        };
        let ladder = networks::ladder(&dir, proxies);
        Ok(Self { dir, ladder })
    }

    /// Leads to the hub and to relays.
    pub(crate) const fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The directory.
    #[cfg(target_os = "linux")]
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The user's key, made now when there is none.
    pub(crate) fn create_key(&self) -> Result<SecretKey, ProfileError> {
        private::create_dir(&self.dir)?;
        if let Some(key) = self.read_key()? {
            return Ok(key);
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| ProfileError::NoRandomness)?;
        let text = Zeroizing::new(HEXLOWER.encode(seed.as_slice()));
        private::write(&self.dir, KEY, text.as_bytes())?;
        Ok(SecretKey::from_seed(*seed)?)
    }

    /// Everything that a signed-in user has.
    pub(crate) fn identity(&self) -> Result<Identity, ProfileError> {
        let key = self.read_key()?.ok_or(ProfileError::SignedOut)?;
        let membership = self.membership()?.ok_or(ProfileError::SignedOut)?;
        let pass = self.pass()?.ok_or(ProfileError::SignedOut)?;
        Ok(Identity { key, membership, pass, ladder: self.ladder.clone() })
    }

    /// The sign-in of this moment, which may be newer than `before`.
    ///
    /// # Errors
    /// When it is another user's, of another hub or of another key: `before` is over.
    pub(crate) fn renewed(&self, before: &Identity) -> Result<Identity, ProfileError> {
        let present = self.identity()?;
        let who = |identity: &Identity| {
            (identity.key.public(), identity.membership.hub_key, identity.membership.user_id)
        };
        if who(&present) == who(before) { Ok(present) } else { Err(ProfileError::Replaced) }
    }

    /// The sealed pass, where somebody is signed in.
    pub(crate) fn pass(&self) -> Result<Option<Vec<u8>>, ProfileError> {
        let pass = private::read(&self.dir, PASS, limits::PASS_BYTES + ENVELOPE_BYTES)?;
        Ok(pass.map(|pass| pass.to_vec()))
    }

    /// The hub and who the user is there.
    pub(crate) fn membership(&self) -> Result<Option<Membership>, ProfileError> {
        self.read_json(HUB)
    }

    /// Remembers hub and user, and the pass of this login.
    pub(crate) fn sign_in(&self, membership: &Membership, pass: &[u8]) -> Result<(), ProfileError> {
        let before = self.membership()?;
        let same = |before: &Membership| {
            (before.hub_key, before.user_id) == (membership.hub_key, membership.user_id)
        };
        if !before.as_ref().is_some_and(same) {
            // What another user may see is none of this one's business.
            private::remove(&self.dir, DEVICES)?;
        }
        self.write_json(HUB, membership)?;
        Ok(private::write(&self.dir, PASS, pass)?)
    }

    /// Remembers that the user has a second factor, or another fact about the membership.
    pub(crate) fn remember(&self, membership: &Membership) -> Result<(), ProfileError> {
        self.write_json(HUB, membership)
    }

    /// Removes key, pass and listing.
    pub(crate) fn sign_out(&self) -> Result<(), ProfileError> {
        for name in [PASS, KEY, DEVICES] {
            private::remove(&self.dir, name)?;
        }
        Ok(())
    }

    /// The last listing. One that cannot be read counts as none: the hub has a better one.
    pub(crate) fn listing(&self) -> Option<Listing> {
        self.read_json(DEVICES).ok().flatten()
    }

    /// Remembers a listing.
    pub(crate) fn save_listing(&self, listing: &Listing) -> Result<(), ProfileError> {
        self.write_json(DEVICES, listing)
    }

    fn read_key(&self) -> Result<Option<SecretKey>, ProfileError> {
        let Some(text) = private::read(&self.dir, KEY, KEY_BYTES)? else { return Ok(None) };
        let damaged = || ProfileError::File(FileFault::Damaged { path: self.dir.join(KEY) });
        let bytes = Zeroizing::new(HEXLOWER.decode(text.trim_ascii()).map_err(|_| damaged())?);
        let seed: [u8; 32] = bytes.as_slice().try_into().map_err(|_| damaged())?;
        Ok(Some(SecretKey::from_seed(seed)?))
    }

    fn read_json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, ProfileError> {
        let Some(text) = private::read(&self.dir, name, JSON_BYTES)? else { return Ok(None) };
        let value = serde_json::from_slice(&text);
        Ok(Some(value.map_err(|_| FileFault::Damaged { path: self.dir.join(name) })?))
    }

    fn write_json<T: Serialize>(&self, name: &'static str, value: &T) -> Result<(), ProfileError> {
        let text = serde_json::to_vec_pretty(value);
        let text = text.map_err(|_| FileFault::Damaged { path: self.dir.join(name) })?;
        Ok(private::write(&self.dir, name, &text)?)
    }
}

/// A signed-in user.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The key that the pass is bound to.
    pub(crate) key: SecretKey,
    /// The hub and who the user is there.
    pub(crate) membership: Membership,
    /// The sealed pass.
    pub(crate) pass: Vec<u8>,
    /// Leads to the hub and to relays.
    pub(crate) ladder: Ladder,
}

/// Where the hub is, which key is genuine, and who the user is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// Addresses of the hub, tried together.
    pub(crate) hubs: Vec<SocketAddr>,
    /// The hub's key.
    pub(crate) hub_key: PublicKey,
    /// The account's path.
    pub(crate) account: Text,
    /// The user's name in it.
    pub(crate) user: Name,
    /// The installation, once signed in.
    pub(crate) fleet: Option<FleetId>,
    /// The user's id, once signed in.
    pub(crate) user_id: Option<UserId>,
    /// Whether to ask for a one-time code.
    pub(crate) second_factor: bool,
    /// The identity provider of the last sign-in, by its name at the hub; none for who signs in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<Name>,
}

/// Why the profile is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// The platform names no directory.
    #[error("this platform names no directory for the profile")]
    NoHome,
    /// There is no key, hub or pass.
    #[error("nobody is signed in on this computer")]
    SignedOut,
    /// Somebody else than before.
    #[error("somebody else has signed in on this computer meanwhile")]
    Replaced,
    /// A file or the directory.
    #[error(transparent)]
    File(#[from] FileFault),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes for a key")]
    NoRandomness,
    /// A key that must not be used.
    #[error("the stored key: {0}")]
    Key(#[from] KeyFault),
}

const KEY: &str = "key";
const HUB: &str = "hub.json";
const PASS: &str = "pass";
const DEVICES: &str = "devices.json";
/// 64 digits and what an editor may add.
const KEY_BYTES: usize = 128;
const JSON_BYTES: usize = 4 * 1024 * 1024;
/// Signatures around a pass.
const ENVELOPE_BYTES: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> (tempfile::TempDir, Profile) {
        let base = tempfile::tempdir().unwrap();
        let profile = Profile::locate(Some(&base.path().join("home")), Proxies::none()).unwrap();
        (base, profile)
    }

    fn membership() -> Membership {
        Membership {
            hubs: vec!["127.0.0.1:7440".parse().unwrap()],
            hub_key: SecretKey::from_seed([3; 32]).unwrap().public(),
            account: Text::clean("acme/paris"),
            user: "anna".parse().unwrap(),
            fleet: None,
            user_id: None,
            second_factor: true,
            provider: None,
        }
    }

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let (_base, profile) = profile();
        let first = profile.create_key().unwrap().public();
        assert_eq!(profile.create_key().unwrap().public(), first);
    }

    #[test]
    fn signing_in_makes_an_identity_and_signing_out_leaves_only_the_hub() {
        let (_base, profile) = profile();
        assert!(matches!(profile.identity(), Err(ProfileError::SignedOut)));
        let key = profile.create_key().unwrap().public();
        assert!(matches!(profile.identity(), Err(ProfileError::SignedOut)));
        profile.sign_in(&membership(), b"sealed").unwrap();
        let identity = profile.identity().unwrap();
        assert_eq!((identity.key.public(), identity.pass.as_slice()), (key, b"sealed".as_slice()));
        assert_eq!(identity.membership, membership());
        profile.sign_out().unwrap();
        assert!(matches!(profile.identity(), Err(ProfileError::SignedOut)));
        assert_eq!(profile.membership().unwrap(), Some(membership()));
        assert_ne!(profile.create_key().unwrap().public(), key);
    }

    #[test]
    fn a_sign_in_is_renewed_by_the_same_user_and_replaced_by_another() {
        let (_base, profile) = profile();
        profile.create_key().unwrap();
        let anna = Membership { user_id: Some(UserId::new([1; 8])), ..membership() };
        profile.sign_in(&anna, b"one").unwrap();
        let before = profile.identity().unwrap();
        profile.sign_in(&anna, b"two").unwrap();
        assert_eq!(profile.renewed(&before).unwrap().pass, b"two");
        let otto = Membership { user_id: Some(UserId::new([2; 8])), ..membership() };
        profile.sign_in(&otto, b"three").unwrap();
        assert!(matches!(profile.renewed(&before), Err(ProfileError::Replaced)));
        profile.sign_out().unwrap();
        assert!(matches!(profile.renewed(&before), Err(ProfileError::SignedOut)));
    }

    #[test]
    fn another_user_does_not_inherit_the_listing_and_the_same_one_keeps_it() {
        let (_base, profile) = profile();
        profile.create_key().unwrap();
        let anna = Membership { user_id: Some(UserId::new([1; 8])), ..membership() };
        let listing = Listing { fetched: postern_protocol::time::UnixTime::EPOCH, devices: Vec::new() };
        profile.sign_in(&anna, b"one").unwrap();
        profile.save_listing(&listing).unwrap();
        profile.sign_in(&anna, b"two").unwrap();
        assert_eq!(profile.listing(), Some(listing));
        profile
            .sign_in(&Membership { user_id: Some(UserId::new([2; 8])), ..membership() }, b"three")
            .unwrap();
        assert_eq!(profile.listing(), None);
    }

    #[test]
    fn an_empty_home_is_no_home() {
        let named = Profile::locate(Some(Path::new("")), Proxies::none()).unwrap();
        assert_ne!(named.dir, Path::new(""));
    }

    #[test]
    fn a_damaged_key_is_named_and_never_replaced() {
        let (_base, profile) = profile();
        profile.create_key().unwrap();
        let path = profile.dir.join(KEY);
        std::fs::write(&path, "not a key").unwrap();
        let error = profile.create_key().unwrap_err().to_string();
        assert_eq!(error, format!("`{}` is damaged", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a key");
    }
}
