//! Moves bytes between a local socket and a stream until both directions have ended: the one copy loop of the project.
//!
//! 1. Local bytes are read into a buffer that becomes the chunk itself; the chunk goes to the stream without a copy.
//! 2. Chunks of the stream go to the local socket as they came out of the packets, many in one vectored write.
//! 3. The end of one direction is passed on (FIN either way) and the other direction goes on.
//! 4. Each direction reads only after its last write was taken: the slower end slows the faster one.
//! 5. It is over when both directions have ended, one of them fails, or a limit is reached.
//!
//! Dropping the future stops both directions at once, in the middle of whatever they do: that is how a tunnel is
//! cut. Nothing is buffered in between that could still leave afterwards. An idle direction holds no buffer.
//!
//! Deliberately absent: policy, time of its own (limits are arguments), resetting streams and closing sockets
//! (the caller knows the code), and tasks (the caller spawns).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use portable_atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::quic::{RecvStream, SendStream, StreamFault};

/// Copies both ways between the local halves and the stream's halves. Cancelling it loses what is in hand.
///
/// Afterwards the streams are finished where their direction ended, and otherwise left to the caller to reset.
///
/// # Errors
/// The [`SpliceFault`] of the direction that failed first.
pub async fn splice<R, W>(
    local: (R, W),
    stream: (&mut SendStream, &mut RecvStream),
    meter: &Meter,
    limits: Limits,
) -> Result<SpliceEnd, SpliceFault>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = local;
    let (send, recv) = stream;
    tokio::select! {
        biased;
        both = async {
            tokio::try_join!(
                forward_local(&mut reader, send, meter),
                forward_stream(recv, &mut writer, meter),
            )
        } => both.map(|((), ())| SpliceEnd::Finished),
        end = limits.reached(meter) => Ok(end),
    }
}

/// What has passed through one splice, readable while it runs and from any thread.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// Milliseconds from `started` to the last byte; it wraps after 49 days and is only compared with itself.
    active_ms: AtomicU32,
    /// Counts the same bytes, of this splice and of others.
    whole: Option<Arc<Meter>>,
}

impl Meter {
    /// Starts counting. Idle time counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            active_ms: AtomicU32::new(0),
            whole: None,
        }
    }

    /// Starts counting a part of something that is counted as a whole as well.
    #[must_use]
    pub fn of(whole: Arc<Self>) -> Self {
        Self { whole: Some(whole), ..Self::new() }
    }

    /// Bytes that the stream has taken from the local socket.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes that the local socket has taken from the stream.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Time since the last byte in either direction.
    #[must_use]
    pub fn idle(&self) -> Duration {
        let idle_ms = self.elapsed_ms().wrapping_sub(self.active_ms.load(Ordering::Relaxed));
        Duration::from_millis(idle_ms.into())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts bytes that the stream has taken. For those who write to it beside the copy loop, as gates do.
    pub fn count_sent(&self, bytes: usize) {
        self.count(&self.sent, bytes);
        if let Some(whole) = &self.whole {
            whole.count_sent(bytes);
        }
    }

    /// Counts bytes that the local socket has taken, as [`count_sent`](Self::count_sent).
    pub fn count_received(&self, bytes: usize) {
        self.count(&self.received, bytes);
        if let Some(whole) = &self.whole {
            whole.count_received(bytes);
        }
    }

    fn count(&self, direction: &AtomicU64, bytes: usize) {
        direction.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.active_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "wrapping is what `idle` expects")]
    fn elapsed_ms(&self) -> u32 {
        self.started.elapsed().as_millis() as u32
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// When a splice ends although both ends would go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time without a byte in either direction; below 49 days.
    pub idle: Option<Duration>,
    /// Longest time from the meter's start.
    pub duration: Option<Duration>,
}

impl Limits {
    /// Goes on as long as both ends do.
    pub const NONE: Self = Self { idle: None, duration: None };

    async fn reached(self, meter: &Meter) -> SpliceEnd {
        tokio::select! {
            () = idle_for(self.idle, meter) => SpliceEnd::Idle,
            () = sleep_until(self.duration.and_then(|longest| meter.started.checked_add(longest))) => SpliceEnd::Duration,
        }
    }
}

/// How a splice ended without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceEnd {
    /// Both directions were ended by those who sent.
    Finished,
    /// [`Limits::idle`] was reached.
    Idle,
    /// [`Limits::duration`] was reached.
    Duration,
}

