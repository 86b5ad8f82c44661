//! A device's announcement of its next key.
//!
//! It is signed by the key that is in force, so that nobody else can replace it, and by the next one, so that nobody
//! can announce a key that is another's. What both sign names the device and both keys: an announcement is good for
//! nothing else. It travels inside a link, and never in an envelope.

use serde::{Deserialize, Serialize};

use super::envelope::Domain;
use super::keys::{PublicKey, SecretKey, Signature};
use crate::id::DeviceId;

/// The next key of a device, with proof of both keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKey {
    /// The key that the device will present.
    pub key: PublicKey,
    /// The signature of the key in force.
    pub by_present: Signature,
    /// The signature of the next key.
    pub by_next: Signature,
}

impl NextKey {
    /// Announces `next` as the successor of `present`.
    #[must_use]
    pub fn announce(device: DeviceId, present: &SecretKey, next: &SecretKey) -> Self {
        let message = message(device, &present.public(), &next.public());
        Self { key: next.public(), by_present: present.sign(&message), by_next: next.sign(&message) }
    }

    /// Whether both keys have signed that `self.key` follows `present` on `device`.
    #[must_use]
    pub fn holds(&self, device: DeviceId, present: &PublicKey) -> bool {
        let message = message(device, present, &self.key);
        // A key that follows itself is no rotation.
        self.key != *present
            && present.verifies(&message, &self.by_present)
            && self.key.verifies(&message, &self.by_next)
    }
}

/// The exact bytes that both keys sign: device, key in force, next key.
fn message(device: DeviceId, present: &PublicKey, next: &PublicKey) -> Vec<u8> {
    let payload =
        [device.as_bytes().as_slice(), present.as_bytes().as_slice(), next.as_bytes().as_slice()].concat();
    Domain::NextKey.signed_bytes(&payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::new([0xd1; 8]);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32]).unwrap()
    }

    #[test]
    fn an_announcement_of_both_keys_holds_for_this_device_and_these_keys_alone() {
        let announced = NextKey::announce(DEVICE, &key(1), &key(2));
        assert!(announced.holds(DEVICE, &key(1).public()));
        assert!(!announced.holds(DeviceId::new([0xd2; 8]), &key(1).public()), "another device");
        assert!(!announced.holds(DEVICE, &key(3).public()), "another key in force");
        let other = NextKey { key: key(3).public(), ..announced };
        assert!(!other.holds(DEVICE, &key(1).public()), "another next key");
    }

    #[test]
    fn one_signature_of_two_is_not_enough() {
        let genuine = NextKey::announce(DEVICE, &key(1), &key(2));
        let by_thief = NextKey::announce(DEVICE, &key(9), &key(2));
        let stolen = NextKey { by_present: by_thief.by_present, ..genuine.clone() };
        assert!(!stolen.holds(DEVICE, &key(1).public()), "the key in force has not signed");
        let claimed = NextKey { by_next: genuine.by_present, ..genuine };
        assert!(!claimed.holds(DEVICE, &key(1).public()), "the next key has not signed");
    }

    #[test]
    fn a_key_does_not_follow_itself() {
        assert!(!NextKey::announce(DEVICE, &key(1), &key(1)).holds(DEVICE, &key(1).public()));
    }
}
