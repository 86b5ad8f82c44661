//! A web service at an origin of its own on this computer.
//!
//! 1. [`door`] judges every request before anything of it goes further: its `Host`, where it was made, and its key. What
//!    it refuses never opens a tunnel.
//! 2. The first request that may pass opens a tunnel; each local connection has one of its own ([`caller`], [`tunnel`]).
//! 3. [`heads`] takes away what belongs to one connection only, and every key; bodies stream both ways as they come.
//! 4. An upgrade that the machine accepts turns the local connection and its tunnel into a plain pipe.
//! 5. A tunnel that has ended while the browser kept its connection is opened anew for the next request.
//! 6. A local connection gives way to another one where there are too many, unless a request of it passed the door and is being answered.
//! 7. What cannot be done is said in the answer ([`page`]): a page for people, JSON for programs.
//!
//! Deliberately absent: rewriting of what machines send (the gate at the site puts headers in terms of any origin), a
//! cache, and connections to the machine that two local connections share.

mod body;
mod caller;
mod door;
mod heads;
mod keys;
mod page;
mod socket;
mod tunnel;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use postern_protocol::name::Name;
use postern_transport::crowd::Word;

use self::caller::Caller;
use self::socket::{CutFlag, LocalSocket};

pub(super) use self::door::Door;
pub(crate) use self::door::Refused;

use crate::connect::keeper::State;
use crate::connect::vigil::Ends;
use crate::device::Wanted;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// What all local connections of one `postern connect` share.
#[derive(Debug)]
pub(super) struct Web {
    /// Who may come in.
    pub(super) door: Door,
    /// The device's name.
    pub(super) device: Name,
    /// The tunnel of requests and upgrades. The device knows which of its WebSocket services an upgrade is for.
    pub(super) wanted: Wanted,
    /// Whether tunnels can be opened.
    pub(super) states: watch::Receiver<State>,
    /// Where tunnels say when they end.
    pub(super) ends: Ends,
    /// For what people at the terminal should know.
    pub(super) screen: Screen,
    /// Whether the outcome of a connection is the outcome of the program, which then says it itself.
    pub(super) once: bool,
    /// What was said last, so that a page of forty pictures is refused in one line.
    pub(super) said: Mutex<Option<Problem>>,
}

impl Web {
    /// Says a problem at the terminal, unless it was the last thing said. That the device is away is said by who dials it
    /// again.
    fn report(&self, problem: &Problem) {
        if self.once || problem.exit == Exit::DeviceUnreachable {
            return;
        }
        let problem = problem.clone().about(&format!("{}/{}", self.device, self.wanted.service));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref() != Some(&problem) {
            self.screen.note(&problem.to_string());
            *said = Some(problem);
        }
    }
}

/// Serves one local connection to its end.
///
/// # Errors
/// With `--once`, what the last request came to, where it came to nothing.
pub(super) async fn local_socket(socket: TcpStream, word: Word, web: Arc<Web>) -> Result<(), Problem> {
    // A page is many small answers; a socket that refuses the option still works.
    let _kept = socket.set_nodelay(true);
    let cut = CutFlag::default();
    let caller = Arc::new(Caller::new(web, word, cut.clone()));
    let answering = Arc::clone(&caller);
    let service = service_fn(move |request| {
        let caller = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(caller.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS)
        .preserve_header_case(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(LocalSocket::new(socket, cut)), service);
    // A browser that went away, or bytes that are no HTTP: nobody is left to be told.
    let _over = connection.with_upgrades().await;
    caller.carry_upgraded().await;
    caller.outcome().await
}

/// A head takes no longer, and a local connection waits no longer for its next request.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a head, which the gate at the site takes only up to a quarter of, and of what is read ahead of a body.
const BUFFER_BYTES: usize = 64 * 1024;
/// Headers of a request; the gate at the site takes fewer.
const HEADERS: usize = 128;
