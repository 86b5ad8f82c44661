use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use postern_protocol::time::UnixTime;

use super::*;
use crate::store::Store;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn plan(origin: Origin) -> Plan {
    Plan { listen: "127.0.0.1:0".parse().unwrap(), advertise: Vec::new(), origin }
}

/// A founded state directory, the directory that it lies in, and its root.
fn founded() -> (PathBuf, tempfile::TempDir, Root) {
    let parent = tempfile::tempdir().unwrap();
    let state = parent.path().join("cloud");
    found(&state, &plan(Origin::USUAL), NOW).unwrap();
    let root = Root::self_signed(&sealed(&state)).unwrap();
    (state, parent, root)
}

fn sealed(state: &Path) -> Vec<u8> {
    let newest: Result<_, crate::store::StoreError> =
        Store::open(&state.join(DATABASE)).unwrap().read(|tx| tx.newest_root());
    newest.unwrap()
}

/// The files of a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

/// A successor whose policy role has these keys.
fn with_policy(root: &Root, threshold: u8, keys: &[&SecretKey]) -> Root {
    let mut next = Root { version: root.version + 1, ..root.clone() };
    let mut keys: Vec<PublicKey> = keys.iter().map(|key| key.public()).collect();
    keys.sort();
    next.roles[1] = RoleKeys { role: Role::Policy, threshold, keys };
    next
}

fn policy_keys(state: &Path, root: &Root) -> Vec<PublicKey> {
    Keys::load(state, root).unwrap().policy.keys().iter().map(SecretKey::public).collect()
}

#[test]
fn an_installation_is_founded_once_and_never_overwritten() {
    let (state, parent, _) = founded();
    let before = std::fs::read(state.join("policy.key")).unwrap();
    let error = found(&state, &plan(Origin::USUAL), NOW).unwrap_err();
    assert!(matches!(error, FoundError::Exists(path) if path == state));
    assert_eq!(std::fs::read(state.join("policy.key")).unwrap(), before);
    assert_eq!(files(parent.path()), ["cloud"]);
}

#[test]
fn three_root_keys_are_made_of_which_two_must_sign_and_all_have_signed_the_first_root() {
    let (state, _parent, root) = founded();
    assert_eq!(files(&state.join(OFFLINE)), ["root-1.key", "root-2.key", "root-3.key"]);
    let made = (1..=3).map(|n| read(&state.join(format!("offline/root-{n}.key"))).unwrap().public());
    let mut made: Vec<PublicKey> = made.collect();
    made.sort();
    let role = root.role(Role::Root).unwrap();
    assert_eq!((role.threshold, &role.keys), (2, &made));
    assert_eq!(root.signed_by(&sealed(&state)), Ok((made, 2)));
    // Nothing that runs needs them.
    std::fs::remove_dir_all(state.join(OFFLINE)).unwrap();
    Keys::load(&state, &root).unwrap();
}

#[test]
fn a_threshold_that_nobody_can_reach_or_everybody_can_founds_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let state = parent.path().join("cloud");
    for (keys, threshold) in [(3, 4), (3, 0), (17, 2)] {
        let error = found(&state, &plan(Origin::Here { keys, threshold }), NOW).unwrap_err();
        assert!(matches!(error, FoundError::Threshold { .. }), "{error}");
        assert_eq!(files(parent.path()), Vec::<String>::new());
    }
    found(&state, &plan(Origin::Here { keys: 16, threshold: 16 }), NOW).unwrap();
}

#[test]
fn a_root_of_a_ceremony_is_founded_with_the_keys_that_it_names_and_not_without() {
    let (made, _parent, root) = founded();
    let keys: Vec<(Purpose, SecretKey)> = Purpose::ONLINE
        .into_iter()
        .map(|purpose| (purpose, read(&made.join(format!("{}.key", purpose.stem()))).unwrap()))
        .collect();
    let parent = tempfile::tempdir().unwrap();
    let state = parent.path().join("cloud");
    let ceremony = |root: Vec<u8>, keys: &[(Purpose, SecretKey)]| {
        found(&state, &plan(Origin::Ceremony { root, keys: keys.to_vec() }), NOW)
    };
    let error = ceremony(sealed(&made), &keys[1..]).unwrap_err();
    assert!(matches!(error, FoundError::Key(KeyFileError::Unheld { role: Role::Policy, held: 0, .. })));
    let unsigned = Envelope::seal(&root, &[]).unwrap();
    assert!(matches!(ceremony(unsigned, &keys).unwrap_err(), FoundError::Root(_)));
    assert_eq!(files(parent.path()), Vec::<String>::new());
    let installation = ceremony(sealed(&made), &keys).unwrap();
    assert_eq!(installation.fleet, root.fleet);
    assert!(!state.join(OFFLINE).exists());
    assert_eq!(sealed(&state), sealed(&made));
}

