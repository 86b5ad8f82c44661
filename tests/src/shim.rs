//! A path in user space, for UDP: as narrow, long, lossy and untidy as a test or a measurement wants it. The kernels of test machines
//! have no emulator of their own.
//!
//! 1. A packet that is larger than the path takes is dropped, and nobody is told: a black hole.
//! 2. One that comes while the queue is full is dropped, as a modem does; of the others the dice take some.
//! 3. It leaves when everything before it has left at the path's rate, and arrives after the delay; some come later than those
//!    behind them.
//! 4. Each who dials is seen by the far side from a port of its own, and gets what comes back there.
//!
//! The dice are a function of the seed and of how many packets came before, for each direction by itself. Packets are datagrams with their
//! headers, and come one by one: what the kernel would hand over in one piece it takes apart for a socket that did not ask for it.

pub mod stream;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a path does to packets, in each direction alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Bits per second; none is as fast as it goes.
    pub rate: Option<f64>,
    /// Bytes that wait for their turn at that rate.
    pub queue: usize,
    /// From one end to the other.
    pub delay: Duration,
    /// The share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// The share of packets that come late, 0 to 1.
    pub late: f64,
    /// How much later at most.
    pub late_by: Duration,
    /// Bytes of the largest packet, with IP and UDP headers.
    pub largest: usize,
    /// Where the dice begin.
    pub seed: u64,
}

impl Conditions {
    /// A wire that does nothing to packets.
    pub const CLEAR: Self = Self {
        rate: None,
        queue: 250_000,
        delay: Duration::ZERO,
        loss: 0.0,
        late: 0.0,
        late_by: Duration::ZERO,
        largest: 1500,
        seed: 1,
    };
    /// 10 Mbit/s and 30 ms each way, with a queue of 250 kB before it.
    pub const NARROW: Self = Self { rate: Some(10e6), delay: Duration::from_millis(30), ..Self::CLEAR };
}

/// A running path. It ends when it is dropped.
#[derive(Debug)]
pub struct Shim {
    /// Where to dial instead of the far side.
    pub at: SocketAddr,
    path: Arc<Path>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of a path share.
#[derive(Debug)]
struct Path {
    near: IpAddr,
    far: SocketAddr,
    front: UdpSocket,
    there: Mutex<Lane>,
    back: Mutex<Lane>,
    /// The far side's view of each who has dialled, the one that was heard last at the end.
    diallers: Mutex<Vec<(SocketAddr, Arc<UdpSocket>)>>,
    is_over: AtomicBool,
    dropped: AtomicU64,
}

impl Shim {
    /// Puts a path before `far`. Its sockets are at `near`, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn before(near: IpAddr, far: SocketAddr, conditions: Conditions) -> io::Result<Self> {
        let front = socket(near)?;
        let at = front.local_addr()?;
        let path = Arc::new(Path {
            near,
            far,
            front,
            there: Mutex::new(Lane::new(conditions, 0)),
            back: Mutex::new(Lane::new(conditions, 1)),
            diallers: Mutex::default(),
            is_over: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let (up, down) = (channel(), channel());
        let reading = Arc::clone(&path);
        // New sockets belong to the namespace of the thread that opens them, which is the calling one's.
        let threads = vec![
            std::thread::spawn(move || reading.go_there(&up.0, &down.0)),
            std::thread::spawn(move || deliver(&up.1)),
            std::thread::spawn(move || deliver(&down.1)),
        ];
        Ok(Self { at, path, threads })
    }

    /// Packets that did not arrive so far, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.path.dropped.load(Ordering::Relaxed)
    }

    /// Does something else to packets from now on, in both directions. What is under way arrives as it would have.
    pub fn change(&self, conditions: Conditions) {
        for lane in [&self.path.there, &self.path.back] {
            lock(lane).conditions = conditions;
        }
    }

