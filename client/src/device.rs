//! One connection to a device: the device's key is pinned, the user's pass is proved, then services are asked for.
//!
//! 1. The handshake proves both keys.
//! 2. The pass goes over with a signature on this session's exporter, so that no relay can use it elsewhere. A later
//!    pass can follow on the same connection.
//! 3. Each further question opens a stream of its own; an opened tunnel keeps its stream.
//! 4. Datagrams of flows are sorted by flow ([`datagrams`]); what is said of a discovery comes frame by frame ([`news`]).

mod datagrams;
mod news;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use postern_protocol::id::{DeviceId, TunnelId};
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::{Kind, Mode, Protocol, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Proof;
use postern_protocol::trust::pass::EXPORTER_LABEL;
use postern_protocol::wire::flow::FlowTarget;
use postern_protocol::wire::hub::DeviceEntry;
use postern_protocol::wire::registry::{ALPNS_TUNNEL, Failure};
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Holder, Request, ServiceEntry};
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, ConnectionEnd, RecvStream, SendStream, Settings, StreamFault};

use self::datagrams::Datagrams;

pub(crate) use self::datagrams::Line;
pub(crate) use self::news::News;

use crate::dial::{Beyond, Call, DialError, Dialled, dial};
use crate::ending::Ending;
use crate::meeting::{self, Elsewhere, Met};
use crate::nearby;
use crate::profile::Identity;

/// An authenticated connection to a device.
#[derive(Debug)]
pub(crate) struct DeviceLink {
    dialled: Dialled,
    datagrams: Datagrams,
    device: DeviceId,
    was_found: bool,
}

impl DeviceLink {
    /// Dials a device at `addresses`, best first, and authenticates.
    pub(crate) async fn dial(
        identity: &Identity,
        entry: &DeviceEntry,
        addresses: &[SocketAddr],
    ) -> Result<Self, DeviceError> {
        Self::over(dial(&call(identity, entry), addresses).await?, identity, entry).await
    }

    /// Meets a device at a relay and authenticates. `addresses` are tried meanwhile: a connection that can go straight moves there.
    pub(crate) async fn meet(
        identity: &Identity,
        entry: &DeviceEntry,
        addresses: &[SocketAddr],
        met: &Met,
    ) -> Result<Self, DeviceError> {
        Self::over(
            meeting::dial(&call(identity, entry), met, addresses, &identity.ladder).await?,
            identity,
            entry,
        )
        .await
    }

    /// Looks for a device on the networks that this computer is on, and authenticates; none where nobody there proves its key.
    pub(crate) async fn find(identity: &Identity, entry: &DeviceEntry) -> Option<Result<Self, DeviceError>> {
        let dialled = nearby::find(&call(identity, entry)).await?;
        let link = Self::over(dialled, identity, entry).await;
        Some(link.map(|link| Self { was_found: true, ..link }))
    }

    async fn over(dialled: Dialled, identity: &Identity, entry: &DeviceEntry) -> Result<Self, DeviceError> {
        let datagrams = Datagrams::of(dialled.connection.clone());
        let link = Self { dialled, datagrams, device: entry.device, was_found: false };
        link.authenticate(identity).await?;
        Ok(link)
    }

    /// Presents a pass; on a connection that has one, a later pass of the same user.
    pub(crate) async fn authenticate(&self, identity: &Identity) -> Result<(), DeviceError> {
        authenticate(&self.dialled.connection, identity, self.device).await.map(drop)
    }

    /// The services that the user may use, in the device's words.
    pub(crate) async fn services(&self) -> Result<Vec<ServiceEntry>, DeviceError> {
        match self.ask(&Request::ListServices).await?.0 {
            Answer::Services(services) => Ok(services),
            answer @ (Answer::Welcome { .. }
            | Answer::Accepted { .. }
            | Answer::Denied(_)
            | Answer::Failed(_)
            | Answer::Occupied { .. }
            | Answer::Flow { .. }
            | Answer::Discovery
            | Answer::Packets { .. }) => Err(refusal(&answer)),
        }
    }

    /// Opens a tunnel.
    pub(crate) async fn open(&self, wanted: &Wanted) -> Result<Opened, DeviceError> {
        let Wanted { service, view_only, flows } = wanted.clone();
        let request = if flows {
            Request::OpenVpn { service, view_only }
        } else {
            Request::Open { service, view_only }
        };
        let (answer, send, recv) = self.ask(&request).await?;
        match answer {
            Answer::Accepted { tunnel, kind, mode, until, start, recorded } => {
                Ok(Opened { tunnel, kind, mode, until, start, recorded, send, recv })
            }
            answer @ (Answer::Welcome { .. }
            | Answer::Services(_)
            | Answer::Denied(_)
            | Answer::Failed(_)
            | Answer::Occupied { .. }
            | Answer::Flow { .. }
            | Answer::Discovery
            | Answer::Packets { .. }) => Err(refusal(&answer)),
        }
    }

