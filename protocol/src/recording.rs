//! The file in which a tunnel is kept for those who may see it later, sealed so that the device that writes it cannot
//! read it back.
//!
//! 1. The policy names the public half of a recording key. The private half is where recordings are looked at, and never
//!    on a device.
//! 2. [`Writer::begin`] yields the beginning of the file: magic, version, [`Header`] and an encapsulated key.
//! 3. [`Writer::push`] collects [`Event`]s; [`Writer::seal`] turns what was collected into one chunk. A shell seals when
//!    [`Writer::is_full`] says so and every few seconds, so that little is held in memory and little is lost.
//! 4. [`Writer::finish`] makes the last chunk, which says that nothing follows, and wipes the sealer's key.
//! 5. [`Reader`] takes the bytes of a file in pieces of any size, and yields events chunk by chunk. A file that was cut is
//!    readable up to the cut, and known to be cut: [`Reader::finish`].
//!
//! ```text
//! magic 8 bytes = "PSTRNREC" | version u8 = 1 | header length u16 le | header | encapsulated key 32 bytes
//! then chunks: sealed length u32 le | last u8: 0 or 1 | sealed ( events ) with its tag of 16 bytes
//! ```
//!
//! Each chunk is sealed by the next step of one HPKE context (RFC 9180, base mode), bound to the SHA-256 of everything
//! before the first chunk, its position and whether it is the last: chunks can be neither changed, moved, left out nor
//! taken to another file, and a cut cannot look like an end.
//!
//! Not promised: who wrote it. Whoever knows the public key can make a file; that a device made this one follows from
//! where it was fetched, and its audit trail says that the tunnel was recorded.

mod event;
mod header;
mod reader;
mod writer;

pub use self::event::{EVENT_BYTES, Event, What};
pub use self::header::{BEGINNING_BYTES, Beginning, Header};
pub use self::reader::{Chunk, Fault, Reader};
pub use self::writer::{CHUNK_BYTES, WriteError, Writer};

/// What a recording's sealed sequence is for: nothing sealed for another purpose opens as one.
const PURPOSE: &[u8] = b"postern/v1/recording\0";

/// Bytes in front of each sealed chunk.
const FRAME_BYTES: usize = 5;

/// What a chunk is bound to.
fn associated(beginning: &crate::trust::Digest, position: u64, last: bool) -> [u8; 41] {
    let mut bytes = [0; 41];
    let [digest @ .., _, _, _, _, _, _, _, _, _] = &mut bytes;
    digest.copy_from_slice(beginning.as_bytes());
    let [_, .., a, b, c, d, e, f, g, h, flag] = &mut bytes;
    [*a, *b, *c, *d, *e, *f, *g, *h] = position.to_le_bytes();
    *flag = u8::from(last);
    bytes
}

#[cfg(test)]
mod tests;
