use hpke::single_shot_seal_inout_detached_with_rng as single_shot;

use super::key::SMALL_ORDER;
use super::*;
use crate::trust::envelope::Domain;
use crate::trust::keys::SecretKey;
use crate::wire::codec;

fn device_key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn sealing(seed: u8) -> SealingSecret {
    SealingSecret::derive(&device_key(seed)).unwrap()
}

fn secret(bytes: &[u8]) -> Plaintext {
    Plaintext::new(Zeroizing::new(bytes.to_vec())).unwrap()
}

fn place(name: &Name) -> Place<'_> {
    Place { fleet: FleetId::new([0xf1; 8]), device: DeviceId::new([0xd1; 8]), name }
}

fn hmi() -> Name {
    "hmi".parse().unwrap()
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    seal(&sealing(10).public(), &place(&hmi()), &secret(bytes), Zeroizing::new([7; 32])).unwrap()
}

fn opened(bytes: &[u8]) -> Result<Vec<u8>, OpenFault> {
    open(&sealing(10), &place(&hmi()), bytes).map(|secret| secret.reveal().to_vec())
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

#[test]
fn a_secret_of_any_length_opens_in_its_place_and_every_sealed_one_has_the_same_size() {
    for length in [1, 2, 8, 255, 256] {
        let plain: Vec<u8> = (0..length).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
        let sealed = sealed(&plain);
        assert_eq!((sealed.len(), sealed[0]), (306, 1));
        assert_eq!(opened(&sealed), Ok(plain));
    }
}

#[test]
fn a_secret_is_neither_empty_nor_longer_than_its_form_holds() {
    for found in [0, 257] {
        let fault = Plaintext::new(Zeroizing::new(vec![1; found])).err();
        assert_eq!(fault, Some(PlaintextFault { found }));
    }
}

#[test]
fn a_sealed_secret_opens_for_no_other_fleet_device_name_or_key() {
    let (name, other) = (hmi(), "hmi-2".parse().unwrap());
    let (sealed, here) = (sealed(b"4711"), place(&name));
    let places = [
        Place { fleet: FleetId::new([0xf2; 8]), ..here },
        Place { device: DeviceId::new([0xd2; 8]), ..here },
        Place { name: &other, ..here },
    ];
    for elsewhere in places {
        assert_eq!(open(&sealing(10), &elsewhere, &sealed).err(), Some(OpenFault::Foreign), "{elsewhere:?}");
    }
    assert_eq!(open(&sealing(11), &here, &sealed).err(), Some(OpenFault::Foreign));
    assert_eq!(open(&sealing(10), &here, &sealed).unwrap().reveal(), b"4711");
}

#[test]
fn every_flipped_bit_and_every_other_size_is_a_fault() {
    let whole = sealed(b"4711");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit {
            0..8 => OpenFault::Form { found: bytes[0] },
            // The top bit of the encapsulated key is no part of the coordinate.
            263 => OpenFault::Weak,
            _ => OpenFault::Foreign,
        };
        assert_eq!(opened(&bytes), Err(expected), "bit {bit}");
    }
    for size in 1..whole.len() {
        assert_eq!(opened(&whole[..size]), Err(OpenFault::Size { found: size }));
    }
    assert_eq!(opened(&[]), Err(OpenFault::Size { found: 0 }));
    assert_eq!(opened(&[whole.as_slice(), &[0]].concat()), Err(OpenFault::Size { found: 307 }));
}

#[test]
fn an_encapsulated_key_of_small_order_opens_nothing() {
    for point in SMALL_ORDER {
        let mut bytes = sealed(b"4711");
        bytes[1..33].copy_from_slice(&point);
        assert_eq!(opened(&bytes), Err(OpenFault::Weak));
    }
}

#[test]
fn content_that_breaks_the_form_is_refused_though_it_decrypts() {
    let name = hmi();
    for (length, stray) in [(3, true), (3, false)] {
        let mut content = [0; CONTENT_BYTES];
        content[0] = length;
        content[1..5].copy_from_slice(b"4711");
        content[200] = u8::from(stray);
        let (key, tag) = single_shot::<Aead, Kdf, Suite>(
            &OpModeS::Base,
            &sealing(10).public().encapsulator().unwrap(),
            INFO,
            InOutBuf::from(content.as_mut_slice()),
            &associated(&place(&name)),
            &mut Seed(Zeroizing::new([7; 32])),
        )
        .unwrap();
        let bytes = [&[1], key.to_bytes().as_slice(), &content, tag.to_bytes().as_slice()].concat();
        let expected = if stray { Err(OpenFault::Content) } else { Ok(b"4711".to_vec()) };
        assert_eq!(opened(&bytes), expected);
    }
}

