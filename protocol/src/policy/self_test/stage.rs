//! A policy, callers and forgeries of the self-test's own.
//!
//! Each service is granted to one user under one condition of its own, so that a request for it fails by that condition alone.
//! The keys are made of seeds that everybody can read here: they sign for a fleet that no device belongs to, and no root that a
//! device holds names them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::super::locks::{LockPlace, Locks};
use super::super::mode::Mode;
use super::super::reason::Reason;
use super::super::snapshot::rules::Kind;
use super::super::snapshot::{
    Approval, Category, DeviceLimits, Grant, Origin, Prohibition, Reach, Service, Snapshot, Target, User,
};
use super::super::verify::{Expectation, verify};
use super::{
    Circumstances, Freshness, IMPOSTORS, Index, Probe, Refusable, Request, SelfTestFault, Strangers,
};
use crate::id::{ApprovalId, DeviceId, FleetId, UserId};
use crate::name::{Label, Name};
use crate::policy::FreshnessRule;
use crate::time::UnixTime;
use crate::trust::pass::Presented;
use crate::trust::{
    Envelope, Factor, Method, Narrowing, Pass, Proof, PublicKey, Role, RoleKeys, Root, SecretKey, Signed,
    Subject,
};

/// When everything happens.
pub(super) const INSTANT: UnixTime = UnixTime::from_secs(1_000);
/// The service that is permitted.
pub(super) const SERVICE: &str = "a-granted";

/// What the requests are made of.
pub(super) struct Stage {
    root: Root,
    identity: SecretKey,
    policy: SecretKey,
    /// Of the user.
    key: SecretKey,
    index: Arc<Index>,
    locked: Arc<Index>,
    unassigned: Arc<Index>,
    sealed: Vec<u8>,
    /// Whom the policy names, with a second factor that was used a while ago.
    caller: Subject,
    /// The same with a pass for one service, and without a second factor.
    narrowed: Subject,
    /// The same with a key that the policy does not name.
    impostor: Subject,
    disabled: Subject,
    unknown: Subject,
}

impl Stage {
    pub(super) fn set() -> Result<Self, SelfTestFault> {
        let [policy, identity, device, key, other] =
            [POLICY, IDENTITY, DEVICE_KEY, USER_KEY, OTHER_KEY].map(secret);
        let (policy, identity, key, other) = (policy?, identity?, key?, other?);
        let root = root()?;
        let snapshot = snapshot(device?.public(), key.public())?;
        let sealed = seal(&snapshot, &policy, "policy")?;
        let index = index(&sealed, &expectation(&root, &snapshot))?;
        let mut locks = Locks::default();
        // What cannot be read locks the whole device.
        locks.restore(LockPlace { epoch: EPOCH, sequence: 1 }, &[]);
        let locked = Arc::new(Index::clone(&index).under(&locks));
        let mut nobodys = Snapshot { assigned: false, grants: vec![], prohibitions: vec![], ..snapshot };
        nobodys.approvals.clear();
        let expected = expectation(&root, &nobodys);
        let unassigned = self::index(&seal(&nobodys, &policy, "policy")?, &expected)?;
        let only = Narrowing { devices: None, services: Some(vec![name(FACTOR)?]) };
        let known = |user, key: &SecretKey| subject(&root, &identity, (user, key), Narrowing::NONE);
        Ok(Self {
            index,
            locked,
            unassigned,
            sealed,
            caller: known(USER, &key)?,
            narrowed: subject(&root, &identity, (USER, &key), only)?,
            impostor: known(USER, &other)?,
            disabled: known(DISABLED, &key)?,
            unknown: known(UNKNOWN, &key)?,
            root,
            identity,
            policy,
            key,
        })
    }

