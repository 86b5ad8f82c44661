//! The viewer's messages on their way to the machine.
//!
//! 1. A change of the mode goes before input that is ready.
//! 2. A chunk is judged message by message; what passes is written from the chunk itself.
//! 3. A machine that takes nothing does not keep a narrower mode waiting: then the session ends, with the write.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::WriteHalf;
use tokio::sync::watch;

use postern_protocol::gate::rfb::{Action, Outcome};
use postern_protocol::policy::{Mode, Reason};
use postern_protocol::recording::What;
use postern_protocol::wire::registry::CloseCode;
use postern_transport::quic::RecvStream;
use postern_transport::splice::Meter;

use super::recorded::{format, note};
use super::{End, Viewing};
use crate::recordings::Recorder;

impl Viewing {
    /// Judges and forwards the viewer's messages until it leaves or the session ends.
    pub(super) async fn relay(
        &mut self,
        writer: &mut WriteHalf<'_>,
        recv: &mut RecvStream,
        meter: &Meter,
        modes: &mut watch::Receiver<Mode>,
    ) -> End {
        let recorder = self.recorder.clone();
        let recorder = recorder.as_deref();
        let mut way = Way { writer, whole: &mut self.whole, meter, modes, mode: self.gate.mode() };
        loop {
            let passed = tokio::select! {
                biased;
                Ok(()) = way.modes.changed() => {
                    way.mode = *way.modes.borrow_and_update();
                    self.gate.handle_mode(way.mode);
                    match note(recorder, Some(What::Mode(way.mode))) {
                        Ok(()) => way.write(self.gate.poll_to_server().unwrap_or_default()).await,
                        Err(end) => Err(end),
                    }
                }
                chunk = recv.read_chunk(CHUNK_BYTES) => match chunk {
                    Ok(Some(chunk)) => pass(&mut self.gate, &chunk, &mut way, recorder).await,
                    Ok(None) => {
                        self.gate.handle_viewer_closed();
                        Ok(())
                    }
                    Err(fault) => Err(End::Viewer(fault)),
                },
            };
            if let Err(end) = passed {
                return end;
            }
            if matches!(self.gate.outcome(), Outcome::Ended(_)) {
                return End::Gate;
            }
        }
    }
}

async fn pass(
    gate: &mut postern_protocol::gate::rfb::Gate,
    chunk: &Bytes,
    way: &mut Way<'_, '_>,
    recorder: Option<&Recorder>,
) -> Result<(), End> {
    let mut actions = gate.handle_viewer(chunk);
    while let Some(action) = actions.next_action() {
        // What is shown from here on is read by it.
        note(recorder, format(action.format()))?;
        match &action {
            Action::Forward(range) => way.write(chunk.get(range.clone()).unwrap_or_default()).await?,
            Action::Send(bytes) => way.write(bytes).await?,
        }
    }
    Ok(())
}

/// The way to the machine.
struct Way<'a, 'w> {
    writer: &'a mut WriteHalf<'w>,
    whole: &'a mut bool,
    meter: &'a Meter,
    modes: &'a mut watch::Receiver<Mode>,
    /// The mode by which what is written was judged.
    mode: Mode,
}

impl Way<'_, '_> {
    /// Writes whole messages, or ends the session where a narrower mode would have to wait for them.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        *self.whole = false;
        tokio::select! {
            biased;
            written = self.writer.write_all(bytes) => written.map_err(|_| End::Machine)?,
            () = outdated(self.modes.clone(), self.mode) => {
                return Err(End::Cut(CloseCode::Denied(Reason::ViewOnly)));
            }
        }
        *self.whole = true;
        self.meter.count_received(bytes.len());
        Ok(())
    }
}

/// Waits until a narrower mode has been in force for so long that nothing judged by `mode` may go on.
async fn outdated(mut modes: watch::Receiver<Mode>, mode: Mode) {
    if modes.wait_for(|newer| *newer < mode).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(NARROWED_WITHIN).await;
}

/// Bytes taken from the stream at once: one packet, so that little is judged ahead of what the machine takes.
const CHUNK_BYTES: usize = 4 * 1024;
/// How long a machine may take what was judged before the mode became narrower.
const NARROWED_WITHIN: Duration = Duration::from_millis(500);
