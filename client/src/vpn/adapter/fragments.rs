//! Puts datagrams together that the kernel has cut because they are larger than the adapter's packets.
//!
//! 1. Fragments of one datagram come from the same kernel, in order. One that is not the next makes its datagram lost, as on any
//!    wire.
//! 2. What is whole is a packet again, as if it had not been cut.
//! 3. Few datagrams wait at the same time; the oldest makes room.

use std::collections::VecDeque;

/// Datagrams that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Fragments(VecDeque<Part>);

/// The beginning of a datagram.
#[derive(Debug)]
struct Part {
    id: Id,
    /// The header without the fragment's own fields, and the payload so far.
    packet: Vec<u8>,
    header: usize,
}

/// Which datagram: version, addresses, identification and, in IPv4, protocol.
type Id = Vec<u8>;

/// One fragment.
struct Fragment<'a> {
    id: Id,
    /// The header of the whole packet, but for its length.
    header: Vec<u8>,
    payload: &'a [u8],
    offset: usize,
    has_more: bool,
}

impl Fragments {
    /// Takes a packet; hands back what is whole, which is the packet itself where it is no fragment.
    pub(super) fn take<'a>(&mut self, packet: &'a [u8], whole: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let Some(fragment) = fragment(packet) else { return Some(packet) };
        let place = self.0.iter().position(|part| part.id == fragment.id);
        let part = place.and_then(|place| self.0.remove(place));
        let mut part = match (fragment.offset, part) {
            // Whatever was there of the same name is older.
            (0, _) => Part { header: fragment.header.len(), id: fragment.id, packet: fragment.header },
            (offset, Some(part)) if part.packet.len().checked_sub(part.header) == Some(offset) => part,
            (_, _) => return None,
        };
        part.packet.extend_from_slice(fragment.payload);
        if part.packet.len() > usize::from(u16::MAX) {
            return None;
        }
        if fragment.has_more {
            if self.0.len() >= WAITING {
                self.0.pop_front();
            }
            self.0.push_back(part);
            return None;
        }
        *whole = completed(part)?;
        Some(whole)
    }
}

/// Reads a fragment; none is a whole packet, or nothing that is understood.
fn fragment(packet: &[u8]) -> Option<Fragment<'_>> {
    match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet.first()? & 0xf) * 4;
            let (header, payload) = packet.split_at_checked(length)?;
            let field = u16::from_be_bytes([*header.get(6)?, *header.get(7)?]);
            let (has_more, offset) = (field & MORE_V4 != 0, usize::from(field & OFFSET_V4) * 8);
            if !has_more && offset == 0 {
                return None;
            }
            let id = [&[4, *header.get(9)?], header.get(4..6)?, header.get(12..20)?].concat();
            let mut header = header.to_vec();
            header.get_mut(6..8)?.fill(0);
            Some(Fragment { id, header, payload, offset, has_more })
        }
        // The kernel puts nothing before the fragment header of a program's datagram.
        6 if *packet.get(6)? == FRAGMENT_V6 => {
            let (header, rest) = packet.split_at_checked(HEADER_V6)?;
            let (own, payload) = rest.split_first_chunk::<8>()?;
            let [next, _, o0, o1, i0, i1, i2, i3] = *own;
            let field = u16::from_be_bytes([o0, o1]);
            let id = [&[6, i0, i1, i2, i3], header.get(8..40)?].concat();
            let mut header = header.to_vec();
            *header.get_mut(6)? = next;
            let (has_more, offset) = (field & 1 != 0, usize::from(field & !7));
            Some(Fragment { id, header, payload, offset, has_more })
        }
        _ => None,
    }
}

/// Writes the length into the header.
fn completed(Part { mut packet, .. }: Part) -> Option<Vec<u8>> {
    let is_v4 = packet.first()? >> 4 == 4;
    let length = if is_v4 { packet.len() } else { packet.len().checked_sub(HEADER_V6)? };
    let place = if is_v4 { 2..4 } else { 4..6 };
    packet.get_mut(place)?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    Some(packet)
}

