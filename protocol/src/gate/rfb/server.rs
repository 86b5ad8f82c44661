//! The machine's side of the handshake, where the gate is the client.
//!
//! 1. Version: the machine's, but 3.8 at most.
//! 2. Security: none where the machine is content with that; else VNC authentication; else Tight with one of these inside.
//!    Without a password the gate still tries what might not need one.
//! 3. Result and reason, as the version has them.
//! 4. `ClientInit` when the viewer has sent its own, then `ServerInit`, and behind a Tight login a list of capabilities
//!    that is skipped: the viewer, which never spoke Tight, must not see it.

use crate::limits::TEXT_BYTES;
use crate::wire::text::Text;

use super::fault::{Fault, SecurityTypes};
use super::inbox::{Inbox, Outbox};
use super::password::{Challenge, Password};
use super::screen::{HEADER_BYTES, Screen};
use super::tight::{CAPABILITIES, CAPABILITY_BYTES, Offer};
use super::version::Version;

/// The handshake with the machine.
#[derive(Debug)]
pub(super) struct Server {
    state: State,
    inbox: Inbox,
    version: Version,
    /// Taken when it is used.
    password: Option<Password>,
    /// Whether the result that comes is about the password.
    authenticating: bool,
    tight: bool,
}

/// What the gate must know of the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The machine let us in and waits for `ClientInit`.
    Ready,
    /// The machine described its screen.
    Open {
        /// What it said.
        screen: Screen,
        /// The same as bytes, for the viewer.
        init: Vec<u8>,
    },
}

#[derive(Debug)]
enum State {
    Version,
    Word,
    Count,
    Types(usize),
    Challenge,
    Result,
    ReasonLength,
    Reason(usize),
    TunnelCount,
    Tunnels(u32, Offer),
    AuthenticationCount,
    Authentications(u32, Offer),
    Ready,
    Init,
    Name(Screen, [u8; HEADER_BYTES], usize),
    CapabilityCounts(Screen, Vec<u8>),
    Capabilities(Screen, Vec<u8>, u32),
    Open,
}

/// Why a step led nowhere.
enum Halt {
    /// More bytes are needed.
    Starved,
    Fault(Fault),
}

/// The next state and what the gate must know.
type Step = Result<(State, Option<Event>), Halt>;

const NONE: u8 = 1;
const VNC: u8 = 2;
const TIGHT: u8 = 16;

impl Server {
    pub(super) fn new(password: Option<Password>) -> Self {
        Self {
            state: State::Version,
            inbox: Inbox::default(),
            version: Version::V3_8,
            password,
            authenticating: false,
            tight: false,
        }
    }

