//! quinn's batching socket with a receive buffer for a device with little memory.
//!
//! 1. quinn makes room for the largest batch that a socket may deliver: 32 messages of 64 packets each, 3 MB. An allocator that
//!    clears zeroed memory by hand makes all of it resident, on a router that may have 128 MB.
//! 2. This socket takes a few messages at once into room of its own, with the kernel's own merging (GRO), and hands them on in
//!    pieces. What quinn has no room for yet stays here and goes first the next time.
//!
//! It costs one copy of what is received. Sending is quinn's own.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

/// tokio, with thrifty sockets.
#[derive(Debug)]
pub(super) struct ThriftyRuntime {
    /// Bytes of the largest packet.
    pub(super) payload: usize,
}

impl Runtime for ThriftyRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        let slot = inner.max_receive_segments().saturating_mul(self.payload);
        let room = Mutex::new(Room::new(slot));
        Ok(Arc::new(ThriftySocket { inner, room }))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

#[derive(Debug)]
struct ThriftySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    room: Mutex<Room>,
}

/// Messages that were received, until they are handed on.
struct Room {
    bytes: Box<[u8]>,
    /// Bytes of one message at most.
    slot: usize,
    metas: [RecvMeta; MESSAGES],
    /// Messages in it.
    filled: usize,
    /// The first that was not handed on, and how much of it was.
    next: (usize, usize),
}

impl AsyncUdpSocket for ThriftySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.is_empty() {
            ready!(room.poll_fill(cx, &*self.inner))?;
        }
        Poll::Ready(Ok(room.hand_on(buffers, meta)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        PIECE.min(self.inner.max_receive_segments())
    }
}

impl Room {
    fn new(slot: usize) -> Self {
        let bytes = vec![0; slot.saturating_mul(MESSAGES)].into_boxed_slice();
        Self { bytes, slot, metas: [RecvMeta::default(); MESSAGES], filled: 0, next: (0, 0) }
    }

    const fn is_empty(&self) -> bool {
        self.next.0 >= self.filled
    }

    /// Receives the next messages.
    fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &dyn AsyncUdpSocket) -> Poll<io::Result<()>> {
        let mut slots = self.bytes.chunks_exact_mut(self.slot.max(1)).map(IoSliceMut::new);
        let mut slots: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| slots.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        self.filled = ready!(socket.poll_recv(cx, &mut slots, &mut self.metas))?;
        self.next = (0, 0);
        Poll::Ready(Ok(()))
    }

    /// Copies whole packets into the buffers, as many as fit, and yields how many buffers are used.
    fn hand_on(&mut self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut used = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let (message, from) = self.next;
            let Some(received) = self.metas.get(message).filter(|_| message < self.filled) else { break };
            let slot = self.bytes.chunks_exact(self.slot.max(1)).nth(message).unwrap_or_default();
            let rest = slot.get(from..received.len).unwrap_or_default();
            // A packet that fits no buffer is cut, as the kernel would cut it.
            let stride = received.stride.max(1);
            let whole = (buffer.len() / stride).saturating_mul(stride).max(buffer.len().min(stride));
            let piece = rest.get(..whole.min(rest.len())).unwrap_or_default();
            if let Some(room) = buffer.get_mut(..piece.len()) {
                room.copy_from_slice(piece);
            }
            *meta = RecvMeta { len: piece.len(), ..*received };
            used += 1;
            let to = from.saturating_add(piece.len());
            self.next = if piece.is_empty() || to >= received.len { (message + 1, 0) } else { (message, to) };
        }
        used
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("filled", &self.filled).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Messages that are received at once, each with up to 64 packets: 737 kB.
const MESSAGES: usize = 8;
/// Packets of one piece: quinn has room for 32 of them, 184 kB.
const PIECE: usize = 4;

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
    fn handed_on(room: &mut Room, buffers: usize, size: usize) -> Vec<Vec<Vec<u8>>> {
        let mut calls = Vec::new();
        while !room.is_empty() {
            let mut bytes = vec![vec![0; size]; buffers];
            let mut slices: Vec<IoSliceMut<'_>> =
                bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
            let mut metas = vec![RecvMeta::default(); buffers];
            let used = room.hand_on(&mut slices, &mut metas);
            assert!(metas.iter().take(used).all(|meta| meta.stride == 4));
            calls.push((0..used).map(|one| bytes[one][..metas[one].len].to_vec()).collect());
        }
        calls
    }

    #[test]
    fn messages_are_handed_on_in_pieces_of_whole_packets_and_the_rest_goes_first_the_next_time() {
        let mut received = room(&[b"aaaabbbbcc", b"dddd", b"eeeeffffgggghhhh"]);
        assert_eq!(
            handed_on(&mut received, 2, 9),
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
        assert_eq!(handed_on(&mut received, 4, 8), [vec![b"".to_vec(), b"dddd".to_vec()]]);
    }
}
