//! The messages that a viewer sends (RFC 6143 section 7.5), read with a bound on each.
//!
//! 1. One byte names the message.
//! 2. Messages of fixed size are read whole, into arrays.
//! 3. Lists and texts, whose length the client chooses, are skipped in small pieces and never stored.
//!
//! Deliberately absent: the list of encodings. The panel sends Raw, which every viewer accepts without offering it.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::super::rfb::{PixelFault, PixelFormat, Rect, VersionFault};

/// Something that a viewer asked for or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Changes how colours are sent from now on.
    SetPixelFormat(PixelFormat),
    /// Lists encodings; the list is skipped.
    SetEncodings,
    /// Asks for a part of the picture.
    UpdateRequest {
        /// Whether only changes are wanted.
        incremental: bool,
        /// The part.
        region: Rect,
    },
    /// A key went down or up.
    Key {
        /// Whether it went down.
        down: bool,
    },
    /// The pointer moved, or a button changed.
    Pointer {
        /// One bit for each button that is down; bit 0 is the left one.
        buttons: u8,
        /// Place of the pointer.
        x: u16,
        /// Place of the pointer.
        y: u16,
    },
    /// A text was put on the clipboard; it is skipped.
    CutText,
}

impl Message {
    /// Reads the next message; `None` when the viewer closed the connection between two messages.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Self>, ClientFault> {
        let kind = match from.read_u8().await {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let message = match kind {
            0 => {
                let [_, _, _, format @ ..] = read_array::<19>(from).await?;
                Self::SetPixelFormat(PixelFormat::from_bytes(format)?)
            }
            2 => {
                let [_, c1, c0] = read_array::<3>(from).await?;
                skip(from, u32::from(u16::from_be_bytes([c1, c0])) * 4).await?;
                Self::SetEncodings
            }
            3 => {
                let [incremental, region @ ..] = read_array::<9>(from).await?;
                Self::UpdateRequest { incremental: incremental != 0, region: Rect::from_bytes(region) }
            }
            4 => {
                let [down, ..] = read_array::<7>(from).await?;
                Self::Key { down: down != 0 }
            }
            5 => {
                let [buttons, x1, x0, y1, y0] = read_array::<5>(from).await?;
                Self::Pointer { buttons, x: u16::from_be_bytes([x1, x0]), y: u16::from_be_bytes([y1, y0]) }
            }
            6 => {
                let [_, _, _, length @ ..] = read_array::<7>(from).await?;
                let length = u32::from_be_bytes(length);
                if length > CUT_TEXT_MAX {
                    return Err(ClientFault::CutText { seen: length });
                }
                skip(from, length).await?;
                Self::CutText
            }
            seen => return Err(ClientFault::Kind { seen }),
        };
        Ok(Some(message))
    }
}

/// Reads exactly `N` bytes.
pub(crate) async fn read_array<const N: usize>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn skip(from: &mut (impl AsyncRead + Unpin), length: u32) -> io::Result<()> {
    let mut piece = [0; 256];
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    while left > 0 {
        let part = left.min(piece.len());
        if let Some(part) = piece.get_mut(..part) {
            from.read_exact(part).await?;
        }
        left -= part;
    }
    Ok(())
}

/// Why a viewer was disconnected.
#[derive(Debug, Error)]
pub(crate) enum ClientFault {
    /// The connection broke, also in the middle of a message.
    #[error("viewer connection failed")]
    Io(#[from] io::Error),
    /// The greeting is wrong.
    #[error(transparent)]
    Version(#[from] VersionFault),
    /// The handshake took too long.
    #[error("no handshake within {} s", super::HANDSHAKE_WITHIN.as_secs())]
    Slow,
    /// The viewer picked a security type that was not offered.
    #[error("security type {seen}, expected 1 (None)")]
    Security {
        /// The viewer's choice.
        seen: u8,
    },
    /// The pixel format cannot be drawn.
    #[error(transparent)]
    Pixel(#[from] PixelFault),
    /// The message number is unknown, so its length is, too.
    #[error("message {seen}, expected 0 or 2 to 6")]
    Kind {
        /// The number.
        seen: u8,
    },
    /// The clipboard text is too long.
    #[error("clipboard text of {seen} bytes, expected at most {CUT_TEXT_MAX}")]
    CutText {
        /// Its length in bytes.
        seen: u32,
    },
}

/// Longest clipboard text that is skipped, in bytes.
const CUT_TEXT_MAX: u32 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> String {
        match Message::read(&mut bytes).await {
            Ok(message) => format!("{message:?}, {} left", bytes.len()),
            Err(fault) => fault.to_string(),
        }
    }

    #[tokio::test]
    async fn each_message_is_read_to_its_end_and_no_further() {
        let request = [3, 1, 0, 1, 0, 2, 0, 3, 0, 4, 99];
        let mut rest = request.as_slice();
        let region = Rect { x: 1, y: 2, width: 3, height: 4 };
        let read_request = Message::read(&mut rest).await.unwrap();
        assert_eq!(read_request, Some(Message::UpdateRequest { incremental: true, region }));
        assert_eq!(rest, [99]);
        assert_eq!(read(&[4, 1, 0, 0, 0, 0, 0xff, 0x0d, 9]).await, "Some(Key { down: true }), 1 left");
        let pointer = read(&[5, 1, 1, 0, 0, 7]).await;
        assert_eq!(pointer, "Some(Pointer { buttons: 1, x: 256, y: 7 }), 0 left");
        assert_eq!(read(&[2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 9]).await, "Some(SetEncodings), 1 left");
        assert_eq!(read(&[6, 0, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c', 9]).await, "Some(CutText), 1 left");
    }

    #[tokio::test]
    async fn the_end_between_messages_is_no_fault_and_inside_one_is() {
        assert_eq!(read(&[]).await, "None, 0 left");
        assert_eq!(read(&[5, 1]).await, "viewer connection failed");
    }

    #[tokio::test]
    async fn unknown_messages_and_long_texts_are_named_faults() {
        assert_eq!(read(&[1]).await, "message 1, expected 0 or 2 to 6");
        assert_eq!(
            read(&[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).await,
            "clipboard text of 4294967295 bytes, expected at most 262144"
        );
    }

    #[tokio::test]
    async fn a_colour_map_is_refused() {
        let mut bytes = vec![0, 0, 0, 0];
        bytes.extend_from_slice(&PixelFormat::BGR233.to_bytes());
        bytes[7] = 0;
        assert_eq!(read(&bytes).await, "pixel format with a colour map, expected true colour");
    }
}
