use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{
    Category, DeviceLimits, Expectation, FreshnessRule, Grant, Index, Kind, Mode, Origin, Reach, Reason,
    Rules, Service, Snapshot, Target, User, VncRules, verify,
};
use postern_protocol::session::freshness::Memory;
use postern_protocol::time::BootTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::root::RoleKeys;
use postern_protocol::trust::{
    Envelope, Factor, Method, Narrowing, Pass, Proof, Role, Root, SecretKey, Timestamp,
};
use postern_protocol::wire::control::Held;

use super::*;
use crate::anchor::Anchor;
use crate::clock::Clock;

mod race;

const FLEET: FleetId = FleetId::new([1; 8]);
const DEVICE: DeviceId = DeviceId::new([2; 8]);
const NOW: u64 = 4_000_000_000;

/// A registry whose rows nobody reads.
fn registry(cap: u16) -> Arc<Registry> {
    Registry::new(cap, |_row| {}, |_stopped| {})
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

const fn wish(view_only: bool) -> Wish {
    Wish { view_only, flows: false }
}

fn user(number: u8) -> UserId {
    UserId::new([number; 8])
}

fn root() -> Root {
    let role = |role, seed| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
    let roles = vec![
        role(Role::Root, 100),
        role(Role::Policy, 101),
        role(Role::Identity, 102),
        role(Role::Timestamp, 103),
        role(Role::Lock, 104),
        role(Role::AuditAck, 105),
    ];
    Root { fleet: FLEET, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs: Vec::new() }
}

fn subject(number: u8) -> Arc<Subject> {
    passed(number, None, NOW + 1_000_000)
}

/// A user whose pass tells of a second factor at this time and ends at that one.
fn passed(number: u8, second_factor: Option<u64>, expires: u64) -> Arc<Subject> {
    let factor = |at| Factor { method: Method::Totp, at: UnixTime::from_secs(at) };
    let pass = Pass {
        fleet: FLEET,
        user: user(number),
        key: key(number).public(),
        factors: second_factor.map(factor).into_iter().collect(),
        issued: UnixTime::from_secs(NOW),
        expires: UnixTime::from_secs(expires),
        narrow: Narrowing::NONE,
    };
    let sealed = Envelope::seal(&pass, &[&key(102)]).unwrap();
    let exporter = [7; 32];
    let proof = Proof::sign(&key(number), &exporter, DEVICE, &sealed);
    let presented = Presented { pass: &sealed, proof, exporter: &exporter, peer_key: key(number).public() };
    Arc::new(Subject::authenticate(&presented, DEVICE, &root(), UnixTime::from_secs(NOW)).unwrap())
}

/// A gate whose time is about [`NOW`], and a policy for two users and the services `a` and `b`.
fn gate(change: impl FnOnce(&mut Snapshot)) -> Gate {
    let gate = empty();
    install(&gate, index(1, change));
    gate
}

/// A gate without policy, whose link is up.
fn empty() -> Gate {
    let memory = Memory { time: UnixTime::from_secs(NOW), spent: 600, is_debited: true, root_version: 1 };
    pass_time(0);
    let clock = Clock::with(|| BootTime::from_millis(SINCE_NOW_S.get() * 1000), &memory);
    clock.linked(true);
    Gate::new(Arc::new(clock), Anchor::new(root()))
}

thread_local! {
    /// Seconds that have passed since [`NOW`].
    static SINCE_NOW_S: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// It is this many seconds after [`NOW`].
fn pass_time(secs: u64) {
    SINCE_NOW_S.set(secs);
}

/// Puts a policy in force that the cloud confirms in the same moment.
fn install(gate: &Gate, index: Index) {
    gate.install(index);
    confirm(gate);
}

/// The cloud says what time it is and that the policy in force is the newest.
fn confirm(gate: &Gate) {
    let floor = gate.policy().unwrap().floor();
    let timestamp = Timestamp {
        fleet: FLEET,
        device: DEVICE,
        nonce: gate.clock().question().unwrap(),
        time: gate.clock().now(),
        root_version: 1,
        held: Some(Held { epoch: floor.epoch, version: floor.version, digest: floor.digest }),
        lock: 0,
    };
    assert!(gate.clock().hear(&timestamp).refreshed);
}

const TARGET: Target = Target { ip: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1)), port: 80 };

