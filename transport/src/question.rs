//! One question to a hub, on a stream of its own, with a body behind it where it has one.

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

/// As [`ask`], with a body behind the question; `within` counts from when all of it was taken.
///
/// # Errors
/// [`FrameFault`], among them that the body has more than [`limits::BODY_BYTES`] as a frame.
pub async fn ask_with(
    hub: &Connection,
    question: &HubRequest,
    body: &[u8],
    within: Duration,
) -> Result<HubAnswer, FrameFault> {
    let (mut send, mut recv) = hub.open_bi().await.map_err(StreamFault::from)?;
    write_frame(&mut send, question, limits::FRAME_BYTES).await?;
    match write_frame(&mut send, &body, limits::BODY_BYTES).await {
        // A hub that refuses the question stops the stream, and its answer says why.
        Ok(()) | Err(FrameFault::Stream(StreamFault::Stopped(_))) => {}
        Err(fault) => return Err(fault),
    }
    let _stopped = send.finish();
    read_frame(&mut recv, limits::LIST_FRAME_BYTES, within).await
}
