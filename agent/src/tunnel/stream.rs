//! Carries the bytes of one tunnel, under a permit and on a leash.
//!
//! 1. [`carry`] takes a permit: without one there is nothing that moves bytes.
//! 2. The copy loop runs until both directions have ended, one breaks, a limit is reached or the registry says stop.
//! 3. Whatever ends it early stops both directions first; then the stream is reset with the reason and the socket closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use postern_protocol::policy::Permit;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{ConnectionEnd, RecvStream, SendStream, StreamFault};
use postern_transport::splice::{Limits, Meter, SpliceEnd, SpliceFault, splice};

use crate::recordings::Fulfilled;
use crate::registry::{Admitted, Ruling};

/// Carries bytes between client and machine; returns why it ended. The stream is over and the socket closed then.
pub(super) async fn carry(
    fulfilled: &Fulfilled,
    tunnel: &Admitted,
    mut machine: TcpStream,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> CloseCode {
    let end = copy(Arc::clone(fulfilled.permit()), tunnel, &mut machine, send, recv).await;
    let code = end.unwrap_or(CloseCode::Done);
    if end != Ok(CloseCode::Done) {
        // What the kernel still holds for the machine is dropped as well: the last byte has left.
        let _already_closed = machine.set_zero_linger();
        send.reset(code.number());
        recv.stop(code.number());
    }
    code
}

async fn copy(
    mut permit: Arc<Permit>,
    tunnel: &Admitted,
    machine: &mut TcpStream,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> Result<CloseCode, GaveUp> {
    let mut reins = tunnel.leash.reins();
    let local = machine.split();
    let mut copying = std::pin::pin!(splice(local, (send, recv), &tunnel.meter, Limits::NONE));
    loop {
        tokio::select! {
            // A cut goes before bytes that are ready.
            biased;
            ruling = reins.changed() => match ruling {
                // The limits of the newer permit hold from here.
                Ruling::Permitted(newer) => permit = newer,
                Ruling::Cut(code) => return Ok(code),
            },
            failure = exhausted(&permit, &tunnel.meter) => return Ok(CloseCode::Failed(failure)),
            ended = &mut copying => return code(ended),
        }
    }
}

/// Waits until a limit of the permit is reached.
pub(super) async fn exhausted(permit: &Permit, meter: &Meter) -> Failure {
    let idle = Duration::from_secs(permit.service().idle_s.into());
    let duration = Duration::from_secs(permit.service().duration_s.into());
    loop {
        let (idle_left, left) = (idle.saturating_sub(meter.idle()), duration.saturating_sub(meter.elapsed()));
        if left.is_zero() {
            return Failure::Duration;
        }
        if idle_left.is_zero() {
            return Failure::Idle;
        }
        tokio::time::sleep(left.min(idle_left)).await;
    }
}

/// The client abandoned the tunnel: nothing is wrong here, and what it sent may be incomplete. Its code is not
/// repeated, because it would write a reason into the audit that nobody here gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GaveUp;

fn code(ended: Result<SpliceEnd, SpliceFault>) -> Result<CloseCode, GaveUp> {
    Ok(match ended {
        Ok(SpliceEnd::Finished) => CloseCode::Done,
        Ok(SpliceEnd::Idle) => CloseCode::Failed(Failure::Idle),
        Ok(SpliceEnd::Duration) => CloseCode::Failed(Failure::Duration),
        Err(SpliceFault::Local(_)) => CloseCode::Failed(Failure::Broken),
        Err(SpliceFault::Stream(
            StreamFault::Reset(_)
            | StreamFault::Stopped(_)
            | StreamFault::ConnectionLost(ConnectionEnd::ClosedByPeer { .. }),
        )) => return Err(GaveUp),
        Err(SpliceFault::Stream(
            StreamFault::ConnectionLost(_) | StreamFault::Ended { .. } | StreamFault::Closed,
        )) => CloseCode::Failed(Failure::Broken),
    })
}
