//! The TUN interface of the packet VPN, as the agent has it open: packets of machines come out of it, and packets for them go in.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// An interface that this process has open.
#[derive(Debug)]
pub(crate) struct Tun(AsyncFd<OwnedFd>);

/// Packets may be there.
pub(crate) struct Ready<'a> {
    tun: &'a Tun,
    guard: AsyncFdReadyGuard<'a, OwnedFd>,
}

impl Tun {
    /// Opens an interface that exists.
    ///
    /// # Errors
    /// The kernel's: it does not exist and may not be made, belongs to somebody else, or is open already.
    pub(crate) fn attach(name: &str) -> io::Result<Self> {
        let file = postern_tun::open(name)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that could give another file every time; an `OwnedFd` cannot"
        )]
        Ok(Self(AsyncFd::with_interest(file, EITHER)?))
    }

    /// Waits for packets. Safe to cancel.
    ///
    /// # Errors
    /// When the interface was taken away.
    pub(crate) async fn ready(&self) -> io::Result<Ready<'_>> {
        // That it was taken away is an error, and nothing to read.
        Ok(Ready { tun: self, guard: self.0.ready(EITHER).await? })
    }

    /// Gives the kernel a packet. False where it does not take it now: it is lost, as on any wire.
    pub(crate) fn write(&self, packet: &[u8]) -> bool {
        rustix::io::write(&self.0, packet).is_ok()
    }
}

impl Ready<'_> {
    /// Hands over some packets, each in the buffer.
    ///
    /// # Errors
    /// When the interface was taken away.
    pub(crate) fn read(mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        for _ in 0..BURST {
            match rustix::io::read(&self.tun.0, &mut *buffer) {
                Ok(count) => take(buffer.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN) => {
                    self.guard.clear_ready();
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

const EITHER: Interest = Interest::READABLE.add(Interest::ERROR);
/// Packets that are taken before others have their turn.
const BURST: usize = 32;
