//! A large customer fits: what `limits` promises about snapshots is counted here.

use postern_protocol::id::ApprovalId;
use postern_protocol::limits;
use postern_protocol::policy::{
    Approval, Case, Category, DeviceLimits, FreshnessRule, Grant, Mode, Origin, Prohibition, Reach, Rules,
    Secret, Service, Snapshot, Target, User, VncRules,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::SEALED_BYTES;
use postern_protocol::trust::{Digest, Envelope, PublicKey, Signed};
use postern_protocol::wire::codec;

use crate::probes::{DEVICE, FLEET, key};
use crate::samples::{ISSUED, factory, name};

/// Numbers that spread over all bytes, as random ids and keys do.
fn spread<const N: usize>(seed: u64) -> [u8; N] {
    let digest = Digest::of(&[&seed.to_le_bytes()]);
    *digest.as_bytes().first_chunk().unwrap()
}

/// The first of the keys that follow from `seed` that is a key.
fn some_key(seed: u64) -> PublicKey {
    (0..).find_map(|i| PublicKey::new(spread(seed * 1_000 + i)).ok()).unwrap()
}

fn user(seed: u64) -> User {
    User {
        id: postern_protocol::id::UserId::new(spread(seed)),
        keys: vec![some_key(seed)],
        disabled: false,
        passes_from: ISSUED,
    }
}

/// 5,000 users with one windowed grant each, 2,000 services, 200 categories, 500 origins, 100 prohibitions, 50 cases, 64 secrets.
fn large(window: bool) -> Snapshot {
    let service = |i: u16| Service {
        name: name(&format!("line-{:02}.press-{i:04}.hmi", i % 40)),
        tunnels: 4,
        idle_s: 900,
        duration_s: 28_800,
        view_only: false,
        reach: Reach::Place {
            target: Target { ip: [10, 20, i.to_be_bytes()[0], i.to_be_bytes()[1]].into(), port: 5900 },
            rules: Rules::Vnc(VncRules { password: Some(name("hmi-password")), writers: 1 }),
        },
    };
    let mut services: Vec<Service> = (0..2_000).map(service).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let mut users: Vec<User> = (0..5_000).map(user).collect();
    users.sort_by_key(|user| user.id);
    let categories = (0..200u32)
        .map(|i| Category {
            name: name(&format!("category-{i:03}")),
            services: (i * 10..i * 10 + 10).collect(),
            record: true,
        })
        .collect();
    let origins = (0..500)
        .map(|i| Origin::Assignment {
            assignment: format!("Service contract {i:04} of a customer").parse().unwrap(),
            role: "Service engineer".parse().unwrap(),
            group: Some("Service department".parse().unwrap()),
        })
        .collect();
    let until = |user: u32| ISSUED.saturating_add(u64::from(user) * 3_600 + 1);
    let grants = (0..5_000)
        .map(|user| Grant {
            user,
            category: user % 200,
            not_before: window.then_some(ISSUED),
            not_after: window.then(|| until(user)),
            second_factor_s: Some(28_800),
            needs_case: true,
            needs_approval: true,
            offline_ok: true,
            mode: Mode::Full { clipboard: true },
            origin: user % 500,
        })
        .collect();
    let prohibitions = (0..100)
        .map(|user| Prohibition {
            user,
            category: user,
            path: (user % 2 == 0).then_some(user),
            not_before: window.then_some(ISSUED),
            not_after: window.then(|| until(user)),
            origin: user,
        })
        .collect();
    let cases = (0..50u32)
        .map(|i| Case {
            name: format!("2026-{i:05}").parse().unwrap(),
            services: (i * 40..i * 40 + 40).collect(),
            not_before: window.then_some(ISSUED),
            not_after: window.then(|| until(i)),
        })
        .collect();
    // What is needed at one moment by a company whose every technician waits for approval.
    let approvals = (0..200)
        .map(|grant| Approval {
            grant,
            service: grant % 200 * 10,
            mode: Mode::Full { clipboard: true },
            not_after: until(grant),
            id: ApprovalId::new([0xa9; 8]),
        })
        .collect();
    let secrets = (0..limits::SECRETS)
        .map(|i| Secret { name: name(&format!("panel-{i:03}")), sealed: vec![1; SEALED_BYTES] })
        .collect();
    Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(10).public(),
        epoch: 1,
        locks_cleared: 0,
        version: 1,
        issued: ISSUED,
        expires: UnixTime::MAX,
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 200, tunnels_per_user: 10 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services,
        categories,
        users,
        origins,
        grants,
        prohibitions,
        paths: (0..100).map(|i| format!("/somewhere/page-{i:03}/**").parse().unwrap()).collect(),
        cases,
        approvals,
        secrets,
        recording_key: Some(factory().public()),
    }
}

#[test]
fn five_thousand_users_and_two_thousand_services_fit_in_one_snapshot() {
    for window in [false, true] {
        let snapshot = large(window);
        assert_eq!(snapshot.check_form(), Ok(()));
        let bytes = codec::encode(&snapshot, Snapshot::MAX_BYTES).unwrap().len();
        let share = 100 * bytes / limits::SNAPSHOT_BYTES;
        println!("windows {window}: {bytes} bytes, {share} % of {}", limits::SNAPSHOT_BYTES);
        assert!(share < 90, "{bytes} bytes leave no room to grow");
        assert_eq!(Envelope::seal(&snapshot, &[&key(2)]).unwrap().len(), bytes + 7 + 96);
    }
}
