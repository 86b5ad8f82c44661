//! One life of a device, from its start to its end or the end of its disk.

use std::path::Path;
use std::sync::Arc;

use postern_disk::Image;
use postern_protocol::audit::{Event, Row};
use postern_protocol::id::{DeviceId, FleetId, UserId};
use postern_protocol::limits;
use postern_protocol::policy::{
    Category, DeviceLimits, Floor, FreshnessRule, Grant, Kind, Mode, Origin, Reach, Reason, Service,
    Snapshot, Target, User,
};
use postern_protocol::session::freshness::Memory;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::root::RoleKeys;
use postern_protocol::trust::sealed::Plaintext;
use postern_protocol::trust::{
    Digest, Envelope, Lock, LockTarget, PublicKey, Role, Root, SecretKey, Timestamp,
};
use postern_protocol::wire::control::Held;
use postern_protocol::wire::text::Text;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::{Core, resume};
use crate::identity::{self, DeviceKeys, Keys};
use crate::secrets::Keyring;
use crate::store::{self, Enrollment};
use crate::sync::Activator;
use crate::trouble::Trouble;

pub(super) const FLEET: FleetId = FleetId::new([1; 8]);
pub(super) const DEVICE: DeviceId = DeviceId::new([2; 8]);
pub(super) const USER: UserId = UserId::new([3; 8]);
/// When everything was signed.
pub(super) const NOW: UnixTime = UnixTime::from_secs(4_000_000_000);

/// A device that runs, without its link.
pub(super) struct Life {
    pub(super) core: Core,
    pub(super) activator: Activator,
    payer: JoinHandle<()>,
}

impl Life {
    /// Starts as the agent does, up to the moment at which it would dial the hub.
    pub(super) async fn start(dir: &Path) -> Result<Self, Trouble> {
        Self::start_with(dir, Clock::new).await
    }

    /// The same with another clock.
    pub(super) async fn start_with(
        dir: &Path,
        clock: impl FnOnce(&Memory) -> Clock,
    ) -> Result<Self, Trouble> {
        let text = format!("state_dir = \"{}\"\nmachine_networks = [\"192.0.2.0/24\"]\n", dir.display());
        let config = Config::parse(&text, Path::new("agent.toml")).unwrap();
        let keys = Arc::new(DeviceKeys::new(dir.to_owned(), Keys::load(dir)?));
        let (databases, mut boot) = store::boot(dir, u64::from(config.audit.size_kib) * 1024)?;
        let core = Core::new(&config, keys, &mut boot, (store::start(databases), clock))?;
        let mut activator = core.activator(&boot);
        resume(&mut activator, &core.auditor, &boot).await;
        let payer = tokio::spawn(core.auditor.clone().pay());
        Ok(Self { core, activator, payer })
    }

    /// Ends in order, as far as the disk lets it.
    pub(super) async fn end(self) {
        let Self { core, activator, payer } = self;
        core.store.keep_time(core.gate.clock().now()).await;
        payer.abort();
        core.store.close().await;
        drop(activator);
    }

    /// The version in force.
    pub(super) fn version(&self) -> Option<u64> {
        self.core.gate.policy().map(|index| index.floor().version)
    }

    /// Why the usual user does not reach the machine without the hub; none when they do.
    pub(super) fn denied(&self) -> Option<Reason> {
        self.core.gate.explain(USER, "web", None, None).denied
    }

    /// The version that is the least from now on.
    pub(super) fn floor(&self) -> Option<u64> {
        self.activator.known().0.map(|floor| floor.version)
    }

    /// Who the device is.
    pub(super) fn enrollment(&self) -> Enrollment {
        self.activator.known().1.clone()
    }

    /// Takes a snapshot as if it came from the hub; whether it was acknowledged.
    pub(super) async fn take(&mut self, (held, sealed): (Held, Vec<u8>)) -> bool {
        self.activator.take_policy(held, sealed).await
    }

    /// The cloud says what time it is and that what is in force is the newest; what follows from that is stored.
    pub(super) async fn confirm(&self) {
        self.link(true);
        assert!(self.answer());
        let clock = self.core.gate.clock();
        if let Some(note) = clock.poll_note() {
            clock.noted(self.core.store.note(note).await.is_ok());
        }
        self.link(false);
    }

    /// The link comes up or goes down.
    pub(super) fn link(&self, is_up: bool) {
        self.core.gate.clock().linked(is_up);
    }

    /// The cloud answers, if it is asked now; whether it was.
    pub(super) fn answer(&self) -> bool {
        let clock = self.core.gate.clock();
        let Some(nonce) = clock.question() else { return false };
        let Floor { epoch, version, digest } = self.core.gate.policy().unwrap().floor();
        let timestamp = Timestamp {
            fleet: FLEET,
            device: DEVICE,
            nonce,
            time: clock.now().max(NOW),
            root_version: 1,
            held: Some(Held { epoch, version, digest }),
            lock: self.activator.known_locks(),
        };
        assert!(clock.hear(&timestamp).refreshed);
        true
    }

    /// Writes a row with a number in it; whether it is durable.
    pub(super) async fn record(&self, number: u32) -> bool {
        let event = Event::Control { uid: number, command: Text::clean("a row") };
        self.core.auditor.record(event).await.is_ok()
    }

    /// Waits until every row that is owed is written.
    pub(super) async fn paid(&self) {
        self.core.auditor.finish().await;
    }

    /// The trail.
    pub(super) async fn rows(&self) -> Vec<Row> {
        self.core.store.newest(u16::MAX).await.unwrap()
    }