    /// What was changed after it was signed, or signed by others, is taken nowhere. Returns how many such things there were.
    pub(super) fn forgeries(&self) -> Result<u16, SelfTestFault> {
        let expected = expectation(&self.root, self.index.snapshot());
        let taken = |sealed: &[u8]| verify(sealed, &expected).is_ok();
        let mut changed = self.sealed.clone();
        if let Some(byte) = changed.get_mut(CHANGED) {
            *byte ^= 1;
        }
        let payload = Envelope::parse(&self.sealed, Snapshot::MAX_BYTES).map(|sealed| sealed.payload());
        let by_others =
            payload.and_then(|it| Envelope::seal_payload(Snapshot::DOMAIN, it, &[&self.identity]));
        let (user, key) = ((USER, &self.key), &self.key);
        let (signed, by_policy) =
            (pass(&self.identity, user, Narrowing::NONE)?, pass(&self.policy, user, Narrowing::NONE)?);
        for (what, is_taken) in [
            ("a policy that was changed", taken(&changed)),
            (
                "a policy that others have signed",
                taken(&by_others.map_err(|_| SelfTestFault::Stage("policy"))?),
            ),
            ("a pass that others have signed", present(&self.root, &by_policy, key, &EXPORTER).is_some()),
            ("a proof of another connection", present(&self.root, &signed, key, &[0; 32]).is_some()),
        ] {
            if is_taken {
                return Err(SelfTestFault::Forged(what));
            }
        }
        Ok(4)
    }

    /// What is permitted.
    pub(super) fn allowed(&self) -> Request<'_> {
        let circumstances = Circumstances::alone(INSTANT, Freshness::ALWAYS);
        Request { policy: Some(&self.index), subject: &self.caller, service: SERVICE, circumstances }
    }

    /// What differs from it in one thing.
    pub(super) fn requests(&self) -> Vec<Refusable<'_>> {
        let at = |now| Circumstances { now, ..self.allowed().circumstances };
        let of = |service| Request { service, ..self.allowed() };
        let by = |subject| Request { subject, ..self.allowed() };
        let under = |policy| Request { policy, ..self.allowed() };
        let when = |circumstances| Request { circumstances, ..self.allowed() };
        let full = Circumstances { open_on_service: TUNNELS.into(), ..at(INSTANT) };
        let unheard = Circumstances { freshness: Freshness::NEVER, ..at(INSTANT) };
        vec![
            (Probe::NoPolicy, under(None), Reason::NoPolicy),
            (Probe::PassOver, when(at(PASS_ENDS)), Reason::BadPass),
            (Probe::OtherKey, by(&self.impostor), Reason::BadPass),
            (Probe::DisabledUser, by(&self.disabled), Reason::UserDisabled),
            (Probe::Unassigned, under(Some(&self.unassigned)), Reason::DeviceUnassigned),
            (Probe::PolicyOver, when(at(POLICY_ENDS)), Reason::PolicyStale),
            (Probe::Unheard, when(unheard), Reason::PolicyStale),
            (Probe::UnknownUser, by(&self.unknown), Reason::NoGrant),
            (Probe::UnknownService, of("no-such-service"), Reason::NoGrant),
            (Probe::OtherCategory, of(NOT_GRANTED), Reason::NoGrant),
            (Probe::PassNarrowed, by(&self.narrowed), Reason::NoGrant),
            (Probe::Prohibited, of(PROHIBITED), Reason::NoGrant),
            (Probe::WindowAhead, of(AHEAD), Reason::NotYet),
            (Probe::WindowOver, of(OVER), Reason::Expired),
            (
                Probe::NoSecondFactor,
                Request { service: FACTOR, ..by(&self.narrowed) },
                Reason::SecondFactorRequired,
            ),
            (Probe::OldSecondFactor, of(FACTOR), Reason::SecondFactorStale),
            (Probe::NoCase, of(CASE), Reason::CaseInactive),
            (Probe::NoApproval, of(NOT_APPROVED), Reason::ApprovalPending),
            (Probe::ApprovalOver, of(APPROVED), Reason::ApprovalPending),
            (Probe::Locked, under(Some(&self.locked)), Reason::SiteLocked),
            (Probe::NoRoom, when(full), Reason::Concurrency),
        ]
    }

    /// Callers whom a policy must not know: those that it names, with another key, and somebody whom it does not name.
    pub(super) fn strangers_to(&self, index: &Index) -> Result<Strangers, SelfTestFault> {
        let known = |user| subject(&self.root, &self.identity, (user, &self.key), Narrowing::NONE);
        let users = index.snapshot().users.iter().take(IMPOSTORS);
        let impostors = users.map(|user| known(user.id)).collect::<Result<_, _>>()?;
        Ok(Strangers { impostors, unknown: Some(self.unknown.clone()) })
    }
}

