//! The cases of TUF's conformance suite (root rotation matrix, non-root rotation, thresholds, duplicates, rollback,
//! fast-forward, mix-and-match, expiry), asked of the real `postern-agent verify` on the state of a real enrolment.
//!
//! Names in quotes are those of the suite. What has no counterpart here is listed in `docs/threat-model.md`.

use std::path::PathBuf;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{
    Digest, Envelope, LockTarget, Narrowing, Nonce, Pass, PublicKey, Role, RoleKeys, Root, Signed as _,
    Timestamp,
};
use postern_protocol::wire::codec;
use postern_protocol::wire::control::Held;
use serde_json::Value;

use crate::hub::Hub;
use crate::policy::{DEVICE, FLEET, Policy, USER, USER_SEED, hub_key, lock_of, now, secret};
use crate::world::Agent;

/// One version of the root: the keys of one role, its threshold, who signs, and whether a device takes it.
type Step = (&'static [u8], u8, &'static [u8], bool);

/// The keys of the roles, in their order, unless told otherwise; the harness signs first policies with the second.
const SEEDS: [u8; 6] = [201, 202, 203, 205, 206, 207];

/// An installation.
#[derive(Clone)]
struct Repository {
    root: Root,
    root_signers: Vec<u8>,
}

impl Repository {
    fn new() -> Self {
        let roles =
            Role::ALL.into_iter().zip(SEEDS).map(|(role, seed)| role_keys(role, 1, &[seed])).collect();
        let root = Root {
            fleet: FLEET,
            version: 1,
            expires: UnixTime::from_secs(4_000_000_000),
            policy_epoch: 1,
            roles,
            hubs: vec![hub_key().public()],
        };
        Self { root, root_signers: vec![201] }
    }

    fn with(mut self, role: Role, threshold: u8, seeds: &[u8]) -> Self {
        let at = Role::ALL.iter().position(|other| *other == role).unwrap();
        self.root.roles[at] = role_keys(role, threshold, seeds);
        if role == Role::Root {
            self.root_signers = seeds.to_vec();
        }
        self
    }

    fn next(mut self) -> Self {
        self.root.version += 1;
        self
    }

    fn changed(mut self, change: impl FnOnce(&mut Root)) -> Self {
        change(&mut self.root);
        self
    }

    fn seal(&self) -> Vec<u8> {
        self.signed_by(&self.root_signers)
    }

    fn signed_by(&self, seeds: &[u8]) -> Vec<u8> {
        let keys: Vec<_> = seeds.iter().map(|seed| secret(*seed)).collect();
        Envelope::seal(&self.root, &keys.iter().collect::<Vec<_>>()).unwrap()
    }
}

fn role_keys(role: Role, threshold: u8, seeds: &[u8]) -> RoleKeys {
    let mut keys: Vec<PublicKey> = seeds.iter().map(|seed| secret(*seed).public()).collect();
    keys.sort();
    RoleKeys { role, threshold, keys }
}

fn digest(sealed: &[u8]) -> Digest {
    Digest::of(&[Envelope::parse(sealed, limits::ROOT_BYTES).unwrap().payload()])
}

/// A device that was enrolled under one root, and what it is shown.
struct Device {
    agent: Agent,
    shown: Vec<PathBuf>,
}

impl Device {
    async fn enrolled(first: &[u8]) -> Self {
        let hub = Hub::start_with(vec![first.to_vec()], digest(first));
        Self { agent: Agent::enrolled(&hub, "").await, shown: Vec::new() }
    }

    fn show(&mut self, sealed: &[u8]) -> &mut Self {
        let path = self.agent.dir().join(format!("file-{}", self.shown.len()));
        std::fs::write(&path, sealed).unwrap();
        self.shown.push(path);
        self
    }

