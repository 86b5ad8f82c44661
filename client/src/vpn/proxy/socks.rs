//! SOCKS5 (RFC 1928) without authentication: CONNECT and UDP ASSOCIATE.
//!
//! 1. The program lists how it could authenticate; `none` must be among it.
//! 2. It asks for one thing and names an address or a name.
//! 3. What is refused here is answered here, with the code for it.
//! 4. Datagrams of an association have a [head](Datagram) each; fragments are dropped, as the RFC permits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use postern_protocol::wire::flow::Host;

use super::{Tongue, Wish};
use crate::args::HostPort;

/// The first byte of every message.
pub(super) const VERSION: u8 = 5;
/// The reply code of success.
pub(super) const GRANTED: u8 = 0;

/// Reads what a program asks for. None when it was refused, or has hung up.
pub(super) async fn listen<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> Option<Wish> {
    greet(socket).await?;
    match ask(socket).await? {
        Ok(wish) => Some(wish),
        Err(code) => {
            let _hung_up = socket.write_all(&refuse(code)).await;
            let _hung_up = socket.shutdown().await;
            None
        }
    }
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> Option<()> {
    let [version, methods] = take(socket).await?;
    let mut offered = vec![0; methods.into()];
    socket.read_exact(&mut offered).await.ok()?;
    if version != VERSION {
        return None;
    }
    if offered.contains(&NO_AUTHENTICATION) {
        return socket.write_all(&[VERSION, NO_AUTHENTICATION]).await.ok();
    }
    let _hung_up = socket.write_all(&[VERSION, NO_METHOD]).await;
    let _hung_up = socket.shutdown().await;
    None
}

/// A wish, or the code of its refusal.
async fn ask<S: AsyncRead + Unpin>(socket: &mut S) -> Option<Result<Wish, u8>> {
    let [version, command, _reserved, kind] = take(socket).await?;
    if version != VERSION {
        return None;
    }
    let host = match kind {
        IPV4 => Some(Host::Ip(IpAddr::from(take::<_, 4>(socket).await?))),
        IPV6 => Some(Host::Ip(IpAddr::from(take::<_, 16>(socket).await?).to_canonical())),
        NAME => {
            let [length] = take(socket).await?;
            let mut name = vec![0; length.into()];
            socket.read_exact(&mut name).await.ok()?;
            std::str::from_utf8(&name).ok().and_then(HostPort::host)
        }
        _ => return Some(Err(NO_SUCH_ADDRESS)),
    };
    let port = u16::from_be_bytes(take(socket).await?);
    Some(match (command, host) {
        (CONNECT, Some(host)) if port != 0 => Ok(Wish::Flow(HostPort { host, port }, Tongue::Socks)),
        // Where the program will send from. Its address is that of this connection, whatever it says.
        (UDP_ASSOCIATE, Some(Host::Ip(_))) => Ok(Wish::Datagrams(port)),
        (CONNECT | UDP_ASSOCIATE, _) => Err(NO_SUCH_ADDRESS),
        _ => Err(NO_SUCH_COMMAND),
    })
}

/// An answer; the address is that of the machine, or of the association.
pub(super) fn answer(code: u8, at: SocketAddr) -> Vec<u8> {
    let mut answer = vec![VERSION, code, 0];
    push_address(at, &mut answer);
    answer
}

/// A refusal.
pub(super) fn refuse(code: u8) -> Vec<u8> {
    answer(code, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

/// A datagram of an association (RFC 1928 section 7).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    /// Where it goes.
    pub(super) to: HostPort,
    /// What it carries.
    pub(super) data: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads one; none of what is malformed, or a fragment.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([0, 0, 0, kind], rest) = bytes.split_first_chunk()? else { return None };
        let (host, rest) = match *kind {
            IPV4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                (Host::Ip(Ipv4Addr::from(*ip).into()), rest)
            }
            IPV6 => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                (Host::Ip(IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical()), rest)
            }
            NAME => {
                let (length, rest) = rest.split_first()?;
                let (name, rest) = rest.split_at_checked((*length).into())?;
                (HostPort::host(std::str::from_utf8(name).ok()?)?, rest)
            }
            _ => return None,
        };
        let (port, data) = rest.split_first_chunk()?;
        let port = u16::from_be_bytes(*port);
        (port != 0).then_some(Self { to: HostPort { host, port }, data })
    }

    /// What a program gets of a datagram that came from a machine.
    pub(super) fn write(from: SocketAddr, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0];
        push_address(from, &mut bytes);
        bytes.extend_from_slice(data);
        bytes
    }
}

fn push_address(addr: SocketAddr, bytes: &mut Vec<u8>) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            bytes.push(IPV4);
            bytes.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(IPV6);
            bytes.extend_from_slice(&ip.octets());
        }
    }
    bytes.extend_from_slice(&addr.port().to_be_bytes());
}