fn secret(seed: u8) -> Result<SecretKey, SelfTestFault> {
    SecretKey::from_seed([seed; 32]).map_err(|_| SelfTestFault::Stage("key"))
}

fn name(text: &str) -> Result<Name, SelfTestFault> {
    text.parse().map_err(|_| SelfTestFault::Stage("name"))
}

fn seal<T: Signed>(value: &T, by: &SecretKey, what: &'static str) -> Result<Vec<u8>, SelfTestFault> {
    Envelope::seal(value, &[by]).map_err(|_| SelfTestFault::Stage(what))
}

fn root() -> Result<Root, SelfTestFault> {
    let keys = Role::ALL.into_iter().zip(ROLES).map(|(role, seed)| {
        secret(seed).map(|key| RoleKeys { role, threshold: 1, keys: vec![key.public()] })
    });
    let roles = keys.collect::<Result<_, _>>()?;
    let (fleet, expires) = (FLEET, UnixTime::MAX);
    let root = Root { fleet, version: 1, expires, policy_epoch: EPOCH, roles, hubs: Vec::new() };
    let sealed = seal(&root, &secret(ROOT)?, "root")?;
    let wrong = |_| SelfTestFault::Stage("root");
    Root::accept_first(&sealed, &Root::digest_of(&sealed).map_err(wrong)?).map_err(wrong)
}

fn expectation<'a>(root: &'a Root, snapshot: &Snapshot) -> Expectation<'a> {
    Expectation { root, device: DEVICE, device_key: snapshot.device_key, floor: None }
}

fn index(sealed: &[u8], expected: &Expectation<'_>) -> Result<Arc<Index>, SelfTestFault> {
    let verified = verify(sealed, expected).map_err(|_| SelfTestFault::Stage("policy"))?;
    Ok(Arc::new(Index::build(verified)))
}

/// Somebody with a second factor, unless the pass is narrowed.
fn pass(
    identity: &SecretKey,
    (user, key): (UserId, &SecretKey),
    narrow: Narrowing,
) -> Result<Vec<u8>, SelfTestFault> {
    let second = narrow.services.is_none().then_some(Factor { method: Method::Totp, at: FACTOR_USED });
    let first = Factor { method: Method::Password, at: FACTOR_USED };
    let factors = std::iter::once(first).chain(second).collect();
    let (fleet, key) = (FLEET, key.public());
    let pass = Pass { fleet, user, key, factors, issued: FACTOR_USED, expires: PASS_ENDS, narrow };
    seal(&pass, identity, "pass")
}

fn subject(
    root: &Root,
    identity: &SecretKey,
    user: (UserId, &SecretKey),
    narrow: Narrowing,
) -> Result<Subject, SelfTestFault> {
    let pass = pass(identity, user, narrow)?;
    present(root, &pass, user.1, &EXPORTER).ok_or(SelfTestFault::Stage("pass"))
}

/// Presents a pass on a connection whose exporter is [`EXPORTER`], with a proof that was made over `exporter`.
fn present(root: &Root, pass: &[u8], key: &SecretKey, exporter: &[u8; 32]) -> Option<Subject> {
    let proof = Proof::sign(key, exporter, DEVICE, pass);
    let presented = Presented { pass, proof, exporter: &EXPORTER, peer_key: key.public() };
    Subject::authenticate(&presented, DEVICE, root, INSTANT).ok()
}

