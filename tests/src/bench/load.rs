//! What an engineer's programs do at the near end of a tunnel, with a clock beside it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::machine::{BLOCK, Habit};
use crate::world::Mishap;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the engineer to the machine.
    Up,
    /// From the machine to the engineer.
    Down,
}

/// What was moved.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From the first byte to the last.
    pub took: Duration,
}

impl Volume {
    /// Megabits per second.
    #[must_use]
    pub fn mbit_s(self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.took.as_secs_f64()
    }

    /// In units of 2^30 bytes.
    #[must_use]
    pub fn gib(self) -> f64 {
        self.bytes as f64 / f64::from(1 << 30)
    }
}

/// Moves bytes through `streams` connections for about `span`.
///
/// # Errors
/// When a connection breaks.
pub fn bulk(at: SocketAddr, direction: Direction, streams: usize, span: Duration) -> Result<Volume, Mishap> {
    let begun = Instant::now();
    let counts: Vec<Result<u64, Mishap>> = std::thread::scope(|scope| {
        let one = || match direction {
            Direction::Up => upload(at, span),
            Direction::Down => download(at, span),
        };
        let threads: Vec<_> = (0..streams).map(|_| scope.spawn(one)).collect();
        let broken = |_| Err(Mishap::unexpected("a thread of the load", "a panic", "a count"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(broken)).collect()
    });
    let took = begun.elapsed();
    let bytes = counts.into_iter().sum::<Result<u64, Mishap>>()?;
    Ok(Volume { bytes, took })
}

/// Round trips of 64 bytes on one connection, in microseconds.
///
/// # Errors
/// When the connection breaks.
pub fn ping(at: SocketAddr, count: usize) -> Result<Vec<f64>, Mishap> {
    let mut stream = open(at, Habit::Echo)?;
    round_trips(&mut stream, count, Duration::ZERO)
}

/// Round trips of 64 bytes with a pause after each, in microseconds.
///
/// # Errors
/// When the connection breaks.
pub fn round_trips(stream: &mut TcpStream, count: usize, pause: Duration) -> Result<Vec<f64>, Mishap> {
    let (out, mut back) = ([7; 64], [0; 64]);
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            stream.write_all(&out)?;
            stream.read_exact(&mut back)?;
            let took = micros(begun);
            std::thread::sleep(pause);
            Ok(took)
        })
        .collect()
}

/// Connections one after another, from dialling to the first byte back, in microseconds.
///
/// # Errors
/// When one is not made.
pub fn set_up(at: SocketAddr, count: usize) -> Result<Vec<f64>, Mishap> {
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            let mut stream = connect(at)?;
            stream.write_all(&[Habit::Echo.byte(), 1])?;
            stream.read_exact(&mut [0])?;
            Ok(micros(begun))
        })
        .collect()
}

/// Opens a connection and asks for a habit.
///
/// # Errors
/// When it is refused.
pub fn open(at: SocketAddr, habit: Habit) -> Result<TcpStream, Mishap> {
    let mut stream = connect(at)?;
    stream.write_all(&[habit.byte()])?;
    Ok(stream)
}

fn connect(at: SocketAddr) -> Result<TcpStream, Mishap> {
    let stream = TcpStream::connect(at).map_err(Mishap::io(format!("dialling {at}")))?;
    as_kernels_come(&stream);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    Ok(stream)
}

/// Lets TCP send as it does where nobody has changed it, on Linux and elsewhere, whatever this computer has chosen. Where it must not be
/// changed it stays as it is.
pub(super) fn as_kernels_come(stream: &TcpStream) {
    let _as_it_is = socket2::SockRef::from(stream).set_tcp_congestion(b"cubic");
}

fn upload(at: SocketAddr, span: Duration) -> Result<u64, Mishap> {
    let mut stream = open(at, Habit::Swallow)?;
    let block = vec![7; BLOCK];
    let end = Instant::now() + span;
    while Instant::now() < end {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    Ok(u64::from_le_bytes(total))
}

fn download(at: SocketAddr, span: Duration) -> Result<u64, Mishap> {
    let mut stream = open(at, Habit::Pour)?;
    let millis = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
    stream.write_all(&millis.to_le_bytes())?;
    let mut block = vec![0; BLOCK];
    let mut total = 0;
    loop {
        let taken = stream.read(&mut block)?;
        if taken == 0 {
            return Ok(total);
        }
        total += u64::try_from(taken).unwrap_or(0);
    }
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

/// Longest silence on a connection of the benchmark.
const WITHIN: Duration = Duration::from_secs(30);
