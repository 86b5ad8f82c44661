//! Packets that came over TLS connections, until quinn takes them.
//!
//! They lie one behind another in one buffer, which is used again when it is empty: nothing is allocated for a packet. What finds no room
//! is dropped, as a full socket of UDP would do.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use quinn::udp::RecvMeta;

/// Packets on their way to quinn.
#[derive(Debug, Default)]
pub(in super::super) struct Inbox(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where the first packet begins.
    from: usize,
    /// The peer and the length of each.
    packets: VecDeque<(SocketAddr, usize)>,
    /// Whoever waits for one.
    waker: Option<Waker>,
}

impl Inbox {
    /// Takes a packet of `peer`, or drops it.
    pub(super) fn put(&self, peer: SocketAddr, packet: &[u8]) {
        let mut held = self.lock();
        if held.packets.is_empty() {
            held.bytes.clear();
            held.from = 0;
        }
        if held.bytes.len().saturating_add(packet.len()) > LIMIT || packet.is_empty() {
            return;
        }
        held.bytes.extend_from_slice(packet);
        held.packets.push_back((peer, packet.len()));
        let waker = held.waker.take();
        drop(held);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Copies packets into the buffers; yields how many buffers are used.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<usize> {
        let mut held = self.lock();
        let mut used = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            if !held.fill(buffer, meta) {
                break;
            }
            used += 1;
        }
        if used > 0 {
            return Poll::Ready(used);
        }
        let is_known = held.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_known {
            held.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Copies packets of one peer and one length, the last of which may be shorter, as the kernel merges them.
    fn fill(&mut self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let Some((addr, stride)) = self.packets.front().copied() else { return false };
        let mut len = 0;
        while let Some((peer, next)) = self.packets.front().copied() {
            let to = len + next;
            let is_alike = peer == addr && next <= stride && len.is_multiple_of(stride);
            // The first one that fits no buffer is cut; the peer was told the largest size.
            if len > 0 && (!is_alike || to > buffer.len()) {
                break;
            }
            let packet = self.bytes.get(self.from..self.from + next).unwrap_or_default();
            let fits = next.min(buffer.len() - len);
            if let (Some(room), Some(packet)) = (buffer.get_mut(len..len + fits), packet.get(..fits)) {
                room.copy_from_slice(packet);
            }
            len += fits;
            self.from += next;
            self.packets.pop_front();
        }
        *meta = RecvMeta { addr, len, stride: stride.min(len), ecn: None, dst_ip: None };
        true
    }
}

/// Bytes that may wait.
const LIMIT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([240, 0, 0, 1], port).into()
    }

    /// The peer and the packets in each buffer.
    fn taken(inbox: &Inbox, buffers: usize, size: usize) -> Option<Vec<(u16, usize, Vec<u8>)>> {
        let mut bytes = vec![vec![0; size]; buffers];
        let mut slices: Vec<IoSliceMut<'_>> = bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
        let mut metas = vec![RecvMeta::default(); buffers];
        let mut cx = Context::from_waker(Waker::noop());
        match inbox.poll_take(&mut cx, &mut slices, &mut metas) {
            Poll::Pending => None,
            Poll::Ready(used) => Some(
                (0..used)
                    .map(|one| {
                        (metas[one].addr.port(), metas[one].stride, bytes[one][..metas[one].len].to_vec())
                    })
                    .collect(),
            ),
        }
    }

    #[test]
    fn packets_of_one_peer_and_size_come_together_and_others_by_themselves() {
        let inbox = Inbox::default();
        for (port, packet) in
            [(1, &b"aaaa"[..]), (1, b"bbbb"), (1, b"cc"), (1, b"dddd"), (2, b"eeee"), (2, b"fffff")]
        {
            inbox.put(peer(port), packet);
        }
        assert_eq!(
            taken(&inbox, 8, 16),
            Some(vec![
                (1, 4, b"aaaabbbbcc".to_vec()),
                (1, 4, b"dddd".to_vec()),
                (2, 4, b"eeee".to_vec()),
                (2, 5, b"fffff".to_vec())
            ])
        );
        assert_eq!(taken(&inbox, 8, 16), None);
    }

    #[test]
    fn what_fits_no_buffer_waits_for_the_next_call() {
        let inbox = Inbox::default();
        for packet in [b"aaaa", b"bbbb", b"cccc"] {
            inbox.put(peer(1), packet);
        }
        assert_eq!(taken(&inbox, 1, 9), Some(vec![(1, 4, b"aaaabbbb".to_vec())]));
        assert_eq!(taken(&inbox, 1, 9), Some(vec![(1, 4, b"cccc".to_vec())]));
        assert_eq!(taken(&inbox, 1, 9), None);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_room_comes_back() {
        let inbox = Inbox::default();
        for _ in 0..300 {
            inbox.put(peer(1), &[7; 1024]);
        }
        let mut packets = 0;
        while let Some(buffers) = taken(&inbox, 4, 4096) {
            packets += buffers.iter().map(|(_, stride, bytes)| bytes.len() / stride).sum::<usize>();
        }
        assert_eq!(packets, 256);
        inbox.put(peer(1), &[8; 1024]);
        assert_eq!(taken(&inbox, 1, 4096), Some(vec![(1, 1024, vec![8; 1024])]));
    }
}