    /// Shows the next version of this device's policy, signed by these keys.
    fn show_policy(&mut self, version: u64, seeds: &[u8], change: impl FnOnce(&mut Policy)) -> &mut Self {
        let mut policy = Policy::empty(self.agent.key());
        policy.snapshot.version = version;
        change(&mut policy);
        let keys: Vec<_> = seeds.iter().map(|seed| secret(*seed)).collect();
        let sealed = Envelope::seal(&policy.snapshot, &keys.iter().collect::<Vec<_>>()).unwrap();
        self.show(&sealed)
    }

    async fn verdict(&self) -> Value {
        let now = i64::try_from(now().as_secs()).unwrap();
        self.verdict_at(&jiff::Timestamp::from_second(now).unwrap().to_string()).await
    }

    async fn verdict_at(&self, now: &str) -> Value {
        let mut args = vec!["verify", "--now", now];
        args.extend(self.shown.iter().map(|path| path.to_str().unwrap()));
        self.agent.json(&args).await
    }
}

/// What follows from each file, in their order.
fn notes(verdict: &Value) -> Vec<Option<&str>> {
    verdict["files"].as_array().unwrap().iter().map(|file| file["note"].as_str()).collect()
}

/// The faults in the order of the files; none where a file was accepted.
fn faults(verdict: &Value) -> Vec<Option<&str>> {
    verdict["files"].as_array().unwrap().iter().map(|file| file["fault"].as_str()).collect()
}

/// `root_rotation_cases` of the suite: each step's root keys, threshold and signers.
const ROOT_ROTATIONS: &[(&str, &[Step])] = &[
    ("1-of-1-key-rotation", &[(&[1], 1, &[1], true), (&[2], 1, &[2, 1], true), (&[2], 1, &[2], true)]),
    (
        "1-of-1-key-rotation-unused-signatures",
        &[(&[1], 1, &[3, 1, 4], true), (&[2], 1, &[3, 2, 1, 4], true), (&[2], 1, &[3, 2, 4], true)],
    ),
    (
        "3-of-5-sign-with-different-keycombos",
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true),
            (&[0, 1, 2, 3, 4], 3, &[0, 4, 1], true),
            (&[0, 1, 2, 3, 4], 3, &[0, 1, 3], true),
            (&[0, 1, 2, 3, 4], 3, &[0, 1, 3], true),
        ],
    ),
    (
        "3-of-5-one-key-rotated",
        &[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true), (&[0, 1, 3, 4, 5], 3, &[0, 4, 1], true)],
    ),
    (
        "3-of-5-one-key-rotated-with-intermediate-step",
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true),
            (&[0, 1, 3, 4, 5], 3, &[0, 2, 4, 5], true),
            (&[0, 1, 3, 4, 5], 3, &[0, 4, 5], true),
        ],
    ),
    (
        "3-of-5-all-keys-rotated-with-intermediate-step",
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true),
            (&[5, 6, 7, 8, 9], 3, &[0, 2, 4, 5, 6, 7], true),
            (&[5, 6, 7, 8, 9], 3, &[5, 6, 7], true),
        ],
    ),
    ("1-of-3-threshold-increase-to-2-of-3", &[(&[1, 2, 3], 1, &[1], true), (&[1, 2, 3], 2, &[1, 2], true)]),
    (
        "2-of-3-threshold-decrease-to-1-of-3",
        &[(&[1, 2, 3], 2, &[1, 2], true), (&[1, 2, 3], 1, &[1, 2], true), (&[1, 2, 3], 1, &[1], true)],
    ),
    ("1-of-2-threshold-increase-to-2-of-2", &[(&[1], 1, &[1], true), (&[1, 2], 2, &[1, 2], true)]),
    (
        "1-of-1-key-rotation-fail-not-signed-with-old-key",
        &[(&[1], 1, &[1], true), (&[2], 1, &[2, 3, 4], false)],
    ),
    (
        "1-of-1-key-rotation-fail-not-signed-with-new-key",
        &[(&[1], 1, &[1], true), (&[2], 1, &[1, 3, 4], false)],
    ),
    (
        "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys",
        &[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true), (&[0, 1, 3, 4, 5], 3, &[0, 2, 4], false)],
    ),
    (
        "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys",
        &[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true), (&[0, 1, 3, 4, 5], 3, &[0, 4, 5], false)],
    ),
    (
        "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached",
        &[(&[1, 2, 3], 1, &[1], true), (&[1, 2, 3], 2, &[2], false)],
    ),
    (
        "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-eached",
        &[(&[1, 2, 3], 2, &[1, 2], true), (&[1, 2, 3], 1, &[1], false)],
    ),
];

