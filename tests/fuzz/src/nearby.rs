//! What a device and whoever looks for it read on a network.

use postern_protocol::wire::nearby::{Asker, Sign};

use super::key;

/// A message of the network, read as both would.
///
/// # Panics
/// When a question is heard whose answer the asker would not find.
pub fn nearby(bytes: &[u8]) {
    let sign = Sign::of(&key(10).public());
    let own = ["192.168.0.1".parse().unwrap(), "fe80::1".parse().unwrap()];
    let id = bytes.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
    let _port = sign.found(bytes, id);
    let Some(asked) = sign.heard(bytes) else { return };
    let answer = sign.answer(asked, Asker::Once, 7441, &own);
    assert!(sign.heard(&answer).is_none(), "an answer was taken for a question");
    assert!(sign.answer(asked, Asker::Resolver, 7441, &own).len() < 300 && answer.len() < 300);
}
