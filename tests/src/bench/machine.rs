//! What is behind every tunnel: one listener that echoes, swallows, pours or drips, as its caller asks.
//!
//! The first byte of a connection says which ([`Habit`]), so that every peer needs one forwarded port alone. Whoever speaks HTTP is answered with a
//! body, or with frames, without end.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

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
    /// Writes 1250 bytes every 20 ms: half a megabit in a second.
    Stream,
    /// Reads `ET` and the rest of a request, and answers without end at the same rate: in frames where it is asked for them.
    Web,
}

impl Habit {
    const ALL: [Self; 6] = [Self::Echo, Self::Swallow, Self::Pour, Self::Drip, Self::Stream, Self::Web];

    /// The byte that asks for it.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Echo => b'e',
            Self::Swallow => b's',
            Self::Pour => b'p',
            Self::Drip => b'd',
            Self::Stream => b't',
            Self::Web => b'G',
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
            std::thread::sleep(PAUSE);
        },
        Some(Habit::Stream) => drip(&mut stream, &[]),
        Some(Habit::Web) => web(stream),
        None => Ok(()),
    }
}

/// The same piece behind a head, again and again.
fn drip(stream: &mut TcpStream, head: &[u8]) -> io::Result<()> {
    let piece = [head, &[7; PIECE]].concat();
    loop {
        stream.write_all(&piece)?;
        std::thread::sleep(PAUSE);
    }
}

fn web(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut accept) = (String::new(), None);
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("sec-websocket-key")
        {
            accept = Some(derive_accept_key(value.trim().as_bytes()));
        }
    }
    let mut stream = reader.into_inner();
    let Some(accept) = accept else {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        return drip(&mut stream, &[]);
    };
    let upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n";
    stream.write_all(format!("{upgraded}Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes())?;
    drip(&mut stream, &FRAME_HEAD)
}

/// Serves datagrams at a free port of the machine's address: whoever sends one gets as many bytes as from a [`Habit::Stream`]. It ends with this
/// process.
///
/// # Errors
/// When there is no port.
pub fn serve_datagrams(link: &Link, side: Side) -> Result<SocketAddr, Mishap> {
    link.within(side, || {
        let socket = Arc::new(UdpSocket::bind(local(0))?);
        let at = socket.local_addr()?;
        std::thread::spawn(move || {
            let (mut word, served) = ([0; 16], Arc::new(Mutex::new(HashSet::new())));
            loop {
                // What nobody took is told to the next who asks.
                let Ok((_, to)) = socket.recv_from(&mut word) else { continue };
                if !served.lock().unwrap_or_else(PoisonError::into_inner).insert(to) {
                    continue;
                }
                let (socket, served) = (Arc::clone(&socket), Arc::clone(&served));
                std::thread::spawn(move || {
                    let end = Instant::now() + LONGEST;
                    while Instant::now() < end && socket.send_to(&[7; PIECE], to).is_ok() {
                        std::thread::sleep(PAUSE);
                    }
                    served.lock().unwrap_or_else(PoisonError::into_inner).remove(&to);
                });
            }
        });
        Ok(at)
    })
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

const PIECE: usize = 1250;
const PAUSE: Duration = Duration::from_millis(20);
/// A binary frame of [`PIECE`] bytes (RFC 6455, section 5.2).
const FRAME_HEAD: [u8; 4] = [0x82, 126, 0x04, 0xe2];
/// Nobody tells a machine that its datagrams are not wanted any more.
const LONGEST: Duration = Duration::from_secs(60);
/// Bytes of one read or write: large enough that system calls here are not what is measured.
pub(super) const BLOCK: usize = 128 * 1024;
