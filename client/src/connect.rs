//! `postern connect DEVICE SERVICE`: a service of the machine, as if it ran on this computer.
//!
//! 1. The device is reached and says which services are open to the user.
//! 2. A service that is not open is asked for nevertheless, once: the refusal is then the device's own, with its
//!    reason, and stands in its audit.
//! 3. Where it waits for an approval, that is asked for and waited for ([`wait`]). Where the reason is a second factor, a person at a terminal is asked for the one-time code.
//! 4. A listener on the loopback address is opened and its address printed as the first line of standard output.
//! 5. Each local connection becomes a tunnel of its own on the one connection to the device, or of a VPN that leads to one
//!    place a flow in its one tunnel ([`pipe`]). Those of HTTP and WebSocket
//!    services come in through a [`web`] origin of their own, whose door asks for a key.
//! 6. A lost connection is made again with backoff. Tunnels that it carried are gone; only new ones are opened.
//! 7. Ctrl-C ends everything, and that is no error; at the question for a code it is one, because nothing is open.
//!
//! Deliberately absent: protection of screens and plain flows against other users of this computer. Whoever can reach 127.0.0.1 can use that
//! listener while it is up, as with `ssh -L`; `--stdio` opens no listener and carries bytes as they are.

pub(crate) mod callers;
pub(crate) mod carry;
pub(crate) mod keeper;
pub(crate) mod listeners;
mod place;
mod refusal;
pub(crate) mod viewer;
pub(crate) mod vigil;
mod web;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::watch;

use postern_protocol::name::Name;
use postern_protocol::policy::{Kind, Mode};
use postern_protocol::wire::tunnel::ServiceEntry;
use postern_transport::quic::Settings;

use self::callers::{Callers, Seat};
use self::keeper::{Keeper, State};
use self::listeners::{Listeners, Port};
use self::vigil::{Ends, Vigil};
use self::web::{Door, Web};

pub(crate) use self::place::Place;
pub(crate) use self::web::Refused;

use crate::approvals::wait;
use crate::args::ConnectArgs;
use crate::device::{DeviceError, DeviceLink, Opened, Wanted};
use crate::dial::DialError;
use crate::directory::{self, Known};
use crate::exit::Exit;
use crate::interrupt::unless_interrupted;
use crate::meeting;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;
use crate::vpn::pipe;
use crate::vpn::session::Session as VpnSession;

/// Connects, and stays until Ctrl-C or, as asked, until the first connection has ended.
pub(crate) async fn run(args: &ConnectArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let known = directory::look_up(&args.device, &identity, profile).await?;
    let subject = format!("{}/{}", known.entry.name, args.service);
    let about = |error: DeviceError| Problem::from(error).about(&subject);
    let (link, known) = reach(&known, &identity, profile).await.map_err(about)?;
    say_way(&link, &known, screen);
    let (link, known) = if wait::is_waiting(&link, args).await.map_err(about)? {
        link.close().await;
        // Not on the stack of everybody who waits for nothing.
        Box::pin(approved(&known, &identity, (args, profile), screen))
            .await
            .map_err(|problem| problem.about(&subject))?
    } else {
        (link, known)
    };
    let link = Arc::new(link);
    let names = (known.entry.name.clone(), args.service.clone());
    let wanted = Wanted { service: args.service.clone(), view_only: args.view_only, flows: false };
    let mut vigil = Vigil::new(identity, profile, screen, names);
    let outcome = if args.stdio {
        over_standard_streams(&link, &wanted, &mut vigil).await
    } else {
        match usable(&link, &wanted, &mut vigil).await {
            Ok(Some(usable)) => {
                let session = Session { args, wanted: &wanted, usable, subject: &subject, screen };
                return session.listen(Keeper::new(vigil, known, profile), link).await;
            }
            Ok(None) => {
                let wanted = Wanted { flows: true, ..wanted };
                match VpnSession::over(&link, wanted, (known, vigil), profile, screen).await {
                    // Too large to lie in the future of every other service.
                    Ok(session) => return Box::pin(pipe::listen(args, session, screen)).await,
                    Err(problem) => Err(problem),
                }
            }
            Err(problem) => Err(problem),
        }
    };
    link.close().await;
    outcome.map_err(|problem| problem.about(&subject))
}

/// Waits for an approval, and reaches the device again when it is given: nobody keeps a connection for hours without a tunnel.
async fn approved(
    known: &Known,
    identity: &Identity,
    (args, profile): (&ConnectArgs, &Profile),
    screen: &Screen,
) -> Result<(DeviceLink, Known), Problem> {
    wait::obtain(known, identity, args, screen).await?;
    let (link, known) = reach(known, identity, profile).await?;
    wait::arrive(&link, args).await?;
    Ok((link, known))
}

