//! The socket of an endpoint: one UDP socket with many ways to peers.
//!
//! 1. quinn knows each peer by one address. Where packets for it go, and where they come from, is a matter of its
//!    [way](ways): straight over UDP, through a relay over UDP, or as frames of a TLS connection.
//! 2. Without any way this is quinn's batching socket and nothing else: packets are received into its buffers.
//! 3. With ways, or where memory is scarce, packets are received into a [room] of its own and handed on from there, what a
//!    relay put before them taken off.
//! 4. What came over TLS waits in an [inbox], and what goes there in an [outbox](crate::frames::Outbox); both drop when they are full.

mod inbox;
mod room;
mod ways;

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use postern_protocol::wire::relay::HANDLE_BYTES;

use self::room::Room;
use self::ways::Passage;

pub use self::ways::Visit;
pub(super) use self::ways::{Errand, Means, WayId, Ways};

/// quinn's socket, with ways.
#[derive(Debug)]
pub(super) struct PathSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    ways: Arc<Ways>,
    /// Bytes of the largest packet.
    payload: usize,
    thrifty: bool,
    room: Mutex<Option<Room>>,
    /// Segments of a transmit, each with a handle before it.
    scratch: Mutex<Vec<u8>>,
}

impl PathSocket {
    /// A socket over `inner`. A thrifty one never receives into the buffers of quinn directly, which are small then.
    pub(super) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        ways: Arc<Ways>,
        payload: usize,
        thrifty: bool,
    ) -> Self {
        Self { inner, ways, payload, thrifty, room: Mutex::new(None), scratch: Mutex::new(Vec::new()) }
    }

    /// Sends each segment with the handle before it.
    fn send_relayed(
        &self,
        transmit: &Transmit<'_>,
        relay: SocketAddr,
        handle: &[u8; HANDLE_BYTES],
    ) -> io::Result<()> {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        scratch.clear();
        for segment in transmit.contents.chunks(size) {
            scratch.extend_from_slice(handle);
            scratch.extend_from_slice(segment);
        }
        self.inner.try_send(&Transmit {
            destination: relay,
            ecn: transmit.ecn,
            contents: &scratch,
            segment_size: transmit.segment_size.map(|size| size + HANDLE_BYTES),
            // That of the interface towards the relay, whatever the way before this one was.
            src_ip: None,
        })
    }

    /// Shows the peer that a way is still used which is not the route: one byte, which is no packet of QUIC.
    pub(super) fn nudge(&self, id: WayId, peer: SocketAddr) {
        let (ecn, segment_size, src_ip) = (None, None, None);
        let nudge = Transmit { destination: peer, ecn, contents: &[0], segment_size, src_ip };
        // The next one follows soon.
        let _lost = self.send_by(self.ways.passage_by(id), &nudge);
    }

    /// Sends one byte straight to `at`.
    pub(super) fn knock(&self, at: SocketAddr) {
        let (ecn, segment_size, src_ip) = (None, None, None);
        let knock = Transmit { destination: self.ways.outer(at), ecn, contents: &[0], segment_size, src_ip };
        // The next one follows soon.
        let _lost = self.inner.try_send(&knock);
    }

    fn send_by(&self, passage: Passage, transmit: &Transmit<'_>) -> io::Result<()> {
        match passage {
            Passage::Direct(destination) => {
                let Transmit { ecn, contents, segment_size, .. } = *transmit;
                self.inner.try_send(&Transmit { destination, ecn, contents, segment_size, src_ip: None })
            }
            Passage::Relayed(relay, handle) => self.send_relayed(transmit, relay, handle.as_bytes()),
            Passage::Stream(outbox, handle) => {
                let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
                let handle = handle.as_ref().map_or(&[][..], |handle| &handle.as_bytes()[..]);
                let _lost = outbox.put(handle, transmit.contents.chunks(size));
                Ok(())
            }
            // Nobody is there yet, or no more: as if it were lost.
            Passage::Nowhere => Ok(()),
        }
    }
}

impl AsyncUdpSocket for PathSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.ways.passage(transmit.destination) {
            None => self.inner.try_send(transmit),
            Some(passage) => self.send_by(passage, transmit),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(filled) = self.ways.inbox().poll_take(cx, buffers, meta) {
            return Poll::Ready(Ok(filled));
        }
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.is_none() && !self.thrifty && self.ways.is_empty() {
            return self.inner.poll_recv(cx, buffers, meta);
        }
        let slot = self.inner.max_receive_segments().saturating_mul(self.payload + HANDLE_BYTES);
        let room = room.get_or_insert_with(|| Room::new(slot));
        loop {
            if room.is_empty() {
                ready!(room.poll_fill(cx, &*self.inner))?;
            }
            let used = room.hand_on(&self.ways, buffers, meta);
            if used > 0 {
                return Poll::Ready(Ok(used));
            }
        }
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
        let all = self.inner.max_receive_segments();
        if self.thrifty { room::PIECE.min(all) } else { all }
    }
}
