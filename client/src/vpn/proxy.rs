//! `postern proxy DEVICE`: the machine network, for programs that speak SOCKS5 (RFC 1928) or HTTP CONNECT (RFC 9110
//! section 9.3.6).
//!
//! 1. One loopback port takes both; the first byte of a connection tells which ([`socks`], [`http`]).
//! 2. The program names an address or a name. Names go to the device as they are and are resolved there.
//! 3. The flow is opened, then the program is told that it may go on, or [why not](super::verdict) in the words of its protocol;
//!    the line at the terminal says more.
//! 4. A UDP association has a socket of its own ([`udp`]), which ends with the connection that asked for it.
//!
//! Everything is bounded: the time for the first words, their length, connections, of which those without first words give way
//! ([`Callers`]), and the flows of an association.
//! Deliberately absent: user names and passwords. Whoever can reach the loopback address can use the port while it is up,
//! as with `ssh -D`. A web page cannot: no browser lets one begin with CONNECT or with a byte that is no method, and every other
//! method is refused.

mod http;
mod socks;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use postern_protocol::policy::{Mode, Protocol};
use postern_transport::crowd::is_called;

use super::carry::{self, CutShort};
use super::forward::{ACCEPT_AGAIN, CONNECTIONS};
use super::gateway::Gateway;
use super::session::Session;
use super::verdict::Verdict;
use crate::args::{HostPort, ProxyArgs};
use crate::connect::callers::{Callers, Seat};
use crate::connect::listeners::{Listeners, Port};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Serves programs until Ctrl-C.
pub(crate) async fn run(args: &ProxyArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    // Before the device is troubled: a port that is taken opens nothing.
    let named = match args.listen {
        Some(listen) => {
            let failed = |error| Problem::listener(listen.0, &error);
            Some(Entry::Named(TcpListener::bind(listen.0).await.map_err(failed)?))
        }
        None => None,
    };
    let session = Session::start(&args.vpn, &[], profile, screen).await?;
    let entry = match named {
        Some(entry) => entry,
        None => Entry::own(session.keeper.port(), &session, screen).await?,
    };
    let unknown = |error| Problem::listener(SocketAddr::from(([127, 0, 0, 1], 0)), &error);
    let address = entry.local_addr().map_err(unknown)?;
    let (socks, http) = (format!("socks5h://{address}"), format!("http://{address}"));
    screen.answer(&ProxyAnswer {
        device: &session.device,
        service: &session.service,
        mode: session.mode,
        recorded: session.recorded,
        address,
        socks: &socks,
        http: &http,
    });
    screen.say(&socks);
    screen.say(&http);
    let work = serve(Arc::clone(&session.gateway), entry);
    session.run(work).await
}

/// Where programs come in.
#[derive(Debug)]
enum Entry {
    /// At the address that the person named.
    Named(TcpListener),
    /// At the port of this device and service.
    Own(Listeners),
}

impl Entry {
    async fn own(port: Port, session: &Session<'_>, screen: &Screen) -> Result<Self, Problem> {
        let failed = |(addr, error): (SocketAddr, std::io::Error)| Problem::listener(addr, &error);
        let (listeners, moved) = Listeners::bind(port, false).await.map_err(failed)?;
        if let (Port::Rather(port), true) = (port, moved) {
            let subject = format!("{}/{}", session.device, session.service);
            screen.note(&format!("{subject}: port {port} is taken, so it is another one this time"));
        }
        Ok(Self::Own(listeners))
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Named(listener) => listener.local_addr(),
            Self::Own(listeners) => listeners.local_addr(),
        }
    }

    fn is_called(&self) -> bool {
        match self {
            Self::Named(listener) => is_called(listener),
            Self::Own(listeners) => listeners.are_called(),
        }
    }

    async fn accept(&self) -> std::io::Result<TcpStream> {
        match self {
            Self::Named(listener) => listener.accept().await.map(|(socket, _)| socket),
            Self::Own(listeners) => listeners.accept().await,
        }
    }
}

