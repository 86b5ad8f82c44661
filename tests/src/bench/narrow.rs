//! A narrow link in user space: 10 Mbit/s and 30 ms each way, with a queue of 250 kB before it.
//!
//! 1. A datagram that comes while the queue is full is dropped, as a modem does.
//! 2. It leaves when everything before it has left at the link's rate, and arrives 30 ms later.
//! 3. The dialling side is whoever sent last; the other side is fixed.
//!
//! It carries UDP, so QUIC peers can be compared on it. Datagrams arrive here one by one: what the kernel would hand
//! over in one piece it takes apart for a socket that did not ask for it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::link::{Link, Side};
use super::load;
use super::machine::Habit;
use crate::world::Mishap;

/// A running narrow link. It ends with this process.
#[derive(Debug)]
pub struct Narrow {
    /// Where to dial instead of the far side.
    pub at: SocketAddr,
}

impl Narrow {
    /// Puts a narrow link before `far`.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn before(link: &Link, far: SocketAddr) -> Result<Self, Mishap> {
        link.within(Side::Client, || {
            let near = UdpSocket::bind((link.address(Side::Client), 0))?;
            let out = UdpSocket::bind((link.address(Side::Client), 0))?;
            out.connect(far)?;
            let at = near.local_addr()?;
            let dialler = Arc::new(Mutex::new(None));
            let known = Arc::clone(&dialler);
            let (up_in, up_out) = (near.try_clone()?, out.try_clone()?);
            one_way(
                move |block| {
                    let (len, from) = up_in.recv_from(block)?;
                    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                    Ok(len)
                },
                move |packet| up_out.send(packet).map(drop),
            );
            one_way(
                move |block| out.recv(block),
                move |packet| {
                    let to = *dialler.lock().unwrap_or_else(PoisonError::into_inner);
                    to.map_or(Ok(()), |to| near.send_to(packet, to).map(drop))
                },
            );
            Ok(Self { at })
        })
    }
}

/// Round trips of 64 bytes on one connection while another uploads as fast as it can, in microseconds.
///
/// # Errors
/// When a connection breaks.
pub fn ping_under_bulk(link: &Link, at: SocketAddr, count: usize) -> Result<Vec<f64>, Mishap> {
    link.within(Side::Client, || {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let bulk = scope.spawn(|| upload_until(at, &is_over));
            let pings = load::open(at, Habit::Echo).and_then(|mut stream| {
                std::thread::sleep(FILL);
                load::round_trips(&mut stream, count, Duration::from_millis(20))
            });
            is_over.store(true, Ordering::Relaxed);
            let uploaded = bulk.join();
            let samples = pings?;
            match uploaded {
                Ok(Ok(())) => Ok(samples),
                Ok(Err(fault)) => Err(fault),
                Err(_) => Err(Mishap::unexpected("the upload", "a panic", "bytes")),
            }
        })
    })
}

fn upload_until(at: SocketAddr, is_over: &AtomicBool) -> Result<(), Mishap> {
    let mut stream: TcpStream = load::open(at, Habit::Swallow)?;
    let block = [7; 16 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&block)?;
    }
    // What is still in buffers would fill the link for seconds more.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

/// One direction: a thread that reads and queues, and one that waits and sends.
fn one_way(
    mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize> + Send + 'static,
    mut send: impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static,
) {
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    std::thread::spawn(move || {
        let mut queue = Queue::default();
        let mut block = [0; 2048];
        loop {
            // A refused datagram of a peer that is gone shows here and concerns nobody.
            let Ok(len) = read(&mut block) else { continue };
            let packet = block.get(..len).unwrap_or_default();
            if let Some(leaves) = queue.admit(Instant::now(), len)
                && sender.send((leaves + DELAY, packet.to_vec())).is_err()
            {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((due, packet)) = receiver.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let _lost = send(&packet);
        }
    });
}

/// What waits before the link.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Instant, usize)>,
    bytes: usize,
}

impl Queue {
    /// When a packet will have left, or none when there is no room for it.
    fn admit(&mut self, now: Instant, len: usize) -> Option<Instant> {
        while let Some((_, gone)) = self.waiting.front().copied().filter(|(leaves, _)| *leaves <= now) {
            self.waiting.pop_front();
            self.bytes -= gone;
        }
        if self.bytes + len > QUEUE {
            return None;
        }
        let begins = self.waiting.back().map_or(now, |(leaves, _)| *leaves);
        let size = u32::try_from(len + HEADERS).unwrap_or(u32::MAX);
        let leaves = begins + Duration::from_secs_f64(f64::from(size) * 8.0 / RATE);
        self.waiting.push_back((leaves, len));
        self.bytes += len;
        Some(leaves)
    }
}

/// Bits per second.
const RATE: f64 = 10e6;
/// One way.
const DELAY: Duration = Duration::from_millis(30);
/// Bytes.
const QUEUE: usize = 250_000;
/// IPv4 and UDP headers, which the link carries too.
const HEADERS: usize = 28;
/// Time for the upload to fill the link before pings count.
const FILL: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_one_after_another_at_the_rate_and_are_dropped_when_the_queue_is_full() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let each = Duration::from_secs_f64(1028.0 * 8.0 / RATE);
        assert_eq!(queue.admit(now, 1000), Some(now + each));
        assert_eq!(queue.admit(now, 1000), Some(now + each + each));
        for _ in 2..250 {
            assert!(queue.admit(now, 1000).is_some());
        }
        assert_eq!(queue.admit(now, 1), None);
        let later = now + each;
        assert_eq!(queue.admit(later, 1000), Some(now + 251 * each));
        assert_eq!(queue.admit(later, 1), None);
    }

    #[test]
    fn an_idle_link_delays_nothing_but_the_packet_itself() {
        let mut queue = Queue::default();
        let now = Instant::now();
        assert_eq!(queue.admit(now, 1000), queue.admit(now, 1000).map(|second| second - (second - now) / 2));
        let idle = now + Duration::from_secs(1);
        assert_eq!(queue.admit(idle, 972), Some(idle + Duration::from_micros(800)));
    }
}
