//! Tries each way to a hub by itself.
//!
//! 1. UDP, TCP, TLS and the proxy are tried side by side, each for five seconds at most.
//! 2. What leads there best is asked what the caller looks like ([`HubRequest::Examine`]).
//! 3. Its answer tells whether the key counts, how far the clocks are apart, and whether the certificate that TLS has shown is the hub's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, PublicKey, SecretKey};
use postern_protocol::wire::hub::{Examined, HubAnswer, HubRequest, Whose};
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_protocol::wire::text::Text;

use super::{Block, Examination, Finding, Found, Note, Skip, Step};
use crate::ladder::{Ladder, Reached, Rung, RungFault};
use crate::question;
use crate::quic::{ConnectError, Connection, ConnectionEnd, Endpoint, Goal, Role, Settings};
use crate::{OuterFault, TlsFault};

/// Who looks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The own key.
    pub key: &'a SecretKey,
    /// Keys that a genuine hub has.
    pub hub_keys: &'a [PublicKey],
    /// Leads there.
    pub ladder: &'a Ladder,
    /// Whose the own key should be at the hub.
    pub whose: Whose,
    /// What this computer's clock says.
    pub wall: fn() -> UnixTime,
}

/// A connection that leads there.
struct Open {
    endpoint: Endpoint,
    reached: Reached,
}

/// Looks at every way to a hub.
pub async fn examine(caller: &Caller<'_>, hub: SocketAddr) -> Examination {
    let (udp, tcp, tls, proxy) =
        tokio::join!(caller.rung(Rung::Udp, hub), tcp(hub), tls(caller, hub), caller.rung(Rung::Proxy, hub));
    let (tls, shown) = tls;
    let best = [&udp, &tls, &proxy].into_iter().find_map(|open| open.as_ref().ok());
    let examined = match best {
        // Its time is compared with that of the moment in which it came.
        Some(open) => Some(ask(&open.reached.connection).await.map(|told| (told, (caller.wall)()))),
        None => None,
    };
    let expected = match best {
        Some(open) => certificate(&open.reached.connection).await,
        None => None,
    };
    let at = Some(hub);
    let (proxy_found, name_found) = proxied(caller, hub, &proxy);
    let mut findings = vec![
        Finding::new(Step::Name, None, name_found),
        Finding::new(Step::Udp, at, result(&udp)),
        Finding::new(Step::Tcp, at, tcp.map_or_else(Found::Blocked, |()| Found::Passed(Note::Plain))),
        Finding::new(Step::Tls, at, tls_found(&tls, shown, expected)),
        Finding::new(Step::Proxy, None, proxy_found),
    ];
    findings.extend(answer(caller, examined));
    for open in [udp, tls, proxy].into_iter().flatten() {
        open.endpoint.close(0, b"");
        open.endpoint.wait_idle().await;
    }
    Examination { from: source(hub).await, hub, findings }
}

