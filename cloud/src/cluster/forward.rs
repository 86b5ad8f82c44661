//! What users ask of an edge, asked of the primary: over a QUIC connection between the two, in which each request has a stream.
//!
//! Both prove the hub's key, which the root names. The edge says for whose key it asks; the primary believes it, as it believes itself.
//! The primary has no other way to hear of users at an edge, and NATS none to hear of them at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use postern_protocol::limits;
use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::registry::{ALPNS_HUB, Failure};
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{BindError, Connection, Endpoint, RecvStream, Role, SendStream, Settings};

use super::talk::Forwarded;

/// The way from an edge to the primary.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    /// One for each family, as the primary has addresses.
    endpoints: Vec<Endpoint>,
    primary: Vec<SocketAddr>,
    key: PublicKey,
    connection: Mutex<Option<Connection>>,
}

impl Forward {
    /// A way to a primary at one of these addresses, in the name of the key that both have.
    ///
    /// # Errors
    /// When no socket can be had.
    pub(crate) fn bind(key: &SecretKey, primary: &[SocketAddr]) -> Result<Self, BindError> {
        let bind = |any: IpAddr| Endpoint::bind(SocketAddr::new(any, 0), key, Role::Client, &settings());
        let mut endpoints = Vec::new();
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            if primary.iter().any(|addr| addr.is_ipv4() == any.is_ipv4()) {
                endpoints.push(bind(any)?);
            }
        }
        let (primary, key) = (primary.to_vec(), key.public());
        Ok(Self { way: Arc::new(Way { endpoints, primary, key, connection: Mutex::default() }) })
    }

    /// Asks in the name of somebody; what more they send goes along.
    pub(crate) async fn ask(
        &self,
        who: &Forwarded,
        request: &HubRequest,
        more: &mut RecvStream,
    ) -> HubAnswer {
        let asked = async {
            let (send, mut recv) = self.begin(who, request).await?;
            let answer = read_frame(&mut recv, limits::LIST_FRAME_BYTES, ANSWER);
            tokio::select! {
                answer = answer => Some(answer),
                never = pass_on(more, send) => match never {},
            }
        };
        match asked.await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => {
                tracing::warn!(%error, "the primary did not answer a request");
                HubAnswer::Failed(Failure::Busy)
            }
            None => {
                tracing::warn!("the primary cannot be reached");
                HubAnswer::Failed(Failure::Busy)
            }
        }
    }

    /// A stream on which the request was made.
    async fn begin(&self, who: &Forwarded, request: &HubRequest) -> Option<(SendStream, RecvStream)> {
        // A connection that ended since is found out by the first use.
        for _ in 0..2 {
            let connection = self.connection().await?;
            match connection.open_bi().await {
                Ok((mut send, recv)) => {
                    let written: Result<(), FrameFault> = async {
                        write_frame(&mut send, who, limits::FRAME_BYTES).await?;
                        write_frame(&mut send, request, limits::FRAME_BYTES).await
                    }
                    .await;
                    return written.ok().map(|()| (send, recv));
                }
                Err(_ended) => drop(self.way.connection.lock().await.take()),
            }
        }
        None
    }

    async fn connection(&self) -> Option<Connection> {
        let mut place = self.way.connection.lock().await;
        if let Some(connection) = place.as_ref() {
            return Some(connection.clone());
        }
        for addr in &self.way.primary {
            let fits = |endpoint: &&Endpoint| {
                endpoint.local_addr().is_ok_and(|local| local.is_ipv4() == addr.is_ipv4())
            };
            let Some(endpoint) = self.way.endpoints.iter().find(fits) else { continue };
            match endpoint.connect(*addr, self.way.key, ALPNS_HUB, &settings()).await {
                Ok(connection) => {
                    *place = Some(connection.clone());
                    return Some(connection);
                }
                Err(error) => tracing::debug!(hub = %addr, %error, "the primary is not there"),
            }
        }
        None
    }
}

/// Passes on what comes, for as long as an answer is waited for.
async fn pass_on(from: &mut RecvStream, mut to: SendStream) -> std::convert::Infallible {
    while let Ok(Some(chunk)) = from.read_chunk(CHUNK).await {
        if to.write_chunk(chunk).await.is_err() {
            break;
        }
    }
    let _over = to.finish();
    std::future::pending().await
}

/// A primary that is gone is noticed in seconds; these two are on good networks.
fn settings() -> Settings {
    Settings {
        keep_alive: Some(Duration::from_secs(1)),
        idle: Duration::from_secs(4),
        handshake: Duration::from_secs(2),
        connection_window: 2 * 1024 * 1024,
        ..Settings::control()
    }
}

/// For an answer: longer than those requests take that wait for somebody.
const ANSWER: Duration = Duration::from_secs(60);
const CHUNK: usize = 64 * 1024;
