//! Datagrams at both ends of a way, and echoes.
//!
//! 1. Datagrams are sent with a window: so many are under way, and every sixteenth is acknowledged. So a way is asked for what it carries and not
//!    for what it does with a flood, of which everybody loses most.
//! 2. What is counted is what arrived.
//! 3. Echoes are ICMP, from a socket that takes no right.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::link::{Link, Side};
use crate::bench::load::Volume;
use crate::world::Mishap;

/// Serves datagrams at an address of the machine. It ends with this process.
///
/// # Errors
/// When the address is taken.
pub(super) fn serve(link: &Link, at: SocketAddr) -> Result<(), Mishap> {
    link.within(Side::Plant, || {
        let socket = open(at)?;
        std::thread::spawn(move || attend(&socket));
        Ok(())
    })
}

/// Sends datagrams to the machine for `span`.
///
/// # Errors
/// When it does not say how many came.
pub(super) fn up(at: SocketAddr, span: Duration) -> Result<Volume, Mishap> {
    let socket = open(([0, 0, 0, 0], 0).into())?;
    let far = Far { socket: &socket, at };
    // Opens what has to be opened, and forgets what came before.
    far.count()?;
    let begun = Instant::now();
    far.pump(span);
    let took = begun.elapsed();
    Ok(Volume { bytes: far.count()?, took })
}

/// Has the machine send datagrams for `span`.
///
/// # Errors
/// When none come.
pub(super) fn down(at: SocketAddr, span: Duration) -> Result<Volume, Mishap> {
    let socket = open(([0, 0, 0, 0], 0).into())?;
    let far = Far { socket: &socket, at };
    far.count()?;
    let millis = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
    far.say(POUR, &millis.to_le_bytes());
    let begun = Instant::now();
    let mut bytes = 0;
    let mut block = [0; LARGEST];
    socket.set_read_timeout(Some(SILENCE))?;
    let mut last = begun;
    while let Some((kind, content)) = far.hear(&mut block) {
        if kind == DATA {
            bytes += size(content);
            last = Instant::now();
            far.acknowledge(content);
        }
    }
    if bytes == 0 {
        return Err(Mishap::unexpected("datagrams", "none", "some"));
    }
    Ok(Volume { bytes, took: last - begun })
}

/// Round trips of echoes, in microseconds. Those that are lost are left out.
///
/// # Errors
/// When none comes back.
pub(super) fn echoes(to: IpAddr, count: u16) -> Result<Vec<f64>, Mishap> {
    let socket = UdpSocket::from(Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?);
    socket.connect(SocketAddr::new(to, 0))?;
    socket.set_read_timeout(Some(SILENCE))?;
    let mut samples = Vec::new();
    for number in 0..=count {
        let [high, low] = number.to_be_bytes();
        // Type, code, checksum and identifier, of which the kernel fills in the last two, then the number and 56 bytes.
        let head = [ECHO_REQUEST, 0, 0, 0, 0, 0, high, low];
        let begun = Instant::now();
        socket.send(&[head.as_slice(), &[7; 56]].concat())?;
        let mut answer = [0; 128];
        while let Ok(len) = socket.recv(&mut answer) {
            if answer.get(6..8) == Some(&[high, low]) && len == 64 {
                samples.push(begun.elapsed().as_secs_f64() * 1e6);
                break;
            }
        }
    }
    // The first opens the way.
    let samples = samples.get(1..).unwrap_or_default().to_vec();
    if samples.is_empty() {
        return Err(Mishap::unexpected("echoes", "none", "some"));
    }
    Ok(samples)
}

fn open(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(BUFFER)?;
    options.set_send_buffer_size(BUFFER)?;
    Ok(socket)
}