/// `non_root_rotation_cases` of the suite, asked of the policy role.
const POLICY_ROTATIONS: &[(&str, Step)] = &[
    ("1-of-1-key-rotation", (&[2], 1, &[2], true)),
    ("1-of-1-key-rotation-unused-signatures", (&[1], 1, &[3, 1, 4], true)),
    ("1-of-1-key-rotation-fail-not-signed-with-new-key", (&[2], 1, &[1, 3, 4], false)),
    (
        "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys",
        (&[0, 1, 3, 4, 5], 3, &[0, 2, 4], false),
    ),
    ("2-of-5-one-key-signature-mising-threshold-not-reached", (&[0, 1, 3, 4, 5], 3, &[0, 4], false)),
    ("3-of-5-sign-first-combo", (&[0, 1, 2, 3, 4], 3, &[0, 2, 4], true)),
    ("3-of-5-sign-second-combo", (&[0, 1, 2, 3, 4], 3, &[0, 4, 1], true)),
    ("3-of-5-sign-third-combo", (&[0, 1, 2, 3, 4], 3, &[0, 1, 3], true)),
    ("3-of-5-sign-fourth-combo", (&[0, 1, 2, 3, 4], 3, &[1, 2, 3], true)),
    ("3-of-5-sign-fifth-combo", (&[0, 1, 2, 3, 4], 3, &[2, 3, 4], true)),
];

fn seeds(numbers: &[u8], from: u8) -> Vec<u8> {
    numbers.iter().map(|number| from + number).collect()
}

/// `test_root_rotation`.
#[tokio::test]
async fn every_rotation_of_root_keys_needs_the_thresholds_of_both_roots() {
    for (name, steps) in ROOT_ROTATIONS {
        let mut repository = Repository::new();
        let roots: Vec<Vec<u8>> = steps
            .iter()
            .map(|(keys, threshold, signers, _)| {
                repository = repository.clone().with(Role::Root, *threshold, &seeds(keys, 10));
                let sealed = repository.signed_by(&seeds(signers, 10));
                repository = repository.clone().next();
                sealed
            })
            .collect();
        let mut device = Device::enrolled(&roots[0]).await;
        for sealed in &roots[1..] {
            device.show(sealed);
        }
        let verdict = device.verdict().await;
        let accepted: Vec<bool> = faults(&verdict).iter().map(Option::is_none).collect();
        let expected: Vec<bool> = steps[1..].iter().map(|(.., taken)| *taken).collect();
        assert_eq!(accepted, expected, "{name}: {verdict}");
        let version = steps.iter().filter(|(.., taken)| *taken).count();
        assert_eq!(verdict["root_version"], version, "{name}");
    }
}

/// `test_non_root_rotations`.
#[tokio::test]
async fn every_rotation_of_policy_keys_leaves_the_old_ones_worthless() {
    for (name, (keys, threshold, signers, taken)) in POLICY_ROTATIONS {
        let first = Repository::new();
        let second = first.clone().with(Role::Policy, *threshold, &seeds(keys, 10)).next();
        let mut device = Device::enrolled(&first.seal()).await;
        device.show(&second.seal()).show_policy(7, &seeds(signers, 10), |_| ());
        let verdict = device.verdict().await;
        assert_eq!(faults(&verdict)[0], None, "{name}");
        assert_eq!(faults(&verdict)[1].is_none(), *taken, "{name}: {verdict}");
        // The stored policy was signed by a key that is in no role any more.
        let policy = if *taken { Value::from(7) } else { Value::Null };
        assert_eq!((&verdict["root_version"], &verdict["policy"]), (&Value::from(2), &policy), "{name}");
    }
}

