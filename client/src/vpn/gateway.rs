//! The way into the machine network: one tunnel, opened again for the next flow when it is gone.
//!
//! A tunnel that was cut stays cut. Whoever connects next asks the device anew, and is told what it says then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, watch};

#[cfg(target_os = "linux")]
use postern_protocol::name::Name;
use postern_protocol::policy::Destination;
use postern_protocol::wire::flow::FlowTarget;
use postern_protocol::wire::registry::{CloseCode, Failure};

use super::tunnel::{Over, Vpn};
use crate::connect::RECORDED;
use crate::connect::keeper::{State, up_within};
use crate::connect::vigil::Ends;
use crate::device::{DeviceError, Flow, Wanted};
use crate::ending::Ending;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// The way into a machine network.
#[derive(Debug)]
pub(super) struct Gateway {
    wanted: Wanted,
    states: watch::Receiver<State>,
    ends: Ends,
    now: AsyncMutex<Option<Arc<Vpn>>>,
    teller: Teller,
}

/// Why there is no flow.
#[derive(Debug)]
pub(super) enum NoFlow {
    /// The connection to the device is being made again.
    Away,
    /// The device said it, or could not.
    Device(DeviceError),
}

impl From<DeviceError> for NoFlow {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl NoFlow {
    /// The same for people.
    pub(super) fn problem(self, device: &str) -> Problem {
        match self {
            Self::Away => Problem::connecting_again(device),
            Self::Device(error) => error.into(),
        }
    }
}

impl Gateway {
    /// `first` is a tunnel that is open already.
    pub(super) fn new(
        wanted: Wanted,
        states: watch::Receiver<State>,
        ends: Ends,
        teller: Teller,
        first: Vpn,
    ) -> Self {
        let first = Arc::new(first.noted(&ends));
        teller.begin(&first);
        Self { wanted, states, ends, now: AsyncMutex::new(Some(first)), teller }
    }

    /// Opens a flow, and a tunnel before it where there is none.
    ///
    /// # Errors
    /// [`NoFlow`].
    pub(super) async fn flow(&self, to: FlowTarget) -> Result<(Arc<Vpn>, Flow), NoFlow> {
        let vpn = self.tunnel().await?;
        let flow = vpn.flow(to).await?;
        Ok((vpn, flow))
    }

    /// The same for a connection of this computer in whose favour a silent one may just have given way: its flow ends at the device a moment
    /// later. So where the device has no place for one more, it is asked again, for a second and a half in all.
    ///
    /// # Errors
    /// [`NoFlow`].
    pub(super) async fn flow_in_turn(&self, to: FlowTarget) -> Result<(Arc<Vpn>, Flow), NoFlow> {
        let mut wait = FREED_WITHIN;
        loop {
            match self.flow(to.clone()).await {
                Err(NoFlow::Device(DeviceError::Failed(Failure::Busy))) if wait <= LONGEST_WAIT => {}
                answer => return answer,
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    /// Where flows may go, as far as the present tunnel knows.
    pub(super) async fn destinations(&self) -> Vec<Destination> {
        self.now.lock().await.as_ref().map(|vpn| vpn.destinations()).unwrap_or_default()
    }

    #[cfg(target_os = "linux")]
    /// The service's name.
    pub(super) const fn service(&self) -> &Name {
        &self.wanted.service
    }

    /// Whoever hears what went wrong.
    pub(super) const fn teller(&self) -> &Teller {
        &self.teller
    }

    /// The tunnel that is open, after opening one where there is none.
    ///
    /// # Errors
    /// [`NoFlow`].
    pub(super) async fn tunnel(&self) -> Result<Arc<Vpn>, NoFlow> {
        let mut now = self.now.lock().await;
        if let Some(vpn) = now.as_ref().filter(|vpn| vpn.is_open()) {
            return Ok(Arc::clone(vpn));
        }
        // What is left of the one before must not count against the service's places.
        *now = None;
        let mut states = self.states.clone();
        let link = up_within(&mut states, UP_WITHIN).await.ok_or(NoFlow::Away)?;
        let opened = link.open(&self.wanted).await?;
        let vpn = Arc::new(Vpn::begin(link, opened).await?.noted(&self.ends));
        self.teller.begin(&vpn);
        *now = Some(Arc::clone(&vpn));
        Ok(vpn)
    }
}

/// Says at the terminal what went wrong, and nothing twice in a row: a browser asks forty times.
#[derive(Clone, Debug)]
pub(super) struct Teller(Arc<Told>);

#[derive(Debug)]
struct Told {
    screen: Screen,
    device: String,
    subject: String,
    last: Mutex<Option<Problem>>,
    /// Whether it was said that a tunnel is recorded.
    recorded: AtomicBool,
    /// Whether somebody else says how tunnels ended.
    is_watched: AtomicBool,
}

impl Teller {
    pub(super) fn new(screen: Screen, device: &str, subject: &str) -> Self {
        let (device, subject) = (device.to_owned(), subject.to_owned());
        Self(Arc::new(Told {
            screen,
            device,
            subject,
            last: Mutex::new(None),
            recorded: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
        }))
    }

    /// The device's name.
    pub(super) fn device(&self) -> &str {
        &self.0.device
    }

    /// Says it. That the device is away is said by who dials it again.
    pub(super) fn tell(&self, problem: &Problem) {
        if problem.exit == Exit::DeviceUnreachable {
            return;
        }
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(problem) {
            self.0.screen.note(&problem.clone().about(&self.0.subject).to_string());
            *last = Some(problem.clone());
        }
    }

    #[cfg(target_os = "linux")]
    /// The same for one whose tunnels are watched: their ends are said by whoever does that.
    pub(super) fn watched(screen: Screen, device: &str, subject: &str) -> Self {
        let Self(told) = Self::new(screen, device, subject);
        told.is_watched.store(true, Ordering::Relaxed);
        Self(told)
    }

    /// Says what its user must know of a new tunnel.
    fn begin(&self, vpn: &Vpn) {
        if vpn.is_recorded() && !self.0.recorded.swap(true, Ordering::Relaxed) {
            self.0.screen.note(RECORDED);
        }
        if !self.0.is_watched.load(Ordering::Relaxed) {
            self.tell_end_of(vpn);
        }
    }

    /// Says why a tunnel ended, when it does and there is a reason.
    fn tell_end_of(&self, vpn: &Vpn) {
        let (teller, over, id) = (self.clone(), vpn.over(), vpn.id());
        tokio::spawn(async move {
            match over.await {
                Over::WithLink | Over::Alone(Ending::Said(CloseCode::Done)) => {}
                Over::Alone(ending) => {
                    // The number finds the row in the device's audit.
                    let problem = Problem::ended(&ending, Exit::DeviceUnreachable).about(&id.to_string());
                    teller.tell(&problem);
                }
            }
        });
    }
}

/// How long a local program is kept waiting while the device is dialled again.
const UP_WITHIN: Duration = Duration::from_secs(15);
/// For a place at the device to become free, at first and at most.
const FREED_WITHIN: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