#[test]
fn the_suite_gives_the_bytes_of_rfc_9180_appendix_a_2_1() {
    let (_, public) =
        Suite::derive_keypair(&hex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df"));
    assert_eq!(
        public.to_bytes().as_slice(),
        hex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
    );
    let seed = hex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let mut text = hex("4265617574792069732074727574682c20747275746820626561757479");
    let (encapsulated, tag) = single_shot::<Aead, Kdf, Suite>(
        &OpModeS::Base,
        &public,
        &hex("4f6465206f6e2061204772656369616e2055726e"),
        InOutBuf::from(text.as_mut_slice()),
        &hex("436f756e742d30"),
        &mut Seed(Zeroizing::new(seed.try_into().unwrap())),
    )
    .unwrap();
    assert_eq!(
        encapsulated.to_bytes().as_slice(),
        hex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
    );
    assert_eq!(
        [text.as_slice(), tag.to_bytes().as_slice()].concat(),
        hex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28")
    );
}

#[test]
fn the_library_never_gets_the_same_random_bytes_twice() {
    let mut seed = Seed(Zeroizing::new([9; 32]));
    let mut drawn = [0; 96];
    seed.try_fill_bytes(&mut drawn).unwrap();
    let (first, rest) = drawn.split_at(32);
    assert_eq!(first, [9; 32]);
    assert_ne!(rest[..32], rest[32..]);
    assert!(seed.try_next_u64().unwrap() != seed.try_next_u64().unwrap());
    assert!(seed.try_next_u32().unwrap() != seed.try_next_u32().unwrap());
}

#[test]
fn every_sealing_key_of_small_order_is_refused_in_every_spelling() {
    for point in SMALL_ORDER {
        assert_eq!(SealingKey::new(point), Err(SealingKeyFault::Weak));
        let mut spelled = point;
        spelled[31] |= 0x80;
        assert_eq!(SealingKey::new(spelled), Err(SealingKeyFault::NotCanonical));
        // The library agrees: nothing is encapsulated to it.
        let public = <Suite as Kem>::PublicKey::from_bytes(&point).unwrap();
        let refused = Suite::encap_with_rng(&public, None, &mut Seed(Zeroizing::new([7; 32])));
        assert_eq!(refused.err(), Some(hpke::HpkeError::EncapError));
    }
    let mut second = [0xff; 32];
    second[31] = 0x7f;
    for low in 0xed..=0xff {
        second[0] = low;
        assert_eq!(SealingKey::new(second), Err(SealingKeyFault::NotCanonical));
    }
    let good = sealing(10).public();
    assert_eq!(SealingKey::new(*good.as_bytes()), Ok(good));
}

#[test]
fn an_announcement_yields_the_key_to_who_names_the_device_that_signed_it_and_to_nobody_else() {
    let announcement = Announcement::sign(&device_key(10), &sealing(10));
    assert_eq!(announcement.verify(&device_key(10).public()), Ok(sealing(10).public()));
    assert_eq!(announcement.verify(&device_key(11).public()), Err(AnnouncementFault));
    // A key of somebody else under the signature of the device.
    let mut bytes = codec::encode(&announcement, 96).unwrap();
    bytes[..32].copy_from_slice(sealing(11).public().as_bytes());
    let forged: Announcement = codec::decode(&bytes, 96).unwrap();
    assert_eq!(forged.verify(&device_key(10).public()), Err(AnnouncementFault));
    // The same bytes signed by the device as something else.
    let signature = device_key(10).sign(&Domain::Proof.signed_bytes(sealing(10).public().as_bytes()));
    let bytes = [sealing(10).public().as_bytes().as_slice(), signature.as_bytes()].concat();
    let forged: Announcement = codec::decode(&bytes, 96).unwrap();
    assert_eq!(forged.verify(&device_key(10).public()), Err(AnnouncementFault));
    // A weak key is not even read.
    let bytes = [[0; 32].as_slice(), signature.as_bytes()].concat();
    assert_eq!(codec::decode::<Announcement>(&bytes, 96), Err(codec::CodecFault::Malformed));
}

#[test]
fn a_sealing_key_follows_from_the_device_key_and_prints_nothing_of_itself() {
    assert_eq!(sealing(10).public(), sealing(10).public());
    assert_ne!(sealing(10).public(), sealing(11).public());
    // Derived another way, secrets of devices in the field would not open any more.
    assert_eq!(
        format!("{:?}", sealing(10).public()),
        "3b2d92b5d0fc6153ed4dcc0df55ce9a6aee30d165203456261a74c88d2a8a201"
    );
    assert_eq!(format!("{:?} {:?}", sealing(10), secret(b"4711")), "redacted redacted");
}
