//! Meetings: tells a user and a device where they find each other when neither can dial the other.
//!
//! 1. The user is whoever has the key of the connection; the device is one of those that a listing shows them.
//! 2. Both get a leg of one meeting, valid for a day, and the same relays. The device is told over its link.
//! 3. How often a user may ask is bounded: each meeting has a router open a leg.
//!
//! A meeting is no access: the device asks for key and pass as always.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, PublicKey};
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use postern_protocol::wire::relay::{End, Meeting, MeetingId, Place, RelayKey, Ticket};

use super::fellows::Guest;
use super::{Failed, Hub};
use crate::buckets::{Buckets, Size};
use crate::chance;
use crate::visibility::visible_devices;

/// The relays of this hub.
#[derive(Debug)]
pub struct Relays {
    /// What it shares with them.
    pub key: RelayKey,
    /// Where they are, best first.
    pub places: Vec<Place>,
    /// The address of this hub for whoever has reached another one; none where only people who are here know it.
    pub address: Option<IpAddr>,
}

impl Relays {
    /// Where they are for somebody who has reached another hub.
    pub(crate) fn for_afar(&self) -> Vec<Place> {
        let explicit = |place: &Place| Some(Place { ip: Some(place.ip.or(self.address)?), ..*place });
        self.places.iter().filter_map(explicit).collect()
    }
}

/// How often users have asked for something.
#[derive(Debug)]
pub(super) struct Asked {
    began: Instant,
    users: Mutex<Buckets<[u8; 32]>>,
}

impl Asked {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), users: Mutex::default() }
    }

    pub(super) fn admit(&self, key: &PublicKey, each: Size) -> bool {
        let at = self.began.elapsed();
        self.users.lock().unwrap_or_else(PoisonError::into_inner).take(key.as_bytes(), at, each)
    }
}

impl Hub {
    /// Has users and devices meet at these relays from now on; the first call counts.
    pub fn offer(&self, relays: Relays) {
        let _first = self.relays.set(relays);
    }

    /// Where relays are for somebody who has reached another hub.
    pub(crate) fn relays_for_afar(&self) -> Vec<Place> {
        self.relays.get().map(Relays::for_afar).unwrap_or_default()
    }

    /// What is shown where this hub is reached over TLS: there its own relay is.
    pub(super) fn certificate(&self) -> Option<Digest> {
        let own = self.relays.get()?.places.iter().find(|place| place.ip.is_none())?;
        own.tls.and(own.certificate)
    }

    pub(super) fn meet(&self, guest: &Guest, device: DeviceId, now: UnixTime) -> Result<HubAnswer, Failed> {
        let key = &guest.key;
        let name = self.store.read(|tx| {
            let person =
                tx.person_of_key(key)?.filter(|person| !person.disabled).ok_or(Refusal::UnknownKey)?;
            let model = tx.model()?;
            for name in visible_devices(&model, &person.name, now) {
                if tx.device(&name)?.is_some_and(|state| state.id == device) {
                    return Ok(name);
                }
            }
            Err(Failed::from(Refusal::NoMeeting))
        })?;
        if !self.asked.admit(key, EACH) {
            return Err(Refusal::TooMany.into());
        }
        let relays = self.relays.get().ok_or(Refusal::NoMeeting)?;
        let (meeting, until) = (MeetingId(chance::bytes()), now.saturating_add(VALID_S));
        let end = |end, relays_at: &[Place]| Meeting {
            leg: relays.key.leg(Ticket { meeting, end, until }),
            relays: relays_at.to_vec(),
        };
        let mut at = Vec::new();
        let called = self.call(&name, |near_device| {
            // Both are told the same. What is at the address of "the hub" is so for those who have reached the same one.
            let apart = guest.is_afar || !near_device.is_empty();
            let own = if apart { relays.for_afar() } else { relays.places.clone() };
            at = near_device.into_iter().chain(own).take(limits::ADDRESSES).collect();
            end(End::Agent, &at)
        });
        if called && !at.is_empty() {
            Ok(HubAnswer::Meeting(end(End::Client, &at)))
        } else {
            Err(Refusal::NoMeeting.into())
        }
    }
}

/// A leg may be bound with its ticket for this long: a connection that lasts longer asks for another meeting.
const VALID_S: u64 = 24 * 3600;
/// Meetings of one user.
const EACH: Size = Size { attempts: 30, period: std::time::Duration::from_secs(60) };
