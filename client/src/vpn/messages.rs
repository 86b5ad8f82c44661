//! Messages of a UDP or ICMP flow, both ways: as QUIC datagrams, or as frames on the flow's stream where they fit none.

use tokio::sync::mpsc;

use postern_protocol::wire::flow::message::push_frame;
use postern_transport::quic::{RecvStream, SendStream, StreamFault};

use crate::device::{Flow, Line};

/// Whoever takes what a machine sends.
pub(super) trait Taker {
    /// Takes a message; what it cannot take is lost.
    fn take(&self, message: &[u8]) -> impl Future<Output = ()> + Send;
}

/// Carries messages until the device ends the flow or nobody sends any more.
pub(super) async fn carry(flow: Flow, coming: &mut mpsc::Receiver<Vec<u8>>, taker: &impl Taker) {
    // A flow of messages has a line.
    let Flow { mut send, mut recv, line: Some(mut line), .. } = flow else { return };
    tokio::select! {
        _over = frames(&mut recv, taker) => {}
        _over = messages(&mut send, &mut line, coming, taker) => {}
    }
    let _already_over = send.finish();
    recv.stop(0);
}

/// Messages to the machine, as datagrams where they fit one, and datagrams from it.
async fn messages(
    send: &mut SendStream,
    line: &mut Line,
    coming: &mut mpsc::Receiver<Vec<u8>>,
    taker: &impl Taker,
) -> Result<(), StreamFault> {
    loop {
        tokio::select! {
            message = coming.recv() => {
                let Some(message) = message else { return Ok(()) };
                if line.send(&message) {
                    continue;
                }
                let mut frame = Vec::with_capacity(message.len().saturating_add(2));
                // A datagram is never too long for a frame.
                if push_frame(&message, &mut frame).is_ok() {
                    send.write_chunk(frame.into()).await?;
                }
            }
            message = line.next() => taker.take(&message).await,
        }
    }
}

/// Frames from the machine.
async fn frames(recv: &mut RecvStream, taker: &impl Taker) -> Result<(), StreamFault> {
    loop {
        let mut length = [0; 2];
        recv.read_exact(&mut length).await?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        recv.read_exact(&mut message).await?;
        taker.take(&message).await;
    }
}
