//! What a linked device says about the key to which its secrets are sealed.

use postern_protocol::name::Name;
use postern_protocol::trust::sealed::Announcement;

use super::Hub;
use crate::store::StoreError;

impl Hub {
    /// Keeps the sealing key of a device if the device's own key has signed it. Otherwise it is ignored and the link goes
    /// on: a device whose secrets cannot be set must still hear of what is withdrawn.
    pub(super) fn hear_sealing_key(
        &self,
        device: &Name,
        announcement: &Announcement,
    ) -> Result<(), StoreError> {
        // Almost every link says what is known already, and thousands may come back at once: no write for those.
        let known = self.store.read(|tx| tx.announcement(device));
        if matches!(known, Ok(Some(known)) if known == *announcement) {
            return Ok(());
        }
        self.store.note(|tx| {
            let Some(key) = tx.device(device)?.and_then(|device| device.key) else { return Ok(()) };
            if let Err(error) = announcement.verify(&key) {
                tracing::warn!(device = %device, %error, "a sealing key was ignored");
                return Ok(());
            }
            tx.announce(device, announcement)
        })
    }
}
