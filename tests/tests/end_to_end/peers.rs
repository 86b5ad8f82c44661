//! Software of others at both ends: what they see through the gate is what they see without it, and nothing more.
//!
//! [`web`] is nginx with curl, Chromium and Python's `websockets`; [`browser`] is Chromium as an engineer uses it, and as a
//! hostile page would; [`readings`] are requests that two programs could understand in two ways; [`screen`] is VNC: servers and viewers
//! of others, and what arrives at the machine; [`schemathesis`] asks the administration API whatever its own document allows.
//!
//! A missing program skips its test with a line that says so, or fails it when `POSTERN_REQUIRE_PEERS` is 1, as in CI.

use std::net::SocketAddr;
use std::path::PathBuf;

use postern_tests::world::probe::within;
use postern_tests::world::{Fleet, Mishap, Session, World};
use tokio::net::TcpStream;

use super::stage::{LAB, Outcome};

pub(super) mod browser;
pub(super) mod chromium;
pub(crate) mod glewlwyd;
mod readings;
mod schemathesis;
mod screen;
pub(crate) mod vpn;
mod web;

/// A world in which Anna may use the service `peer` and Bert may not, with Anna's session.
async fn behind_the_gate(kind: &str, target: SocketAddr) -> Result<(World, Session), Mishap> {
    let fleet = Fleet::new().service("peer", kind, target).allow("anna", &["peer"]).allow("bert", &[]);
    let fleet = fleet.service("other", kind, target).allow("bert", &["other"]);
    let world = World::start(LAB, &fleet).await?;
    let session = world.person("anna").await?.connect("peer").await?;
    Ok((world, session))
}

/// Programs in the `PATH`, all or nothing.
pub(crate) fn programs<const N: usize>(test: &str, names: [&str; N]) -> Option<[PathBuf; N]> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let find = |name: &str| places.iter().map(|place| place.join(name)).find(|file| file.is_file());
    let found = names.map(find);
    match names.iter().zip(&found).find(|(_, file)| file.is_none()) {
        Some((name, _)) => {
            missing(test, &format!("the program `{name}`"));
            None
        }
        None => Some(found.map(Option::unwrap)),
    }
}

/// Says why a test does not run, or fails it where everything must be there.
pub(crate) fn missing(test: &str, what: &str) {
    assert_ne!(std::env::var("POSTERN_REQUIRE_PEERS").as_deref(), Ok("1"), "{what} is missing");
    println!("SKIPPED {test}: {what} is missing");
}

/// A TCP port that is free now. Programs of others take no socket, so there is a small gap.
async fn free_tcp_port() -> Result<SocketAddr, Mishap> {
    Ok(tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

/// Waits until something accepts connections.
async fn answers(address: SocketAddr) -> Outcome {
    within("a listener of a peer", async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await
}
