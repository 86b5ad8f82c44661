//! One TCP connection of a program of this computer, from its SYN: a small TCP of its own, which is read and written like a
//! socket.
//!
//! 1. It is made when the device has opened the flow. Until then the program's SYN has no answer, so whoever is refused
//!    hears that instead of being connected and cut.
//! 2. Packets come from the table, which knows which connection each belongs to; they go to the adapter at once.
//! 3. Reader, writer and [`Socket::driven`] share it, and each of them moves it on when it is polled. They belong to one task.
//! 4. Dropped before its end, it resets the connection.
//!
//! Nothing is lost between here and the program, so there is no congestion to control: loss on the way to the site is QUIC's
//! affair. Segments are as large as IP allows; the kernel takes them in one piece.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{self, RecvError, SocketBuffer, State};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpListenEndpoint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::ledger::Count;
use super::packet::{Key, Segment};
use super::tun::Tun;
use super::virtio::{self, HEADER};

/// A connection.
#[derive(Clone)]
pub(super) struct Socket(Arc<Mutex<Inner>>);

/// What comes from the program.
pub(super) struct Reader(Socket);

/// What goes to the program.
pub(super) struct Writer(Socket);

struct Inner {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    packets: mpsc::Receiver<Vec<u8>>,
    timer: Pin<Box<Sleep>>,
    started: Instant,
    count: Arc<Count>,
    /// Whether the direction to the program was closed here.
    is_closed: bool,
}

