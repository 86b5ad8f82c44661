//! Carries one VNC session through the gate that understands it, under a permit and on a leash.
//!
//! 1. The password that the service names is opened; where it is missing, the viewer reads what to do about it.
//! 2. `greeting` shakes hands with both sides: the device logs in to the machine, the viewer needs no password.
//! 3. From then on the machine's bytes go to the viewer by the copy loop of every tunnel, unread, and `input` judges the
//!    viewer's messages one by one.
//! 4. A newer permit changes the mode of the live session, before any input that is ready.
//! 5. `parting` ends it: forwarding stops first, what is pressed is released, then the viewer is told, if RFB has a place
//!    for words at that point, and the client always.
//!
//! What the gate holds is bounded by the protocol's own `SESSION_BYTES`, whatever the peers send. Deliberately absent:
//! the protocol itself, which is pure and lives beside the policy.

mod greeting;
mod input;
mod parting;
mod recorded;

use std::pin::pin;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use postern_protocol::audit::GateCounts;
use postern_protocol::gate::rfb::{
    Config, Counters, End as GateEnd, Gate, Outcome, Password, Sharing, Side, ViewerSecurity,
};

use postern_protocol::policy::{Mode, Permit, Rules, VncRules};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::text::Text;
use postern_transport::quic::{ConnectionEnd, RecvStream, SendStream, StreamFault};
use postern_transport::splice::Meter;

use self::recorded::{UNRECORDED, forward, lost};
use super::Context;
use super::ending::exhausted;
use crate::recordings::{Fulfilled, Recorder};
use crate::registry::{Admitted, Ruling};
use crate::secrets::{SecretError, Secrets};

/// Carries a session; returns why it ended and what the viewer did. The stream is over and the socket closed then.
pub(super) async fn carry(
    fulfilled: Fulfilled,
    tunnel: &Admitted,
    mut machine: TcpStream,
    context: &Context,
    stream: (&mut SendStream, &mut RecvStream),
) -> (CloseCode, GateCounts) {
    let (send, recv) = stream;
    let mut permit = Arc::clone(fulfilled.permit());
    let mode = permit.mode();
    let (password, missing) = match password(&permit, &context.secrets) {
        Ok(password) => (password, None),
        Err(error) => (None, Some(End::NoSecret(error))),
    };
    let recorder = fulfilled.recorder();
    let mut viewing = Viewing::new(mode, password, recorder.cloned());
    let modes = watch::Sender::new(mode);
    let end = match missing {
        Some(end) => end,
        None => {
            let sides =
                Sides { machine: machine.split(), viewer: (&mut *send, &mut *recv), meter: &tunnel.meter };
            let mut reins = tunnel.leash.reins();
            let mut running = pin!(viewing.run(sides, modes.subscribe()));
            loop {
                tokio::select! {
                    // A cut goes before bytes that are ready.
                    biased;
                    ruling = reins.changed() => match ruling {
                        Ruling::Permitted(newer) => {
                            permit = newer;
                            modes.send_replace(permit.mode());
                        }
                        Ruling::Cut(code) => break End::Cut(code),
                    },
                    () = lost(recorder) => break UNRECORDED,
                    failure = exhausted(&permit, &tunnel.meter) => break End::Cut(CloseCode::Failed(failure)),
                    end = &mut running => break end,
                }
            }
        }
    };
    let code = viewing.part(end, machine, send, recv).await;
    if let Outcome::Ended(GateEnd::Fault(fault)) = viewing.gate.outcome()
        && let Some(suppressed) = context.traffic.admit()
    {
        tracing::info!(tunnel = %tunnel.id, error = %fault, suppressed, "the gate ended a VNC session");
    }
    (code, viewing.counts(mode))
}

/// What opens the machine, if the service names something.
fn password(permit: &Permit, secrets: &Secrets) -> Result<Option<Password>, SecretError> {
    match permit.service().reach.rules() {
        Some(Rules::Vnc(VncRules { password: Some(name), .. })) => {
            Ok(Some(Password::new(secrets.reveal(name)?.reveal())))
        }
        Some(Rules::Vnc(VncRules { password: None, .. }) | Rules::Http(_) | Rules::Websocket(_)) | None => {
            Ok(None)
        }
    }
}

/// The session as the agent sees it.
struct Viewing {
    gate: Gate,
    /// Whether the machine has got whole messages only: whatever stops a write in the middle leaves this false.
    whole: bool,
    /// What keeps the session, if it must be kept.
    recorder: Option<Arc<Recorder>>,
    /// Whether the recording knows the screen.
    is_noted: bool,
}

