//! The ladder to a hub: UDP, and TLS over TCP where UDP does not pass.
//!
//! 1. UDP is tried at once; TLS at the same address 300 ms later, or as soon as UDP is refused. The first that leads to the hub's key wins.
//! 2. Over TLS a notice says that packets for the hub itself follow; then it is QUIC as always, with the same keys and checks.
//! 3. A connection that was made over TLS moves to UDP when that passes, and back ([`Endpoint::climb`]).

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use postern_protocol::wire::relay::{self, Notice};

use crate::OuterStream;
use crate::quic::{ConnectError, Connection, Endpoint, Goal, Way};

/// A connection to a hub.
#[derive(Debug)]
pub struct Climbed {
    /// The connection.
    pub connection: Connection,
    /// Looks for UDP, where it was made over TLS; dropped with the connection.
    pub climb: Option<JoinSet<()>>,
}

/// Connects to the hub at the first of `goal`'s addresses.
///
/// # Errors
/// Why UDP does not lead there, unless TLS leads to somebody else.
pub async fn to_hub(endpoint: &Endpoint, goal: Goal) -> Result<Climbed, ConnectError> {
    let Some(addr) = goal.addresses.first().copied() else { return Err(ConnectError::EndpointClosed) };
    let mut straight = pin!(endpoint.connect(addr, goal.expected, goal.alpns, &goal.settings));
    let refused = match tokio::time::timeout(HEAD_START, &mut straight).await {
        Ok(Ok(connection)) => return Ok(Climbed { connection, climb: None }),
        Ok(Err(error @ ConnectError::UnexpectedKey { .. })) => return Err(error),
        Ok(Err(error)) => Some(error),
        Err(_elapsed) => None,
    };
    let mut over_tls = pin!(over_tls(endpoint, addr, &goal));
    let (mut refused, mut is_shut) = (refused, false);
    loop {
        tokio::select! {
            connected = &mut straight, if refused.is_none() => match connected {
                Ok(connection) => return Ok(Climbed { connection, climb: None }),
                Err(error) => refused = Some(error),
            },
            connected = &mut over_tls, if !is_shut => match connected {
                Some(Ok((connection, way))) => {
                    let mut climb = JoinSet::new();
                    climb.spawn(endpoint.clone().climb(connection.clone(), way, goal.clone()));
                    return Ok(Climbed { connection, climb: Some(climb) });
                }
                Some(Err(error @ ConnectError::UnexpectedKey { .. })) => return Err(error),
                Some(Err(_)) | None => is_shut = true,
            },
        }
        if let Some(error) = refused.take_if(|_| is_shut) {
            return Err(error);
        }
    }
}

async fn over_tls(
    endpoint: &Endpoint,
    addr: SocketAddr,
    goal: &Goal,
) -> Option<Result<(Connection, Way), ConnectError>> {
    let mut stream = tls(addr, WITHIN).await?;
    let notice = Notice::hub();
    let frame = [&u16::try_from(notice.len()).ok()?.to_be_bytes()[..], &notice].concat();
    stream.write_all(&frame).await.ok()?;
    let way = endpoint.stream_way(endpoint.new_peer(), addr, stream, None);
    Some(
        endpoint.connect(way.peer(), goal.expected, goal.alpns, &goal.settings).await.map(|made| (made, way)),
    )
}

/// A way to a peer through the relay at `addr`, over TLS; none where there is no TLS.
pub async fn relayed_over_tls(endpoint: &Endpoint, addr: SocketAddr, right: relay::Leg) -> Option<Way> {
    let stream = tls(addr, WITHIN).await?;
    Some(endpoint.stream_way(endpoint.new_peer(), addr, stream, Some(right)))
}

async fn tls(addr: SocketAddr, within: Duration) -> Option<OuterStream<TcpStream>> {
    let connecting = tokio::time::timeout(within, TcpStream::connect(addr)).await;
    let stream = connecting.ok()?.ok()?;
    // Packets are small, and each is waited for.
    let _slower = stream.set_nodelay(true);
    let connected = OuterStream::connect(stream, addr, within).await;
    connected.inspect_err(|error| tracing::debug!(%addr, %error, "no TLS")).ok()
}

/// What UDP is ahead of TLS.
const HEAD_START: Duration = Duration::from_millis(300);
/// For TCP, and then for TLS.
const WITHIN: Duration = Duration::from_secs(5);