/// `test_invalid_initial_root`, `test_unsigned_initial_root`.
#[tokio::test]
async fn a_device_does_not_begin_with_a_root_that_is_cut_or_not_signed() {
    let good = Repository::new().seal();
    let enrols = |roots: Vec<Vec<u8>>, pinned: Digest| async move {
        let hub = Hub::start_with(roots, pinned);
        let agent = Agent::new("");
        let done = agent.run(&["enroll", &hub.code()]).await;
        // Whatever was refused, the device is not enrolled and holds nothing.
        let after = if done.code == 0 { 0 } else { agent.run(&["run"]).await.code };
        (done.code, after, done.err.lines().last().unwrap_or_default().to_owned())
    };
    let said = |why: &str| format!("postern-agent: the hub's roots are not genuine: {why}");
    assert_eq!(enrols(vec![good.clone()], digest(&good)).await.0, 0);
    let unsigned = Repository::new().signed_by(&[]);
    let refused = said("0 valid signatures of the role, 1 are needed");
    assert_eq!(enrols(vec![unsigned.clone()], digest(&unsigned)).await, (8, 3, refused.clone()));
    let by_another = Repository::new().signed_by(&[99]);
    assert_eq!(enrols(vec![by_another.clone()], digest(&by_another)).await, (8, 3, refused));
    let cut = good[..good.len() - 1].to_vec();
    assert_eq!(enrols(vec![cut], digest(&good)).await, (8, 3, said("the frame is malformed")));
}

/// `test_snapshot_threshold`, `test_root_has_keys_but_not_snapshot`.
#[tokio::test]
async fn a_threshold_is_met_by_distinct_keys_of_the_very_role() {
    let first = Repository::new();
    // A threshold that more keys of the role would have to meet than signed.
    let second = first.clone().with(Role::Policy, 3, &[11, 12, 13, 14]).next();
    let mut device = Device::enrolled(&first.seal()).await;
    device.show(&second.seal());
    device.show_policy(2, &[11, 12], |_| ()).show_policy(2, &[11, 12, 13], |_| ());
    // Keys of another role count for nothing.
    device.show_policy(3, &[11, 12, 201], |_| ()).show_policy(3, &[11, 12, 203], |_| ());
    let verdict = device.verdict().await;
    let short = Some("2 valid signatures of the role, 3 are needed");
    assert_eq!(faults(&verdict), [None, short, None, short, short]);
    assert_eq!(verdict["policy"], 2);
    // A threshold that nobody can reach is no root at all.
    let unreachable = first.with(Role::Policy, 5, &[11, 12, 13, 14]).next();
    let mut device = Device::enrolled(&Repository::new().seal()).await;
    let verdict = device.show(&unreachable.seal()).verdict().await;
    assert_eq!(faults(&verdict), [Some("the root's Policy role is malformed")]);
}

/// `test_duplicate_keys_root`, and a signature that is listed twice.
#[tokio::test]
async fn a_key_counts_once_however_often_it_is_listed() {
    let first = Repository::new();
    let twice = first.clone().next().changed(|root| {
        let key = root.roles[1].keys[0];
        root.roles[1] = RoleKeys { role: Role::Policy, threshold: 2, keys: vec![key, key] };
    });
    let shared = first.clone().next().changed(|root| root.roles[3].keys = root.roles[1].keys.clone());
    let mut device = Device::enrolled(&first.seal()).await;
    device.show(&twice.seal()).show(&shared.seal());
    // One signature of one key, listed twice.
    let mut sealed = first.clone().next().seal();
    let (signature, count) = (sealed[sealed.len() - 96..].to_vec(), sealed.len() - 97);
    sealed[count] = 2;
    sealed.extend_from_slice(&signature);
    let verdict = device.show(&sealed).verdict().await;
    let malformed = Some("the root's Policy role is malformed");
    let both = Some("a key of the root's Timestamp role stands in an earlier role too");
    let order = Some("signatures are not strictly ascending by key");
    assert_eq!(faults(&verdict), [malformed, both, order]);
    assert_eq!(verdict["root_version"], 1);
}

