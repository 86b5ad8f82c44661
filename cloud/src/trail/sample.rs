//! For tests: a store with a model that changes, and trails that devices have written.

use std::cell::RefCell;
use std::collections::BTreeMap;

use postern_protocol::audit::{Begin, End, Event, LogId, RatchetKey, Row, Taken, chain};
use postern_protocol::id::{FleetId, TunnelId, UserId};
use postern_protocol::name::{Label, Name};
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{Kind, Mode, Origin, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::control::Held;

use crate::store::{Installation, Sealed, SealedTerm, Store, StoreError, ground};

/// A store, and the end of each device's log.
pub(crate) struct Sample {
    pub(crate) store: Store,
    ends: RefCell<BTreeMap<Name, (i64, End)>>,
    _directory: tempfile::TempDir,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let installation = Installation {
            fleet: FleetId::new([1; 8]),
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: Vec::new(),
        };
        let store = ground::make(directory.path(), &installation);
        Self { store, ends: RefCell::default(), _directory: directory }
    }

    /// The model is this fleet from second `secs` on.
    pub(crate) fn apply(&self, secs: u64, fleet: &str) {
        let model = crate::fleet::read(fleet, &[]).unwrap();
        self.store.write(|tx| tx.save_model(&model, at(secs), "test", "apply")).unwrap();
    }

    /// A device writes a row, and the cloud has it at once.
    pub(crate) fn write(&self, device: &str, secs: u64, event: Event) {
        self.write_at(device, secs, secs, event);
    }

    /// A device writes a row, which comes at another time.
    pub(crate) fn write_at(&self, device: &str, secs: u64, received: u64, event: Event) {
        let device = name(device);
        let mut ends = self.ends.borrow_mut();
        self.store
            .write::<_, StoreError>(|tx| {
                if !ends.contains_key(&device) {
                    let number = u8::try_from(ends.len()).unwrap();
                    let log = LogId::new([number; 16]);
                    let begin = Begin {
                        log,
                        first: 1,
                        previous: chain::ORIGIN,
                        sealed_from: 1,
                        key: RatchetKey::new([number; 32]),
                    };
                    tx.begin_trail_log(&device, &begin, at(secs))?;
                    let number = tx.trail_log(&device, log)?.unwrap().number;
                    ends.insert(device.clone(), (number, End { seq: 0, link: chain::ORIGIN }));
                }
                let (log, end) = ends.get_mut(&device).unwrap();
                let row = Row { seq: end.seq + 1, at: at(secs), event };
                let (body, link) = chain::append(&end.link, &row).unwrap();
                *end = End { seq: row.seq, link };
                tx.add_trail_row(*log, &Taken { row, link }, &body, at(received))
            })
            .unwrap();
    }

    /// The newest policy of a device that was signed is this one.
    pub(crate) fn sign(&self, device: &str, version: u64) {
        let none = Digest::new([0; 32]);
        let held = Held { epoch: 1, version, digest: none };
        let term = SealedTerm { held, content: none, issued: at(0), expires: UnixTime::MAX };
        self.store.write(|tx| tx.save_snapshot(&name(device), &Sealed { term, bytes: Vec::new() })).unwrap();
    }

    /// The id of a user of the model.
    pub(crate) fn user(&self, user: &str) -> UserId {
        self.store.read(|tx| tx.person(&name(user))).unwrap().unwrap().id
    }

    /// A user is permitted into a service by way of an assignment, and leaves again.
    pub(crate) fn session(&self, device: &str, secs: u64, user: UserId, tunnel: u8) {
        self.write(device, secs, permitted(tunnel, user, "hmi"));
        self.write(device, secs + 1, closed(tunnel));
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

pub(crate) fn tunnel(number: u8) -> TunnelId {
    TunnelId::new([number; 8])
}

pub(crate) fn origin(assignment: &str, role: &str, group: Option<&str>) -> Origin {
    let label = |text: &str| text.parse::<Label>().unwrap();
    Origin::Assignment { assignment: label(assignment), role: label(role), group: group.map(label) }
}

fn peer() -> Peer {
    Peer { addr: "198.51.100.7:4000".parse().unwrap(), path: Path::Direct }
}

pub(crate) fn permitted(number: u8, user: UserId, service: &str) -> Event {
    Event::Permitted {
        tunnel: tunnel(number),
        user,
        service: name(service),
        kind: Kind::Vnc,
        target: None,
        mode: Mode::ViewOnly,
        origin: Some(origin("north", "service-technician", Some("night-shift"))),
        version: 1,
        peer: peer(),
        recorded: false,
    }
}

pub(crate) fn denied(user: Option<UserId>, service: &str, origin: Option<Origin>) -> Event {
    let (service, reason) = (Some(name(service)), Reason::NoGrant);
    Event::Denied { user, service, reason, fault: None, origin, peer: peer(), count: 1 }
}

pub(crate) fn closed(number: u8) -> Event {
    Event::Closed {
        tunnel: tunnel(number),
        code: 0,
        to_machine: 10,
        to_client: 20,
        seconds: 1,
        peer: peer(),
        gate: None,
    }
}

pub(crate) fn applied(version: u64) -> Event {
    Event::PolicyApplied { held: Held { epoch: 1, version, digest: Digest::new([0; 32]) }, cut: 0 }
}