const MORE_V4: u16 = 0x2000;
const OFFSET_V4: u16 = 0x1fff;
const HEADER_V6: usize = 40;
const FRAGMENT_V6: u8 = 44;
/// Datagrams that wait for their rest.
const WAITING: usize = 16;

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::super::packet::{Content, read};
    use super::*;

    fn v4(data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let ip = PacketBuilder::ipv4([100, 127, 0, 1], [192, 168, 0, 10], 64);
        ip.udp(40_000, 161).write(&mut bytes, data).unwrap();
        bytes
    }

    fn v6(data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv6([0xfd; 16], [0xfc; 16], 64).udp(40_000, 161).write(&mut bytes, data).unwrap();
        bytes
    }

    /// As the kernel cuts: pieces of a multiple of eight bytes.
    fn cut(packet: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let is_v4 = packet[0] >> 4 == 4;
        let (header, payload) = packet.split_at(if is_v4 { 20 } else { 40 });
        let count = payload.chunks(piece).count();
        let pieces = payload.chunks(piece).enumerate().map(|(index, data)| {
            let (offset, more) = (index * piece, index + 1 < count);
            let mut header = header.to_vec();
            if is_v4 {
                let field = u16::try_from(offset / 8).unwrap() | if more { MORE_V4 } else { 0 };
                header[6..8].copy_from_slice(&field.to_be_bytes());
                let length = u16::try_from(20 + data.len()).unwrap();
                header[2..4].copy_from_slice(&length.to_be_bytes());
            } else {
                let field = u16::try_from(offset).unwrap() | u16::from(more);
                let [o0, o1] = field.to_be_bytes();
                header.extend([header[6], 0, o0, o1, 0, 0, 0, 7]);
                header[6] = FRAGMENT_V6;
            }
            [header, data.to_vec()].concat()
        });
        pieces.collect()
    }

    fn joined(fragments: &mut Fragments, pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut last = None;
        for piece in pieces {
            assert_eq!(last, None);
            last = fragments.take(piece, &mut Vec::new()).map(<[u8]>::to_vec);
        }
        last
    }

    #[test]
    fn what_is_no_fragment_stays_as_it_is() {
        for packet in [v4(b"abc"), v6(b"abc"), Vec::new(), vec![0x45], vec![0x60; 7]] {
            assert_eq!(Fragments::default().take(&packet, &mut Vec::new()), Some(packet.as_slice()));
        }
    }

    #[test]
    fn a_rest_without_its_beginning_and_a_gap_are_lost() {
        let pieces = cut(&v4(&[7; 4000]), 1256);
        let mut fragments = Fragments::default();
        assert_eq!(joined(&mut fragments, &pieces[1..2]), None);
        assert_eq!(joined(&mut fragments, &[pieces[0].clone(), pieces[2].clone(), pieces[3].clone()]), None);
        assert_eq!(joined(&mut fragments, &pieces).map(|whole| whole.len()), Some(4028));
    }

    #[test]
    fn the_oldest_makes_room_and_nothing_grows_without_bound() {
        let mut fragments = Fragments::default();
        let mut pieces = cut(&v4(&[7; 2000]), 1256);
        for id in 0..=255 {
            pieces[0][5] = id;
            assert_eq!(joined(&mut fragments, &pieces[..1]), None);
        }
        assert_eq!(fragments.0.len(), WAITING);
        let endless: Vec<Vec<u8>> = (0..60_u16)
            .map(|index| {
                let mut piece = pieces[0].clone();
                piece[6..8].copy_from_slice(&(MORE_V4 | (index * 157)).to_be_bytes());
                piece
            })
            .collect();
        assert_eq!(joined(&mut fragments, &endless), None);
        assert!(fragments.0.iter().all(|part| part.packet.len() <= usize::from(u16::MAX)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_cut_is_whole_again(
            data in prop::collection::vec(any::<u8>(), 100..5000),
            eighths in 1..157_usize,
            is_v4 in any::<bool>(),
        ) {
            let packet = if is_v4 { v4(&data) } else { v6(&data) };
            let whole = joined(&mut Fragments::default(), &cut(&packet, eighths * 8)).unwrap();
            let Some(Content::Datagram(seen)) = read(&whole).map(|packet| packet.content) else { panic!("none") };
            prop_assert_eq!(seen, data);
        }

        #[test]
        fn no_packet_ends_the_program_or_is_kept_for_nothing(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
            version in prop_oneof![Just(0x45_u8), Just(0x60_u8)],
        ) {
            let mut fragments = Fragments::default();
            for mut packet in packets {
                if let Some(first) = packet.first_mut() {
                    *first = version;
                }
                if let Some(next) = packet.get_mut(6).filter(|_| version == 0x60) {
                    *next = FRAGMENT_V6;
                }
                fragments.take(&packet, &mut Vec::new());
            }
            prop_assert!(fragments.0.len() <= WAITING);
        }
    }
}
