//! What an engineer's programs ask for through a gate, with a clock beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::child::finish;
use super::super::link::{Link, Side};
use super::super::load::Volume;
use crate::world::{Mishap, Near};

/// Requests in a second on `connections` connections that stay open, as `wrk` counts them.
pub(super) fn requests(link: &Link, near: &Near, connections: u32, span: Duration) -> Result<f64, Mishap> {
    let mut command = link.command(Side::Client, "wrk".as_ref());
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{}s", span.as_secs().max(1))]);
    command.args(["-H", &format!("Host: {}", near.host)]);
    if let Some(key) = &near.key {
        command.args(["-H", &format!("X-Postern-Token: {key}")]);
    }
    command.arg(format!("http://{}/small", near.address));
    let printed = finish(command, "")?;
    let wrong = || Mishap::unexpected("wrk", &printed, "requests, all answered with 200");
    let rate =
        printed.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")).ok_or_else(wrong)?;
    if printed.contains("Non-2xx") || printed.contains("Socket errors") {
        return Err(wrong());
    }
    rate.trim().parse().map_err(|_| wrong())
}

/// Requests for one kilobyte, one after another on one connection, in microseconds.
pub(super) fn request_times(near: &Near, count: usize) -> Result<Vec<f64>, Mishap> {
    let mut stream = connect(near)?;
    let request = near.head("GET", "/small", "");
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            stream.get_mut().write_all(request.as_bytes())?;
            let length = head(&mut stream, "200")?;
            skip(&mut stream, length)?;
            Ok(micros(begun))
        })
        .collect()
}

/// One large body.
pub(super) fn body(near: &Near) -> Result<Volume, Mishap> {
    let mut stream = connect(near)?;
    let begun = Instant::now();
    stream.get_mut().write_all(near.head("GET", "/large", "").as_bytes())?;
    let bytes = head(&mut stream, "200")?;
    skip(&mut stream, bytes)?;
    Ok(Volume { bytes, took: begun.elapsed() })
}

/// 64 bytes in a frame there and back, in microseconds.
pub(super) fn echo_times(near: &Near, count: usize) -> Result<Vec<f64>, Mishap> {
    let mut stream = upgraded(near, "/frames/echo", "")?;
    // A binary frame under a mask of zeros, which changes nothing (RFC 6455, section 5.2).
    let frame = [&[0x82, 0xc0, 0, 0, 0, 0][..], &[7; 64]].concat();
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            stream.get_mut().write_all(&frame)?;
            skip(&mut stream, 66)?;
            Ok(micros(begun))
        })
        .collect()
}

/// Frames as fast as they come, for `span`.
pub(super) fn frames(near: &Near, span: Duration) -> Result<Volume, Mishap> {
    let mut stream = upgraded(near, "/frames/source", "")?;
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < span {
        skip(&mut stream, BLOCK)?;
        bytes += BLOCK;
    }
    Ok(Volume { bytes, took: begun.elapsed() })
}

/// One pixel asked for and drawn, in microseconds.
pub(super) fn pixel_times(near: &Near, bridged: bool, count: usize) -> Result<Vec<f64>, Mishap> {
    let mut screen = Screen::begin(near, bridged)?;
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            screen.ask(1, 1)?;
            screen.update()?;
            Ok(micros(begun))
        })
        .collect()
}

/// Whole pictures for `span`, one after another.
pub(super) fn pictures(near: &Near, bridged: bool, span: Duration) -> Result<Volume, Mishap> {
    let mut screen = Screen::begin(near, bridged)?;
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < span {
        screen.ask(WIDTH, HEIGHT)?;
        bytes += screen.update()?;
    }
    Ok(Volume { bytes, took: begun.elapsed() })
}

/// A viewer of the screen (RFC 6143), in frames where a bridge stands before it.
pub(in crate::bench) struct Screen {
    stream: BufReader<TcpStream>,
    bridged: bool,
    /// Bytes left in the present frame.
    left: u64,
}

impl Screen {
    pub(in crate::bench) fn begin(near: &Near, bridged: bool) -> Result<Self, Mishap> {
        let stream =
            if bridged { upgraded(near, "/", "Sec-WebSocket-Protocol: binary\r\n")? } else { connect(near)? };
        let mut screen = Self { stream, bridged, left: 0 };
        screen.take(12)?;
        screen.say(b"RFB 003.008\n")?;
        // One type, None; the result; size, format and the name of the press.
        screen.take(2)?;
        screen.say(&[1])?;
        screen.take(4)?;
        screen.say(&[1])?;
        screen.take(24 + NAME)?;
        Ok(screen)
    }

