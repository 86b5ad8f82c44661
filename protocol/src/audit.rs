//! The audit trail: rows that record what was decided, chained so that a changed or removed row is seen.
//!
//! 1. [`row`]: what a row says, and its exact encoding.
//! 2. [`flows`]: what the flows of a VPN tunnel come to in rows.
//! 3. [`chain`]: each row's link covers the row and the link before it.
//! 4. [`ratchet`]: each row has a tag by a key that is forgotten when it is written.
//! 5. [`log`]: whose trail it is, and what the device signs about it; [`ack`]: what the cloud signs about it.
//! 6. [`batch`] and [`upload`]: how rows come to the cloud, each exactly once, over outages and ends of either side.
//! 7. [`export`] and [`verify`]: a trail in a file, and what is wrong with it, by public keys alone.
//! 8. [`mod@line`]: a row as people and programs are shown it.
//!
//! Rows are product data, not logs. Who stores them, and when a tunnel may begin, is the agent's business.

pub mod ack;
pub mod batch;
pub mod chain;
pub mod export;
pub mod flows;
pub mod line;
pub mod log;
pub mod ratchet;
pub mod row;
pub mod upload;
pub mod verify;

pub use ack::{Ack, AckFault, Mark};
pub use batch::{Batch, Begin, Intake, SealedRow, Taken};
pub use chain::{ChainFault, Link, verify_chain};
pub use line::AuditLine;
pub use log::{Checkpoint, End, LogId, Whose};
pub use ratchet::{Ratchet, RatchetKey, Tag};
pub use row::{Event, FlowFate, GapCause, GateCounts, Row};