/// Why a splice ended early.
#[derive(Debug, thiserror::Error)]
pub enum SpliceFault {
    /// The local socket broke.
    #[error("the local socket: {0}")]
    Local(#[source] io::Error),
    /// The stream was reset, stopped or lost its connection.
    #[error(transparent)]
    Stream(#[from] StreamFault),
}

/// Local bytes to the stream, until the local side ends; the stream is finished then. One direction of [`splice`], for
/// gates that let it pass unread. Cancelling it loses what is in hand.
///
/// # Errors
/// [`SpliceFault`].
pub async fn forward_local<R: AsyncRead + Unpin>(
    reader: &mut R,
    send: &mut SendStream,
    meter: &Meter,
) -> Result<(), SpliceFault> {
    // A peer that cuts an idle tunnel whose other direction has ended is noticed by this alone.
    let mut stopped = pin!(send.stopped());
    let mut size = SMALLEST_READ;
    loop {
        let read = poll_fn(|cx| {
            // Allocated for this attempt and dropped when nothing is there: an idle tunnel costs no buffer.
            let mut buffer = BytesMut::with_capacity(size);
            if let Poll::Ready(result) = pin!(reader.read_buf(&mut buffer)).poll(cx) {
                return Poll::Ready(result.map(|_| buffer).map_err(SpliceFault::Local));
            }
            stopped.as_mut().poll(cx).map(|end| Err(stop_fault(end).into()))
        });
        let buffer = read.await?;
        if buffer.is_empty() {
            send.finish()?;
            return Ok(());
        }
        let bytes = buffer.len();
        let chunk = own_sized(buffer, size);
        size = adapt(size, bytes);
        send.write_chunk(chunk).await?;
        meter.count_sent(bytes);
    }
}

/// The stream's bytes to the local socket, until the peer ends; the socket's sending side is shut down then. The other
/// direction of [`splice`]. Cancelling it loses what is in hand.
///
/// # Errors
/// [`SpliceFault`].
pub async fn forward_stream<W: AsyncWrite + Unpin>(
    recv: &mut RecvStream,
    writer: &mut W,
    meter: &Meter,
) -> Result<(), SpliceFault> {
    let mut chunks = [const { Bytes::new() }; BATCH];
    while let Some(count) = recv.read_chunks(&mut chunks).await? {
        let mut rest = chunks.get_mut(..count).unwrap_or_default();
        while !rest.is_empty() {
            let written = write_some(writer, rest).await.map_err(SpliceFault::Local)?;
            meter.count_received(written);
            rest = advance(rest, written);
        }
        // Does nothing on a socket; standard output keeps bytes back without it.
        writer.flush().await.map_err(SpliceFault::Local)?;
    }
    // Whoever hung up already needs no FIN; what it did not read was lost by its own choice.
    let _already_closed = writer.shutdown().await;
    Ok(())
}

async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, chunks: &[Bytes]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); BATCH];
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        *slice = IoSlice::new(chunk);
    }
    let slices = slices.get(..chunks.len()).unwrap_or_default();
    match writer.write_vectored(slices).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

/// Drops `written` bytes from the front; chunks that are used up are released at once.
fn advance(mut chunks: &mut [Bytes], mut written: usize) -> &mut [Bytes] {
    loop {
        match chunks {
            [first, ..] if first.len() > written => {
                first.advance(written);
                return chunks;
            }
            [first, rest @ ..] => {
                written -= first.len();
                *first = Bytes::new();
                chunks = rest;
            }
            [] => return chunks,
        }
    }
}

/// The stream's send window counts whole allocations until their last byte is acknowledged: a few bytes must not
/// pin a large one.
fn own_sized(buffer: BytesMut, capacity: usize) -> Bytes {
    if buffer.len().saturating_mul(4) <= capacity { Bytes::copy_from_slice(&buffer) } else { buffer.freeze() }
}

/// Reads grow while they come back full and shrink when they do not.
fn adapt(size: usize, read: usize) -> usize {
    if read >= size {
        size.saturating_mul(2).min(LARGEST_READ)
    } else if read.saturating_mul(4) <= size {
        (size / 2).max(SMALLEST_READ)
    } else {
        size
    }
}

fn stop_fault(end: Result<Option<u32>, crate::quic::ConnectionEnd>) -> StreamFault {
    match end {
        Ok(Some(code)) => StreamFault::Stopped(code),
        // Only a finished stream is delivered to its end, and this one is not finished.
        Ok(None) => StreamFault::Closed,
        Err(end) => StreamFault::ConnectionLost(end),
    }
}

async fn idle_for(longest: Option<Duration>, meter: &Meter) {
    let Some(longest) = longest else { return std::future::pending().await };
    loop {
        let left = longest.saturating_sub(meter.idle());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Bytes of the first read: a request or a key press.
const SMALLEST_READ: usize = 4 * 1024;
/// Bytes of the largest read: half a stream window is in flight while the next is read.
const LARGEST_READ: usize = 64 * 1024;
/// Chunks per vectored write; one comes from one packet, so this is about 45 kB.
const BATCH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_when_full_shrink_when_empty_and_stay_within_their_bounds() {
        assert_eq!(adapt(4096, 4096), 8192);
        assert_eq!(adapt(LARGEST_READ, LARGEST_READ), LARGEST_READ);
        assert_eq!(adapt(8192, 3000), 8192);
        assert_eq!(adapt(8192, 2048), 4096);
        assert_eq!(adapt(SMALLEST_READ, 1), SMALLEST_READ);
    }

    #[test]
    fn advancing_releases_what_was_written_and_keeps_the_rest() {
        let mut chunks = [Bytes::from_static(b"abc"), Bytes::from_static(b"defg"), Bytes::from_static(b"h")];
        assert_eq!(advance(&mut chunks, 5), [Bytes::from_static(b"fg"), Bytes::from_static(b"h")]);
        assert_eq!(chunks[0], Bytes::new());
        let rest = advance(&mut chunks[1..], 3);
        assert!(rest.is_empty(), "{rest:?}");
    }

    #[test]
    fn a_few_bytes_do_not_pin_a_large_buffer() {
        let mut buffer = BytesMut::with_capacity(LARGEST_READ);
        buffer.extend_from_slice(b"key press");
        let chunk = own_sized(buffer, LARGEST_READ);
        assert_eq!(chunk.try_into_mut().map(|chunk| chunk.capacity()), Ok(9));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_from_the_last_byte_and_duration_from_the_start() {
        let meter = Meter::new();
        let limits = Limits { idle: Some(Duration::from_secs(10)), duration: None };
        let busy = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                meter.count(&meter.sent, 1);
            }
        };
        let (end, ()) = tokio::join!(limits.reached(&meter), busy);
        assert_eq!((end, meter.elapsed()), (SpliceEnd::Idle, Duration::from_secs(37)));
        let limits = Limits { idle: Some(Duration::from_secs(100)), duration: Some(Duration::from_secs(60)) };
        assert_eq!(limits.reached(&meter).await, SpliceEnd::Duration);
        assert_eq!(meter.elapsed().as_secs(), 60);
    }
}
