//! Packets that come over TLS, each in a frame.
//!
//! 1. A connection has five seconds for TLS and its first frame, and is closed after two minutes without one.
//! 2. If that says `hub`, the connection is the hub's: it carries packets of the hub's own endpoint from there on, until all who came by
//!    it have left. Whoever has come is counted and bounded there.
//! 3. Otherwise it is one more way to this relay, and what comes is treated as if it had come over UDP.
//! 4. A connection waits until somebody has come by it to the hub, or a leg with a ticket is bound. Where more of those than [`SILENT`]
//!    wait, or there is no place or no file for one more, one of them gives way ([`Crowd`]).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, ReadHalf, split as halves};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use postern_protocol::wire::relay::{HANDLE_BYTES, Handle, Notice, Packet, split};
use postern_transport::crowd::{Crowd, Word, is_called};
use postern_transport::frames::{self, Outbox};
use postern_transport::quic::{Endpoint, Mark, Way};
use postern_transport::{OuterAcceptor, OuterStream};

use super::origin::Origin;
use super::table::{Reply, Route};
use super::{Shared, Tls, clock};
use crate::files::{PAUSE, Shortage};

/// Lets connections in until it is dropped.
pub(super) async fn serve(shared: &Arc<Shared>, tls: &Tls) {
    let (mut connections, mut crowd) = (JoinSet::new(), Crowd::default());
    let mut shortage = Shortage::of("the relay over TLS");
    let mut number = 0;
    loop {
        let (stream, from) = match tls.listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if shortage.note(&error) && is_called(&tls.listener) {
                    let _nobody_waits = crowd.one_leaves();
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let is_full = crowd.waiting() >= SILENT || connections.len() >= tls.connections;
        // Without a place it is closed at once.
        if is_full && !crowd.one_leaves() {
            continue;
        }
        let (shared, acceptor, hub) = (Arc::clone(shared), tls.acceptor.clone(), tls.hub.clone());
        let word = Word::default();
        let said = word.clone();
        number += 1;
        let task = connections.spawn(async move {
            if let Err(error) = attend(&shared, &acceptor, hub, stream, (number, from), &said).await {
                tracing::debug!(%from, %error, "a connection to the relay ended");
            }
        });
        crowd.add(from.ip(), task, word);
    }
}

async fn attend(
    shared: &Arc<Shared>,
    acceptor: &OuterAcceptor,
    hub: Option<Endpoint>,
    stream: TcpStream,
    (number, from): (u64, SocketAddr),
    word: &Word,
) -> io::Result<()> {
    ready(&stream);
    let by = Instant::now() + PATIENCE;
    let mut stream = acceptor.accept(stream, PATIENCE).await.map_err(io::Error::other)?;
    let late = |_late| io::Error::from(io::ErrorKind::TimedOut);
    let mut first = tokio::time::timeout_at(by, first_frame(&mut stream)).await.map_err(late)??;
    if first == Notice::hub() {
        let Some(hub) = hub else { return Ok(()) };
        let way = hub.stream_way(hub.new_peer(), from, stream, None);
        lead(&way, word).await;
        return Ok(());
    }
    let origin = Origin::Stream(number, from);
    let outbox = Arc::new(Outbox::default());
    shared.streams().insert(number, Arc::clone(&outbox));
    // Takes everything back, also when this future is dropped.
    let leg = Leg { shared, origin, number, outbox: Arc::clone(&outbox), word };
    leg.take(&mut first);
    let (reader, writer) = halves(stream);
    tokio::select! {
        ended = leg.read(reader) => ended,
        ended = frames::write(&outbox, writer) => ended,
    }
}

/// Leads to the hub until all who came by it have left, or nothing comes any more. A connection that another way has brought to the hub may
/// move to this one: then nobody has come by it, and yet it is used.
async fn lead(way: &Way, word: &Word) {
    let counted = async {
        way.came().await;
        // The hub counts them from here on.
        word.stays();
        way.left().await;
    };
    let began = Instant::now();
    let silence = async {
        while let Some(left) = SILENCE.checked_sub(way.silence().unwrap_or_else(|| began.elapsed())) {
            // At its end it is silent for long enough.
            tokio::time::sleep(left + TICK).await;
        }
    };
    tokio::select! {
        () = counted => {}
        () = silence => {}
        () = way.ended() => {}
    }
}

/// Small packets at once, and a short queue in the kernel: what waits there cannot be dropped any more.
fn ready(stream: &TcpStream) {
    let _slower = stream.set_nodelay(true);
    let _longer = SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT);
}

/// The first frame, which is a notice: nothing else has a place in so few bytes.
async fn first_frame(stream: &mut OuterStream<TcpStream>) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > FIRST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// A connection that is a way to this relay.
struct Leg<'a> {
    shared: &'a Arc<Shared>,
    origin: Origin,
    number: u64,
    outbox: Arc<Outbox>,
    word: &'a Word,
}

impl Leg<'_> {
    async fn read(&self, reader: ReadHalf<OuterStream<TcpStream>>) -> io::Result<()> {
        let heard = Mutex::new(Instant::now());
        let last = || *heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = async {
            while last().elapsed() < SILENCE {
                tokio::time::sleep_until(last() + SILENCE).await;
            }
        };
        let reading = frames::read(reader, |frame| {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            self.take(frame);
        });
        tokio::select! {
            ended = reading => ended,
            () = silence => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn take(&self, frame: &mut [u8]) {
        let (shared, now) = (self.shared, self.shared.now());
        match split(frame) {
            Some(Packet::Data(handle, packet)) => {
                let bytes = u64::try_from(packet.len()).unwrap_or(u64::MAX);
                let route = shared.table().data(self.origin, handle, (1, bytes), now);
                self.pass(route, handle, frame);
            }
            Some(Packet::Notice(notice)) => {
                let reply = shared.table().notice(self.origin, notice, now, clock());
                // Who came over TLS is no news for the other end.
                if let Reply::Answer(answer) | Reply::Both(answer, _) = reply {
                    // Its ticket is good: it gives way no more.
                    self.word.stays();
                    let _again = self.outbox.put(&[], [answer.as_slice()].into_iter());
                }
            }
            None => {}
        }
    }

    fn pass(&self, route: Route, handle: Handle, frame: &mut [u8]) {
        let shared = self.shared;
        match route {
            Route::To(Origin::Udp(to), other) => {
                if let Some(first) = frame.first_chunk_mut() {
                    *first = *other.as_bytes();
                }
                if shared.socket.try_send(to, frame, frame.len(), Mark::default()).is_err() {
                    shared.table().dropped(1);
                }
            }
            Route::To(Origin::Stream(stream, _), other) => {
                shared.frame(stream, other, frame.get(HANDLE_BYTES..).into_iter());
            }
            Route::Unbound => drop(self.outbox.put(&[], [&Notice::unbound(handle)[..]].into_iter())),
            Route::Drop => {}
        }
    }
}

impl Drop for Leg<'_> {
    fn drop(&mut self) {
        self.shared.streams().remove(&self.number);
        self.shared.table().leave(self.origin);
        self.outbox.close();
    }
}

/// Connections that wait: fewer than the files that a process may have open where nobody has set it.
const SILENT: usize = 512;
/// For TLS and the first frame.
const PATIENCE: Duration = Duration::from_secs(5);
/// A leg binds again every 20 seconds.
const SILENCE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(1);
/// Bytes of the largest notice.
const FIRST: usize = 80;
/// Bytes that the kernel takes before it has sent them.
const NOT_SENT: u32 = 32 * 1024;
