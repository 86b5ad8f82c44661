//! Replays the corpus of the fuzz targets: golden bytes and inputs that were made to hurt.

use std::collections::BTreeMap;
use std::path::PathBuf;

use postern_protocol::gate::rfb::{Mode, PixelFormat, Screen};
use postern_protocol::limits;
use postern_protocol::recording::{Event, What, Writer};
use postern_protocol::trust::Signed;
use postern_protocol::wire::codec;
use postern_protocol::wire::control::{AgentMessage, HubMessage};

use zeroize::Zeroizing;

use crate::probes::{FLEET, PROBES, fixed_root, recording_header};
use crate::rfb;
use crate::samples::{self, Sample};
use crate::vectors::blessing;
use crate::{modbus, nearby, packet, probes, trail, web};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus")
}

/// Seeds of each target by file name.
fn seeds() -> BTreeMap<(&'static str, String), Vec<u8>> {
    let mut seeds = BTreeMap::new();
    let samples = samples::all();
    for sample in &samples {
        if let Some(target) = sample.target {
            seeds.insert((target, sample.name.to_owned()), sample.bytes.clone());
            seeds.extend(nasty(target, sample));
        }
    }
    for (name, bytes) in conversations(&samples) {
        seeds.insert(name, bytes);
    }
    for (target, _) in PROBES {
        for (name, bytes) in [
            ("nothing", vec![]),
            ("one-zero", vec![0]),
            ("ones", vec![0xff; 300]),
            ("zeros", vec![0; 300]),
            ("endless-varint", vec![0x80; 40]),
            ("list-of-2-to-the-60", vec![0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]),
            ("controls", b"\x1b]0;title\x07\xe2\x80\xae\xc2\xad\0\r\n".to_vec()),
        ] {
            seeds.insert((*target, name.to_owned()), bytes);
        }
    }
    for (name, bytes) in recordings() {
        seeds.insert(("recording", name.to_owned()), bytes);
    }
    for (name, bytes) in trail::exports() {
        seeds.insert(("export", name.to_owned()), bytes);
    }
    let gates = rfb::seeds().into_iter().chain(web::seeds()).chain(modbus::seeds()).chain(packet::seeds());
    for (target, name, bytes) in gates.chain(nearby::seeds()) {
        seeds.insert((target, name.to_owned()), bytes);
    }
    for (name, text) in [
        ("name-longest", "a".repeat(64)),
        ("name-too-long", "a".repeat(65)),
        ("dots", "..".to_owned()),
        ("right-to-left", "invoice\u{202e}fdp.exe".to_owned()),
        ("id", "usr-0123456789abcdef".to_owned()),
        ("id-of-another-kind", "tun-0123456789abcdef".to_owned()),
        ("key-of-small-order", "01".to_owned() + &"00".repeat(31)),
        ("key-not-canonical", "ee".to_owned() + &"ff".repeat(30) + "7f"),
        ("invisible", "\u{3164}\u{115f}\u{feff}".to_owned()),
    ] {
        seeds.insert(("text", name.to_owned()), text.into_bytes());
    }
    seeds
}

/// A recording of two chunks, what may be done to it, and events that the probe seals itself.
fn recordings() -> Vec<(&'static str, Vec<u8>)> {
    let screen = Screen {
        width: 2,
        height: 1,
        format: PixelFormat {
            bits_per_pixel: 8,
            depth: 8,
            big_endian: false,
            true_colour: true,
            max: [7, 7, 3],
            shift: [0, 3, 6],
        },
        name: samples::text("press 7"),
    };
    let (mut writer, mut file) = Writer::begin(&recording_header(), Zeroizing::new([7; 32])).unwrap();
    let beginning = file.len();
    writer.push(0, What::Screen(screen.clone()));
    writer.push(0, What::Mode(Mode::ViewOnly));
    file.extend(writer.seal().unwrap());
    let middle = file.len();
    writer.push(40, What::Shown(vec![2]));
    writer.push(90, What::Format(screen.format));
    file.extend(writer.finish().unwrap());
    let swapped = [&file[..beginning], &file[middle..], &file[beginning..middle]].concat();
    let events = [What::Screen(screen), What::Shown(vec![0; 20])].map(|what| Event { at_ms: 5, what });
    let backwards = [(9, What::Shown(vec![2])), (8, What::Shown(vec![2]))];
    let backwards = backwards.map(|(at_ms, what)| Event { at_ms, what });
    let encode = |events: &[Event]| codec::encode(&events.to_vec(), 4096).unwrap();
    vec![
        ("cut", file[..middle].to_vec()),
        ("cut-in-a-chunk", file[..middle - 3].to_vec()),
        ("swapped", swapped),
        ("events", encode(&events)),
        ("events-backwards", encode(&backwards)),
        ("whole", file),
    ]
}

/// Cuts, additions and single changes of one golden value.
fn nasty(target: &'static str, sample: &Sample) -> Vec<((&'static str, String), Vec<u8>)> {
    let bytes = &sample.bytes;
    let mut changed = bytes.clone();
    let middle = bytes.len() / 2;
    changed[middle] ^= 0x80;
    let mut first = bytes.clone();
    first[0] = first[0].wrapping_add(0x40);
    [
        ("cut", bytes[..middle].to_vec()),
        ("long", [bytes.as_slice(), &[0]].concat()),
        ("changed", changed),
        ("renumbered", first),
    ]
    .into_iter()
    .map(|(what, bytes)| ((target, format!("{}-{what}", sample.name)), bytes))
    .collect()
}

