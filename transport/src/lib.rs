//! Sockets and TLS of Postern: how two parties reach each other and prove their keys, without any policy.
//!
//! 1. [`quic::Endpoint`] binds a UDP socket with one ed25519 key.
//! 2. It dials a peer whose key is known in advance, or admits peers and reports the key that each has proved.
//! 3. [`quic::Connection`] carries streams of bytes; [`framed`] carries single messages over them, [`question`] one to a hub and its answer.
//! 4. [`frames`] carries QUIC packets where UDP does not pass.
//! 5. [`ladder`] leads to hubs and relays over whatever passes, [`proxy`] through what stands before the internet.
//! 6. [`splice`] copies between a local socket and a stream, both ways.
//! 7. [`backoff`] says how long to wait before the next attempt.
//! 8. [`crowd`] has one of those who hold places in silence give way.
//! 9. [`diagnosis`] finds what stands in the way.
//! 10. [`MachineStream`] is TLS over TCP to a machine behind the gate, which is no peer of Postern: its key is pinned.
//! 11. [`OuterStream`] is TLS around frames, for firewalls that let nothing else pass.
//!
//! Deliberately absent: who may connect and what they may do (the callers decide that from the proved key),
//! reconnecting (the callers own the loop), session resumption and 0-RTT, and, between peers, X.509 and TLS 1.2.

pub mod backoff;
pub mod crowd;
pub mod diagnosis;
pub mod framed;
pub mod frames;
pub mod ladder;
pub mod proxy;
pub mod question;
pub mod quic;
pub mod splice;
mod tls;

pub use tls::{MachineStream, MachineTlsFault, OuterAcceptor, OuterFault, OuterStream, TlsFault, server_tls};
