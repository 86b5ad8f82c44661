//! Which requests of Modbus a gate lets through (MODBUS Application Protocol Specification V1.1b3, section 6).

use serde::{Deserialize, Serialize};

use super::super::super::form::{FormFault, ascending, count};
use super::super::impossible;
use crate::limits;

/// Which requests a gate lets through. What is not named is answered with an exception, and the machine never sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModbusRules {
    /// The units that may be asked, ascending and apart; empty allows none. At most [`limits::MODBUS_SPANS`].
    pub units: Vec<UnitSpan>,
    /// What may be read, ascending and apart; empty allows none. At most [`limits::MODBUS_SPANS`].
    pub reads: Vec<ModbusSpan>,
    /// What may be written, ascending and apart; empty allows none. Coils and holding registers only. At most
    /// [`limits::MODBUS_SPANS`].
    pub writes: Vec<ModbusSpan>,
}

/// Unit identifiers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitSpan {
    /// The lowest.
    pub first: u8,
    /// The highest; not below the lowest.
    pub last: u8,
}

/// Addresses of one table from the first to the last, both included, as they are sent (counted from zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModbusSpan {
    /// The table.
    pub table: ModbusTable,
    /// The lowest.
    pub first: u16,
    /// The highest; not below the lowest.
    pub last: u16,
}

/// A table of the Modbus data model (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModbusTable {
    /// Single bits that can be written.
    Coils,
    /// Single bits that cannot.
    DiscreteInputs,
    /// Words that can be written.
    HoldingRegisters,
    /// Words that cannot.
    InputRegisters,
}

impl ModbusRules {
    /// Everything is read and nothing is written, whatever the unit.
    #[must_use]
    pub fn read_only() -> Self {
        let whole = |table| ModbusSpan { table, first: 0, last: u16::MAX };
        Self {
            units: vec![UnitSpan { first: 0, last: u8::MAX }],
            reads: ModbusTable::ALL.map(whole).to_vec(),
            writes: Vec::new(),
        }
    }

    pub(super) fn check_form(&self) -> Result<(), FormFault> {
        count("units", self.units.len(), limits::MODBUS_SPANS)?;
        count("reads", self.reads.len(), limits::MODBUS_SPANS)?;
        count("writes", self.writes.len(), limits::MODBUS_SPANS)?;
        // Apart as well as in order: what is contained is found in one of them or in none.
        ascending("units", &self.units, |a, b| a.last < b.first)?;
        let apart = |a: &ModbusSpan, b: &ModbusSpan| (a.table, a.last) < (b.table, b.first);
        ascending("reads", &self.reads, apart)?;
        ascending("writes", &self.writes, apart)?;
        if self.units.iter().any(|span| span.last < span.first) {
            return Err(impossible("units"));
        }
        if self.reads.iter().any(|span| span.last < span.first) {
            return Err(impossible("reads"));
        }
        let writable =
            |span: &ModbusSpan| matches!(span.table, ModbusTable::Coils | ModbusTable::HoldingRegisters);
        if !self.writes.iter().all(|span| writable(span) && span.first <= span.last) {
            return Err(impossible("writes"));
        }
        Ok(())
    }
}

impl ModbusTable {
    /// All tables, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::Coils, Self::DiscreteInputs, Self::HoldingRegisters, Self::InputRegisters];

    /// The word in files and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::DiscreteInputs => "discrete-inputs",
            Self::HoldingRegisters => "holding-registers",
            Self::InputRegisters => "input-registers",
        }
    }
}
