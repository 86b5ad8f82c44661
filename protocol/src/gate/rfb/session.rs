//! Both sides together.

use std::ops::Range;

use crate::policy::Mode;
use crate::wire::text::Text;

use super::config::{Config, Sharing};
use super::encoding;
use super::fault::{End, Fault, Outcome};
use super::filter::Filter;
use super::inbox::Outbox;
use super::message::{self, Counters, EARLY_BYTES};
use super::screen::Screen;
use super::server::{Event, Server};
use super::viewer::Viewer;

/// Bytes of buffers that a session holds at most, whatever its peers send: one cut text with its header, and the small
/// parts of handshakes and messages.
pub const SESSION_BYTES: usize = 80 * 1024;

/// The state of one session. It never waits and never fails: it is told what happened (`handle_*`), says what is to be
/// sent (`poll_*`), and how it stands ([`Gate::outcome`]).
///
/// A shell reads both sides and, after each call of `handle_*`, writes what `poll_to_viewer` and `poll_to_server` lend.
/// Bytes of a `poll` go before the bytes that a `handle` has returned, except that [`Actions`] are complete in themselves.
///
/// ```
/// use postern_protocol::gate::rfb::{Action, Config, Gate, Mode, Outcome, Sharing, ViewerSecurity};
///
/// let mut gate = Gate::new(Config {
///     mode: Mode::ViewOnly,
///     sharing: Sharing::Always,
///     viewer: ViewerSecurity::None,
///     password: None,
/// });
/// let (mut to_viewer, mut to_server) = (Vec::new(), Vec::new());
///
/// // bytes of the machine:
/// let bytes = b"RFB 003.008\n";
/// let rest = gate.handle_server(bytes);
/// to_viewer.extend_from_slice(gate.poll_to_viewer().unwrap_or_default());
/// to_viewer.extend_from_slice(rest);
/// to_server.extend_from_slice(gate.poll_to_server().unwrap_or_default());
///
/// // bytes of the viewer:
/// let bytes = b"RFB 003.008\n";
/// let mut actions = gate.handle_viewer(bytes);
/// while let Some(action) = actions.next_action() {
///     to_server.extend_from_slice(match &action {
///         Action::Forward(range) => &bytes[range.clone()],
///         Action::Send(bytes) => bytes,
///     });
/// }
/// to_viewer.extend_from_slice(gate.poll_to_viewer().unwrap_or_default());
///
/// assert_eq!(gate.outcome(), &Outcome::Handshake);
/// assert_eq!((to_viewer.as_slice(), to_server.as_slice()), (&b"RFB 003.008\n"[..], &b"RFB 003.008\n"[..]));
/// ```
#[derive(Debug)]
pub struct Gate {
    viewer: Viewer,
    server: Server,
    /// Whether the machine has let us in.
    ready: bool,
    filter: Filter,
    sharing: Sharing,
    outcome: Outcome,
    screen: Option<Screen>,
    /// What the viewer sent before its turn.
    early: Vec<u8>,
    /// The narrowest mode since then: what was sent while one may only look stays dropped when that changes.
    early_mode: Mode,
    /// The last pixel format of what was sent before its turn.
    early_format: Option<[u8; 16]>,
    to_viewer: Outbox,
    to_server: Outbox,
}

/// What is to be sent to the machine next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// This range of the bytes that were handed in.
    Forward(Range<usize>),
    /// These bytes of the gate.
    Send(&'a [u8]),
}

/// What becomes of a viewer's bytes, in order. Bytes that are in no action are dropped.
///
/// Call [`Actions::next_action`] until it returns `None`; only then the bytes are read to their end.
#[must_use = "bytes that are not taken from here are lost"]
#[derive(Debug)]
pub struct Actions<'a> {
    gate: &'a mut Gate,
    bytes: &'a [u8],
    at: usize,
}

