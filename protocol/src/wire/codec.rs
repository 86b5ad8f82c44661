//! Bytes to values and back: postcard, with one spelling for each value.
//!
//! postcard alone accepts trailing bytes and over-long integers. Two spellings of one value would give one
//! policy two digests, so [`decode`] demands that nothing is left and that encoding again yields the same bytes.
//! This is the only file that calls postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not the encoding of a value, or a value has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecFault {
    /// More bytes than allowed; seen before anything was allocated.
    #[error("{found} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes seen.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes end early, or hold a number, name or variant that this version does not know.
    #[error("malformed")]
    Malformed,
    /// Bytes follow after the value.
    #[error("{count} bytes follow after the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Another encoding of the value is the right one (an over-long integer).
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Encodes `value`.
///
/// # Errors
/// [`CodecFault::TooLarge`] above `max` bytes; [`CodecFault::Malformed`] for a value that has no encoding.
pub fn encode<T: Serialize>(value: &T, max: usize) -> Result<Vec<u8>, CodecFault> {
    let bytes = postcard::to_stdvec(value).map_err(|_| CodecFault::Malformed)?;
    if bytes.len() > max { Err(CodecFault::TooLarge { found: bytes.len(), limit: max }) } else { Ok(bytes) }
}

/// Decodes `bytes`, all of them, in their only spelling.
///
/// # Errors
/// The [`CodecFault`] of the first check that fails.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecFault> {
    if bytes.len() > max {
        return Err(CodecFault::TooLarge { found: bytes.len(), limit: max });
    }
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|_| CodecFault::Malformed)?;
    if !rest.is_empty() {
        return Err(CodecFault::Trailing { count: rest.len() });
    }
    let again = postcard::to_stdvec(&value).map_err(|_| CodecFault::Malformed)?;
    if again == bytes { Ok(value) } else { Err(CodecFault::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_spelling() {
        assert_eq!(encode(&300u32, 16), Ok(vec![0xac, 0x02]));
        assert_eq!(decode::<u32>(&[0xac, 0x02], 16), Ok(300));
        assert_eq!(decode::<u32>(&[0xac, 0x82, 0x00], 16), Err(CodecFault::NotCanonical));
        assert_eq!(decode::<u32>(&[0xac, 0x02, 0x00], 16), Err(CodecFault::Trailing { count: 1 }));
        assert_eq!(decode::<u32>(&[0xac], 16), Err(CodecFault::Malformed));
    }

    #[test]
    fn oversize_is_refused_in_both_directions() {
        let fault = CodecFault::TooLarge { found: 3, limit: 2 };
        assert_eq!(encode(&[1u8, 2, 3], 2), Err(fault));
        assert_eq!(decode::<[u8; 3]>(&[1, 2, 3], 2), Err(fault));
    }

    #[test]
    fn a_length_that_promises_more_than_there_is_allocates_nothing_of_it() {
        // A list that claims 2^40 elements in six bytes.
        let bytes = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        assert_eq!(decode::<Vec<u64>>(&bytes, 16), Err(CodecFault::Malformed));
    }
}
