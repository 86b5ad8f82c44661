//! Local connections of one listener: how many there may be, and who gives way.
//!
//! 1. Each is attended to by a task of its own, which says in its [`Seat`] when its program has said what it wants.
//! 2. Where every place is taken, the one that has been silent longest gives way to whoever comes ([`Crowd`]).
//! 3. Where nobody is silent, whoever comes waits in the queue of the listener.
//! 4. A silent one gives way as well where the device has no place for a newcomer ([`Seat::another_leaves`]).
//!
//! Without this any program of this computer, also another user's, could shut a listener by connecting to it in silence.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};

use postern_transport::crowd::{Crowd, Word};

/// Those who hold the places of a listener.
#[derive(Debug)]
pub(crate) struct Callers<T> {
    tasks: JoinSet<T>,
    crowd: Shared,
    places: usize,
}

/// What the task of a local connection says of it.
#[derive(Debug)]
pub(crate) struct Seat {
    word: Word,
    crowd: Shared,
}

type Shared = Arc<Mutex<Crowd>>;

impl<T: Send + 'static> Callers<T> {
    /// Nobody, and so many places.
    pub(crate) fn new(places: usize) -> Self {
        Self { tasks: JoinSet::new(), crowd: Shared::default(), places }
    }

    /// Whether one more can be let in: there is a place, or somebody who gives way.
    pub(crate) fn has_room(&mut self) -> bool {
        self.tasks.len() < self.places || lock(&self.crowd).waiting() > 0
    }

    /// Lets one more in; somebody gives way where every place is taken, and without anybody who can the newcomer is closed.
    pub(crate) fn admit<F>(&mut self, socket: TcpStream, attend: impl FnOnce(TcpStream, Seat) -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut crowd = lock(&self.crowd);
        if self.tasks.len() >= self.places && !crowd.one_leaves() {
            return;
        }
        let from = socket.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |from| from.ip());
        let word = Word::default();
        let seat = Seat { word: word.clone(), crowd: Arc::clone(&self.crowd) };
        let task = self.tasks.spawn(attend(socket, seat));
        crowd.add(from, task, word);
    }

    /// Has one of the silent leave, because the system has no more files.
    pub(crate) fn make_room(&mut self) {
        let _nobody_is_silent = lock(&self.crowd).one_leaves();
    }

    /// The next that has ended; none where nobody is there. Safe to cancel.
    pub(crate) async fn ended(&mut self) -> Option<Result<T, JoinError>> {
        self.tasks.join_next().await
    }
}

impl Seat {
    /// Of nobody else's listener.
    pub(crate) fn alone() -> Self {
        Self { word: Word::default(), crowd: Shared::default() }
    }

    /// Whether its program is silent.
    pub(crate) const fn word(&self) -> &Word {
        &self.word
    }

    /// Has another silent one leave; false where there is none. Whoever asks is being served.
    pub(crate) fn another_leaves(&self) -> bool {
        lock(&self.crowd).one_leaves()
    }
}

fn lock(crowd: &Shared) -> MutexGuard<'_, Crowd> {
    crowd.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A local connection, or a half of it, of which it is known when something has passed.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    inner: S,
    word: Word,
}

impl<S> Noted<S> {
    /// Whoever it belongs to is silent until something passes.
    pub(crate) const fn new(inner: S, word: Word) -> Self {
        Self { inner, word }
    }

    fn passed(&self, bytes: usize) {
        if bytes > 0 {
            // Too late only where the task is aborted already.
            self.word.stays();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let noted = self.get_mut();
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut noted.inner).poll_read(cx, buf));
        noted.passed(buf.filled().len() - before);
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let noted = self.get_mut();
        let outcome = ready!(Pin::new(&mut noted.inner).poll_write(cx, buf));
        noted.passed(*outcome.as_ref().unwrap_or(&0));
        Poll::Ready(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let noted = self.get_mut();
        let outcome = ready!(Pin::new(&mut noted.inner).poll_write_vectored(cx, bufs));
        noted.passed(*outcome.as_ref().unwrap_or(&0));
        Poll::Ready(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    struct Listener {
        callers: Callers<()>,
        at: TcpListener,
    }

    impl Listener {
        async fn new(places: usize) -> Self {
            Self {
                callers: Callers::new(places),
                at: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            }
        }

        /// A program comes in; what it says is answered.
        async fn comes(&mut self) -> TcpStream {
            let program = TcpStream::connect(self.at.local_addr().unwrap()).await.unwrap();
            let (socket, _) = self.at.accept().await.unwrap();
            self.callers.admit(socket, |mut socket, seat| async move {
                let (reader, mut writer) = socket.split();
                let mut reader = Noted::new(reader, seat.word().clone());
                let _gone = tokio::io::copy(&mut reader, &mut writer).await;
            });
            program
        }
    }

    async fn echoed(program: &mut TcpStream) -> bool {
        let mut answer = [0];
        program.write_all(b"?").await.is_ok() && program.read_exact(&mut answer).await.is_ok()
    }

    #[tokio::test]
    async fn the_one_that_is_silent_longest_gives_way_and_who_has_spoken_does_not() {
        let mut listener = Listener::new(2).await;
        let (mut first, mut second) = (listener.comes().await, listener.comes().await);
        assert!(echoed(&mut first).await);
        assert!(listener.callers.has_room(), "the second is silent");
        let mut third = listener.comes().await;
        assert!(listener.callers.ended().await.unwrap().unwrap_err().is_cancelled());
        assert!(!echoed(&mut second).await);
        assert!(echoed(&mut first).await);
        assert!(echoed(&mut third).await);
        assert!(!listener.callers.has_room(), "nobody is silent");
    }

    #[tokio::test]
    async fn a_system_without_files_costs_a_silent_one_its_place_and_nobody_else() {
        let mut listener = Listener::new(2).await;
        let (mut spoken, mut silent) = (listener.comes().await, listener.comes().await);
        assert!(echoed(&mut spoken).await);
        listener.callers.make_room();
        listener.callers.make_room();
        assert!(listener.callers.ended().await.unwrap().unwrap_err().is_cancelled());
        assert!(!echoed(&mut silent).await);
        assert!(echoed(&mut spoken).await);
    }
}