    /// Opens a flow in a VPN tunnel of this connection.
    pub(crate) async fn flow(&self, tunnel: TunnelId, to: FlowTarget) -> Result<Flow, DeviceError> {
        // A device that has as many flows as it takes holds further ones back.
        let asked = tokio::time::timeout(FLOW_WITHIN, self.ask_for_flow(tunnel, to)).await;
        asked.unwrap_or(Err(DeviceError::Failed(Failure::Busy)))
    }

    async fn ask_for_flow(&self, tunnel: TunnelId, to: FlowTarget) -> Result<Flow, DeviceError> {
        let (send, recv) = self.dialled.connection.open_bi().await?;
        let line = match to.protocol {
            Protocol::Tcp => None,
            Protocol::Udp | Protocol::Icmp => Some(self.datagrams.line(send.index())),
        };
        let (answer, send, recv) = ask(&Request::Flow { tunnel, to }, send, recv).await?;
        match answer {
            Answer::Flow { ip } => Ok(Flow { ip, send, recv, line }),
            answer @ (Answer::Welcome { .. }
            | Answer::Services(_)
            | Answer::Accepted { .. }
            | Answer::Denied(_)
            | Answer::Failed(_)
            | Answer::Occupied { .. }
            | Answer::Discovery
            | Answer::Packets { .. }) => Err(refusal(&answer)),
        }
    }

    /// Asks what is on the machine network of a VPN tunnel of this connection; the news follow.
    pub(crate) async fn discover(&self, tunnel: TunnelId, scan: bool) -> Result<News, DeviceError> {
        let (answer, send, recv) = self.ask(&Request::Discover { tunnel, scan }).await?;
        match answer {
            Answer::Discovery => Ok(News::new(send, recv)),
            answer @ (Answer::Welcome { .. }
            | Answer::Services(_)
            | Answer::Accepted { .. }
            | Answer::Denied(_)
            | Answer::Failed(_)
            | Answer::Occupied { .. }
            | Answer::Flow { .. }
            | Answer::Packets { .. }) => Err(refusal(&answer)),
        }
    }

    /// Opens the way for packets in a VPN tunnel of this connection. The address of the flow is that of the client.
    #[cfg(target_os = "linux")]
    pub(crate) async fn packets(&self, tunnel: TunnelId) -> Result<Flow, DeviceError> {
        let (send, recv) = self.dialled.connection.open_bi().await?;
        let line = Some(self.datagrams.line(send.index()));
        let (answer, send, recv) = ask(&Request::Packets { tunnel }, send, recv).await?;
        match answer {
            Answer::Packets { ip, .. } => Ok(Flow { ip: ip.into(), send, recv, line }),
            answer @ (Answer::Welcome { .. }
            | Answer::Services(_)
            | Answer::Accepted { .. }
            | Answer::Denied(_)
            | Answer::Failed(_)
            | Answer::Occupied { .. }
            | Answer::Flow { .. }
            | Answer::Discovery) => Err(refusal(&answer)),
        }
    }

    /// The address at which the device answered, or the relay's.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.dialled.addr
    }

    /// Whether the device was reached through a relay.
    pub(crate) const fn is_relayed(&self) -> bool {
        self.dialled.is_relayed()
    }

    /// Whether it was found on a network that this computer is on.
    pub(crate) const fn was_found(&self) -> bool {
        self.was_found
    }

    /// Waits until the connection is over.
    pub(crate) async fn closed(&self) -> Ending {
        self.dialled.connection.closed().await.into()
    }

    /// Says goodbye.
    pub(crate) async fn close(&self) {
        self.dialled.close(0).await;
    }

    async fn ask(&self, request: &Request) -> Result<(Answer, SendStream, RecvStream), DeviceError> {
        let (send, recv) = self.dialled.connection.open_bi().await?;
        ask(request, send, recv).await
    }
}

