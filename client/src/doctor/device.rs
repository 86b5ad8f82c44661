//! Tries each way to a device by itself.

use std::net::SocketAddr;
use std::time::Duration;

use postern_protocol::wire::registry::ALPNS_TUNNEL;
use postern_protocol::wire::relay::Place;
use postern_transport::diagnosis::{Block, Finding, Found, Note, Skip, Step, block_of};
use postern_transport::ladder::{Bound, Rung, RungFault, Spot};
use postern_transport::quic::{ConnectError, Connection, Endpoint, Goal, Role, Settings};

use crate::device::{DeviceError, authenticate};
use crate::dial::any;
use crate::directory::Known;
use crate::meeting::{self, Met};
use crate::nearby::Search;
use crate::profile::Identity;

/// Looks at every way to a device.
pub(super) async fn examine(known: &Known, identity: &Identity, is_hub_of_use: bool) -> Vec<Finding> {
    let way = Way { known, identity };
    let (direct, nearby, udp, tls) = tokio::join!(
        way.direct(),
        way.nearby(),
        way.relayed(Step::RelayUdp, is_hub_of_use),
        way.relayed(Step::RelayTls, is_hub_of_use)
    );
    direct.into_iter().chain([nearby, udp, tls]).collect()
}

struct Way<'a> {
    known: &'a Known,
    identity: &'a Identity,
}

impl Way<'_> {
    async fn direct(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for addr in self.known.addresses() {
            let found = found(self.at(addr).await);
            findings.push(Finding::new(Step::Direct, Some(addr), found));
        }
        if findings.is_empty() {
            findings.push(Finding::new(Step::Direct, None, Found::Skipped(Skip::NoAddress)));
        }
        findings
    }

    async fn nearby(&self) -> Finding {
        let mut search = Search::begin(self.known.entry.key);
        let mut finding = Finding::new(Step::Nearby, None, Found::Skipped(Skip::NobodyHere));
        while let Some(addr) = search.next().await {
            finding = Finding::new(Step::Nearby, Some(addr), found(self.at(addr).await));
            if finding.has_passed() {
                break;
            }
        }
        finding
    }

    /// A meeting at the relay, by UDP or by TLS alone.
    async fn relayed(&self, step: Step, is_hub_of_use: bool) -> Finding {
        let skipped = |skip| Finding::new(step, None, Found::Skipped(skip));
        if !is_hub_of_use {
            return skipped(Skip::NeedsOther(Step::Hub));
        }
        let Some(Met { meeting, hub }) = meeting::ask(self.identity, self.known.entry.device).await else {
            return Finding::new(step, None, Found::Blocked(Block::NoMeeting));
        };
        let mut missed = skipped(Skip::NoRelay);
        for Place { ip, udp, tls, certificate } in &meeting.relays {
            let at = |port: u16| SocketAddr::new(ip.unwrap_or(hub), port);
            let (udp, tls) = if step == Step::RelayUdp { (udp.map(at), None) } else { (None, tls.map(at)) };
            let spot = Spot { udp, tls, leg: meeting.leg.clone(), certificate: *certificate };
            let Some(addr) = udp.or(tls) else { continue };
            let found = found(self.met(&spot, addr).await);
            missed = Finding::new(step, Some(addr), found);
            if missed.has_passed() {
                return missed;
            }
        }
        missed
    }

    async fn at(&self, addr: SocketAddr) -> Result<Note, Block> {
        let endpoint = self.bind(addr)?;
        let goal = Goal {
            addresses: vec![addr],
            expected: self.known.entry.key,
            alpns: ALPNS_TUNNEL,
            settings: settings(WITHIN),
        };
        let reached = self.identity.ladder.try_rung(Rung::Udp, &endpoint, &goal).await;
        let reached = reached.map_err(|fault| block_of(&fault))?;
        self.greet(&endpoint, reached.connection).await
    }

    async fn met(&self, spot: &Spot, addr: SocketAddr) -> Result<Note, Block> {
        let endpoint = self.bind(addr)?;
        let bound = self.identity.ladder.to_relay(&endpoint, endpoint.new_peer(), spot).await;
        let Bound { way, .. } = bound
            .map_err(|fallen| fallen.attempts.last().map_or(Block::NoRelay, |last| block_of(&last.fault)))?;
        let (key, coming) = (self.known.entry.key, settings(COMING));
        let connection = endpoint.connect(way.peer(), key, ALPNS_TUNNEL, &coming).await;
        let connection = connection.map_err(|error| match error {
            ConnectError::TimedOut { .. } => Block::DoesNotCome,
            error @ (ConnectError::NoProtocol
            | ConnectError::BadAddress(_)
            | ConnectError::EndpointClosed
            | ConnectError::UnexpectedKey { .. }
            | ConnectError::Ended(_)) => block_of(&RungFault::Quic(error)),
        })?;
        self.greet(&endpoint, connection).await
    }

    fn bind(&self, towards: SocketAddr) -> Result<Endpoint, Block> {
        let bound = Endpoint::bind(any(towards.ip()), &self.identity.key, Role::Client, &settings(WITHIN));
        bound.map_err(|error| Block::Other(error.to_string()))
    }

    /// Whether the device lets this user in.
    async fn greet(&self, endpoint: &Endpoint, connection: Connection) -> Result<Note, Block> {
        let asked = authenticate(&connection, self.identity, self.known.entry.device);
        let greeted = tokio::time::timeout(WITHIN, asked).await;
        endpoint.close(0, b"");
        endpoint.wait_idle().await;
        match greeted {
            Ok(Ok(agent)) => Ok(Note::Agent(agent)),
            Ok(Err(DeviceError::Denied(reason))) => Err(Block::Refused(reason)),
            Ok(Err(DeviceError::Failed(failure))) => Err(Block::Failed(failure)),
            Ok(Err(error)) => Err(Block::Other(error.to_string())),
            Err(_elapsed) => Err(Block::Silent),
        }
    }
}

fn settings(handshake: Duration) -> Settings {
    Settings { handshake, ..Settings::session() }
}

fn found(tried: Result<Note, Block>) -> Found {
    tried.map_or_else(Found::Blocked, Found::Passed)
}

/// For one try.
const WITHIN: Duration = Duration::from_secs(5);
/// For a device to come to a relay.
const COMING: Duration = Duration::from_secs(8);
