//! The command line of a hub that runs.

use std::net::SocketAddr;

/// The relay in a hub, where users and devices meet that cannot reach each other. It reads nothing of what it passes on.
#[derive(Debug, clap::Args)]
pub(crate) struct ServedRelay {
    /// Where the relay listens for UDP. Two ports after the hub's (7442) unless said otherwise.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) relay: Option<SocketAddr>,
    /// Where it listens for TLS over TCP, also for the hub itself. The hub's own port unless said otherwise.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_relay")]
    pub(crate) tls: Option<SocketAddr>,
    /// A relay that runs elsewhere with this hub's `relay.key`, for UDP and TLS on one port; before the hub's own.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) relay_at: Vec<SocketAddr>,
    /// Runs none here.
    #[arg(long, conflicts_with = "relay")]
    pub(crate) no_relay: bool,
}

/// An address that only this machine can reach.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, LoopbackFault> {
    let address: SocketAddr = text.parse()?;
    if address.ip().is_loopback() { Ok(address) } else { Err(LoopbackFault::Reachable) }
}

/// Why the API is not answered somewhere.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LoopbackFault {
    /// No address.
    #[error(transparent)]
    Address(#[from] std::net::AddrParseError),
    /// Others could read the tokens on the way.
    #[error(
        "others can reach this address, and tokens would pass without TLS; take one such as 127.0.0.1:7480 and put a proxy that \
         speaks TLS before it"
    )]
    Reachable,
}