    /// The numbers of [`record`](Self::record) in the trail.
    pub(super) async fn numbers(&self) -> Vec<u32> {
        let number = |row: Row| {
            let Event::Control { uid, .. } = row.event else { return None };
            Some(uid)
        };
        self.rows().await.into_iter().filter_map(number).collect()
    }
}

/// A key of the installation.
pub(super) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn root() -> Vec<u8> {
    let role = |role, seed| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
    let roles = vec![
        role(Role::Root, 100),
        role(Role::Policy, 101),
        role(Role::Identity, 102),
        role(Role::Timestamp, 103),
        role(Role::Lock, 104),
        role(Role::AuditAck, 105),
    ];
    let hubs = vec![key(106).public()];
    let root = Root { fleet: FLEET, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs };
    Envelope::seal(&root, &[&key(100)]).unwrap()
}

/// What an enrolment assigns.
pub(super) fn enrollment() -> Enrollment {
    let root = root();
    Enrollment {
        device: DEVICE,
        hub_key: key(106).public(),
        hubs: vec!["192.0.2.200:7440".parse().unwrap()],
        pinned: digest(&root, limits::ROOT_BYTES),
        roots: vec![root],
    }
}

fn digest(sealed: &[u8], limit: usize) -> Digest {
    Digest::of(&[Envelope::parse(sealed, limit).unwrap().payload()])
}

/// A snapshot for a key: odd versions from 3 on withdraw what the others grant, each lifts the locks up to `cleared`.
pub(super) fn policy(version: u64, device_key: PublicKey, cleared: u64) -> (Held, Vec<u8>) {
    let service = Service {
        name: "web".parse().unwrap(),
        tunnels: 10,
        idle_s: 600,
        duration_s: 36_000,
        view_only: false,
        reach: Reach::whole(Kind::Vpn, Target { ip: [192, 0, 2, 9].into(), port: 502 }),
    };
    let grant = Grant {
        user: 0,
        category: 0,
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: true,
        mode: Mode::Full { clipboard: false },
        origin: 0,
    };
    let origin = Origin::Assignment {
        assignment: "a-1".to_owned().try_into().unwrap(),
        role: "engineer".to_owned().try_into().unwrap(),
        group: None,
    };
    let snapshot = Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key,
        epoch: 1,
        locks_cleared: cleared,
        version,
        issued: NOW,
        expires: NOW.saturating_add(1_000_000),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 10, tunnels_per_user: 10 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services: vec![service],
        categories: vec![Category { name: "all".parse().unwrap(), services: vec![0], record: false }],
        users: vec![User {
            id: USER,
            keys: vec![key(31).public()],
            disabled: false,
            passes_from: UnixTime::EPOCH,
        }],
        origins: vec![origin],
        grants: if grants(version) { vec![grant] } else { Vec::new() },
        prohibitions: Vec::new(),
        paths: Vec::new(),
        cases: Vec::new(),
        approvals: Vec::new(),
        secrets: Vec::new(),
        recording_key: None,
    };
    let sealed = Envelope::seal(&snapshot, &[&key(101)]).unwrap();
    (Held { epoch: 1, version, digest: digest(&sealed, limits::SNAPSHOT_BYTES) }, sealed)
}

/// Whether a version of [`policy`] grants the user the machine.
pub(super) const fn grants(version: u64) -> bool {
    version.is_multiple_of(2)
}

/// A lock of the usual user.
pub(super) fn lock(sequence: u64) -> Vec<u8> {
    let targets = vec![LockTarget::User(USER)];
    let lock = Lock { fleet: FLEET, device: DEVICE, epoch: 1, sequence, issued: NOW, targets };
    Envelope::seal(&lock, &[&key(104)]).unwrap()
}

/// A directory in memory, where there is one: a thousand starts must not wait for the disk of this computer.
pub(super) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A directory with these files.
pub(super) fn holding(image: &Image) -> tempfile::TempDir {
    let dir = directory();
    postern_disk::write(dir.path(), image);
    dir
}

/// What the commands before the first start do.
pub(super) fn enrol(dir: &Path) -> Result<(), Trouble> {
    store::prepare_enrollment(dir, false)?;
    let key = identity::create(dir)?;
    store_enrolment(dir, &policy(1, key.public(), 0))
}

/// What follows the hub's answer.
pub(super) fn store_enrolment(dir: &Path, (held, sealed): &(Held, Vec<u8>)) -> Result<(), Trouble> {
    let floor = Floor { epoch: 1, version: held.version, digest: held.digest };
    store::enroll(dir, &enrollment(), floor, sealed)?;
    identity::promote(dir)?;
    store::copy_enrollment(dir, &enrollment(), floor)?;
    Ok(())
}

/// The files of a device that has version 2 in force and a secret of its own, with the journals of a power cut where it is
/// `sudden`.
pub(super) async fn usual(sudden: bool) -> Image {
    let dir = directory();
    enrol(dir.path()).unwrap();
    let mut life = Life::start(dir.path()).await.unwrap();
    let name = "hmi".parse().unwrap();
    let plain = Plaintext::new(b"4711".to_vec().into()).unwrap();
    let sealed = Keyring::new(&life.core.keys.present(), FLEET, DEVICE).unwrap().seal(&name, &plain).unwrap();
    life.core.store.keep_secret(name, sealed).await.unwrap();
    assert!(life.take(policy(2, life.core.keys.public(), 0)).await);
    life.paid().await;
    let running = postern_disk::read(dir.path());
    life.end().await;
    if sudden { running } else { postern_disk::read(dir.path()) }
}
