//! What is recorded of a session: everything that the viewer sees, handed over before it does.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::ReadHalf;

use postern_protocol::gate::rfb::PixelFormat;
use postern_protocol::recording::{EVENT_BYTES, What};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{SendStream, StreamFault};
use postern_transport::splice::{Meter, SpliceFault, forward_local};

use super::{End, Viewing};
use crate::recordings::{Lost, Recorder};

/// Without a recording there is no session.
pub(super) const UNRECORDED: End = End::Cut(CloseCode::Failed(Failure::Recording));

/// Waits until the recording cannot go on; for ever where there is none.
pub(super) async fn lost(recorder: Option<&Arc<Recorder>>) {
    match recorder {
        Some(recorder) => recorder.lost().await,
        None => std::future::pending().await,
    }
}

/// Copies the machine's bytes to the viewer, by way of the recording if there is one.
pub(super) async fn forward(
    reader: &mut ReadHalf<'_>,
    send: &mut SendStream,
    meter: &Meter,
    recorder: Option<&Recorder>,
) -> Result<(), End> {
    let Some(recorder) = recorder else {
        return forward_local(reader, send, meter).await.map_err(|fault| match fault {
            SpliceFault::Local(_) => End::Machine,
            SpliceFault::Stream(fault) => End::Viewer(fault),
        });
    };
    let mut stopped = std::pin::pin!(send.stopped());
    loop {
        let mut buffer = BytesMut::with_capacity(EVENT_BYTES);
        tokio::select! {
            read = reader.read_buf(&mut buffer) => read.map_err(|_| End::Machine)?,
            ended = &mut stopped => return Err(End::Viewer(match ended {
                Ok(code) => StreamFault::Stopped(code.unwrap_or_default()),
                Err(end) => end.into(),
            })),
        };
        if buffer.is_empty() {
            send.finish().map_err(End::Viewer)?;
            return Ok(());
        }
        recorder.show(&buffer).await?;
        send.write_all(&buffer).await.map_err(End::Viewer)?;
        meter.count_sent(buffer.len());
    }
}

impl Viewing {
    /// Records the screen as the session begins, and what the viewer asked for before its turn.
    pub(super) fn note_screen(&self) -> Result<(), End> {
        let Some(recorder) = self.recorder.as_deref() else { return Ok(()) };
        note(Some(recorder), self.gate.screen().cloned().map(What::Screen))?;
        note(Some(recorder), format(self.gate.early_format()))?;
        note(Some(recorder), Some(What::Mode(self.gate.mode())))
    }
}

/// Records something that happened beside what is shown.
pub(super) fn note(recorder: Option<&Recorder>, what: Option<What>) -> Result<(), End> {
    match (recorder, what) {
        (Some(recorder), Some(what)) => Ok(recorder.note(what)?),
        (Some(_) | None, _) => Ok(()),
    }
}

/// A change of the pixel format, as an event; one that no picture has is none.
pub(super) fn format(bytes: Option<[u8; 16]>) -> Option<What> {
    PixelFormat::read(bytes?).ok().map(What::Format)
}

impl From<Lost> for End {
    fn from(Lost: Lost) -> Self {
        UNRECORDED
    }
}
