//! One flow: a local connection, joined to a stream of the device.
//!
//! 1. Each direction ends by itself, and the end is passed on.
//! 2. A flow that the machine resets, or that the device cuts, resets the local connection: the program must not take what
//!    it has got for all there was.
//! 3. Why it was cut is said, unless the whole tunnel was, or the connection to the device is gone: that is said elsewhere, once.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use postern_protocol::wire::registry::CloseCode;
use postern_transport::quic::StreamFault;

use super::tunnel::Vpn;
use crate::connect::callers::{Noted, Seat};
use crate::connect::carry::{Cut, join};
use crate::device::Flow;
use crate::ending::Ending;
use crate::exit::Exit;
use crate::problem::Problem;

/// Why a flow was cut.
#[derive(Debug)]
pub(super) struct CutShort {
    /// Why.
    pub(super) problem: Problem,
    /// Whether it is said elsewhere as well: of the tunnel, or of the connection.
    pub(super) said: bool,
}

/// Carries a local connection to its end; `early` was read from it before. Its program is not silent any more when something has passed,
/// either way: there are machines that are only listened to.
///
/// # Errors
/// [`CutShort`].
pub(super) async fn local_socket(
    (mut socket, seat): (TcpStream, Seat),
    early: Vec<u8>,
    (vpn, flow): (&Vpn, Flow),
) -> Result<(), CutShort> {
    // Ping-pong protocols lose 40 ms per turn to Nagle; a socket that refuses the option still works.
    let _kept = socket.set_nodelay(true);
    let (reader, writer) = socket.split();
    let (reader, writer) = (Noted::new(reader, seat.word().clone()), Noted::new(writer, seat.word().clone()));
    match join(early.as_slice().chain(reader), writer, flow.send, flow.recv).await {
        Ok(()) => Ok(()),
        Err(cut) => {
            if !cut.complete {
                let _already_closed = socket.set_zero_linger();
            }
            drop(socket);
            why(vpn, cut).await
        }
    }
}

/// Carries standard input and output.
///
/// # Errors
/// Why it was cut.
pub(super) async fn standard_streams(flow: Flow) -> Result<(), Problem> {
    match join(tokio::io::stdin(), tokio::io::stdout(), flow.send, flow.recv).await {
        Ok(()) => Ok(()),
        Err(cut) => Err(problem(&cut.fault.into())),
    }
}

/// What the person hears of a cut.
pub(super) async fn why(vpn: &Vpn, cut: Cut) -> Result<(), CutShort> {
    let ending = match cut.fault {
        StreamFault::ConnectionLost(end) => {
            return Err(CutShort { problem: problem(&end.into()), said: true });
        }
        fault @ (StreamFault::Reset(_)
        | StreamFault::Stopped(_)
        | StreamFault::Ended { .. }
        | StreamFault::Closed) => fault.into(),
    };
    // As the machine's own reset, of which the program hears.
    if ending == Ending::Said(CloseCode::Done) {
        return Ok(());
    }
    // The tunnel's own stream may end a moment later.
    let said = tokio::time::timeout(TUNNEL_ENDS, vpn.over()).await.is_ok();
    Err(CutShort { problem: problem(&ending), said })
}

fn problem(ending: &Ending) -> Problem {
    Problem::ended(ending, Exit::DeviceUnreachable)
}

const TUNNEL_ENDS: Duration = Duration::from_millis(200);