fn index(version: u64, change: impl FnOnce(&mut Snapshot)) -> Index {
    let service = |name: &str| Service {
        name: name.parse().unwrap(),
        tunnels: 10,
        idle_s: 10,
        duration_s: 10,
        view_only: false,
        reach: Reach::whole(Kind::Http, TARGET),
    };
    let grant = |user| Grant {
        user,
        category: 0,
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode: Mode::Full { clipboard: false },
        origin: 0,
    };
    let mut snapshot = Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(1).public(),
        epoch: 1,
        locks_cleared: 0,
        version,
        issued: UnixTime::from_secs(NOW),
        expires: UnixTime::from_secs(NOW + 1_000_000),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 10, tunnels_per_user: 10 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services: vec![service("a"), service("b")],
        categories: vec![Category { name: "all".parse().unwrap(), services: vec![0, 1], record: false }],
        users: [11, 12]
            .map(|n| User {
                id: user(n),
                keys: vec![key(n).public()],
                disabled: false,
                passes_from: UnixTime::EPOCH,
            })
            .to_vec(),
        origins: vec![Origin::Assignment {
            assignment: "x".to_owned().try_into().unwrap(),
            role: "y".to_owned().try_into().unwrap(),
            group: None,
        }],
        grants: vec![grant(0), grant(1)],
        prohibitions: Vec::new(),
        paths: Vec::new(),
        cases: Vec::new(),
        approvals: Vec::new(),
        secrets: Vec::new(),
        recording_key: None,
    };
    change(&mut snapshot);
    let sealed = Envelope::seal(&snapshot, &[&key(101)]).unwrap();
    let root = root();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(1).public(), floor: None };
    Index::build(verify(&sealed, &expected).unwrap())
}

/// Somebody on the connection of this number.
fn calling(subject: &Arc<Subject>, connection: usize) -> Caller<'_> {
    let peer = Peer { addr: ([192, 0, 2, 1], 1).into(), path: Path::Direct };
    Caller { subject, connection, whereabouts: Whereabouts(Arc::new(move || peer)) }
}

fn caller(subject: &Arc<Subject>) -> Caller<'_> {
    calling(subject, 1)
}

fn open(registry: &Arc<Registry>, gate: &Gate, number: u8, service: &str) -> Result<Admitted, Reason> {
    open_as(registry, gate, &caller(&subject(number)), service)
}

fn open_as(
    registry: &Arc<Registry>,
    gate: &Gate,
    caller: &Caller<'_>,
    service: &str,
) -> Result<Admitted, Reason> {
    match registry.admit(gate, caller, &service.parse().unwrap(), wish(false)) {
        Ok((admitted, _permit)) => Ok(admitted),
        Err(Refused::Denied(denial) | Refused::Occupied { denial, .. }) => Err(denial.reason()),
        Err(Refused::Failed(failure)) => panic!("{failure}"),
    }
}