async fn over_standard_streams(
    link: &Arc<DeviceLink>,
    wanted: &Wanted,
    vigil: &mut Vigil<'_>,
) -> Result<Exit, Problem> {
    let services = link.services().await?;
    let is_vpn = services.iter().any(|entry| entry.name == wanted.service && entry.kind == Kind::Vpn);
    let wanted = Wanted { flows: is_vpn, ..wanted.clone() };
    let opened = open(link, &wanted, vigil).await?;
    let ends = vigil.ends();
    let carried = async {
        if is_vpn {
            pipe::standard_streams(link, opened, &ends).await
        } else {
            carry::standard_streams(opened, ends.clone()).await
        }
    };
    tokio::select! {
        carried = carried => carried.map(|()| Exit::Done),
        never = vigil.keep(link) => match never {},
        () = interrupted() => Ok(Exit::Done),
    }
}

/// Opens a tunnel, after a step-up where the device wants a second factor and a person can be asked for it.
pub(crate) async fn open(
    link: &DeviceLink,
    wanted: &Wanted,
    vigil: &mut Vigil<'_>,
) -> Result<Opened, Problem> {
    match link.open(wanted).await.map_err(Problem::from) {
        Err(problem) if problem.wants_second_factor() => {
            unless_interrupted(async {
                vigil.step_up(link, problem).await?;
                Ok(link.open(wanted).await?)
            })
            .await
        }
        outcome => outcome,
    }
}

/// Says that a device is reached through a relay, or was found on a network that this computer is on.
pub(crate) fn say_way(link: &DeviceLink, known: &Known, screen: &Screen) {
    if link.was_found() {
        let (name, at) = (&known.entry.name, link.addr());
        screen.note(&format!("{name} was found on a network of this computer, at {at}"));
    }
    if link.is_relayed() {
        let (name, relay) = (&known.entry.name, link.addr());
        screen.note(&format!("{name} is reached through the relay at {relay}, which reads nothing"));
    }
}

/// Reaches a device where it was last known to be; when that fails or takes long, where the hub says it is now, at a relay, and on the
/// networks that this computer is on. Where a person has said at which address it is, only there.
pub(crate) async fn reach(
    known: &Known,
    identity: &Identity,
    profile: &Profile,
) -> Result<(DeviceLink, Known), DeviceError> {
    if known.at.is_some() {
        return dial(known.clone(), identity, profile).await;
    }
    let mut here = pin!(dial(known.clone(), identity, profile));
    let elsewhere = async {
        let again = directory::look_again(known, identity, profile).await?;
        Some(dial(again, identity, profile).await)
    };
    // Not on the stack of everybody who reaches a device straight.
    let relayed = Box::pin(async {
        let met = meeting::ask(identity, known.entry.device).await?;
        let link = DeviceLink::meet(identity, &known.entry, &known.addresses(), &met).await;
        Some(link.map(|link| (link, known.clone())))
    });
    let found = Box::pin(async {
        let link = DeviceLink::find(identity, &known.entry).await?;
        Some(link.map(|link| {
            directory::remember_address(profile, &known.entry, link.addr());
            (link, known.clone())
        }))
    });
    let missed = match tokio::time::timeout(HEAD_START, &mut here).await {
        // What is kept may be older than a move or a new enrolment of the device.
        Ok(Err(error @ (DeviceError::Dial(_) | DeviceError::OtherDevice { .. }))) => Some(error),
        Ok(answered) => return answered,
        Err(_) => None,
    };
    let (mut elsewhere, mut relayed, mut found) = (pin!(elsewhere), relayed, found);
    let (mut is_here, mut is_elsewhere, mut is_relayed) = (missed.is_none(), true, true);
    let mut is_found = true;
    let mut last = missed;
    // The first that leads there; when none does, why the nearest one did not.
    while is_here || is_elsewhere || is_relayed || is_found {
        let answered = tokio::select! {
            answered = &mut here, if is_here => {
                is_here = false;
                Some(answered)
            }
            answered = &mut elsewhere, if is_elsewhere => {
                is_elsewhere = false;
                answered
            }
            answered = &mut found, if is_found => {
                is_found = false;
                answered
            }
            answered = &mut relayed, if is_relayed => {
                is_relayed = false;
                match answered {
                    // A relay can fail in the middle; a straight way that is still tried may not.
                    Some(Err(error @ DeviceError::Ended(_))) if is_here || is_elsewhere || is_found => {
                        last = last.or(Some(error));
                        None
                    }
                    answered => answered,
                }
            }
        };
        match answered {
            Some(Err(error @ (DeviceError::Dial(_) | DeviceError::OtherDevice { .. }))) => {
                last = last.or(Some(error));
            }
            Some(answered) => return answered,
            None => {}
        }
    }
    Err(last.unwrap_or(DeviceError::Dial(DialError::NoAddress)))
}

