//! What each network let pass when this program was last in it.
//!
//! 1. A [`Network`] is told from others by the own address there, and by the gateway's address and hardware address where the system
//!    says them. It is a digest: what is kept names no network.
//! 2. Of each the rung is remembered that led to a hub last, until when UDP is not to be relied on, because it passed a handshake and
//!    then nothing, and which certificate of a box that opens TLS was named.
//!
//! Deliberately absent: trust. What is remembered decides what is tried first, and nothing else.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;

use super::Rung;

/// One network, as seen from this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network([u8; 16]);

/// What is known of networks; the latest comes last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    networks: Vec<Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    network: Network,
    rung: Rung,
    /// Until when UDP passes handshakes and nothing else.
    deaf_until: Option<UnixTime>,
    /// The certificate of who opens TLS there.
    opened: Option<Digest>,
}

impl Known {
    const fn new(network: Network, rung: Rung) -> Self {
        Self { network, rung, deaf_until: None, opened: None }
    }
}

impl Network {
    /// The network in which this computer has the address `source`. `routes` and `neighbours` are what Linux says in
    /// `/proc/net/route` and `/proc/net/arp`; empty where there are none.
    #[must_use]
    pub fn of(source: Option<IpAddr>, routes: &str, neighbours: &str) -> Self {
        let gateway = routes.lines().find_map(default_gateway);
        let hardware =
            gateway.and_then(|gateway| neighbours.lines().find_map(|line| hardware(line, gateway)));
        let source = source.map(|ip| ip.to_string()).unwrap_or_default();
        let gateway = gateway.map(|ip| ip.to_string()).unwrap_or_default();
        let facts = [source.as_str(), &gateway, hardware.unwrap_or_default()].join(" ");
        let digest = Digest::of(&[facts.as_bytes()]);
        Self(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl Memory {
    /// The rung that led to a hub last.
    #[must_use]
    pub fn rung(&self, network: Network) -> Option<Rung> {
        self.known(network).map(|known| known.rung)
    }

    /// Whether UDP is not to be relied on.
    #[must_use]
    pub fn is_deaf(&self, network: Network, now: UnixTime) -> bool {
        let until = self.known(network).and_then(|known| known.deaf_until);
        // A clock that was set back does not keep it for ever.
        until.is_some_and(|until| now < until && until.secs_since(now) <= DEAF_S)
    }

    /// Remembers what led to a hub; says whether that is news.
    pub(super) fn reached(&mut self, network: Network, rung: Rung) -> bool {
        let before = self.known(network).copied();
        self.keep(Known { rung, ..before.unwrap_or(Known::new(network, rung)) });
        before.is_none_or(|known| known.rung != rung)
    }

    /// Remembers that UDP passed a handshake and nothing after it, and what did pass.
    pub(super) fn deaf(&mut self, network: Network, now: UnixTime, instead: Rung) {
        let before = self.known(network).copied().unwrap_or(Known::new(network, instead));
        self.keep(Known { rung: instead, deaf_until: Some(now.saturating_add(DEAF_S)), ..before });
    }

    /// Remembers who opens TLS there, if anybody does; says whether somebody is there who was not before.
    pub(super) fn opened(&mut self, network: Network, rung: Rung, certificate: Option<Digest>) -> bool {
        let before = self.known(network).copied().unwrap_or(Known::new(network, rung));
        self.keep(Known { opened: certificate, ..before });
        certificate.is_some() && before.opened != certificate
    }

    fn known(&self, network: Network) -> Option<&Known> {
        self.networks.iter().find(|known| known.network == network)
    }

    fn keep(&mut self, known: Known) {
        self.networks.retain(|other| other.network != known.network);
        self.networks.push(known);
        let over = self.networks.len().saturating_sub(NETWORKS);
        self.networks.drain(..over);
    }
}

/// The gateway of a line of `/proc/net/route` that leads everywhere; addresses are in the order of the machine's bytes there.
fn default_gateway(line: &str) -> Option<Ipv4Addr> {
    let mut words = line.split_ascii_whitespace();
    let (_interface, destination, gateway) = (words.next()?, words.next()?, words.next()?);
    let gateway = u32::from_str_radix(gateway, 16).ok()?;
    (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
}

/// The hardware address of a line of `/proc/net/arp`, where it is that of `ip`.
fn hardware(line: &str, ip: Ipv4Addr) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    (words.next()?.parse() == Ok(ip)).then(|| words.nth(2))?
}

/// How long UDP is not relied on after it was deaf.
const DEAF_S: u64 = 600;
/// Networks that are remembered.
const NETWORKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\n\
                          eth0\t0000A8C0\t00000000\t0001\n\
                          eth0\t00000000\t0101A8C0\t0003\n";
    const NEIGHBOURS: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
                              192.168.1.1      0x1         0x2         02:00:00:00:00:01     *        eth0\n";

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    #[test]
    fn a_network_is_told_by_the_own_address_the_gateway_and_its_hardware() {
        let ip = Some("192.168.1.7".parse().unwrap());
        let here = Network::of(ip, ROUTES, NEIGHBOURS);
        assert_eq!(here, Network::of(ip, ROUTES, NEIGHBOURS));
        for other in [
            Network::of(Some("192.168.1.8".parse().unwrap()), ROUTES, NEIGHBOURS),
            Network::of(ip, &ROUTES.replace("0101A8C0", "0201A8C0"), NEIGHBOURS),
            Network::of(ip, ROUTES, &NEIGHBOURS.replace("00:01", "00:02")),
            Network::of(ip, "", ""),
            Network::of(None, "", ""),
        ] {
            assert_ne!(here, other);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_gateway_is_read_from_the_route_that_leads_everywhere() {
        assert_eq!(ROUTES.lines().find_map(default_gateway), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(
            NEIGHBOURS.lines().find_map(|line| hardware(line, Ipv4Addr::new(192, 168, 1, 1))),
            Some("02:00:00:00:00:01")
        );
    }

    #[test]
    fn deafness_passes_and_a_clock_that_was_set_back_does_not_keep_it() {
        let (mut memory, network) = (Memory::default(), Network::of(None, "", ""));
        assert!(memory.reached(network, Rung::Udp) && !memory.reached(network, Rung::Udp));
        assert!(!memory.is_deaf(network, at(5000)));
        memory.deaf(network, at(5000), Rung::Tls);
        assert_eq!(memory.rung(network), Some(Rung::Tls));
        assert!(memory.is_deaf(network, at(5000)) && memory.is_deaf(network, at(5599)));
        assert!(!memory.is_deaf(network, at(5600)) && !memory.is_deaf(network, at(1)));
        assert!(!memory.reached(network, Rung::Tls) && memory.is_deaf(network, at(5000)));
    }

    #[test]
    fn who_opens_tls_is_news_once() {
        let (mut memory, network) = (Memory::default(), Network::of(None, "", ""));
        let box_of = |byte| Some(Digest::new([byte; 32]));
        assert!(!memory.opened(network, Rung::Tls, None));
        assert!(
            memory.opened(network, Rung::Tls, box_of(1)) && !memory.opened(network, Rung::Tls, box_of(1))
        );
        memory.reached(network, Rung::Proxy);
        assert!(
            !memory.opened(network, Rung::Tls, box_of(1)) && memory.opened(network, Rung::Tls, box_of(2))
        );
        assert!(!memory.opened(network, Rung::Tls, None) && memory.opened(network, Rung::Tls, box_of(2)));
    }

    #[test]
    fn the_networks_of_long_ago_are_forgotten() {
        let network = |number: u8| Network::of(Some(IpAddr::from([10, 0, 0, number])), "", "");
        let mut memory = Memory::default();
        for number in 0..17 {
            memory.reached(network(number), Rung::Tls);
        }
        assert_eq!((memory.rung(network(0)), memory.rung(network(1))), (None, Some(Rung::Tls)));
        assert_eq!(memory.networks.len(), 16);
    }
}
