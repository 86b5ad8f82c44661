//! Tells a caller what they look like from here: for who looks for what stands in between.
//!
//! It says nothing that is not the caller's own: what the hub makes of the key that they have proved, their address as it is seen
//! here, and the time.

use std::net::SocketAddr;

use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::hub::{Examined, HubAnswer, Whose};
use postern_protocol::wire::text::Text;

use super::{Failed, Hub};
use crate::store::Standing;

impl Hub {
    pub(super) fn examine(
        &self,
        key: &PublicKey,
        seen: SocketAddr,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        let whose = self.store.read(|tx| {
            if let Some(device) = tx.device_of_key(key)? {
                return Ok::<_, Failed>(match device.standing() {
                    Standing::InService => Whose::Device,
                    Standing::AwaitsConfirmation => Whose::Unconfirmed,
                    Standing::Retired => Whose::Retired,
                });
            }
            let is_user = tx.person_of_key(key)?.is_some_and(|person| !person.disabled);
            Ok(if is_user { Whose::User } else { Whose::Nobody })
        })?;
        Ok(HubAnswer::Examined(Examined { now, hub: Text::clean(env!("CARGO_PKG_VERSION")), whose, seen }))
    }
}
