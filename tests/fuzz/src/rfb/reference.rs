//! A slow reference of the VNC gate, written from the RFC and the gate's promises and not from its code.
//!
//! It has the whole stream in front of it and knows nothing of segments. It reads one message after the other and asks
//! for each which modes were in force between its first and its last byte.

use postern_protocol::gate::rfb::{Counters, Fault, Mode};

use super::{Outline, Switch};

/// The slow reference.
pub fn reference(stream: &[u8], first: Mode, switches: &[Switch]) -> Outline {
    let mut world = World {
        mode: first,
        sent: Vec::new(),
        keys: Vec::new(),
        pointer: [0; 5],
        counters: Counters::default(),
    };
    let mut switches = switches.iter().peekable();
    let mut begin = 0;
    loop {
        let rest = &stream[begin..];
        // How many bytes must be there until something is known, what is known then, and the length.
        let (known, length) = match rest {
            [] => (0, Ok(1)),
            [0, ..] => (1, Ok(20)),
            [2, _, high, low, ..] => {
                let count = u16::from_be_bytes([*high, *low]);
                let length = usize::from(count) * 4 + 4;
                (4, if count > 256 { Err(Fault::EncodingCount { count }) } else { Ok(length) })
            }
            [3, ..] => (1, Ok(10)),
            [4, ..] => (1, Ok(8)),
            [5, ..] => (1, Ok(6)),
            [6, _, _, _, a, b, c, d, ..] => {
                let length = i32::from_be_bytes([*a, *b, *c, *d]);
                (
                    8,
                    usize::try_from(length)
                        .map(|text| text + 8)
                        .map_err(|_| Fault::ExtendedClipboard { length }),
                )
            }
            [2 | 6, ..] => (rest.len(), Ok(usize::MAX)),
            [kind, ..] => (1, Err(Fault::MessageType { kind: *kind })),
        };
        let end = match length {
            Ok(length) => begin.saturating_add(length),
            Err(_) => begin + known,
        };
        // The modes that were in force while this message came in.
        while let Some((_, mode)) = switches.next_if(|(offset, _)| *offset <= begin && begin < stream.len()) {
            world.switch(*mode);
        }
        let mut modes = vec![world.mode];
        while let Some((_, mode)) = switches.next_if(|(offset, _)| *offset < end || end > stream.len()) {
            world.switch(*mode);
            modes.push(*mode);
        }
        match length {
            Err(fault) => {
                world.release();
                return Outline { sent: world.sent, fault: Some(fault), counters: world.counters };
            }
            Ok(_) if end > stream.len() => {
                if rest.first() == Some(&6) && known == 8 && !(passes(6, &modes) && end - begin <= 65_544) {
                    world.counters.cut_texts.dropped += 1;
                }
                return Outline { sent: world.sent, fault: None, counters: world.counters };
            }
            Ok(length) => world.message(&rest[..length], &modes),
        }
        begin = end;
    }
}

struct World {
    mode: Mode,
    sent: Vec<u8>,
    keys: Vec<u32>,
    pointer: [u8; 5],
    counters: Counters,
}

impl World {
    fn switch(&mut self, mode: Mode) {
        self.mode = mode;
        if mode == Mode::ViewOnly {
            self.release();
        }
    }

    fn release(&mut self) {
        while let Some(key) = self.keys.pop() {
            self.up(key);
        }
        if self.pointer[0] != 0 {
            self.pointer[0] = 0;
            self.sent.push(5);
            self.sent.extend(self.pointer);
            self.counters.released += 1;
        }
    }

    fn up(&mut self, key: u32) {
        self.sent.extend([4, 0, 0, 0]);
        self.sent.extend(key.to_be_bytes());
        self.counters.released += 1;
    }

    fn message(&mut self, message: &[u8], modes: &[Mode]) {
        let passes = passes(message[0], modes) && (message[0] != 6 || message.len() <= 65_544);
        let tally = match message[0] {
            4 => Some(&mut self.counters.keys),
            5 => Some(&mut self.counters.pointers),
            6 => Some(&mut self.counters.cut_texts),
            _ => None,
        };
        if let Some(tally) = tally {
            *if passes { &mut tally.forwarded } else { &mut tally.dropped } += 1;
        }
        if !passes {
            return;
        }
        match message[0] {
            2 => {
                let kept: Vec<&[u8]> = message[4..].chunks(4).filter(|encoding| harmless(encoding)).collect();
                let padding = if kept.len() * 4 + 4 == message.len() { message[1] } else { 0 };
                self.sent.extend([2, padding]);
                self.sent.extend(u16::try_from(kept.len()).unwrap().to_be_bytes());
                self.sent.extend(kept.concat());
                return;
            }
            4 => {
                let key = u32::from_be_bytes(message[4..].try_into().unwrap());
                let held = self.keys.contains(&key);
                if message[1] == 0 {
                    self.keys.retain(|other| *other != key);
                } else if !held {
                    if self.keys.len() == 64 {
                        let longest = self.keys.remove(0);
                        self.up(longest);
                    }
                    self.keys.push(key);
                }
            }
            5 => self.pointer.copy_from_slice(&message[1..]),
            _ => {}
        }
        self.sent.extend_from_slice(message);
    }
}

fn passes(kind: u8, modes: &[Mode]) -> bool {
    modes.iter().all(|mode| match (mode, kind) {
        (Mode::ViewOnly, 4..=6) | (Mode::Full { clipboard: false }, 6) => false,
        (Mode::ViewOnly | Mode::Full { .. }, _) => true,
    })
}

fn harmless(encoding: &[u8]) -> bool {
    let number = i32::from_be_bytes(encoding.try_into().unwrap());
    let plain = [0, 1, 2, 5, 6, 7, 15, 16].contains(&number);
    let cursor_and_size = [-239, -240, -223, -224].contains(&number);
    plain || cursor_and_size || (-32..-22).contains(&number) || (-256..-246).contains(&number)
}

/// Takes apart what reached the machine: whole messages of six types, harmless encodings, short texts. Returns how many
/// there were of each type.
pub fn parse(mut sent: &[u8]) -> [usize; 7] {
    let mut seen = [0; 7];
    while let Some(&kind) = sent.first() {
        let length = match kind {
            0 => 20,
            2 => {
                let count = usize::from(u16::from_be_bytes([sent[2], sent[3]]));
                assert!(count <= 256);
                assert!(sent[4..4 + count * 4].chunks(4).all(harmless));
                4 + count * 4
            }
            3 => 10,
            4 => 8,
            5 => 6,
            6 => {
                let length = usize::try_from(u32::from_be_bytes(sent[4..8].try_into().unwrap())).unwrap();
                assert!(length <= 65_536);
                8 + length
            }
            kind => panic!("type {kind} reached the machine"),
        };
        seen[usize::from(kind)] += 1;
        sent = &sent[length..];
    }
    seen
}
