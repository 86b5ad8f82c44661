//! One connection of a client: first who it is, then one request per stream.
//!
//! 1. Within ten seconds a pass of somebody whom the policy names must be accepted, or the connection is closed; earlier, as `busy`, where
//!    it is the one that has to give way to whoever comes.
//! 2. Each stream begins with one frame; who sends none in time, or nonsense, loses the stream. Who asks again and again for what
//!    opens nothing is answered slowly.
//! 3. A later pass of the same user replaces the earlier one for new requests, and for live tunnels where it is at
//!    least as good: so a second factor that is growing old is proved again without losing a tunnel.
//! 4. When a root came into force that does not vouch for the newest pass, the connection is closed with its tunnels.
//! 5. A pass of another user is refused: a connection speaks for one person as long as it lives.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::{Denial, Permit, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::{EXPORTER_LABEL, Presented};
use postern_protocol::trust::{Envelope, Pass, PassFault, Proof, Subject};
use postern_protocol::wire::codec::{self, CodecFault};
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Request};
use postern_transport::crowd::Word;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, RecvStream, SendStream, Settings};

use super::http::Nonces;
use super::turns::Turns;
use super::vpn::{self, Lines, Vpns};
use super::{Context, PATIENCE, open, services};
use crate::audit::DeniedRequest;
use crate::registry::{Admitted, Caller, Refused, Whereabouts, Wish};

/// What the streams of one connection share.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) context: Arc<Context>,
    /// What the accepted passes say. A sender, because the connection's loop waits for the first one.
    known: watch::Sender<Option<Known>>,
    /// Whether it is still one of the strangers, who give way.
    word: Word,
    /// Its place among the members, once a pass of a user whom the policy names was accepted. Held, never read: dropping it makes room.
    place: Mutex<Option<OwnedSemaphorePermit>>,
    /// Passes that were refused on this connection.
    refused: AtomicU32,
    /// When answers that open nothing are given.
    pub(super) turns: Turns,
    /// What machines have said about the next login.
    pub(super) nonces: Nonces,
    /// The open VPNs.
    pub(super) vpns: Vpns,
    /// Their flows of messages.
    pub(super) lines: Lines,
    /// Streams that the client may have open.
    streams: AtomicU16,
}

/// What the accepted passes of a connection say.
struct Known {
    /// The newest.
    subject: Arc<Subject>,
    /// The end of the one that lasts longest, by which a live tunnel may have been permitted.
    ends: UnixTime,
    /// The newest as it was presented, to be judged again under a later root.
    presented: (Vec<u8>, Proof),
}

/// Serves one connection until it ends.
pub(super) async fn run(connection: Connection, word: Word, context: Arc<Context>) {
    let session = Arc::new(Session {
        connection: connection.clone(),
        context,
        known: watch::Sender::new(None),
        word,
        place: Mutex::new(None),
        refused: AtomicU32::new(0),
        turns: Turns::new(),
        nonces: Nonces::default(),
        vpns: Vpns::default(),
        lines: Lines::default(),
        streams: AtomicU16::new(Settings::session().streams),
    });
    let mut known = session.known.subscribe();
    let mut roots = session.context.anchor.listen();
    let deadline = Instant::now() + PATIENCE;
    let mut is_known = false;
    let mut streams = JoinSet::new();
    // One for the whole connection: begun again for each stream, its grace would never end for who keeps asking.
    let mut expired = std::pin::pin!(session.expired());
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => {
                    streams.spawn(answer(Arc::clone(&session), send, recv));
                }
                Err(_ended) => break,
            },
            datagram = connection.read_datagram() => match datagram {
                Ok(datagram) => session.lines.pass_on(&datagram),
                Err(_ended) => break,
            },
            Some(ended) = streams.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a stream failed");
                }
            }
            changed = known.changed(), if !is_known => is_known = changed.is_ok() && session.is_member(),
            Ok(()) = roots.changed() => if !session.holds() {
                connection.close(CloseCode::Denied(Reason::BadPass).number(), b"the pass is not genuine any more");
                break;
            },
            () = &mut expired, if is_known => {
                connection.close(CloseCode::Denied(Reason::BadPass).number(), b"the pass is over");
                break;
            }
            () = tokio::time::sleep_until(deadline), if !is_known => {
                // A policy may have come meanwhile that names the caller.
                if session.subject().is_some_and(|subject| session.context.gate.names(&subject)) && session.join() {
                    is_known = true;
                    continue;
                }
                let (code, words) = match session.subject() {
                    Some(_) => (CloseCode::Denied(Reason::NoGrant), b"nothing is granted".as_slice()),
                    None => (CloseCode::Fault(ProtocolFault::TimedOut), b"not signed in".as_slice()),
                };
                connection.close(code.number(), words);
                break;
            }
        }
    }
    // Each tunnel notices the end by itself and writes its last row.
    while streams.join_next().await.is_some() {}
}

