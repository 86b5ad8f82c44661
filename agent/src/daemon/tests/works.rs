//! What a device does while its disk fails, and what it was promised by then.

use std::path::Path;
use std::time::Duration;

use postern_disk::{Disk, Image};
use postern_protocol::audit::Event;
use postern_protocol::policy::Reason;
use postern_protocol::trust::PublicKey;

use super::life::{DEVICE, Life, NOW, enrol, enrollment, grants, holding, lock, policy, store_enrolment};
use crate::trouble::Trouble;
use crate::{identity, store};

/// What a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It starts, ends and starts.
    Start,
    /// It takes version 3, which withdraws everything, and version 4, which grants it again, with rows between them.
    Activation,
    /// It writes rows, alone and several at a time.
    Rows,
    /// It takes a lock, and version 4, which lifts it.
    Lock,
    /// It makes its next key and takes version 4, which is for that.
    Rotation,
    /// It is enrolled.
    Enrolment,
    /// It is enrolled anew, with another key.
    NewEnrolment,
}

/// What held when the disk failed, and must hold from then on.
#[derive(Debug)]
pub(super) struct Promises {
    work: Work,
    /// The newest version that was acknowledged; none before the enrolment was.
    acknowledged: Option<u64>,
    /// The newest version that was taken.
    taken: u64,
    /// Numbers of rows that are durable.
    rows: Vec<u32>,
    /// The key before, and the next one.
    keys: (PublicKey, Option<PublicKey>),
    /// Whether a lock was acknowledged, if there was one.
    lock: Option<bool>,
}

impl Promises {
    /// Does the work. `arm` is called when nothing but the work itself is to come, and `running` when all of it is done and the
    /// device still runs.
    pub(super) async fn of(
        work: Work,
        dir: &Path,
        disk: &Disk,
        arm: impl FnOnce(),
        running: impl FnOnce(),
    ) -> Self {
        let keys = (super::life::key(0).public(), None);
        let mut promised = Self { work, acknowledged: None, taken: 1, rows: Vec::new(), keys, lock: None };
        if work == Work::Enrolment {
            arm();
            promised.acknowledged = enrol(dir).is_ok().then_some(1);
            return promised;
        }
        (promised.acknowledged, promised.taken) = (Some(2), 2);
        promised.keys.0 = identity::Keys::load(dir).unwrap().present.public();
        match work {
            Work::Start => {
                arm();
                let Ok(life) = Life::start(dir).await else { return promised };
                promised.record(&life, 1).await;
                life.end().await;
                let Ok(life) = Life::start(dir).await else { return promised };
                promised.record(&life, 2).await;
                running();
                life.end().await;
            }
            Work::NewEnrolment => {
                arm();
                promised.enrol_anew(dir);
            }
            Work::Activation | Work::Rows | Work::Lock | Work::Rotation | Work::Enrolment => {
                let mut life = Life::start(dir).await.unwrap();
                arm();
                promised.live(&mut life, disk).await;
                running();
                life.end().await;
            }
        }
        promised
    }

    async fn live(&mut self, life: &mut Life, disk: &Disk) {
        let key = self.keys.0;
        match self.work {
            Work::Activation => {
                self.take(life, 3, key, 0).await;
                self.record(life, 1).await;
                self.take(life, 4, key, 0).await;
            }
            Work::Rows => {
                for number in 1..=3 {
                    self.record(life, number).await;
                }
                let together = tokio::join!(life.record(4), life.record(5), life.record(6));
                let durable = [(4, together.0), (5, together.1), (6, together.2)];
                self.rows.extend(durable.iter().filter(|(_, is)| *is).map(|(number, _)| number));
                self.record(life, 7).await;
            }
            Work::Lock => {
                self.lock = Some(false);
                self.lock = Some(life.activator.take_lock(lock(1)).await);
                self.take(life, 4, key, 1).await;
            }
            Work::Rotation => {
                let Ok(next) = life.core.keys.prepare() else { return };
                self.keys.1 = Some(next);
                self.take(life, 4, next, 0).await;
            }
            Work::Start | Work::Enrolment | Work::NewEnrolment => {}
        }
        while !disk.struck() && tokio::time::timeout(GLANCE, life.paid()).await.is_err() {}
    }

