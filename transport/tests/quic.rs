//! Real QUIC over loopback: handshakes, streams, frames and what strangers can make an endpoint hold.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "quic/admission.rs"]
mod admission;
#[path = "quic/climbs.rs"]
mod climbs;
#[path = "quic/frames.rs"]
mod frames;
#[path = "quic/handshakes.rs"]
mod handshakes;
#[path = "quic/resets.rs"]
mod resets;
#[path = "quic/streams.rs"]
mod streams;
#[path = "quic/ways.rs"]
mod ways;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_protocol::trust::keys::{PublicKey, SecretKey};
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings};

const ALPN: &[u8] = b"postern-test/1";
const SERVER: u8 = 1;
const CLIENT: u8 = 2;
/// For what must happen: long enough that only a defect reaches it.
const GENEROUS: Duration = Duration::from_secs(20);

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn public(seed: u8) -> PublicKey {
    secret(seed).public()
}

fn bind(seed: u8, role: Role, settings: &Settings) -> Endpoint {
    Endpoint::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &secret(seed), role, settings).unwrap()
}

fn server(settings: &Settings) -> (Endpoint, SocketAddr) {
    let endpoint = bind(SERVER, Role::Server { alpns: vec![ALPN.to_vec()] }, settings);
    let addr = endpoint.local_addr().unwrap();
    (endpoint, addr)
}

/// Both ends of one connection. The endpoints stay alive with it.
struct Pair {
    client_endpoint: Endpoint,
    server_endpoint: Endpoint,
    client: Connection,
    server: Connection,
}

impl Pair {
    async fn open(settings: &Settings) -> Self {
        let (server_endpoint, addr) = server(settings);
        let client_endpoint = bind(CLIENT, Role::Client, settings);
        let dial = client_endpoint.connect(addr, public(SERVER), &[ALPN], settings);
        let admit = async { server_endpoint.accept().await.unwrap().handshake(GENEROUS).await };
        let (client, server) = tokio::join!(dial, admit);
        Self { client: client.unwrap(), server: server.unwrap(), client_endpoint, server_endpoint }
    }

    /// A stream opened by the client; `first` is what makes the server notice it, and is read there.
    async fn stream(&self, first: &[u8]) -> Stream {
        let (mut client_send, client_recv) = self.client.open_bi().await.unwrap();
        client_send.write_all(first).await.unwrap();
        let (server_send, mut server_recv) = self.server.accept_bi().await.unwrap();
        let mut seen = vec![0; first.len()];
        server_recv.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, first);
        Stream { client_send, client_recv, server_send, server_recv }
    }
}

struct Stream {
    client_send: SendStream,
    client_recv: RecvStream,
    server_send: SendStream,
    server_recv: RecvStream,
}
