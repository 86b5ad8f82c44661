//! The words of findings: one for programs, and a sentence's half for people.

use postern_protocol::wire::hub::Whose;

use super::{Block, Finding, FindingReport, Found, Note, Skip, Step};
use crate::proxy::ProxyFault;

impl Step {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "running agent",
            Self::Name => "DNS",
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Proxy => "proxy",
            Self::Hub => "hub",
            Self::Clock => "clock",
            Self::Direct => "direct UDP",
            Self::Nearby => "this network",
            Self::RelayUdp => "relay, UDP",
            Self::RelayTls => "relay, TLS",
        }
    }
}

impl Finding {
    /// `ok`, `blocked` or `skipped`: stable, for programs.
    #[must_use]
    pub const fn result(&self) -> &'static str {
        match self.found {
            Found::Passed(_) => "ok",
            Found::Skipped(_) => "skipped",
            Found::Blocked(_) => "blocked",
        }
    }

    /// Why it is blocked, as a stable word for programs.
    #[must_use]
    pub const fn word(&self) -> Option<&'static str> {
        match &self.found {
            Found::Passed(_) | Found::Skipped(_) => None,
            Found::Blocked(block) => Some(block.word()),
        }
    }

    /// What is to be said of it; empty where nothing is.
    #[must_use]
    pub fn detail(&self) -> String {
        match &self.found {
            Found::Passed(note) => note.sentence(),
            Found::Skipped(skip) => skip.sentence(),
            Found::Blocked(block) => block.sentence(),
        }
    }

    /// The same for programs, and in words.
    #[must_use]
    pub fn report(&self) -> FindingReport {
        let Self { step, at, .. } = *self;
        let (name, result, word, detail) = (step.name(), self.result(), self.word(), self.detail());
        FindingReport { step, name, at, result, word, detail }
    }
}

impl Note {
    fn sentence(&self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Read(by) => format!("a box in between reads it and shows {}", certificate(by.as_ref())),
            Self::By(name) => format!("by {name}"),
            Self::Seen(version, seen) => format!("version {version}, sees packets from {seen}"),
            Self::Ahead(seconds) => format!("{} from the hub's", span(seconds.unsigned_abs())),
            Self::Agent(version) => format!("agent {version}"),
            Self::Link(path) => format!("its link is up, {}", path.remark().unwrap_or("over UDP")),
        }
    }
}

impl Skip {
    fn sentence(self) -> String {
        match self {
            Self::NeedsOther(step) => format!("cannot be tried without {}", step.name()),
            Self::NoProxy => "none is configured".to_owned(),
            Self::NoName => "not needed: the hub is known by its address".to_owned(),
            Self::NotRunning => "not running".to_owned(),
            Self::NoAddress => "the device has told the hub no address".to_owned(),
            Self::NoRelay => "the hub has no relay that is reached like this".to_owned(),
            Self::NobodyHere => "nobody here answers for it".to_owned(),
        }
    }
}

impl Block {
    /// A stable word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Silent => "dropped",
            Self::Rejected => "rejected",
            Self::NoRoute => "no_route",
            Self::OwnFirewall => "own_firewall",
            Self::NoTls => "no_tls",
            Self::NotPassedOn(_) => "tls_inspected",
            Self::OtherKey { .. } => "other_key",
            Self::OtherVersion => "other_version",
            Self::Proxy(_, fault) => match fault {
                ProxyFault::Unresolved => "proxy_name",
                ProxyFault::LoginWanted(_) | ProxyFault::SocksLoginWanted => "proxy_login_wanted",
                ProxyFault::LoginRefused(_) | ProxyFault::SocksLoginRefused | ProxyFault::LoginUnfit => {
                    "proxy_login_refused"
                }
                ProxyFault::SchemeUnspoken(_) | ProxyFault::NoMethod => "proxy_scheme",
                ProxyFault::Refused(_) | ProxyFault::SocksRefused(_) => "proxy_refused",
                ProxyFault::Unreachable(_) | ProxyFault::TimedOut { .. } | ProxyFault::Ended => {
                    "proxy_unreachable"
                }
                ProxyFault::NotHttp
                | ProxyFault::HeadTooLong { .. }
                | ProxyFault::NotSocks
                | ProxyFault::NoRandomness => "proxy_broken",
            },
            Self::Whose(Whose::Retired) => "retired",
            Self::Whose(Whose::Unconfirmed) => "unconfirmed",
            Self::Whose(Whose::Nobody | Whose::User | Whose::Device) => "unknown_key",
            Self::Clock(_) => "clock",
            Self::LinkDown(_) => "link_down",
            Self::NoMeeting => "no_meeting",
            Self::NoRelay => "no_relay",
            Self::DoesNotCome => "does_not_come",
            Self::Refused(reason) => reason.word(),
            Self::Failed(failure) => failure.word(),
            Self::Other(_) => "other",
        }
    }

    /// What people read.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Silent => "no answer: dropped on the way, or nobody is there".to_owned(),
            Self::Rejected => "refused: by a firewall, or nothing listens there".to_owned(),
            Self::NoRoute => "this computer has no route there".to_owned(),
            Self::OwnFirewall => "this computer's own firewall says no".to_owned(),
            Self::NoTls => "a TCP connection, and no TLS on it".to_owned(),
            Self::NotPassedOn(by) => {
                format!("a box in between ends it with {} and passes nothing on", certificate(by.as_ref()))
            }
            Self::OtherKey { expected, found } => {
                format!("key {} answers, expected is {}", found.fingerprint(), expected.fingerprint())
            }
            Self::OtherVersion => "no version of the protocol is spoken on both sides".to_owned(),
            Self::Proxy(name, fault) => format!("{name}: {fault}"),
            Self::Whose(Whose::Retired) => "says that this device is out of service".to_owned(),
            Self::Whose(Whose::Unconfirmed) => {
                "waits for somebody to confirm the key of this device".to_owned()
            }
            Self::Whose(Whose::Nobody | Whose::User | Whose::Device) => {
                "answers, and does not know the key of this computer".to_owned()
            }
            Self::Clock(ahead) => {
                let direction = if *ahead > 0 { "ahead of" } else { "behind" };
                format!("{} {direction} the hub's", span(ahead.unsigned_abs()))
            }
            Self::LinkDown(error) => format!("its link is down: {error}"),
            Self::NoMeeting => "the hub names no meeting: the device has no link to it".to_owned(),
            Self::NoRelay => "the relay does not answer".to_owned(),
            Self::DoesNotCome => "the relay answers, and the device does not come".to_owned(),
            Self::Refused(reason) => format!("reached; it says: {}", reason.sentence()),
            Self::Failed(failure) => failure.sentence().to_owned(),
            Self::Other(words) => words.clone(),
        }
    }
}

/// A certificate that is not the hub's, for people.
pub(super) fn certificate(by: Option<&postern_protocol::wire::text::Text>) -> String {
    by.map_or_else(|| "a certificate of its own".to_owned(), |by| format!("a certificate by `{by}`"))
}

/// A time between two clocks.
pub(super) fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours @ 0..48, minutes, _) => format!("{hours} h {minutes} min"),
        (hours, ..) => format!("{} days", hours / 24),
    }
}
