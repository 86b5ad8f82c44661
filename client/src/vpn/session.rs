//! What `forward`, `proxy` and `connect` to a VPN have in common: a device that is reached, a VPN that is open on it, and a
//! connection that is made again when it is lost.

#[cfg(target_os = "linux")]
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

#[cfg(target_os = "linux")]
use postern_protocol::id::DeviceId;
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
    /// The service's name; empty where they are several.
    pub(super) service: String,
    /// Keeps the connection up.
    pub(super) keeper: Keeper<'a>,
    states: watch::Sender<State>,
    screen: &'a Screen,
}

/// Which device was reached.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct Reached {
    /// Its id.
    pub(super) device: DeviceId,
    /// Where it is or may be: a route to there over its own VPN would lead nowhere.
    pub(super) at: Vec<IpAddr>,
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
        connect::say_way(&link, &known, screen);
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

    #[cfg(target_os = "linux")]
    /// Reaches the device and opens the named VPN or all that open, after a step-up where the first needs one. The
    /// session's own way in is the first of those that come with it.
    pub(super) async fn start_all(
        args: &VpnArgs,
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Result<(Self, Vec<Arc<Gateway>>, Reached), Problem> {
        let identity = profile.identity()?;
        let known = directory::look_up(&args.device, &identity, profile).await?;
        let device = known.entry.name.to_string();
        let about = |error: DeviceError| Problem::from(error).about(&device);
        let (link, known) = connect::reach(&known, &identity, profile).await.map_err(about)?;
        connect::say_way(&link, &known, screen);
        let link = Arc::new(link);
        let begun = Self::begin_all(args, (&link, known, identity), profile, screen).await;
        if begun.is_err() {
            link.close().await;
        }
        begun
    }

    #[cfg(target_os = "linux")]
    async fn begin_all(
        args: &VpnArgs,
        (link, known, identity): (&Arc<DeviceLink>, Known, Identity),
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Result<(Self, Vec<Arc<Gateway>>, Reached), Problem> {
        let device = known.entry.name.clone();
        let about = |problem: Problem| problem.about(device.as_str());
        let services = link.services().await.map_err(|error| about(error.into()))?;
        let names = match choose::by_listing(&services, args.service.as_ref()).map_err(about)? {
            Choice::This(name) => vec![name],
            Choice::Among(names) => names,
        };
        let Some(first) = names.first() else { return Err(Problem::no_vpn()) };
        let mut vigil = Vigil::new(identity, profile, screen, (device.clone(), first.clone()));
        let mut opened = Vec::new();
        let mut refused = None;
        for service in &names {
            let wanted = Wanted { service: service.clone(), view_only: args.view_only, flows: true };
            match open_one(link, &wanted, &mut vigil).await {
                Ok(vpn) => opened.push((wanted, vpn)),
                Err(problem) => {
                    let problem = problem.about(&format!("{device}/{service}"));
                    if names.len() > 1 {
                        screen.note(&problem.to_string());
                    }
                    refused = Some(problem);
                }
            }
        }
        let (states, watched) = watch::channel(State::Up(Arc::clone(link)));
        let begin = |(wanted, vpn): (Wanted, Vpn)| {
            let subject = format!("{device}/{}", wanted.service);
            let teller = Teller::watched(*screen, device.as_str(), &subject);
            Arc::new(Gateway::new(wanted, watched.clone(), vigil.ends(), teller, vpn))
        };
        let is_recorded = opened.iter().any(|(_, vpn)| vpn.is_recorded());
        let Some((Wanted { service, .. }, vpn)) = opened.first() else {
            return Err(refused.unwrap_or_else(Problem::no_vpn));
        };
        // Several have no name in common.
        let service = if opened.len() == 1 { service.to_string() } else { String::new() };
        let mode = vpn.mode();
        let gateways: Vec<Arc<Gateway>> = opened.into_iter().map(begin).collect();
        let Some(gateway) = gateways.first().cloned() else { return Err(Problem::no_vpn()) };
        let mut at: Vec<IpAddr> = known.addresses().iter().map(|addr| addr.ip()).collect();
        at.push(link.addr().ip());
        let reached = Reached { device: known.entry.device, at };
        let keeper = Keeper::new(vigil, known, profile);
        let device = device.to_string();
        let session = Self { gateway, mode, recorded: is_recorded, device, service, keeper, states, screen };
        Ok((session, gateways, reached))
    }

    /// Opens a VPN on a connection that is up, after a step-up where that is needed.
    pub(crate) async fn over(
        link: &Arc<DeviceLink>,
        wanted: Wanted,
        (known, mut vigil): (Known, Vigil<'a>),
        profile: &'a Profile,
        screen: &'a Screen,
    ) -> Result<Self, Problem> {
        let first = open_one(link, &wanted, &mut vigil).await?;
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
        let subject = match self.service.as_str() {
            "" => self.device.clone(),
            service => format!("{}/{service}", self.device),
        };
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

/// Opens one of several VPNs.
async fn open_one(link: &Arc<DeviceLink>, wanted: &Wanted, vigil: &mut Vigil<'_>) -> Result<Vpn, Problem> {
    let opened = connect::open(link, wanted, vigil).await?;
    if opened.kind != Kind::Vpn {
        return Err(Problem::other_kind(&wanted.service, opened.kind));
    }
    Ok(Vpn::begin(Arc::clone(link), opened).await?)
}
