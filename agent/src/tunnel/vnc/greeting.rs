//! The handshake: both sides speak to the gate, and the gate to both.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use postern_protocol::gate::rfb::{Action, Outcome};
use postern_protocol::policy::Mode;
use postern_transport::quic::{RecvStream, SendStream};
use postern_transport::splice::Meter;

use super::{End, Viewing};

impl Viewing {
    /// Shakes hands until the session is open.
    pub(super) async fn greet(
        &mut self,
        (reader, writer): (&mut ReadHalf<'_>, &mut WriteHalf<'_>),
        (send, recv): (&mut SendStream, &mut RecvStream),
        meter: &Meter,
        modes: &mut watch::Receiver<Mode>,
    ) -> Result<(), End> {
        // Without the viewer's version there is no place for a word of the machine's fault.
        let mut heard = [0; HEARD_BYTES];
        loop {
            self.say(writer, send, meter).await?;
            match self.gate.outcome() {
                Outcome::Handshake => {}
                Outcome::Open if self.is_noted => return Ok(()),
                Outcome::Open => {
                    self.is_noted = true;
                    return self.note_screen();
                }
                Outcome::Ended(_) => return Err(End::Gate),
            }
            tokio::select! {
                biased;
                // An error means that nobody will ever change it.
                Ok(()) = modes.changed() => self.gate.handle_mode(*modes.borrow_and_update()),
                read = reader.read(&mut heard) => match read.map_err(|_| End::Machine)? {
                    0 => self.gate.handle_server_closed(),
                    read => {
                        let rest = self.gate.handle_server(heard.get(..read).unwrap_or_default());
                        // Only an open session has a rest; it follows what the gate says.
                        if !rest.is_empty() {
                            let rest = rest.to_vec();
                            self.is_noted = true;
                            self.note_screen()?;
                            self.say(writer, send, meter).await?;
                            if let Some(recorder) = &self.recorder {
                                recorder.show(&rest).await?;
                            }
                            send.write_all(&rest).await.map_err(End::Viewer)?;
                            meter.count_sent(rest.len());
                        }
                    }
                },
                chunk = recv.read_chunk(HEARD_BYTES) => match chunk.map_err(End::Viewer)? {
                    None => self.gate.handle_viewer_closed(),
                    Some(chunk) => {
                        let mut actions = self.gate.handle_viewer(&chunk);
                        while let Some(action) = actions.next_action() {
                            let bytes = match &action {
                                Action::Forward(range) => chunk.get(range.clone()).unwrap_or_default(),
                                Action::Send(bytes) => bytes,
                            };
                            writer.write_all(bytes).await.map_err(|_| End::Machine)?;
                            meter.count_received(bytes.len());
                        }
                    }
                },
            }
        }
    }

    /// Sends what the gate has for either side.
    async fn say(
        &mut self,
        writer: &mut WriteHalf<'_>,
        send: &mut SendStream,
        meter: &Meter,
    ) -> Result<(), End> {
        if let Some(bytes) = self.gate.poll_to_viewer() {
            send.write_all(bytes).await.map_err(End::Viewer)?;
            meter.count_sent(bytes.len());
        }
        if let Some(bytes) = self.gate.poll_to_server() {
            self.whole = false;
            writer.write_all(bytes).await.map_err(|_| End::Machine)?;
            self.whole = true;
            meter.count_received(bytes.len());
        }
        Ok(())
    }
}

/// Time for the handshake: nobody types anything in it, and a slow panel answers in seconds.
pub(super) const WITHIN: Duration = Duration::from_secs(30);
/// Bytes read at once: more than any part of a handshake.
const HEARD_BYTES: usize = 512;
