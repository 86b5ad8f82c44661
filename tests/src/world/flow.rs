//! A connection under load, and the moment of its last byte.
//!
//! 1. [`Flow::download`] reads without pause; [`Flow::upload`] writes without pause and reads as well.
//! 2. Each byte that arrives moves the moment of the last byte.
//! 3. When the connection ends, the [`FlowEnd`] says how, when and after how much.
//!
//! The moment is taken where a person's viewer would have got the byte: a cut that leaves bytes in some buffer on the
//! way is measured with them.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::mishap::Mishap;
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
}

impl Flow {
    /// Connects and reads until the end.
    ///
    /// # Errors
    /// When nothing listens at `address`.
    pub async fn download(address: SocketAddr) -> Result<Self, Mishap> {
        Ok(Self::run(TcpStream::connect(address).await?, false))
    }

    /// Connects, writes the pattern until it is taken no more, and reads until the end.
    ///
    /// # Errors
    /// When nothing listens at `address`.
    pub async fn upload(address: SocketAddr) -> Result<Self, Mishap> {
        Ok(Self::run(TcpStream::connect(address).await?, true))
    }

    fn run(stream: TcpStream, writes: bool) -> Self {
        let (received_in, received) = watch::channel(0);
        let (sent_in, sent) = watch::channel(0);
        let task = tokio::spawn(carry(stream, writes, received_in, sent_in));
        Self { received, sent, task }
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
    writes: bool,
    received: watch::Sender<u64>,
    sent: watch::Sender<u64>,
) -> FlowEnd {
    let (mut reader, mut writer) = stream.into_split();
    let taken_so_far = sent.subscribe();
    let upload = tokio::spawn(async move {
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        pattern(at, &mut block);
        while writes && writer.write_all(&block).await.is_ok() {
            at += BLOCK;
            sent.send_replace(at as u64);
            pattern(at, &mut block);
        }
        // Held until the reader is done: a download must not close its own sending side.
        std::future::pending::<()>().await;
        drop(writer);
    });
    let mut block = vec![0; BLOCK];
    let mut last_byte = Instant::now();
    let error = loop {
        match reader.read(&mut block).await {
            Ok(0) => break None,
            Ok(taken) => {
                last_byte = Instant::now();
                received.send_modify(|total| *total += taken as u64);
            }
            Err(error) => break Some(error.kind()),
        }
    };
    let noticed = Instant::now();
    let total = *received.borrow();
    upload.abort();
    let sent = *taken_so_far.borrow();
    FlowEnd { last_byte, noticed, received: total, sent, error }
}

const BLOCK: usize = 16 * 1024;

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
