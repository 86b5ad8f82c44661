//! The adapter's file: packets of this computer's programs come out of it, and packets for them go in.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::virtio::{self, HEADER, Said};

/// The adapter, which ends with the last copy of its file.
#[derive(Debug)]
pub(super) struct Tun {
    file: AsyncFd<OwnedFd>,
    /// Whether packets have no header before them.
    plain: bool,
}

impl Tun {
    /// Takes what the program that makes adapters has handed over.
    ///
    /// # Errors
    /// When it is no file to wait for.
    pub(super) fn new(file: OwnedFd, plain: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&file, true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that could give another file every time; an `OwnedFd` cannot"
        )]
        let file = AsyncFd::new(file)?;
        Ok(Self { file, plain })
    }

    /// Waits for packets. Safe to cancel.
    ///
    /// # Errors
    /// When the adapter was taken away.
    pub(super) async fn ready(&self) -> io::Result<Ready<'_>> {
        Ok(Ready { tun: self, guard: self.file.readable().await? })
    }

    /// Gives a program a packet. One that the kernel does not take is lost, as on any wire.
    pub(super) fn write(&self, packet: &[u8]) {
        if self.plain {
            let _lost = rustix::io::write(&self.file, packet);
        } else {
            self.write_with_header(&[&[0; HEADER], packet].concat());
        }
    }

    /// The same with the header before it.
    pub(super) fn write_with_header(&self, bytes: &[u8]) {
        let _lost = rustix::io::write(&self.file, bytes);
    }
}

/// Packets may be there.
pub(super) struct Ready<'a> {
    tun: &'a Tun,
    guard: AsyncFdReadyGuard<'a, OwnedFd>,
}

impl Ready<'_> {
    /// Hands over some packets, each in the buffer.
    ///
    /// # Errors
    /// When the adapter was taken away.
    pub(super) fn read(mut self, buffer: &mut [u8], mut take: impl FnMut(Said, &[u8])) -> io::Result<()> {
        for _ in 0..BURST {
            match rustix::io::read(&self.tun.file, &mut *buffer) {
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    let split =
                        if self.tun.plain { Some((Said::NOTHING, bytes)) } else { virtio::split(bytes) };
                    if let Some((said, packet)) = split {
                        take(said, packet);
                    }
                }
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

/// Packets that are taken before others have their turn.
const BURST: usize = 32;