impl Caller<'_> {
    /// By one rung, to whichever of the genuine keys is there.
    async fn rung(&self, rung: Rung, hub: SocketAddr) -> Result<Open, RungFault> {
        let settings = Settings { handshake: WITHIN, ..Settings::control() };
        let any: SocketAddr = if hub.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let bound = Endpoint::bind(any, self.key, Role::Client, &settings);
        let endpoint = bound.map_err(|_| RungFault::Refused(io::ErrorKind::AddrNotAvailable))?;
        let mut keys = self.hub_keys.iter().copied();
        let mut expected = keys.next().ok_or(ConnectError::NoProtocol)?;
        for _ in 0..2 {
            let (addresses, settings) = (vec![hub], settings.clone());
            let goal = Goal { addresses, expected, alpns: ALPNS_HUB, settings };
            match self.ladder.try_rung(rung, &endpoint, &goal).await {
                Ok(reached) => return Ok(Open { endpoint, reached }),
                Err(RungFault::Quic(ConnectError::UnexpectedKey { found, .. }))
                    if found != expected && self.hub_keys.contains(&found) =>
                {
                    expected = found;
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(RungFault::Quic(ConnectError::EndpointClosed))
    }
}

async fn tcp(hub: SocketAddr) -> Result<(), Block> {
    match tokio::time::timeout(WITHIN, TcpStream::connect(hub)).await {
        Ok(Ok(_connected)) => Ok(()),
        Ok(Err(error)) => Err(refusal(error.kind())),
        Err(_elapsed) => Err(Block::Silent),
    }
}

/// TLS, and by it the hub; beside that what certificate was shown and by whom it is, as it says itself.
async fn tls(caller: &Caller<'_>, hub: SocketAddr) -> (Result<Open, RungFault>, Shown) {
    let stream = caller.ladder.outer(Rung::Tls, hub).await;
    let shown = match &stream {
        Ok(stream) => Shown { certificate: stream.certificate(), issuer: stream.issuer().cloned() },
        Err(_) => Shown::default(),
    };
    match stream {
        Ok(_closed) => (caller.rung(Rung::Tls, hub).await, shown),
        Err(fault) => (Err(fault), shown),
    }
}

#[derive(Default)]
struct Shown {
    certificate: Option<Digest>,
    issuer: Option<Text>,
}

fn tls_found(tls: &Result<Open, RungFault>, shown: Shown, expected: Option<Digest>) -> Found {
    match tls {
        Ok(_) => {
            let certificate = shown.certificate;
            let is_other = expected.is_some_and(|expected| certificate != Some(expected));
            Found::Passed(if is_other { Note::Read(shown.issuer) } else { Note::Plain })
        }
        Err(RungFault::Refused(_) | RungFault::TimedOut { .. }) if shown.certificate.is_none() => {
            Found::Skipped(Skip::NeedsOther(Step::Tcp))
        }
        // Somebody speaks TLS, and nobody inside of it.
        Err(RungFault::Quic(ConnectError::TimedOut { .. }) | RungFault::Refused(_)) => {
            Found::Blocked(Block::NotPassedOn(shown.issuer))
        }
        Err(fault) => Found::Blocked(block_of(fault)),
    }
}

/// What is found of the proxy and of its name.
fn proxied(caller: &Caller<'_>, hub: SocketAddr, proxy: &Result<Open, RungFault>) -> (Found, Found) {
    let is_configured = caller.ladder.rungs(hub).contains(&Rung::Proxy);
    let name = if is_configured { Found::Passed(Note::Plain) } else { Found::Skipped(Skip::NoName) };
    match proxy {
        Ok(_) => (result(proxy), name),
        Err(RungFault::NoProxy) => (Found::Skipped(Skip::NoProxy), Found::Skipped(Skip::NoName)),
        Err(RungFault::Proxy { name, fault: fault @ crate::proxy::ProxyFault::Unresolved }) => (
            Found::Skipped(Skip::NeedsOther(Step::Name)),
            Found::Blocked(Block::Proxy(name.clone(), fault.clone())),
        ),
        Err(fault) => (Found::Blocked(block_of(fault)), name),
    }
}

fn result(open: &Result<Open, RungFault>) -> Found {
    open.as_ref().map_or_else(|fault| Found::Blocked(block_of(fault)), |_| Found::Passed(Note::Plain))
}

async fn ask(connection: &Connection) -> Result<Examined, Block> {
    let answer = answered(connection, &HubRequest::Examine).await?;
    if let HubAnswer::Failed(failure) = answer {
        return Err(Block::Failed(failure));
    }
    let HubAnswer::Examined(examined) = answer else { return Err(Block::OtherVersion) };
    Ok(examined)
}

/// The certificate that TLS at the hub should show.
async fn certificate(connection: &Connection) -> Option<Digest> {
    match answered(connection, &HubRequest::Certificate).await {
        Ok(HubAnswer::Certificate(certificate)) => certificate,
        Ok(_) | Err(_) => None,
    }
}

async fn answered(connection: &Connection, request: &HubRequest) -> Result<HubAnswer, Block> {
    let asked = async { question::ask(connection, request, WITHIN).await.map_err(|fault| other(&fault)) };
    tokio::time::timeout(WITHIN, asked).await.unwrap_or(Err(Block::Silent))
}

/// What the hub has said, of the caller and of the time.
fn answer(caller: &Caller<'_>, examined: Option<Result<(Examined, UnixTime), Block>>) -> [Finding; 2] {
    let (hub, clock) = match examined {
        Some(Ok((told, wall))) => {
            let seconds = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            let ahead = seconds(wall).saturating_sub(seconds(told.now));
            let hub = if told.whose == caller.whose {
                Found::Passed(Note::Seen(told.hub, told.seen))
            } else {
                Found::Blocked(Block::Whose(told.whose))
            };
            let is_off = ahead.unsigned_abs() > CLOCKS_APART_S;
            let clock =
                if is_off { Found::Blocked(Block::Clock(ahead)) } else { Found::Passed(Note::Ahead(ahead)) };
            (hub, clock)
        }
        Some(Err(block)) => (Found::Blocked(block), Found::Skipped(Skip::NeedsOther(Step::Hub))),
        None => (Found::Skipped(Skip::NeedsOther(Step::Udp)), Found::Skipped(Skip::NeedsOther(Step::Hub))),
    };
    [Finding::new(Step::Hub, None, hub), Finding::new(Step::Clock, None, clock)]
}

/// Why a rung does not lead there.
#[must_use]
pub fn block_of(fault: &RungFault) -> Block {
    match fault {
        RungFault::Refused(kind) => refusal(*kind),
        RungFault::TimedOut { .. } | RungFault::Quic(ConnectError::TimedOut { .. }) => Block::Silent,
        RungFault::Tls(OuterFault::Handshake(_) | OuterFault::TimedOut { .. }) => Block::NoTls,
        RungFault::Proxy { name, fault } => Block::Proxy(name.clone(), fault.clone()),
        RungFault::Quic(ConnectError::UnexpectedKey { expected, found }) => {
            Block::OtherKey { expected: *expected, found: *found }
        }
        RungFault::Quic(ConnectError::Ended(ConnectionEnd::Tls {
            fault: TlsFault::NoCommonProtocol,
            ..
        })) => Block::OtherVersion,
        RungFault::Quic(error) => other(error),
        RungFault::NoProxy => other(fault),
        RungFault::Unbound => Block::NoRelay,
    }
}

fn other(error: &impl ToString) -> Block {
    Block::Other(error.to_string())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system may say more than concerns a network")]
const fn refusal(kind: io::ErrorKind) -> Block {
    match kind {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Block::NoRoute,
        io::ErrorKind::PermissionDenied => Block::OwnFirewall,
        io::ErrorKind::TimedOut => Block::Silent,
        _ => Block::Rejected,
    }
}

/// The address from which packets to the hub leave. Sends nothing.
async fn source(hub: SocketAddr) -> Option<std::net::IpAddr> {
    let any: SocketAddr = if hub.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(hub).await.ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

/// For one try.
const WITHIN: Duration = Duration::from_secs(5);
/// Clocks that are further apart are worth a word.
const CLOCKS_APART_S: u64 = 120;
