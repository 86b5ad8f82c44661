//! What stands in the way to a hub or device: each means is tried apart from the others, and what is found becomes one verdict.
//!
//! 1. [`hub`] tries every rung of the ladder towards a hub, and asks it what the caller looks like from there ([`Examined`]).
//! 2. Each try is a [`Finding`]: what was looked at ([`Step`]), where, and what came of it ([`Found`]).
//! 3. [`verdict`](Verdict::of_hub) says from findings alone what they mean, and what to ask of whom, in one sentence each.
//!
//! Nothing here decides anything: connections are closed again, and nothing is remembered.
//!
//! [`Examined`]: postern_protocol::wire::hub::Examined

mod hub;
mod verdict;
mod words;

use std::net::{IpAddr, SocketAddr};

use postern_protocol::trust::PublicKey;
use postern_protocol::wire::hub::Whose;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;
use serde::Serialize;

use crate::proxy::{ProxyFault, ProxyName};

pub use self::hub::{Caller, block_of, examine};
pub use self::verdict::{Level, Verdict};

/// What is looked at. The words of JSON are the names in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The link of a running agent.
    Link,
    /// The name of a proxy; hubs and relays are known by address.
    Name,
    /// Datagrams to the hub.
    Udp,
    /// A TCP connection to it.
    Tcp,
    /// TLS over that, and the hub inside.
    Tls,
    /// The same through a proxy.
    Proxy,
    /// Whether the hub answers, and knows who asks.
    Hub,
    /// This computer's clock beside the hub's.
    Clock,
    /// An address of the device's own.
    Direct,
    /// The networks that this computer is on.
    Nearby,
    /// A meeting at the relay, over UDP.
    RelayUdp,
    /// A meeting at the relay, over TLS.
    RelayTls,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What.
    pub step: Step,
    /// Where, if it has an address.
    pub at: Option<SocketAddr>,
    /// What came of it.
    pub found: Found,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It works.
    Passed(Note),
    /// It was not looked at, or does not matter.
    Skipped(Skip),
    /// It does not.
    Blocked(Block),
}

/// What is worth knowing of something that works.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Nothing.
    Plain,
    /// TLS is read by a box in between; whose certificate it shows, where that has a name.
    Read(Option<Text>),
    /// The proxy that leads there.
    By(ProxyName),
    /// The hub's version, and the address from which the caller's packets come to it.
    Seen(Text, SocketAddr),
    /// Seconds that this computer's clock is ahead.
    Ahead(i64),
    /// The agent's version.
    Agent(Text),
    /// The path of a running link.
    Link(postern_protocol::path::Path),
}

/// Why something was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// What it needs does not work.
    NeedsOther(Step),
    /// No proxy is configured for it.
    NoProxy,
    /// No name has to be resolved.
    NoName,
    /// No agent runs here.
    NotRunning,
    /// The device has told nobody an address.
    NoAddress,
    /// The hub names no relay that is reached like this.
    NoRelay,
    /// Nobody on the networks of this computer answers for the device.
    NobodyHere,
}

/// Why something does not work.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Nothing comes back.
    Silent,
    /// Somebody on the way, or there, says no.
    Rejected,
    /// There is no route.
    NoRoute,
    /// This computer's own firewall says no.
    OwnFirewall,
    /// A TCP connection, and no TLS on it.
    NoTls,
    /// TLS, and behind it nobody who answers: a box that reads it and passes on only what it knows. Whose certificate it shows.
    NotPassedOn(Option<Text>),
    /// Somebody else is there.
    OtherKey {
        /// Who should be.
        expected: PublicKey,
        /// Who is.
        found: PublicKey,
    },
    /// No version of the protocol is spoken on both sides.
    OtherVersion,
    /// A proxy.
    Proxy(ProxyName, ProxyFault),
    /// The hub knows the key as another's than it should be.
    Whose(Whose),
    /// This computer's clock is so many seconds ahead.
    Clock(i64),
    /// The link of a running agent is down; in its own words.
    LinkDown(String),
    /// The hub names no meeting: the device has no link to it, or is not the caller's.
    NoMeeting,
    /// The relay does not answer.
    NoRelay,
    /// The device does not come to the meeting.
    DoesNotCome,
    /// The device says no to who asks.
    Refused(postern_protocol::policy::Reason),
    /// The other side could not.
    Failed(Failure),
    /// Something else; in its own words.
    Other(String),
}

/// A finding for programs, and in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingReport {
    /// What was looked at.
    pub step: Step,
    /// The same for people.
    #[serde(skip)]
    pub name: &'static str,
    /// Where, if it has an address.
    pub at: Option<SocketAddr>,
    /// `ok`, `blocked` or `skipped`.
    pub result: &'static str,
    /// Why it is blocked, as a stable word.
    pub word: Option<&'static str>,
    /// What is to be said of it, for people.
    pub detail: String,
}

/// Everything that was found, and who looked.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    /// The address from which packets leave, where there is a route.
    pub from: Option<IpAddr>,
    /// The hub.
    pub hub: SocketAddr,
    /// In the order in which people think of it.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub const fn new(step: Step, at: Option<SocketAddr>, found: Found) -> Self {
        Self { step, at, found }
    }

    /// Whether it works.
    #[must_use]
    pub const fn has_passed(&self) -> bool {
        matches!(self.found, Found::Passed(_))
    }
}