/// `test_invalid_initial_root` for later roots, hostile role names, custom fields (which have no place here).
#[tokio::test]
async fn roots_follow_without_gap_and_name_known_roles_alone() {
    let first = Repository::new();
    let mut device = Device::enrolled(&first.seal()).await;
    device.show(&first.seal());
    device.show(&first.clone().next().next().seal());
    device.show(&first.clone().next().changed(|root| root.policy_epoch = 0).seal());
    // A role of a number that nobody gave out: 6 in place of the last role's 5.
    let named = codec::encode(&first.clone().next().root, limits::ROOT_BYTES).unwrap();
    let last = codec::encode(&first.root.roles[5], limits::ROOT_BYTES).unwrap();
    let at = named.windows(last.len()).position(|window| window == last).unwrap();
    let mut hostile = named.clone();
    hostile[at] = 6;
    device.show(&Envelope::seal_payload(Root::DOMAIN, &hostile, &[&secret(201)]).unwrap());
    let trailing = [&named[..], &[0]].concat();
    device.show(&Envelope::seal_payload(Root::DOMAIN, &trailing, &[&secret(201)]).unwrap());
    device.show(&first.next().seal());
    let verdict = device.verdict().await;
    assert_eq!(
        faults(&verdict),
        [
            Some("root version 1, version 2 must follow"),
            Some("root version 3, version 2 must follow"),
            Some("policy epoch 0 is below 1"),
            Some("the payload is not canonical: malformed"),
            Some("the payload is not canonical: 1 bytes follow after the value"),
            None
        ]
    );
}

/// `test_snapshot_rollback`, `test_timestamp_content_changes`.
#[tokio::test]
async fn an_older_policy_and_a_second_story_under_one_version_are_refused() {
    let mut device = Device::enrolled(&Repository::new().seal()).await;
    let policy = |device: &mut Device, version| {
        device.show_policy(version, &[202], |_| ());
    };
    policy(&mut device, 5);
    policy(&mut device, 4);
    // The same version, other content.
    device.show_policy(5, &[202], |policy| policy.snapshot.limits.tunnels = 1);
    policy(&mut device, 6);
    let verdict = device.verdict().await;
    assert_eq!(
        faults(&verdict),
        [
            None,
            Some("version 4 is below version 5, which was accepted before (rollback)"),
            Some("another snapshot with version 5 was accepted before (equivocation)"),
            None
        ]
    );
    assert_eq!((&verdict["floor"], &verdict["policy"]), (&Value::from(6), &Value::from(6)));
}

/// `test_new_snapshot_fast_forward_recovery`.
#[tokio::test]
async fn a_higher_epoch_heals_a_version_that_was_used_up_by_a_thief() {
    let first = Repository::new();
    let mut device = Device::enrolled(&first.seal()).await;
    // Whoever stole the policy key used the last version up.
    device.show_policy(u64::MAX, &[202], |_| ()).show_policy(3, &[202], |_| ());
    let second = first.with(Role::Policy, 1, &[11]).changed(|root| root.policy_epoch = 2).next();
    device.show(&second.seal());
    device.show_policy(1, &[202], |policy| policy.snapshot.epoch = 2);
    device.show_policy(1, &[11], |_| ());
    device.show_policy(1, &[11], |policy| policy.snapshot.epoch = 2);
    let verdict = device.verdict().await;
    assert_eq!(
        faults(&verdict),
        [
            None,
            Some("version 3 is below version 18446744073709551615, which was accepted before (rollback)"),
            None,
            Some("0 valid signatures of the role, 1 are needed"),
            Some("policy epoch 1, the root says 2"),
            None
        ]
    );
    assert_eq!((&verdict["epoch"], &verdict["policy"]), (&Value::from(2), &Value::from(1)));
}