/// The machine's side.
fn attend(socket: &UdpSocket) {
    let mut counts: HashMap<SocketAddr, u64> = HashMap::new();
    let mut block = [0; LARGEST];
    loop {
        let Ok((len, at)) = socket.recv_from(&mut block) else { continue };
        let far = Far { socket, at };
        let Some((kind, content)) = block.get(..len).unwrap_or_default().split_first() else { continue };
        match *kind {
            DATA => {
                *counts.entry(at).or_default() += size(content);
                far.acknowledge(content);
            }
            COUNT => far.say(COUNT, &counts.insert(at, 0).unwrap_or_default().to_le_bytes()),
            POUR => {
                let millis = content.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                far.pump(Duration::from_millis(millis.into()));
                // From here on it waits for whoever comes next.
                let _kept = socket.set_read_timeout(None);
            }
            _ => {}
        }
    }
}

/// Somebody to whom datagrams are sent.
struct Far<'a> {
    socket: &'a UdpSocket,
    at: SocketAddr,
}

impl Far<'_> {
    fn say(&self, kind: u8, content: &[u8]) {
        // What the kernel does not take is lost, as on any wire.
        let _lost = self.socket.send_to(&[&[kind], content].concat(), self.at);
    }

    /// The next message from there; none when nothing comes.
    fn hear<'b>(&self, block: &'b mut [u8]) -> Option<(u8, &'b [u8])> {
        loop {
            let (len, from) = self.socket.recv_from(block).ok()?;
            if from == self.at {
                let (kind, content) = block.get(..len)?.split_first()?;
                return Some((*kind, content));
            }
        }
    }

    /// How many bytes have come there since the last time.
    fn count(&self) -> Result<u64, Mishap> {
        self.socket.set_read_timeout(Some(SILENCE))?;
        let mut block = [0; LARGEST];
        for _ in 0..TRIES {
            self.say(COUNT, &[]);
            while let Some((kind, content)) = self.hear(&mut block) {
                if let (COUNT, Some(bytes)) = (kind, content.first_chunk()) {
                    return Ok(u64::from_le_bytes(*bytes));
                }
            }
        }
        Err(Mishap::unexpected("the count of datagrams", "none", "one"))
    }

    fn acknowledge(&self, content: &[u8]) {
        if let Some(number) = content.first_chunk()
            && u32::from_le_bytes(*number) % EVERY == EVERY - 1
        {
            self.say(ACKNOWLEDGED, number);
        }
    }

    fn pump(&self, span: Duration) {
        let end = Instant::now() + span;
        let _kept = self.socket.set_read_timeout(Some(LOST));
        let (mut next, mut arrived) = (0_u32, 0_u32);
        let (mut datagram, mut block) = ([DATA; DATAGRAM], [0; LARGEST]);
        while Instant::now() < end {
            while next < arrived.saturating_add(WINDOW) {
                if let Some(place) = datagram.get_mut(1..5) {
                    place.copy_from_slice(&next.to_le_bytes());
                }
                let _lost = self.socket.send_to(&datagram, self.at);
                next += 1;
            }
            match self.hear(&mut block) {
                Some((ACKNOWLEDGED, number)) => {
                    let number = number.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                    arrived = arrived.max(number.saturating_add(1));
                }
                Some(_) => {}
                // All that was under way is lost, or its acknowledgements are.
                None => arrived = next,
            }
        }
    }
}

/// Bytes of a message, from what follows its kind.
fn size(content: &[u8]) -> u64 {
    u64::try_from(content.len() + 1).unwrap_or(0)
}

/// Fits every peer's packets.
const DATAGRAM: usize = 1200;
const LARGEST: usize = 2048;
/// Datagrams under way.
const WINDOW: u32 = 64;
const EVERY: u32 = 16;
const BUFFER: usize = 1024 * 1024;
const LOST: Duration = Duration::from_millis(10);
const SILENCE: Duration = Duration::from_millis(100);
const TRIES: u32 = 50;
const ECHO_REQUEST: u8 = 8;
const DATA: u8 = b'd';
const ACKNOWLEDGED: u8 = b'a';
const COUNT: u8 = b'c';
const POUR: u8 = b'p';
