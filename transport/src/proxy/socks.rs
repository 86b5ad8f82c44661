//! SOCKS5 proxies (RFC 1928), without a login or with user and password (RFC 1929).

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::{Login, ProxyFault, SocksReply};

pub(super) async fn connect(
    mut stream: TcpStream,
    login: Option<&Login>,
    target: SocketAddr,
) -> Result<TcpStream, ProxyFault> {
    let methods = if login.is_some() { &[NO_LOGIN, PASSWORD][..] } else { &[NO_LOGIN] };
    let count = u8::try_from(methods.len()).unwrap_or_default();
    send(&mut stream, &[&[VERSION, count][..], methods].concat()).await?;
    let [version, method] = receive(&mut stream).await?;
    match (version, method, login) {
        (VERSION, NO_LOGIN, _) => {}
        (VERSION, PASSWORD, Some(login)) => log_in(&mut stream, login).await?,
        (VERSION, NO_METHOD, None) => return Err(ProxyFault::SocksLoginWanted),
        (VERSION, NO_METHOD, Some(_)) => return Err(ProxyFault::NoMethod),
        _ => return Err(ProxyFault::NotSocks),
    }
    let ip = match target.ip().to_canonical() {
        IpAddr::V4(ip) => [&[IPV4][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[IPV6][..], &ip.octets()].concat(),
    };
    let request = [&[VERSION, CONNECT, 0][..], &ip, &target.port().to_be_bytes()].concat();
    send(&mut stream, &request).await?;
    let [version, reply, _reserved, kind] = receive(&mut stream).await?;
    if version != VERSION {
        return Err(ProxyFault::NotSocks);
    }
    if reply != 0 {
        return Err(ProxyFault::SocksRefused(SocksReply(reply)));
    }
    // Its own address towards the target, which concerns nobody here.
    match kind {
        IPV4 => skip(&mut stream, 6).await?,
        IPV6 => skip(&mut stream, 18).await?,
        NAME => {
            let [length] = receive(&mut stream).await?;
            skip(&mut stream, usize::from(length) + 2).await?;
        }
        _ => return Err(ProxyFault::NotSocks),
    }
    Ok(stream)
}

async fn log_in(stream: &mut TcpStream, Login { user, password }: &Login) -> Result<(), ProxyFault> {
    let mut request = Zeroizing::new(vec![1]);
    for part in [user.as_bytes(), password] {
        // Both are at most as long: `Login::new`.
        request.push(u8::try_from(part.len()).unwrap_or_default());
        request.extend(part);
    }
    send(stream, &request).await?;
    let [_version, status] = receive(stream).await?;
    if status == 0 { Ok(()) } else { Err(ProxyFault::SocksLoginRefused) }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), ProxyFault> {
    stream.write_all(bytes).await.map_err(|_| ProxyFault::Ended)
}

/// Not a byte more than is due: what follows belongs to the target.
async fn receive<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], ProxyFault> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|_| ProxyFault::Ended)?;
    Ok(bytes)
}

async fn skip(stream: &mut TcpStream, length: usize) -> Result<(), ProxyFault> {
    stream.read_exact(&mut vec![0; length]).await.map(drop).map_err(|_| ProxyFault::Ended)
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
