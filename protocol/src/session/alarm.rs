//! What a device raises an alarm about, and how often: once for each kind and hour, whatever happens meanwhile.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::policy::SelfTestFault;
use crate::time::BootTime;
use crate::wire::control::{AlarmKind, Held};
use crate::wire::text::Text;

/// What has happened. An alarm denies nothing by itself; what is not trusted is not trusted without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An older policy than the one held was offered, or named as the newest.
    OlderPolicy {
        /// What was offered or named; none when the cloud says that there is none.
        found: Option<Held>,
        /// What is held.
        held: Held,
    },
    /// An older root than the one held was named as the newest.
    OlderRoot {
        /// The version named.
        found: u32,
        /// The version held.
        held: u32,
    },
    /// Another content of the version that is held.
    Equivocation {
        /// The version of both.
        version: u64,
    },
    /// A newer policy was named and did not come.
    MissingPolicy {
        /// What was named.
        named: Held,
    },
    /// A newer root was named and did not come.
    MissingRoot {
        /// The version named.
        version: u32,
    },
    /// A newer lock was named and did not come.
    MissingLock {
        /// The sequence named.
        sequence: u64,
    },
    /// The budget for work without the cloud is used up.
    Spent {
        /// The whole budget in seconds.
        total_s: u32,
    },
    /// The self-test failed, and nobody is served.
    SelfTest(SelfTestFault),
}

impl Cause {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> AlarmKind {
        match self {
            Self::OlderPolicy { .. } | Self::OlderRoot { .. } => AlarmKind::Rollback,
            Self::Equivocation { .. } => AlarmKind::Equivocation,
            Self::MissingPolicy { .. } | Self::MissingRoot { .. } | Self::MissingLock { .. } => {
                AlarmKind::Freeze
            }
            Self::Spent { .. } => AlarmKind::Budget,
            Self::SelfTest(_) => AlarmKind::SelfTest,
        }
    }

    /// The details as they are recorded and reported.
    #[must_use]
    pub fn detail(&self) -> Text {
        Text::clean(&self.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OlderPolicy { found: Some(found), held } => write!(
                f,
                "policy version {} (epoch {}) was offered or named, version {} (epoch {}) is held",
                found.version, found.epoch, held.version, held.epoch
            ),
            Self::OlderPolicy { found: None, held } => {
                write!(
                    f,
                    "the cloud knows no policy, version {} (epoch {}) is held",
                    held.version, held.epoch
                )
            }
            Self::OlderRoot { found, held } => {
                write!(f, "root version {found} was named, version {held} is held")
            }
            Self::Equivocation { version } => {
                write!(f, "another policy with version {version} was offered or named")
            }
            Self::MissingPolicy { named } => {
                write!(
                    f,
                    "policy version {} (epoch {}) was named and did not come",
                    named.version, named.epoch
                )
            }
            Self::MissingRoot { version } => write!(f, "root version {version} was named and did not come"),
            Self::MissingLock { sequence } => write!(f, "lock {sequence} was named and did not come"),
            Self::Spent { total_s } => write!(f, "{total_s} s without a word of the cloud are used up"),
            Self::SelfTest(fault) => fault.fmt(f),
        }
    }
}

/// Alarms that wait to be recorded, and when each kind was last raised; pure.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarms {
    last: [Option<BootTime>; AlarmKind::ALL.len()],
    pending: VecDeque<Cause>,
}

impl Alarms {
    /// Raises an alarm, unless one of its kind was raised within the hour.
    pub(super) fn raise(&mut self, cause: Cause, now: BootTime) {
        let kinds = AlarmKind::ALL.into_iter().zip(&mut self.last);
        let slot = kinds.into_iter().find(|(kind, _)| *kind == cause.kind()).map(|(_, last)| last);
        if let Some(last) = slot
            && last.is_none_or(|last| now.since(last) >= HOUR)
        {
            *last = Some(now);
            self.pending.push_back(cause);
        }
    }

    /// The next alarm to record and report.
    pub(super) fn poll(&mut self) -> Option<Cause> {
        self.pending.pop_front()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Digest;

    fn boot(secs: u64) -> BootTime {
        BootTime::from_millis(secs * 1000)
    }

    #[test]
    fn each_kind_is_raised_once_an_hour_and_kinds_do_not_hide_each_other() {
        let held = Held { epoch: 1, version: 7, digest: Digest::of(&[b"seven"]) };
        let older = Cause::OlderPolicy { found: None, held };
        let mut alarms = Alarms::default();
        for second in 0..100 {
            alarms.raise(older, boot(second));
            alarms.raise(Cause::OlderRoot { found: 1, held: 2 }, boot(second));
        }
        alarms.raise(Cause::Equivocation { version: 7 }, boot(100));
        assert_eq!(alarms.poll(), Some(older));
        assert_eq!(alarms.poll(), Some(Cause::Equivocation { version: 7 }));
        assert_eq!(alarms.poll(), None);
        alarms.raise(older, boot(3599));
        assert_eq!(alarms.poll(), None);
        alarms.raise(older, boot(3600));
        assert_eq!(alarms.poll(), Some(older));
    }

    #[test]
    fn details_name_what_was_seen_and_what_is_held() {
        let held = Held { epoch: 1, version: 7, digest: Digest::of(&[b"seven"]) };
        let found = Some(Held { version: 6, ..held });
        assert_eq!(
            Cause::OlderPolicy { found, held }.detail().as_str(),
            "policy version 6 (epoch 1) was offered or named, version 7 (epoch 1) is held"
        );
        assert_eq!(
            Cause::MissingPolicy { named: held }.to_string(),
            "policy version 7 (epoch 1) was named and did not come"
        );
    }
}
