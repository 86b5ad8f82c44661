//! A room for what was received, until quinn has taken it.
//!
//! 1. quinn makes room for the largest batch that a socket may deliver: 32 messages of 64 packets each, 3 MB. An allocator that
//!    clears zeroed memory by hand makes all of it resident, on a router that may have 128 MB.
//! 2. A few messages at once are received into this room, with the kernel's own merging (GRO), and handed on in pieces. What
//!    quinn has no room for yet stays here and goes first the next time.
//! 3. On the way, what a relay put before each packet is taken off, and what it says is heard.
//!
//! It costs one copy of what is received.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll, ready};

use quinn::AsyncUdpSocket;
use quinn::udp::RecvMeta;

use postern_protocol::wire::relay::{HANDLE_BYTES, Packet, split};

use super::ways::Ways;

/// Messages that were received, until they are handed on.
pub(super) struct Room {
    bytes: Box<[u8]>,
    /// Bytes of one message at most.
    slot: usize,
    metas: [RecvMeta; MESSAGES],
    /// Messages in it.
    filled: usize,
    /// The first that was not handed on, and how much of it was.
    next: (usize, usize),
}

impl Room {
    /// A room for messages of `slot` bytes.
    pub(super) fn new(slot: usize) -> Self {
        let bytes = vec![0; slot.saturating_mul(MESSAGES)].into_boxed_slice();
        Self { bytes, slot, metas: [RecvMeta::default(); MESSAGES], filled: 0, next: (0, 0) }
    }

    /// Whether all was handed on.
    pub(super) const fn is_empty(&self) -> bool {
        self.next.0 >= self.filled
    }

    /// Receives the next messages.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &dyn AsyncUdpSocket,
    ) -> Poll<io::Result<()>> {
        let mut slots = self.bytes.chunks_exact_mut(self.slot.max(1)).map(IoSliceMut::new);
        let mut slots: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| slots.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        self.filled = ready!(socket.poll_recv(cx, &mut slots, &mut self.metas))?;
        self.next = (0, 0);
        Poll::Ready(Ok(()))
    }

    /// Copies whole packets into the buffers, as many as fit, and yields how many buffers are used.
    pub(super) fn hand_on(
        &mut self,
        ways: &Ways,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> usize {
        let mut used = 0;
        let mut places = buffers.iter_mut().zip(meta);
        let mut place = places.next();
        while let Some((buffer, meta)) = &mut place {
            let (message, from) = self.next;
            let Some(received) = self.metas.get(message).filter(|_| message < self.filled).copied() else {
                break;
            };
            let slot = self.bytes.chunks_exact(self.slot.max(1)).nth(message).unwrap_or_default();
            let rest = slot.get(from..received.len).unwrap_or_default();
            let (taken, piece) = if ways.is_relay(received.addr) {
                relayed(rest, &received, buffer, ways)
            } else {
                direct(rest, &received, buffer, ways)
            };
            let to = from.saturating_add(taken);
            self.next = if taken == 0 || to >= received.len { (message + 1, 0) } else { (message, to) };
            if let Some(piece) = piece {
                **meta = piece;
                used += 1;
                place = places.next();
            }
        }
        used
    }
}

/// Copies packets as they are; yields the bytes that were taken.
fn direct(rest: &[u8], received: &RecvMeta, buffer: &mut [u8], ways: &Ways) -> (usize, Option<RecvMeta>) {
    // A packet that fits no buffer is cut, as the kernel would cut it.
    let stride = received.stride.max(1);
    let whole = (buffer.len() / stride).saturating_mul(stride).max(buffer.len().min(stride));
    let piece = rest.get(..whole.min(rest.len())).unwrap_or_default();
    if let Some(room) = buffer.get_mut(..piece.len()) {
        room.copy_from_slice(piece);
    }
    let meta = RecvMeta { len: piece.len(), addr: ways.peer_of(received.addr), ..*received };
    (piece.len(), Some(meta))
}

