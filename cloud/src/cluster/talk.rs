//! What hubs say to each other.
//!
//! Edges [`Ask`] and are given an [`Answer`] over plain messages; they send [`Parcel`]s of what devices said over the stream, or hand them over
//! themselves ([`Taken`]) while it stands still, and are [`Told`] what came of it. Entries are [`Pushed`] to them. [`Forwarded`] goes before a user's request over QUIC.

use std::net::{IpAddr, SocketAddr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::control::Hello;
use postern_protocol::wire::relay::{Meeting, Place};

use crate::chance;
use crate::hub::{Recorded, Report, Whence};

/// One run of a hub: made anew with each start, so that nothing that was said to an earlier one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct HubId([u8; 16]);

impl HubId {
    /// Another one each time.
    pub(crate) fn new() -> Self {
        Self(chance::bytes())
    }

    /// Its bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Display for HubId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// An edge asks whether it knows all, and shows that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Who asks.
    pub(crate) hub: HubId,
    /// Whom it takes for the primary.
    pub(crate) primary: Option<HubId>,
    /// Counts its questions.
    pub(crate) seq: u64,
    /// Says which answer belongs to it.
    pub(crate) nonce: [u8; 16],
    /// The tally of what it has.
    pub(crate) tally: [u8; 32],
    /// Where its relay is.
    pub(crate) places: Vec<Place>,
}

/// What the primary answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Who answers.
    pub(crate) primary: HubId,
    /// What was asked.
    pub(crate) nonce: [u8; 16],
    /// The tally of all that is published.
    pub(crate) tally: [u8; 32],
    /// Up to which of the edge's parcels all are recorded.
    pub(crate) taken: u64,
}

/// What the primary answers where it was handed a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Whose.
    pub(crate) hub: HubId,
    /// Up to which of its parcels all are recorded.
    pub(crate) seq: u64,
}

/// An entry, as the primary has just put it into the bucket or would like to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    /// Who pushes.
    pub(crate) primary: HubId,
    /// Counts what it pushes, from 1 on.
    pub(crate) seq: u64,
    /// The key in the bucket.
    pub(crate) key: String,
    /// The entry, sealed for that.
    pub(crate) sealed: Vec<u8>,
}

/// What devices said to an edge, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parcel {
    /// Which edge.
    pub(crate) hub: HubId,
    /// Counts its parcels from 1 on.
    pub(crate) seq: u64,
    /// What was said.
    pub(crate) said: Vec<Said>,
}

/// What one device said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Over whose link.
    pub(crate) whence: Whence,
    /// When, by the edge's time.
    pub(crate) at: UnixTime,
    /// What.
    pub(crate) what: What,
}

/// What a device said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// It has linked, and said what it holds.
    Linked {
        /// Its own words.
        hello: Hello,
        /// From where.
        from: IpAddr,
    },
    /// Something that links report.
    Learned(Report),
}

/// Something that the primary says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Who says it.
    pub(crate) primary: HubId,
    /// Counts what it says in this place, from 1 on.
    pub(crate) seq: u64,
    /// What it says.
    pub(crate) tell: Tell,
}

/// What edges are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tell {
    /// What came of something that a device reported.
    Outcome {
        /// The device.
        device: Name,
        /// What came of it.
        outcome: Recorded,
    },
    /// Somebody waits for a device.
    Meeting {
        /// The device.
        device: Name,
        /// Where.
        meeting: Meeting,
    },
    /// A device has linked; whoever else has a link of it has an old one.
    Linked {
        /// The device.
        device: Name,
        /// With which hub.
        hub: HubId,
    },
}

/// Goes before a request that a user made of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwarded {
    /// The key of the user's connection.
    pub(crate) key: PublicKey,
    /// From where the user came.
    pub(crate) from: SocketAddr,
}

/// For a parcel: as much as a message over NATS may be, with room for what goes around it.
pub(crate) const PARCEL_BYTES: usize = 900 * 1024;
/// For everything else.
pub(crate) const WORD_BYTES: usize = 64 * 1024;
