//! Carries the messages of a UDP or ICMP flow.
//!
//! 1. A [`Mouth`] says a message to the machine: it is made with a permit and holds it.
//! 2. Messages come as datagrams, over [`Lines`], and in frames on the flow's stream.
//! 3. What the machine says goes as a datagram where it fits one, otherwise in a frame. The socket is connected: the kernel lets
//!    nothing through but what comes from the flow's own address and port.
//! 4. The flow ends with its stream, after a while without a message, when the machine says that nobody listens, or when it
//!    is not permitted any more.
//!
//! A message that cannot be said now is dropped, as on any narrow way: whoever uses UDP expects that.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use postern_protocol::gate::flow::echo::Echoes;
use postern_protocol::policy::{FlowPermit, Protocol};
use postern_protocol::wire::flow::FlowId;
use postern_protocol::wire::flow::message::{Echo, begin_datagram, push_frame};
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_transport::quic::{Connection, RecvStream, SendStream, StreamFault};
use postern_transport::splice::Meter;

use super::lines::{self, Lines};
use crate::registry::{Reins, Ruling};
use crate::tunnel::ending::broken;

/// What speaks to a machine, under a permit.
#[derive(Debug)]
pub(super) struct Mouth {
    /// Without one there is no mouth.
    flow: FlowPermit,
    ear: Arc<Ear>,
}

/// The socket to a machine, and what is needed to understand it.
#[derive(Debug)]
pub(super) struct Ear {
    socket: UdpSocket,
    meter: Meter,
    /// For ICMP.
    echoes: Option<Mutex<Echoes>>,
}

impl Mouth {
    const fn new(flow: FlowPermit, ear: Arc<Ear>) -> Self {
        Self { flow, ear }
    }

    /// Says one message of the client to the machine, or drops it.
    pub(super) fn say(&self, message: &[u8]) {
        let Ear { socket, meter, echoes } = &*self.ear;
        let said = match echoes {
            None => socket.try_send(message),
            Some(echoes) => {
                let Ok(echo) = Echo::parse(message) else { return };
                let packet = echoes.lock().unwrap_or_else(PoisonError::into_inner).request(&echo);
                socket.try_send(&packet)
            }
        };
        if said.is_ok() {
            meter.count_received(message.len());
        }
    }
}

impl Ear {
    /// Around the socket of a flow.
    pub(super) fn new(flow: &FlowPermit, socket: UdpSocket, meter: Meter) -> Self {
        let end = flow.end();
        let echoes = (end.protocol == Protocol::Icmp).then(|| Mutex::new(Echoes::new(end.ip.is_ipv4())));
        Self { socket, meter, echoes }
    }

