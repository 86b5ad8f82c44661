use postern_protocol::id::FleetId;
use postern_protocol::trust::RoleKeys;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const END: UnixTime = UnixTime::from_secs(1_900_000_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// A root with holders 1 to 3, of whom two must sign, and one key for everything else.
fn root() -> Root {
    let role = |role, threshold, seeds: &[u8]| {
        let mut keys: Vec<PublicKey> = seeds.iter().map(|seed| public(*seed)).collect();
        keys.sort();
        RoleKeys { role, threshold, keys }
    };
    Root {
        fleet: FleetId::new([1; 8]),
        version: 1,
        expires: END,
        policy_epoch: 1,
        roles: vec![
            role(Role::Root, 2, &[1, 2, 3]),
            role(Role::Policy, 1, &[11]),
            role(Role::Identity, 1, &[12]),
            role(Role::Timestamp, 1, &[13]),
            role(Role::Lock, 1, &[14]),
            role(Role::AuditAck, 1, &[15]),
        ],
        hubs: vec![public(16)],
    }
}

fn sealed(root: &Root, seeds: &[u8]) -> Vec<u8> {
    let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
    Envelope::seal(root, &keys.iter().collect::<Vec<_>>()).unwrap()
}

/// A draft in which holder 3 gives way to holder 4.
fn draft() -> RootFile {
    let changes = [
        Change::Add(Purpose::Role(Role::Root), public(4)),
        Change::Remove(Purpose::Role(Role::Root), public(3)),
    ];
    let next = next(&root(), &changes, END, NOW).unwrap();
    RootFile::new(Some(sealed(&root(), &[1, 2, 3])), sealed(&next, &[])).unwrap()
}

#[test]
fn a_root_file_reads_back_and_other_files_are_named() {
    let file = draft();
    let text = file.to_string();
    assert_eq!(RootFile::parse(&text), Ok(file.clone()));
    assert_eq!(RootFile::parse(&text.replace('\n', "\r\n")), Ok(file));
    let fault = |text: &str| RootFile::parse(text).unwrap_err();
    assert_eq!(fault("[account.a]"), RootFileFault::Head);
    assert_eq!(fault(""), RootFileFault::Head);
    assert_eq!(fault("postern root 1\n"), RootFileFault::Cut);
    assert_eq!(fault("postern root 1\nroot xyz\n"), RootFileFault::Line(2));
    assert_eq!(fault("postern root 1\nroot\n"), RootFileFault::Line(2));
    assert_eq!(fault(&format!("{text}{}", text.lines().last().unwrap())), RootFileFault::Line(4));
    assert_eq!(
        fault("postern root 1\nroot 0101\n"),
        RootFileFault::Root { previous: false, fault: RootFault::Envelope(EnvelopeFault::Frame) }
    );
}

#[test]
fn holders_of_the_old_and_the_new_root_sign_one_after_another_and_nobody_else() {
    let counts = |file: &RootFile| {
        let tallies = file.tallies().unwrap();
        tallies.iter().map(|tally| (tally.is_old, tally.signed.len(), tally.missing())).collect::<Vec<_>>()
    };
    let file = draft();
    assert_eq!(counts(&file), [(true, 0, 2), (false, 0, 2)]);
    let file = file.sign(&key(3)).unwrap();
    assert_eq!(counts(&file), [(true, 1, 1), (false, 0, 2)]);
    let file = file.sign(&key(4)).unwrap();
    assert_eq!(counts(&file), [(true, 1, 1), (false, 1, 1)]);
    let stranger = RootFileFault::Stranger(public(11).fingerprint().to_string());
    assert_eq!(file.sign(&key(11)), Err(stranger), "a key of another role is no holder");
    assert_eq!(file.sign(&key(4)), Err(RootFileFault::Signed(public(4).fingerprint().to_string())));
    let file = file.sign(&key(1)).unwrap();
    assert_eq!(counts(&file), [(true, 2, 0), (false, 2, 0)]);
    assert_eq!(root().accept_next(file.sealed()).map(|root| root.version), Ok(2));
}

#[test]
fn a_root_before_that_its_own_holders_did_not_sign_is_refused() {
    let (before, after) = (sealed(&root(), &[1]), sealed(&root(), &[]));
    let fault = RootFault::Envelope(EnvelopeFault::Threshold { valid: 1, threshold: 2 });
    assert_eq!(RootFile::new(Some(before), after), Err(RootFileFault::Root { previous: true, fault }));
}

#[test]
fn changes_that_make_no_root_are_named() {
    let policy = Purpose::Role(Role::Policy);
    let fault = |changes: &[Change]| next(&root(), changes, END, NOW).unwrap_err().to_string();
    let shown = |seed| public(seed).fingerprint();
    assert_eq!(
        fault(&[Change::Add(policy, public(11))]),
        format!("the root names `policy` key {} already", shown(11))
    );
    assert_eq!(
        fault(&[Change::Remove(policy, public(12))]),
        format!("the root names no `policy` key {}", shown(12))
    );
    assert_eq!(
        fault(&[Change::Remove(policy, public(11))]),
        "`policy` would need 1 signatures of 0 keys, which nobody can give"
    );
    assert_eq!(
        fault(&[Change::Threshold(Role::Root, 4)]),
        "`root` would need 4 signatures of 3 keys, which nobody can give"
    );
    assert_eq!(
        fault(&[Change::Add(policy, public(12))]),
        "a key of the root's Identity role stands in an earlier role too"
    );
    assert_eq!(fault(&[Change::Remove(Purpose::Hub, public(16))]), "no hub key would be left");
    assert_eq!(
        next(&root(), &[], NOW, NOW).unwrap_err().to_string(),
        "the root would have expired at 2027-01-15T08:00:00Z already"
    );
    let last = Root { version: u32::MAX, ..root() };
    assert_eq!(next(&last, &[], END, NOW), Err(ChangeFault::Last));
}

#[test]
fn what_changes_is_said_in_words() {
    let changes = [
        Change::Add(Purpose::Role(Role::Policy), public(21)),
        Change::Remove(Purpose::Role(Role::Policy), public(11)),
        Change::Add(Purpose::Role(Role::Root), public(4)),
        Change::Threshold(Role::Root, 3),
        Change::Add(Purpose::Hub, public(22)),
        Change::RaiseEpoch,
    ];
    let next = next(&root(), &changes, END, NOW).unwrap();
    let shown = |seed| public(seed).fingerprint();
    assert_eq!(
        differences(&root(), &next),
        [
            "version 1 becomes 2, until 2030-03-17T17:46:40Z (before: 2030-03-17T17:46:40Z)".to_owned(),
            "policy epoch 1 becomes 2: every policy that was signed before is worthless, tunnels end"
                .to_owned(),
            format!("root: key {} is added", shown(4)),
            "root: 3 of 4 must sign (before: 2 of 3)".to_owned(),
            format!("policy: key {} is added", shown(21)),
            format!("policy: key {} goes: what it signed counts no more", shown(11)),
            format!("hub: key {} is added", shown(22)),
        ]
    );
    assert_eq!(differences(&root(), &Root { version: 2, ..root() }).len(), 1);
}
