use super::super::root::Role;
use super::*;

/// A signed value that is one number.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Note(u32);

impl Signed for Note {
    const DOMAIN: Domain = Domain::Pass;
    const MAX_BYTES: usize = 8;
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn role(threshold: u8, seeds: &[u8]) -> RoleKeys {
    let mut keys: Vec<PublicKey> = seeds.iter().map(|seed| key(*seed).public()).collect();
    keys.sort();
    RoleKeys { role: Role::Identity, threshold, keys }
}

fn sealed(seeds: &[u8]) -> Vec<u8> {
    let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
    Envelope::seal(&Note(300), &keys.iter().collect::<Vec<_>>()).unwrap()
}

fn open(bytes: &[u8], role: &RoleKeys) -> Result<Note, EnvelopeFault> {
    Envelope::open(bytes, role)
}

fn threshold(valid: usize, threshold: usize) -> Result<Note, EnvelopeFault> {
    Err(EnvelopeFault::Threshold { valid, threshold })
}

#[test]
fn the_frame_is_what_the_document_says() {
    let bytes = sealed(&[1]);
    assert_eq!(bytes[..9], [1, 3, 2, 0, 0, 0, 0xac, 0x02, 1]);
    assert_eq!(bytes[9..41], *key(1).public().as_bytes());
    let signed = b"postern/v1/pass\0\x02\0\0\0\xac\x02";
    assert_eq!(Domain::Pass.signed_bytes(&[0xac, 2]), signed);
    assert_eq!(bytes[41..], *key(1).sign(signed).as_bytes());
}

#[test]
fn an_envelope_opens_with_enough_signatures_of_the_role() {
    assert_eq!(open(&sealed(&[1]), &role(1, &[1])), Ok(Note(300)));
    assert_eq!(open(&sealed(&[1, 2]), &role(2, &[1, 2, 3])), Ok(Note(300)));
    assert_eq!(open(&sealed(&[1, 2, 9]), &role(2, &[1, 2, 3])), Ok(Note(300)));
}

#[test]
fn too_few_signatures_foreign_keys_and_a_threshold_of_zero_do_not_open_it() {
    assert_eq!(open(&sealed(&[1]), &role(2, &[1, 2])), threshold(1, 2));
    assert_eq!(open(&sealed(&[1, 9]), &role(2, &[1, 2])), threshold(1, 2));
    assert_eq!(open(&sealed(&[9]), &role(1, &[1])), threshold(0, 1));
    assert_eq!(open(&sealed(&[]), &role(1, &[1])), threshold(0, 1));
    assert_eq!(open(&sealed(&[]), &role(0, &[1])), threshold(0, 1));
    assert_eq!(open(&sealed(&[1]), &role(0, &[1])), Ok(Note(300)));
}

#[test]
fn every_flipped_bit_is_a_fault() {
    let bytes = sealed(&[1, 2]);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let fault = open(&flipped, &role(2, &[1, 2])).unwrap_err();
        let expected = match bit / 8 {
            0 => EnvelopeFault::Format { found: flipped[0] },
            1 => EnvelopeFault::Domain { found: flipped[1], expected: 3 },
            // A changed length is above the limit, or moves everything that follows.
            2..=5 if matches!(fault, EnvelopeFault::TooLarge { limit: 8, .. }) => fault,
            2..=5 => EnvelopeFault::Frame,
            6 | 7 => EnvelopeFault::Threshold { valid: 0, threshold: 2 },
            8 => EnvelopeFault::Frame,
            // A changed key is no key of the role, or stands out of order.
            9..=40 | 105..=136 if fault == EnvelopeFault::Order => fault,
            _ => EnvelopeFault::Threshold { valid: 1, threshold: 2 },
        };
        assert_eq!(fault, expected, "bit {bit}");
    }
}

#[test]
fn every_cut_and_every_addition_is_a_fault() {
    let bytes = sealed(&[1]);
    for len in 0..bytes.len() {
        assert_eq!(open(&bytes[..len], &role(1, &[1])), Err(EnvelopeFault::Frame), "length {len}");
    }
    let long = [bytes.as_slice(), &[0]].concat();
    assert_eq!(open(&long, &role(1, &[1])), Err(EnvelopeFault::Frame));
}

