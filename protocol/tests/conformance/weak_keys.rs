//! Keys for which anybody can sign are refused wherever a key enters.
//!
//! For the 14 encodings below the signature `R = identity, S = 0` holds without any secret. Handshakes are asked in
//! `transport`, since no other place sees those bytes.

use data_encoding::HEXLOWER;
use postern_protocol::limits;
use postern_protocol::policy::Snapshot;
use postern_protocol::trust::{Envelope, KeyFault, NextKey, Pass, PublicKey, Root, SecretKey, Signature};
use postern_protocol::wire::codec;
use postern_protocol::wire::hub::{DeviceEntry, HubAnswer};
use postern_protocol::wire::invitation::Invitation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::probes::{DEVICE, fixed_root, key};
use crate::samples;

/// The y coordinates of small order, and the second spellings of 0 and 1, each with both signs of x.
fn weak() -> Vec<[u8; 32]> {
    let y = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let bytes = y.map(|hex| <[u8; 32]>::try_from(HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap());
    let both = bytes.into_iter().flat_map(|y| {
        let mut other = y;
        other[31] |= 0x80;
        [y, other]
    });
    both.collect()
}

/// Whether a value is read after `sound` in its encoding was replaced; the value itself must be.
fn reads<T: Serialize + DeserializeOwned>(value: &T, sound: PublicKey, replacement: &[u8; 32]) -> bool {
    let largest = limits::SNAPSHOT_BYTES;
    let bytes = codec::encode(value, largest).unwrap();
    assert!(codec::decode::<T>(&bytes, largest).is_ok());
    let at = bytes.windows(32).position(|window| window == sound.as_bytes()).unwrap();
    let mut changed = bytes;
    changed[at..at + 32].copy_from_slice(replacement);
    codec::decode::<T>(&changed, largest).is_ok()
}

fn entry() -> DeviceEntry {
    let (name, account) = (samples::name("press-7"), samples::text("acme"));
    let (addresses, online) = (Vec::new(), true);
    DeviceEntry { device: DEVICE, name, account, label: None, key: key(10).public(), addresses, online }
}

/// Where a key enters by a message, signed or not.
fn accepted_in_messages(weak: &[u8; 32]) -> Vec<&'static str> {
    let (root, snapshot, pass) = (fixed_root(), samples::snapshot(), samples::pass());
    let next = NextKey::announce(DEVICE, &key(10), &key(11));
    let places = [
        ("key of a role", reads::<Root>(&root, key(2).public(), weak)),
        ("hub of a root", reads::<Root>(&root, key(4).public(), weak)),
        ("device of a snapshot", reads::<Snapshot>(&snapshot, key(10).public(), weak)),
        ("user of a snapshot", reads::<Snapshot>(&snapshot, key(20).public(), weak)),
        ("pass", reads::<Pass>(&pass, key(20).public(), weak)),
        ("next key of a device", reads::<NextKey>(&next, key(11).public(), weak)),
        ("listed device", reads(&HubAnswer::Devices(vec![entry()]), key(10).public(), weak)),
        ("code", reads::<Invitation>(&samples::invitation(), key(4).public(), weak)),
    ];
    places.into_iter().filter(|(_, accepted)| *accepted).map(|(place, _)| place).collect()
}

#[test]
fn no_key_that_anybody_can_sign_for_enters_by_a_message() {
    for weak in weak() {
        assert_eq!(accepted_in_messages(&weak), Vec::<&str>::new(), "{weak:?}");
    }
    // The twin: another sound key is read in each of these places.
    assert_eq!(accepted_in_messages(key(99).public().as_bytes()).len(), 8);
}

#[test]
fn no_key_that_anybody_can_sign_for_enters_by_an_argument_a_file_or_a_stored_row() {
    assert_eq!(weak().len(), 14);
    for (at, weak) in weak().into_iter().enumerate() {
        let fault = if at < 10 { KeyFault::Weak } else { KeyFault::NotCanonical };
        // Arguments and JSON are text, stored rows and handshakes are bytes.
        assert_eq!(HEXLOWER.encode(&weak).parse::<PublicKey>(), Err(fault));
        assert_eq!(PublicKey::try_from(weak.as_slice()), Err(fault));
        assert_eq!(PublicKey::new(weak), Err(fault));
    }
    // A key file has a seed, of which no key of small order follows.
    assert!(SecretKey::from_seed([0; 32]).is_ok());
}

#[test]
fn a_signature_by_such_a_key_counts_for_nothing_in_an_envelope() {
    let root = fixed_root();
    let mut forged = [0; 64];
    forged[0] = 1; // R is the identity, S is zero
    for weak in weak() {
        let mut sealed = Envelope::seal(&samples::pass(), &[&key(3)]).unwrap();
        let from = sealed.len() - 96;
        sealed[from..from + 32].copy_from_slice(&weak);
        sealed[from + 32..].copy_from_slice(Signature::new(forged).as_bytes());
        for role in &root.roles {
            assert!(Envelope::open::<Pass>(&sealed, role).is_err(), "{weak:?}");
        }
    }
}
