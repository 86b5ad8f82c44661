//! What `forward`, `proxy` and `connect` to a VPN have in common: a device that is reached, a VPN that is open on it, and a
//! connection that is made again when it is lost.

use std::sync::Arc;

use tokio::sync::watch;

use postern_protocol::policy::{Kind, Mode};
use postern_protocol::wire::flow::FlowTarget;

use super::choose::{self, Choice};
use super::gateway::{Gateway, Teller};
use super::tunnel::Vpn;
use crate::args::VpnArgs;
use crate::connect::keeper::{Keeper, State};
use crate::connect::vigil::Vigil;
use crate::connect::{self, interrupted};
use crate::device::{DeviceError, DeviceLink, Wanted};
use crate::directory::{self, Known};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;

/// An open VPN and what keeps it so.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    /// The way in.
    pub(super) gateway: Arc<Gateway>,
    /// What may be done.
    pub(super) mode: Mode,
    /// Whether what is done is recorded.
    pub(super) recorded: bool,
    /// The device's name.
    pub(super) device: String,
    /// The service's name.
    pub(super) service: String,
    /// Keeps the connection up.
    pub(super) keeper: Keeper<'a>,
    states: watch::Sender<State>,
    screen: &'a Screen,
}

impl<'a> Session<'a> {
    /// Reaches the device and opens the VPN that leads to `places`, after a step-up where that is needed.
    pub(super) async fn start(
        args: &VpnArgs,
        places: &[FlowTarget],
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Result<Self, Problem> {
        let identity = profile.identity()?;
        let known = directory::look_up(&args.device, &identity, profile).await?;
        let device = known.entry.name.to_string();
        let about = |error: DeviceError| Problem::from(error).about(&device);
        let (link, known) = connect::reach(&known, &identity, profile).await.map_err(about)?;
        let link = Arc::new(link);
        let begun = Self::begin(args, places, (&link, known, identity), profile, screen).await;
        if begun.is_err() {
            link.close().await;
        }
        begun
    }

    async fn begin(
        args: &VpnArgs,
        places: &[FlowTarget],
        (link, known, identity): (&Arc<DeviceLink>, Known, Identity),
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Result<Self, Problem> {
        let device = known.entry.name.clone();
        let about = |problem: Problem| problem.about(device.as_str());
        let services = link.services().await.map_err(|error| about(error.into()))?;
        let (service, found) = match choose::by_listing(&services, args.service.as_ref()).map_err(about)? {
            Choice::This(name) => (name, None),
            Choice::Among(names) => {
                let found = choose::by_destinations(link, names, places, args.view_only).await;
                found.map(|(name, vpn)| (name, Some(vpn))).map_err(about)?
            }
        };
        let subject = format!("{device}/{service}");
        let about = |problem: Problem| problem.about(&subject);
        let wanted = Wanted { service: service.clone(), view_only: args.view_only, flows: true };
        let vigil = Vigil::new(identity, profile, screen, (device.clone(), service));
        match found {
            Some(first) => Ok(Self::with(first, link, wanted, (known, vigil), profile, screen)),
            None => Self::over(link, wanted, (known, vigil), profile, screen).await.map_err(about),
        }
    }

    /// Opens a VPN on a connection that is up, after a step-up where that is needed.
    pub(crate) async fn over(
        link: &Arc<DeviceLink>,
        wanted: Wanted,
        (known, mut vigil): (Known, Vigil<'a>),
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Result<Self, Problem> {
        let opened = connect::open(link, &wanted, &mut vigil).await?;
        if opened.kind != Kind::Vpn {
            return Err(Problem::other_kind(&wanted.service, opened.kind));
        }
        let first = Vpn::begin(Arc::clone(link), opened).await?;
        Ok(Self::with(first, link, wanted, (known, vigil), profile, screen))
    }

    fn with(
        first: Vpn,
        link: &Arc<DeviceLink>,
        wanted: Wanted,
        (known, vigil): (Known, Vigil<'a>),
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Self {
        let (mode, recorded) = (first.mode(), first.is_recorded());
        let (states, watched) = watch::channel(State::Up(Arc::clone(link)));
        let (device, service) = (known.entry.name.to_string(), wanted.service.to_string());
        let teller = Teller::new(*screen, &device, &format!("{device}/{service}"));
        let gateway = Arc::new(Gateway::new(wanted, watched, vigil.ends(), teller, first));
        let keeper = Keeper::new(vigil, known, profile);
        Self { gateway, mode, recorded, device, service, keeper, states, screen }
    }

    /// Does the work, until it is done, the device says no, or Ctrl-C.
    pub(super) async fn run(
        mut self,
        work: impl Future<Output = Result<Exit, Problem>>,
    ) -> Result<Exit, Problem> {
        let subject = format!("{}/{}", self.device, self.service);
        if !self.mode.touches() {
            self.screen.note("you may look but not touch");
        }
        // On the heap: what dials again is large.
        let keeping = Box::pin(self.keeper.keep(&self.states, self.screen));
        let outcome = tokio::select! {
            outcome = work => outcome,
            problem = keeping => Err(problem),
            () = interrupted() => Ok(Exit::Done),
        };
        let last = self.states.borrow().clone();
        if let State::Up(link) = last {
            link.close().await;
        }
        outcome.map_err(|problem| problem.about(&subject))
    }
}
