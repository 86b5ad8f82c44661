//! Policy on the device: one signed value, one index, one decision.
//!
//! 1. [`mod@verify`]: received bytes become a [`Verified`] snapshot, in numbered steps.
//! 2. [`index`]: a verified snapshot becomes an [`Index`], once for each activation.
//! 3. [`mod@decide`]: the only function that says yes. It returns a [`Permit`] or a [`Denial`] with one [`Reason`].
//! 4. [`freshness`]: for how long a policy counts without a word of the cloud.
//! 5. [`locks`]: what is denied until a snapshot lifts it.
//! 6. [`mod@explain`]: the same judgement in words, which permits nothing.
//! 7. [`mod@self_test`]: shows that what must be refused is refused, before anybody is served.

pub mod decide;
pub mod explain;
pub mod freshness;
pub mod index;
pub mod locks;
pub mod mode;
pub mod reason;
pub mod self_test;
pub mod snapshot;
pub mod verify;
#[cfg(test)]
pub(crate) mod world;

pub use decide::{Circumstances, Denial, FlowPermit, FlowRefusal, Permit, decide};
pub use explain::{Explanation, explain};
pub use freshness::{Freshness, FreshnessRule, FreshnessState};
pub use index::{Ask, Index};
pub use locks::{LockPlace, Locks, Taken};
pub use mode::Mode;
pub use reason::Reason;
pub use self_test::{Decision, Probe, Proven, SelfTestFault, self_test};
pub use snapshot::rules::{
    Allow, Carries, Credential, Destination, FlowEnd, HttpRules, Methods, ModbusRules, ModbusSpan,
    ModbusTable, Network, PathLog, Pattern, PatternFault, Ports, Profile, Protocol, Scheme, UnitSpan,
    Upstream, VncRules, VpnRules, WebsocketRules,
};
pub use snapshot::{
    Approval, Case, Category, DeviceLimits, FormFault, Grant, Kind, Origin, Prohibition, Reach, Rules,
    Secret, Service, Snapshot, Target, User,
};
pub use verify::{Expectation, Floor, SnapshotFault, Verified, verify};
