//! The Modbus gate: which requests of a client reach the machine (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3;
//! MODBUS Application Protocol Specification V1.1b3, sections 6 and 7).
//!
//! 1. [`Frames`] cuts the bytes of one direction into frames, wherever packets were split or joined.
//! 2. [`judge`] says of one request whether it goes on or is answered by the gate, with an exception that its program
//!    understands: `illegal function`, `illegal data address`, `illegal data value`, or `gateway path unavailable` for a unit.
//! 3. Both directions are framed, so that an answer of the gate never falls into the middle of the machine's.
//!
//! Bytes that are no frame end the flow: what follows them could be read in two ways. Deliberately absent: what answers say.

use crate::policy::ModbusRules;
use crate::policy::snapshot::rules::{ModbusSpan, ModbusTable};

/// Cuts the bytes of one direction into frames.
#[derive(Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Another protocol than Modbus.
    #[error("protocol {found}, expected 0")]
    Protocol {
        /// The identifier seen.
        found: u16,
    },
    /// A length that no frame has.
    #[error("a length of {found}, expected 2 to 254")]
    Length {
        /// The length seen.
        found: u16,
    },
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It goes on to the machine as it is.
    Passes,
    /// The gate answers with this frame, and the machine never sees the request.
    Answered(Vec<u8>),
}

/// Why the gate answers a request itself (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exception {
    IllegalFunction = 1,
    IllegalDataAddress = 2,
    IllegalDataValue = 3,
    GatewayPathUnavailable = 10,
}

impl Frames {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame; none until more bytes come.
    ///
    /// # Errors
    /// A [`FrameFault`]; nothing may be read any more then.
    pub fn take_frame(&mut self) -> Result<Option<Vec<u8>>, FrameFault> {
        let Some([_, _, a, b, c, d]) = self.held.first_chunk::<6>().copied() else { return Ok(None) };
        let (protocol, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if protocol != 0 {
            return Err(FrameFault::Protocol { found: protocol });
        }
        if !(2..=LONGEST).contains(&length) {
            return Err(FrameFault::Length { found: length });
        }
        let whole = HEAD + usize::from(length);
        if self.held.len() < whole {
            return Ok(None);
        }
        let rest = self.held.split_off(whole);
        Ok(Some(std::mem::replace(&mut self.held, rest)))
    }

    /// Bytes of a frame that is not whole yet.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held.len()
    }
}

/// Judges one whole request. Who only looks writes nothing, whatever the rules say.
#[must_use]
pub fn judge(request: &[u8], rules: &ModbusRules, touches: bool) -> Judged {
    let Some(([a, b, _, _, _, _, unit], pdu)) = request.split_first_chunk::<7>() else {
        return Judged::Answered(Vec::new());
    };
    let Some((function, data)) = pdu.split_first() else { return Judged::Answered(Vec::new()) };
    let spans = rules.units.iter().any(|span| span.first <= *unit && *unit <= span.last);
    let verdict = if spans {
        let writes: &[ModbusSpan] = if touches { &rules.writes } else { &[] };
        judge_function(*function, data, &rules.reads, writes)
    } else {
        Err(Exception::GatewayPathUnavailable)
    };
    match verdict {
        Ok(()) => Judged::Passes,
        Err(exception) => Judged::Answered(vec![*a, *b, 0, 0, 0, 3, *unit, function | 0x80, exception as u8]),
    }
}

fn judge_function(
    function: u8,
    data: &[u8],
    reads: &[ModbusSpan],
    writes: &[ModbusSpan],
) -> Result<(), Exception> {
    use ModbusTable::{Coils, DiscreteInputs, HoldingRegisters, InputRegisters};
    match function {
        0x01 => asks(data, reads, Coils, 2000),
        0x02 => asks(data, reads, DiscreteInputs, 2000),
        0x03 => asks(data, reads, HoldingRegisters, 125),
        0x04 => asks(data, reads, InputRegisters, 125),
        0x05 => sets_one(data, writes, Coils, 4),
        0x06 => sets_one(data, writes, HoldingRegisters, 4),
        0x0f => sets_many(data, writes, Coils, 1968),
        0x10 => sets_many(data, writes, HoldingRegisters, 123),
        // Mask write: address, and, or.
        0x16 => sets_one(data, writes, HoldingRegisters, 6),
        // Read and write: what is read, then what is written.
        0x17 => {
            let (read, write) = data.split_at_checked(4).ok_or(Exception::IllegalDataValue)?;
            sets_many(write, writes, HoldingRegisters, 121)?;
            asks(read, reads, HoldingRegisters, 125)
        }
        _ => Err(Exception::IllegalFunction),
    }
}

/// Address and quantity.
fn asks(data: &[u8], spans: &[ModbusSpan], table: ModbusTable, most: u16) -> Result<(), Exception> {
    names(spans, table)?;
    let [a, b, c, d] = *data else { return Err(Exception::IllegalDataValue) };
    is_within(spans, table, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), most)
}

/// Address and a value of fixed size.
fn sets_one(data: &[u8], spans: &[ModbusSpan], table: ModbusTable, bytes: usize) -> Result<(), Exception> {
    names(spans, table)?;
    match data.split_first_chunk::<2>() {
        Some((address, _)) if data.len() == bytes => {
            is_within(spans, table, u16::from_be_bytes(*address), 1, 1)
        }
        Some(_) | None => Err(Exception::IllegalDataValue),
    }
}

/// Address, quantity, count of bytes, and as many bytes.
fn sets_many(data: &[u8], spans: &[ModbusSpan], table: ModbusTable, most: u16) -> Result<(), Exception> {
    names(spans, table)?;
    let Some(([a, b, c, d, count], values)) = data.split_first_chunk::<5>() else {
        return Err(Exception::IllegalDataValue);
    };
    let quantity = u16::from_be_bytes([*c, *d]);
    let bytes = if table == ModbusTable::Coils { quantity.div_ceil(8) } else { quantity.saturating_mul(2) };
    if u16::from(*count) != bytes || values.len() != usize::from(bytes) {
        return Err(Exception::IllegalDataValue);
    }
    is_within(spans, table, u16::from_be_bytes([*a, *b]), quantity, most)
}

/// A function for a table of which nothing is allowed is no function here.
fn names(spans: &[ModbusSpan], table: ModbusTable) -> Result<(), Exception> {
    if spans.iter().any(|span| span.table == table) { Ok(()) } else { Err(Exception::IllegalFunction) }
}

/// Whether each of `quantity` addresses from `first` on is allowed. Spans are apart and in order, and may touch.
fn is_within(
    spans: &[ModbusSpan],
    table: ModbusTable,
    first: u16,
    quantity: u16,
    most: u16,
) -> Result<(), Exception> {
    if quantity == 0 || quantity > most {
        return Err(Exception::IllegalDataValue);
    }
    let end = u32::from(first) + u32::from(quantity);
    let mut next = u32::from(first);
    for span in spans.iter().filter(|span| span.table == table) {
        if u32::from(span.first) <= next && next <= u32::from(span.last) {
            next = u32::from(span.last) + 1;
        }
    }
    if next >= end { Ok(()) } else { Err(Exception::IllegalDataAddress) }
}

/// Bytes before what the length counts: transaction, protocol and length.
const HEAD: usize = 6;
/// The unit and the longest PDU (section 4.1).
const LONGEST: u16 = 254;

#[cfg(test)]
mod tests;
