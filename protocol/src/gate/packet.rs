//! The filter of the packet VPN: what of a client's packets a permit lets through, and which packets of machines belong to it. Pure.
//!
//! 1. [`read()`] takes a packet apart, strictly: IPv4 without options and whole, TCP, UDP and ICMP echoes. Anything else is dropped.
//! 2. [`Filter::handle_outbound`] compares it with the flows that are open. One that begins a flow is decided like a flow of any VPN: the
//!    caller makes a [`FlowPermit`](crate::policy::FlowPermit) of it, which the flow holds from then on.
//! 3. [`Filter::handle_inbound`] lets through what answers an open flow, and errors about one. Machines begin nothing.
//! 4. [`Filter::handle_permit`] asks for each flow again when the tunnel was decided again; what is refused is over at once.
//! 5. [`change`] adjusts what must be adjusted on the way: the largest segment of a connection, and addresses.
//!
//! Time is the caller's, in milliseconds of a clock that only goes forward. Everything is bounded: flows by [`PACKET_FLOWS`](crate::limits::PACKET_FLOWS), answers to what is
//! refused by a pace. Deliberately absent: IPv6, fragments and IP options, which are dropped; hop limits, which the device's kernel counts
//! down and answers like any router, because it forwards what passes; checksums, which receivers check.

mod answer;
pub mod change;
mod filter;
mod read;
mod table;

pub use self::filter::{Filter, Outcome, Passage};
pub use self::read::{Content, Packet, Quoted, Segment, read};
pub use self::table::{Key, Over};

/// Largest packet that is carried, and the MTU of the interfaces at both ends: what fits everywhere.
pub const MTU: u16 = 1280;
