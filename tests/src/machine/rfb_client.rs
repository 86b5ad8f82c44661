//! A small viewer for tests: speaks the remote framebuffer protocol over any byte stream and keeps the picture.
//!
//! 1. [`RfbClient::connect`] shakes hands with security type None and asks for 32-bit true colour.
//! 2. [`RfbClient::snapshot`] asks for everything and returns when every pixel has arrived.
//! 3. [`RfbClient::next_change`] waits for the next incremental update.
//! 4. Clicks and keys are sent as a person's viewer would.
//!
//! Deliberately absent: passwords and encodings but Raw. Servers must offer Raw, and tests want exact pixels.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::rfb::{ENCODING_RAW, PixelFormat, Rect, SECURITY_NONE, Version, VersionFault};

/// A connected viewer.
#[derive(Debug)]
pub struct RfbClient<S> {
    stream: S,
    name: String,
    picture: Picture,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RfbClient<S> {
    /// Connects with the newest version that the server speaks.
    ///
    /// # Errors
    /// When the server offers no security type None, breaks the protocol or closes the connection.
    pub async fn connect(stream: S) -> Result<Self, RfbFault> {
        Self::connect_as(stream, Version::V3_8).await
    }

    /// Connects with at most this version.
    ///
    /// # Errors
    /// As [`RfbClient::connect`].
    pub async fn connect_as(mut stream: S, newest: Version) -> Result<Self, RfbFault> {
        let offered = Version::from_bytes(array(&mut stream).await?)?;
        let version = offered.min(newest);
        stream.write_all(&version.to_bytes()).await?;
        agree_on_security(&mut stream, version).await?;
        stream.write_all(&[1]).await?;
        let [w1, w0, h1, h0] = array(&mut stream).await?;
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if usize::from(width) * usize::from(height) > PIXELS_MAX {
            return Err(RfbFault::Size { width, height });
        }
        let _servers_own_format: [u8; 16] = array(&mut stream).await?;
        let name = text(&mut stream).await?;
        let mut setup = vec![0, 0, 0, 0];
        setup.extend_from_slice(&FORMAT.to_bytes());
        setup.extend_from_slice(&[2, 0, 0, 1]);
        setup.extend_from_slice(&ENCODING_RAW.to_be_bytes());
        stream.write_all(&setup).await?;
        Ok(Self { stream, name, picture: Picture::new(width, height) })
    }

    /// The desktop's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The picture as far as it has arrived.
    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Asks for the whole picture and waits until all of it has arrived.
    ///
    /// # Errors
    /// When the server breaks the protocol or closes the connection.
    pub async fn snapshot(&mut self) -> Result<&Picture, RfbFault> {
        self.picture.pixels.fill(MISSING);
        self.request(false).await?;
        self.update().await?;
        while self.picture.pixels.contains(&MISSING) {
            self.request(true).await?;
            self.update().await?;
        }
        Ok(&self.picture)
    }

    /// Waits for the next change of the picture and returns the parts that were sent.
    ///
    /// # Errors
    /// As [`RfbClient::snapshot`].
    pub async fn next_change(&mut self) -> Result<Vec<Rect>, RfbFault> {
        self.request(true).await?;
        self.update().await
    }

    /// Moves the pointer to (`x`, `y`), presses the left button and releases it.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn click(&mut self, x: u16, y: u16) -> Result<(), RfbFault> {
        let [x1, x0] = x.to_be_bytes();
        let [y1, y0] = y.to_be_bytes();
        let events = [0, 1, 0].map(|buttons| [5, buttons, x1, x0, y1, y0]);
        Ok(self.stream.write_all(events.as_flattened()).await?)
    }