async fn dial(
    known: Known,
    identity: &Identity,
    profile: &Profile,
) -> Result<(DeviceLink, Known), DeviceError> {
    let link = DeviceLink::dial(identity, &known.entry, &known.addresses()).await?;
    directory::remember_address(profile, &known.entry, link.addr());
    Ok((link, known))
}

/// A service that would open now.
#[derive(Clone, Copy, Debug)]
struct Usable {
    /// What it speaks.
    kind: Kind,
    /// What may be done there.
    mode: Mode,
    /// Whether what is done is recorded.
    recorded: bool,
}

/// What a service is like, if it would open now; otherwise the device's own refusal. None is a VPN, which is opened for its
/// flows.
async fn usable(
    link: &DeviceLink,
    wanted: &Wanted,
    vigil: &mut Vigil<'_>,
) -> Result<Option<Usable>, Problem> {
    let services = link.services().await?;
    let listed = services.iter().find(|entry| entry.name == wanted.service);
    if listed.is_some_and(|entry| entry.kind == Kind::Vpn) {
        return Ok(None);
    }
    if let Some(ServiceEntry { kind, mode: Some(mode), blocked: None, recorded, .. }) = listed {
        let wish = if wanted.view_only { Mode::ViewOnly } else { Mode::WIDEST };
        return Ok(Some(Usable { kind: *kind, mode: mode.narrower(wish), recorded: *recorded }));
    }
    let mut opened = open(link, wanted, vigil).await?;
    // It may have been granted just now, or opened by a second factor.
    opened.send.reset(0);
    opened.recv.stop(0);
    Ok(Some(Usable { kind: opened.kind, mode: opened.mode, recorded: opened.recorded }))
}

/// One listener and what is said about it.
struct Session<'a> {
    args: &'a ConnectArgs,
    wanted: &'a Wanted,
    usable: Usable,
    subject: &'a str,
    screen: &'a Screen,
}

impl Session<'_> {
    async fn listen(&self, mut keeper: Keeper<'_>, link: Arc<DeviceLink>) -> Result<Exit, Problem> {
        let port = match (self.args.port, self.is_web()) {
            (Some(port), _) => Port::Exactly(port),
            (None, true) => keeper.port(),
            (None, false) => Port::Exactly(0),
        };
        let failed = |(addr, error): (SocketAddr, io::Error)| Problem::listener(addr, &error);
        let (listeners, moved) = Listeners::bind(port, self.is_web()).await.map_err(failed)?;
        let addr = listeners.local_addr().map_err(|error| Problem::listener(ANY, &error))?;
        if let (Port::Rather(port), true) = (port, moved) {
            let words = "bookmarks do not fit this time, and the page may ask you to sign in again";
            self.screen.note(&format!(
                "{}: port {port} is taken, so it is {}; {words}",
                self.subject,
                addr.port()
            ));
        }
        let (states, watched) = watch::channel(State::Up(link));
        let (place, way) = self.way(keeper.device(), keeper.ends(), addr, &watched)?;
        self.announce(&place, keeper.device(), &way);
        if self.args.open
            && let Err(problem) = viewer::open(self.usable.kind, &place).await
        {
            self.screen.note(&problem.to_string());
        }
        let outcome = tokio::select! {
            outcome = self.serve(&listeners, &way) => outcome,
            problem = keeper.keep(&states, self.screen) => Err(problem.about(self.subject)),
            () = interrupted() => Ok(Exit::Done),
        };
        let last = watched.borrow().clone();
        if let State::Up(link) = last {
            link.close().await;
        }
        outcome
    }

    /// How local connections are carried, and where they come in.
    fn way(
        &self,
        device: &Name,
        ends: Ends,
        addr: SocketAddr,
        states: &watch::Receiver<State>,
    ) -> Result<(Place, Way), Problem> {
        if !self.is_web() {
            let wanted = self.wanted.clone();
            let place = Place::at(self.usable.kind, addr);
            return Ok((place, Way::Pipe { kind: self.usable.kind, states: states.clone(), wanted, ends }));
        }
        let authority = place::authority(self.usable.kind, device, &self.args.service, addr);
        let for_programs = self.usable.kind == Kind::Websocket;
        let door = Door::new(authority, addr.port(), for_programs).map_err(|_| Problem::no_randomness())?;
        let url = door.url().map_err(|_| Problem::no_randomness())?;
        let web = Web {
            door,
            device: device.clone(),
            wanted: self.wanted.clone(),
            states: states.clone(),
            ends,
            screen: *self.screen,
            once: self.args.once,
            said: Mutex::new(None),
        };
        Ok((Place::web(addr, url), Way::Web(Arc::new(web))))
    }

    /// Carries local connections. One that fails is reported and, unless it is the only one, ends nothing else.
    async fn serve(&self, listeners: &Listeners, way: &Way) -> Result<Exit, Problem> {
        let mut tunnels = Callers::new(CONNECTIONS);
        let mut accepting = true;
        loop {
            tokio::select! {
                accepted = listeners.accept(), if accepting && tunnels.has_room() => match accepted {
                    Ok(socket) => {
                        accepting = !self.args.once;
                        let way = way.clone();
                        tunnels.admit(socket, |socket, seat| way.carry(socket, seat));
                    }
                    // Out of file descriptors: they come back when a connection ends.
                    Err(_) => {
                        if listeners.are_called() {
                            tunnels.make_room();
                        }
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                },
                Some(ended) = tunnels.ended() => {
                    let outcome = ended.unwrap_or(Ok(())).map_err(|problem| problem.about(self.subject));
                    match outcome {
                        outcome if self.args.once => return outcome.map(|()| Exit::Done),
                        Ok(()) => {}
                        Err(problem) => self.screen.note(&problem.to_string()),
                    }
                }
            }
        }
    }

    fn announce(&self, place: &Place, device: &Name, way: &Way) {
        self.screen.answer(&ConnectAnswer {
            device: device.as_str(),
            service: self.args.service.as_str(),
            kind: self.usable.kind,
            mode: self.usable.mode,
            recorded: self.usable.recorded,
            url: &place.url,
            address: place.addr,
            token: way.program_key(),
        });
        self.screen.say(&place.url);
        if let Some(hint) = &place.hint {
            self.screen.say(hint);
        }
        if !self.usable.mode.touches() {
            self.screen.note("you may look but not touch");
        }
        if self.usable.recorded {
            self.screen.note(RECORDED);
        }
    }

    const fn is_web(&self) -> bool {
        matches!(self.usable.kind, Kind::Http | Kind::Websocket)
    }
}

