//! QUIC connections between two ed25519 keys: the only files of the project that know quinn.
//!
//! 1. [`Endpoint::bind`] opens a UDP socket with the own key, as a client or also as a server.
//! 2. [`Endpoint::connect`] dials a peer and fails unless it proves the expected key.
//! 3. [`Endpoint::accept`] yields admitted attempts; [`Incoming::handshake`] finishes one within a deadline.
//! 4. [`Connection`] opens and accepts streams, names the peer's proved key and derives channel-bound secrets.
//! 5. [`SendStream`] and [`RecvStream`] move bytes, by reference-counted chunk where no copy is wanted.
//! 6. [`Way`]s lead to a peer straight, through a relay or over TLS, and its connections move between them.
//! 7. A [`BatchSocket`] passes packets on that are no matter of this machine.
//! 8. An endpoint that was killed and is there again ends what it has left ([`ResetSecret`]).
//! 9. Whatever ends a connection or a stream is one of the named cases of [`ConnectionEnd`] and [`StreamFault`].
//!
//! No type of quinn appears in a public signature, so that a fork with multipath is a change to this module alone.
//! Deliberately absent: unidirectional streams (nothing uses them; they are switched off on the wire, and so are datagrams
//! except in sessions), 0-RTT and resumption, and any opinion about who the peer is.

mod arrivals;
mod batch;
mod climb;
mod congestion;
mod connection;
mod end;
mod endpoint;
mod incoming;
mod plain;
mod resets;
mod settings;
mod socket;
mod stream;
mod way;

pub use self::batch::{Batch, BatchSocket, Mark, Message};
pub use self::climb::{Descend, First, Goal, NoOther};
pub use self::connection::Connection;
pub use self::end::{ConnectionEnd, Side, StreamFault};
pub use self::endpoint::{BindError, ConnectError, Endpoint, Role};
pub use self::incoming::{HandshakeFault, Incoming};
pub use self::resets::ResetSecret;
pub use self::settings::{Admission, Pacing, Rate, Settings};
pub use self::socket::Visit;
pub use self::stream::{RecvStream, SendStream};
pub use self::way::Way;