/// Mix-and-match, wrong type.
#[tokio::test]
async fn objects_of_another_device_fleet_or_type_are_refused() {
    let first = Repository::new();
    let mut device = Device::enrolled(&first.seal()).await;
    device.show_policy(2, &[202], |policy| policy.snapshot.device = DeviceId::new([8; 8]));
    device.show_policy(2, &[202], |policy| policy.snapshot.device_key = secret(77).public());
    let other_fleet = postern_protocol::id::FleetId::new([8; 8]);
    device.show_policy(2, &[202], |policy| policy.snapshot.fleet = other_fleet);
    device.show(&first.clone().next().changed(|root| root.fleet = other_fleet).seal());
    // A root, signed by root keys, that says that it is a snapshot; and the other way round.
    let mut sealed = first.clone().next().seal();
    sealed[1] = 2;
    device.show(&sealed);
    // A snapshot by the keys of every other role.
    device.show_policy(2, &[201], |_| ()).show_policy(2, &[203, 205, 206, 207], |_| ());
    device.show(b"").show(&[1, 9]).show(&[1, 2, 0xff, 0xff, 0xff, 0xff]);
    let verdict = device.verdict().await;
    let unsigned = Some("0 valid signatures of the role, 1 are needed");
    let said = faults(&verdict);
    assert_eq!(
        said[0],
        Some("the snapshot is for device dev-0808080808080808, this is dev-0202020202020202")
    );
    assert_eq!(said[1], Some("the snapshot is for another key of this device"));
    assert_eq!(
        said[2].map(|why| why.starts_with("the snapshot belongs to fleet flt-0808080808080808, not to ")),
        Some(true)
    );
    assert_eq!(
        said[3].map(|why| why.starts_with("the root belongs to fleet flt-0808080808080808, not to ")),
        Some(true)
    );
    assert_eq!(said[4..7], [unsigned, unsigned, unsigned]);
    assert_eq!(said[7], Some("no signed object: the frame is malformed, or of a later format"));
    let domain = "domain 9 is no root, snapshot, pass, timestamp or lock; those are judged here";
    assert_eq!(said[8], Some(domain));
    assert_eq!(said[9], Some("4294967295 bytes, at most 655360 are allowed"));
    assert_eq!(verdict["policy"], 1);
}

/// `test_root_expired`, `test_snapshot_expired`, expired intermediate roots.
#[tokio::test]
async fn what_has_expired_is_kept_and_permits_nothing() {
    let first = Repository::new();
    let past = |days: u64| UnixTime::from_secs(1_700_000_000 - days * 86_400);
    let second = first.clone().next().changed(|root| root.expires = past(1));
    let third = second.clone().next().changed(|root| root.expires = UnixTime::from_secs(4_000_000_000));
    // An intermediate root may have expired.
    let mut device = Device::enrolled(&first.seal()).await;
    device.show(&second.seal()).show(&third.seal());
    let verdict = device.verdict().await;
    assert_eq!(faults(&verdict), [None, None]);
    assert_eq!((&verdict["root_expired"], &verdict["in_date"]), (&Value::from(false), &Value::from(true)));
    // The last one is kept and permits nothing, whatever is accepted under it; before its end it did.
    let mut device = Device::enrolled(&first.seal()).await;
    device.show(&second.seal()).show_policy(9, &[202], |_| ());
    let verdict = device.verdict().await;
    assert_eq!(faults(&verdict), [None, None]);
    assert_eq!(verdict["root_version"], 2);
    assert_eq!((&verdict["root_expired"], &verdict["in_date"]), (&Value::from(true), &Value::from(false)));
    assert_eq!(device.verdict_at("2023-11-01T00:00:00Z").await["in_date"], true);
    // A policy likewise: the newest word of the cloud, and worth nothing.
    let mut device = Device::enrolled(&first.seal()).await;
    device.show_policy(3, &[202], |policy| {
        policy.snapshot.issued = past(20);
        policy.snapshot.expires = past(10);
    });
    let verdict = device.verdict().await;
    assert_eq!((faults(&verdict), &verdict["policy"]), (vec![None], &Value::from(3)));
    assert_eq!(verdict["in_date"], false);
}

