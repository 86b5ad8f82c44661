//! Golden bytes of what a relay and an end tell each other. The relay's secret is 32 times `41`, the meeting 16 times `4d`, the run's
//! salt 16 times `53`.

use postern_protocol::trust::Digest;
use postern_protocol::wire::relay::{End, Meeting, MeetingId, Notice, Place, RelayKey, Ticket};

use crate::samples::{ISSUED, Sample};

/// One end of a meeting, at the hub's own relay or at another one.
pub(crate) fn meeting(end: End) -> Meeting {
    let ticket = Ticket { meeting: MeetingId([0x4d; 16]), end, until: ISSUED };
    let own = Place { ip: None, udp: Some(4434), tls: Some(443), certificate: Some(Digest::new([0x43; 32])) };
    let other = Place { ip: Some([203, 0, 113, 9].into()), udp: Some(443), tls: None, certificate: None };
    Meeting { leg: RelayKey::new([0x41; 32]).leg(ticket), relays: vec![own, other] }
}

pub(crate) fn notices() -> Vec<Sample> {
    let relay = RelayKey::new([0x41; 32]);
    let meeting = MeetingId([0x4d; 16]);
    let leg = |end| relay.leg(Ticket { meeting, end, until: ISSUED });
    let handle = relay.handle(&meeting, End::Client, &[0x53; 16]);
    let one = |name, note: &str, bytes: Vec<u8>| Sample {
        group: "relay",
        name,
        note: note.to_owned(),
        target: Some("relay"),
        table: None,
        variant: None,
        bytes,
        again: None,
    };
    let v4 = "192.0.2.7:47000".parse().unwrap();
    let v6 = "[2001:db8::7]:47000".parse().unwrap();
    vec![
        one("bind-agent", "The agent's end, stamp 1.", Notice::bind(&leg(End::Agent), 1)),
        one("bind-client", "The client's end, stamp 2.", Notice::bind(&leg(End::Client), 2)),
        one(
            "bound-v4",
            "The answer to `bind-client`, from an IPv4 address.",
            Notice::bound(&leg(End::Client).key, 2, handle, v4, None),
        ),
        one(
            "bound-v6",
            "The same from an IPv6 address.",
            Notice::bound(&leg(End::Client).key, 2, handle, v6, None),
        ),
        one(
            "bound-both",
            "The same from an IPv4 address, with the other end at an IPv6 address.",
            Notice::bound(&leg(End::Client).key, 2, handle, v4, Some(v6)),
        ),
        one("unbound", "The client's handle is not bound from there.", Notice::unbound(handle).to_vec()),
        one("hub", "The first frame over TLS to a hub.", Notice::hub().to_vec()),
    ]
}