    /// Presses and releases the key with this X11 keysym.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn press_key(&mut self, keysym: u32) -> Result<(), RfbFault> {
        let [k3, k2, k1, k0] = keysym.to_be_bytes();
        let events = [1, 0].map(|down| [4, down, 0, 0, k3, k2, k1, k0]);
        Ok(self.stream.write_all(events.as_flattened()).await?)
    }

    async fn request(&mut self, incremental: bool) -> Result<(), RfbFault> {
        let mut request = vec![3, u8::from(incremental)];
        request.extend_from_slice(&self.picture.bounds().to_bytes());
        Ok(self.stream.write_all(&request).await?)
    }

    /// Reads messages up to and including the next update of the picture.
    async fn update(&mut self) -> Result<Vec<Rect>, RfbFault> {
        loop {
            match self.stream.read_u8().await? {
                0 => break,
                // Some servers send a colour map whatever the format; its entries are read and dropped.
                1 => {
                    let [_, _, _, n1, n0] = array(&mut self.stream).await?;
                    for _ in 0..u16::from_be_bytes([n1, n0]) {
                        let _entry: [u8; 6] = array(&mut self.stream).await?;
                    }
                }
                2 => {}
                3 => {
                    let _padding: [u8; 3] = array(&mut self.stream).await?;
                    text(&mut self.stream).await?;
                }
                seen => return Err(RfbFault::Message { seen }),
            }
        }
        let [_, n1, n0] = array(&mut self.stream).await?;
        let mut rects = Vec::new();
        for _ in 0..u16::from_be_bytes([n1, n0]) {
            let rect = Rect::from_bytes(array(&mut self.stream).await?);
            let encoding = i32::from_be_bytes(array(&mut self.stream).await?);
            if encoding != ENCODING_RAW {
                return Err(RfbFault::Encoding { seen: encoding });
            }
            if rect.within(self.picture.bounds()) != Some(rect) {
                return Err(RfbFault::Outside { rect });
            }
            self.receive(rect).await?;
            rects.push(rect);
        }
        Ok(rects)
    }

    async fn receive(&mut self, rect: Rect) -> Result<(), RfbFault> {
        let mut row = vec![0; usize::from(rect.width) * FORMAT.bytes_per_pixel()];
        for y in rect.y..rect.y.saturating_add(rect.height) {
            self.stream.read_exact(&mut row).await?;
            for (pixel, bytes) in
                self.picture.row_mut(rect, y).iter_mut().zip(row.chunks(FORMAT.bytes_per_pixel()))
            {
                *pixel = FORMAT.decode(bytes);
            }
        }
        Ok(())
    }
}

/// A picture that a server has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u16,
    height: u16,
    pixels: Vec<u32>,
}

impl Picture {
    fn new(width: u16, height: u16) -> Self {
        Self { width, height, pixels: vec![MISSING; usize::from(width) * usize::from(height)] }
    }

    /// Pixels in a row.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Rows.
    pub const fn height(&self) -> u16 {
        self.height
    }

    /// The colour at (`x`, `y`) as `0x00RRGGBB`; `None` outside, and where nothing has arrived.
    pub fn pixel(&self, x: u16, y: u16) -> Option<u32> {
        let at = usize::from(y) * usize::from(self.width) + usize::from(x);
        let inside = x < self.width && y < self.height;
        self.pixels.get(at).copied().filter(|colour| inside && *colour != MISSING)
    }

    /// Every pixel, row after row, as `0x00RRGGBB`.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    const fn bounds(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.width, height: self.height }
    }

    fn row_mut(&mut self, rect: Rect, y: u16) -> &mut [u32] {
        let start = usize::from(y) * usize::from(self.width) + usize::from(rect.x);
        self.pixels.get_mut(start..start + usize::from(rect.width)).unwrap_or_default()
    }
}

