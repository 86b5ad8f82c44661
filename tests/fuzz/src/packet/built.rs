//! Packets as a client and its machines would send them, or nearly.

use super::CLIENT;

/// A packet between the client and a machine, or about one.
pub fn built([kind, host, port, near, flags, length]: [u8; 6], outbound: bool) -> Vec<u8> {
    let host = HOSTS[usize::from(host) % HOSTS.len()];
    let port = PORTS[usize::from(port) % PORTS.len()].to_be_bytes();
    let near = [0, near % 4];
    let data = vec![kind; usize::from(length)];
    let (ports, back) = ([near, port].concat(), [port, near].concat());
    let tcp = |ports: Vec<u8>| {
        let options = if flags & 0x40 == 0 { vec![] } else { vec![1, 2, 4, 5, length, 1, 1, 0] };
        let head = 5 + u8::try_from(options.len() / 4).unwrap();
        [
            &ports,
            &[0, 0, 0, kind, 0, 0, 0, length, head << 4, flags & 0x3f, 1, 0, 0, 0, 0, 0][..],
            &options,
            &data,
        ]
        .concat()
    };
    let udp = |ports: Vec<u8>| [&ports, &(8 + u16::from(length)).to_be_bytes()[..], &[0, 0], &data].concat();
    let echo = |kind: u8| [&[kind, 0, 0, 0][..], &near, &[0, 1], &data].concat();
    let mine = |protocol, payload: Vec<u8>| packet(CLIENT, host, protocol, &payload);
    let error = |about: Vec<u8>| [&[3, flags % 16, 0, 0, 0, 0, 0, 0][..], &about].concat();
    let (protocol, payload) = match (kind % 7, outbound) {
        (0, true) => (6, tcp(ports)),
        (0, false) => (6, tcp(back)),
        (1, true) => (17, udp(ports)),
        (1, false) => (17, udp(back)),
        (2, _) => (1, echo(8)),
        (3, _) => (1, echo(0)),
        (4, _) => (1, error(mine(6, tcp(ports)))),
        (5, _) => (1, error(mine(17, udp(ports)))),
        _ => (1, error(mine(1, echo(8)))),
    };
    let (from, to) = if outbound { (CLIENT, host) } else { (host, CLIENT) };
    packet(from, to, protocol, &payload)
}

const HOSTS: [[u8; 4]; 5] = [[192, 168, 0, 10], [192, 168, 0, 11], [10, 0, 0, 5], [255; 4], [224, 0, 0, 1]];
const PORTS: [u16; 6] = [102, 103, 104, 161, 502, 0];

/// A packet with a right header checksum.
fn packet(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    bytes.extend([from, to].concat());
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    [bytes, payload.to_vec()].concat()
}
