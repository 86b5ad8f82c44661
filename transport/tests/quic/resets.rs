//! A server that is killed and is there again.

use std::net::SocketAddr;
use std::time::Duration;

use postern_transport::quic::{Connection, ConnectionEnd, Endpoint, ResetSecret, Role, Settings};

use super::{ALPN, CLIENT, GENEROUS, SERVER, bind, public, secret};

fn lasting(addr: SocketAddr, secret_of: u8) -> Endpoint {
    let role = Role::Server { alpns: vec![ALPN.to_vec()] };
    let resets = ResetSecret::derive(&[secret_of; 32]);
    Endpoint::bind_lasting(addr, &secret(SERVER), role, &Settings::hub(), &resets).unwrap()
}

/// A client's connection to a server with the secret `before`, which vanishes as a killed process does; then one with `after` is there.
async fn killed(before: u8, after: u8) -> (Endpoint, Connection, Endpoint) {
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (found, at) = tokio::sync::oneshot::channel();
    life.spawn(async move {
        let server = lasting("127.0.0.1:0".parse().unwrap(), before);
        found.send(server.local_addr().unwrap()).unwrap();
        let _admitted = server.accept().await.unwrap().handshake(GENEROUS).await.unwrap();
        std::future::pending::<()>().await;
    });
    let addr = at.await.unwrap();
    let endpoint = bind(CLIENT, Role::Client, &Settings::control());
    let connection = endpoint.connect(addr, public(SERVER), &[ALPN], &Settings::control()).await.unwrap();
    // Until all that belongs to a handshake is said, the server's first word among it.
    let said = async {
        while connection.received() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(GENEROUS, said).await.unwrap();
    // Its sockets close, and nobody says goodbye.
    tokio::task::spawn_blocking(move || life.shutdown_timeout(GENEROUS)).await.unwrap();
    (endpoint, connection, lasting(addr, after))
}

#[tokio::test]
async fn whoever_had_a_connection_with_a_server_that_was_killed_hears_of_it_with_the_next_packet() {
    let (endpoint, connection, _server) = killed(1, 1).await;
    endpoint.ask();
    let ended = tokio::time::timeout(GENEROUS, connection.closed()).await.unwrap();
    assert_eq!(ended, ConnectionEnd::Reset);
}

#[tokio::test]
async fn somebody_else_at_the_same_address_ends_no_connection() {
    let (endpoint, connection, _server) = killed(1, 2).await;
    endpoint.ask();
    tokio::select! {
        () = connection.unanswered(Duration::from_secs(2)) => {}
        ended = connection.closed() => panic!("{ended}"),
    }
}