/// Why a server cannot be used, or what it did against the protocol.
#[derive(Debug, Error)]
pub enum RfbFault {
    /// The connection broke or ended.
    #[error("server connection failed: {0}")]
    Io(#[from] io::Error),
    /// The greeting is wrong.
    #[error(transparent)]
    Version(#[from] VersionFault),
    /// Security type None is not among those offered.
    #[error("security types {seen:?}, expected 1 (None) among them")]
    Security {
        /// What the server offers.
        seen: Vec<u8>,
    },
    /// The server refused the connection.
    #[error("server refused: {reason}")]
    Refused {
        /// The server's words.
        reason: String,
    },
    /// The desktop is too large.
    #[error("desktop of {width} by {height}, expected at most {PIXELS_MAX} pixels")]
    Size {
        /// Its width.
        width: u16,
        /// Its height.
        height: u16,
    },
    /// A text is too long.
    #[error("text of {seen} bytes, expected at most {TEXT_MAX}")]
    Text {
        /// Its length in bytes.
        seen: u32,
    },
    /// The message number is unknown.
    #[error("message {seen}, expected 0 to 3")]
    Message {
        /// The number.
        seen: u8,
    },
    /// The rectangle is not Raw, though nothing else was offered.
    #[error("encoding {seen}, expected 0 (Raw)")]
    Encoding {
        /// The encoding's number.
        seen: i32,
    },
    /// The rectangle reaches outside the desktop.
    #[error("update of {rect:?} reaches outside the desktop")]
    Outside {
        /// The rectangle.
        rect: Rect,
    },
}

async fn agree_on_security(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    version: Version,
) -> Result<(), RfbFault> {
    if version == Version::V3_3 {
        return match stream.read_u32().await? {
            0 => Err(RfbFault::Refused { reason: text(stream).await? }),
            1 => Ok(()),
            other => Err(RfbFault::Security { seen: other.to_be_bytes().to_vec() }),
        };
    }
    let mut offered = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut offered).await?;
    if offered.is_empty() {
        return Err(RfbFault::Refused { reason: text(stream).await? });
    }
    if !offered.contains(&SECURITY_NONE) {
        return Err(RfbFault::Security { seen: offered });
    }
    stream.write_all(&[SECURITY_NONE]).await?;
    if version == Version::V3_8 && stream.read_u32().await? != 0 {
        return Err(RfbFault::Refused { reason: text(stream).await? });
    }
    Ok(())
}

async fn array<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn text(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, RfbFault> {
    let seen = stream.read_u32().await?;
    let length = usize::try_from(seen).ok().filter(|length| *length <= TEXT_MAX);
    let mut bytes = vec![0; length.ok_or(RfbFault::Text { seen })?];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const FORMAT: PixelFormat = PixelFormat::RGB888;

/// No colour has this value: the top byte of a colour is zero.
const MISSING: u32 = u32::MAX;

/// Largest desktop that is accepted, in pixels.
const PIXELS_MAX: usize = 4_096 * 4_096;

/// Longest name, reason or clipboard text that is accepted, in bytes.
const TEXT_MAX: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::super::Machine;
    use super::super::process::State;
    use super::*;

    /// The answer to a server that says only this.
    async fn fault_for(server: &[u8]) -> String {
        let (near, mut far) = tokio::io::duplex(4_096);
        far.write_all(server).await.unwrap();
        far.shutdown().await.unwrap();
        RfbClient::connect(near).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_snapshot_in_every_version_shows_the_running_press() {
        let machine = Machine::start(6).await.unwrap();
        for version in [Version::V3_3, Version::V3_7, Version::V3_8] {
            let stream = TcpStream::connect(machine.vnc).await.unwrap();
            let mut viewer = RfbClient::connect_as(stream, version).await.unwrap();
            assert_eq!(viewer.name(), "press-7");
            let picture = viewer.snapshot().await.unwrap();
            assert_eq!((picture.width(), picture.height()), (640, 400));
            assert_eq!(picture.pixel(20, 360), Some(0xf0_5d_5e), "{version:?}");
            assert_eq!(picture.pixel(0, 399), Some(0x0b_11_18));
            assert_eq!((picture.pixel(640, 0), picture.pixel(0, 400)), (None, None));
        }
    }

    #[tokio::test]
    async fn a_click_stops_the_press_and_a_key_is_counted() {
        let machine = Machine::start(6).await.unwrap();
        let stream = TcpStream::connect(machine.vnc).await.unwrap();
        let mut viewer = RfbClient::connect(stream).await.unwrap();
        viewer.snapshot().await.unwrap();
        viewer.press_key(0x61).await.unwrap();
        viewer.click(80, 368).await.unwrap();
        let stopped = machine.readings_when(|now| now.state == State::Stopped).await.unwrap();
        assert_eq!(stopped.state, State::Stopped);
        while viewer.picture().pixel(20, 360) != Some(0x34_d3_7a) {
            assert_ne!(viewer.next_change().await.unwrap(), []);
        }
        let counts = machine.inputs.counts();
        assert_eq!((counts.keys, counts.clicks, counts.pointer_events), (1, 1, 3));
    }

    #[tokio::test]
    async fn servers_that_cannot_be_used_are_named_faults() {
        assert_eq!(fault_for(b"SSH-2.0-Open").await, "version line `SSH-2.0-Open`, expected `RFB 003.nnn`");
        assert_eq!(
            fault_for(b"RFB 003.008\n\x02\x02\x13").await,
            "security types [2, 19], expected 1 (None) among them"
        );
        assert_eq!(fault_for(b"RFB 003.008\n\x00\x00\x00\x00\x04full").await, "server refused: full");
        assert_eq!(
            fault_for(b"RFB 003.008\n\x01\x01\x00\x00\x00\x00\xff\xff\xff\xff").await,
            "desktop of 65535 by 65535, expected at most 16777216 pixels"
        );
        assert_eq!(
            fault_for(b"RFB 003.008\n\x00\xff\xff\xff\xff").await,
            "text of 4294967295 bytes, expected at most 65536"
        );
        assert_eq!(fault_for(b"RFB 003").await, "server connection failed: early eof");
    }
}