async fn code(admitted: &Admitted) -> CloseCode {
    let mut reins = admitted.leash.reins();
    loop {
        if let Ruling::Cut(code) = reins.changed().await {
            return code;
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_not_registered_and_what_is_dropped_is_gone() {
    let (gate, registry) = (gate(|_| {}), registry(10));
    assert_eq!(open(&registry, &gate, 11, "c").unwrap_err(), Reason::NoGrant);
    assert_eq!(registry.sessions(), Vec::new());
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    assert_eq!(registry.sessions().len(), 1);
    drop(tunnel);
    assert_eq!(registry.sessions(), Vec::new());
    registry.drained().await;
}

#[tokio::test]
async fn a_new_policy_cuts_exactly_what_it_no_longer_permits() {
    let (gate, registry) = (gate(|_| {}), registry(10));
    let (one, two) = (open(&registry, &gate, 11, "a").unwrap(), open(&registry, &gate, 12, "a").unwrap());
    install(&gate, index(2, |snapshot| snapshot.grants.retain(|grant| grant.user == 1)));
    assert_eq!(registry.judge(&gate, CutCause::Time), 1);
    assert_eq!(code(&one).await, CloseCode::Denied(Reason::Revoked));
    assert!(matches!(two.leash.ruling(), Ruling::Permitted(permit) if permit.floor().version == 2));
    assert_eq!(registry.sessions().len(), 1);
}

#[tokio::test]
async fn a_cut_is_final_even_if_the_right_comes_back_before_the_tunnel_looks() {
    let (gate, registry) = (gate(|_| {}), registry(10));
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    install(&gate, index(2, |snapshot| snapshot.grants.clear()));
    assert_eq!(registry.judge(&gate, CutCause::Time), 1);
    install(&gate, index(3, |_| {}));
    assert_eq!(registry.judge(&gate, CutCause::Time), 0);
    assert_eq!(code(&tunnel).await, CloseCode::Denied(Reason::Revoked));
}

#[tokio::test]
async fn a_smaller_limit_cuts_the_youngest_tunnels() {
    let (gate, registry) = (gate(|_| {}), registry(10));
    let tunnels: Vec<_> = (0..4).map(|_| open(&registry, &gate, 11, "a").unwrap()).collect();
    install(&gate, index(2, |snapshot| snapshot.services[0].tunnels = 2));
    assert_eq!(registry.judge(&gate, CutCause::Time), 2);
    assert_eq!(code(&tunnels[2]).await, CloseCode::Denied(Reason::Concurrency));
    assert_eq!(code(&tunnels[3]).await, CloseCode::Denied(Reason::Concurrency));
    let left: Vec<_> = registry.sessions().iter().map(|session| session.id).collect();
    assert_eq!(left, [tunnels[0].id, tunnels[1].id]);
    assert_eq!(open(&registry, &gate, 12, "a").unwrap_err(), Reason::Concurrency);
    open(&registry, &gate, 12, "b").unwrap();
}

#[tokio::test]
async fn another_target_or_kind_behind_the_same_name_cuts() {
    for change in [
        (|snapshot: &mut Snapshot| {
            snapshot.services[0].reach = Reach::whole(Kind::Http, Target { port: 81, ..TARGET });
        }) as fn(&mut Snapshot),
        |snapshot| snapshot.services[0].reach = Reach::whole(Kind::Vnc, TARGET),
        |snapshot| snapshot.users[0].disabled = true,
    ] {
        let (gate, registry) = (gate(|_| {}), registry(10));
        let (a, b) = (open(&registry, &gate, 11, "a").unwrap(), open(&registry, &gate, 12, "b").unwrap());
        install(&gate, index(2, change));
        assert_eq!(registry.judge(&gate, CutCause::Time), 1);
        assert!(matches!(code(&a).await, CloseCode::Denied(Reason::Revoked | Reason::UserDisabled)));
        assert_eq!(registry.sessions()[0].id, b.id);
    }
}

#[tokio::test]
async fn a_closed_registry_cuts_all_and_admits_none() {
    let (gate, registry) = (gate(|_| {}), registry(10));
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    registry.close();
    assert_eq!(code(&tunnel).await, CloseCode::Failed(Failure::Shutdown));
    let refused = registry.admit(&gate, &caller(&subject(11)), &"a".parse().unwrap(), wish(false));
    assert!(matches!(refused, Err(Refused::Failed(Failure::Shutdown))));
}

#[tokio::test]
async fn the_cap_of_the_device_is_busy_and_not_denied() {
    let (gate, registry) = (gate(|_| {}), registry(1));
    let _tunnel = open(&registry, &gate, 11, "a").unwrap();
    let refused = registry.admit(&gate, &caller(&subject(12)), &"b".parse().unwrap(), wish(false));
    assert!(matches!(refused, Err(Refused::Failed(Failure::Busy))));
}

#[tokio::test]
async fn no_policy_denies_and_cuts() {
    let registry = registry(10);
    let empty = empty();
    assert_eq!(open(&registry, &empty, 11, "a").unwrap_err(), Reason::NoPolicy);
    let gate = gate(|_| {});
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    assert_eq!(registry.judge(&empty, CutCause::Time), 1);
    assert_eq!(code(&tunnel).await, CloseCode::Denied(Reason::NoPolicy));
}

/// Every grant demands a second factor that is not older than ten minutes.
fn stepped(snapshot: &mut Snapshot) {
    for grant in &mut snapshot.grants {
        grant.second_factor_s = Some(600);
    }
}

const LONG: u64 = NOW + 1_000_000;

fn until(registry: &Registry) -> Vec<u64> {
    registry.sessions().iter().map(|session| session.until.as_secs()).collect()
}

#[tokio::test]
async fn a_tunnel_outlives_its_second_factor_when_a_later_pass_of_its_connection_has_a_newer_one() {
    let (gate, registry) = (gate(stepped), registry(10));
    let old = passed(11, Some(NOW - 500), LONG);
    let renewed = open_as(&registry, &gate, &calling(&old, 1), "a").unwrap();
    let twin = open_as(&registry, &gate, &calling(&old, 2), "a").unwrap();
    assert_eq!(until(&registry), [NOW + 100, NOW + 100]);
    assert_eq!(registry.renew(&gate, 1, &passed(11, Some(NOW), LONG)), 0);
    assert_eq!(until(&registry), [NOW + 600, NOW + 100]);
    pass_time(101);
    assert_eq!(registry.judge(&gate, CutCause::Time), 1);
    assert_eq!(code(&twin).await, CloseCode::Denied(Reason::SecondFactorStale));
    assert_eq!(registry.sessions()[0].id, renewed.id);
    pass_time(600);
    assert_eq!(registry.judge(&gate, CutCause::Time), 1);
    assert_eq!(code(&renewed).await, CloseCode::Denied(Reason::SecondFactorStale));
}

#[tokio::test]
async fn a_pass_that_is_worse_in_anything_changes_no_live_tunnel() {
    let (gate, registry) = (gate(stepped), registry(10));
    let good = passed(11, Some(NOW - 100), NOW + 10_000);
    let _tunnel = open_as(&registry, &gate, &caller(&good), "a").unwrap();
    for (second_factor, expires) in
        [(None, LONG), (Some(NOW - 101), LONG), (Some(NOW), NOW + 9_999), (None, NOW + 9_999)]
    {
        assert_eq!(registry.renew(&gate, 1, &passed(11, second_factor, expires)), 0);
        assert_eq!(until(&registry), [NOW + 500], "{second_factor:?} until {expires}");
    }
    // Another user's facts are nobody else's.
    assert_eq!(registry.renew(&gate, 1, &passed(12, Some(NOW), LONG)), 0);
    assert_eq!(until(&registry), [NOW + 500]);
    assert_eq!(registry.renew(&gate, 1, &passed(11, Some(NOW), NOW + 10_000)), 0);
    assert_eq!(until(&registry), [NOW + 600]);
}

#[tokio::test]
async fn a_later_pass_revives_no_tunnel_that_is_over_in_this_second() {
    let (gate, registry) = (gate(stepped), registry(10));
    let tunnel = open_as(&registry, &gate, &caller(&passed(11, Some(NOW - 500), LONG)), "a").unwrap();
    // Time passes, and nobody has looked at the tunnel since.
    pass_time(100);
    assert_eq!(registry.renew(&gate, 1, &passed(11, Some(NOW), LONG)), 1);
    assert_eq!(code(&tunnel).await, CloseCode::Denied(Reason::SecondFactorStale));
    assert_eq!(registry.sessions(), Vec::new());
}

/// The permit of this moment.
fn permit(admitted: &Admitted) -> Arc<Permit> {
    match admitted.leash.ruling() {
        Ruling::Permitted(permit) => permit,
        Ruling::Cut(code) => panic!("{code:?}"),
    }
}

/// The first service is a screen with this many seats; all may touch.
fn screen(writers: u16) -> impl Fn(&mut Snapshot) {
    move |snapshot| {
        let rules = Rules::Vnc(VncRules { password: None, writers });
        snapshot.services[0].reach = Reach::Place { target: TARGET, rules };
    }
}

fn open_wishing(
    registry: &Arc<Registry>,
    gate: &Gate,
    number: u8,
    view_only: bool,
) -> Result<Admitted, Reason> {
    match registry.admit(gate, &caller(&subject(number)), &"a".parse().unwrap(), wish(view_only)) {
        Ok((admitted, permit)) => {
            assert_eq!(permit.mode(), super::tests::permit(&admitted).mode());
            Ok(admitted)
        }
        Err(Refused::Denied(denial) | Refused::Occupied { denial, .. }) => Err(denial.reason()),
        Err(Refused::Failed(failure)) => panic!("{failure}"),
    }
}

fn modes(tunnels: &[&Admitted]) -> Vec<Mode> {
    tunnels.iter().map(|tunnel| permit(tunnel).mode()).collect()
}

const LOOK: Mode = Mode::ViewOnly;
const TOUCH: Mode = Mode::Full { clipboard: false };

#[test]
fn a_screen_has_one_writer_and_any_number_who_look() {
    let (gate, registry) = (gate(screen(1)), registry(10));
    let first = open_wishing(&registry, &gate, 11, false).unwrap();
    assert_eq!(open_wishing(&registry, &gate, 12, false).unwrap_err(), Reason::Concurrency);
    let looking = [11, 12].map(|number| open_wishing(&registry, &gate, number, true).unwrap());
    assert_eq!(modes(&[&first, &looking[0], &looking[1]]), [TOUCH, LOOK, LOOK]);
    let sessions = registry.sessions();
    assert_eq!(sessions.iter().map(|session| session.mode).collect::<Vec<_>>(), [TOUCH, LOOK, LOOK]);
    // A writer who leaves widens nobody; the next one takes the seat.
    drop(first);
    assert_eq!(registry.judge(&gate, CutCause::Time), 0);
    assert_eq!(modes(&[&looking[0], &looking[1]]), [LOOK, LOOK]);
    let second = open_wishing(&registry, &gate, 12, false).unwrap();
    assert_eq!(modes(&[&second]), [TOUCH]);
}

#[test]
fn fewer_seats_narrow_the_youngest_in_place_and_cut_nobody() {
    let (gate, registry) = (gate(screen(2)), registry(10));
    let tunnels = [11, 12].map(|number| open_wishing(&registry, &gate, number, false).unwrap());
    let both = || modes(&[&tunnels[0], &tunnels[1]]);
    install(&gate, index(2, screen(1)));
    assert_eq!((registry.judge(&gate, CutCause::Time), both()), (0, vec![TOUCH, LOOK]));
    install(&gate, index(3, screen(0)));
    assert_eq!((registry.judge(&gate, CutCause::Time), both()), (0, vec![LOOK, LOOK]));
    // Fewer tunnels, unlike fewer seats, cut.
    install(
        &gate,
        index(4, |snapshot| {
            screen(0)(snapshot);
            snapshot.services[0].tunnels = 1;
        }),
    );
    assert_eq!(registry.judge(&gate, CutCause::Time), 1);
    assert_eq!(modes(&[&tunnels[0]]), [LOOK]);
}

#[test]
fn who_has_a_seat_keeps_it_before_an_older_tunnel_that_may_touch_from_now_on() {
    let narrow = |snapshot: &mut Snapshot| {
        screen(1)(snapshot);
        snapshot.grants[0].mode = LOOK;
    };
    let (gate, registry) = (gate(narrow), registry(10));
    let tunnels = [11, 12].map(|number| open_wishing(&registry, &gate, number, false).unwrap());
    let both = || modes(&[&tunnels[0], &tunnels[1]]);
    assert_eq!(both(), [LOOK, TOUCH]);
    install(&gate, index(2, screen(1)));
    assert_eq!((registry.judge(&gate, CutCause::Time), both()), (0, vec![LOOK, TOUCH]));
    install(&gate, index(3, screen(2)));
    assert_eq!((registry.judge(&gate, CutCause::Time), both()), (0, vec![TOUCH, TOUCH]));
}

#[test]
fn a_wish_to_look_lasts_as_long_as_the_tunnel_and_a_narrower_policy_narrows_in_place() {
    let (gate, registry) = (gate(screen(9)), registry(10));
    let [wishing, touching] = [true, false].map(|wish| open_wishing(&registry, &gate, 11, wish).unwrap());
    install(&gate, index(2, screen(9)));
    assert_eq!(
        (registry.judge(&gate, CutCause::Time), modes(&[&wishing, &touching])),
        (0, vec![LOOK, TOUCH])
    );
    install(
        &gate,
        index(3, |snapshot| {
            screen(9)(snapshot);
            snapshot.services[0].view_only = true;
        }),
    );
    assert_eq!((registry.judge(&gate, CutCause::Time), modes(&[&wishing, &touching])), (0, vec![LOOK, LOOK]));
}

#[tokio::test]
async fn each_task_of_a_tunnel_hears_of_a_cut_however_late_it_looks() {
    let (gate, registry) = (gate(|_| {}), registry(10));
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    let mut early = tunnel.leash.reins();
    assert!(matches!(early.changed().await, Ruling::Permitted(_)));
    install(&gate, index(2, |snapshot| snapshot.grants.clear()));
    assert_eq!(registry.judge(&gate, CutCause::Time), 1);
    let late = tunnel.leash.reins();
    for mut reins in [early, late] {
        assert!(matches!(reins.changed().await, Ruling::Cut(CloseCode::Denied(Reason::Revoked))));
    }
}

#[tokio::test]
async fn a_pass_that_is_no_better_and_tunnels_of_others_cause_no_work() {
    let (gate, registry) = (gate(stepped), registry(10));
    let pass = passed(11, Some(NOW - 100), LONG);
    let mine = open_as(&registry, &gate, &calling(&pass, 1), "a").unwrap();
    let elsewhere = open_as(&registry, &gate, &calling(&pass, 2), "a").unwrap();
    let before = [&mine, &elsewhere].map(permit);
    let judged = || {
        let now = [&mine, &elsewhere].map(permit);
        now.iter().zip(&before).map(|(now, before)| !Arc::ptr_eq(now, before)).collect::<Vec<_>>()
    };
    // The same pass over and over, as fast as the network carries it.
    assert_eq!(registry.renew(&gate, 1, &passed(11, Some(NOW - 100), LONG)), 0);
    assert_eq!(judged(), [false, false]);
    assert_eq!(registry.renew(&gate, 1, &passed(11, Some(NOW), LONG)), 0);
    assert_eq!(judged(), [true, false]);
}

#[test]
fn under_a_policy_that_the_cloud_has_not_confirmed_nothing_new_opens_and_what_is_live_goes_on() {
    let (registry, gate) = (registry(10), gate(|_| {}));
    let _live = open(&registry, &gate, 11, "a").unwrap();
    gate.install(index(2, |_| {}));
    assert_eq!(registry.judge(&gate, CutCause::Time), 0);
    assert_eq!(open(&registry, &gate, 11, "b").unwrap_err(), Reason::PolicyStale);
    confirm(&gate);
    open(&registry, &gate, 11, "b").unwrap();
}

#[test]
fn what_is_meant_for_work_without_the_cloud_opens_unconfirmed() {
    let (registry, gate) = (registry(10), gate(|_| {}));
    gate.install(index(2, |snapshot| snapshot.grants[0].offline_ok = true));
    open(&registry, &gate, 11, "a").unwrap();
    assert_eq!(open(&registry, &gate, 12, "a").unwrap_err(), Reason::PolicyStale);
}

/// A registry, and a place where its rows collect.
fn recorded() -> (Arc<Registry>, Arc<Mutex<Vec<Event>>>) {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&rows);
    (Registry::new(10, move |row| collected.lock().push(row), |_stopped| {}), rows)
}

fn taken(rows: &Mutex<Vec<Event>>) -> Vec<Event> {
    std::mem::take(&mut *rows.lock())
}

fn changed(tunnel: &Admitted, before: Mode, mode: Mode, version: u64) -> Event {
    let origin = permit(tunnel).origin().cloned();
    Event::Changed { tunnel: tunnel.id, before, mode, rules: false, origin, version, count: 1 }
}

/// Everybody looks at the service, or nobody only looks.
fn looking(view_only: bool) -> impl Fn(&mut Snapshot) {
    move |snapshot| snapshot.services[0].view_only = view_only
}

#[test]
fn a_tunnel_whose_mode_changes_in_place_has_a_row_and_one_that_is_permitted_as_before_has_none() {
    let gate = gate(|_| {});
    let (registry, rows) = recorded();
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    let neighbour = open(&registry, &gate, 11, "b").unwrap();
    install(&gate, index(2, |_| {}));
    assert_eq!(
        (registry.judge(&gate, CutCause::Time), taken(&rows)),
        (0, vec![]),
        "another snapshot, the same rights"
    );
    install(&gate, index(3, looking(true)));
    assert_eq!(
        (registry.judge(&gate, CutCause::Time), taken(&rows)),
        (0, vec![changed(&tunnel, TOUCH, LOOK, 3)])
    );
    assert_eq!((registry.judge(&gate, CutCause::Time), taken(&rows)), (0, vec![]), "once");
    install(&gate, index(4, |_| {}));
    assert_eq!(
        (registry.judge(&gate, CutCause::Time), taken(&rows)),
        (0, vec![changed(&tunnel, LOOK, TOUCH, 4)])
    );
    // The clipboard is a right of its own.
    install(&gate, index(5, |snapshot| snapshot.grants[0].mode = Mode::WIDEST));
    assert_eq!(registry.judge(&gate, CutCause::Time), 0);
    let widened = [&tunnel, &neighbour].map(|tunnel| changed(tunnel, TOUCH, Mode::WIDEST, 5));
    assert_eq!(taken(&rows), widened);
    drop((tunnel, neighbour));
    assert_eq!(taken(&rows), []);
}

#[test]
fn rules_that_change_under_a_live_tunnel_have_a_row_and_a_cut_says_all_by_itself() {
    let gate = gate(|_| {});
    let (registry, rows) = recorded();
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    let narrowed = |snapshot: &mut Snapshot| {
        if let Some(Rules::Http(rules)) = snapshot.services[0].reach.rules_mut() {
            rules.allow.clear();
        }
    };
    install(&gate, index(2, narrowed));
    assert_eq!(registry.judge(&gate, CutCause::Time), 0);
    let Event::Changed { before, mode, rules, version, .. } = taken(&rows).remove(0) else { panic!() };
    assert_eq!((before, mode, rules, version), (TOUCH, TOUCH, true, 2));
    install(&gate, index(3, |snapshot| snapshot.grants.clear()));
    assert_eq!((registry.judge(&gate, CutCause::Time), taken(&rows)), (1, vec![]));
    drop(tunnel);
    assert_eq!(taken(&rows), []);
}

#[test]
fn a_seat_that_becomes_free_is_the_cause_where_the_version_is_the_same() {
    let gate = gate(screen(2));
    let (registry, rows) = recorded();
    let tunnels = [11, 12].map(|number| open_wishing(&registry, &gate, number, false).unwrap());
    install(&gate, index(2, screen(1)));
    assert_eq!(
        (registry.judge(&gate, CutCause::Time), taken(&rows).len()),
        (0, 2),
        "fewer seats are other rules for both"
    );
    let [first, second] = tunnels;
    drop(first);
    assert_eq!(
        (registry.judge(&gate, CutCause::Time), taken(&rows)),
        (0, vec![changed(&second, LOOK, TOUCH, 2)])
    );
}

#[test]
fn a_flood_of_changes_costs_sixteen_rows_an_hour_and_the_last_row_tells_the_rest() {
    let gate = gate(|_| {});
    let (registry, rows) = recorded();
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    let mut flap = |version: u64| {
        install(&gate, index(version, looking(version.is_multiple_of(2))));
        assert_eq!(registry.judge(&gate, CutCause::Time), 0);
    };
    (2..=101).for_each(&mut flap);
    assert_eq!(taken(&rows).len(), 16);
    pass_time(3_600);
    flap(102);
    let told = |rows: Vec<Event>| match rows.as_slice() {
        [Event::Changed { before, mode, version, count, .. }] => Some((*before, *mode, *version, *count)),
        _ => None,
    };
    assert_eq!(told(taken(&rows)), Some((TOUCH, LOOK, 102, 85)));
    (103..=120).for_each(&mut flap);
    assert_eq!(taken(&rows).len(), 15);
    drop(tunnel);
    assert_eq!(told(taken(&rows)), Some((TOUCH, LOOK, 120, 3)));
}
