//! One connection to the hub: a request per stream, an answer per request.

use std::net::SocketAddr;
use std::time::Duration;

use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::administration::{AdminQuestion, Declined};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::registry::{ALPNS_HUB, CloseCode, Failure, ProtocolFault};
use postern_transport::framed::FrameFault;
use postern_transport::ladder::Ladder;
use postern_transport::question;
use postern_transport::quic::{ConnectionEnd, Settings, StreamFault};

use crate::dial::{Beyond, Call, DialError, Dialled, dial};
use crate::ending::Ending;

/// A connection to the hub.
#[derive(Debug)]
pub(crate) struct HubLink {
    dialled: Dialled,
    ladder: Ladder,
}

impl HubLink {
    /// Dials the hub with the user's key; `within` bounds one handshake.
    pub(crate) async fn dial(
        key: &SecretKey,
        hub_key: PublicKey,
        hubs: &[SocketAddr],
        within: Duration,
        ladder: &Ladder,
    ) -> Result<Self, HubError> {
        let settings = Settings { handshake: within, ..Settings::control() };
        let call = Call {
            key: key.clone(),
            expected: hub_key,
            alpns: ALPNS_HUB,
            settings,
            beyond: Beyond::Hub(ladder.clone()),
        };
        Ok(Self { dialled: dial(&call, hubs).await?, ladder: ladder.clone() })
    }

    /// Asks, and yields any answer but a refusal or failure. Where TLS leads to the hub, it is asked for its certificate as well.
    pub(crate) async fn ask(&self, request: &HubRequest) -> Result<HubAnswer, HubError> {
        self.ask_with(request, None).await
    }

    /// As [`ask`](Self::ask), with a body behind the request where it has one.
    pub(crate) async fn ask_with(
        &self,
        request: &HubRequest,
        body: Option<&[u8]>,
    ) -> Result<HubAnswer, HubError> {
        let compare = async {
            if self.ladder.shown(self.addr()).is_some()
                && let Ok(HubAnswer::Certificate(Some(expected))) =
                    self.put(&HubRequest::Certificate, None).await
            {
                self.ladder.compare(self.addr(), expected);
            }
        };
        tokio::join!(self.put(request, body), compare).0
    }

    async fn put(&self, request: &HubRequest, body: Option<&[u8]>) -> Result<HubAnswer, HubError> {
        let (connection, within) = (&self.dialled.connection, patience(request));
        let answer = match body {
            Some(body) => question::ask_with(connection, request, body, within).await?,
            None => question::ask(connection, request, within).await?,
        };
        match answer {
            HubAnswer::Refused(refusal) => Err(HubError::Refused(refusal)),
            HubAnswer::Failed(failure) => Err(HubError::Failed(failure)),
            answer @ (HubAnswer::Enrolled { .. }
            | HubAnswer::LoggedIn { .. }
            | HubAnswer::Otp { .. }
            | HubAnswer::Devices(_)
            | HubAnswer::Done
            | HubAnswer::Meeting(_)
            | HubAnswer::Certificate(_)
            | HubAnswer::Examined(_)
            | HubAnswer::Sessions(_)
            | HubAnswer::Administered(_)
            | HubAnswer::Cases(_)
            | HubAnswer::SignOn(_)
            | HubAnswer::Approvals(_)) => Ok(answer),
            HubAnswer::Declined(declined) => Err(HubError::Declined(declined)),
        }
    }

    /// The address at which it answered.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.dialled.addr
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.dialled.close(0).await;
    }
}

/// Why the hub gave no answer of use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    /// It was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It was lost before it answered.
    #[error("the connection ended before the answer came")]
    Ended(Ending),
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not do that with the model or a case.
    #[error("{}", .0.problems.join("; "))]
    Declined(Declined),
    /// It cannot.
    #[error("{}", .0.sentence())]
    Failed(Failure),
    /// It answered another question.
    #[error("the hub gave an answer that does not fit the question")]
    Unexpected,
}

impl HubError {
    /// Whether the hub did not understand the request, as one of an earlier version.
    pub(crate) const fn is_of_earlier_version(&self) -> bool {
        matches!(self, Self::Ended(Ending::Said(CloseCode::Fault(ProtocolFault::Malformed))))
    }
}

impl From<ConnectionEnd> for HubError {
    fn from(end: ConnectionEnd) -> Self {
        Self::Ended(end.into())
    }
}

impl From<StreamFault> for HubError {
    fn from(fault: StreamFault) -> Self {
        Self::Ended(fault.into())
    }
}

impl From<FrameFault> for HubError {
    fn from(fault: FrameFault) -> Self {
        Self::Ended(fault.into())
    }
}

/// How long the answer to a request may take.
const fn patience(request: &HubRequest) -> Duration {
    if let HubRequest::Administrate { question, .. } = request
        && matches!(question, AdminQuestion::Invite | AdminQuestion::ResendInvite { .. })
    {
        return MAILED_WITHIN;
    }
    ANSWER_WITHIN
}

/// Hashing a password takes the hub a moment, and many may sign in on a Monday morning.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A mail server has twenty seconds for the letter of an invitation, and the hub says the code where it does not take it.
const MAILED_WITHIN: Duration = Duration::from_secs(40);
/// One handshake with a hub that is there takes a few round trips.
pub(crate) const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// The same where an answer of yesterday would do as well.
pub(crate) const GLANCE_WITHIN: Duration = Duration::from_secs(4);
