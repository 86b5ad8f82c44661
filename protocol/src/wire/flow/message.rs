//! Messages of UDP and ICMP flows, as datagrams and as frames.
//!
//! ```text
//! datagram   flow id: varint (RFC 9000 section 16) | message
//! frame      length: u16, big endian | message
//! ```
//!
//! The message of a UDP flow is the payload of one datagram. That of an ICMP flow is an [`Echo`]:
//!
//! ```text
//! echo       identifier: u16 | sequence: u16 | data
//! ```
//!
//! From the client to the agent it is a request, and back the answer to it. Nothing is encoded in two ways: a varint that is
//! longer than it needs to be is a fault.

use super::FlowId;
use crate::limits;

/// An ICMP echo request or the answer to it (RFC 792, RFC 4443 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// The identifier that the client chose; the device has one of its own on the machine network.
    pub identifier: u16,
    /// The sequence number.
    pub sequence: u16,
    /// The data; at most [`limits::ECHO_BYTES`].
    pub data: &'a [u8],
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// They end before the message does.
    #[error("a message of {found} bytes, at least {expected} were expected")]
    Short {
        /// Bytes seen.
        found: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// More than may be carried.
    #[error("a message of {found} bytes, at most {limit} are carried")]
    Long {
        /// Bytes seen.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A number that is written longer than it needs to be.
    #[error("a flow id in more bytes than it needs")]
    Varint,
}

/// Splits a datagram into the flow that it belongs to and its message.
///
/// # Errors
/// [`MessageFault::Short`] or [`MessageFault::Varint`].
pub fn split_datagram(datagram: &[u8]) -> Result<(FlowId, &[u8]), MessageFault> {
    let short = |expected| MessageFault::Short { found: datagram.len(), expected };
    let first = datagram.first().copied().ok_or_else(|| short(1))?;
    let length = 1_usize << (first >> 6);
    let (number, message) = datagram.split_at_checked(length).ok_or_else(|| short(length))?;
    let rest = number.iter().skip(1);
    let id = rest.fold(u64::from(first & 0x3f), |id, byte| (id << 8) | u64::from(*byte));
    if varint_length(id) != length {
        return Err(MessageFault::Varint);
    }
    Ok((id, message))
}

/// Appends the beginning of a datagram of `flow`; the message follows.
pub fn begin_datagram(flow: FlowId, datagram: &mut Vec<u8>) {
    let length = varint_length(flow);
    let bytes = flow.to_be_bytes();
    let from = datagram.len();
    datagram.extend(bytes.iter().skip(bytes.len() - length));
    if let Some(first) = datagram.get_mut(from) {
        *first = (*first & 0x3f) | (varint_mark(length) << 6);
    }
}

/// Bytes that a datagram of `flow` has before its message.
#[must_use]
pub const fn datagram_overhead(flow: FlowId) -> usize {
    varint_length(flow)
}

/// Appends a frame.
///
/// # Errors
/// [`MessageFault::Long`].
pub fn push_frame(message: &[u8], stream: &mut Vec<u8>) -> Result<(), MessageFault> {
    let length = u16::try_from(message.len())
        .map_err(|_| MessageFault::Long { found: message.len(), limit: usize::from(u16::MAX) })?;
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(message);
    Ok(())
}

impl<'a> Echo<'a> {
    /// Reads a message of an ICMP flow.
    ///
    /// # Errors
    /// [`MessageFault::Short`] or [`MessageFault::Long`].
    pub fn parse(message: &'a [u8]) -> Result<Self, MessageFault> {
        let short = MessageFault::Short { found: message.len(), expected: ECHO_HEAD };
        let (head, data) = message.split_first_chunk::<ECHO_HEAD>().ok_or(short)?;
        let [a, b, c, d] = *head;
        if data.len() > limits::ECHO_BYTES {
            let limit = ECHO_HEAD + limits::ECHO_BYTES;
            return Err(MessageFault::Long { found: message.len(), limit });
        }
        let (identifier, sequence) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ok(Self { identifier, sequence, data })
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let head = [self.identifier.to_be_bytes(), self.sequence.to_be_bytes()].concat();
        [&head, self.data].concat()
    }
}

const ECHO_HEAD: usize = 4;

/// Bytes of a varint.
const fn varint_length(number: u64) -> usize {
    match number {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// The two highest bits of a varint of this length.
const fn varint_mark(length: usize) -> u8 {
    match length {
        1 => 0,
        2 => 1,
        4 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(flow: FlowId, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        begin_datagram(flow, &mut bytes);
        assert_eq!(bytes.len(), datagram_overhead(flow));
        bytes.extend_from_slice(message);
        bytes
    }

    #[test]
    fn a_datagram_names_its_flow_in_as_few_bytes_as_it_needs() {
        // The examples of RFC 9000, appendix A.1.
        assert_eq!(datagram(37, b""), [0x25]);
        assert_eq!(datagram(15_293, b""), [0x7b, 0xbd]);
        assert_eq!(datagram(494_878_333, b""), [0x9d, 0x7f, 0x3e, 0x7d]);
        assert_eq!(datagram(151_288_809_941_952_652, b"")[..2], [0xc2, 0x19]);
        for flow in [0, 63, 64, 16_383, 16_384, 1_073_741_823, 1_073_741_824, (1 << 62) - 1] {
            assert_eq!(split_datagram(&datagram(flow, b"abc")), Ok((flow, b"abc".as_slice())), "{flow}");
        }
    }

    #[test]
    fn a_flow_is_named_in_one_way_only() {
        assert_eq!(split_datagram(&[0x40, 0x25, 1]), Err(MessageFault::Varint));
        assert_eq!(split_datagram(&[0x80, 0, 0, 1]), Err(MessageFault::Varint));
        assert_eq!(split_datagram(&[]), Err(MessageFault::Short { found: 0, expected: 1 }));
        assert_eq!(split_datagram(&[0x7b]), Err(MessageFault::Short { found: 1, expected: 2 }));
        assert_eq!(split_datagram(&[0xc0; 7]), Err(MessageFault::Short { found: 7, expected: 8 }));
    }

    #[test]
    fn a_frame_says_its_length_and_none_is_longer_than_it_can_say() {
        let mut stream = Vec::new();
        push_frame(b"ab", &mut stream).unwrap();
        push_frame(b"", &mut stream).unwrap();
        assert_eq!(stream, [0, 2, b'a', b'b', 0, 0]);
        let long = MessageFault::Long { found: 65_536, limit: 65_535 };
        assert_eq!(push_frame(&vec![0; 65_536], &mut stream), Err(long));
    }

    #[test]
    fn an_echo_is_read_as_it_was_written_and_its_data_is_bounded() {
        let echo = Echo { identifier: 0x0102, sequence: 0x0304, data: b"abc" };
        assert_eq!(echo.message(), [1, 2, 3, 4, b'a', b'b', b'c']);
        assert_eq!(Echo::parse(&echo.message()), Ok(echo));
        assert_eq!(Echo::parse(&[1, 2, 3]), Err(MessageFault::Short { found: 3, expected: 4 }));
        let full = vec![7; 4 + limits::ECHO_BYTES];
        assert_eq!(Echo::parse(&full).map(|echo| echo.data.len()), Ok(limits::ECHO_BYTES));
        let over = vec![7; 5 + limits::ECHO_BYTES];
        assert_eq!(Echo::parse(&over), Err(MessageFault::Long { found: 1457, limit: 1456 }));
    }
}
