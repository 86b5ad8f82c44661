//! Streams at the near end of a tunnel, each watched by a thread until its last byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::bench::child::Program;
use crate::bench::gates::talk::{Screen, UPGRADE};
use crate::bench::load;
use crate::bench::machine::Habit;
use crate::bench::policy::{PLANT, service_name};
use crate::bench::product::{Device, Site};
use crate::world::{Mishap, Near};

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streams {
    /// A screen, of which a part is asked for again and again.
    Screen,
    /// A body without end, on a connection that stays open.
    Page,
    /// Frames without end.
    Frames,
    /// The bytes of a TCP flow of a VPN.
    Tcp,
    /// The datagrams of UDP flows, fifty of them in one VPN.
    Udp,
}

/// When a stream brought its last byte, and when it was closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) last_byte: Instant,
    pub(super) closed: Instant,
}

impl Streams {
    pub(super) const ALL: [Self; 5] = [Self::Screen, Self::Page, Self::Frames, Self::Tcp, Self::Udp];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Screen => "VNC",
            Self::Page => "HTTP",
            Self::Frames => "WebSocket",
            Self::Tcp => "VPN, TCP",
            Self::Udp => "VPN, UDP",
        }
    }

    /// Whether the near end hears that it is over. Datagrams only stop.
    pub(super) const fn says_its_end(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The engineer's program, and where it listens.
    pub(super) fn client(self, site: &Site, device: &Device) -> Result<(Program, Near), Mishap> {
        match self {
            Self::Screen => site.connect_to(device.name(), "way-screen"),
            Self::Page => site.connect_to(device.name(), "way-page"),
            Self::Frames => site.connect_to(device.name(), "way-frames"),
            Self::Tcp => site.connect_to(device.name(), &service_name(0)),
            Self::Udp => site.proxy(device.name(), PLANT).map(|(program, at)| (program, at.into())),
        }
    }

    /// Opens one more and waits for its first byte.
    pub(super) fn open(self, near: &Near, datagrams: SocketAddr) -> Result<Receiver<Ending>, Mishap> {
        match self {
            Self::Screen => {
                let mut screen = Screen::begin(near, false)?;
                look(&mut screen)?;
                Ok(watch(move || {
                    std::thread::sleep(GLANCE);
                    look(&mut screen).is_ok()
                }))
            }
            Self::Page | Self::Frames => {
                let mut stream = TcpStream::connect(near.address)?;
                let lines = if self == Self::Frames { UPGRADE } else { "" };
                stream.write_all(near.head("GET", "/", lines).as_bytes())?;
                watched(stream)
            }
            Self::Tcp => watched(load::open(near.address, Habit::Stream)?),
            Self::Udp => {
                let (control, socket, word) = associate(near.address, datagrams)?;
                let mut block = [0; 2048];
                socket.set_read_timeout(Some(AGAIN))?;
                let begun = Instant::now();
                // The first may be lost, as any datagram may.
                while let Err(fault) = socket.recv(&mut block) {
                    if begun.elapsed() > FIRST {
                        return Err(fault.into());
                    }
                    socket.send(&word)?;
                }
                socket.set_read_timeout(Some(SILENCE))?;
                Ok(watch(move || {
                    // Held for as long as there is something to hear.
                    let _held = &control;
                    socket.recv(&mut block).is_ok_and(|taken| taken > 0)
                }))
            }
        }
    }
}

fn watched(mut stream: TcpStream) -> Result<Receiver<Ending>, Mishap> {
    stream.set_read_timeout(Some(FIRST))?;
    // A head, and the first bytes of what follows.
    stream.read_exact(&mut [0; 512])?;
    let mut block = [0; 16 * 1024];
    Ok(watch(move || stream.read(&mut block).is_ok_and(|taken| taken > 0)))
}

/// Calls for more until there is none.
fn watch(mut more: impl FnMut() -> bool + Send + 'static) -> Receiver<Ending> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut last_byte = Instant::now();
        while more() {
            last_byte = Instant::now();
        }
        // Nobody waits for it when the measurement has failed.
        let _unheard = sender.send(Ending { last_byte, closed: Instant::now() });
    });
    receiver
}

/// Half a megabit in a second: 5 KiB twelve times.
fn look(screen: &mut Screen) -> Result<(), Mishap> {
    screen.ask(40, 32)?;
    screen.update().map(drop)
}

/// Has a proxy take datagrams to the machine (RFC 1928, section 7), and sends the first, which is yielded as well.
fn associate(proxy: SocketAddr, machine: SocketAddr) -> Result<(TcpStream, UdpSocket, Vec<u8>), Mishap> {
    let mut control = TcpStream::connect(proxy)?;
    control.set_read_timeout(Some(FIRST))?;
    control.write_all(&[5, 1, 0])?;
    control.read_exact(&mut [0; 2])?;
    control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let mut bound = [0; 10];
    control.read_exact(&mut bound)?;
    let [_, _, _, _, _, _, _, _, high, low] = bound;
    let socket = UdpSocket::bind((proxy.ip(), 0))?;
    socket.connect((proxy.ip(), u16::from_be_bytes([high, low])))?;
    let SocketAddr::V4(to) = machine else {
        return Err(Mishap::unexpected("the machine", machine, "an IPv4 address"));
    };
    let head = [&[0, 0, 0, 1][..], &to.ip().octets(), &to.port().to_be_bytes(), b"go"].concat();
    socket.send(&head)?;
    Ok((control, socket, head))
}

const GLANCE: Duration = Duration::from_millis(80);
/// For the first byte.
const FIRST: Duration = Duration::from_secs(30);
/// After which the first datagram is sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// After which a stream of datagrams is over.
const SILENCE: Duration = Duration::from_secs(2);