async fn answer(session: Arc<Session>, mut send: SendStream, mut recv: RecvStream) {
    let request = match read_frame::<Request>(&mut recv, limits::FRAME_BYTES, PATIENCE).await {
        Ok(request) => request,
        Err(fault) => {
            session.turns.next().await;
            return session.drop_stream(&mut send, &mut recv, &fault);
        }
    };
    let answer = match (request, session.subject()) {
        (Request::Authenticate { pass, proof }, _) => session.authenticate(&pass, proof).await,
        (Request::ListServices, Some(subject)) => services::list(&session.context, &subject).await,
        (Request::Open { service, view_only }, Some(subject)) => {
            return open::run(&session, subject, (service, view_only), send, recv).await;
        }
        (Request::OpenVpn { service, view_only }, Some(subject)) => {
            return vpn::run(&session, subject, (service, view_only), send, recv).await;
        }
        (Request::Flow { tunnel, to }, Some(_)) => {
            return vpn::run_flow(&session, tunnel, &to, send, recv).await;
        }
        (Request::Discover { tunnel, scan }, Some(_)) => {
            return vpn::run_discovery(&session, tunnel, scan, send, recv).await;
        }
        (Request::Packets { tunnel }, Some(_)) => {
            return vpn::run_packets(&session, tunnel, send, recv).await;
        }
        (
            Request::ListServices | Request::Flow { .. } | Request::Discover { .. } | Request::Packets { .. },
            None,
        ) => Answer::Denied(Reason::BadPass),
        (Request::Open { service, .. } | Request::OpenVpn { service, .. }, None) => {
            session.denied(Some(service), None).await;
            Answer::Denied(Reason::BadPass)
        }
    };
    session.turns.next().await;
    reply(&mut send, &mut recv, &answer).await;
}

/// Sends the only answer of a stream and ends it. A client that does not read it loses the stream in time.
pub(super) async fn reply(send: &mut SendStream, recv: &mut RecvStream, answer: &Answer) {
    let written = tokio::time::timeout(PATIENCE, write_frame(send, answer, ANSWER_BYTES)).await;
    recv.stop(CloseCode::Done.number());
    match written {
        Ok(Ok(())) => {
            let _reset_before = send.finish();
        }
        Ok(Err(_)) | Err(_) => send.reset(CloseCode::Fault(ProtocolFault::TimedOut).number()),
    }
}

impl Session {
    /// Decides and registers a tunnel of the caller, by the newest pass.
    pub(super) fn admit(&self, service: &Name, view_only: bool) -> Result<(Admitted, Arc<Permit>), Refused> {
        let subject = self.subject().ok_or_else(|| Refused::Denied(Denial::bad_pass()))?;
        let caller = self.caller(&subject);
        self.context.registry.admit(&self.context.gate, &caller, service, Wish { view_only, flows: false })
    }