/// One service and one category for each condition.
fn snapshot(device_key: PublicKey, user_key: PublicKey) -> Result<Snapshot, SelfTestFault> {
    let target = Target { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 1 };
    let service = |text| {
        let (reach, idle_s, duration_s) = (Reach::whole(Kind::Http, target), 1, 1);
        name(text).map(|name| Service { name, tunnels: TUNNELS, idle_s, duration_s, view_only: false, reach })
    };
    let category = |(at, text)| name(text).map(|name| Category { name, services: vec![at], record: false });
    let user = |id, disabled| User { id, keys: vec![user_key], disabled, passes_from: UnixTime::EPOCH };
    let label: Label = "self-test".parse().map_err(|_| SelfTestFault::Stage("name"))?;
    Ok(Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key,
        epoch: EPOCH,
        locks_cleared: 0,
        version: 1,
        issued: FACTOR_USED,
        expires: POLICY_ENDS,
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: TUNNELS + 1, tunnels_per_user: TUNNELS + 1 },
        freshness: FreshnessRule { window_s: 1, offline_s: 0 },
        services: SERVICES.into_iter().map(service).collect::<Result<_, _>>()?,
        categories: (0..).zip(SERVICES).map(category).collect::<Result<_, _>>()?,
        users: vec![user(USER, false), user(DISABLED, true)],
        origins: vec![Origin::Entry { entry: label }],
        grants: grants(),
        prohibitions: vec![Prohibition {
            user: 0,
            category: 6,
            path: None,
            not_before: None,
            not_after: None,
            origin: 0,
        }],
        paths: Vec::new(),
        cases: Vec::new(),
        // Of this one and not of the other: neither may be met by it now.
        approvals: vec![Approval {
            grant: APPROVED_GRANT,
            service: 7,
            mode: Mode::WIDEST,
            not_after: INSTANT,
            id: ApprovalId::new(*b"selftest"),
        }],
        secrets: Vec::new(),
        recording_key: None,
    })
}

/// Every category but one, each on its condition. Ascending, as the positions are.
fn grants() -> Vec<Grant> {
    let grant = |category| Grant {
        user: 0,
        category,
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode: Mode::WIDEST,
        origin: 0,
    };
    let mut grants = vec![
        grant(0),
        Grant { not_before: Some(INSTANT.saturating_add(1)), ..grant(1) },
        Grant { needs_case: true, ..grant(2) },
        Grant { second_factor_s: Some(INSTANT_S - FACTOR_USED_S), ..grant(3) },
        Grant { not_after: Some(INSTANT), ..grant(5) },
        grant(6),
        Grant { needs_approval: true, ..grant(7) },
        Grant { needs_approval: true, ..grant(8) },
        Grant { user: 1, ..grant(0) },
    ];
    grants.sort();
    grants
}

const FLEET: FleetId = FleetId::new(*b"selftest");
const DEVICE: DeviceId = DeviceId::new(*b"selftest");
/// Nobody has these: the cloud draws ids at random. Ascending.
const USER: UserId = UserId::new(*b"selftest");
const DISABLED: UserId = UserId::new(*b"selftesu");
const UNKNOWN: UserId = UserId::new(*b"selftesv");
const EPOCH: u32 = 1;
/// Those of the roles, in their order, and of the others.
const ROLES: [u8; 6] = [ROOT, POLICY, IDENTITY, 0x54, 0x55, 0x56];
const ROOT: u8 = 0x51;
const POLICY: u8 = 0x52;
const IDENTITY: u8 = 0x53;
const DEVICE_KEY: u8 = 0x57;
const USER_KEY: u8 = 0x58;
const OTHER_KEY: u8 = 0x59;
const EXPORTER: [u8; 32] = [0x5a; 32];
const TUNNELS: u16 = 1;
const INSTANT_S: u32 = 1_000;
const FACTOR_USED_S: u32 = 900;
const FACTOR_USED: UnixTime = UnixTime::from_secs(900);
const POLICY_ENDS: UnixTime = UnixTime::from_secs(2_000);
/// Later than the policy: of two ends that come together only the first would be seen.
const PASS_ENDS: UnixTime = UnixTime::from_secs(3_000);
/// Somewhere in the payload.
const CHANGED: usize = 40;
/// Ascending, each in a category of its own name and position.
const SERVICES: [&str; 9] =
    [SERVICE, AHEAD, CASE, FACTOR, NOT_GRANTED, OVER, PROHIBITED, APPROVED, NOT_APPROVED];
const AHEAD: &str = "b-ahead";
const CASE: &str = "c-case";
const FACTOR: &str = "d-factor";
const NOT_GRANTED: &str = "e-not-granted";
const OVER: &str = "f-over";
const PROHIBITED: &str = "g-prohibited";
const APPROVED: &str = "h-approved";
const NOT_APPROVED: &str = "i-not-approved";
/// Where the grant of [`APPROVED`] stands among the others.
const APPROVED_GRANT: u32 = 6;
