//! Carries the bytes of a TCP flow, under its permit and on the leash of its tunnel.
//!
//! 1. [`carry`] takes a flow's permit: without one there is nothing that moves bytes.
//! 2. Where the permit has a profile, `modbus` reads what is said; otherwise the copy loop passes it on.
//! 3. A half that ends in order is closed in order on the other side, and so are both when the client's connection is lost or the client ends
//!    the tunnel: machines have few slots, and none may stay half open. A reset, and a cut, is a reset on both sides.

use std::sync::Arc;

use tokio::net::TcpStream;

use postern_protocol::policy::{FlowPermit, Reason};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{RecvStream, SendStream, StreamFault};
use postern_transport::splice::{Limits, Meter, SpliceFault, splice};

use super::modbus::{self, GateFault};
use crate::registry::{Leash, Ruling};
use crate::tunnel::ending::{code, exhausted};

/// Carries bytes between client and machine; returns why it ended. The stream is over and the socket closed then. Each request that
/// a profile does not let through is told to `refused`.
pub(in super::super) async fn carry(
    flow: FlowPermit,
    leash: &Arc<Leash>,
    (mut machine, meter): (TcpStream, &Meter),
    (send, recv): (&mut SendStream, &mut RecvStream),
    refused: impl Fn(Reason),
) -> CloseCode {
    let (end, is_read) = (flow.end(), flow.profile().is_some());
    let carrying = async {
        if is_read {
            let asked = modbus::Asked { end, leash, refused };
            modbus::carry(&asked, (&mut machine, meter), (&mut *send, &mut *recv)).await
        } else {
            let ended = splice(machine.split(), (&mut *send, &mut *recv), meter, Limits::NONE).await;
            ended.map_err(GateFault::Splice)
        }
    };
    let ended = tokio::select! {
        // A cut goes before bytes that are ready.
        biased;
        code = ruled(flow, leash, meter) => Err(code),
        ended = carrying => Ok(ended),
    };
    let (code, parting) = match ended {
        Ok(Ok(_finished)) => (CloseCode::Done, Parting::InOrder),
        Ok(Err(GateFault::Splice(fault))) => {
            let is_lost = matches!(fault, SpliceFault::Stream(StreamFault::ConnectionLost(_)));
            let parting = if is_lost { Parting::ClientLeft } else { Parting::Cut };
            (code(Err(fault)).unwrap_or(CloseCode::Done), parting)
        }
        Ok(Err(GateFault::Request(_))) => (CloseCode::Failed(Failure::NotUnderstood), Parting::Cut),
        Ok(Err(GateFault::Answer(_))) => (CloseCode::Failed(Failure::Broken), Parting::Cut),
        // The tunnel notices as well that its client has left, and which of the two is first must make no difference.
        Err(code @ (CloseCode::Done | CloseCode::Failed(Failure::Broken))) => (code, Parting::ClientLeft),
        Err(code) => (code, Parting::Cut),
    };
    if parting == Parting::Cut {
        // What the kernel still holds for the machine is dropped as well: the last byte has left.
        let _already_closed = machine.set_zero_linger();
    }
    if parting != Parting::InOrder {
        send.reset(code.number());
        recv.stop(code.number());
    }
    code
}

/// What the two sides hear of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// Both halves were closed by those who sent.
    InOrder,
    /// The client is gone, or its tunnel is: the machine hears an end in order, and whoever is left of the client a reset.
    ClientLeft,
    /// A reset on both sides.
    Cut,
}

/// Waits until the flow is not permitted any more or reaches a limit; holds the permit of the moment meanwhile.
async fn ruled(mut flow: FlowPermit, leash: &Leash, meter: &Meter) -> CloseCode {
    let is_read = flow.profile().is_some();
    let mut reins = leash.reins();
    loop {
        let ruling = tokio::select! {
            biased;
            ruling = reins.changed() => ruling,
            failure = exhausted(flow.tunnel(), meter) => return CloseCode::Failed(failure),
        };
        match ruling {
            Ruling::Permitted(newer) => match newer.flow(flow.end()) {
                // What is on its way was not read from its beginning.
                Ok(newer) if newer.profile().is_some() && !is_read => {
                    return CloseCode::Denied(Reason::Revoked);
                }
                Ok(newer) => flow = newer,
                Err(refusal) => return CloseCode::Denied(refusal.reason()),
            },
            Ruling::Cut(code) => return code,
        }
    }
}