/// How local connections are carried.
#[derive(Clone, Debug)]
enum Way {
    /// As they are.
    Pipe {
        /// What the service speaks.
        kind: Kind,
        /// Whether tunnels can be opened.
        states: watch::Receiver<State>,
        /// What they are asked for.
        wanted: Wanted,
        /// Where tunnels say when they end.
        ends: Ends,
    },
    /// Request by request, through the door.
    Web(Arc<Web>),
}

impl Way {
    async fn carry(self, socket: TcpStream, seat: Seat) -> Result<(), Problem> {
        match self {
            Self::Pipe { kind, states, wanted, ends } => {
                carry::local_socket((socket, seat), kind, states, wanted, ends).await
            }
            Self::Web(web) => web::local_socket(socket, seat.word().clone(), web).await,
        }
    }

    fn program_key(&self) -> Option<String> {
        match self {
            Self::Pipe { .. } => None,
            Self::Web(web) => Some(web.door.program_key()),
        }
    }
}

#[derive(Serialize)]
struct ConnectAnswer<'a> {
    device: &'a str,
    service: &'a str,
    kind: Kind,
    mode: Mode,
    /// Whether what is done is recorded; a tunnel that is opened later may be where this one is not.
    recorded: bool,
    url: &'a str,
    address: SocketAddr,
    /// For the header `X-Postern-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Until Ctrl-C or, on Unix, a request to terminate.
pub(crate) async fn interrupted() {
    let mut keys = pin!(tokio::signal::ctrl_c());
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                pressed = &mut keys => if pressed.is_ok() { return },
                _ = terminated.recv() => return,
            }
        }
    }
    if keys.await.is_err() {
        // Without signal handling the system ends the program by itself.
        std::future::pending::<()>().await;
    }
}

/// What everybody is told whose session is recorded.
pub(crate) const RECORDED: &str = "this session is recorded for the company that runs the device";
const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
/// How long a device may be silent before the hub is asked where it is, and for a meeting at a relay.
const HEAD_START: Duration = Duration::from_millis(300);
/// Local connections at the same time. Each may hold a stream of the connection to the device, and some must be left for other questions:
/// a pass that could not be renewed would end every tunnel.
const CONNECTIONS: usize = 56;
const _: () = assert!(CONNECTIONS + 8 <= Settings::session().streams as usize);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
