//! Tells devices what time it is and what is newest: signs timestamps, and writes nothing for it.

use postern_protocol::id::DeviceId;
use postern_protocol::session::hub::Naming;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{EnvelopeFault, Timestamp};

use crate::signer::Authority;

/// Signs the answer to a device's question. About 25 us for each key.
pub(super) fn sign(
    authority: &Authority,
    device: DeviceId,
    naming: Naming,
    lock: u64,
    time: UnixTime,
) -> Result<Vec<u8>, EnvelopeFault> {
    let Naming { nonce, held } = naming;
    let (fleet, root_version) = (authority.root.fleet, authority.root.version);
    authority.keys.timestamp.seal(&Timestamp { fleet, device, nonce, time, root_version, held, lock })
}
