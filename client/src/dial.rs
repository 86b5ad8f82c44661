//! Finds the one of several addresses that answers with the expected key.
//!
//! 1. The first address is dialled at once, each further one 250 ms later or as soon as an attempt has failed.
//! 2. The first that proves the key wins; the others are dropped.
//! 3. When all have failed, an answer with another key outweighs silence: somebody may be in between.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;

use postern_protocol::trust::{PublicKey, SecretKey};
use postern_transport::TlsFault;
use postern_transport::ladder::{Climbed, Fallen, Ladder};
use postern_transport::quic::{
    BindError, ConnectError, Connection, ConnectionEnd, Endpoint, First, Goal, Role, Settings,
};

use crate::meeting::{Elsewhere, ToMeeting};

/// A connection with the socket under it.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// The connection.
    pub(crate) connection: Connection,
    /// The address that answered: the relay's, where it goes through one.
    pub(crate) addr: SocketAddr,
    endpoint: Endpoint,
    is_relayed: bool,
    /// Looks for a better way for as long as the connection lasts.
    _climb: JoinSet<()>,
}

impl Dialled {
    /// A connection through a relay at `addr`; `climb` looks for a better way.
    pub(crate) const fn relayed(
        connection: Connection,
        addr: SocketAddr,
        endpoint: Endpoint,
        climb: JoinSet<()>,
    ) -> Self {
        Self { connection, addr, endpoint, is_relayed: true, _climb: climb }
    }

    /// Whether it was made through a relay.
    pub(crate) const fn is_relayed(&self) -> bool {
        self.is_relayed
    }

    /// Says goodbye and gives it a moment to leave. A goodbye that is lost costs the peer its idle timeout.
    pub(crate) async fn close(&self, code: u32) {
        self.endpoint.close(code, b"");
        let _left = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }
}

/// Whom to dial, as whom, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The own key.
    pub(crate) key: SecretKey,
    /// The only key that is accepted.
    pub(crate) expected: PublicKey,
    /// The protocols that are offered.
    pub(crate) alpns: &'static [&'static [u8]],
    /// How the connection behaves.
    pub(crate) settings: Settings,
    /// What leads there where UDP does not.
    pub(crate) beyond: Beyond,
}

/// What leads to somebody where UDP does not.
#[derive(Clone, Debug)]
pub(crate) enum Beyond {
    /// To a hub: TLS at the same address.
    Hub(Ladder),
    /// To a device: a meeting at a relay.
    Device(Box<Elsewhere>),
}

/// Dials `addresses`, best first.
pub(crate) async fn dial(call: &Call, addresses: &[SocketAddr]) -> Result<Dialled, DialError> {
    let mut waiting: VecDeque<SocketAddr> = addresses.iter().copied().collect();
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        if let Some(addr) = waiting.pop_front() {
            let call = call.clone();
            attempts.spawn(async move { (addr, attempt(&call, addr).await) });
        } else if attempts.is_empty() {
            return Err(DialError::from_failures(failures));
        }
        tokio::select! {
            Some(finished) = attempts.join_next() => match finished {
                Ok((_, Ok(dialled))) => return Ok(dialled),
                Ok((addr, Err(failure))) => failures.push((addr, failure)),
                // Only a defect ends a task otherwise; the others may still succeed.
                Err(_) => {}
            },
            () = tokio::time::sleep(HEAD_START), if !waiting.is_empty() => {}
        }
    }
}

async fn attempt(call: &Call, addr: SocketAddr) -> Result<Dialled, AttemptError> {
    let endpoint = Endpoint::bind(any(addr.ip()), &call.key, Role::Client, &call.settings)?;
    let (expected, alpns, settings) = (call.expected, call.alpns, call.settings.clone());
    let goal = Goal { addresses: vec![addr], expected, alpns, settings };
    let (connection, climb) = match &call.beyond {
        Beyond::Hub(ladder) => {
            let Climbed { connection, climb, .. } = ladder.to_hub(&endpoint, goal).await?;
            (connection, climb)
        }
        Beyond::Device(elsewhere) => {
            let connection = endpoint.connect(addr, expected, alpns, &goal.settings).await?;
            let descend = ToMeeting { elsewhere: elsewhere.clone(), endpoint: endpoint.clone() };
            let mut climb = JoinSet::new();
            let keep = endpoint.clone().keep(connection.clone(), First::Straight(addr), goal, descend);
            climb.spawn(keep);
            (connection, climb)
        }
    };
    Ok(Dialled { connection, addr, endpoint, is_relayed: false, _climb: climb })
}

/// Where a socket is bound that shall reach `towards`. Of the same family: a computer without IPv6 cannot open a socket for both.
pub(crate) const fn any(towards: IpAddr) -> SocketAddr {
    match towards {
        IpAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        IpAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// Why none of the addresses led to the expected peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody knows where it is.
    #[error("no address is known")]
    NoAddress,
    /// Somebody else answered.
    #[error("at {addr} a key {found} answers, expected is {expected}")]
    WrongKey {
        /// Where.
        addr: SocketAddr,
        /// The key that was proved.
        found: String,
        /// The pinned key.
        expected: String,
    },
    /// The peer speaks other versions only.
    #[error("{addr} speaks no version of the protocol that this program speaks")]
    NoCommonVersion {
        /// Where.
        addr: SocketAddr,
    },
    /// Nothing answered at any address; the last failure is the one shown.
    #[error("{addr}: {last}{}", more(*.others))]
    Unreachable {
        /// The address of the last failure.
        addr: SocketAddr,
        /// The last failure.
        last: AttemptError,
        /// How many other addresses failed as well.
        others: usize,
    },
}

impl DialError {
    pub(crate) fn from_failures(mut failures: Vec<(SocketAddr, AttemptError)>) -> Self {
        let others = failures.len().saturating_sub(1);
        for (addr, failure) in &failures {
            for error in failure.connect_errors() {
                match error {
                    ConnectError::UnexpectedKey { expected, found } => {
                        let (found, expected) =
                            (found.fingerprint().to_string(), expected.fingerprint().to_string());
                        return Self::WrongKey { addr: *addr, found, expected };
                    }
                    ConnectError::Ended(ConnectionEnd::Tls { fault: TlsFault::NoCommonProtocol, .. }) => {
                        return Self::NoCommonVersion { addr: *addr };
                    }
                    ConnectError::NoProtocol
                    | ConnectError::BadAddress(_)
                    | ConnectError::EndpointClosed
                    | ConnectError::TimedOut { .. }
                    | ConnectError::Ended(_) => {}
                }
            }
        }
        match failures.pop() {
            Some((addr, last)) => Self::Unreachable { addr, last, others },
            None => Self::NoAddress,
        }
    }
}

/// Why one address did not lead to the expected peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No connection by any way.
    #[error(transparent)]
    Fallen(#[from] Fallen),
}

impl AttemptError {
    /// What QUIC said on each way.
    fn connect_errors(&self) -> Vec<&ConnectError> {
        match self {
            Self::Bind(_) => Vec::new(),
            Self::Connect(error) => vec![error],
            Self::Fallen(fallen) => fallen.connect_errors().collect(),
        }
    }
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " (and one other address)".to_owned(),
        others => format!(" (and {others} other addresses)"),
    }
}

/// The notice leaves at once; being idle would take three probe timeouts more, for which nobody should wait.
const GOODBYE: Duration = Duration::from_millis(20);
/// What a better address is ahead of the next.
const HEAD_START: Duration = Duration::from_millis(250);
