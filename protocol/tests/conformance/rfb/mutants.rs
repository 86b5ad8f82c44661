//! Messages that were changed in many small ways, by the million if asked.

use std::collections::BTreeSet;

use postern_protocol::gate::rfb::{Counters, Mode};

use super::stream::{cut_text, set_encodings};
use crate::probes::rfb::{Switch, drive, mode, parse, reference, rfb_handshake};

/// A small generator (splitmix64), so that a failure is one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(below).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn message(&mut self) -> Vec<u8> {
        let fixed = |dice: &mut Self, kind: u8, rest: usize| {
            std::iter::once(kind).chain((0..rest).map(|_| dice.byte())).collect::<Vec<u8>>()
        };
        match self.roll(24) {
            0 => fixed(self, 0, 19),
            1..=2 => {
                const SOME: [i32; 14] = [0, 1, 5, 7, 16, -23, -239, -247, -257, -258, -308, -309, -312, -313];
                let count = self.roll(12);
                let mut list: Vec<i32> = (0..count).map(|_| SOME[self.roll(SOME.len())]).collect();
                if self.roll(4) == 0 {
                    list.push(i32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]));
                }
                set_encodings(&list)
            }
            3..=7 => fixed(self, 3, 9),
            8..=14 => vec![4, u8::try_from(self.roll(2)).unwrap(), 0, 0, 0, 0, 0, self.byte() % 80],
            15..=20 => fixed(self, 5, 5),
            21 => {
                let kind = self.byte() % 8;
                fixed(self, kind, 7)
            }
            _ => cut_text(u32::try_from(self.roll(30)).unwrap()),
        }
    }

    /// Changes, removes, doubles or inserts some bytes.
    fn mutate(&mut self, message: &mut Vec<u8>) {
        let at = self.roll(message.len());
        match self.roll(6) {
            0 => message[at] ^= 1 << self.roll(8),
            1 => message[at] = self.byte(),
            2 => message.truncate(at),
            3 => message.insert(at, self.byte()),
            4 => message.extend_from_within(at..),
            _ => drop(message.remove(at)),
        }
    }
}

/// Where a stream is cut.
fn cuts(length: usize, dice: &mut Dice) -> BTreeSet<usize> {
    let (mut cuts, mut at) = (BTreeSet::new(), 0);
    while at < length {
        cuts.insert(at);
        let most = [1, 4, 20, 400][dice.roll(4)];
        at += 1 + dice.roll(most);
    }
    cuts
}

/// `POSTERN_RFB_MESSAGES` says how many messages, `POSTERN_SEED` where to begin; a failure prints its seed.
#[expect(clippy::disallowed_methods, reason = "a test may be told how long to run and where to begin")]
fn told(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn mutated_messages_never_get_past_the_mode() {
    let wanted = told("POSTERN_RFB_MESSAGES", 50_000);
    let (mut judged, mut changed, mut faults) = (0_u64, 0_u64, 0_u64);
    for seed in told("POSTERN_SEED", 1).. {
        if judged >= wanted {
            break;
        }
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (mut stream, rate) = (Vec::new(), 2 + dice.roll(30));
        for _ in 0..1 + dice.roll(60) {
            let mut message = dice.message();
            if dice.roll(rate) == 0 {
                dice.mutate(&mut message);
                changed += 1;
            }
            stream.extend(message);
        }
        let first = mode(dice.byte());
        let mut switches: Vec<Switch> =
            (0..dice.roll(4)).map(|_| (dice.roll(stream.len() + 1), mode(dice.byte()))).collect();
        switches.sort_by_key(|(offset, _)| *offset);
        let expected = reference(&stream, first, &switches);
        let cuts = cuts(stream.len(), &mut dice);
        let (_, found) = drive(&stream, first, &switches, |at| cuts.contains(&at));
        assert_eq!(found, expected, "POSTERN_SEED={seed}");
        let seen = parse(&found.sent);
        let only_looks = first == Mode::ViewOnly && switches.iter().all(|(_, mode)| *mode == first);
        assert!(!only_looks || seen[4..] == [0, 0, 0], "POSTERN_SEED={seed}");
        let Counters { keys, pointers, cut_texts, released } = found.counters;
        let sent = u64::try_from(seen.iter().sum::<usize>()).unwrap();
        judged += sent - released + keys.dropped + pointers.dropped + cut_texts.dropped;
        faults += u64::from(found.fault.is_some());
    }
    println!("{judged} messages judged, {changed} changed, {faults} sessions ended by a fault");
    assert!(changed * 60 > judged && faults > 0);
}

#[test]
fn mutated_handshakes_never_confuse_the_gate() {
    let conversations: Vec<Vec<u8>> = super::seeds()
        .into_iter()
        .filter(|(target, ..)| *target == "rfb_handshake")
        .map(|(.., bytes)| bytes)
        .collect();
    assert!(conversations.len() >= 10);
    for seed in
        (told("POSTERN_SEED", 1)..).take(usize::try_from(told("POSTERN_RFB_MESSAGES", 50_000)).unwrap() / 20)
    {
        let mut dice = Dice(seed);
        let mut bytes = conversations[dice.roll(conversations.len())].clone();
        for _ in 0..1 + dice.roll(4) {
            dice.mutate(&mut bytes);
            bytes.push(dice.byte());
        }
        println!("POSTERN_SEED={seed}"); // the last line names the culprit of a panic
        rfb_handshake(&bytes);
    }
}
