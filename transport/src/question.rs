//! One question to a hub, on a stream of its own.

use std::time::Duration;

use postern_protocol::limits;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};

use crate::framed::{FrameFault, read_frame, write_frame};
use crate::quic::{Connection, StreamFault};

/// Asks, and waits for the answer as long as `within` after the question was sent. Whether it fits the question the caller looks at.
///
/// # Errors
/// [`FrameFault`].
pub async fn ask(hub: &Connection, question: &HubRequest, within: Duration) -> Result<HubAnswer, FrameFault> {
    let (mut send, mut recv) = hub.open_bi().await.map_err(StreamFault::from)?;
    write_frame(&mut send, question, limits::FRAME_BYTES).await?;
    // The hub may have answered and stopped the stream already.
    let _stopped = send.finish();
    read_frame(&mut recv, limits::LIST_FRAME_BYTES, within).await
}