/// What a timestamp names: rollback, freeze and mix-and-match by a genuine or a stolen key, and keys of other roles.
#[tokio::test]
async fn timestamps_are_believed_for_their_role_and_refresh_only_what_they_name_exactly() {
    let first = Repository::new();
    let mut device = Device::enrolled(&first.seal()).await;
    device.show_policy(5, &[202], |_| ());
    let five = held(&device, 5);
    let genuine = Timestamp {
        fleet: FLEET,
        device: DEVICE,
        nonce: Nonce::new([7; 16]),
        time: now(),
        root_version: 1,
        held: Some(five),
        lock: 0,
    };
    let show = |device: &mut Device, seed: u8, timestamp: &Timestamp| {
        device.show(&Envelope::seal(timestamp, &[&secret(seed)]).unwrap());
    };
    show(&mut device, 205, &genuine);
    for seed in [201, 202, 203, 206, 207] {
        show(&mut device, seed, &genuine);
    }
    show(&mut device, 205, &Timestamp { device: DeviceId::new([8; 8]), ..genuine.clone() });
    show(&mut device, 205, &Timestamp { time: UnixTime::from_secs(5), ..genuine.clone() });
    let naming = |held| Timestamp { held, ..genuine.clone() };
    show(&mut device, 205, &naming(Some(Held { version: 4, ..five })));
    show(&mut device, 205, &naming(None));
    show(&mut device, 205, &naming(Some(Held { digest: Digest::of(&[b"another story"]), ..five })));
    show(&mut device, 205, &naming(Some(Held { version: 6, ..five })));
    show(&mut device, 205, &Timestamp { root_version: 2, ..genuine.clone() });
    show(&mut device, 205, &Timestamp { lock: 3, ..genuine.clone() });
    // After a rotation the thief of the earlier key says nothing any more, and an older root is a rollback.
    device.show(&first.with(Role::Timestamp, 1, &[15]).next().seal());
    show(&mut device, 205, &Timestamp { root_version: 2, ..genuine.clone() });
    show(&mut device, 15, &genuine);
    show(&mut device, 15, &Timestamp { root_version: 2, ..genuine.clone() });
    let verdict = device.verdict().await;
    let unsigned = Some("0 valid signatures of the role, 1 are needed");
    let said = faults(&verdict);
    assert_eq!(said[..7], [None, None, unsigned, unsigned, unsigned, unsigned, unsigned]);
    assert_eq!(
        said[7..],
        [
            Some("the timestamp is for device dev-0808080808080808, this is dev-0202020202020202"),
            Some("the timestamp names an impossible time or version"),
            Some("policy version 4 (epoch 1) was offered or named, version 5 (epoch 1) is held"),
            Some("the cloud knows no policy, version 5 (epoch 1) is held"),
            Some("another policy with version 5 was offered or named"),
            None,
            None,
            None,
            None,
            unsigned,
            Some("root version 1 was named, version 2 is held"),
            None
        ]
    );
    let notes = notes(&verdict);
    let confirmed = Some("it confirms the policy in force");
    assert_eq!(notes[1], confirmed);
    assert_eq!(
        notes[12..15],
        [
            Some("an alarm unless it comes: policy version 6 (epoch 1) was named and did not come"),
            Some("an alarm unless it comes: root version 2 was named and did not come"),
            Some("an alarm unless it comes: lock 3 was named and did not come")
        ]
    );
    assert_eq!(notes[18], confirmed);
}