/// Whole conversations for the probes of synchronisation, and an envelope for each kind.
fn conversations(samples: &[Sample]) -> Vec<((&'static str, String), Vec<u8>)> {
    let of = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().bytes.as_slice();
    let framed = |messages: &[&[u8]]| {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(&u16::try_from(message.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(message);
        }
        bytes
    };
    let huge = codec::encode(
        &HubMessage::Push { nonce: 1, held: samples::held(), bytes: u32::MAX },
        limits::SYNC_FRAME_BYTES,
    )
    .unwrap();
    let early = codec::encode(
        &AgentMessage::Ack { nonce: 1, held: samples::held(), cut: 0 },
        limits::SYNC_FRAME_BYTES,
    )
    .unwrap();
    let mut seeds = vec![
        ("sync_agent", "push-and-chunk", framed(&[of("push"), of("chunk")])),
        ("sync_agent", "twice", framed(&[of("push"), of("chunk"), of("push"), of("chunk")])),
        ("sync_agent", "chunk-twice", framed(&[of("push"), of("chunk"), of("chunk")])),
        ("sync_agent", "chunk-alone", framed(&[of("chunk")])),
        ("sync_agent", "up-to-date", framed(&[of("up-to-date"), of("up-to-date")])),
        ("sync_agent", "announcement-of-4-gib", framed(&[&huge])),
        ("sync_hub", "ack-of-nothing", framed(&[of("ack")])),
        ("sync_hub", "ack-of-another", framed(&[&early])),
        ("sync_hub", "moved-for-ever", framed(&[of("moved"); 20])),
        ("sync_agent", "timestamp-within-a-push", framed(&[of("push"), of("timestamp"), of("chunk")])),
        ("sync_hub", "questions", framed(&[of("time-request"), of("time-request"), of("alarm")])),
        ("sync_hub", "nack", framed(&[of("moved"), of("nack")])),
    ];
    for name in ["root-envelope", "snapshot-envelope", "pass-envelope", "timestamp-envelope"] {
        seeds.push(("envelope", name, of(name).to_vec()));
    }
    seeds.into_iter().map(|(target, name, bytes)| ((target, name.to_owned()), bytes)).collect()
}

#[test]
fn the_corpus_replays() {
    let seeds = seeds();
    if blessing() {
        for ((target, name), bytes) in &seeds {
            std::fs::create_dir_all(folder().join(target)).unwrap();
            std::fs::write(folder().join(target).join(name), bytes).unwrap();
        }
    }
    for ((target, name), bytes) in &seeds {
        let stored = std::fs::read(folder().join(target).join(name)).unwrap_or_default();
        assert_eq!(&stored, bytes, "{target}/{name} is missing or outdated; POSTERN_BLESS=1 writes it");
    }
    let mut replayed = 0;
    for (target, probe) in PROBES {
        for entry in std::fs::read_dir(folder().join(target)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display()); // the last line names the culprit of a panic
            probe(&bytes);
            replayed += 1;
        }
    }
    assert!(replayed >= seeds.len(), "{replayed} of {}", seeds.len());
}

#[test]
fn every_fuzz_target_is_a_shell_around_its_probe() {
    let targets = folder().join("../fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(&targets)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut probes: Vec<&str> = PROBES.iter().map(|(name, _)| *name).collect();
    probes.sort_unstable();
    assert_eq!(files, probes);
    for name in probes {
        let shell = std::fs::read_to_string(targets.join(format!("{name}.rs"))).unwrap();
        assert!(shell.contains(&format!("postern_fuzz::{name}(bytes)")), "{shell}");
    }
}

#[test]
fn the_fixed_values_reach_behind_the_signatures() {
    // Without this the probes of signed objects could all stop at the first check and nobody would notice.
    let root = fixed_root();
    assert_eq!(root.fleet, FLEET);
    let sealed = |name: &str| samples::all().into_iter().find(|sample| sample.name == name).unwrap().bytes;
    let expected = postern_protocol::policy::Expectation {
        root: &root,
        device: crate::probes::DEVICE,
        device_key: crate::probes::key(10).public(),
        floor: None,
    };
    let verified = postern_protocol::policy::verify(&sealed("snapshot-envelope"), &expected).unwrap();
    assert_eq!(verified.snapshot(), &samples::snapshot());
    assert_eq!(postern_protocol::trust::Root::self_signed(&sealed("root-envelope")), Ok(root));
    let (_, export) = trail::exports().into_iter().find(|(name, _)| *name == "whole").unwrap();
    let export = String::from_utf8(export).unwrap();
    let verified = probes::export::judge(&export.lines().collect::<Vec<_>>()).unwrap();
    assert_eq!((verified.rows, verified.logs, verified.signed), (4, 2, 3));
    assert!(sealed("pass-payload").len() <= postern_protocol::trust::Pass::MAX_BYTES);
}
