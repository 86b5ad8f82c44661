//! Keeps the connection to a device up for as long as the listener is.
//!
//! 1. It waits for the end of the connection, watched over by [`Vigil`], and says why it ended.
//! 2. It dials again, with a random wait that grows from one second to half a minute.
//! 3. A device that is away is tried for ever; a device that says no ends the session.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use postern_protocol::name::Name;
use postern_transport::backoff::Backoff;

use crate::connect::listeners::Port;
use crate::connect::reach;
use crate::connect::vigil::{Ends, Vigil};
use crate::device::DeviceLink;
use crate::directory::Known;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Whether tunnels can be opened now.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Over this connection.
    Up(Arc<DeviceLink>),
    /// The connection is being made again.
    Down,
}

/// The connection, if there is one within this time.
pub(crate) async fn up_within(
    states: &mut watch::Receiver<State>,
    within: Duration,
) -> Option<Arc<DeviceLink>> {
    let up = states.wait_for(|state| matches!(state, State::Up(_)));
    match &*tokio::time::timeout(within, up).await.ok()?.ok()? {
        State::Up(link) => Some(Arc::clone(link)),
        State::Down => None,
    }
}

/// What is needed to dial again.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    vigil: Vigil<'a>,
    known: Known,
    profile: &'a Profile,
}

impl<'a> Keeper<'a> {
    pub(crate) const fn new(vigil: Vigil<'a>, known: Known, profile: &'a Profile) -> Self {
        Self { vigil, known, profile }
    }

    /// Where tunnels say when they end.
    pub(crate) fn ends(&self) -> Ends {
        self.vigil.ends()
    }

    /// The port of a web service.
    pub(crate) fn port(&self) -> Port {
        let user = self.vigil.identity().key.public();
        Port::of(&user, &self.known.entry.device, self.vigil.service())
    }

    /// The device's name.
    pub(crate) const fn device(&self) -> &Name {
        &self.known.entry.name
    }

    /// Runs until the device says no; yields what it said.
    pub(crate) async fn keep(&mut self, states: &watch::Sender<State>, screen: &Screen) -> Problem {
        loop {
            let now = states.borrow().clone();
            if let State::Up(link) = now {
                let ending = tokio::select! {
                    ending = link.closed() => ending,
                    never = self.vigil.keep(&link) => match never {},
                };
                let why = Problem::ended(&ending, Exit::DeviceUnreachable).about(self.device().as_str());
                screen.note(&format!("{why}; connecting again"));
                states.send_replace(State::Down);
            }
            match self.dial_again().await {
                Ok(link) => {
                    screen.note(&format!("{}: connected again", self.device()));
                    states.send_replace(State::Up(Arc::new(link)));
                }
                Err(problem) => return problem,
            }
        }
    }

    async fn dial_again(&mut self) -> Result<DeviceLink, Problem> {
        let mut backoff = Backoff::between(FIRST_WAIT, LONGEST_WAIT);
        loop {
            // Without randomness it waits the whole time: late, but never a storm.
            tokio::time::sleep(backoff.delay(getrandom::u64().unwrap_or(u64::MAX))).await;
            self.vigil.refresh();
            match reach(&self.known, self.vigil.identity(), self.profile).await.map_err(Problem::from) {
                Ok((link, known)) => {
                    self.known = known;
                    return Ok(link);
                }
                Err(problem) if passes(problem.exit) => {}
                Err(problem) => return Err(problem),
            }
        }
    }
}

/// Whether it may be over by itself in a while.
const fn passes(exit: Exit) -> bool {
    match exit {
        Exit::DeviceUnreachable | Exit::NotDone | Exit::Failure => true,
        Exit::Done
        | Exit::Usage
        | Exit::SignedOut
        | Exit::Denied
        | Exit::HubUnreachable
        | Exit::UnsafeProfile
        | Exit::WrongKey
        | Exit::SignInRefused
        | Exit::NoSuchDevice
        | Exit::Degraded
        | Exit::Waiting
        | Exit::Unknown
        | Exit::Overtaken
        | Exit::Unfit => false,
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
/// An engineer waits in front of the screen: half a minute is long.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