    /// Who asks.
    pub(super) fn caller<'a>(&self, subject: &'a Arc<Subject>) -> Caller<'a> {
        let connection = self.connection.clone();
        let whereabouts = Whereabouts(Arc::new(move || connection.peer()));
        Caller { subject, connection: self.connection.id(), whereabouts }
    }

    /// Lets the client have this many streams open, if that is more than before.
    pub(super) fn widen(&self, streams: u16) {
        if self.streams.fetch_max(streams, Ordering::Relaxed) < streams {
            self.connection.widen(&Settings { streams, ..Settings::session() });
        }
    }

    pub(super) fn subject(&self) -> Option<Arc<Subject>> {
        self.known.borrow().as_ref().map(|known| Arc::clone(&known.subject))
    }

    async fn authenticate(&self, pass: &[u8], proof: Proof) -> Answer {
        let taken =
            self.verify(pass, proof).and_then(|subject| self.take(Arc::new(subject), (pass.to_vec(), proof)));
        match taken {
            Ok(subject) => self.welcome(&subject, pass),
            Err(NotKnown::Lost) => Answer::Failed(Failure::Internal),
            Err(NotKnown::NoRoom) => Answer::Failed(Failure::Busy),
            Err(fault @ (NotKnown::Pass(_) | NotKnown::AnotherUser)) => self.refuse(&fault).await,
        }
    }

    /// Whether the newest pass, if there is one, holds under the root of this moment.
    fn holds(&self) -> bool {
        let presented = self.known.borrow().as_ref().map(|known| known.presented.clone());
        presented.is_none_or(|(pass, proof)| self.verify(&pass, proof).is_ok())
    }

    async fn refuse(&self, fault: &NotKnown) -> Answer {
        if let Some(suppressed) = self.context.noise.admit() {
            let (peer, now) = (self.connection.remote_addr(), self.context.gate.clock().now());
            tracing::info!(%peer, reason = fault.word(), error = %fault, %now, suppressed, "a pass was refused");
        }
        self.denied(None, Some(fault.word())).await;
        // Each attempt costs a signature check; nobody needs many.
        if self.refused.fetch_add(1, Ordering::Relaxed) + 1 >= ATTEMPTS {
            self.connection.close(CloseCode::Denied(Reason::BadPass).number(), b"too many passes");
        }
        Answer::Denied(Reason::BadPass)
    }

    /// Waits until no accepted pass is worth anything, and a little longer: tunnels end by themselves, with their
    /// reason, and a place among the members must not be held for ever.
    async fn expired(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                tokio::time::sleep(GRACE).await;
                // A later pass may have come meanwhile.
                if self.left().is_zero() {
                    return;
                }
            } else {
                tokio::time::sleep(left.min(GLANCE)).await;
            }
        }
    }

    /// For how long an accepted pass is still worth something.
    fn left(&self) -> Duration {
        let ends = self.known.borrow().as_ref().map(|known| known.ends);
        ends.map_or(Duration::ZERO, |ends| self.context.gate.clock().until(ends))
    }

    fn verify(&self, pass: &[u8], proof: Proof) -> Result<Subject, NotKnown> {
        let exporter =
            self.connection.export_keying_material(EXPORTER_LABEL, &[]).map_err(|_| NotKnown::Lost)?;
        let presented = Presented { pass, proof, exporter: &exporter, peer_key: self.connection.peer_key() };
        let context = &self.context;
        let clock = context.gate.clock();
        let root = context.anchor.root();
        let authenticate = || Subject::authenticate(&presented, context.device, &root, clock.now());
        match authenticate() {
            // Everything else about it holds. Where nobody has said what time it is, it is at least that late.
            Err(PassFault::NotYet { issued, .. }) if !clock.is_attested() => {
                clock.learn_pass(issued);
                Ok(authenticate()?)
            }
            authenticated => Ok(authenticated?),
        }
    }

    /// Makes a verified pass the newest of this connection, and that of its live tunnels where it is as good.
    fn take(&self, subject: Arc<Subject>, presented: (Vec<u8>, Proof)) -> Result<Arc<Subject>, NotKnown> {
        let mut taken = Ok(());
        // As one step: of two passes that come at once, the second is compared with the first.
        self.known.send_if_modified(|known| {
            let user = known.as_ref().map(|known| known.subject.user());
            if user.is_some_and(|user| user != subject.user()) {
                taken = Err(NotKnown::AnotherUser);
                return false;
            }
            // Whoever the policy does not name is answered like everybody else, but keeps a stranger's place and time:
            // a pass alone, which any user of the fleet has, must not take the places of those who work here.
            if self.context.gate.names(&subject) && !self.join() {
                taken = Err(NotKnown::NoRoom);
                return false;
            }
            let ends = known.as_ref().map_or(subject.expires(), |known| known.ends.max(subject.expires()));
            *known = Some(Known { subject: Arc::clone(&subject), ends, presented: presented.clone() });
            true
        });
        taken?;
        self.context.registry.renew(&self.context.gate, self.connection.id(), &subject);
        Ok(subject)
    }

    fn welcome(&self, subject: &Subject, pass: &[u8]) -> Answer {
        // Verified a moment ago: it is signed time.
        if let Some(issued) = issued(pass) {
            self.context.gate.clock().learn_pass(issued);
        }
        tracing::debug!(user = %subject.user(), peer = %self.connection.remote_addr(), "a client signed in");
        let agent = Text::clean(env!("CARGO_PKG_VERSION"));
        Answer::Welcome { device: self.context.device, agent, until: subject.expires() }
    }

    /// Moves from the strangers to the members. False when there is no place.
    fn join(&self) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return true;
        }
        let Ok(member) = Arc::clone(&self.context.members).try_acquire_owned() else { return false };
        if !self.word.stays() {
            // Had to give way a moment ago.
            return false;
        }
        *place = Some(member);
        self.connection.widen(&Settings::session());
        self.connection.vouch();
        true
    }

    fn is_member(&self) -> bool {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    async fn denied(&self, service: Option<postern_protocol::name::Name>, fault: Option<&'static str>) {
        let (reason, peer) = (Reason::BadPass, self.connection.peer());
        let request = DeniedRequest { user: None, service, reason, fault, origin: None, peer };
        self.context.auditor.denied(request).await;
    }

    fn drop_stream(&self, send: &mut SendStream, recv: &mut RecvStream, fault: &FrameFault) {
        let code = CloseCode::Fault(match fault {
            FrameFault::TooLarge { .. } | FrameFault::Codec(CodecFault::TooLarge { .. }) => {
                ProtocolFault::Oversize
            }
            FrameFault::TimedOut { .. } => ProtocolFault::TimedOut,
            FrameFault::Ended | FrameFault::Truncated { .. } | FrameFault::Codec(_) => {
                ProtocolFault::Malformed
            }
            FrameFault::Stream(_) => return,
        });
        if let Some(suppressed) = self.context.noise.admit() {
            let peer = self.connection.remote_addr();
            tracing::info!(%peer, error = %fault, suppressed, "a client's request was refused");
        }
        send.reset(code.number());
        recv.stop(code.number());
    }
}

