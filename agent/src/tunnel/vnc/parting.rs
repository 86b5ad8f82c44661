//! The end of a session. Nothing is forwarded any more when it begins.
//!
//! 1. The client is told with a code, unless the viewer can still be told with words.
//! 2. What the viewer held down is released at the machine, if that has got whole messages so far: a jog button must not
//!    stay pressed because somebody lost the right to press it. Then the machine's socket is closed.
//! 3. During the handshake the viewer reads the reason, and the client gets the code behind it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use postern_protocol::gate::rfb::Gate;
use postern_protocol::wire::registry::CloseCode;
use postern_transport::quic::{RecvStream, SendStream, StreamFault};

use super::{End, Viewing};

impl Viewing {
    /// Parts with both sides and returns the code for the trail.
    pub(super) async fn part(
        &mut self,
        end: End,
        machine: TcpStream,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> CloseCode {
        let (code, open) = (end.code(&self.gate), self.is_open());
        if open && code != CloseCode::Done {
            send.reset(code.number());
            recv.stop(code.number());
        }
        match end {
            End::Gate => {}
            // Keys are released, and nobody is there who could be told.
            End::Viewer(_) => self.gate.handle_viewer_closed(),
            End::Machine | End::Cut(_) | End::NoSecret(_) => self.gate.handle_cut(end.words(code)),
        }
        let left = self.gate.poll_to_server().filter(|_| self.whole);
        leave(machine, left.unwrap_or_default(), open && code == CloseCode::Done).await;
        if !open {
            let told = tokio::time::timeout(TOLD_WITHIN, tell(&mut self.gate, send, recv, code)).await;
            if !matches!(told, Ok(Ok(()))) {
                send.reset(code.number());
                recv.stop(code.number());
            }
        }
        code
    }
}

/// Closes the machine's socket: in order where there is a last word or nothing is wrong, at once otherwise. Either way
/// nothing that it has not taken by then is sent any more.
async fn leave(mut machine: TcpStream, last: &[u8], in_order: bool) {
    if in_order || !last.is_empty() {
        let _late = tokio::time::timeout(LEFT_WITHIN, async {
            machine.write_all(last).await?;
            machine.shutdown().await?;
            // A socket with unread bytes is reset when it is closed, and some systems then forget what they have got.
            let mut rest = [0; 512];
            while machine.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        })
        .await;
    }
    let _already_closed = machine.set_zero_linger();
}

/// Tells the viewer why, as soon as it has sent what must come first.
async fn tell(
    gate: &mut Gate,
    send: &mut SendStream,
    recv: &mut RecvStream,
    code: CloseCode,
) -> Result<(), StreamFault> {
    loop {
        if let Some(bytes) = gate.poll_to_viewer() {
            send.write_all(bytes).await?;
        }
        if !gate.owes_reason() {
            break;
        }
        match recv.read_chunk(HEARD_BYTES).await? {
            Some(chunk) => {
                let mut actions = gate.handle_viewer(&chunk);
                while actions.next_action().is_some() {}
            }
            None => break,
        }
    }
    // The client learns the code from this, and goes on reading: a reset of the other direction would overtake the words.
    recv.stop(code.number());
    send.finish()?;
    let _delivered = send.stopped().await;
    Ok(())
}

/// Time for the machine to take the last releases and to close.
const LEFT_WITHIN: Duration = Duration::from_millis(500);
/// Time for the viewer to come to the point where it can be told.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// Bytes read at once.
const HEARD_BYTES: usize = 512;
