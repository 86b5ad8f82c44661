//! Where local connections come in: a port of the loopback addresses.
//!
//! 1. A web service keeps its port over restarts, so that bookmarks and the panel's own cookies go on working. The port
//!    follows from the user's key, the device and the service; nothing is stored.
//! 2. Where it is taken, a free one takes its place, and that is said.
//! 3. Browsers look for `*.localhost` at `::1` and 127.0.0.1 alike, so a web service takes both: at the one that it left
//!    out, another user of this computer could wait for the panel's cookies.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use postern_protocol::id::DeviceId;
use postern_protocol::name::Name;
use postern_protocol::trust::PublicKey;
use postern_transport::crowd::is_called;

/// Which port is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// This one; 0 is any free one.
    Exactly(u16),
    /// This one, or else a free one.
    Rather(u16),
}

impl Port {
    /// The port of a web service when nobody names one: below those that systems hand out by themselves.
    pub(crate) fn of(user: &PublicKey, device: &DeviceId, service: &Name) -> Self {
        let text = format!("{user}/{device}/{service}");
        let offset = u16::try_from(fnv1a(text.as_bytes()) % u64::from(PORTS)).unwrap_or_default();
        Self::Rather(FIRST_PORT.saturating_add(offset))
    }
}

/// Both loopback listeners of one port.
#[derive(Debug)]
pub(crate) struct Listeners {
    v4: TcpListener,
    v6: Option<TcpListener>,
}

impl Listeners {
    /// Listens at 127.0.0.1 and, with `both` and where there is one, at `::1`. Also says whether another port than the
    /// one that was wanted rather had to be taken.
    ///
    /// # Errors
    /// The address that cannot be listened at, and why.
    pub(crate) async fn bind(port: Port, both: bool) -> Result<(Self, bool), (SocketAddr, io::Error)> {
        match port {
            Port::Exactly(0) => Ok((Self::anywhere(both).await?, false)),
            Port::Exactly(port) => Ok((Self::at(port, both).await?, false)),
            Port::Rather(port) => match Self::at(port, both).await {
                Ok(listeners) => Ok((listeners, false)),
                Err(_) => Ok((Self::anywhere(both).await?, true)),
            },
        }
    }

    async fn anywhere(both: bool) -> Result<Self, (SocketAddr, io::Error)> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Self::at(0, both).await {
                // Free at one address and taken at the other.
                Err(_) if attempt < ATTEMPTS => {}
                outcome => return outcome,
            }
        }
    }

    async fn at(port: u16, both: bool) -> Result<Self, (SocketAddr, io::Error)> {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v4 = TcpListener::bind(here).await.map_err(|error| (here, error))?;
        if !both {
            return Ok(Self { v4, v6: None });
        }
        let port = v4.local_addr().map_err(|error| (here, error))?.port();
        let there = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        match TcpListener::bind(there).await {
            Ok(v6) => Ok(Self { v4, v6: Some(v6) }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err((there, error)),
            // A computer without IPv6: no browser finds anybody there either.
            Err(_) => Ok(Self { v4, v6: None }),
        }
    }

    /// The address of IPv4.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.v4.local_addr()
    }

    /// Whether somebody waits to be let in.
    pub(crate) fn are_called(&self) -> bool {
        is_called(&self.v4) || self.v6.as_ref().is_some_and(is_called)
    }

    /// The next local connection. Safe to cancel.
    ///
    /// # Errors
    /// When the system is out of file descriptors.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        let v6 = async {
            match &self.v6 {
                Some(v6) => v6.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.v4.accept() => accepted,
            accepted = v6 => accepted,
        }
        .map(|(socket, _)| socket)
    }
}

/// FNV-1a, which is the same everywhere and for ever; nothing secret hangs on it.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The ephemeral ports of Linux begin at 32768, those of other systems later.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_768;
/// Free ports that are tried until both addresses have one.
const ATTEMPTS: u32 = 16;

#[cfg(test)]
mod tests {
    use postern_protocol::trust::SecretKey;

    use super::*;

    fn port(user: u8, device: u8, service: &str) -> Port {
        let user = SecretKey::from_seed([user; 32]).unwrap().public();
        Port::of(&user, &DeviceId::new([device; 8]), &service.parse().unwrap())
    }

    #[test]
    fn the_port_follows_from_user_device_and_service_and_is_below_those_of_the_system() {
        assert_eq!(port(1, 1, "hmi"), port(1, 1, "hmi"));
        assert_ne!(port(1, 1, "hmi"), port(1, 1, "web"));
        assert_ne!(port(1, 1, "hmi"), port(1, 2, "hmi"));
        assert_ne!(port(1, 1, "hmi"), port(2, 1, "hmi"));
        for service in 0..100 {
            let Port::Rather(port) = port(1, 1, &format!("s{service}")) else { panic!("derived") };
            assert!((20_000..32_768).contains(&port), "{port}");
        }
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_replaced_where_any_will_do_and_an_error_where_it_was_named() {
        let (first, moved) = Listeners::bind(Port::Exactly(0), true).await.unwrap();
        assert!(!moved);
        let port = first.local_addr().unwrap().port();
        let (second, moved) = Listeners::bind(Port::Rather(port), true).await.unwrap();
        assert!(moved);
        assert_ne!(second.local_addr().unwrap().port(), port);
        let (at, error) = Listeners::bind(Port::Exactly(port), true).await.unwrap_err();
        assert_eq!((at.port(), error.kind()), (port, io::ErrorKind::AddrInUse));
        drop(first);
        let (third, moved) = Listeners::bind(Port::Rather(port), true).await.unwrap();
        assert_eq!((third.local_addr().unwrap().port(), moved), (port, false));
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_at_the_other_address_is_taken() {
        let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
        let port = other.local_addr().unwrap().port();
        let (at, error) = Listeners::bind(Port::Exactly(port), true).await.unwrap_err();
        assert_eq!(
            (at, error.kind()),
            (SocketAddr::from((Ipv6Addr::LOCALHOST, port)), io::ErrorKind::AddrInUse)
        );
    }
}
