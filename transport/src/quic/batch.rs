//! A UDP socket that passes packets on in batches, for a relay.
//!
//! 1. [`BatchSocket::recv`] takes all that has come, up to 32 messages, each of up to 64 packets of one sender that the kernel has
//!    merged (GRO).
//! 2. [`BatchSocket::try_send`] sends packets of one size to one address in one call (GSO), and never waits.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

use super::endpoint::{BindError, open_socket};
use super::settings::Settings;

/// A socket whose packets are no matter of QUIC here.
#[derive(Debug)]
pub struct BatchSocket {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
}

/// Room for what is received at once.
#[derive(Debug)]
pub struct Batch {
    bytes: Box<[u8]>,
    slot: usize,
    metas: [RecvMeta; MESSAGES],
    filled: usize,
}

/// Packets of one sender, one behind another.
#[derive(Debug)]
pub struct Message<'a> {
    /// The sender.
    pub from: SocketAddr,
    /// The packets.
    pub bytes: &'a mut [u8],
    /// Bytes of each packet but the last, which may be shorter; never zero.
    pub stride: usize,
    /// The congestion mark (RFC 3168), to be passed on.
    pub mark: Mark,
}

/// A congestion mark.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(Option<EcnCodepoint>);

impl BatchSocket {
    /// Binds `addr`, with the kernel buffers of `settings`.
    ///
    /// # Errors
    /// [`BindError::Socket`].
    pub fn bind(addr: SocketAddr, settings: &Settings) -> Result<Self, BindError> {
        let opened = open_socket(addr, settings).and_then(|socket| {
            let state = UdpSocketState::new((&socket).into())?;
            socket.set_nonblocking(true)?;
            Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, state })
        });
        opened.map_err(|error| BindError::Socket { addr, error })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// An empty batch for this socket.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let slot = self.state.gro_segments().saturating_mul(PACKET);
        let bytes = vec![0; slot.saturating_mul(MESSAGES)].into_boxed_slice();
        Batch { bytes, slot, metas: [RecvMeta::default(); MESSAGES], filled: 0 }
    }

    /// Waits for messages and puts them into the batch. Safe to cancel.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn recv(&self, batch: &mut Batch) -> io::Result<()> {
        let mut slots = batch.bytes.chunks_exact_mut(batch.slot).map(IoSliceMut::new);
        let mut slots: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| slots.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        batch.filled = 0;
        while batch.filled == 0 {
            self.socket.readable().await?;
            let received = self.socket.try_io(Interest::READABLE, || {
                batch.filled = self.state.recv((&self.socket).into(), &mut slots, &mut batch.metas)?;
                // A batch that is not full has emptied the socket: waiting for more needs no second call that finds nothing.
                if batch.filled < MESSAGES { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match received {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Sends packets of `stride` bytes each, the last of which may be shorter.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the kernel has no room; then they are lost.
    pub fn try_send(&self, to: SocketAddr, bytes: &[u8], stride: usize, mark: Mark) -> io::Result<()> {
        let (destination, ecn, src_ip) = (to, mark.0, None);
        // What was merged on its way here may be more than may be split on its way on.
        let most = stride.saturating_mul(self.state.max_gso_segments()).max(1);
        for contents in bytes.chunks(most) {
            let segment_size = (contents.len() > stride).then_some(stride);
            let transmit = Transmit { destination, ecn, contents, segment_size, src_ip };
            self.socket
                .try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit))?;
        }
        Ok(())
    }
}

impl Batch {
    /// What was received.
    pub fn messages(&mut self) -> impl Iterator<Item = Message<'_>> {
        let slots = self.bytes.chunks_exact_mut(self.slot);
        slots.zip(&self.metas).take(self.filled).map(|(slot, meta)| Message {
            from: meta.addr,
            bytes: slot.get_mut(..meta.len).unwrap_or_default(),
            stride: meta.stride.max(1),
            mark: Mark(meta.ecn),
        })
    }
}

/// Messages received at once.
const MESSAGES: usize = 32;
/// Bytes of the largest packet: what Ethernet carries.
const PACKET: usize = 1500;