/// Both sides of a session and what counts their bytes.
struct Sides<'a> {
    machine: (ReadHalf<'a>, WriteHalf<'a>),
    viewer: (&'a mut SendStream, &'a mut RecvStream),
    meter: &'a Meter,
}

/// What stopped a session.
enum End {
    /// The gate: it knows why.
    Gate,
    /// The registry or a limit.
    Cut(CloseCode),
    /// The password that the service names is not there.
    NoSecret(SecretError),
    /// The machine's socket broke.
    Machine,
    /// The viewer's stream broke.
    Viewer(StreamFault),
}

impl Viewing {
    fn new(mode: Mode, password: Option<Password>, recorder: Option<Arc<Recorder>>) -> Self {
        let config = Config {
            mode,
            // Whoever stands at the machine is not thrown out by a viewer that wants the screen for itself.
            sharing: Sharing::Always,
            // The tunnel has authenticated its user.
            viewer: ViewerSecurity::None,
            password,
        };
        let gate = if recorder.is_some() { Gate::recorded(config) } else { Gate::new(config) };
        Self { gate, whole: true, recorder, is_noted: false }
    }

    /// Runs until one side ends, breaks, or does what it must not. Cancelling it stops both directions.
    async fn run(&mut self, sides: Sides<'_>, mut modes: watch::Receiver<Mode>) -> End {
        let Sides { machine: (mut reader, mut writer), viewer: (send, recv), meter } = sides;
        let greeted = tokio::time::timeout(
            greeting::WITHIN,
            self.greet((&mut reader, &mut writer), (&mut *send, &mut *recv), meter, &mut modes),
        );
        match greeted.await {
            Ok(Ok(())) => {}
            Ok(Err(end)) => return end,
            Err(_elapsed) => return End::Cut(CloseCode::Failed(Failure::Login)),
        }
        let recorder = self.recorder.clone();
        let ended = tokio::select! {
            ended = forward(&mut reader, send, meter, recorder.as_deref()) => ended,
            end = self.relay(&mut writer, recv, meter, &mut modes) => return end,
        };
        match ended {
            Ok(()) => {
                self.gate.handle_server_closed();
                End::Gate
            }
            Err(end) => end,
        }
    }

    /// What the viewer did, for the trail.
    const fn counts(&self, began: Mode) -> GateCounts {
        let Counters { keys, pointers, cut_texts, released } = self.gate.counters();
        GateCounts::Vnc { began, ended: self.gate.mode(), keys, pointers, cut_texts, released }
    }

    /// Whether the viewer sees the machine's screen; before that it can be told why it will not.
    fn is_open(&self) -> bool {
        self.gate.screen().is_some()
    }
}

impl End {
    /// The code for client and trail.
    fn code(&self, gate: &Gate) -> CloseCode {
        match self {
            Self::Gate => gate_code(gate),
            Self::Cut(code) => *code,
            Self::NoSecret(_) => CloseCode::Failed(Failure::Secret),
            Self::Machine => CloseCode::Failed(Failure::Broken),
            // The client's own code is not repeated: nobody here gave that reason.
            Self::Viewer(
                StreamFault::Reset(_)
                | StreamFault::Stopped(_)
                | StreamFault::ConnectionLost(ConnectionEnd::ClosedByPeer { .. }),
            ) => CloseCode::Done,
            Self::Viewer(
                StreamFault::ConnectionLost(_) | StreamFault::Ended { .. } | StreamFault::Closed,
            ) => CloseCode::Failed(Failure::Broken),
        }
    }

    /// What the person at the viewer reads.
    fn words(&self, code: CloseCode) -> Text {
        match self {
            Self::NoSecret(SecretError::Unknown { name }) => Text::clean(&format!(
                "the machine's password `{name}` is not stored on the device; set it there: `postern-agent secret set {name}`"
            )),
            Self::NoSecret(error) => Text::clean(&error.to_string()),
            Self::Gate | Self::Cut(_) | Self::Machine | Self::Viewer(_) => {
                Text::clean(&format!("{}; {}", code.sentence(), code.next_step()))
            }
        }
    }
}

fn gate_code(gate: &Gate) -> CloseCode {
    let Outcome::Ended(end) = gate.outcome() else { return CloseCode::Failed(Failure::Internal) };
    match end {
        GateEnd::ServerClosed if gate.screen().is_none() => CloseCode::Failed(Failure::Broken),
        GateEnd::ViewerClosed | GateEnd::ServerClosed => CloseCode::Done,
        GateEnd::Cut { .. } => CloseCode::Failed(Failure::Internal),
        GateEnd::Fault(fault) => match fault.side() {
            Side::Viewer => CloseCode::Failed(Failure::NotUnderstood),
            Side::Server => CloseCode::Failed(Failure::Login),
        },
    }
}
