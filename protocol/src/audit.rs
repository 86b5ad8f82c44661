//! The audit trail: rows that record what was decided, chained so that a changed or removed row is seen.
//!
//! 1. [`row`]: what a row says, and its exact encoding.
//! 2. [`flows`]: what the flows of a VPN tunnel come to in rows.
//! 3. [`chain`]: each row's link covers the row and the link before it.
//!
//! Rows are product data, not logs. Who stores them, and when a tunnel may begin, is the agent's business.

pub mod chain;
pub mod flows;
pub mod row;

pub use chain::{ChainFault, Link, verify_chain};
pub use row::{Event, FlowFate, GateCounts, Row};