impl Socket {
    /// Answers the SYN of a program.
    ///
    /// # Errors
    /// When there are no random bytes for its sequence numbers: they must not be guessed.
    pub(super) fn accept(
        mut syn: Vec<u8>,
        (key, segment): (Key, &Segment),
        packets: mpsc::Receiver<Vec<u8>>,
        (tun, count): (Arc<Tun>, Arc<Count>),
    ) -> io::Result<Self> {
        let mss = segment.mss.clone().and_then(|place| syn.get_mut(place));
        let mss = mss.and_then(|place| {
            let said = u16::from_be_bytes(<[u8; 2]>::try_from(&*place).ok()?);
            // The kernel cuts what this TCP sends at the size that was said.
            place.copy_from_slice(&LARGEST_SEGMENT.to_be_bytes());
            Some(said)
        });
        let mut wire =
            Wire { coming: VecDeque::from([syn]), way: Way { tun, size: mss.unwrap_or(SMALLEST_SEGMENT) } };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = getrandom::u64().map_err(|_| io::ErrorKind::Unsupported)?;
        let mut interface = Interface::new(config, &mut wire, StackInstant::ZERO);
        let here = IpAddress::from(key.to.ip());
        interface.update_ip_addrs(|addresses| {
            // Every program is a neighbour. There is room for more than one address.
            let _room = addresses.push(IpCidr::new(here, 0));
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        // Ping-pong protocols lose 40 ms per turn to Nagle and to acknowledgements that wait.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let place = IpListenEndpoint { addr: Some(here), port: key.to.port() };
        socket.listen(place).map_err(|_| io::ErrorKind::AddrNotAvailable)?;
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let started = Instant::now();
        let inner =
            Inner { interface, sockets, handle, wire, packets, timer, started, count, is_closed: false };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Both halves.
    pub(super) fn split(&self) -> (Reader, Writer) {
        (Reader(self.clone()), Writer(self.clone()))
    }

    /// Moves it on until the program has reset it: what is over although nobody here has closed it.
    pub(super) async fn driven(&self) {
        poll_fn(|context| {
            let mut inner = self.lock();
            inner.drive(context);
            let is_reset = inner.socket().state() == State::Closed && !inner.is_closed;
            if is_reset { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until the program has got all there was, or resets it after a while.
    pub(super) async fn finish(self) {
        self.lock().close();
        let over = poll_fn(|context| {
            let mut inner = self.lock();
            inner.drive(context);
            let is_over = matches!(inner.socket().state(), State::Closed | State::TimeWait);
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        });
        let _late = tokio::time::timeout(LAST_BYTES, over).await;
    }

    /// Resets it, if it is not over.
    pub(super) fn abort(&self) {
        self.lock().abort();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Takes packets that have come, sends those that are due, and sets the clock. Whoever polls is woken for what comes next.
    fn drive(&mut self, context: &mut Context<'_>) {
        for _ in 0..ROUNDS {
            let is_drained = self.take_packets(context);
            let now = self.now();
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
            let wait = self.interface.poll_delay(now, &self.sockets).map(Duration::from);
            let is_due = wait.is_some_and(|wait| {
                self.timer.as_mut().reset(Instant::now() + wait);
                self.timer.as_mut().poll(context).is_ready()
            });
            if is_drained && !is_due {
                return;
            }
        }
        context.waker().wake_by_ref();
    }

    /// Whether all that came was taken.
    fn take_packets(&mut self, context: &mut Context<'_>) -> bool {
        while self.wire.coming.len() < BATCH {
            match self.packets.poll_recv(context) {
                Poll::Ready(Some(packet)) => self.wire.coming.push_back(packet),
                // The table has given it up.
                Poll::Ready(None) => {
                    self.abort();
                    return true;
                }
                Poll::Pending => return true,
            }
        }
        false
    }

    fn send(&mut self) {
        let now = self.now();
        self.interface.poll_egress(now, &mut self.wire, &mut self.sockets);
    }

    /// Whether the program has not heard yet that it is connected.
    fn begins(&mut self) -> bool {
        matches!(self.socket().state(), State::Listen | State::SynReceived)
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.socket().close();
        self.send();
    }

    fn abort(&mut self) {
        if !matches!(self.socket().state(), State::Closed | State::TimeWait | State::Listen) {
            self.socket().abort();
            self.send();
        }
    }

    fn now(&self) -> StackInstant {
        StackInstant::from_micros(i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.abort();
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        inner.drive(context);
        let received = inner.socket().recv(|data| {
            let count = data.len().min(buffer.remaining());
            buffer.put_slice(data.get(..count).unwrap_or_default());
            (count, count)
        });
        match received {
            Ok(0) => Poll::Pending,
            Ok(count) => {
                inner.count.sent(count);
                // There is room again, which the program should know.
                inner.send();
                Poll::Ready(Ok(()))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(())),
            Err(RecvError::InvalidState) if inner.begins() => Poll::Pending,
            Err(RecvError::InvalidState) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl Writer {
    fn poll_put(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock();
        inner.drive(context);
        if inner.begins() {
            return Poll::Pending;
        }
        let mut count = 0_usize;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match inner.socket().send_slice(slice) {
                Ok(taken) => {
                    count = count.saturating_add(taken);
                    if taken < slice.len() {
                        break;
                    }
                }
                Err(tcp::SendError::InvalidState) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        if count == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Poll::Pending;
        }
        inner.count.received(count);
        inner.send();
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().close();
        Poll::Ready(Ok(()))
    }
}

/// Packets that have come, and the way of those that go.
struct Wire {
    coming: VecDeque<Vec<u8>>,
    way: Way,
}

struct Way {
    tun: Arc<Tun>,
    size: u16,
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = &'a Way;

    fn receive(&mut self, _: StackInstant) -> Option<(Arrived, &Way)> {
        Some((Arrived(self.coming.pop_front()?), &self.way))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<&Way> {
        Some(&self.way)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(u16::MAX);
        // Nothing is damaged inside this computer, and the kernel computes what leaves it.
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for &Way {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut bytes = vec![0; length.saturating_add(HEADER)];
        let filled = fill(bytes.get_mut(HEADER..).unwrap_or_default());
        // What is no TCP packet goes as it is.
        let _other = virtio::finish(&mut bytes, self.size);
        self.tun.write_with_header(&bytes);
        filled
    }
}

/// Bytes that wait in each direction; memory is taken when they come.
const BUFFER: usize = 512 * 1024;
/// The largest payload of a packet with the smallest headers.
const LARGEST_SEGMENT: u16 = u16::MAX - 40;
/// What a program takes that does not say (RFC 9293 section 3.7.1).
const SMALLEST_SEGMENT: u16 = 536;
/// Packets that are taken before answers are sent.
const BATCH: usize = 64;
/// Times that it is moved on before others have their turn.
const ROUNDS: usize = 4;
/// A program that has not taken the last bytes by then does not want them.
const LAST_BYTES: Duration = Duration::from_secs(30);
