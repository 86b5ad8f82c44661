//! Trails that the cloud has, as devices would have sent them.

use std::collections::BTreeMap;

use postern_cloud::store::{Store, StoreError};
use postern_protocol::audit::{Begin, End, Event, LogId, RatchetKey, Row, Taken, chain};
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{Kind, Mode, Origin, Reason};
use postern_protocol::time::UnixTime;

use crate::peers::name;

/// Writes rows of devices into a store.
pub(crate) struct Trails<'a> {
    store: &'a Store,
    ends: BTreeMap<String, (i64, End)>,
}

impl<'a> Trails<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store, ends: BTreeMap::new() }
    }

    pub(crate) fn write(&mut self, device: &str, at: UnixTime, event: Event) {
        let number = u8::try_from(self.ends.len()).unwrap();
        let log = LogId::new([number; 16]);
        let ends = &mut self.ends;
        self.store
            .write::<_, StoreError>(|tx| {
                if !ends.contains_key(device) {
                    let key = RatchetKey::new([number; 32]);
                    let begin = Begin { log, first: 1, previous: chain::ORIGIN, sealed_from: 1, key };
                    tx.begin_trail_log(&name(device), &begin, at)?;
                    let log = tx.trail_log(&name(device), log)?.unwrap().number;
                    ends.insert(device.to_owned(), (log, End { seq: 0, link: chain::ORIGIN }));
                }
                let (log, end) = ends.get_mut(device).unwrap();
                let row = Row { seq: end.seq + 1, at, event };
                let (body, link) = chain::append(&end.link, &row).unwrap();
                *end = End { seq: row.seq, link };
                tx.add_trail_row(*log, &Taken { row, link }, &body, at)
            })
            .unwrap();
    }

    /// A whole session of ten seconds.
    pub(crate) fn session(&mut self, device: &str, at: UnixTime, user: UserId, number: u8) {
        self.write(device, at, permitted(number, user));
        self.write(device, at.saturating_add(10), closed(number));
    }
}

pub(crate) fn permitted(number: u8, user: UserId) -> Event {
    let label = |text: &str| text.parse().unwrap();
    let origin = Origin::Assignment { assignment: label("all-down"), role: label("seer"), group: None };
    Event::Permitted {
        tunnel: TunnelId::new([number; 8]),
        user,
        service: name("hmi"),
        kind: Kind::Vnc,
        target: None,
        mode: Mode::ViewOnly,
        origin: Some(origin),
        version: 1,
        peer: peer(),
        recorded: false,
    }
}

pub(crate) fn closed(number: u8) -> Event {
    let (tunnel, code, gate) = (TunnelId::new([number; 8]), 0, None);
    Event::Closed { tunnel, code, to_machine: 5, to_client: 70, seconds: 10, peer: peer(), gate }
}

pub(crate) fn denied(user: UserId) -> Event {
    let (user, service, reason) = (Some(user), Some(name("hmi")), Reason::NoGrant);
    Event::Denied { user, service, reason, fault: None, origin: None, peer: peer(), count: 1 }
}

fn peer() -> Peer {
    Peer { addr: "198.51.100.7:4000".parse().unwrap(), path: Path::Direct }
}
