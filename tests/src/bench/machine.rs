//! What is behind every tunnel: one listener that echoes, swallows, pours or drips, as its caller asks.
//!
//! The first byte of a connection says which ([`Habit`]), so that every peer needs one forwarded port alone.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::link::{Link, Side};
use super::load::as_kernels_come;
use crate::world::Mishap;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Returns every byte.
    Echo,
    /// Reads to the end and then says in eight bytes how much came.
    Swallow,
    /// Reads a number of milliseconds (u32, little endian) and writes for that long.
    Pour,
    /// Writes 64 bytes every 20 ms.
    Drip,
}

impl Habit {
    const ALL: [Self; 4] = [Self::Echo, Self::Swallow, Self::Pour, Self::Drip];

    /// The byte that asks for it.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Echo => b'e',
            Self::Swallow => b's',
            Self::Pour => b'p',
            Self::Drip => b'd',
        }
    }
}

/// Serves on a free port at one side, on every address that it has, and yields the port. It ends with this process.
///
/// # Errors
/// When there is no port.
pub fn serve(link: &Link, side: Side) -> Result<u16, Mishap> {
    link.within(side, || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A tunnel that is cut ends its connection here with an error, which is the point of some tests.
                std::thread::spawn(move || attend(stream));
            }
        });
        Ok(port)
    })
}

/// The machine's address as the agent and other forwarders at the device's side dial it.
#[must_use]
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn attend(mut stream: TcpStream) -> io::Result<()> {
    as_kernels_come(&stream);
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let habit = Habit::ALL.into_iter().find(|habit| [habit.byte()] == first);
    match habit {
        Some(Habit::Echo) => echo(&mut stream),
        Some(Habit::Swallow) => swallow(&mut stream),
        Some(Habit::Pour) => pour(&mut stream),
        Some(Habit::Drip) => loop {
            stream.write_all(&[7; 64])?;
            std::thread::sleep(Duration::from_millis(20));
        },
        None => Ok(()),
    }
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut block = [0; 4096];
    loop {
        let taken = stream.read(&mut block)?;
        if taken == 0 {
            return Ok(());
        }
        stream.write_all(block.get(..taken).unwrap_or_default())?;
    }
}

fn swallow(stream: &mut TcpStream) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut total = 0u64;
    loop {
        let taken = stream.read(&mut block)?;
        if taken == 0 {
            return stream.write_all(&total.to_le_bytes());
        }
        total += u64::try_from(taken).unwrap_or(0);
    }
}

fn pour(stream: &mut TcpStream) -> io::Result<()> {
    let mut millis = [0; 4];
    stream.read_exact(&mut millis)?;
    let end = Instant::now() + Duration::from_millis(u32::from_le_bytes(millis).into());
    let block = vec![7; BLOCK];
    while Instant::now() < end {
        stream.write_all(&block)?;
    }
    Ok(())
}

/// Bytes of one read or write: large enough that system calls here are not what is measured.
pub(super) const BLOCK: usize = 128 * 1024;