/// What the last shown policy of a device is called.
fn held(device: &Device, version: u64) -> Held {
    let sealed = std::fs::read(device.shown.last().unwrap()).unwrap();
    let digest = Digest::of(&[Envelope::parse(&sealed, limits::SNAPSHOT_BYTES).unwrap().payload()]);
    Held { epoch: 1, version, digest }
}

/// Locks: roles, addressees and epochs, and that only a snapshot lifts one.
#[tokio::test]
async fn locks_are_taken_from_their_role_alone_and_lifted_by_a_snapshot_alone() {
    let first = Repository::new();
    let mut device = Device::enrolled(&first.seal()).await;
    let user = [LockTarget::User(USER)];
    device.show(&lock_of(206, 1, 3, &user));
    for seed in [201, 202, 203, 205, 207] {
        device.show(&lock_of(seed, 1, 4, &user));
    }
    device.show(&lock_of(206, 2, 4, &user)).show(&lock_of(206, 1, 4, &[]));
    device.show_policy(2, &[202], |policy| policy.snapshot.locks_cleared = 2);
    device.show(&lock_of(206, 1, 2, &user));
    let verdict = device.verdict().await;
    assert_eq!(verdict["locked"], 1);
    let unsigned = Some("0 valid signatures of the role, 1 are needed");
    let said = faults(&verdict);
    assert_eq!(said[..6], [None, unsigned, unsigned, unsigned, unsigned, unsigned]);
    assert_eq!(
        said[6..],
        [
            Some("policy epoch 2, the root says 1"),
            Some("the lock lists its targets wrongly"),
            None,
            Some("lock 2 is lifted: the policy in force clears locks up to 2")
        ]
    );
    device.show_policy(3, &[202], |policy| policy.snapshot.locks_cleared = 3);
    assert_eq!(device.verdict().await["locked"], 0);
}

/// Passes: the identity role alone, for this fleet and device, in their time.
#[tokio::test]
async fn passes_are_judged_by_role_fleet_device_and_time() {
    let first = Repository::new();
    let mut device = Device::enrolled(&first.seal()).await;
    let issued = UnixTime::from_secs(1_800_000_000);
    let genuine = Pass {
        fleet: FLEET,
        user: USER,
        key: secret(USER_SEED).public(),
        factors: Vec::new(),
        issued,
        expires: issued.saturating_add(3600),
        narrow: Narrowing::NONE,
    };
    let show = |device: &mut Device, seed: u8, pass: &Pass| {
        device.show(&Envelope::seal(pass, &[&secret(seed)]).unwrap());
    };
    show(&mut device, 203, &genuine);
    for seed in [201, 202, 205, 206, 207] {
        show(&mut device, seed, &genuine);
    }
    show(&mut device, 203, &Pass { fleet: postern_protocol::id::FleetId::new([8; 8]), ..genuine.clone() });
    let elsewhere = Narrowing { devices: Some(vec![DeviceId::new([8; 8])]), ..Narrowing::NONE };
    show(&mut device, 203, &Pass { narrow: elsewhere, ..genuine.clone() });
    let verdict = device.verdict_at("2027-01-15T08:30:00Z").await;
    let unsigned = Some("0 valid signatures of the role, 1 are needed");
    let said = faults(&verdict);
    assert_eq!(said[..6], [None, unsigned, unsigned, unsigned, unsigned, unsigned]);
    assert_eq!(
        said[6..],
        [Some("the pass belongs to another fleet"), Some("the pass is narrowed to other devices")]
    );
    let signs = "it signs usr-0303030303030303 in until 2027-01-15T09:00:00Z, on proof of the key";
    assert_eq!(notes(&verdict)[0], Some(signs));
    let late = device.verdict_at("2027-01-15T09:00:00Z").await;
    assert_eq!(faults(&late)[0], Some("the pass expired at 1800003600, now 1800003600"));
    let early = device.verdict_at("2026-12-01T00:00:00Z").await;
    let future = "the pass is from the future (issued 1800000000, now 1796083200)";
    assert_eq!(faults(&early)[0], Some(future));
}
