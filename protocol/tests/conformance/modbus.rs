//! Requests of Modbus for the gate: seeds for its fuzz target, and random ones, compared with the slow reference of that target.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Each with its target and name.
pub(crate) fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let seeds: [(&str, &[u8]); 8] = [
        ("read", &[0, 3, 0, 1, 0, 0, 0, 6, 1, 3, 0, 4, 0, 3]),
        ("read-across-spans", &[1, 1, 0, 1, 0, 0, 0, 6, 1, 3, 0, 5, 0, 10]),
        ("read-the-last", &[0, 9, 0, 1, 0, 0, 0, 6, 1, 4, 0xff, 0xff, 0, 1]),
        ("write-one", &[0, 3, 0, 2, 0, 0, 0, 6, 1, 6, 0, 4, 0, 99]),
        ("write-many", &[0, 3, 0, 2, 0, 0, 0, 11, 1, 16, 0, 1, 0, 2, 4, 0, 1, 0, 2]),
        ("read-and-write", &[0, 3, 0, 2, 0, 0, 0, 13, 1, 23, 0, 1, 0, 1, 0, 2, 0, 1, 2, 0, 1]),
        ("two-at-once", &[0, 255, 0, 1, 0, 0, 0, 2, 1, 7, 0, 2, 0, 0, 0, 6, 1, 5, 0, 8, 255, 0]),
        ("another-protocol", &[0, 5, 71, 69, 84, 32, 47, 32]),
    ];
    seeds.into_iter().map(|(name, bytes)| ("modbus", name, bytes.to_vec())).collect()
}

/// A frame that is a request, or nearly.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let unit = select(vec![0, 1, 9, 10, 20, 255]);
    let function = select(vec![1, 2, 3, 4, 5, 6, 8, 15, 16, 22, 23, 43, 131]);
    let first = prop_oneof![0u16..45, 0xfefeu16..=0xffff];
    let data = (first, 0u16..14, 0u16..14, 0u16..3).prop_flat_map(|(first, count, other, more)| {
        let head = [first.to_be_bytes(), count.to_be_bytes()].concat();
        let bytes = usize::from(count) * 2;
        let values = |count: u8| [&[count], vec![7; usize::from(count)].as_slice()].concat();
        let many = [head.clone(), values(u8::try_from(bytes).unwrap())].concat();
        let bits = [head.clone(), values(u8::try_from(count.div_ceil(8)).unwrap())].concat();
        let tail = [other.to_be_bytes(), count.to_be_bytes()].concat();
        let both = [head.clone(), tail, values(u8::try_from(bytes).unwrap())].concat();
        let cut = head.iter().copied().take(usize::from(more)).collect();
        let mask = [head.clone(), vec![0, 1]].concat();
        select(vec![head, many, bits, both, cut, mask])
    });
    (unit, function, data).prop_map(|(unit, function, data)| {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [[0, 1, 0, 0].as_slice(), &length, &[unit, function], &data].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_gate_lets_through_what_a_slow_reference_allows_and_nothing_else(
        requests in vec(request(), 1..4),
        mode in 0u8..2,
        size in 0u8..20,
    ) {
        crate::probes::modbus(&[[mode, size].as_slice(), &requests.concat()].concat());
    }
}
