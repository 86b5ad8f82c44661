//! What everybody may know of a recording: the part of the file before the sealed chunks.

use serde::{Deserialize, Serialize};

use super::reader::Fault;
use crate::id::{DeviceId, FleetId, TunnelId, UserId};
use crate::name::Name;
use crate::policy::Kind;
use crate::time::UnixTime;
use crate::trust::Digest;
use crate::trust::sealed::SealingKey;
use crate::trust::sealed::sequence::ENCAPSULATED_BYTES;
use crate::wire::codec;

/// What a recording is of. It is not sealed, so that a device can list what it keeps; the chunks are bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The installation.
    pub fleet: FleetId,
    /// The device that wrote it.
    pub device: DeviceId,
    /// The tunnel; the audit trail knows it by the same id.
    pub tunnel: TunnelId,
    /// Who had the tunnel.
    pub user: UserId,
    /// The access category that demanded the recording.
    pub category: Name,
    /// To which service.
    pub service: Name,
    /// What it speaks.
    pub kind: Kind,
    /// The device's time at the first event.
    pub begun: UnixTime,
    /// The key that opens it.
    pub key: SealingKey,
}

/// Everything before the first chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// What the recording is of.
    pub header: Header,
    pub(super) encapsulated: [u8; ENCAPSULATED_BYTES],
    pub(super) digest: Digest,
}

impl Beginning {
    /// Reads the beginning of a file, of which at least [`BEGINNING_BYTES`] are given or all there is. Also returns what
    /// follows. No key is needed, and without one nothing of it is proven.
    ///
    /// # Errors
    /// The first [`Fault`]; [`Fault::Cut`] where the beginning is not whole.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Fault> {
        let cut = Fault::Cut { chunks: 0 };
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(cut)?;
        if magic != MAGIC {
            return Err(Fault::Magic);
        }
        let (&version, rest) = rest.split_first().ok_or(cut)?;
        if version != VERSION {
            return Err(Fault::Version { found: version });
        }
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
        let length = usize::from(u16::from_le_bytes(*length));
        if length > HEADER_BYTES {
            return Err(Fault::HeaderSize { found: length });
        }
        let (header, rest) = rest.split_at_checked(length).ok_or(cut)?;
        let (encapsulated, rest) = rest.split_first_chunk::<ENCAPSULATED_BYTES>().ok_or(cut)?;
        let read = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
        let beginning = Self {
            header: codec::decode(header, HEADER_BYTES).map_err(Fault::Header)?,
            encapsulated: *encapsulated,
            digest: Digest::of(&[read]),
        };
        Ok((beginning, rest))
    }
}

/// Writes what [`Beginning::read`] reads.
pub(super) fn write(
    header: &Header,
    encapsulated: &[u8; ENCAPSULATED_BYTES],
) -> Result<Vec<u8>, codec::CodecFault> {
    let header = codec::encode(header, HEADER_BYTES)?;
    let length = u16::try_from(header.len()).map_err(|_| codec::CodecFault::Malformed)?;
    let mut bytes = Vec::with_capacity(BEGINNING_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(encapsulated);
    Ok(bytes)
}

const MAGIC: &[u8; 8] = b"PSTRNREC";
const VERSION: u8 = 1;
/// Bytes of an encoded header: two names of 64 bytes, five ids, a key and the small rest.
const HEADER_BYTES: usize = 256;

/// Bytes of a file in which its beginning is whole.
pub const BEGINNING_BYTES: usize = 8 + 1 + 2 + HEADER_BYTES + ENCAPSULATED_BYTES;