/// Copies packets of one leg without their handle, or hears one notice; yields the bytes that were taken.
fn relayed(rest: &[u8], received: &RecvMeta, buffer: &mut [u8], ways: &Ways) -> (usize, Option<RecvMeta>) {
    let mut packets = rest.chunks(received.stride.max(1));
    let Some(first) = packets.next() else { return (0, None) };
    let (handle, mut packet) = match split(first) {
        Some(Packet::Data(handle, packet)) => (handle, packet),
        Some(Packet::Notice(notice)) => {
            ways.take_notice(received.addr, notice);
            return (first.len(), None);
        }
        None => return (first.len(), None),
    };
    let Some(peer) = ways.peer_of_leg(received.addr, handle) else { return (first.len(), None) };
    let (mut taken, mut len, stride) = (0, 0, packet.len());
    loop {
        // The first one that fits no buffer is cut, as above.
        let fits = if len == 0 { packet.len().min(buffer.len()) } else { packet.len() };
        let Some(room) = buffer.get_mut(len..len + fits) else { break };
        room.copy_from_slice(packet.get(..fits).unwrap_or_default());
        len += fits;
        taken += packet.len() + HANDLE_BYTES;
        match packets.next().and_then(split) {
            Some(Packet::Data(next, bytes)) if next == handle => packet = bytes,
            _ => break,
        }
    }
    // Where a packet of the relay goes is no matter of the own address that it came to.
    (taken, Some(RecvMeta { addr: peer, len, stride: stride.min(len), ecn: received.ecn, dst_ip: None }))
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("filled", &self.filled).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Messages that are received at once, each with up to 64 packets: 737 kB.
const MESSAGES: usize = 8;
/// Packets of one piece: quinn has room for 32 of them, 184 kB.
pub(super) const PIECE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// A room with messages of packets of 4 bytes; the last packet of each may be shorter.
    fn room(messages: &[&[u8]]) -> Room {
        let mut room = Room::new(16);
        for (number, message) in messages.iter().enumerate() {
            room.bytes[number * 16..][..message.len()].copy_from_slice(message);
            room.metas[number] = RecvMeta { len: message.len(), stride: 4, ..RecvMeta::default() };
        }
        room.filled = messages.len();
        room
    }

    /// Everything that is handed on in so many buffers of so many bytes, call by call.
    fn handed_on(room: &mut Room, ways: &Ways, buffers: usize, size: usize) -> Vec<Vec<Vec<u8>>> {
        let mut calls = Vec::new();
        while !room.is_empty() {
            let mut bytes = vec![vec![0; size]; buffers];
            let mut slices: Vec<IoSliceMut<'_>> =
                bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
            let mut metas = vec![RecvMeta::default(); buffers];
            let used = room.hand_on(ways, &mut slices, &mut metas);
            calls.push((0..used).map(|one| bytes[one][..metas[one].len].to_vec()).collect());
        }
        calls
    }

    #[test]
    fn messages_are_handed_on_in_pieces_of_whole_packets_and_the_rest_goes_first_the_next_time() {
        let mut received = room(&[b"aaaabbbbcc", b"dddd", b"eeeeffffgggghhhh"]);
        assert_eq!(
            handed_on(&mut received, &Ways::new(false), 2, 9),
            [
                vec![b"aaaabbbb".to_vec(), b"cc".to_vec()],
                vec![b"dddd".to_vec(), b"eeeeffff".to_vec()],
                vec![b"gggghhhh".to_vec()],
            ]
        );
    }

    #[test]
    fn an_empty_datagram_is_a_datagram_and_ends_nothing() {
        let mut received = room(&[b"", b"dddd"]);
        assert_eq!(handed_on(&mut received, &Ways::new(false), 4, 8), [vec![b"".to_vec(), b"dddd".to_vec()]]);
    }
}