/// Presents a pass, and yields the agent's version.
///
/// # Errors
/// What the device says, or why it says nothing.
pub(crate) async fn authenticate(
    connection: &Connection,
    identity: &Identity,
    expected: DeviceId,
) -> Result<Text, DeviceError> {
    let exporter = connection.export_keying_material(EXPORTER_LABEL, &[])?;
    let proof = Proof::sign(&identity.key, &exporter, expected, &identity.pass);
    let request = Request::Authenticate { pass: identity.pass.clone(), proof };
    let (send, recv) = connection.open_bi().await?;
    match ask(&request, send, recv).await?.0 {
        Answer::Welcome { device, agent, .. } if device == expected => Ok(agent),
        Answer::Welcome { device, .. } => Err(DeviceError::OtherDevice { found: device, expected }),
        answer @ (Answer::Services(_)
        | Answer::Accepted { .. }
        | Answer::Denied(_)
        | Answer::Failed(_)
        | Answer::Occupied { .. }
        | Answer::Flow { .. }
        | Answer::Discovery
        | Answer::Packets { .. }) => Err(refusal(&answer)),
    }
}

fn call(identity: &Identity, entry: &DeviceEntry) -> Call {
    let (key, expected) = (identity.key.clone(), entry.key);
    let beyond = Beyond::Device(Box::new(Elsewhere { identity: identity.clone(), device: entry.device }));
    Call { key, expected, alpns: ALPNS_TUNNEL, settings: Settings::session(), beyond }
}

async fn ask(
    request: &Request,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(Answer, SendStream, RecvStream), DeviceError> {
    write_frame(&mut send, request, limits::FRAME_BYTES).await?;
    let answer = read_frame(&mut recv, ANSWER_BYTES, ANSWER_WITHIN).await?;
    Ok((answer, send, recv))
}

/// What a tunnel is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The service's name on the device.
    pub(crate) service: Name,
    /// Whether to look only, whatever is granted.
    pub(crate) view_only: bool,
    /// Whether it is for the flows of a VPN.
    pub(crate) flows: bool,
}

/// A tunnel that the device has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its number in the device's audit.
    pub(crate) tunnel: TunnelId,
    /// What the service speaks.
    pub(crate) kind: Kind,
    /// What may be done at first.
    pub(crate) mode: Mode,
    /// When the device decides about it again.
    pub(crate) until: UnixTime,
    /// Where a browser begins.
    pub(crate) start: Option<Text>,
    /// Whether it is recorded.
    pub(crate) recorded: bool,
    /// Bytes to the service.
    pub(crate) send: SendStream,
    /// Bytes from the service.
    pub(crate) recv: RecvStream,
}

/// A flow that the device has opened in a VPN tunnel.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The machine's address.
    pub(crate) ip: IpAddr,
    /// To the machine.
    pub(crate) send: SendStream,
    /// From the machine.
    pub(crate) recv: RecvStream,
    /// Datagrams both ways; none with TCP.
    pub(crate) line: Option<Line>,
}

/// What stands between the user and the device or service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// It was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection or stream ended first.
    #[error("the connection ended before the answer came")]
    Ended(Ending),
    /// The device's policy says no.
    #[error("{}", .0.sentence())]
    Denied(Reason),
    /// Permitted, but it cannot be done.
    #[error("{}", .0.sentence())]
    Failed(Failure),
    /// Somebody else has the place.
    #[error("{}", Reason::Concurrency.sentence())]
    Occupied {
        /// Who.
        holder: Holder,
        /// Whether looking only would open.
        may_look: bool,
    },
    /// The right key under another identity: the listing is older than an enrolment.
    #[error("the device calls itself {found}, expected is {expected}")]
    OtherDevice {
        /// What it says.
        found: DeviceId,
        /// What the hub says.
        expected: DeviceId,
    },
    /// It answered another question.
    #[error("the device gave an answer that does not fit the question")]
    Unexpected,
}

impl From<ConnectionEnd> for DeviceError {
    fn from(end: ConnectionEnd) -> Self {
        Self::Ended(end.into())
    }
}

impl From<StreamFault> for DeviceError {
    fn from(fault: StreamFault) -> Self {
        Self::Ended(fault.into())
    }
}

impl From<FrameFault> for DeviceError {
    fn from(fault: FrameFault) -> Self {
        Self::Ended(fault.into())
    }
}

fn refusal(answer: &Answer) -> DeviceError {
    match answer {
        Answer::Denied(reason) => DeviceError::Denied(*reason),
        Answer::Failed(failure) => DeviceError::Failed(*failure),
        Answer::Occupied { holder, may_look } => {
            DeviceError::Occupied { holder: holder.clone(), may_look: *may_look }
        }
        Answer::Welcome { .. }
        | Answer::Services(_)
        | Answer::Accepted { .. }
        | Answer::Flow { .. }
        | Answer::Discovery
        | Answer::Packets { .. } => DeviceError::Unexpected,
    }
}

/// The device may have to wake a machine's slow network stack before it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Longer than a device waits for a machine that does not answer.
const FLOW_WITHIN: Duration = Duration::from_secs(25);