    /// Reads what the handshake still needs from the front of `input` and leaves the rest there.
    pub(super) fn handle(&mut self, input: &mut &[u8], out: &mut Outbox) -> Result<Option<Event>, Fault> {
        while !matches!(self.state, State::Open) {
            let state = std::mem::replace(&mut self.state, State::Open);
            match self.step(&state, input, out) {
                Ok((next, event)) => {
                    self.state = next;
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Err(Halt::Starved) => {
                    self.state = state;
                    return Ok(None);
                }
                Err(Halt::Fault(fault)) => return Err(fault),
            }
        }
        Ok(None)
    }

    /// Sends `ClientInit`, once the machine is ready.
    pub(super) fn handle_client_init(&mut self, shared: bool, out: &mut Outbox) {
        if matches!(self.state, State::Ready) {
            out.push(&[u8::from(shared)]);
            self.state = State::Init;
        }
    }

    /// The fault that the machine was telling when it closed, if it was.
    pub(super) fn handle_closed(&self) -> Option<Fault> {
        match self.state {
            State::ReasonLength => Some(self.refused(&[])),
            State::Reason(_) => Some(self.refused(self.inbox.partial())),
            State::Version
            | State::Word
            | State::Count
            | State::Types(_)
            | State::Challenge
            | State::Result
            | State::TunnelCount
            | State::Tunnels(..)
            | State::AuthenticationCount
            | State::Authentications(..)
            | State::Ready
            | State::Init
            | State::Name(..)
            | State::CapabilityCounts(..)
            | State::Capabilities(..)
            | State::Open => None,
        }
    }

    /// Wipes the password, now that the session is over.
    pub(super) fn forget(&mut self) {
        self.password = None;
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        let (State::CapabilityCounts(_, init) | State::Capabilities(_, init, _)) = &self.state else {
            return self.inbox.capacity();
        };
        self.inbox.capacity() + init.capacity()
    }

    fn step(&mut self, state: &State, input: &mut &[u8], out: &mut Outbox) -> Step {
        let next = match state {
            State::Version => {
                self.version = Version::of_server(self.array(input)?).ok_or(Fault::ServerVersion)?;
                out.push(self.version.greeting());
                if self.version == Version::V3_3 { State::Word } else { State::Count }
            }
            State::Word => return self.dictated(input),
            State::Count => match self.array(input)? {
                [0] => State::ReasonLength,
                [count] => State::Types(usize::from(count)),
            },
            State::Types(count) => {
                let types = self.list(input, *count)?;
                return self.choose(types, out);
            }
            State::Challenge => {
                let challenge = self.array(input)?;
                self.respond(&challenge, out)?
            }
            State::Result => return self.result(input),
            State::ReasonLength => {
                // What is longer is cut: nobody waits for four gigabytes of excuses.
                State::Reason(usize::try_from(self.word(input)?).unwrap_or(TEXT_BYTES).min(TEXT_BYTES))
            }
            State::Reason(length) => {
                let words = self.list(input, *length)?;
                return Err(self.refused(&words).into());
            }
            State::TunnelCount => match self.word(input)? {
                0 => State::AuthenticationCount,
                count => State::Tunnels(capabilities(count)?, Offer::default()),
            },
            State::Tunnels(left, offer) => self.tunnel(*left, *offer, input, out)?,
            State::AuthenticationCount => match self.word(input)? {
                0 => return self.without_password(),
                count => State::Authentications(capabilities(count)?, Offer::default()),
            },
            State::Authentications(left, offer) => return self.authentication(*left, *offer, input, out),
            State::Ready if input.is_empty() => return Err(Halt::Starved),
            State::Ready => return Err(Fault::ServerAhead.into()),
            State::Init => {
                let header = self.array(input)?;
                let (screen, length) = Screen::read(header)?;
                State::Name(screen, header, length)
            }
            State::Name(screen, header, length) => {
                let name = self.list(input, *length)?;
                return Ok(self.named(Screen { name: text(&name), ..screen.clone() }, header, &name));
            }
            State::CapabilityCounts(screen, init) => {
                let [a1, a0, b1, b0, c1, c0, _, _] = self.array(input)?;
                let counts = [[a1, a0], [b1, b0], [c1, c0]].map(|count| u32::from(u16::from_be_bytes(count)));
                let bytes = counts.iter().sum::<u32>() * CAPABILITY_BYTES;
                State::Capabilities(screen.clone(), init.clone(), bytes)
            }
            State::Capabilities(screen, init, left) => return skip(screen, init, *left, input),
            State::Open => return Err(Halt::Starved),
        };
        Ok((next, None))
    }

    /// The security type of 3.3, where a client has no choice.
    fn dictated(&mut self, input: &mut &[u8]) -> Step {
        match self.word(input)? {
            0 => Ok((State::ReasonLength, None)),
            1 => Ok(READY),
            2 => Ok((self.authenticate()?, None)),
            word => Err(Fault::UnsupportedWord { word }.into()),
        }
    }

    /// Chooses among the listed types. Nothing of the password is shown on the machine network where none is asked for.
    fn choose(&mut self, types: Vec<u8>, out: &mut Outbox) -> Step {
        let offers = |kind: u8| types.contains(&kind);
        if offers(NONE) {
            out.push(&[NONE]);
            return self.without_password();
        }
        if offers(VNC) && self.password.is_some() {
            out.push(&[VNC]);
            return Ok((self.authenticate()?, None));
        }
        if offers(TIGHT) {
            out.push(&[TIGHT]);
            self.tight = true;
            return Ok((State::TunnelCount, None));
        }
        if offers(VNC) {
            return Err(Fault::PasswordNeeded.into());
        }
        Err(Fault::Unsupported { offered: SecurityTypes(types.into()) }.into())
    }

    fn result(&mut self, input: &mut &[u8]) -> Step {
        match self.word(input)? {
            0 => Ok(READY),
            1 | 2 if self.version == Version::V3_8 => Ok((State::ReasonLength, None)),
            1 | 2 => Err(self.refused(&[]).into()),
            word => Err(Fault::SecurityResult { word }.into()),
        }
    }

    fn tunnel(
        &mut self,
        left: u32,
        mut offer: Offer,
        input: &mut &[u8],
        out: &mut Outbox,
    ) -> Result<State, Halt> {
        offer.tunnel(&self.array(input)?);
        if left > 1 {
            return Ok(State::Tunnels(left - 1, offer));
        }
        if !offer.no_tunnel {
            return Err(Fault::TightTunnel.into());
        }
        out.push(&0_u32.to_be_bytes());
        Ok(State::AuthenticationCount)
    }

    fn authentication(&mut self, left: u32, mut offer: Offer, input: &mut &[u8], out: &mut Outbox) -> Step {
        offer.authentication(&self.array(input)?);
        if left > 1 {
            return Ok((State::Authentications(left - 1, offer), None));
        }
        if offer.none {
            out.push(&u32::from(NONE).to_be_bytes());
            return self.without_password();
        }
        if !offer.vnc {
            return Err(Fault::TightAuthentication.into());
        }
        let next = self.authenticate()?;
        out.push(&u32::from(VNC).to_be_bytes());
        Ok((next, None))
    }

    fn named(&self, screen: Screen, header: &[u8], name: &[u8]) -> (State, Option<Event>) {
        let init = [header, name].concat();
        if self.tight {
            return (State::CapabilityCounts(screen, init), None);
        }
        (State::Open, Some(Event::Open { screen, init }))
    }

    /// What follows where no authentication was chosen: a result in 3.8 alone.
    fn without_password(&mut self) -> Step {
        self.password = None;
        Ok(if self.version == Version::V3_8 { (State::Result, None) } else { READY })
    }

    fn authenticate(&mut self) -> Result<State, Fault> {
        if self.password.is_none() {
            return Err(Fault::PasswordNeeded);
        }
        self.authenticating = true;
        Ok(State::Challenge)
    }

    fn respond(&mut self, challenge: &Challenge, out: &mut Outbox) -> Result<State, Fault> {
        let password = self.password.take().ok_or(Fault::PasswordNeeded)?;
        out.push(&password.respond(challenge));
        Ok(State::Result)
    }

    fn refused(&self, words: &[u8]) -> Fault {
        let reason = text(words);
        if self.authenticating { Fault::PasswordRefused { reason } } else { Fault::Refused { reason } }
    }

    fn array<const N: usize>(&mut self, input: &mut &[u8]) -> Result<[u8; N], Halt> {
        self.inbox.array(input).ok_or(Halt::Starved)
    }

    fn list(&mut self, input: &mut &[u8], length: usize) -> Result<Vec<u8>, Halt> {
        self.inbox.list(input, length).ok_or(Halt::Starved)
    }

    fn word(&mut self, input: &mut &[u8]) -> Result<u32, Halt> {
        self.array(input).map(u32::from_be_bytes)
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

const READY: (State, Option<Event>) = (State::Ready, Some(Event::Ready));

/// Skips the capabilities behind `ServerInit`, however many there are.
fn skip(screen: &Screen, init: &[u8], left: u32, input: &mut &[u8]) -> Step {
    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    *input = input.get(skipped..).unwrap_or_default();
    let left = left.saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX));
    let (screen, init) = (screen.clone(), init.to_vec());
    match (left, skipped) {
        (0, _) => Ok((State::Open, Some(Event::Open { screen, init }))),
        (_, 0) => Err(Halt::Starved),
        (left, _) => Ok((State::Capabilities(screen, init, left), None)),
    }
}

const fn capabilities(count: u32) -> Result<u32, Fault> {
    if count > CAPABILITIES { Err(Fault::TightCount { count }) } else { Ok(count) }
}

fn text(bytes: &[u8]) -> Text {
    Text::clean(&String::from_utf8_lossy(bytes))
}
