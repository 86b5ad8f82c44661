//! The TUN interface of the packet VPN: made by who has the right to, opened by who owns it, and removed.
//!
//! 1. [`create`] makes it, as root: it stays when its file is closed, and belongs to the agent's user.
//! 2. [`open`] opens it as that user, which takes no right over the network at all.
//! 3. [`remove`] takes it away with its addresses and routes, whoever has it open.
//!
//! The only unsafe code of the project is here: three requests to `/dev/net/tun` for which there is no safe interface. Of the libraries
//! that have one, `tun-rs` hands the kernel an address in place of the owner, and `tokio-tun` loses a file each time it is refused.
//!
//! Deliberately absent: reading and writing, which is done with the file.

#![cfg(target_os = "linux")]

mod netlink;

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use self::netlink::{Change, Netlink};

/// Makes an interface with this address, whose network is routed over it, for a user.
///
/// # Errors
/// The kernel's. Nothing is left then.
pub fn create(name: &str, (address, prefix): (Ipv4Addr, u8), mtu: u16, owner: u32) -> io::Result<()> {
    // It is gone with its file until the last of these steps.
    let file = attached(name)?;
    number::<SET_OWNER>(&file, owner)?;
    let netlink = Netlink::open()?;
    let index = index(name)?.ok_or(io::ErrorKind::NotFound)?;
    netlink.change(index, Change::Address(address, prefix))?;
    netlink.change(index, Change::Up { mtu })?;
    number::<SET_PERSIST>(&file, 1)
}

/// Opens an interface that exists.
///
/// # Errors
/// The kernel's: it belongs to somebody else, is open already, or is no TUN interface.
pub fn open(name: &str) -> io::Result<OwnedFd> {
    // Whoever has the right to would make another one.
    if !exists(name) {
        return Err(io::ErrorKind::NotFound.into());
    }
    attached(name).map(OwnedFd::from)
}

/// Removes the interface of this name; done where there is none.
///
/// # Errors
/// The kernel's.
pub fn remove(name: &str) -> io::Result<()> {
    match index(name)? {
        Some(index) => Netlink::open()?.change(index, Change::Remove),
        None => Ok(()),
    }
}

/// Whether there is an interface of this name, in the network of this process.
#[must_use]
pub fn exists(name: &str) -> bool {
    index(name).is_ok_and(|index| index.is_some())
}

/// Whether there is a TUN interface of this name, open or not. Another kind is somebody else's.
#[must_use]
pub fn is_tun(name: &str) -> bool {
    let is_open = |error: io::Error| error.kind() == io::ErrorKind::ResourceBusy;
    exists(name) && attached(name).map_or_else(is_open, |_| true)
}

fn index(name: &str) -> io::Result<Option<u32>> {
    let inet = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    match netdevice::name_to_index(inet, name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file that is the interface, which does not wait.
fn attached(name: &str) -> io::Result<File> {
    let mut request = request(name)?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCK).open("/dev/net/tun")?;
    #[expect(unsafe_code, reason = "there is no safe interface")]
    // SAFETY: TUNSETIFF reads a `struct ifreq` of 40 bytes (32 where pointers are short) and writes its name; the request is that long.
    let request = unsafe { Updater::<SET_INTERFACE, [u8; REQUEST]>::new(&mut request) };
    #[expect(unsafe_code, reason = "there is no safe interface")]
    // SAFETY: the request matches its number, see above.
    unsafe { ioctl(&file, request) }?;
    Ok(file)
}

/// Sets something that is a number.
fn number<const WHAT: Opcode>(file: &File, value: u32) -> io::Result<()> {
    let value = usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput)?;
    #[expect(unsafe_code, reason = "there is no safe interface")]
    // SAFETY: TUNSETOWNER and TUNSETPERSIST take their argument as a number, no pointer.
    let request = unsafe { IntegerSetter::<WHAT>::new_usize(value) };
    #[expect(unsafe_code, reason = "there is no safe interface")]
    // SAFETY: the request matches its number, see above.
    unsafe { ioctl(file, request) }?;
    Ok(())
}

/// `struct ifreq` with a name and the flags of a TUN interface whose packets have nothing before them.
fn request(name: &str) -> io::Result<[u8; REQUEST]> {
    let mut request = [0; REQUEST];
    // The last byte stays zero.
    let fits = name.len() < NAME && !name.is_empty() && !name.contains(['\0', '%', '/']);
    let place = request.get_mut(..name.len()).filter(|_| fits).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(name.as_bytes());
    if let Some(flags) = request.get_mut(NAME..NAME + 2) {
        flags.copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    }
    Ok(request)
}

const NAME: usize = 16;
const REQUEST: usize = 40;
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const SET_INTERFACE: Opcode = opcode::write::<i32>(b'T', 202);
const SET_PERSIST: Opcode = opcode::write::<i32>(b'T', 203);
const SET_OWNER: Opcode = opcode::write::<i32>(b'T', 204);
const NONBLOCK: i32 = 0o4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_request_names_the_interface_and_says_what_it_is() {
        let request = request("postern0").unwrap();
        assert_eq!(&request[..20], b"postern0\0\0\0\0\0\0\0\0\x01\x10\0\0");
        assert_eq!(request[20..], [0; 20]);
    }

    #[test]
    fn a_name_that_the_kernel_would_change_or_cut_is_refused() {
        assert!(request("a-name-of-15-by").is_ok());
        for bad in ["", "a-name-of-16-byt", "tun%d", "a/b", "a\0b"] {
            assert_eq!(request(bad).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput), "{bad}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_not_opened_and_is_removed_already() {
        assert!(!exists("no-such-tun") && !is_tun("no-such-tun"));
        assert_eq!(open("no-such-tun").map_err(|error| error.kind()).err(), Some(io::ErrorKind::NotFound));
        assert!(matches!(remove("no-such-tun"), Ok(())));
        assert!(exists("lo"));
    }
}
