//! Client and agent: one QUIC connection, ALPN [`ALPN_TUNNEL_V1`](super::registry::ALPN_TUNNEL_V1).
//!
//! 1. The client opens a bidirectional stream for each [`Request`] and sends one frame.
//! 2. The first request is [`Request::Authenticate`]; until it succeeds, every other one is answered `bad_pass`.
//! 3. The agent answers with one [`Answer`] frame.
//! 4. After [`Answer::Accepted`] the stream carries the service's bytes both ways, each half closed by itself.
//!    After [`Request::OpenVpn`] it carries news instead, and each [`Request::Flow`] on a stream of its own is a flow.
//! 5. A tunnel that ends early is reset in both directions with a [`CloseCode`](super::registry::CloseCode). While a VNC
//!    viewer can still be told, only the client's direction is, and the agent's ends in order behind the words.
//!
//! A client names a service and the snapshot says where it is. Only a [flow](super::flow) of a VPN names an address, and the
//! snapshot says which ones it may name.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::flow::FlowTarget;
use super::registry::Failure;
use super::text::Text;
use crate::id::{DeviceId, TunnelId, UserId};
use crate::limits;
use crate::name::{Label, Name};
use crate::policy::{Kind, Mode, Reason};
use crate::time::UnixTime;
use crate::trust::Proof;

/// What a client asks, one frame of at most [`limits::FRAME_BYTES`] at the beginning of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Presents a pass and proves possession of its key on this connection.
    Authenticate {
        /// The pass, as the cloud sealed it.
        pass: Vec<u8>,
        /// Over this connection's exporter, the device and the pass.
        proof: Proof,
    },
    /// Lists the services that the caller may use.
    ListServices,
    /// Opens a tunnel to a service. Of a VPN service only to one that leads to one TCP place and no further: its stream is that flow.
    Open {
        /// The service's name on this device.
        service: Name,
        /// Whether to look only, whatever is granted.
        view_only: bool,
    },
    /// Opens a tunnel to a VPN service for its flows.
    OpenVpn {
        /// The service's name on this device.
        service: Name,
        /// Whether to look only, whatever is granted.
        view_only: bool,
    },
    /// Opens a flow in a VPN tunnel of this connection.
    Flow {
        /// The tunnel.
        tunnel: TunnelId,
        /// Where it shall go.
        to: FlowTarget,
    },
    /// Asks what is on the machine network, as far as a VPN tunnel of this connection reaches.
    Discover {
        /// The tunnel.
        tunnel: TunnelId,
        /// Whether the device asks each host; otherwise it tells what it knows and sends nothing.
        scan: bool,
    },
    /// Opens the way for packets in a VPN tunnel of this connection; one at a time.
    Packets {
        /// The tunnel.
        tunnel: TunnelId,
    },
}

/// What the agent answers, one frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The caller is known.
    Welcome {
        /// This device.
        device: DeviceId,
        /// The agent's version, for people.
        agent: Text,
        /// The first second in which the pass is worth nothing.
        until: UnixTime,
    },
    /// The services that the caller may use, ascending by name. Frames of this answer may have
    /// [`limits::LIST_FRAME_BYTES`].
    Services(Vec<ServiceEntry>),
    /// The tunnel is open; the service's bytes follow.
    Accepted {
        /// Names the tunnel in the audit.
        tunnel: TunnelId,
        /// What the service speaks.
        kind: Kind,
        /// What may be done at first. Deciding again may narrow or widen it without a word.
        mode: Mode,
        /// When the permit will be decided again.
        until: UnixTime,
        /// Where a browser begins, for an HTTP service.
        start: Option<Text>,
        /// Whether the tunnel is recorded; the user must be told.
        recorded: bool,
    },
    /// Policy says no.
    Denied(Reason),
    /// It could not be done.
    Failed(Failure),
    /// Policy says no, with the reason `concurrency`: somebody else has the place. Only who may use the service is told.
    Occupied {
        /// Who has it.
        holder: Holder,
        /// Whether a tunnel that only looks would open.
        may_look: bool,
    },
    /// The flow is open; its bytes or messages follow.
    Flow {
        /// The machine's address: the one asked for, or that of the name.
        ip: IpAddr,
    },
    /// What is found follows, in frames of [`DiscoveryNews`](super::discovery::DiscoveryNews).
    Discovery,
    /// The way for packets is open; they follow as messages.
    Packets {
        /// The address that every packet of the client comes from.
        ip: Ipv4Addr,
        /// Bytes of the largest packet.
        mtu: u16,
    },
}

/// Who uses a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user, by the id that the fleet knows.
    pub user: UserId,
    /// The role by which they do, where a role grants it.
    pub role: Option<Label>,
    /// Since when.
    pub since: UnixTime,
}

/// One service in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Its name.
    pub name: Name,
    /// What it speaks.
    pub kind: Kind,
    /// What could be done, when it would open now.
    pub mode: Option<Mode>,
    /// None when it would open now; otherwise what stands in the way, of the things that the caller or time can lift.
    pub blocked: Option<Reason>,
    /// Until when the permit would hold.
    pub until: Option<UnixTime>,
    /// Whether the tunnel would be recorded.
    pub recorded: bool,
}

/// Bytes of the largest frame of an [`Answer`].
pub const ANSWER_BYTES: usize = limits::LIST_FRAME_BYTES;