async fn take<S: AsyncRead + Unpin, const N: usize>(socket: &mut S) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const UDP_ASSOCIATE: u8 = 3;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of what a program says, and what it hears.
    async fn say(words: &[u8]) -> (Option<String>, Vec<u8>) {
        let (mut program, mut proxy) = tokio::io::duplex(1024);
        program.write_all(words).await.unwrap();
        program.shutdown().await.unwrap();
        let wish = listen(&mut proxy).await.map(|wish| match wish {
            Wish::Flow(to, Tongue::Socks) => to.to_string(),
            Wish::Flow(to, Tongue::Http) => panic!("{to}"),
            Wish::Datagrams(port) => format!("datagrams from {port}"),
        });
        drop(proxy);
        let mut heard = Vec::new();
        program.read_to_end(&mut heard).await.unwrap();
        (wish, heard)
    }

    fn asked(request: &[u8]) -> Vec<u8> {
        [&[5, 1, 0], request].concat()
    }

    #[tokio::test]
    async fn connect_names_an_address_or_a_name_and_associate_a_port() {
        let greeted = vec![5, 0];
        let v4 = say(&asked(&[5, 1, 0, 1, 192, 168, 0, 10, 0, 102])).await;
        assert_eq!(v4, (Some("192.168.0.10:102".to_owned()), greeted.clone()));
        let name = say(&asked(b"\x05\x01\x00\x03\x05plc-7\x12\xe8")).await;
        assert_eq!(name, (Some("plc-7:4840".to_owned()), greeted.clone()));
        // An address that is written as a name is an address.
        let written = say(&asked(b"\x05\x01\x00\x03\x09127.0.0.1\x00\x50")).await;
        assert_eq!(written, (Some("127.0.0.1:80".to_owned()), greeted.clone()));
        let v6 = [&[5, 1, 0, 4], &[0xfd; 16][..], &[0, 80]].concat();
        let expected = Some("[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:80".to_owned());
        assert_eq!(say(&asked(&v6)).await, (expected, greeted.clone()));
        let udp = say(&asked(&[5, 3, 0, 1, 0, 0, 0, 0, 0x12, 0x34])).await;
        assert_eq!(udp, (Some("datagrams from 4660".to_owned()), greeted));
    }

    #[tokio::test]
    async fn what_is_not_spoken_is_refused_with_its_code() {
        let refused = |code: u8| (None, vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        let bind = [5, 2, 0, 1, 192, 168, 0, 10, 0, 102];
        assert_eq!(say(&asked(&bind)).await, refused(7));
        assert_eq!(say(&asked(&[5, 1, 0, 9])).await, refused(8));
        assert_eq!(say(&asked(&[5, 1, 0, 1, 192, 168, 0, 10, 0, 0])).await, refused(8), "port zero");
        for name in [b"127.1".as_slice(), b"a b", b"", b"\xff", b"plc."] {
            let length = u8::try_from(name.len()).unwrap();
            let request = [&[5, 1, 0, 3, length], name, &[0, 80]].concat();
            assert_eq!(say(&asked(&request)).await, refused(8), "{name:?}");
        }
        assert_eq!(say(&[5, 2, 1, 2]).await, (None, vec![5, 0xff]), "only with a password");
        assert_eq!(say(&[4, 1, 0, 80]).await, (None, vec![]), "another version");
        assert_eq!(say(&asked(&[4, 1, 0, 1])).await, (None, vec![5, 0]), "another version later");
        assert_eq!(say(&asked(&[5, 1, 0, 1, 192])).await, (None, vec![5, 0]), "cut");
    }

    #[test]
    fn a_datagram_has_its_destination_before_it_and_fragments_are_dropped() {
        let bytes = [0, 0, 0, 1, 192, 168, 0, 10, 0, 161, b'a', b'b'];
        let to: HostPort = "192.168.0.10:161".parse().unwrap();
        assert_eq!(Datagram::parse(&bytes), Some(Datagram { to, data: b"ab" }));
        assert_eq!(Datagram::write("192.168.0.10:161".parse().unwrap(), b"ab"), bytes);
        let name = b"\0\0\0\x03\x03plc\0\xa1";
        assert_eq!(Datagram::parse(name).map(|datagram| datagram.to.to_string()), Some("plc:161".to_owned()));
        let mut fragment = bytes;
        fragment[2] = 1;
        for wrong in [
            &fragment[..],
            &bytes[..9],
            &[0, 0, 0, 3, 200, b'a'],
            &[0, 0, 0, 2, 0, 0],
            &[],
            &[0, 0, 0, 1, 1, 1, 1, 1, 0, 0],
        ] {
            assert_eq!(Datagram::parse(wrong), None, "{wrong:?}");
        }
    }
}
