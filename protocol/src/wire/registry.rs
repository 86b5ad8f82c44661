//! Every number of the wire in one place: protocol names, stream codes and failures.
//!
//! A stream that is reset and a connection that is closed carry one number ([`CloseCode`]):
//!
//! | range | meaning |
//! | --- | --- |
//! | 0 | finished, nothing wrong |
//! | 1 to 99 | a [`Reason`] of policy |
//! | 100 to 199 | a [`Failure`]: permitted, but it could not be done |
//! | 200 to 255 | a [`ProtocolFault`]: the other side broke a rule of the wire |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::Reason;

/// Version 1 of the protocol between client and agent, as ALPN (RFC 7301) name.
pub const ALPN_TUNNEL_V1: &[u8] = b"postern-tunnel/1";
/// Version 1 of the protocol between a hub and its agents and clients, as ALPN name.
pub const ALPN_HUB_V1: &[u8] = b"postern-hub/1";
/// Version 2 of it: the hub may say [`Return`](crate::wire::control::Return).
pub const ALPN_HUB_V2: &[u8] = b"postern-hub/2";

/// Protocol versions that this build speaks towards clients and agents, newest first. TLS picks the first that
/// both ends know and authenticates the choice, so nobody on the way can force an older one.
pub const ALPNS_TUNNEL: &[&[u8]] = &[ALPN_TUNNEL_V1];
/// Protocol versions that this build speaks with a hub, newest first.
pub const ALPNS_HUB: &[&[u8]] = &[ALPN_HUB_V2, ALPN_HUB_V1];

