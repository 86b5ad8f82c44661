//! One probe of a scan: a flow that carries nothing.
//!
//! 1. Decide it by the permit of this moment, guard and dial it, as every flow.
//! 2. A TCP connection is ended with a FIN before a byte was sent: controllers have few slots, and none may stay half open. What the
//!    machine says first is read and dropped, because unread it would turn the end into a reset.
//! 3. ICMP is one empty echo.
//!
//! Its place is held until it is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use postern_protocol::audit::FlowFate;
use postern_protocol::gate::discovery::{Heard, WITHIN_MS};
use postern_protocol::gate::flow::echo::Echoes;
use postern_protocol::policy::{FlowEnd, FlowPermit, Protocol};
use postern_protocol::wire::flow::message::Echo;
use postern_protocol::wire::registry::Failure;

use crate::tunnel::vpn::Vpn;
use crate::tunnel::vpn::places::Place;
use crate::tunnel::{Context, Guard};

/// Asks once; what was heard, and what the trail has of it.
pub(super) async fn run(
    context: Arc<Context>,
    vpn: Arc<Vpn>,
    _place: Place,
    end: FlowEnd,
) -> (FlowEnd, Heard, FlowFate) {
    let Some(permit) = vpn.permit() else {
        return (end, Heard::Denied, FlowFate::Failed(Failure::Ended));
    };
    let flow = match permit.flow(end) {
        Ok(flow) => flow,
        Err(refusal) => return (end, Heard::Denied, FlowFate::Denied(refusal.reason())),
    };
    let asked = match end.protocol {
        Protocol::Tcp => knock(&context.guard, &flow).await,
        Protocol::Icmp => call(&context.guard, &flow).await,
        Protocol::Udp => Err(Failure::Unsupported),
    };
    match asked {
        Ok(()) => (end, Heard::Open, FlowFate::Probed),
        Err(failure) => (end, heard(failure), FlowFate::Failed(failure)),
    }
}

async fn knock(guard: &Guard, flow: &FlowPermit) -> Result<(), Failure> {
    let dialled = tokio::time::timeout(WITHIN, guard.dial_flow(flow)).await;
    let machine = dialled.map_err(|_late| Failure::Timeout)??;
    let _in_time = tokio::time::timeout(WITHIN, hang_up(machine)).await;
    Ok(())
}

/// Ends a connection in order.
async fn hang_up(mut machine: TcpStream) {
    let mut dropped = [0; 512];
    if machine.shutdown().await.is_ok() {
        for _ in 0..DROPPED {
            if !matches!(machine.read(&mut dropped).await, Ok(1..)) {
                return;
            }
        }
    }
}

async fn call(guard: &Guard, flow: &FlowPermit) -> Result<(), Failure> {
    let socket = guard.message_socket(flow)?;
    let mut echoes = Echoes::new(flow.end().ip.is_ipv4());
    let request = echoes.request(&Echo { identifier: 0, sequence: 0, data: &[] });
    socket.send(&request).await.map_err(|_| Failure::Unreachable)?;
    let answered = tokio::time::timeout(WITHIN, answer(&socket, &mut echoes)).await;
    answered.map_err(|_late| Failure::Timeout)?
}

async fn answer(socket: &UdpSocket, echoes: &mut Echoes) -> Result<(), Failure> {
    let mut packet = [0; 512];
    loop {
        let length = socket.recv(&mut packet).await.map_err(|_| Failure::Unreachable)?;
        if packet.get(..length).is_some_and(|packet| echoes.answer(packet).is_some()) {
            return Ok(());
        }
    }
}

fn heard(failure: Failure) -> Heard {
    if failure == Failure::Refused {
        Heard::Closed
    } else if failure == Failure::Forbidden {
        Heard::Forbidden
    } else if failure == Failure::Unsupported {
        Heard::Unable
    } else {
        Heard::Silent
    }
}

const WITHIN: Duration = Duration::from_millis(WITHIN_MS);
/// Reads after which a machine that talks on is left talking.
const DROPPED: usize = 32;
