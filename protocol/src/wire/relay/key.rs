//! Keys of a relay and of the legs that it carries.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{End, HANDLE_BYTES, Handle, MeetingId};
use crate::time::UnixTime;
use crate::trust::Mac;

/// What a hub shares with a relay; 32 random bytes. Who has it may use the relay, and reads nothing that passes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RelayKey([u8; 32]);

/// The right to one end of a meeting. It is no secret; the [`LegKey`] that belongs to it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The meeting.
    pub meeting: MeetingId,
    /// Which end of it.
    pub end: End,
    /// The first second in which it can no longer be bound with.
    pub until: UnixTime,
}

/// Proves the right of a [`Ticket`] to the relay, and the relay's answers to its holder.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct LegKey([u8; 32]);

/// What an end of a meeting needs: from the hub, over a connection that proves the hub's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The right.
    pub ticket: Ticket,
    /// Its key.
    pub key: LegKey,
}

impl RelayKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// The leg of a ticket.
    #[must_use]
    pub fn leg(&self, ticket: Ticket) -> Leg {
        Leg { ticket, key: self.leg_key(&ticket) }
    }

    /// The key that belongs to a ticket.
    #[must_use]
    pub fn leg_key(&self, ticket: &Ticket) -> LegKey {
        let Ticket { meeting, end, until } = ticket;
        LegKey(Mac::of(&self.0, &[LEG, &meeting.0, &[end.number()], &until.as_secs().to_be_bytes()]).0)
    }

    /// The handle of one end of a meeting in one run of a relay; `salt` is random and new with each run.
    #[must_use]
    pub fn handle(&self, meeting: &MeetingId, end: End, salt: &[u8; 16]) -> Handle {
        let bytes = Mac::of(&self.0, &[HANDLE, &meeting.0, &[end.number()], salt]);
        let first = bytes.0.first_chunk::<HANDLE_BYTES>().and_then(|first| Handle::new(*first));
        // One of 2^64 would be a notice.
        first.unwrap_or(Handle([0xff; HANDLE_BYTES]))
    }
}

impl LegKey {
    /// The first half of a MAC over `parts`.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let whole = Mac::of(&self.0, parts).0;
        std::array::from_fn(|index| whole.get(index).copied().unwrap_or_default())
    }

    /// Whether `tag` is the first half of the MAC over `bytes`; in constant time.
    pub(super) fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        tag.len() == MAC_BYTES && Mac::verifies(&self.0, bytes, tag)
    }
}

impl fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl fmt::Debug for LegKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Bytes of a MAC on the wire.
pub(super) const MAC_BYTES: usize = 16;
/// What is derived, and for which version. All parts that follow have a fixed length.
const LEG: &[u8] = b"postern relay leg v1";
const HANDLE: &[u8] = b"postern relay handle v1";

#[cfg(test)]
mod tests {
    use super::*;

    const fn ticket(end: End) -> Ticket {
        Ticket { meeting: MeetingId([7; 16]), end, until: UnixTime::from_secs(1_800_000_000) }
    }

    #[test]
    fn every_part_of_a_ticket_and_each_relay_has_a_leg_key_of_its_own() {
        let relay = RelayKey::new([1; 32]);
        let key = relay.leg_key(&ticket(End::Agent));
        assert!(key == relay.leg_key(&ticket(End::Agent)));
        assert!(key != relay.leg_key(&ticket(End::Client)));
        assert!(key != relay.leg_key(&Ticket { meeting: MeetingId([8; 16]), ..ticket(End::Agent) }));
        assert!(
            key != relay.leg_key(&Ticket { until: UnixTime::from_secs(1_800_000_001), ..ticket(End::Agent) })
        );
        assert!(key != RelayKey::new([2; 32]).leg_key(&ticket(End::Agent)));
    }

    #[test]
    fn the_ends_of_a_meeting_have_different_handles_which_end_with_the_run_of_the_relay() {
        let relay = RelayKey::new([1; 32]);
        let handle = |end, salt| relay.handle(&MeetingId([7; 16]), end, &[salt; 16]);
        assert_ne!(handle(End::Agent, 1), handle(End::Client, 1));
        assert_ne!(handle(End::Agent, 1), handle(End::Agent, 2));
        assert_eq!(handle(End::Agent, 1), handle(End::Agent, 1));
    }

    #[test]
    fn a_tag_verifies_whole_and_under_its_key_alone() {
        let (one, other) = (LegKey([1; 32]), LegKey([2; 32]));
        let tag = one.sign(&[b"a", b"b"]);
        assert!(one.verifies(b"ab", &tag));
        assert!(!other.verifies(b"ab", &tag) && !one.verifies(b"aB", &tag));
        assert!(!one.verifies(b"ab", &tag[..15]) && !one.verifies(b"ab", &[]));
    }

    #[test]
    fn keys_print_nothing() {
        let relay = RelayKey::new([1; 32]);
        assert_eq!(format!("{relay:?} {:?}", relay.leg_key(&ticket(End::Agent))), "redacted redacted");
    }
}
