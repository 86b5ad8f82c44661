//! What an end and a relay read of each other.

use postern_protocol::session::leg::Leg;
use postern_protocol::time::{BootTime, UnixTime};
use postern_protocol::wire::relay::{End, MeetingId, Notice, Packet, RelayKey, Ticket, split};

/// A packet, read as a relay would and as the client's end of the golden bytes would.
///
/// # Panics
/// When a notice is read that its key has not made, or what is read is written in other bytes.
pub fn relay(bytes: &[u8]) {
    let Some(Packet::Notice(notice)) = split(bytes) else { return };
    let key = RelayKey::new([0x41; 32]);
    let ticket = Ticket {
        meeting: MeetingId([0x4d; 16]),
        end: End::Client,
        until: UnixTime::from_secs(1_700_000_000),
    };
    let own = key.leg(ticket);
    let read =
        Notice::read(notice, |asked| asked.map_or_else(|| own.key.clone(), |asked| key.leg_key(asked)));
    match read {
        Ok(Notice::Bind { ticket, stamp }) => assert_eq!(Notice::bind(&key.leg(ticket), stamp), bytes),
        Ok(Notice::Bound { stamp, handle, seen, other }) => {
            // An address that was mapped comes back as what it stands for.
            assert_eq!(Notice::bound(&own.key, stamp, handle, seen, other), bytes);
        }
        Ok(Notice::Unbound { handle }) => assert_eq!(Notice::unbound(handle), bytes),
        Ok(Notice::Hub) => assert_eq!(Notice::hub(), bytes),
        Err(_) => {}
    }
    let mut leg = Leg::new(own, BootTime::ZERO);
    let asked = leg.poll_bind(BootTime::ZERO, &mut 0).is_some();
    let bound = leg.handle_notice(notice, BootTime::ZERO);
    assert!(asked && bound.is_ok_and(|bound| bound) == leg.bound().is_some());
}
