//! A connection under load, and the moment of its last byte.
//!
//! 1. [`Flow::download`] reads without pause; [`Flow::upload`] writes without pause and reads as well. Each speaks what the
//!    service speaks: a body without end, frames without end, or one whole picture after the other.
//! 2. Each byte that arrives moves the moment of the last byte.
//! 3. When the connection ends, the [`FlowEnd`] says how, when and after how much.
//!
//! The moment is taken where a person's viewer would have got the byte: a cut that leaves bytes in some buffer on the
//! way is measured with them.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::mishap::Mishap;
use super::near::{Carries, Near};
use super::probe::within;
use super::target::pattern;

/// A loaded connection.
#[derive(Debug)]
pub struct Flow {
    received: watch::Receiver<u64>,
    sent: watch::Receiver<u64>,
    task: JoinHandle<FlowEnd>,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug)]
pub struct FlowEnd {
    /// When the last byte arrived, or when the flow began.
    pub last_byte: Instant,
    /// When the end was noticed.
    pub noticed: Instant,
    /// Bytes that arrived.
    pub received: u64,
    /// Bytes that were taken by the near end.
    pub sent: u64,
    /// The error of the socket, none after an orderly end.
    pub error: Option<io::ErrorKind>,
    /// The last bytes that arrived, where a close frame of a WebSocket stands.
    pub tail: [u8; TAIL],
}

impl Flow {
    /// Connects and reads until the end.
    ///
    /// # Errors
    /// When nothing listens there, or a screen does not begin.
    pub async fn download(near: impl Into<Near>) -> Result<Self, Mishap> {
        Self::run(near.into(), false).await
    }

    /// Connects, writes until it is taken no more, and reads until the end.
    ///
    /// # Errors
    /// When nothing listens there, or a screen does not begin.
    pub async fn upload(near: impl Into<Near>) -> Result<Self, Mishap> {
        Self::run(near.into(), true).await
    }

    async fn run(near: Near, writes: bool) -> Result<Self, Mishap> {
        let mut stream = TcpStream::connect(near.address).await?;
        let load = match (near.carries, writes) {
            (Carries::Http, false) => {
                stream.write_all(near.head("GET", "/", "").as_bytes()).await?;
                Load::Nothing
            }
            (Carries::Http, true) => {
                let head = near.head("POST", "/", "Transfer-Encoding: chunked\r\n");
                stream.write_all(head.as_bytes()).await?;
                Load::Blocks { before: b"4000\r\n", after: b"\r\n" }
            }
            (Carries::Websocket, _) => {
                stream.write_all(near.head("GET", "/", UPGRADE).as_bytes()).await?;
                if writes { Load::Blocks { before: &FRAME_HEAD, after: b"" } } else { Load::Nothing }
            }
            // A screen is only sent to who asks for it.
            (Carries::Vnc, _) => {
                begin_screen(&mut stream).await?;
                Load::Pictures
            }
        };
        let (received_in, received) = watch::channel(0);
        let (sent_in, sent) = watch::channel(0);
        let task = tokio::spawn(carry(stream, load, received_in, sent_in));
        Ok(Self { received, sent, task })
    }

    /// Waits until at least `bytes` more have arrived than now.
    ///
    /// # Errors
    /// When they do not come in time, or the flow ends.
    pub async fn receives(&self, bytes: u64) -> Result<(), Mishap> {
        advance(&self.received, bytes, "arriving bytes").await
    }

    /// Waits until at least `bytes` more were taken than now.
    ///
    /// # Errors
    /// When they are not taken in time, or the flow ends.
    pub async fn sends(&self, bytes: u64) -> Result<(), Mishap> {
        advance(&self.sent, bytes, "taken bytes").await
    }

    /// Bytes that have arrived so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        *self.received.borrow()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn end(self) -> Result<FlowEnd, Mishap> {
        within("the end of a flow", async {
            self.task.await.map_err(|error| Mishap::unexpected("a flow's task", error, "its end"))
        })
        .await
    }
}

async fn advance(counter: &watch::Receiver<u64>, by: u64, what: &str) -> Result<(), Mishap> {
    let mut counter = counter.clone();
    let goal = *counter.borrow() + by;
    within(what, async {
        match counter.wait_for(|now| *now >= goal).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Mishap::unexpected(what, "the end of the flow", format!("{goal} bytes"))),
        }
    })
    .await
}

