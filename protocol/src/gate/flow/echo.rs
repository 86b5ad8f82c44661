//! ICMP echoes of one flow, on a socket whose identifier the kernel chose (RFC 792, RFC 4443 section 4).
//!
//! 1. [`Echoes::request`] makes the packet of a client's request, with a sequence number of its own: several programs of the
//!    client may use the same one.
//! 2. [`Echoes::answer`] finds the request that a packet answers and gives it back with the client's numbers, once.
//! 3. A request that stays without an answer is forgotten when its number comes around again.
//!
//! The kernel fills in identifier and checksum, and lets nothing but answers to this socket through. Deliberately absent: every
//! other ICMP message.

use crate::wire::flow::message::Echo;

/// Requests of one flow that may be answered.
#[derive(Debug)]
pub struct Echoes {
    is_v4: bool,
    next: u8,
    /// By the lower half of the sequence number on the machine network.
    asked: Box<[Option<Asked>; 256]>,
    /// The upper half, so that late answers of the round before are none.
    round: u8,
}

/// What a client asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    round: u8,
    identifier: u16,
    sequence: u16,
}

impl Echoes {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(is_v4: bool) -> Self {
        Self { is_v4, next: 0, asked: Box::new([None; 256]), round: 0 }
    }

    /// The packet for the machine.
    pub fn request(&mut self, echo: &Echo<'_>) -> Vec<u8> {
        let (number, round) = (self.next, self.round);
        let (next, is_over) = self.next.overflowing_add(1);
        self.next = next;
        self.round = self.round.wrapping_add(u8::from(is_over));
        if let Some(place) = self.asked.get_mut(usize::from(number)) {
            *place = Some(Asked { round, identifier: echo.identifier, sequence: echo.sequence });
        }
        let mut packet = Vec::with_capacity(HEAD.saturating_add(echo.data.len()));
        packet.extend([if self.is_v4 { 8 } else { 128 }, 0, 0, 0, 0, 0, round, number]);
        packet.extend_from_slice(echo.data);
        packet
    }

    /// What the client hears of a packet; none where it answers nothing that was asked.
    pub fn answer<'a>(&mut self, packet: &'a [u8]) -> Option<Echo<'a>> {
        let ([kind, code, _, _, _, _, round, number], data) = packet.split_first_chunk::<HEAD>()?;
        if (*kind, *code) != (if self.is_v4 { 0 } else { 129 }, 0) {
            return None;
        }
        let place = self.asked.get_mut(usize::from(*number))?;
        let Asked { identifier, sequence, .. } = place.take_if(|asked| asked.round == *round)?;
        Some(Echo { identifier, sequence, data })
    }
}

/// Type, code, checksum, identifier and sequence number.
const HEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine's answer to a packet.
    fn answered(packet: &[u8], kind: u8) -> Vec<u8> {
        let mut answer = packet.to_vec();
        answer[0] = kind;
        answer
    }

    #[test]
    fn two_programs_with_the_same_sequence_each_hear_their_own_answer_and_only_once() {
        let mut echoes = Echoes::new(true);
        let (one, two) = (
            Echo { identifier: 7, sequence: 1, data: b"one" },
            Echo { identifier: 8, sequence: 1, data: b"two" },
        );
        let (first, second) = (echoes.request(&one), echoes.request(&two));
        assert_eq!(first, [8, 0, 0, 0, 0, 0, 0, 0, b'o', b'n', b'e']);
        assert_eq!(second[..8], [8, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(echoes.answer(&answered(&second, 0)), Some(two));
        assert_eq!(echoes.answer(&answered(&first, 0)), Some(one));
        assert_eq!(echoes.answer(&answered(&first, 0)), None);
    }

    #[test]
    fn what_answers_nothing_that_was_asked_is_dropped() {
        let mut echoes = Echoes::new(false);
        let echo = Echo { identifier: 7, sequence: 1, data: b"" };
        let first = echoes.request(&echo);
        assert_eq!(first[0], 128);
        // A request, an error, another number, and half a head.
        assert_eq!(echoes.answer(&first), None);
        assert_eq!(echoes.answer(&answered(&first, 1)), None);
        assert_eq!(echoes.answer(&[129, 0, 0, 0, 0, 0, 0, 5]), None);
        assert_eq!(echoes.answer(&[129, 0, 0, 0]), None);
        // The same place of the next round: the answer of the round before is late.
        for _ in 0..256 {
            echoes.request(&echo);
        }
        assert_eq!(echoes.answer(&answered(&first, 129)), None);
        assert_eq!(echoes.answer(&[129, 0, 0, 0, 0, 0, 1, 0]), Some(echo));
    }
}
