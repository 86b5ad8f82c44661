//! `pin`: shows the key that a machine proves at its TLS port, for whoever writes it into the fleet file.
//!
//! 1. The machine is dialled as tunnels dial it: inside the machine networks alone.
//! 2. A first handshake shows the key. A second one, with this key pinned, shows that the machine holds it and that the gate can
//!    speak to the machine at all; otherwise a pin would only be found wrong by the first user.
//!
//! Nothing is kept and nothing is trusted: the pin counts when it comes back in a signed policy.

use std::net::SocketAddr;

use postern_protocol::trust::Digest;
use postern_transport::{MachineStream, MachineTlsFault};

use super::{Trouble, View, print};
use crate::daemon::runtime;
use crate::exit::Exit;
use crate::store;
use crate::store::StoreError;
use crate::tunnel::{Guard, PATIENCE};

pub(super) fn run(view: &View<'_>, target: SocketAddr, host: Option<&str>) -> Result<Exit, Trouble> {
    let hubs = match store::peek(&view.config.state_dir) {
        Ok(boot) => boot.enrollment.hubs,
        // A device is also set up before it belongs to anybody.
        Err(StoreError::NotEnrolled) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let guard = Guard::new(view.config, &hubs);
    let pin = runtime()?.block_on(async {
        match connect(&guard, target, host, &[]).await {
            Err(Trouble::MachineTls(MachineTlsFault::AnotherKey { found })) => {
                connect(&guard, target, host, &[*found.as_bytes()]).await.map(|_stream| found)
            }
            Err(trouble) => Err(trouble),
            // Without a pin nothing is accepted.
            Ok(_stream) => Err(Trouble::MachineTls(MachineTlsFault::Handshake)),
        }
    })?;
    show(view, target, &pin);
    Ok(Exit::Ok)
}

async fn connect(
    guard: &Guard,
    target: SocketAddr,
    host: Option<&str>,
    pins: &[[u8; 32]],
) -> Result<MachineStream, Trouble> {
    let stream = guard.connect(target).await.map_err(|failure| Trouble::Machine { target, failure })?;
    Ok(MachineStream::connect(stream, target.ip(), host, pins, PATIENCE).await?)
}

fn show(view: &View<'_>, target: SocketAddr, pin: &Digest) {
    if view.json {
        view.show_json(&serde_json::json!({ "target": target, "pin": pin }));
    } else {
        print(&format!(
            "{target} proves this key; for its service in the fleet file:\n\ntls = [\"{pin}\"]\n\n\
             compare it with what the machine shows of its certificate (SHA-256 of the public key) before you pin it"
        ));
    }
}