impl Gate {
    /// Begins a session. The greeting for the viewer can be polled at once.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::passing(config, encoding::allowed)
    }

    /// Begins a session that is recorded: the viewer may ask only for what a replay decodes ([`encoding::replayable`]).
    #[must_use]
    pub fn recorded(config: Config) -> Self {
        Self::passing(config, encoding::replayable)
    }

    fn passing(config: Config, passes: fn(i32) -> bool) -> Self {
        let mut to_viewer = Outbox::default();
        Self {
            viewer: Viewer::new(config.viewer, &mut to_viewer),
            server: Server::new(config.password),
            ready: false,
            filter: Filter::new(config.mode, passes),
            sharing: config.sharing,
            outcome: Outcome::Handshake,
            screen: None,
            early: Vec::new(),
            early_mode: config.mode,
            early_format: None,
            to_viewer,
            to_server: Outbox::default(),
        }
    }

    /// Takes bytes of the viewer. During the handshake they are read at once and the actions are what is to be said to the
    /// machine because of them; afterwards they are read as the actions are taken.
    pub fn handle_viewer<'a>(&'a mut self, bytes: &'a [u8]) -> Actions<'a> {
        let at = if self.outcome == Outcome::Open { 0 } else { bytes.len() };
        match self.outcome {
            Outcome::Handshake => {
                if let Err(fault) = self.greet_viewer(bytes) {
                    self.end(End::Fault(fault));
                }
            }
            Outcome::Open => {}
            // The session is over; a reason may still wait for the viewer to come to the point where it can be told.
            Outcome::Ended(_) => {
                let _told_or_not = self.viewer.handle(&mut { bytes }, &mut self.to_viewer);
            }
        }
        Actions { gate: self, bytes, at }
    }

    /// Takes bytes of the machine and returns the part of them that goes to the viewer as it is, after what
    /// [`Gate::poll_to_viewer`] lends. Once the session is open that is all of them: then a shell may copy this direction
    /// without asking any more.
    pub fn handle_server<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.outcome {
            Outcome::Open => bytes,
            Outcome::Ended(_) => &[],
            Outcome::Handshake => {
                let mut rest = bytes;
                if let Err(fault) = self.greet_server(&mut rest) {
                    self.end(End::Fault(fault));
                }
                if self.outcome == Outcome::Open { rest } else { &[] }
            }
        }
    }

    /// Changes what the viewer may do, from this byte on. What is pressed is released if it may not touch any more; so
    /// poll for the machine afterwards.
    pub fn handle_mode(&mut self, mode: Mode) {
        self.early_mode = if self.early.is_empty() { mode } else { self.early_mode.narrower(mode) };
        self.filter.handle_mode(mode, &mut self.to_server);
    }

    /// Ends the session from outside: access was revoked, a deadline has passed, the machine cannot be reached. During the
    /// handshake the viewer shows the reason; see [`Gate::owes_reason`].
    pub fn handle_cut(&mut self, reason: Text) {
        self.end(End::Cut { reason });
    }

    /// The viewer has closed its side. What it held down is released.
    pub fn handle_viewer_closed(&mut self) {
        self.end(End::ViewerClosed);
    }

    /// The machine has closed its side.
    pub fn handle_server_closed(&mut self) {
        let fault = if self.outcome == Outcome::Handshake { self.server.handle_closed() } else { None };
        self.end(fault.map_or(End::ServerClosed, End::Fault));
    }

    /// Lends what is to be written to the viewer.
    pub fn poll_to_viewer(&mut self) -> Option<&[u8]> {
        let bytes = self.to_viewer.lend();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Lends what is to be written to the machine.
    pub fn poll_to_server(&mut self) -> Option<&[u8]> {
        let bytes = self.to_server.lend();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// How the session stands.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether an ended session still has a reason that the viewer can be told only after it has sent more. A shell goes on
    /// reading the viewer, for a second or two, while this is true.
    #[must_use]
    pub fn owes_reason(&self) -> bool {
        matches!(self.outcome, Outcome::Ended(_)) && self.viewer.owes_reason()
    }

    /// The mode in force.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.filter.mode()
    }

    /// The machine's screen, once the session was open.
    #[must_use]
    pub const fn screen(&self) -> Option<&Screen> {
        self.screen.as_ref()
    }

    /// The pixel format that the viewer asked for before its turn, the last one of several: it is with the machine as soon
    /// as [`Gate::poll_to_server`] was written in the open session. Later ones are in an [`Action`].
    #[must_use]
    pub const fn early_format(&self) -> Option<[u8; 16]> {
        self.early_format
    }

    /// What the viewer did so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.filter.counters()
    }

    /// Bytes of memory that the session's buffers hold now; never above [`SESSION_BYTES`].
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.viewer.capacity()
            + self.server.capacity()
            + self.filter.capacity()
            + self.early.capacity()
            + self.to_viewer.capacity()
            + self.to_server.capacity()
    }

    fn greet_viewer(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        if self.early.is_empty() {
            self.advance_viewer(&mut rest)?;
        }
        if rest.len() > EARLY_BYTES - self.early.len().min(EARLY_BYTES) {
            return Err(Fault::ViewerAhead);
        }
        self.early.extend_from_slice(rest);
        Ok(())
    }

    fn advance_viewer(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        loop {
            if let Some(shared) = self.viewer.handle(input, &mut self.to_viewer)? {
                let shared = match self.sharing {
                    Sharing::AsViewer => shared,
                    Sharing::Always => true,
                    Sharing::Never => false,
                };
                self.server.handle_client_init(shared, &mut self.to_server);
            }
            if !(self.ready && self.viewer.waits()) {
                return Ok(());
            }
            self.viewer.handle_ready(&mut self.to_viewer);
        }
    }

    fn greet_server(&mut self, rest: &mut &[u8]) -> Result<(), Fault> {
        while let Some(event) = self.server.handle(rest, &mut self.to_server)? {
            let early = std::mem::take(&mut self.early);
            match event {
                Event::Ready => {
                    self.ready = true;
                    let mut input = early.as_slice();
                    self.advance_viewer(&mut input)?;
                    self.early = input.to_vec();
                }
                Event::Open { screen, init } => {
                    self.screen = Some(screen);
                    self.to_viewer.push(&init);
                    self.outcome = Outcome::Open;
                    return self.replay(&early);
                }
            }
        }
        Ok(())
    }

    /// Reads the messages that the viewer sent before the session was open.
    fn replay(&mut self, early: &[u8]) -> Result<(), Fault> {
        let (mode, mut at) = (self.filter.mode(), 0);
        self.filter.handle_mode(self.early_mode, &mut self.to_server);
        while at < early.len() {
            let mut behind = Outbox::default();
            let run = self.filter.next(early, &mut at, &mut behind)?;
            self.to_server.push(run.and_then(|run| early.get(run)).unwrap_or_default());
            self.early_format = message::format(behind.lend()).or(self.early_format);
            self.to_server.push(behind.lend());
        }
        self.filter.handle_mode(mode, &mut self.to_server);
        Ok(())
    }

    fn end(&mut self, end: End) {
        if matches!(self.outcome, Outcome::Ended(_)) {
            return;
        }
        let reason = match &end {
            End::Cut { reason } => Some(reason.clone()),
            End::Fault(fault) => Some(Text::clean(&fault.to_string())),
            End::ServerClosed => Some(Text::clean("the machine closed the connection")),
            End::ViewerClosed => None,
        };
        match reason {
            Some(reason) => self.viewer.refuse(reason, &mut self.to_viewer),
            None => self.viewer.handle_closed(),
        }
        self.server.forget();
        self.filter.release(&mut self.to_server);
        self.early = Vec::new();
        self.outcome = Outcome::Ended(end);
    }
}

impl Action<'_> {
    /// The pixel format that the viewer asks for with this action; such a message is an action of its own.
    #[must_use]
    pub fn format(&self) -> Option<[u8; 16]> {
        match self {
            Self::Forward(_) => None,
            Self::Send(bytes) => message::format(bytes),
        }
    }
}

impl Actions<'_> {
    /// The next action, or `None` when all bytes are read or the session has ended.
    pub fn next_action(&mut self) -> Option<Action<'_>> {
        let gate = &mut *self.gate;
        gate.to_server.recycle();
        if gate.to_server.is_empty() && gate.outcome == Outcome::Open {
            match gate.filter.next(self.bytes, &mut self.at, &mut gate.to_server) {
                Ok(Some(run)) => return Some(Action::Forward(run)),
                Ok(None) => {}
                Err(fault) => gate.end(End::Fault(fault)),
            }
        }
        if gate.to_server.is_empty() {
            return None;
        }
        Some(Action::Send(gate.to_server.lend()))
    }
}
