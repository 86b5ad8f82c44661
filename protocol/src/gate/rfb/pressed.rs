//! What a viewer holds down, so that it can be let go for it: a jog button must not stay pressed when access narrows.

use super::inbox::Outbox;
use super::message::{KEY_EVENT, POINTER_EVENT};

/// Keys that are remembered at once; nobody has so many fingers.
pub(super) const KEYS: usize = 64;

/// Keys and buttons that are down on the machine, and where the pointer is.
#[derive(Debug, Default)]
pub(super) struct Pressed {
    /// Keysyms in the order in which they went down.
    keys: Vec<u32>,
    buttons: u8,
    at: [u8; 4],
}

impl Pressed {
    /// Follows a `KeyEvent` that goes to the machine. Where it is one key too many, returns the message that releases the
    /// key that was held longest, to be sent before it.
    pub(super) fn key(&mut self, event: [u8; 8]) -> Option<[u8; 8]> {
        let [_, down, _, _, a, b, c, d] = event;
        let key = u32::from_be_bytes([a, b, c, d]);
        let held = self.keys.iter().position(|held| *held == key);
        match (down, held) {
            (0, Some(position)) => {
                self.keys.remove(position);
                None
            }
            (0, None) | (_, Some(_)) => None,
            (_, None) => {
                let longest = (self.keys.len() >= KEYS).then(|| up(self.keys.remove(0)));
                self.keys.push(key);
                longest
            }
        }
    }

    /// Follows a `PointerEvent` that goes to the machine.
    pub(super) fn pointer(&mut self, event: [u8; 6]) {
        let [_, buttons, a, b, c, d] = event;
        self.buttons = buttons;
        self.at = [a, b, c, d];
    }

    /// Releases everything, the last key first, as fingers would; the buttons where the pointer was seen last. Returns
    /// how many messages that took.
    pub(super) fn release(&mut self, out: &mut Outbox) -> u64 {
        let mut released = 0;
        for key in self.keys.drain(..).rev() {
            out.push(&up(key));
            released += 1;
        }
        self.keys.shrink_to_fit();
        if self.buttons != 0 {
            self.buttons = 0;
            let [a, b, c, d] = self.at;
            out.push(&[POINTER_EVENT, 0, a, b, c, d]);
            released += 1;
        }
        released
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.keys.capacity() * size_of::<u32>()
    }
}

fn up(key: u32) -> [u8; 8] {
    let [a, b, c, d] = key.to_be_bytes();
    [KEY_EVENT, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(key: u8) -> [u8; 8] {
        [4, 1, 0, 0, 0, 0, 0, key]
    }

    #[test]
    fn what_is_down_is_released_and_what_went_up_is_not() {
        let (mut pressed, mut out) = (Pressed::default(), Outbox::default());
        for event in [down(1), down(2), down(2), down(3), up(2), up(9)] {
            assert_eq!(pressed.key(event), None);
        }
        pressed.pointer([5, 0b101, 1, 2, 3, 4]);
        pressed.pointer([5, 0b001, 5, 6, 7, 8]);
        assert_eq!(pressed.release(&mut out), 3);
        assert_eq!(
            out.lend(),
            [4, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 1, 5, 0, 5, 6, 7, 8],
            "the last key first, then the buttons where the pointer is"
        );
        assert_eq!(pressed.release(&mut out), 0);
        assert!(out.is_empty());
    }

    #[test]
    fn one_key_too_many_releases_the_one_that_is_held_longest() {
        let mut pressed = Pressed::default();
        for key in 0..64 {
            assert_eq!(pressed.key(down(key)), None);
        }
        assert_eq!(pressed.key(down(64)), Some(up(0)));
        assert_eq!(pressed.key(down(64)), None);
        assert_eq!(pressed.key(down(0)), Some(up(1)));
        assert_eq!(pressed.release(&mut Outbox::default()), 64);
    }
}
