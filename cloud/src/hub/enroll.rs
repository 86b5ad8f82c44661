//! Enrolment: a single-use code binds the key of a handshake to a device of the model.
//!
//! 1. Attempts with wrong codes are counted for each source and over the whole hub; above the limit nothing is looked at.
//! 2. The code is looked up by its digest; it must be unused and in date.
//! 3. The key becomes the device's. An earlier key is worth nothing from this moment.
//! 4. The answer is the identity that the cloud assigned, the chain of roots, and a snapshot that denies everything.
//! 5. The device's real policy is signed in the same transaction with the next version, and pushed once it links. A
//!    code that demands it leaves the device denied until somebody confirms the fingerprint of its key.
//!
//! The same key may present its code again: an agent whose answer was lost asks again, and nobody else has that key.

use std::sync::Arc;

use super::fellows::Guest;
use super::{Failed, Hub, blocking, settle};
use crate::publish::Affected;
use crate::store::{StoreError, Tx};
use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::Announcement;
use postern_protocol::trust::{Digest, PublicKey};
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::text::Text;

/// The newest roots, as many as one answer holds. The code pins the root that was the newest when it was made, so
/// that it is among them whatever was before.
fn newest_roots(tx: &Tx<'_>) -> Result<Vec<Vec<u8>>, StoreError> {
    let newest = tx.root_version()?;
    let chain = u32::try_from(limits::ROOT_CHAIN).unwrap_or(u32::MAX);
    let mut roots = tx.roots_after(newest.saturating_sub(chain), limits::ROOT_CHAIN)?;
    let mut bytes: usize = roots.iter().map(|(_, sealed)| sealed.len()).sum();
    let mut skipped = 0;
    for (_, sealed) in roots.iter().take(roots.len().saturating_sub(1)) {
        if bytes <= ROOTS_BYTES {
            break;
        }
        bytes -= sealed.len();
        skipped += 1;
    }
    Ok(roots.split_off(skipped).into_iter().map(|(_, sealed)| sealed).collect())
}

impl Hub {
    pub(super) async fn enroll(
        self: &Arc<Self>,
        guest: &Guest,
        secret: [u8; 16],
        label: &Text,
        sealing: Announcement,
        now: UnixTime,
    ) -> HubAnswer {
        let (key, source) = (guest.key, guest.from.ip());
        if !self.attempts.admit(source) {
            return HubAnswer::Refused(Refusal::TooMany);
        }
        let hub = Arc::clone(self);
        let answer = blocking(move || hub.bind(&key, &Digest::of(&[&secret]), &sealing, now)).await;
        if !matches!(answer, Err(Failed::Refused(_))) {
            self.attempts.forgive(source);
        }
        if matches!(answer, Ok(HubAnswer::Enrolled { .. })) {
            tracing::info!(claimed = %label, "a device was enrolled");
            self.news.publish();
        }
        settle("enrolment", answer)
    }

    fn bind(
        &self,
        key: &PublicKey,
        secret: &Digest,
        sealing: &Announcement,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        self.store.read(|tx| tx.invitation(secret, Invitee::Device))?.ok_or(Refusal::Code)?;
        sealing.verify(key).map_err(|_| Refusal::SealingKey)?;
        let (answer, name) = self.store.write(|tx| {
            let pending = tx.invitation(secret, Invitee::Device)?.ok_or(Refusal::Code)?;
            let name = pending.invited.name.clone();
            let again = pending.used_by == Some(*key);
            let spent = pending.used_by.is_some() && !again;
            let in_model = tx.model()?.devices.contains_key(&name);
            // A key that speaks for another device already: one key, one device.
            let elsewhere = tx.device_of_key(key)?.is_some_and(|device| device.name != name);
            if spent || pending.expires <= now || !in_model || elsewhere {
                return Err(Failed::from(Refusal::Code));
            }
            tx.use_invitation(secret, key, now)?;
            tx.bind_device(&name, key, pending.invited.confirm, now)?;
            tx.announce(&name, sealing)?;
            let device = tx.device(&name)?.ok_or(Refusal::Code)?;
            let roots = newest_roots(tx)?;
            let snapshot = self.publisher.publish_deny_all(tx, &device, now)?.bytes;
            self.publisher.publish(tx, Affected::Device(&name), now)?;
            Ok((HubAnswer::Enrolled { device: device.id, roots, snapshot }, name))
        })?;
        self.links.cut(&name);
        Ok(answer)
    }
}

/// Bytes of roots in an answer; the rest of the frame is for the snapshot, which denies everything and is small.
const ROOTS_BYTES: usize = limits::LIST_FRAME_BYTES - 16 * 1024;