/// When a verified pass was signed.
fn issued(pass: &[u8]) -> Option<UnixTime> {
    let envelope = Envelope::parse(pass, limits::PASS_BYTES).ok()?;
    codec::decode::<Pass>(envelope.payload(), limits::PASS_BYTES).ok().map(|pass| pass.issued)
}

/// Passes that may be refused on one connection.
const ATTEMPTS: u32 = 3;
/// How often the clock is looked at for the end of a pass.
const GLANCE: Duration = Duration::from_secs(60);
/// Time for tunnels to end with their reason after the pass.
const GRACE: Duration = Duration::from_secs(3);

/// Why a caller is not known.
#[derive(Debug, thiserror::Error)]
enum NotKnown {
    /// The connection is over.
    #[error("the connection is over")]
    Lost,
    /// The pass does not hold.
    #[error(transparent)]
    Pass(#[from] PassFault),
    /// A connection speaks for one person.
    #[error("the pass is another user's than the one before it on this connection")]
    AnotherUser,
    /// As many members are connected as there are places.
    #[error("every place is taken")]
    NoRoom,
}

impl NotKnown {
    /// The word in the audit trail and in logs.
    const fn word(&self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Pass(fault) => fault.word(),
            Self::AnotherUser => "another_user",
            Self::NoRoom => "no_room",
        }
    }
}
