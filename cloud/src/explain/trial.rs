//! A trial: one device's policy takes the way that it takes to a device, with a throw-away key.

use std::sync::Arc;

use postern_protocol::id::{DeviceId, FleetId, UserId};
use postern_protocol::name::Name;
use postern_protocol::policy::{Expectation, Index, Locks, verify};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{
    Digest, Envelope, KeyFault, Lock, LockTarget, PublicKey, Role, RoleKeys, Root, SecretKey,
};

use super::ExplainError;
use crate::chance;
use crate::compile::{Addressee, Compiler, Enrolled, Roster, Term};

/// A key that no device believes, and the root that names it.
pub(crate) struct Trial {
    key: SecretKey,
    root: Root,
}

impl Trial {
    pub(crate) fn new() -> Result<Self, KeyFault> {
        let key = SecretKey::from_seed(chance::bytes())?;
        let role = |role| RoleKeys { role, threshold: 1, keys: vec![key.public()] };
        let root = Root {
            fleet: FleetId::new([0; 8]),
            version: 1,
            expires: UnixTime::MAX,
            policy_epoch: 1,
            roles: vec![role(Role::Root), role(Role::Policy), role(Role::Identity)],
            hubs: Vec::new(),
        };
        Ok(Self { key, root })
    }

    /// The roster as it would be with a key for each of `users` who has none. Everybody else stays in it: how a
    /// category is called on a device depends on what others are granted there.
    pub(crate) fn suppose<'n>(&self, roster: &Roster, users: impl IntoIterator<Item = &'n Name>) -> Roster {
        let mut supposed = roster.clone();
        for name in users {
            let unknown = || Enrolled {
                id: nobody(name),
                keys: [].into(),
                disabled: false,
                passes_from: UnixTime::EPOCH,
            };
            let user = supposed.users.entry(name.clone()).or_insert_with(unknown);
            if user.keys.is_empty() {
                user.keys.insert(self.key.public());
            }
        }
        supposed
    }

    /// The id of a user who was supposed to have a key.
    pub(crate) fn id(supposed: &Roster, user: &Name) -> UserId {
        supposed.users.get(user).map_or_else(|| nobody(user), |user| user.id)
    }

    /// Compiles, signs, verifies and indexes, as if it were signed at `at`: what is asked is what the policy says,
    /// not how old it is.
    pub(crate) fn index(
        &self,
        compiler: &Compiler<'_>,
        device: &Name,
        at: UnixTime,
    ) -> Result<Arc<Index>, ExplainError> {
        let addressee = self.addressee(self.key.public());
        let content = compiler.compile(device)?;
        let lifetime_s = crate::publish::lifetime_s(content.offline_s());
        let term = Term { version: 1, issued: at, expires: at.saturating_add(lifetime_s) };
        let sealed = Envelope::seal(&content.into_snapshot(addressee, term), &[&self.key])?;
        let expected = Expectation {
            root: &self.root,
            device: addressee.device,
            device_key: addressee.device_key,
            floor: None,
        };
        Ok(Arc::new(Index::build(verify(&sealed, &expected)?)))
    }

    /// The same policy with these targets locked.
    pub(crate) fn locked(&self, index: &Arc<Index>, targets: &[LockTarget]) -> Arc<Index> {
        let Addressee { fleet, device, epoch, .. } = self.addressee(self.key.public());
        let (sequence, issued, targets) = (1, UnixTime::EPOCH, targets.to_vec());
        let mut locks = Locks::default();
        // Nothing lifts the first lock of a device.
        let _taken = locks.handle_lock(&Lock { fleet, device, epoch, sequence, issued, targets }, 0);
        Arc::new(Index::clone(index).under(&locks))
    }

    const fn addressee(&self, device_key: PublicKey) -> Addressee {
        Addressee {
            fleet: self.root.fleet,
            device: DeviceId::new([0; 8]),
            device_key,
            epoch: 1,
            locks_cleared: 0,
        }
    }
}

/// An id for somebody who is in the model and has none yet.
fn nobody(name: &Name) -> UserId {
    let digest = Digest::of(&[name.as_str().as_bytes()]);
    UserId::new(digest.as_bytes().first_chunk().copied().unwrap_or_default())
}
