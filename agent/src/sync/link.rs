//! One link to the hub, from hello to its end.

use std::net::SocketAddr;
use std::time::Duration;

use postern_protocol::limits;
use postern_protocol::policy::Floor;
use postern_protocol::session::agent::{AgentSync, Event};
use postern_protocol::wire::control::{Held, Hello, HubMessage};
use postern_protocol::wire::hub::HubRequest;
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_protocol::wire::text::Text;
use postern_transport::backoff::Backoff;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{BindError, ConnectError, ConnectionEnd, RecvStream, SendStream, StreamFault};

use super::Uplink;
use super::dial::{Dialled, dial, source_towards};

/// Why there is no link, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No hub is known.
    #[error("no address of a hub is known")]
    NoHub,
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The hub cannot be reached, or it is not the hub.
    #[error("hub `{hub}`: {error}")]
    Connect {
        /// Its address.
        hub: SocketAddr,
        /// Why.
        error: ConnectError,
    },
    /// The hub closed the link and said why.
    #[error("the hub closed the link: {}; {}", code.sentence(), code.next_step())]
    Closed {
        /// Its code.
        code: CloseCode,
    },
    /// A message did not come or go.
    #[error(transparent)]
    Frame(FrameFault),
    /// The hub broke a rule of the wire.
    #[error("the hub broke the protocol: {}", .0.sentence())]
    Protocol(ProtocolFault),
}

impl From<FrameFault> for LinkError {
    fn from(fault: FrameFault) -> Self {
        match fault {
            FrameFault::Stream(StreamFault::ConnectionLost(ConnectionEnd::ClosedByPeer { code, .. }))
            | FrameFault::Stream(StreamFault::Reset(code) | StreamFault::Stopped(code)) => {
                Self::Closed { code: CloseCode::from_number(code) }
            }
            other @ (FrameFault::Ended
            | FrameFault::TooLarge { .. }
            | FrameFault::TimedOut { .. }
            | FrameFault::Truncated { .. }
            | FrameFault::Codec(_)
            | FrameFault::Stream(_)) => Self::Frame(other),
        }
    }
}

/// Makes one link and keeps it for as long as it lasts; returns why it ended.
pub(super) async fn once(uplink: &mut Uplink, backoff: &mut Backoff) -> LinkError {
    let dialled = match dial(&uplink.key, uplink.hub_key, &uplink.hubs).await {
        Ok(dialled) => dialled,
        Err(error) => return error,
    };
    let error = match converse(uplink, &dialled, backoff).await {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let code = match &error {
        LinkError::Protocol(fault) => CloseCode::Fault(*fault),
        LinkError::NoHub
        | LinkError::Bind(_)
        | LinkError::Connect { .. }
        | LinkError::Closed { .. }
        | LinkError::Frame(_) => CloseCode::Done,
    };
    dialled.connection.close(code.number(), b"");
    dialled.endpoint.wait_idle().await;
    error
}

async fn converse(
    uplink: &mut Uplink,
    dialled: &Dialled,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, LinkError> {
    let (mut send, mut recv) = dialled.connection.open_bi().await.map_err(lost)?;
    let hello = HubRequest::Sync(hello(uplink, dialled.hub));
    write_frame(&mut send, &hello, limits::FRAME_BYTES).await?;
    let mut sync = AgentSync::new();
    // Goes out behind the answer to the first message, so it delays no policy.
    sync.handle_sealing_key(uplink.sealing);
    let mut answered = false;
    loop {
        let message = next(&mut recv).await?;
        if !answered {
            // Only a hub that knows this device gets this far.
            answered = true;
            backoff.reset();
            uplink.status.up(dialled.hub);
            tracing::info!(hub = %dialled.hub, "the link to the hub is up");
        }
        match sync.handle_message(message).map_err(LinkError::Protocol)? {
            Some(Event::Offered { held, bytes }) => {
                let outcome = uplink.activator.activate(held, bytes).await;
                sync.handle_outcome(outcome);
            }
            Some(Event::UpToDate | Event::Timestamp { .. }) | None => {}
        }
        transmit(&mut sync, &mut send).await?;
    }
}

async fn next(recv: &mut RecvStream) -> Result<HubMessage, LinkError> {
    // A silent hub is nothing wrong: the connection's own pings notice when it is gone.
    Ok(read_frame(recv, limits::SYNC_FRAME_BYTES, SILENCE).await?)
}

async fn transmit(sync: &mut AgentSync, send: &mut SendStream) -> Result<(), LinkError> {
    while let Some(answer) = sync.poll_transmit() {
        write_frame(send, &answer, limits::SYNC_FRAME_BYTES).await?;
    }
    Ok(())
}

fn hello(uplink: &Uplink, hub: SocketAddr) -> Hello {
    let activator = &uplink.activator;
    Hello {
        root_version: activator.root_version(),
        held: activator.floor().map(held),
        active: activator.is_active(),
        agent: Text::clean(env!("CARGO_PKG_VERSION")),
        boots: uplink.boots,
        addresses: addresses(uplink, hub),
        freshness: None,
    }
}

fn addresses(uplink: &Uplink, hub: SocketAddr) -> Vec<SocketAddr> {
    if !uplink.addresses.is_empty() {
        return uplink.addresses.clone();
    }
    source_towards(hub).map(|ip| SocketAddr::new(ip, uplink.port)).into_iter().collect()
}

/// A floor as the wire names it.
pub(super) const fn held(floor: Floor) -> Held {
    Held { epoch: floor.epoch, version: floor.version, digest: floor.digest }
}

fn lost(end: ConnectionEnd) -> LinkError {
    FrameFault::Stream(StreamFault::ConnectionLost(end)).into()
}

const SILENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
