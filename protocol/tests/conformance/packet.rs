//! Packets for the gate of the packet VPN: seeds for its fuzz target, and random conversations, compared with the slow reference of that
//! target.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Each with its target and name.
pub(crate) fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    // A built packet: kind, host, port, near port, TCP flags, bytes of data.
    let (syn, accepted, data) =
        ([2, 0, 0, 0, 1, 0x42, 9], [3, 0, 0, 0, 1, 0x52, 9], [2, 0, 0, 0, 1, 0x18, 100]);
    let (ask, answer) = ([2, 1, 0, 3, 2, 0, 50], [3, 1, 0, 3, 2, 0, 50]);
    let seeds: [(&str, Vec<u8>); 12] = [
        ("connection", [syn, accepted, data].concat()),
        ("closed", [syn, accepted, [2, 0, 0, 0, 1, 0x11, 0], [3, 0, 0, 0, 1, 0x11, 0], syn].concat()),
        ("reset", [syn, [3, 0, 0, 0, 1, 0x14, 0], data].concat()),
        ("narrowed", [&syn[..], &accepted, &data, &[7, 1], &data, &[7, 2], &data].concat()),
        ("narrowed-away", [[2, 0, 0, 1, 1, 2, 0].as_slice(), &[3, 0, 0, 1, 1, 0x12, 0], &[7, 1]].concat()),
        ("datagrams", [ask, answer, [3, 1, 1, 3, 2, 0, 50]].concat()),
        ("silent", [&ask[..], &[6, 3], &answer].concat()),
        ("not-recorded", [[10, 1, 0, 3, 2, 0, 5], answer].concat()),
        ("echo", [[2, 2, 0, 0, 3, 0, 8], [3, 3, 0, 0, 3, 0, 8], [3, 2, 0, 0, 3, 0, 8]].concat()),
        ("error", [ask, [3, 5, 0, 3, 2, 1, 50], [3, 5, 0, 3, 3, 1, 50], [2, 5, 0, 3, 2, 1, 50]].concat()),
        ("read-by-a-gate", vec![2, 0, 1, 4, 1, 2, 0]),
        ("spoofed-and-cut", [[4, 1, 0, 3, 2, 0, 5, 12, 1], [4, 1, 0, 3, 2, 0, 5, 6, 0x20]].concat()),
    ];
    seeds.into_iter().map(|(name, bytes)| ("packet", name, bytes)).collect()
}

/// A step that means something, or nearly.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let flags = select(vec![2u8, 0x42, 0x12, 0x52, 0x10, 0x11, 0x18, 0x14, 4, 1, 0, 3, 0x3f]);
    let fields = (0u8..7, 0u8..5, 0u8..6, 0u8..4, flags, any::<u8>());
    let built = (select(vec![2u8, 3, 2, 3, 10]), fields.clone()).prop_map(
        |(side, (kind, host, port, near, flags, length))| vec![side, kind, host, port, near, flags, length],
    );
    let changed = (4u8..6, fields, any::<(u8, u8)>()).prop_map(
        |(side, (kind, host, port, near, flags, length), (at, other))| {
            vec![side, kind, host, port, near, flags, length, at, other]
        },
    );
    let raw = (0u8..2, vec(any::<u8>(), 0..60)).prop_map(|(side, mut bytes)| {
        bytes.insert(0, u8::try_from(bytes.len()).unwrap());
        bytes.insert(0, side);
        bytes
    });
    let time = (0u8..6).prop_map(|time| vec![6, time]);
    let permit = (0u8..3).prop_map(|permit| vec![7, permit]);
    prop_oneof![12 => built, 3 => changed, 1 => raw, 2 => time, 1 => permit]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn packets_pass_where_a_slow_reference_lets_them_and_nowhere_else(steps in vec(step(), 1..40)) {
        crate::probes::packet(&steps.concat());
    }
}
