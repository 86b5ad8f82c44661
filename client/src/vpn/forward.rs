//! `postern forward DEVICE HOST:PORT ..`: places on the machine network, each at a port of this computer.
//!
//! 1. The VPN is opened, and each place gets a listener on a loopback address. Their addresses are the first lines of
//!    standard output.
//! 2. Each local connection is a flow of its own. One that the device refuses is reset, with one line that says why. Where there are too
//!    many, one of those by which nothing has passed gives way ([`Callers`]).
//! 3. Ctrl-C ends everything, and that is no error.
//!
//! Deliberately absent: protection against other users of this computer. Whoever can reach the loopback address can use the
//! listener while it is up, as with `ssh -L`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use postern_protocol::policy::{Mode, Protocol};
use postern_protocol::wire::flow::FlowTarget;
use postern_transport::crowd::is_called;

use super::carry::{self, CutShort};
use super::gateway::Gateway;
use super::session::Session;
use crate::args::{ForwardArgs, HostPort};
use crate::connect::callers::{Callers, Seat};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Forwards, and stays until Ctrl-C or, as asked, until the first local connection has ended.
pub(crate) async fn run(args: &ForwardArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    if args.listen.len() > args.targets.len() {
        return Err(Problem::too_many_listeners());
    }
    let places: Vec<FlowTarget> = args.targets.iter().map(|target| target.flow(Protocol::Tcp)).collect();
    // Before the device is troubled: a port that is taken opens nothing.
    let mut doors = Vec::new();
    for (number, target) in args.targets.iter().enumerate() {
        let wanted = args.listen.get(number).map_or(ANY, |listen| listen.0);
        doors.push(Door::open(wanted, target.clone()).await?);
    }
    let session = Session::start(&args.vpn, &places, profile, screen).await?;
    announce(&session, &doors, screen);
    let work = serve(Arc::clone(&session.gateway), doors, args.once);
    session.run(work).await
}

/// A listener and the place that it leads to.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    addr: SocketAddr,
    target: HostPort,
}

impl Door {
    /// Listens.
    ///
    /// # Errors
    /// When the address is taken.
    pub(super) async fn open(wanted: SocketAddr, target: HostPort) -> Result<Self, Problem> {
        let failed = |error: io::Error| Problem::listener(wanted, &error);
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr, target })
    }

    /// The address at which it listens.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Carries local connections. One that fails is said and, unless it is the only one, ends nothing else.
pub(super) async fn serve(gateway: Arc<Gateway>, doors: Vec<Door>, once: bool) -> Result<Exit, Problem> {
    // One connection is handed over at a time: those that wait stay in the queues of the listeners.
    let (coming, mut accepted) = mpsc::channel(1);
    let mut accepting = JoinSet::new();
    for door in doors {
        accepting.spawn(accept(door, coming.clone()));
    }
    let mut flows = Callers::new(CONNECTIONS);
    loop {
        tokio::select! {
            Some(coming) = accepted.recv(), if flows.has_room() => {
                let Some((socket, target)) = coming else {
                    flows.make_room();
                    continue;
                };
                if once {
                    accepting.abort_all();
                    accepted.close();
                    // On the heap: otherwise it lies in the future of the whole command.
                    let carried = Box::pin(carry_one(&gateway, (socket, Seat::alone()), &target)).await;
                    return carried.map(|()| Exit::Done).map_err(|cut| cut.problem);
                }
                let gateway = Arc::clone(&gateway);
                flows.admit(socket, |socket, seat| async move {
                    let carried = carry_one(&gateway, (socket, seat), &target).await;
                    if let Err(CutShort { problem, said: false }) = carried {
                        gateway.teller().tell(&problem);
                    }
                });
            }
            Some(_ended) = flows.ended() => {}
        }
    }
}

/// Hands over who comes, or that there was no file for them.
async fn accept(door: Door, coming: mpsc::Sender<Option<(TcpStream, HostPort)>>) {
    loop {
        match door.listener.accept().await {
            Ok((socket, _)) => {
                if coming.send(Some((socket, door.target.clone()))).await.is_err() {
                    return;
                }
            }
            // Out of file descriptors: they come back when a connection ends.
            Err(_) => {
                if is_called(&door.listener) && coming.send(None).await.is_err() {
                    return;
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One local connection, from its flow's opening to its end.
async fn carry_one(
    gateway: &Gateway,
    (socket, seat): (TcpStream, Seat),
    target: &HostPort,
) -> Result<(), CutShort> {
    let carried = match gateway.flow_in_turn(target.flow(Protocol::Tcp)).await {
        Ok((vpn, flow)) => carry::local_socket((socket, seat), Vec::new(), (&vpn, flow)).await,
        Err(none) => {
            let _already_closed = socket.set_zero_linger();
            Err(CutShort { problem: none.problem(gateway.teller().device()), said: false })
        }
    };
    carried.map_err(|cut| CutShort { problem: cut.problem.about(&target.to_string()), ..cut })
}

fn announce(session: &Session<'_>, doors: &[Door], screen: &Screen) {
    screen.answer(&ForwardAnswer {
        device: &session.device,
        service: &session.service,
        mode: session.mode,
        recorded: session.recorded,
        forwards: doors
            .iter()
            .map(|door| Forwarded { address: door.addr, target: door.target.to_string() })
            .collect(),
    });
    for door in doors {
        screen.say(&format!("{} -> {}", door.addr, door.target));
    }
}

#[derive(Serialize)]
struct ForwardAnswer<'a> {
    device: &'a str,
    service: &'a str,
    mode: Mode,
    recorded: bool,
    forwards: Vec<Forwarded>,
}

#[derive(Serialize)]
struct Forwarded {
    address: SocketAddr,
    target: String,
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Local connections at the same time. Beyond these one that is silent gives way, and without one whoever comes waits in the queue of the
/// listener.
pub(super) const CONNECTIONS: usize = 512;
pub(super) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
