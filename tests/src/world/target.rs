//! Plain services that stand for machines where a test is about bytes, not about what they mean. They speak HTTP, and
//! WebSocket to whoever asks for an upgrade.
//!
//! 1. [`Target::echo`] returns what it gets, while it gets it, and ends when its caller has ended: half-close is visible.
//! 2. [`Target::source`] sends the [`pattern`] as fast as it is taken, until its caller goes away.
//! 3. [`Target::sink`] checks that what it gets is the [`pattern`] and answers with the count of good bytes.
//! 4. [`Target::frames`] is an echo, and a source for whoever asks for a path that ends with `/source`.
//! 5. [`Target::mute`] accepts and says nothing, for time-outs.
//!
//! Dropping a [`Target`] closes its listener and its connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::chunks::Unchunked;
use super::mishap::Mishap;

/// A running service.
#[derive(Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug)]
enum Habit {
    Echo,
    Source,
    Sink,
    Mute,
    /// As the path says.
    Frames,
}

impl Target {
    /// Returns what it gets.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn echo() -> Result<Self, Mishap> {
        Self::start(Habit::Echo).await
    }

    /// Sends the pattern without end.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn source() -> Result<Self, Mishap> {
        Self::start(Habit::Source).await
    }

    /// Counts the bytes that follow the pattern and answers with eight bytes, the count in little endian.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn sink() -> Result<Self, Mishap> {
        Self::start(Habit::Sink).await
    }

    /// Returns what it gets, and sends the pattern to whoever asks for `.../source`.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn frames() -> Result<Self, Mishap> {
        Self::start(Habit::Frames).await
    }

    /// Accepts and neither reads nor writes.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn mute() -> Result<Self, Mishap> {
        Self::start(Habit::Mute).await
    }

    async fn start(habit: Habit) -> Result<Self, Mishap> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let (open_in, open) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, habit, Arc::clone(&accepted), open_in));
        Ok(Self { address, accepted, open, _tasks: tasks })
    }

    /// How many connections it ever accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits until it has no open connection.
    pub async fn deserted(&self) {
        let mut open = self.open.clone();
        let _stopped_is_deserted_too = open.wait_for(|open| *open == 0).await;
    }
}

async fn serve(listener: TcpListener, habit: Habit, accepted: Arc<AtomicUsize>, open: watch::Sender<usize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        open.send_modify(|open| *open += 1);
        let open = open.clone();
        connections.spawn(async move {
            // A caller that goes away is what ends most of these.
            let _ended = converse(stream, habit).await;
            open.send_modify(|open| *open -= 1);
        });
    }
}

async fn converse(stream: TcpStream, mut habit: Habit) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    if let Habit::Mute = habit {
        // Waits for the end of the caller without reading: bytes stay in the kernel.
        stream.get_ref().ready(tokio::io::Interest::ERROR).await?;
        return Ok(());
    }
    let mut upgrade = None;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if let Habit::Frames = habit {
            let is_source = line.split(' ').nth(1).is_some_and(|path| path.ends_with("/source"));
            habit = if is_source { Habit::Source } else { Habit::Echo };
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("sec-websocket-key")
        {
            upgrade = Some(derive_accept_key(value.trim().as_bytes()));
        }
    }
    match upgrade {
        Some(accept) => in_frames(stream, habit, &accept).await,
        None => in_bodies(stream, habit).await,
    }
}

async fn in_bodies(mut stream: BufReader<TcpStream>, habit: Habit) -> io::Result<()> {
    match habit {
        Habit::Echo => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
                .await?;
            // The chunks of the request are those of the answer.
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        }
        Habit::Source => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            let mut at = 0;
            let mut block = vec![0; BLOCK];
            loop {
                pattern(at, &mut block);
                stream.write_all(&block).await?;
                at += BLOCK;
            }
        }
        Habit::Sink => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
                .await?;
            let mut body = Unchunked::new(stream);
            let good = check_pattern(&mut body).await?;
            body.inner.write_all(b"8\r\n").await?;
            body.inner.write_all(&good.to_le_bytes()).await?;
            body.inner.write_all(b"\r\n0\r\n\r\n").await?;
            body.inner.shutdown().await
        }
        Habit::Mute | Habit::Frames => Ok(()),
    }
}