    /// What has passed.
    pub(super) const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// What the network has said about the messages so far; none, where somebody else has heard it.
    fn trouble(&self) -> Option<Failure> {
        let said = self.socket.try_io(Interest::ERROR, || match self.socket.take_error()? {
            Some(error) => Ok(failure(&error)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        said.ok()
    }

    /// Appends what the client hears of a packet. False where it hears nothing.
    fn understand(&self, packet: &[u8], heard: &mut Vec<u8>) -> bool {
        let Some(echoes) = &self.echoes else {
            heard.extend_from_slice(packet);
            return true;
        };
        let mut echoes = echoes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(echo) = echoes.answer(packet) else { return false };
        heard.extend(echo.message());
        true
    }
}

/// Carries messages until the flow is over; returns why it is.
pub(super) async fn carry(
    flow: FlowPermit,
    (ear, idle): (&Arc<Ear>, Duration),
    reins: Reins,
    (connection, lines): (&Connection, &Lines),
    (send, recv): (&mut SendStream, &mut RecvStream),
) -> CloseCode {
    let id = send.index();
    let mouth = Mutex::new(Arc::new(Mouth::new(flow, Arc::clone(ear))));
    tokio::select! {
        biased;
        code = ruled(reins, (&mouth, id), ear, lines) => code,
        code = from_stream(recv, &mouth) => code,
        code = from_machine(ear, (connection, id), send) => code,
        () = silent(ear.meter(), idle) => CloseCode::Failed(Failure::Idle),
    }
}

/// Takes datagrams under the permit of the moment, until there is none.
async fn ruled(
    mut reins: Reins,
    (mouth, id): (&Mutex<Arc<Mouth>>, FlowId),
    ear: &Arc<Ear>,
    lines: &Lines,
) -> CloseCode {
    let present = || Arc::clone(&mouth.lock().unwrap_or_else(PoisonError::into_inner));
    let line = lines.line(id, lines::Mouth::Machine(present()));
    let end = present().flow.end();
    loop {
        match reins.changed().await {
            Ruling::Permitted(newer) => match newer.flow(end) {
                Ok(flow) => {
                    let newest = Arc::new(Mouth::new(flow, Arc::clone(ear)));
                    *mouth.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&newest);
                    line.replace(lines::Mouth::Machine(newest));
                }
                Err(refusal) => return CloseCode::Denied(refusal.reason()),
            },
            Ruling::Cut(code) => return code,
        }
    }
}

/// Messages that the client sends in frames.
async fn from_stream(recv: &mut RecvStream, mouth: &Mutex<Arc<Mouth>>) -> CloseCode {
    loop {
        let message = match frame(recv).await {
            Ok(message) => message,
            // In order, between two frames.
            Err(StreamFault::Ended { found: 0, expected: 2 }) => return CloseCode::Done,
            Err(StreamFault::Ended { .. }) => return CloseCode::Fault(ProtocolFault::Malformed),
            Err(fault) => return broken(fault).unwrap_or(CloseCode::Done),
        };
        let mouth = Arc::clone(&mouth.lock().unwrap_or_else(PoisonError::into_inner));
        mouth.say(&message);
    }
}

/// The next message on a stream.
pub(super) async fn frame(recv: &mut RecvStream) -> Result<Vec<u8>, StreamFault> {
    let mut length = [0; 2];
    recv.read_exact(&mut length).await?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    recv.read_exact(&mut message).await?;
    Ok(message)
}

/// What the machine says.
async fn from_machine(
    ear: &Ear,
    (connection, id): (&Connection, FlowId),
    send: &mut SendStream,
) -> CloseCode {
    loop {
        // Held only while there is something to read: most flows are silent most of the time.
        let mut packet = match ear.socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if ready.is_error() => match ear.trouble() {
                Some(failure) => return CloseCode::Failed(failure),
                None => continue,
            },
            Ok(_readable) => Vec::with_capacity(LARGEST),
            Err(_) => return CloseCode::Failed(Failure::Broken),
        };
        loop {
            packet.clear();
            match ear.socket.try_recv_buf(&mut packet) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return CloseCode::Failed(failure(&error)),
            }
            if let Err(fault) = hear(ear, &packet, (connection, id), send).await {
                return broken(fault).unwrap_or(CloseCode::Done);
            }
        }
    }
}

/// What a refused message means.
fn failure(error: &io::Error) -> Failure {
    // A port at which nobody listens (RFC 1122, section 4.1.3.3).
    if error.kind() == io::ErrorKind::ConnectionRefused { Failure::Refused } else { Failure::Unreachable }
}

/// Sends one packet of the machine to the client.
async fn hear(
    ear: &Ear,
    packet: &[u8],
    (connection, id): (&Connection, FlowId),
    send: &mut SendStream,
) -> Result<(), StreamFault> {
    let mut datagram = Vec::with_capacity(packet.len().saturating_add(8));
    begin_datagram(id, &mut datagram);
    let head = datagram.len();
    if !ear.understand(packet, &mut datagram) {
        return Ok(());
    }
    let bytes = datagram.len().saturating_sub(head);
    let datagram = bytes::Bytes::from(datagram);
    if !connection.send_datagram(datagram.clone()) {
        let mut framed = Vec::with_capacity(bytes.saturating_add(2));
        if push_frame(datagram.get(head..).unwrap_or_default(), &mut framed).is_ok() {
            send.write_chunk(framed.into()).await?;
        }
    }
    ear.meter.count_sent(bytes);
    Ok(())
}

/// Waits until no message has come for so long.
async fn silent(meter: &Meter, longest: Duration) {
    loop {
        let left = longest.saturating_sub(meter.idle());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// The largest payload of a UDP datagram.
const LARGEST: usize = 65_536;