#[test]
fn every_file_is_its_owners_alone() {
    let (state, _parent, _) = founded();
    for name in files(&state).into_iter().filter(|name| name != OFFLINE) {
        let mode = std::fs::metadata(state.join(&name)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    for n in 1..=3 {
        let mode = std::fs::metadata(state.join(format!("offline/root-{n}.key"))).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "root-{n}.key");
    }
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let (state, _parent, root) = founded();
    Keys::load(&state, &root).unwrap();
    for mode in [0o640, 0o604] {
        std::fs::set_permissions(state.join("hub.key"), std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Keys::load(&state, &root).unwrap_err();
        assert!(matches!(error, KeyFileError::Exposed { mode: found, .. } if found == mode), "{error}");
    }
}

#[test]
fn a_cut_or_linked_key_file_is_refused() {
    let (state, _parent, root) = founded();
    let policy = state.join("policy.key");
    let whole = std::fs::read(&policy).unwrap();
    std::fs::write(&policy, &whole[..20]).unwrap();
    assert!(matches!(Keys::load(&state, &root).unwrap_err(), KeyFileError::Malformed { .. }));
    std::fs::remove_file(&policy).unwrap();
    std::os::unix::fs::symlink(state.join("hub.key"), &policy).unwrap();
    assert!(matches!(Keys::load(&state, &root).unwrap_err(), KeyFileError::NotPlain { .. }));
}

#[test]
fn a_key_that_the_root_does_not_name_signs_nothing() {
    let (state, _parent, root) = founded();
    let next = with_policy(&root, 1, &[&key(1)]);
    let error = Keys::load(&state, &next).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the root needs 1 keys of its `policy` role here, 0 of the 1 that it names are in `{}`",
            state.display()
        )
    );
}

#[test]
fn as_many_keys_sign_as_the_root_names_and_the_hub_holds() {
    let (state, _parent, root) = founded();
    let old = read(&state.join("policy.key")).unwrap();
    let next = with_policy(&root, 2, &[&old, &key(1), &key(2)]);
    let one_short = Exchange::prepare(&state, &next, &[]);
    one_short.unwrap();
    assert!(matches!(
        Keys::load(&state, &next).unwrap_err(),
        KeyFileError::Unheld { role: Role::Policy, needed: 2, held: 1, named: 3, .. }
    ));
    Exchange::prepare(&state, &next, &[(Purpose::Role(Role::Policy), key(1))]).unwrap();
    let mut expected = vec![old.public(), key(1).public()];
    expected.sort();
    assert_eq!(policy_keys(&state, &next), expected);
    Exchange::settle(&state, &next).unwrap();
    assert_eq!(policy_keys(&state, &next), expected);
    assert!(state.join("policy-2.key").exists());
}

#[test]
fn an_exchange_leaves_a_hub_that_can_sign_at_every_moment() {
    let (state, _parent, root) = founded();
    let old = read(&state.join("policy.key")).unwrap();
    let next = with_policy(&root, 1, &[&key(1)]);
    Exchange::prepare(&state, &next, &[(Purpose::Role(Role::Policy), key(1))]).unwrap();
    // Before the root is stored, and after it.
    assert_eq!(policy_keys(&state, &root), [old.public()]);
    assert_eq!(policy_keys(&state, &next), [key(1).public()]);
    Exchange::settle(&state, &next).unwrap();
    assert_eq!(policy_keys(&state, &next), [key(1).public()]);
    assert_eq!(read(&state.join("policy.key.old-1")).unwrap().public(), old.public());
    assert_eq!(read(&state.join("policy.key")).unwrap().public(), key(1).public());
    assert!(!state.join("policy.key.new").exists());
    let before = files(&state);
    Exchange::settle(&state, &next).unwrap();
    assert_eq!(files(&state), before, "again changes nothing");
}

#[test]
fn a_key_that_came_to_nothing_gives_way_to_the_next() {
    let (state, _parent, root) = founded();
    let policy = Purpose::Role(Role::Policy);
    Exchange::prepare(&state, &with_policy(&root, 1, &[&key(1)]), &[(policy, key(1))]).unwrap();
    let next = with_policy(&root, 1, &[&key(2)]);
    Exchange::prepare(&state, &next, &[(policy, key(2))]).unwrap();
    Exchange::settle(&state, &next).unwrap();
    assert_eq!(policy_keys(&state, &next), [key(2).public()]);
}

#[test]
fn a_hub_key_serves_until_the_root_names_it_no_more() {
    let (state, _parent, root) = founded();
    let old = root.hubs[0];
    let hub = |root: &Root| Keys::load(&state, root).unwrap().hub.public();
    let mut both = Root { version: 2, ..root.clone() };
    both.hubs.push(key(1).public());
    both.hubs.sort();
    Exchange::prepare(&state, &both, &[(Purpose::Hub, key(1))]).unwrap();
    Exchange::settle(&state, &both).unwrap();
    assert_eq!(hub(&both), old);
    let new = Root { version: 3, hubs: vec![key(1).public()], ..both };
    assert_eq!(hub(&new), key(1).public());
    Exchange::settle(&state, &new).unwrap();
    assert_eq!(hub(&new), key(1).public());
    let nobody = Root { hubs: vec![key(9).public()], ..new };
    assert!(matches!(Keys::load(&state, &nobody).unwrap_err(), KeyFileError::NoHub { named: 1, .. }));
}

#[test]
fn keys_that_the_root_does_not_name_and_root_keys_are_not_put_into_place() {
    let (state, _parent, root) = founded();
    let before = files(&state);
    let error = Exchange::prepare(&state, &root, &[(Purpose::Role(Role::Lock), key(1))]).unwrap_err();
    assert_eq!(error.to_string(), format!("the root names no `lock` key {}", key(1).public().fingerprint()));
    let offline = read(&state.join("offline/root-1.key")).unwrap();
    let error = Exchange::prepare(&state, &root, &[(Purpose::Role(Role::Root), offline)]).unwrap_err();
    assert!(matches!(error, ExchangeError::Offline), "{error}");
    assert_eq!(files(&state), before);
}

#[test]
fn roles_are_spelt_with_either_stroke() {
    assert_eq!("audit-ack".parse(), Ok(Purpose::Role(Role::AuditAck)));
    assert_eq!("audit_ack".parse(), Ok(Purpose::Role(Role::AuditAck)));
    assert_eq!("hub".parse(), Ok(Purpose::Hub));
    assert_eq!("hubs".parse::<Purpose>(), Err(PurposeFault));
}