    pub(in crate::bench) fn ask(&mut self, width: u16, height: u16) -> Result<(), Mishap> {
        let (width, height) = (width.to_be_bytes(), height.to_be_bytes());
        self.say(&[&[3, 0, 0, 0, 0, 0][..], &width, &height].concat())
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), Mishap> {
        if self.bridged {
            let length = u8::try_from(bytes.len()).unwrap_or(0);
            self.stream.get_mut().write_all(&[&[0x82, 0x80 | length, 0, 0, 0, 0][..], bytes].concat())?;
        } else {
            self.stream.get_mut().write_all(bytes)?;
        }
        Ok(())
    }

    /// Reads one update with raw rectangles (RFC 6143, sections 7.6.1 and 7.7.1) and yields its bytes.
    pub(in crate::bench) fn update(&mut self) -> Result<u64, Mishap> {
        let [_, _, high, low] = self.array()?;
        let mut bytes = 4;
        for _ in 0..u16::from_be_bytes([high, low]) {
            let [_, _, _, _, w, idth, h, eight, _, _, _, _] = self.array()?;
            let (width, height) = (u16::from_be_bytes([w, idth]), u16::from_be_bytes([h, eight]));
            let pixels = 4 * u64::from(width) * u64::from(height);
            self.take(pixels)?;
            bytes += 12 + pixels;
        }
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Mishap> {
        let mut array = [0; N];
        self.each(N as u64, |stream, at, bytes| {
            let part = array.get_mut(at..at + bytes).unwrap_or_default();
            Ok(stream.read_exact(part)?)
        })?;
        Ok(array)
    }

    fn take(&mut self, bytes: u64) -> Result<(), Mishap> {
        self.each(bytes, |stream, _, bytes| skip(stream, bytes as u64))
    }

    /// Hands so many bytes to `taker` in the pieces in which frames bring them.
    fn each(
        &mut self,
        bytes: u64,
        mut taker: impl FnMut(&mut BufReader<TcpStream>, usize, usize) -> Result<(), Mishap>,
    ) -> Result<(), Mishap> {
        let mut taken = 0;
        while taken < bytes {
            if self.bridged && self.left == 0 {
                self.left = frame_length(&mut self.stream)?;
            }
            let now = if self.bridged { self.left.min(bytes - taken) } else { bytes - taken };
            let place = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
            taker(&mut self.stream, place(taken), place(now))?;
            self.left = self.left.saturating_sub(now);
            taken += now;
        }
        Ok(())
    }
}

/// The length of the next frame of a server (RFC 6455, section 5.2).
fn frame_length(stream: &mut impl Read) -> Result<u64, Mishap> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let [_, short] = head;
    match short & 0x7f {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long)?;
            Ok(u16::from_be_bytes(long).into())
        }
        127 => {
            let mut long = [0; 8];
            stream.read_exact(&mut long)?;
            Ok(u64::from_be_bytes(long))
        }
        short => Ok(short.into()),
    }
}

fn upgraded(near: &Near, path: &str, lines: &str) -> Result<BufReader<TcpStream>, Mishap> {
    let mut stream = connect(near)?;
    stream.get_mut().write_all(near.head("GET", path, &format!("{UPGRADE}{lines}")).as_bytes())?;
    head(&mut stream, "101")?;
    Ok(stream)
}

fn connect(near: &Near) -> Result<BufReader<TcpStream>, Mishap> {
    let stream =
        TcpStream::connect(near.address).map_err(Mishap::io(format!("dialling {}", near.address)))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WITHIN))?;
    Ok(BufReader::with_capacity(64 * 1024, stream))
}

/// Reads the head of an answer and yields the length of its body.
fn head(stream: &mut BufReader<TcpStream>, status: &str) -> Result<u64, Mishap> {
    let mut line = String::new();
    let (mut length, mut first) = (0, None);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let first = first.get_or_insert_with(|| line.clone());
        if first.split(' ').nth(1) != Some(status) {
            return Err(Mishap::unexpected("an answer", first.trim_end(), status));
        }
        if line == "\r\n" {
            return Ok(length);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
}

fn skip(stream: &mut BufReader<TcpStream>, bytes: u64) -> Result<(), Mishap> {
    let taken = std::io::copy(&mut stream.take(bytes), &mut std::io::sink())?;
    if taken == bytes { Ok(()) } else { Err(Mishap::unexpected("a connection", taken, bytes)) }
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

/// Bytes of the large body.
pub(super) const LARGE: u64 = 64 * 1024 * 1024;
pub(in crate::bench) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const BLOCK: u64 = 256 * 1024;
const WIDTH: u16 = 640;
const HEIGHT: u16 = 400;
/// Bytes of the name `press-7`.
const NAME: u64 = 7;
const WITHIN: Duration = Duration::from_secs(30);
