//! What the device says of a discovery.

use postern_protocol::wire::discovery::DiscoveryNews;
use postern_protocol::wire::tunnel::ANSWER_BYTES;
use postern_transport::framed::read_frame;
use postern_transport::quic::{RecvStream, SendStream};

use super::{ANSWER_WITHIN, DeviceError};

/// The stream of a discovery. Dropping it ends the discovery at the device.
#[derive(Debug)]
pub(crate) struct News {
    /// Open until the last word: its end would be the discovery's.
    _send: SendStream,
    recv: RecvStream,
}

impl News {
    pub(super) const fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { _send: send, recv }
    }

    /// The next word; none follows [`DiscoveryNews::End`].
    ///
    /// # Errors
    /// How it ended, where it ended before that.
    pub(crate) async fn next(&mut self) -> Result<DiscoveryNews, DeviceError> {
        Ok(read_frame(&mut self.recv, ANSWER_BYTES, ANSWER_WITHIN).await?)
    }
}
