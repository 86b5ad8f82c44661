//! QUIC packets as frames of a connection: between an end and a relay or hub, where UDP does not pass.
//!
//! ```text
//! frame   length: u16, big endian | handle of a relay, if there is one | QUIC packet
//! ```
//!
//! 1. An [`Outbox`] gathers frames; [`write()`] sends what has gathered, as one piece. What finds no room is dropped: a queue that
//!    grows is worse for a tunnel than a lost packet, of which QUIC knows what to make.
//! 2. [`read`] calls back for each frame that has come, where it lies.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

/// Frames on their way to a connection.
#[derive(Debug, Default)]
pub struct Outbox {
    held: Mutex<Held>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Outbox {
    /// Frames each packet with `handle` before it, or drops it; yields how many were dropped.
    pub fn put<'a>(&self, handle: &[u8], packets: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut dropped = 0;
        let mut held = self.lock();
        let before = held.bytes.len();
        for packet in packets {
            let length = handle.len().saturating_add(packet.len());
            let mark = u16::try_from(length).ok().filter(|_| !held.is_closed);
            let Some(mark) = mark.filter(|_| held.bytes.len().saturating_add(length) <= LIMIT) else {
                dropped += 1;
                continue;
            };
            held.bytes.extend_from_slice(&mark.to_be_bytes());
            held.bytes.extend_from_slice(handle);
            held.bytes.extend_from_slice(packet);
        }
        let filled = before == 0 && !held.bytes.is_empty();
        drop(held);
        if filled {
            self.filled.notify_one();
        }
        dropped
    }

    /// Ends it: the writer takes what is there and stops.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }

    /// Waits for frames and swaps them for `empty`; false when it is closed. Safe to cancel.
    async fn take(&self, empty: &mut Vec<u8>) -> bool {
        loop {
            {
                let mut held = self.lock();
                if !held.bytes.is_empty() {
                    empty.clear();
                    std::mem::swap(&mut held.bytes, empty);
                    return true;
                }
                if held.is_closed {
                    return false;
                }
            }
            // One that was told before this is told at once.
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what gathers until the outbox is closed, and ends the stream.
///
/// # Errors
/// The stream's.
pub async fn write(outbox: &Outbox, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut frames = Vec::new();
    while outbox.take(&mut frames).await {
        stream.write_all(&frames).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

/// Hands each frame on until the stream ends.
///
/// # Errors
/// The stream's; [`io::ErrorKind::InvalidData`] for a frame that is larger than any packet.
pub async fn read(mut stream: impl AsyncRead + Unpin, mut take: impl FnMut(&mut [u8])) -> io::Result<()> {
    let mut bytes = vec![0; READ];
    let mut filled = 0;
    loop {
        let read = stream.read(bytes.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut rest = bytes.get_mut(..filled).unwrap_or_default();
        while let Some(length) = frame_length(rest)? {
            let (frame, after) = rest.split_at_mut(MARK + length);
            take(frame.get_mut(MARK..).unwrap_or_default());
            rest = after;
        }
        let left = rest.len();
        bytes.copy_within(filled - left..filled, 0);
        filled = left;
    }
}

/// Bytes of the frame that begins there; none when not all of them are there.
fn frame_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some((mark, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*mark));
    if length > FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((length <= rest.len()).then_some(length))
}

/// Bytes that may wait: about 64 packets.
const LIMIT: usize = 96 * 1024;
/// Bytes of a length.
const MARK: usize = 2;
/// Bytes of the largest frame: no packet of QUIC is larger on a path of Ethernet.
const FRAME: usize = 2048;
/// Bytes read at once.
const READ: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_are_framed_with_their_handle_and_taken_together() {
        let outbox = Outbox::default();
        assert_eq!(outbox.put(b"hhhhhhhh", [&b"one"[..], b"three"].into_iter()), 0);
        assert_eq!(outbox.put(b"", [&b"x"[..]].into_iter()), 0);
        let mut taken = b"left over".to_vec();
        assert!(outbox.take(&mut taken).await);
        assert_eq!(taken, b"\x00\x0bhhhhhhhhone\x00\x0dhhhhhhhhthree\x00\x01x");
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_whole_and_a_closed_one_yields_its_rest() {
        let outbox = Outbox::default();
        let packet = [7; 1000];
        let dropped: u64 = (0..200).map(|_| outbox.put(b"", [&packet[..]].into_iter())).sum();
        outbox.close();
        assert_eq!((dropped, outbox.put(b"", [&packet[..]].into_iter())), (102, 1));
        let mut taken = Vec::new();
        assert!(outbox.take(&mut taken).await);
        assert_eq!((taken.len() / 1002, taken.len() % 1002), (98, 0));
        assert!(!outbox.take(&mut taken).await);
    }

    #[tokio::test]
    async fn frames_are_read_as_they_were_written_however_they_are_cut() {
        let (near, far) = tokio::io::duplex(7);
        let outbox = Outbox::default();
        outbox.put(b"h", [&b"one"[..], b"", b"three"].into_iter());
        outbox.close();
        let mut frames = Vec::new();
        let (wrote, read) =
            tokio::join!(write(&outbox, near), read(far, |frame| frames.push(frame.to_vec())));
        assert!(wrote.is_ok() && read.is_ok());
        assert_eq!(frames, [b"hone".to_vec(), b"h".to_vec(), b"hthree".to_vec()]);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_ends_the_reading_at_its_length() {
        let mut frames = 0;
        let read = read(&[0, 1, b'x', 0x08, 0x01][..], |_| frames += 1).await;
        assert_eq!((read.map_err(|error| error.kind()), frames), (Err(io::ErrorKind::InvalidData), 1));
    }
}