async fn in_frames(mut stream: BufReader<TcpStream>, habit: Habit, accept: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let mut at = 0;
    loop {
        let message = match habit {
            Habit::Echo => match socket.next().await {
                Some(Ok(message)) if message.is_text() || message.is_binary() => message,
                // The library answers pings and closes by itself.
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(()),
            },
            Habit::Source => {
                let mut block = vec![0; BLOCK];
                pattern(at, &mut block);
                at += BLOCK;
                Message::binary(block)
            }
            Habit::Sink | Habit::Mute | Habit::Frames => return Ok(()),
        };
        socket.send(message).await.map_err(io::Error::other)?;
    }
}

/// Fills `block` with the bytes of an endless stream from `at` on, in which a swapped or lost piece shows.
pub fn pattern(at: usize, block: &mut [u8]) {
    for (place, byte) in block.iter_mut().enumerate() {
        *byte = at_place(at + place);
    }
}

/// Reads to the end and counts bytes as long as they follow the pattern.
///
/// # Errors
/// When reading fails.
pub async fn check_pattern(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<u64> {
    let mut good = 0;
    let mut place = 0;
    let mut broken = false;
    let mut block = vec![0; BLOCK];
    loop {
        let taken = stream.read(&mut block).await?;
        if taken == 0 {
            return Ok(good);
        }
        for byte in block.iter().take(taken) {
            broken |= *byte != at_place(place);
            place += 1;
            good += u64::from(!broken);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "one byte of the number is wanted")]
const fn at_place(place: usize) -> u8 {
    // Differs between neighbours, between blocks and between megabytes.
    (place ^ (place >> 8).wrapping_mul(31) ^ (place >> 20).wrapping_mul(17)) as u8
}

/// Bytes of one write.
const BLOCK: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::exchange::Exchange;
    use crate::world::probe::websocket;

    #[tokio::test]
    async fn a_sink_counts_good_bytes_up_to_the_first_wrong_one() {
        let sink = Target::sink().await.unwrap();
        for (wrong_at, expected) in [(None, 40_000_u64), (Some(12_345), 12_345)] {
            let mut bytes = vec![0; 40_000];
            pattern(0, &mut bytes);
            if let Some(place) = wrong_at {
                bytes[place] ^= 1;
            }
            let mut exchange = Exchange::open(sink.address).await.unwrap();
            exchange.write_all(&bytes).await.unwrap();
            exchange.shutdown().await.unwrap();
            assert_eq!(exchange.read_u64_le().await.unwrap(), expected);
        }
        sink.deserted().await;
        assert_eq!(sink.accepted(), 2);
    }

    #[tokio::test]
    async fn a_source_sends_the_pattern_until_its_caller_leaves() {
        let source = Target::source().await.unwrap();
        let mut stream = BufReader::new(TcpStream::connect(source.address).await.unwrap());
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        let (mut seen, mut expected) = (vec![0; 100_000], vec![0; 100_000]);
        stream.read_exact(&mut seen).await.unwrap();
        pattern(0, &mut expected);
        assert!(seen == expected);
        drop(stream);
        source.deserted().await;
    }

    #[tokio::test]
    async fn whoever_asks_for_an_upgrade_gets_frames() {
        let (echo, source) = (Target::echo().await.unwrap(), Target::source().await.unwrap());
        let mut socket = websocket(echo.address).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        let mut expected = vec![0; BLOCK];
        pattern(0, &mut expected);
        let mut socket = websocket(source.address).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(expected));
    }
}