#[test]
fn oversize_is_refused_by_its_length_alone() {
    let bytes = vec![1; 8 + OVERHEAD + 1];
    let fault = EnvelopeFault::TooLarge { found: bytes.len(), limit: 8 + OVERHEAD };
    assert_eq!(open(&bytes, &role(1, &[1])), Err(fault));
    // A payload above the limit in a frame that is not: the length field says so.
    let mut short = sealed(&[1]);
    short[2] = 9;
    assert_eq!(open(&short, &role(1, &[1])), Err(EnvelopeFault::TooLarge { found: 9, limit: 8 }));
    short[2..6].fill(0xff);
    let found = usize::try_from(u32::MAX).unwrap();
    assert_eq!(open(&short, &role(1, &[1])), Err(EnvelopeFault::TooLarge { found, limit: 8 }));
}

#[test]
fn a_signature_repeated_or_out_of_order_is_refused_before_it_is_counted() {
    let bytes = sealed(&[1]);
    let (head, signature) = bytes.split_at(9);
    let mut twice = [head, signature, signature].concat();
    twice[8] = 2;
    assert_eq!(open(&twice, &role(2, &[1, 2])), Err(EnvelopeFault::Order));
    let both = sealed(&[1, 2]);
    let swapped = [&both[..9], &both[105..], &both[9..105]].concat();
    assert_eq!(open(&swapped, &role(2, &[1, 2])), Err(EnvelopeFault::Order));
}

#[test]
fn more_signatures_than_allowed_are_refused_before_they_are_read() {
    let mut bytes = sealed(&[1]);
    bytes[8] = 17;
    assert_eq!(open(&bytes, &role(1, &[1])), Err(EnvelopeFault::Frame));
    let keys: Vec<SecretKey> = (1..=17).map(key).collect();
    let refs: Vec<&SecretKey> = keys.iter().collect();
    assert_eq!(Envelope::seal(&Note(1), &refs), Err(EnvelopeFault::Frame));
    let sixteen = Envelope::seal(&Note(1), &refs[..16]).unwrap();
    assert_eq!(open(&sixteen, &role(16, &(1..=16).collect::<Vec<_>>())), Ok(Note(1)));
    assert_eq!(Envelope::seal(&Note(1), &[&keys[0], &keys[0]]), Err(EnvelopeFault::Order));
}

#[test]
fn an_object_of_another_kind_is_refused_though_its_signature_holds() {
    let payload = codec::encode(&Note(300), 8).unwrap();
    let snapshot = Envelope::seal_payload(Domain::Snapshot, &payload, &[&key(1)]).unwrap();
    assert_eq!(open(&snapshot, &role(1, &[1])), Err(EnvelopeFault::Domain { found: 2, expected: 3 }));
    // With the domain byte changed as well, the signature covers another name.
    let mut renamed = snapshot;
    renamed[1] = 3;
    assert_eq!(open(&renamed, &role(1, &[1])), threshold(0, 1));
}

#[test]
fn signed_bytes_that_are_not_canonical_are_refused() {
    let seal = |payload: &[u8]| Envelope::seal_payload(Domain::Pass, payload, &[&key(1)]).unwrap();
    let codec = |fault| Err(EnvelopeFault::Codec(fault));
    assert_eq!(open(&seal(&[0xac, 0x82, 0]), &role(1, &[1])), codec(CodecFault::NotCanonical));
    assert_eq!(open(&seal(&[1, 1]), &role(1, &[1])), codec(CodecFault::Trailing { count: 1 }));
    assert_eq!(open(&seal(&[0x80]), &role(1, &[1])), codec(CodecFault::Malformed));
}

#[test]
fn numbers_and_names_of_domains_are_distinct_and_in_order() {
    let numbers: Vec<u8> = Domain::ALL.iter().map(|domain| domain.number()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let mut names: Vec<&str> = Domain::ALL.iter().map(|domain| domain.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "audit-ack",
            "checkpoint",
            "lock",
            "next-key",
            "pass",
            "proof",
            "receipt",
            "root",
            "sealing-key",
            "snapshot",
            "timestamp"
        ]
    );
}