macro_rules! numbers {
    ($(#[$type_doc:meta])* $type:ident { $( $(#[$doc:meta])* $name:ident = $number:literal, $word:literal, $sentence:literal, $next:literal; )+ }) => {
        $(#[$type_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u8", into = "u8")]
        #[repr(u8)]
        pub enum $type {
            $( $(#[$doc])* $name = $number, )+
        }

        impl $type {
            /// Every value, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$( Self::$name, )+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $( Self::$name => $number, )+ }
            }

            /// The word in logs and JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )+ }
            }

            /// What happened, as a fragment for people.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $( Self::$name => $sentence, )+ }
            }

            /// What to do next, as a fragment for people.
            #[must_use]
            pub const fn next_step(self) -> &'static str {
                match self { $( Self::$name => $next, )+ }
            }
        }

        impl TryFrom<u8> for $type {
            type Error = UnknownNumber;

            fn try_from(number: u8) -> Result<Self, UnknownNumber> {
                match number { $( $number => Ok(Self::$name), )+ other => Err(UnknownNumber { number: other }) }
            }
        }

        impl From<$type> for u8 {
            fn from(value: $type) -> Self {
                value.number()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

/// A number that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("number {number} is unknown")]
pub struct UnknownNumber {
    /// The number seen.
    pub number: u8,
}

numbers! {
    /// Permitted or not, it could not be done.
    Failure {
        /// Nothing answers at the service's address.
        Unreachable = 100, "unreachable", "the machine does not answer", "check that it is switched on and cabled";
        /// The machine refused the connection.
        Refused = 101, "refused", "the machine refused the connection", "check that the service runs on the machine";
        /// The address lies outside the networks that the device may dial.
        Forbidden = 102, "forbidden_target", "the device may not dial the service's address", "ask your administrator to correct the service's address or the device's machine network";
        /// A bound of the device is reached; it refuses instead of queueing.
        Busy = 103, "busy", "the device is at its capacity", "close tunnels that you do not need or try again later";
        /// The decision could not be recorded, so nothing was permitted.
        Unrecorded = 104, "unrecorded", "the device cannot record the decision", "ask the operator to look at the device's disk";
        /// This version carries no tunnels of this kind.
        Unsupported = 105, "unsupported", "this version of the agent does not carry this kind of service", "ask for an update of the agent";
        /// No byte passed for as long as the service allows.
        Idle = 106, "idle", "the tunnel was idle for too long", "open it again";
        /// The tunnel was open for as long as the service allows.
        Duration = 107, "duration", "the tunnel reached its longest duration", "open it again";
        /// The agent or hub is shutting down.
        Shutdown = 108, "shutdown", "the other side is shutting down", "try again in a minute";
        /// The connection to the machine broke.
        Broken = 109, "broken", "the machine broke the connection", "open it again";
        /// An operator ended the tunnel at the device.
        Ended = 110, "ended", "the operator ended the tunnel", "ask the operator before you open it again";
        /// An error inside the agent or hub.
        Internal = 111, "internal", "an internal error", "report it with the log of the device";
        /// A secret that the machine asks for is not on the device, or does not open there.
        Secret = 112, "secret", "the machine's password is not stored on the device", "set it at the device with `postern-agent secret set`";
        /// The machine did not let the device in, or speaks no protocol that the gate knows.
        Login = 113, "login", "the device could not log in to the machine", "check the machine's password on the device and what the machine speaks";
        /// What the client's program said is nothing that the gate lets through.
        NotUnderstood = 114, "not_understood", "the program on your side sent what the gate does not let through", "use another program or turn off its extensions";
        /// The machine proved another key than those that are pinned for it.
        MachineKey = 115, "machine_key", "the machine proved another key than the one that is pinned for it", "ask whether the machine or its certificate was exchanged, and have the new key pinned if so";
        /// The machine speaks no TLS that the device speaks.
        MachineTls = 116, "machine_tls", "the machine speaks no TLS that the device can speak", "check that the service points at its TLS port, and what versions it speaks";
        /// The access demands a recording, which the device cannot write, or not of this kind of service.
        Recording = 117, "recording", "this access is recorded, and the device cannot record it", "ask the operator to export and remove old recordings at the device";
        /// The access demands a recording from now on, and the tunnel was opened without.
        Recorded = 118, "recorded", "this access is recorded from now on", "connect again: the new session is recorded";
        /// The machine did not answer in time; said of flows, which tell this from [`Failure::Unreachable`].
        Timeout = 119, "timeout", "the machine did not answer in time", "check that it is switched on and cabled";
        /// The device found no address for the name.
        Unresolved = 120, "unresolved", "the device knows no machine of that name", "use its address";
        /// Nobody has given the device an interface for packets.
        NoPackets = 121, "no_packets", "this device carries no packets", "connect without `--packets`, or have the packet VPN switched on at the device";
    }
}

numbers! {
    /// Why a gate drops a packet of a packet VPN.
    PacketFault {
        /// It is shorter than it says, or longer.
        Length = 1, "length", "its lengths disagree", "use another program";
        /// It is no IPv4 packet.
        Version = 2, "version", "only IPv4 is carried", "use the machine's IPv4 address";
        /// It has IP options.
        Options = 3, "options", "IP options are not carried", "use another program";
        /// It is a piece of a packet, and pieces have no ports.
        Fragment = 4, "fragment", "pieces of packets are not carried", "send smaller datagrams, or connect without `--packets`";
        /// Neither TCP nor UDP nor ICMP.
        Protocol = 5, "protocol", "only TCP, UDP and ICMP echoes are carried", "use another program";
        /// Flags that no TCP connection has.
        Flags = 6, "flags", "no TCP connection has such flags", "use another program";
        /// An ICMP message that is neither an echo nor an error.
        Kind = 7, "kind", "only echoes and errors of ICMP are carried", "use another program";
        /// Its sender is not the client.
        Source = 8, "source", "its sender is another one", "use the address of the adapter";
        /// Nobody has that address or port alone.
        Address = 9, "address", "its address or port is none of one machine", "use the machine's address";
        /// No destination of the permit contains it.
        NotGranted = 10, "not_granted", "this address is not granted", "ask your administrator for a destination that contains it";
        /// The tunnel only looks.
        Looking = 11, "looking", "you may look but not touch", "connect without `--view-only`, or ask for the right to touch";
        /// The gate must read what is said there, which it cannot in packets.
        Read = 12, "read", "the device reads what is said there, and cannot read packets", "connect without `--packets`";
        /// The device does not dial it, whatever the policy says.
        Forbidden = 13, "forbidden", "the device may not reach it", "ask your administrator to correct the destination or the device's machine network";
        /// Too many flows, or too many in a second.
        Busy = 14, "busy", "too many flows", "close what you do not need; a scan is slowed down by this";
        /// It belongs to no open flow and begins none.
        Stray = 15, "stray", "it belongs to no connection", "connect again";
        /// Its flow waits for its row in the trail.
        Waiting = 16, "waiting", "its flow is being recorded", "try again in a second";
        /// The decision could not be recorded.
        Unrecorded = 17, "unrecorded", "the device cannot record the decision", "ask the operator to look at the device's disk";
        /// It is larger than what is carried.
        Oversize = 18, "oversize", "it is too large", "use the adapter's MTU";
        /// A machine began it.
        Uninvited = 19, "uninvited", "a machine began it", "nothing: machines begin nothing";
        /// It came faster than it could go on.
        Queue = 20, "queue", "it came too fast", "nothing: its sender sends it again";
    }
}

numbers! {
    /// The other side broke a rule of the wire; the connection or stream ends.
    ProtocolFault {
        /// A frame larger than allowed.
        Oversize = 200, "oversize", "a message was too large", "use a matching version";
        /// Bytes that are not a message.
        Malformed = 201, "malformed", "a message was malformed", "use a matching version";
        /// A message that may not come now.
        Unexpected = 202, "unexpected", "a message came out of turn", "use a matching version";
        /// Too slow.
        TimedOut = 203, "timed_out", "a message took too long", "check the network";
        /// The agent was replaced by a newer connection of the same device.
        Superseded = 204, "superseded", "another connection of the same device took over", "check that no second agent runs with this key";
        /// The device or user is not known here.
        Unknown = 205, "unknown_peer", "the hub does not know this key", "enrol the device or accept your invitation";
    }
}

/// Why a stream was reset or a connection closed: one number space for reasons, failures and faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// Finished, nothing wrong.
    Done,
    /// Policy says no, or no more.
    Denied(Reason),
    /// It could not be done.
    Failed(Failure),
    /// The other side broke a rule.
    Fault(ProtocolFault),
    /// A number of a later version.
    Unknown(u32),
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Denied(reason) => reason.number() as u32,
            Self::Failed(failure) => failure.number() as u32,
            Self::Fault(fault) => fault.number() as u32,
            Self::Unknown(number) => number,
        }
    }

    /// The meaning of a number.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let Ok(byte) = u8::try_from(number) else { return Self::Unknown(number) };
        if byte == 0 {
            return Self::Done;
        }
        Reason::try_from(byte)
            .map(Self::Denied)
            .or_else(|_| Failure::try_from(byte).map(Self::Failed))
            .or_else(|_| ProtocolFault::try_from(byte).map(Self::Fault))
            .unwrap_or(Self::Unknown(number))
    }

    /// The word in logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied(reason) => reason.word(),
            Self::Failed(failure) => failure.word(),
            Self::Fault(fault) => fault.word(),
            Self::Unknown(_) => "unknown",
        }
    }

    /// What happened, as a fragment for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Done => "finished",
            Self::Denied(reason) => reason.sentence(),
            Self::Failed(failure) => failure.sentence(),
            Self::Fault(fault) => fault.sentence(),
            Self::Unknown(_) => "the other side gave a reason that this version does not know",
        }
    }

    /// What to do next, as a fragment for people.
    #[must_use]
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Done => "nothing",
            Self::Denied(reason) => reason.next_step(),
            Self::Failed(failure) => failure.next_step(),
            Self::Fault(fault) => fault.next_step(),
            Self::Unknown(_) => "update this program",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_meaning() {
        for number in 0..=300 {
            assert_eq!(CloseCode::from_number(number).number(), number);
        }
        for failure in Failure::ALL {
            assert_eq!(CloseCode::from_number(failure.number().into()), CloseCode::Failed(*failure));
        }
        for fault in ProtocolFault::ALL {
            assert_eq!(CloseCode::from_number(fault.number().into()), CloseCode::Fault(*fault));
        }
        for reason in Reason::ALL {
            assert_eq!(CloseCode::from_number(reason.number().into()), CloseCode::Denied(*reason));
        }
    }
}
