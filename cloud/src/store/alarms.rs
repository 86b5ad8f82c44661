//! What somebody should look at: one row for each device and kind of alarm, whatever happens how often.
//!
//! A device that is attacked every second costs one row and a count. An alarm stays until a person clears it; it denies
//! nothing by itself.

use super::engine::{Row, params};
use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::control;
use postern_protocol::wire::text::Text;

use super::people::parse_name;
use super::{StoreError, Tx, secs, time};

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident, $word:literal, $sentence:literal, $next:literal; )+) => {
        /// What an alarm is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum AlarmKind {
            $( $(#[$doc])* $name, )+
        }

        impl AlarmKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$( Self::$name, )+];

            /// The word in tables, JSON and the state file.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )+ }
            }

            /// What has happened.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $( Self::$name => $sentence, )+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn next_step(self) -> &'static str {
                match self { $( Self::$name => $next, )+ }
            }
        }
    };
}

kinds! {
    /// Two machines use one device key at the same time.
    Clone, "clone", "two machines use the key of this device",
        "find the copy, then enrol the genuine device anew with `postern-agent enroll CODE --replace`";
    /// The device came back with an older memory of itself.
    Restored, "restored", "the device runs from an older copy of its disk",
        "if nobody restored it on purpose, treat it as a clone";
    /// Somebody presented an older snapshot to the device.
    Rollback, "rollback", "the device was offered policy older than what it holds",
        "find out who sent it; restore the hub's newest backup if it was restored from an old one";
    /// Somebody signed two stories under one version.
    Equivocation, "equivocation", "the device was offered a second story of one version",
        "treat the policy key as stolen until it is explained";
    /// The device was told of something newer and did not get it.
    Freeze, "freeze", "the device was told of a newer version and did not get it",
        "find out who withholds it; look at the hub's log and at what stands between";
    /// The device may work without its cloud no longer.
    Budget, "budget", "the device has used up its time without the cloud, and permits nothing until it hears it",
        "restore its link; if it could not be heard for other reasons, raise `offline` of the device";
    /// The device would permit what it must refuse.
    SelfTest, "self_test", "the device would permit what it must refuse, and serves nobody",
        "keep its log, then install another version of the agent";
    /// The device has sent two different rows of its audit trail for one place.
    Fork, "fork", "the device has sent two different rows for one place of its audit trail",
        "the first one counts; if the device was not restored from an older image, its disk was tampered with";
    /// The device has begun another audit trail.
    NewLog, "new_log", "the device has begun another audit trail; what was not uploaded of the one before may be missing",
        "its first row says why; if nobody replaced its disk, treat rows that are missing as removed";
    /// The rows of the device are not sealed as they must be.
    Seal, "seal", "rows of the device's audit trail were not taken: their seal or checkpoint is wrong",
        "treat the device as taken over until it is explained";
}

impl From<control::AlarmKind> for AlarmKind {
    fn from(raised: control::AlarmKind) -> Self {
        match raised {
            control::AlarmKind::Rollback => Self::Rollback,
            control::AlarmKind::Equivocation => Self::Equivocation,
            control::AlarmKind::Freeze => Self::Freeze,
            control::AlarmKind::Budget => Self::Budget,
            control::AlarmKind::SelfTest => Self::SelfTest,
        }
    }
}

/// An alarm that nobody has cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The device.
    pub device: Name,
    /// What it is about.
    pub kind: AlarmKind,
    /// The newest details, for people.
    pub detail: String,
    /// When it happened first.
    pub first: UnixTime,
    /// When it happened last.
    pub last: UnixTime,
    /// How often.
    pub count: u64,
}

impl Tx<'_> {
    /// Raises an alarm, or counts it up where it stands already.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn alarm(
        &self,
        device: &Name,
        kind: AlarmKind,
        detail: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut raise = self.sql.prepare_cached(
            "INSERT INTO alarm (device, kind, detail, first, last, count) VALUES (?1, ?2, ?3, ?4, ?4, 1)
             ON CONFLICT (device, kind) DO UPDATE SET detail = ?3, last = ?4, count = alarm.count + 1",
        )?;
        raise.execute(params![device.as_str(), kind.word(), Text::clean(detail).as_str(), secs(now)])?;
        if let Some(metrics) = self.metrics() {
            metrics.alarm(kind.word());
        }
        Ok(())
    }

    /// All alarms, by device and kind.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT device, kind, detail, first, last, count FROM alarm ORDER BY device, kind",
        )?;
        let mut rows = query.query(params![])?;
        let mut alarms = Vec::new();
        while let Some(row) = rows.next()? {
            alarms.push(alarm(row)?);
        }
        Ok(alarms)
    }

    /// Clears the alarms of a device and says how many there were.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn clear_alarms(&self, device: &Name) -> Result<usize, StoreError> {
        self.sql.execute("DELETE FROM alarm WHERE device = ?", params![device.as_str()])
    }
}

fn alarm(row: Row<'_>) -> Result<Alarm, StoreError> {
    let (device, kind): (String, String) = (row.get(0)?, row.get(1)?);
    let kind = AlarmKind::ALL.iter().copied().find(|known| known.word() == kind);
    Ok(Alarm {
        device: parse_name(&device)?,
        kind: kind.ok_or(StoreError::Damaged { what: "alarm" })?,
        detail: row.get(2)?,
        first: time(row.get(3)?),
        last: time(row.get(4)?),
        count: u64::try_from(row.get::<i64>(5)?).unwrap_or(0),
    })
}