    fn enrol_anew(&mut self, dir: &Path) {
        let Ok(next) = identity::create_next(dir) else { return };
        self.keys.1 = Some(next.public());
        self.taken = 6;
        if store_enrolment(dir, &policy(6, next.public(), 0)).is_ok() {
            self.acknowledged = Some(6);
            let event = Event::Enrolled { device: DEVICE, key: next.public() };
            let _row = store::record(dir, 1 << 24, NOW, &event);
        }
    }

    async fn take(&mut self, life: &mut Life, version: u64, key: PublicKey, cleared: u64) {
        self.taken = version;
        if life.take(policy(version, key, cleared)).await {
            self.acknowledged = Some(version);
        }
    }

    async fn record(&mut self, life: &Life, number: u32) {
        if life.record(number).await {
            self.rows.push(number);
        }
    }

    /// Starts a device with the files that were left, and demands everything.
    pub(super) async fn hold(&self, image: &Image, what: &str) {
        let dir = holding(image);
        let dir = dir.path();
        let what = format!("{:?}, {what}: {self:?}", self.work);
        let mut life = self.started(dir, &what).await;
        let version = life.version().unwrap_or_else(|| panic!("no policy is in force: {what}"));
        let denied = self.in_force(&life, version, &what).await;
        life.end().await;
        // A start changes nothing of that, and the next version heals whatever there was.
        life = Life::start(dir).await.unwrap();
        assert_eq!((life.version(), life.denied()), (Some(version), denied), "{what}");
        assert!(life.take(policy(10, life.core.keys.public(), 9)).await, "{what}");
        assert_eq!(life.denied(), None, "{what}");
        life.end().await;
        life = Life::start(dir).await.unwrap();
        assert_eq!((life.version(), life.denied()), (Some(10), None), "{what}");
        life.end().await;
    }

    /// A device that has started; where it is not enrolled yet, the same command finishes that first.
    async fn started(&self, dir: &Path, what: &str) -> Life {
        match Life::start(dir).await {
            Err(error @ (Trouble::Store(_) | Trouble::Key(_))) if self.acknowledged.is_none() => {
                enrol(dir).unwrap_or_else(|again| panic!("{error}, then {again}: {what}"));
                Life::start(dir).await.unwrap()
            }
            started => started.unwrap_or_else(|error| panic!("{error}: {what}")),
        }
    }

    /// The old state or the new one, whole; why the user is denied in it.
    async fn in_force(&self, life: &Life, version: u64, what: &str) -> Option<Reason> {
        let least = self.acknowledged.unwrap_or(1);
        assert!((least..=self.taken).contains(&version), "version {version} is in force: {what}");
        let floor = life.floor();
        assert_eq!(floor, Some(version), "{what}");
        let (old, next) = self.keys;
        let key = match (self.work, next) {
            (Work::Rotation, Some(next)) if version == 4 => next,
            (Work::NewEnrolment, Some(next)) if version == 6 => next,
            (Work::Enrolment, _) => life.core.keys.public(),
            _ => old,
        };
        assert_eq!(life.core.keys.public(), key, "{what}");
        let index = life.core.gate.policy().unwrap();
        assert_eq!(index.snapshot().device_key, key, "{what}");
        if !matches!(self.work, Work::Enrolment) && version != 6 {
            let secret = life.core.secrets.reveal(&"hmi".parse().unwrap());
            assert_eq!(secret.unwrap().reveal(), b"4711", "{what}");
        }
        let denied = life.denied();
        match (self.lock, version) {
            (Some(true), 2) => assert_eq!(denied, Some(Reason::UserDisabled), "{what}"),
            (Some(false), 2) => assert!([None, Some(Reason::UserDisabled)].contains(&denied), "{what}"),
            _ => assert_eq!(denied, (!grants(version)).then_some(Reason::NoGrant), "{what}"),
        }
        life.core.store.verify().await.unwrap_or_else(|error| panic!("{error}: {what}"));
        let mut found = life.numbers().await.into_iter();
        assert!(self.rows.iter().all(|row| found.any(|number| number == *row)), "a row is lost: {what}");
        assert_eq!(enrollment(), life.enrollment(), "{what}");
        denied
    }
}

const GLANCE: Duration = Duration::from_millis(20);