async fn carry(
    stream: TcpStream,
    load: Load,
    received: watch::Sender<u64>,
    sent: watch::Sender<u64>,
) -> FlowEnd {
    let (mut reader, mut writer) = stream.into_split();
    let taken_so_far = sent.subscribe();
    let upload = tokio::spawn(async move {
        let (mut at, mut block) = (0, vec![0; BLOCK]);
        loop {
            pattern(at, &mut block);
            let whole = match load {
                Load::Nothing => break,
                Load::Blocks { before, after } => [before, &block, after].concat(),
                Load::Pictures => WHOLE_PICTURE.to_vec(),
            };
            if writer.write_all(&whole).await.is_err() {
                break;
            }
            at += BLOCK;
            sent.send_replace(at as u64);
        }
        // Held until the reader is done: a download must not close its own sending side.
        std::future::pending::<()>().await;
        drop(writer);
    });
    let mut block = vec![0; BLOCK];
    let (mut last_byte, mut tail) = (Instant::now(), [0; TAIL]);
    let error = loop {
        match reader.read(&mut block).await {
            Ok(0) => break None,
            Ok(taken) => {
                last_byte = Instant::now();
                let fresh = block.get(..taken).unwrap_or_default();
                tail = [&tail, fresh].concat().last_chunk().copied().unwrap_or(tail);
                received.send_modify(|total| *total += taken as u64);
            }
            Err(error) => break Some(error.kind()),
        }
    };
    let noticed = Instant::now();
    let total = *received.borrow();
    upload.abort();
    let sent = *taken_so_far.borrow();
    FlowEnd { last_byte, noticed, received: total, sent, error, tail }
}

/// What a flow writes.
#[derive(Clone, Copy, Debug)]
enum Load {
    Nothing,
    /// [`BLOCK`] bytes after [`BLOCK`] bytes, each between these.
    Blocks {
        before: &'static [u8],
        after: &'static [u8],
    },
    /// A request for a picture after the other.
    Pictures,
}

/// Begins RFB 3.8 (RFC 6143, section 7) without authentication.
async fn begin_screen(stream: &mut TcpStream) -> Result<(), Mishap> {
    within("the beginning of a screen", async {
        stream.read_exact(&mut [0; 12]).await?;
        stream.write_all(b"RFB 003.008\n").await?;
        let types = stream.read_u8().await?;
        stream.read_exact(&mut vec![0; types.into()]).await?;
        stream.write_all(&[1]).await?;
        let result = stream.read_u32().await?;
        if result == 0 {
            stream.write_all(&[1]).await?;
            // Size and pixel format, then the name of the screen.
            stream.read_exact(&mut [0; 20]).await?;
            let name = stream.read_u32().await?.min(1024);
            stream.read_exact(&mut vec![0; usize::try_from(name).unwrap_or_default()]).await?;
        }
        if result == 0 { Ok(()) } else { Err(Mishap::unexpected("the screen", result, "permission")) }
    })
    .await
}

/// Bytes of the largest control frame (RFC 6455, section 5.5), and its head.
pub const TAIL: usize = 127;
const BLOCK: usize = 16 * 1024;
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// A binary frame of [`BLOCK`] bytes under a mask of zeros, which changes nothing (RFC 6455, section 5.2).
const FRAME_HEAD: [u8; 8] = [0x82, 0xfe, 0x40, 0x00, 0, 0, 0, 0];
/// Asks for 640 x 400 pixels, whether they have changed or not.
const WHOLE_PICTURE: [u8; 10] = [3, 0, 0, 0, 0, 0, 0x02, 0x80, 0x01, 0x90];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::target::Target;

    #[tokio::test]
    async fn a_flow_tells_when_its_last_byte_came() {
        let source = Target::source().await.unwrap();
        let flow = Flow::download(source.address).await.unwrap();
        flow.receives(100_000).await.unwrap();
        let before = Instant::now();
        drop(source);
        let end = flow.end().await.unwrap();
        assert!(end.received >= 100_000);
        assert!(end.last_byte <= end.noticed && before <= end.noticed);
        assert_eq!(end.sent, 0);
    }

    #[tokio::test]
    async fn an_upload_counts_what_was_taken() {
        let echo = Target::echo().await.unwrap();
        let flow = Flow::upload(echo.address).await.unwrap();
        flow.sends(100_000).await.unwrap();
        flow.receives(100_000).await.unwrap();
        drop(echo);
        flow.end().await.unwrap();
    }
}
