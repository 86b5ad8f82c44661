//! The header of a packet that the kernel hands over or takes in one piece although it is many on the wire
//! (`struct virtio_net_hdr`, linux/virtio_net.h).
//!
//! 1. What programs send in a burst comes as one packet of up to 64 kilobytes, and with half a checksum: nothing can be damaged
//!    inside this computer.
//! 2. What a connection sends goes as one packet as well, with the size at which the kernel would cut it.
//!
//! That is one system call instead of fifty.

/// Bytes before each packet.
pub(super) const HEADER: usize = 10;

/// What is said of a packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Payload of each datagram, where they are many in one.
    pub(super) datagrams_of: Option<u16>,
}

impl Said {
    /// Of a packet as it is on a wire.
    pub(super) const NOTHING: Self = Self { datagrams_of: None };
}

/// Splits what came into header and packet.
pub(super) fn split(bytes: &[u8]) -> Option<(Said, &[u8])> {
    let (head, packet) = bytes.split_first_chunk::<HEADER>()?;
    let [_, kind, _, _, s0, s1, ..] = *head;
    let size = u16::from_ne_bytes([s0, s1]);
    let datagrams_of = (kind & !GSO_ECN == GSO_UDP_L4 && size > 0).then_some(size);
    Some((Said { datagrams_of }, packet))
}

/// Completes the header before a TCP packet whose checksum is not computed; segments have at most `size` bytes. A packet
/// that is no TCP packet stays as it is.
pub(super) fn finish(bytes: &mut [u8], size: u16) -> Option<()> {
    let (head, packet) = bytes.split_first_chunk_mut::<HEADER>()?;
    let version = packet.first()? >> 4;
    let (ip_header, addresses, next) = match version {
        4 => (usize::from(packet.first()? & 0xf) * 4, 12..20, *packet.get(9)?),
        6 => (40, 8..40, *packet.get(6)?),
        _ => return None,
    };
    if next != TCP {
        return None;
    }
    let tcp_bytes = packet.len().checked_sub(ip_header)?;
    let tcp_header = usize::from(packet.get(ip_header + 12)? >> 4) * 4;
    let pseudo = pseudo_sum(packet.get(addresses)?, tcp_bytes);
    packet.get_mut(ip_header + CHECKSUM..ip_header + CHECKSUM + 2)?.copy_from_slice(&pseudo.to_be_bytes());
    let is_many = tcp_bytes.checked_sub(tcp_header)? > usize::from(size);
    let kind = match (is_many, version) {
        (false, _) => 0,
        (true, 4) => GSO_TCPV4,
        (true, _) => GSO_TCPV6,
    };
    let number = |number: usize| u16::try_from(number).unwrap_or_default().to_ne_bytes();
    let [h0, h1] = number(ip_header + tcp_header);
    let [s0, s1] = if is_many { size.to_ne_bytes() } else { [0; 2] };
    let ([c0, c1], [o0, o1]) = (number(ip_header), number(CHECKSUM));
    *head = [NEEDS_CHECKSUM, kind, h0, h1, s0, s1, c0, c1, o0, o1];
    Some(())
}

/// The sum over addresses, protocol and length, folded and not inverted: the kernel adds the rest where that is needed.
fn pseudo_sum(addresses: &[u8], tcp_bytes: usize) -> u16 {
    let pairs = addresses.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair)));
    let length = u32::try_from(tcp_bytes).unwrap_or_default();
    let sum = pairs.sum::<u32>() + u32::from(TCP) + (length >> 16) + (length & 0xffff);
    let folded = (sum >> 16) + (sum & 0xffff);
    u16::try_from((folded >> 16) + (folded & 0xffff)).unwrap_or_default()
}

const TCP: u8 = 6;
/// Where a TCP header has its checksum.
const CHECKSUM: usize = 16;
const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let ip = PacketBuilder::ipv4([192, 168, 0, 10], [100, 127, 0, 1], 64);
        ip.tcp(102, 40_000, 7, 1000).ack(1).write(&mut bytes, payload).unwrap();
        bytes
    }

    /// The sum that the kernel would compute over the whole segment, and the field as it was before.
    fn completed(mut bytes: Vec<u8>, size: u16) -> (Vec<u8>, u16, u16) {
        let before = u16::from_be_bytes([bytes[HEADER + 36], bytes[HEADER + 37]]);
        finish(&mut bytes, size).unwrap();
        let sum: u32 = bytes[HEADER + 20..]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
            .sum();
        let folded = (sum >> 16) + (sum & 0xffff);
        let folded = (folded >> 16) + (folded & 0xffff);
        (bytes[..HEADER].to_vec(), !u16::try_from(folded).unwrap(), before)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_packet_of_one_segment_asks_for_its_checksum_alone() {
        let (head, sum, expected) = completed(packet(b"abcd"), 1240);
        assert_eq!(head, [1, 0, 40, 0, 0, 0, 20, 0, 16, 0]);
        assert_eq!(sum, expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_packet_of_many_segments_says_where_to_cut_it() {
        let (head, sum, expected) = completed(packet(&[7; 4000]), 1240);
        assert_eq!(head, [1, 1, 40, 0, 0xd8, 4, 20, 0, 16, 0]);
        assert_eq!(sum, expected);
        let (head, ..) = completed(packet(&[7; 1240]), 1240);
        assert_eq!(head[1], 0, "exactly one");
    }

    #[test]
    fn what_is_no_tcp_stays_as_it_is() {
        let mut bytes = vec![0; HEADER];
        let ip = PacketBuilder::ipv4([192, 168, 0, 10], [100, 127, 0, 1], 64);
        ip.udp(102, 40_000).write(&mut bytes, b"abc").unwrap();
        let before = bytes.clone();
        assert_eq!(finish(&mut bytes, 1240), None);
        assert_eq!(bytes, before);
        for length in 0..packet(b"").len() {
            finish(&mut packet(b"")[..length], 1240);
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn many_datagrams_in_one_say_how_long_each_is() {
        let head = [0, 5, 28, 0, 100, 0, 0, 0, 0, 0];
        let bytes = [&head[..], b"packet"].concat();
        assert_eq!(split(&bytes), Some((Said { datagrams_of: Some(100) }, b"packet".as_slice())));
        let head = [0, 1, 40, 0, 100, 0, 0, 0, 0, 0];
        let bytes = [&head[..], b"packet"].concat();
        assert_eq!(split(&bytes), Some((Said { datagrams_of: None }, b"packet".as_slice())));
        assert_eq!(split(&head[..9]), None);
    }
}
