//! Packets for a TLS connection, as frames, until its writer takes them.
//!
//! ```text
//! frame   length: u16, big endian | handle of a relay, if there is one | QUIC packet
//! ```
//!
//! What finds no room is dropped: a queue that grows is worse for a tunnel than a lost packet, of which QUIC knows what to make.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Frames on their way to a connection.
#[derive(Debug, Default)]
pub(in super::super) struct Outbox {
    held: Mutex<Held>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Outbox {
    /// Frames each packet, or drops it.
    pub(in super::super) fn put<'a>(&self, handle: Option<&[u8]>, packets: impl Iterator<Item = &'a [u8]>) {
        let mut held = self.lock();
        let before = held.bytes.len();
        let handle = handle.unwrap_or_default();
        for packet in packets {
            let length = handle.len().saturating_add(packet.len());
            let Ok(mark) = u16::try_from(length) else { continue };
            if held.is_closed || held.bytes.len().saturating_add(length) > LIMIT {
                break;
            }
            held.bytes.extend_from_slice(&mark.to_be_bytes());
            held.bytes.extend_from_slice(handle);
            held.bytes.extend_from_slice(packet);
        }
        let filled = before == 0 && !held.bytes.is_empty();
        drop(held);
        if filled {
            self.filled.notify_one();
        }
    }

    /// Waits for frames and swaps them for `empty`; false when the way is gone. Safe to cancel.
    pub(in super::super) async fn take(&self, empty: &mut Vec<u8>) -> bool {
        loop {
            let filled = self.filled.notified();
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
            filled.await;
        }
    }

    /// Ends it: the writer takes what is there and stops.
    pub(in super::super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that may wait: about 64 packets.
const LIMIT: usize = 96 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_are_framed_with_their_handle_and_taken_together() {
        let outbox = Outbox::default();
        outbox.put(Some(b"hhhhhhhh"), [&b"one"[..], b"three"].into_iter());
        outbox.put(None, [&b"x"[..]].into_iter());
        let mut taken = b"left over".to_vec();
        assert!(outbox.take(&mut taken).await);
        assert_eq!(taken, b"\x00\x0bhhhhhhhhone\x00\x0dhhhhhhhhthree\x00\x01x");
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_whole_and_a_closed_one_yields_its_rest() {
        let outbox = Outbox::default();
        let packet = [7; 1000];
        for _ in 0..200 {
            outbox.put(None, [&packet[..]].into_iter());
        }
        outbox.close();
        outbox.put(None, [&packet[..]].into_iter());
        let mut taken = Vec::new();
        assert!(outbox.take(&mut taken).await);
        assert_eq!((taken.len() / 1002, taken.len() % 1002), (98, 0));
        assert!(!outbox.take(&mut taken).await);
    }
}