async fn serve(gateway: Arc<Gateway>, entry: Entry) -> Result<Exit, Problem> {
    let mut programs = Callers::new(CONNECTIONS);
    loop {
        tokio::select! {
            accepted = entry.accept(), if programs.has_room() => match accepted {
                Ok(socket) => {
                    let gateway = Arc::clone(&gateway);
                    programs.admit(socket, |socket, seat| async move {
                        if let Err(problem) = program(socket, seat, &gateway).await {
                            gateway.teller().tell(&problem);
                        }
                    });
                }
                // Out of file descriptors: they come back when a connection ends.
                Err(_) => {
                    if entry.is_called() {
                        programs.make_room();
                    }
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_ended) = programs.ended() => {}
        }
    }
}

/// What a program asks for, and how it wants to be answered.
#[derive(Debug)]
enum Wish {
    /// A TCP flow.
    Flow(HostPort, Tongue),
    /// A UDP association, for datagrams from this port; zero is any.
    Datagrams(u16),
}

/// The protocol of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tongue {
    Socks,
    Http,
}

/// One local connection, from its first byte to its end. Whoever has said what it wants gives way no more.
async fn program(mut socket: TcpStream, seat: Seat, gateway: &Arc<Gateway>) -> Result<(), Problem> {
    let _kept = socket.set_nodelay(true);
    let Ok(heard) = tokio::time::timeout(HEAD_WITHIN, listen(&mut socket)).await else { return Ok(()) };
    let heard = heard?;
    if heard.is_some() && !seat.word().stays() {
        return Ok(());
    }
    match heard {
        Some((Wish::Flow(to, tongue), early)) => flow((socket, seat), early, &to, tongue, gateway).await,
        Some((Wish::Datagrams(port), _)) => udp::associate(socket, port, gateway).await,
        // It was told what is wrong, or has hung up.
        None => Ok(()),
    }
}

/// Reads the first words, and what came behind them.
async fn listen(socket: &mut TcpStream) -> Result<Option<(Wish, Vec<u8>)>, Problem> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1) => {}
        Ok(_) | Err(_) => return Ok(None),
    }
    match first {
        [socks::VERSION] => Ok(socks::listen(socket).await.map(|wish| (wish, Vec::new()))),
        [b'A'..=b'Z'] => {
            let heard = http::listen(socket).await;
            Ok(heard.map(|(to, early)| (Wish::Flow(to, Tongue::Http), early)))
        }
        _ => Err(Problem::no_proxy_protocol()),
    }
}

async fn flow(
    (mut socket, seat): (TcpStream, Seat),
    early: Vec<u8>,
    to: &HostPort,
    tongue: Tongue,
    gateway: &Gateway,
) -> Result<(), Problem> {
    match gateway.flow_in_turn(to.flow(Protocol::Tcp)).await {
        Ok((vpn, flow)) => {
            let told = match tongue {
                Tongue::Socks => socks::answer(socks::GRANTED, SocketAddr::new(flow.ip, to.port)),
                Tongue::Http => http::OPEN.to_vec(),
            };
            if socket.write_all(&told).await.is_err() {
                return Ok(());
            }
            match carry::local_socket((socket, seat), early, (&vpn, flow)).await {
                Err(CutShort { problem, said: false }) => Err(problem.about(&to.to_string())),
                Ok(()) | Err(CutShort { said: true, .. }) => Ok(()),
            }
        }
        Err(none) => {
            let verdict = Verdict::of(&none);
            let problem = none.problem(gateway.teller().device()).about(&to.to_string());
            let told = match tongue {
                Tongue::Socks => socks::refuse(verdict.socks()),
                Tongue::Http => http::refuse(verdict.http(), &problem.to_string()),
            };
            say_last(socket, &told).await;
            Err(problem)
        }
    }
}

/// Says the last words to a program and lets it read them: what it still sends must not become a reset before.
async fn say_last(mut socket: TcpStream, words: &[u8]) {
    let saying = async {
        socket.write_all(words).await?;
        socket.shutdown().await?;
        let mut rest = [0; 512];
        while socket.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _gone = tokio::time::timeout(LAST_WORDS, saying).await;
}

#[derive(Serialize)]
struct ProxyAnswer<'a> {
    device: &'a str,
    service: &'a str,
    mode: Mode,
    recorded: bool,
    address: SocketAddr,
    socks: &'a str,
    http: &'a str,
}

/// Time for a program's first words.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
/// Time for a program to read its refusal.
const LAST_WORDS: Duration = Duration::from_secs(2);
