//! How a tunnel's bytes end: at a limit of its permit, or with its stream.

use std::time::Duration;

use postern_protocol::policy::Permit;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{ConnectionEnd, StreamFault};
use postern_transport::splice::{Meter, SpliceEnd, SpliceFault};

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
pub(super) struct GaveUp;

/// What the end of a copy means for the other side.
pub(super) fn code(ended: Result<SpliceEnd, SpliceFault>) -> Result<CloseCode, GaveUp> {
    Ok(match ended {
        Ok(SpliceEnd::Finished) => CloseCode::Done,
        Ok(SpliceEnd::Idle) => CloseCode::Failed(Failure::Idle),
        Ok(SpliceEnd::Duration) => CloseCode::Failed(Failure::Duration),
        Err(SpliceFault::Local(_)) => CloseCode::Failed(Failure::Broken),
        Err(SpliceFault::Stream(fault)) => return broken(fault),
    })
}

/// What a stream that is over means for the other side.
pub(super) fn broken(fault: StreamFault) -> Result<CloseCode, GaveUp> {
    match fault {
        StreamFault::Reset(_)
        | StreamFault::Stopped(_)
        | StreamFault::ConnectionLost(ConnectionEnd::ClosedByPeer { .. }) => Err(GaveUp),
        StreamFault::ConnectionLost(_) | StreamFault::Ended { .. } | StreamFault::Closed => {
            Ok(CloseCode::Failed(Failure::Broken))
        }
    }
}