    /// Forgets who has dialled, as a router does that was started anew: whoever goes on comes to the far side from another port, and
    /// what still goes to the former one arrives nowhere.
    pub fn forget(&self) {
        lock(&self.path.diallers).clear();
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.path.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

impl Path {
    /// Takes what diallers send, until the path is over and everybody who reads answers has ended.
    fn go_there(self: Arc<Self>, there: &Sender<Due>, back: &Sender<Due>) {
        let (mut block, mut answers) = ([0; 2048], Vec::new());
        while !self.is_over.load(Ordering::Relaxed) {
            // A refused datagram of a peer that is gone shows here and concerns nobody.
            let Ok((len, from)) = self.front.recv_from(&mut block) else { continue };
            let Some(view) = self.view(from, back, &mut answers) else { continue };
            self.admit(&self.there, there, block.get(..len).unwrap_or_default(), Exit::There(view));
        }
        for answer in answers {
            let _ended = answer.join();
        }
    }

    /// The far side's view of a dialler, which begins with its first packet.
    fn view(
        self: &Arc<Self>,
        from: SocketAddr,
        back: &Sender<Due>,
        answers: &mut Vec<JoinHandle<()>>,
    ) -> Option<Arc<UdpSocket>> {
        let mut diallers = lock(&self.diallers);
        if let Some(known) = diallers.iter().position(|(dialler, _)| *dialler == from) {
            diallers.get_mut(known..)?.rotate_left(1);
        } else {
            let view = socket(self.near).and_then(|view| view.connect(self.far).map(|()| Arc::new(view)));
            let view = view.ok()?;
            if diallers.len() == DIALLERS {
                diallers.remove(0);
            }
            diallers.push((from, Arc::clone(&view)));
            let (path, back) = (Arc::clone(self), back.clone());
            answers.push(std::thread::spawn(move || path.come_back(&view, from, &back)));
        }
        diallers.last().map(|(_, view)| Arc::clone(view))
    }

    /// Takes what comes for a dialler, for as long as it is known.
    fn come_back(self: &Arc<Self>, view: &Arc<UdpSocket>, to: SocketAddr, back: &Sender<Due>) {
        let mut block = [0; 2048];
        let is_known = || lock(&self.diallers).iter().any(|(_, known)| Arc::ptr_eq(known, view));
        while !self.is_over.load(Ordering::Relaxed) {
            let Ok(len) = view.recv(&mut block) else {
                if is_known() {
                    continue;
                }
                return;
            };
            if is_known() {
                self.admit(&self.back, back, block.get(..len).unwrap_or_default(), Exit::Back(to));
            }
        }
    }

    fn admit(self: &Arc<Self>, lane: &Mutex<Lane>, queue: &Sender<Due>, packet: &[u8], exit: Exit) {
        let mut lane = lock(lane);
        match lane.admit(Instant::now(), packet.len()) {
            Some(at) => {
                let (number, packet) = (lane.count, packet.to_vec());
                let _over = queue.send(Due { at, number, packet, exit, path: Arc::clone(self) });
            }
            None => drop(self.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

fn socket(near: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((near, 0))?;
    // So that the end of the path is noticed.
    socket.set_read_timeout(Some(GLANCE))?;
    // The path's own queue decides what is lost.
    socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER)?;
    Ok(socket)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A packet and when it arrives; among those of the same moment the one that came first.
struct Due {
    at: Instant,
    number: u64,
    packet: Vec<u8>,
    exit: Exit,
    path: Arc<Path>,
}

/// Where a packet leaves the path.
enum Exit {
    /// To the far side, as the one who has sent it is seen there.
    There(Arc<UdpSocket>),
    /// To one who has dialled.
    Back(SocketAddr),
}

impl Due {
    fn send(&self) -> io::Result<usize> {
        match &self.exit {
            Exit::There(view) => view.send(&self.packet),
            Exit::Back(to) => self.path.front.send_to(&self.packet, to),
        }
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

fn deliver(receiver: &Receiver<Due>) {
    let mut waiting = BinaryHeap::new();
    loop {
        let left = waiting
            .peek()
            .map(|Reverse(next): &Reverse<Due>| next.at.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => {
                if let Some(Reverse(due)) = waiting.pop() {
                    let _lost = due.send();
                }
            }
            left => match receiver.recv_timeout(left.unwrap_or(GLANCE)) {
                Ok(due) => waiting.push(Reverse(due)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            },
        }
    }
}

/// What decides in one direction.
#[derive(Debug)]
struct Lane {
    conditions: Conditions,
    waiting: VecDeque<(Instant, usize)>,
    bytes: usize,
    dice: u64,
    count: u64,
}

impl Lane {
    const fn new(conditions: Conditions, salt: u64) -> Self {
        let dice = conditions.seed.wrapping_mul(2).wrapping_add(salt);
        Self { conditions, waiting: VecDeque::new(), bytes: 0, dice, count: 0 }
    }

    /// When a datagram will arrive, or none when it is lost.
    fn admit(&mut self, now: Instant, len: usize) -> Option<Instant> {
        self.count += 1;
        // Always thrown, so that what is lost does not depend on what else was.
        let (lost, late, how_late) = (self.throw(), self.throw(), self.throw());
        if len + HEADERS > self.conditions.largest || lost < self.conditions.loss {
            return None;
        }
        let leaves = self.queue(now, len)?;
        let more = if late < self.conditions.late { how_late } else { 0.0 };
        Some(leaves + self.conditions.delay + self.conditions.late_by.mul_f64(more))
    }

    /// When it will have left, or none when there is no room for it.
    fn queue(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.conditions.rate else { return Some(now) };
        while let Some((_, gone)) = self.waiting.front().copied().filter(|(leaves, _)| *leaves <= now) {
            self.waiting.pop_front();
            self.bytes -= gone;
        }
        if self.bytes + len > self.conditions.queue {
            return None;
        }
        let begins = self.waiting.back().map_or(now, |(leaves, _)| *leaves);
        let size = u32::try_from(len + HEADERS).unwrap_or(u32::MAX);
        let leaves = begins + Duration::from_secs_f64(f64::from(size) * 8.0 / rate);
        self.waiting.push_back((leaves, len));
        self.bytes += len;
        Some(leaves)
    }

    /// A number from 0 to 1 (SplitMix64).
    fn throw(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // Its upper 53 bits are what a number of this kind can hold.
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// IPv4 and UDP headers, which the path carries too.
const HEADERS: usize = 28;
/// How often is looked whether the path is over.
const GLANCE: Duration = Duration::from_millis(50);
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Who dials at the same time; for more, those who were silent longest are forgotten.
const DIALLERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_one_after_another_at_the_rate_and_are_dropped_when_the_queue_is_full() {
        let delay = Conditions::NARROW.delay;
        let mut lane = Lane::new(Conditions::NARROW, 0);
        let now = Instant::now();
        let each = Duration::from_secs_f64(1028.0 * 8.0 / 10e6);
        assert_eq!(lane.admit(now, 1000), Some(now + each + delay));
        assert_eq!(lane.admit(now, 1000), Some(now + each + each + delay));
        for _ in 2..250 {
            assert!(lane.admit(now, 1000).is_some());
        }
        assert_eq!(lane.admit(now, 1), None);
        let later = now + each;
        assert_eq!(lane.admit(later, 1000), Some(now + 251 * each + delay));
        assert_eq!(lane.admit(later, 1), None);
    }

    #[test]
    fn an_idle_path_delays_nothing_but_the_packet_itself() {
        let mut lane = Lane::new(Conditions::NARROW, 0);
        let idle = Instant::now() + Duration::from_secs(1);
        let delay = Conditions::NARROW.delay;
        assert_eq!(lane.admit(idle, 972), Some(idle + Duration::from_micros(800) + delay));
    }

    #[test]
    fn a_packet_larger_than_the_path_takes_is_lost_and_one_of_that_size_is_not() {
        let mut lane = Lane::new(Conditions { largest: 1200, ..Conditions::CLEAR }, 0);
        let now = Instant::now();
        assert_eq!(lane.admit(now, 1200 - HEADERS), Some(now));
        assert_eq!(lane.admit(now, 1200 - HEADERS + 1), None);
    }

    #[test]
    fn the_dice_fall_as_the_seed_says_and_about_as_often_as_the_share_says() {
        let conditions = Conditions {
            loss: 0.05,
            late: 0.1,
            late_by: Duration::from_millis(20),
            delay: Duration::from_millis(100),
            ..Conditions::CLEAR
        };
        let now = Instant::now();
        let fate = |seed, salt| {
            let mut lane = Lane::new(Conditions { seed, ..conditions }, salt);
            (0..10_000).map(|_| lane.admit(now, 1000)).collect::<Vec<_>>()
        };
        let first = fate(7, 0);
        assert_eq!(first, fate(7, 0));
        assert_ne!(first, fate(7, 1), "directions differ");
        assert_ne!(first, fate(8, 0), "seeds differ");
        let lost = first.iter().filter(|due| due.is_none()).count();
        assert!((400..600).contains(&lost), "{lost} of 10,000 were lost");
        let early = now + conditions.delay;
        let late = first.iter().flatten().filter(|due| **due > early).count();
        assert!((800..1100).contains(&late), "{late} of 10,000 came late");
        assert!(first.iter().flatten().all(|due| (early..early + conditions.late_by).contains(due)));
    }

    #[test]
    fn each_who_dials_gets_its_own_answers_and_comes_from_elsewhere_when_it_is_forgotten() {
        let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = echo.local_addr().unwrap();
        let shim = Shim::before(far.ip(), far, Conditions::CLEAR).unwrap();
        let dial = |text: &[u8]| {
            let dialler = UdpSocket::bind("127.0.0.1:0").unwrap();
            dialler.send_to(text, shim.at).unwrap();
            let mut block = [0; 16];
            let (len, from) = echo.recv_from(&mut block).unwrap();
            assert_eq!(&block[..len], text);
            (dialler, from)
        };
        let ((one, one_at), (other, other_at)) = (dial(b"one"), dial(b"other"));
        assert_ne!(one_at, other_at);
        let mut block = [0; 16];
        for (dialler, at, text) in [(&one, one_at, b"for one"), (&other, other_at, b"for two")] {
            echo.send_to(text, at).unwrap();
            let (len, _) = dialler.recv_from(&mut block).unwrap();
            assert_eq!(&block[..len], text);
        }
        shim.forget();
        one.send_to(b"again", shim.at).unwrap();
        let (_, again_at) = echo.recv_from(&mut block).unwrap();
        assert_ne!(again_at, one_at);
        shim.change(Conditions { loss: 1.0, ..Conditions::CLEAR });
        one.send_to(b"lost", shim.at).unwrap();
        while shim.dropped() == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn packets_go_there_and_back_and_nothing_runs_after_the_end() {
        let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = echo.local_addr().unwrap();
        let conditions = Conditions { delay: Duration::from_millis(5), ..Conditions::CLEAR };
        let shim = Shim::before(far.ip(), far, conditions).unwrap();
        let dialler = UdpSocket::bind("127.0.0.1:0").unwrap();
        let begun = Instant::now();
        dialler.send_to(b"there", shim.at).unwrap();
        let mut block = [0; 16];
        let (len, from) = echo.recv_from(&mut block).unwrap();
        echo.send_to(b"back", from).unwrap();
        assert_eq!(&block[..len], b"there");
        let (len, from) = dialler.recv_from(&mut block).unwrap();
        assert_eq!((&block[..len], from), (b"back".as_slice(), shim.at));
        assert!(begun.elapsed() >= 2 * conditions.delay);
        assert_eq!(shim.dropped(), 0);
        let at = shim.at;
        drop(shim);
        UdpSocket::bind(at).unwrap();
    }
}
