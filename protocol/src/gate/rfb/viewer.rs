//! The viewer's side of the handshake, where the gate is the server.
//!
//! 1. Greeting 3.8; the viewer answers what it wants to speak.
//! 2. Nothing more until the machine has let the gate in: a failure there takes the place of the security types, where
//!    all versions have room for words.
//! 3. Security: a list, or in 3.3 a word. Then the challenge, if a password was chosen, and the result.
//! 4. `ClientInit`.

use crate::wire::text::Text;

use super::config::ViewerSecurity;
use super::fault::Fault;
use super::inbox::{Inbox, Outbox};
use super::password::Challenge;
use super::version::{Answer, GREETING, Version};

/// The handshake with the viewer.
#[derive(Debug)]
pub(super) struct Viewer {
    state: State,
    inbox: Inbox,
    answer: Answer,
    security: ViewerSecurity,
    /// Why the session is over, until the viewer can be told.
    refusal: Option<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Version,
    /// Until the machine has let us in.
    Waiting,
    Choice,
    Response,
    /// A result is due; `true` after a password, where all versions have one.
    Verdict(bool),
    Init,
    Over,
}

const NONE: u8 = 1;
const VNC: u8 = 2;
const FAILED: [u8; 4] = 1_u32.to_be_bytes();

impl Viewer {
    pub(super) fn new(security: ViewerSecurity, out: &mut Outbox) -> Self {
        out.push(GREETING);
        let answer = Answer { version: Version::V3_8, apple: false };
        Self { state: State::Version, inbox: Inbox::default(), answer, security, refusal: None }
    }

    /// Reads what the handshake needs from the front of `input` and leaves the rest there. Returns the shared flag of
    /// `ClientInit` when that has come.
    pub(super) fn handle(&mut self, input: &mut &[u8], out: &mut Outbox) -> Result<Option<bool>, Fault> {
        loop {
            match self.state {
                State::Version => {
                    let Some(answer) = self.inbox.array(input) else { return Ok(None) };
                    self.state = State::Over;
                    self.answer = Answer::of_viewer(answer).ok_or(Fault::ViewerVersion)?;
                    self.state = State::Waiting;
                    if let Some(reason) = self.refusal.take() {
                        self.refuse(reason, out);
                    }
                }
                State::Choice => {
                    let Some([chosen]) = self.inbox.array(input) else { return Ok(None) };
                    self.choice(chosen, out)?;
                }
                State::Response => {
                    let Some(response) = self.inbox.array(input) else { return Ok(None) };
                    self.response(&response, out)?;
                }
                State::Init => {
                    let Some([shared]) = self.inbox.array(input) else { return Ok(None) };
                    self.state = State::Over;
                    return Ok(Some(shared != 0));
                }
                State::Waiting | State::Verdict(_) | State::Over => return Ok(None),
            }
        }
    }

    /// Goes on with security, now that the machine has let us in.
    pub(super) fn handle_ready(&mut self, out: &mut Outbox) {
        if self.state != State::Waiting {
            return;
        }
        let types: &[u8] = match (&self.security, self.answer.apple) {
            (ViewerSecurity::None, _) => &[NONE],
            (ViewerSecurity::NoneOrPassword(_), false) => &[NONE, VNC],
            (ViewerSecurity::NoneOrPassword(_), true) | (ViewerSecurity::Password(_), _) => &[VNC],
        };
        match (self.answer.version, types) {
            (Version::V3_3, &[VNC]) => {
                out.push(&u32::from(VNC).to_be_bytes());
                self.challenge(out);
            }
            (Version::V3_3, _) => {
                out.push(&u32::from(NONE).to_be_bytes());
                self.state = State::Init;
            }
            (Version::V3_7 | Version::V3_8, types) => {
                out.push(if types.len() == 1 { &[1] } else { &[2] });
                out.push(types);
                self.state = State::Choice;
            }
        }
    }

    /// Tells the viewer why the session is over, now or as soon as the protocol has room for it, if it ever has.
    pub(super) fn refuse(&mut self, reason: Text, out: &mut Outbox) {
        match self.state {
            State::Version => self.refusal = Some(reason),
            State::Waiting => {
                let zero: &[u8] = if self.answer.version == Version::V3_3 { &[0; 4] } else { &[0] };
                out.push(zero);
                words(&reason, out);
                self.state = State::Over;
            }
            State::Verdict(password) => {
                if self.answer.version == Version::V3_8 {
                    out.push(&FAILED);
                    words(&reason, out);
                } else if password {
                    out.push(&FAILED);
                }
                self.state = State::Over;
            }
            State::Response => self.refusal = Some(reason),
            State::Choice if self.answer.version == Version::V3_8 => self.refusal = Some(reason),
            State::Choice | State::Init | State::Over => self.state = State::Over,
        }
    }

    /// The viewer is gone.
    pub(super) fn handle_closed(&mut self) {
        self.state = State::Over;
    }

    /// Whether the version was read and the machine may be reported as ready.
    pub(super) fn waits(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether a reason still waits for bytes of the viewer.
    pub(super) const fn owes_reason(&self) -> bool {
        self.refusal.is_some() && !matches!(self.state, State::Over)
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.inbox.capacity()
    }

    fn choice(&mut self, chosen: u8, out: &mut Outbox) -> Result<(), Fault> {
        let offered = match (&self.security, self.answer.apple) {
            (ViewerSecurity::None, _) => chosen == NONE,
            (ViewerSecurity::NoneOrPassword(_), false) => matches!(chosen, NONE | VNC),
            (ViewerSecurity::NoneOrPassword(_), true) | (ViewerSecurity::Password(_), _) => chosen == VNC,
        };
        if offered && chosen == VNC {
            self.challenge(out);
            return Ok(());
        }
        self.state = State::Verdict(false);
        if !offered && self.refusal.is_none() {
            return Err(Fault::ViewerChoice { chosen });
        }
        self.verdict(out);
        Ok(())
    }

    fn challenge(&mut self, out: &mut Outbox) {
        if let ViewerSecurity::NoneOrPassword(one) | ViewerSecurity::Password(one) = &self.security {
            out.push(&one.challenge);
            self.state = State::Response;
        }
    }

    fn response(&mut self, response: &Challenge, out: &mut Outbox) -> Result<(), Fault> {
        self.state = State::Verdict(true);
        let right = match &self.security {
            ViewerSecurity::NoneOrPassword(one) | ViewerSecurity::Password(one) => {
                one.password.accepts(&one.challenge, response)
            }
            ViewerSecurity::None => false,
        };
        if !right && self.refusal.is_none() {
            return Err(Fault::ViewerPassword);
        }
        self.verdict(out);
        Ok(())
    }

    /// Says yes, or the reason that came up since the security types were listed.
    fn verdict(&mut self, out: &mut Outbox) {
        if let Some(reason) = self.refusal.take() {
            self.refuse(reason, out);
            return;
        }
        if self.state == State::Verdict(true) || self.answer.version == Version::V3_8 {
            out.push(&0_u32.to_be_bytes());
        }
        self.security = ViewerSecurity::None; // wipes the password
        self.state = State::Init;
    }
}

fn words(reason: &Text, out: &mut Outbox) {
    let bytes = reason.as_str().as_bytes();
    out.push(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
    out.push(bytes);
}
