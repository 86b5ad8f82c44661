//! The configuration file of the agent: where it lives, where it listens, and what it may dial.
//!
//! 1. [`Config::load`] reads TOML; every key has a default, so an empty file is a working configuration.
//! 2. An unknown key, a wrong type or an impossible value is an error that names line, key and what was expected.
//!
//! Deliberately absent: policy. Nothing in this file permits anything; it can only narrow what a snapshot grants.

mod proxy;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postern_transport::proxy::{Proxies, ProxyUrlFault};
use serde::Deserialize;

pub use self::proxy::{ProxyConfig, ProxyError};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory of key, policy and audit; owned by the agent's user, mode 0700. Default `/var/lib/postern`.
    pub state_dir: PathBuf,
    /// UDP address on which clients are served. Default `[::]:7441`, or `0.0.0.0:7441` on systems without IPv6.
    pub listen: Option<SocketAddr>,
    /// Addresses that are told to clients; at most 8. Default: `listen` where it names an address, otherwise the
    /// address from which the hub is reached.
    pub advertise: Vec<SocketAddr>,
    /// Networks that may be dialled at all, whatever the policy says. Default: the private networks (RFC 1918 and
    /// RFC 4193). Loopback, link-local and the device's own addresses are dialled only when listed as a single
    /// address (`/32`, `/128`).
    pub machine_networks: Vec<IpNet>,
    /// Whether machines may be dialled over the way that leads to the hub or to the internet, as on a device with one network.
    /// Default false, and true where `machine_interface` is set.
    pub machines_on_uplink: bool,
    /// Network interface over which machines are dialled (`SO_BINDTODEVICE`). Default: what the routes say.
    pub machine_interface: Option<String>,
    /// Seconds within which a machine must accept a connection. Default 5.
    pub dial_timeout_s: u16,
    /// Seconds of silence after which the hub is asked whether it is there. Default 25: an idle link stays below 17 MB a month, and where
    /// there are several hubs one that is gone is noticed within half a minute. With 5 it is ten seconds, and 73 MB a month. While tunnels
    /// are live it is seconds in any case.
    pub hub_ping_s: u16,
    /// Whether the kernel segments bursts of packets (UDP GSO). Default `auto`; `off` for kernels that lie about it.
    pub gso: Gso,
    /// Lines of this level and above are logged to standard error. Default `info`.
    pub log: LogLevel,
    /// The local control socket.
    pub control: Control,
    /// Seconds after which a UDP or ICMP flow of a VPN without a message is closed. Default 60.
    pub datagram_idle_s: u16,
    /// Bounds of the whole agent. What exceeds them is refused, never queued.
    pub caps: Caps,
    /// The audit trail.
    pub audit: Audit,
    /// Recordings of tunnels.
    pub recordings: Recordings,
    /// Packets of VPNs as they are, beside flows. Absent: none.
    pub packet_vpn: Option<PacketVpn>,
    /// A proxy in front of hub and relays. Absent: what the environment names.
    pub proxy: Option<ProxyConfig>,
    /// How engineers on a machine network find this device there.
    pub mdns: Mdns,
}

/// The local control socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Its path. Default `/run/postern/agent.sock`.
    pub socket: PathBuf,
    /// Its mode, `0o600` or `0o660`. Root and the agent's own user are always let in, the agent's group with
    /// `0o660`. Default `0o660`.
    pub mode: u32,
}

/// Bounds of the whole agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Connections of clients that are signed in. Default 16.
    pub connections: u16,
    /// Connections that are not signed in yet, and handshakes. Beyond these the oldest of the address from which most came gives way; each
    /// is dropped after 10 seconds. Default 16.
    pub strangers: u16,
    /// Live tunnels. Default 128.
    pub tunnels: u16,
    /// Open flows of all VPN tunnels together; each takes a file descriptor. Default 1024.
    pub flows: u16,
}

/// The audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// KiB that the trail may occupy, at least 256. Above 80 % the agent warns, above 95 % it opens no tunnels.
    /// Default 65536.
    pub size_kib: u32,
}

/// Recordings of tunnels, for access categories that demand them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recordings {
    /// MiB that all of them may occupy. What does not fit is not recorded, and its tunnel ends or is not opened. Default 256.
    pub size_mib: u32,
    /// MiB of one recording; its tunnel ends then and can be opened again. Default 64.
    pub each_mib: u32,
    /// Days for which a recording is never removed to make room for another one. Default 7.
    pub keep_days: u16,
}

/// The packet VPN: what `postern-agent packet-vpn up` prepares and the agent uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketVpn {
    /// The name of its TUN interface, which is made and removed.
    pub tun: String,
    /// The network interface to the machines. Default: `machine_interface`.
    #[serde(default)]
    pub interface: Option<String>,
    /// Addresses of clients on this device, which machines never see: `/16` to `/29`. The first is the device's own. Default
    /// `100.96.0.0/24`.
    #[serde(default = "PacketVpn::default_range")]
    pub range: Ipv4Net,
}

/// How this device is found by whoever shares a network with it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mdns {
    /// Whether it answers at all; otherwise nothing listens. Default true.
    pub answer: bool,
    /// Interfaces on which it answers beside those to machines, such as the one to the factory's offices; at most 8. Default: none.
    pub also_on: Vec<String>,
}

/// UDP segmentation offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gso {
    /// Where the kernel has it.
    Auto,
    /// Never.
    Off,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// The agent stops, or the gate shuts.
    Error,
    /// Someone should look this week.
    Warn,
    /// Links, policies and tunnels.
    Info,
    /// Everything that the network triggers.
    Debug,
    /// Everything.
    Trace,
}

impl Config {
    /// Reads `path`, or the default path when none is given; a missing default file means the defaults.
    ///
    /// # Errors
    /// A [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or_else(|| Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file),
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(ConfigError::Read { path: file.to_owned(), error }),
        }
    }

    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] or [`ConfigError::Value`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax { path: path.to_owned(), error: Box::new(error) })?;
        config.check().map_err(|(key, expected)| ConfigError::Value {
            path: path.to_owned(),
            line: line_of(text, key),
            key,
            expected,
        })?;
        if let Some(Err(fault)) = config.proxy.as_ref().map(ProxyConfig::proxy) {
            return Err(ConfigError::Proxy { path: path.to_owned(), line: line_of(text, "url"), fault });
        }
        Ok(config)
    }

    /// The proxies by which hub and relays may be reached.
    ///
    /// # Errors
    /// A [`ProxyError`].
    pub(crate) fn proxies(&self) -> Result<Proxies, ProxyError> {
        proxy::proxies(self.proxy.as_ref(), |name| std::env::var(name).ok())
    }

    /// Where clients are served: each is tried until one can be bound.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<SocketAddr> {
        match self.listen {
            Some(addr) => vec![addr],
            None => vec![
                SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT),
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT),
            ],
        }
    }

    /// The interface over which packets of the packet VPN reach machines.
    pub(crate) fn packet_interface(&self) -> Option<&str> {
        let own = self.packet_vpn.as_ref().and_then(|vpn| vpn.interface.as_ref());
        own.or(self.machine_interface.as_ref()).map(String::as_str)
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let rules = [
            (self.state_dir.is_absolute(), "state_dir", "an absolute path"),
            (self.control.socket.is_absolute(), "socket", "an absolute path"),
            (matches!(self.control.mode, 0o600 | 0o660), "mode", "0o600 or 0o660"),
            (self.advertise.len() <= postern_protocol::limits::ADDRESSES, "advertise", "at most 8 addresses"),
            (
                self.advertise.iter().all(|addr| !addr.ip().is_unspecified() && addr.port() != 0),
                "advertise",
                "addresses that a client can dial",
            ),
            (!self.machine_networks.is_empty(), "machine_networks", "at least one network"),
            ((1..=60).contains(&self.dial_timeout_s), "dial_timeout_s", "1 to 60 seconds"),
            ((5..=3600).contains(&self.datagram_idle_s), "datagram_idle_s", "5 to 3600 seconds"),
            ((2..=25).contains(&self.hub_ping_s), "hub_ping_s", "2 to 25 seconds"),
            (self.caps.connections >= 1, "connections", "at least 1"),
            (self.caps.strangers >= 1, "strangers", "at least 1"),
            (self.caps.tunnels >= 1, "tunnels", "at least 1"),
            (self.audit.size_kib >= 256, "size_kib", "at least 256"),
            (self.recordings.size_mib >= 1, "size_mib", "at least 1"),
            (self.recordings.each_mib >= 1, "each_mib", "at least 1"),
            (
                self.packet_vpn.as_ref().is_none_or(|vpn| is_interface(&vpn.tun)),
                "tun",
                "the name of a network interface",
            ),
            (
                self.packet_vpn.as_ref().is_none_or(PacketVpn::is_in_form),
                "range",
                "a private network from /16 to /29",
            ),
            (
                self.packet_vpn.as_ref().is_none_or(|_| self.packet_interface().is_some_and(is_interface)),
                "packet_vpn",
                "told its `interface` to the machines, where there is no `machine_interface`",
            ),
            (
                self.mdns.also_on.len() <= 8 && self.mdns.also_on.iter().all(|name| is_interface(name)),
                "also_on",
                "names of at most 8 network interfaces",
            ),
            (
                self.machine_interface.as_ref().is_none_or(|name| (1..=15).contains(&name.len())),
                "machine_interface",
                "the name of a network interface",
            ),
        ];
        let broken = rules.into_iter().find(|(holds, ..)| !holds);
        broken.map_or(Ok(()), |(_, key, expected)| Err((key, expected)))?;
        self.proxy.as_ref().map_or(Ok(()), ProxyConfig::check)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/postern"),
            listen: None,
            advertise: Vec::new(),
            machine_networks: vec![
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16)),
                IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)),
            ],
            machines_on_uplink: false,
            machine_interface: None,
            dial_timeout_s: 5,
            datagram_idle_s: 60,
            hub_ping_s: 25,
            gso: Gso::Auto,
            log: LogLevel::Info,
            control: Control::default(),
            caps: Caps::default(),
            audit: Audit::default(),
            recordings: Recordings::default(),
            packet_vpn: None,
            proxy: None,
            mdns: Mdns::default(),
        }
    }
}

impl Default for Mdns {
    fn default() -> Self {
        Self { answer: true, also_on: Vec::new() }
    }
}

impl PacketVpn {
    /// The device's own address of a range: its first.
    pub(crate) fn gateway_of(range: Ipv4Net) -> Ipv4Addr {
        Ipv4Addr::from_bits(range.network().to_bits().saturating_add(1))
    }

    const fn default_range() -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(100, 96, 0, 0), 24)
    }

    fn is_in_form(&self) -> bool {
        (16..=29).contains(&self.range.prefix_len())
            && self.range.trunc() == self.range
            && PacketVpn::is_private(self.range.network())
    }

    /// Addresses that no machine has on the internet (RFC 1918, RFC 6598).
    fn is_private(ip: Ipv4Addr) -> bool {
        ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..])
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/postern/agent.sock"), mode: 0o660 }
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self { connections: 16, strangers: 16, tunnels: 128, flows: 1024 }
    }
}

impl Default for Recordings {
    fn default() -> Self {
        Self { size_mib: 256, each_mib: 64, keep_days: 7 }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { size_kib: 64 * 1024 }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration `{}` cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// It is no TOML, or has an unknown key or a value of the wrong type.
    #[error("the configuration `{}` is wrong: {}", path.display(), error.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key and expectation.
        error: Box<toml::de::Error>,
    },
    /// A value is impossible.
    #[error("the configuration `{}` is wrong: line {line}: `{key}` must be {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line of the key, counted from 1; zero for a default.
        line: usize,
        /// The key.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The URL names no proxy.
    #[error("the configuration `{}` is wrong: line {line}: `url` of the proxy: {fault}", path.display())]
    Proxy {
        /// The file.
        path: PathBuf,
        /// The line of the key.
        line: usize,
        /// What is wrong.
        #[source]
        fault: ProxyUrlFault,
    },
}

/// A name that goes into the rules of a firewall as it is.
fn is_interface(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=15).contains(&name.len()) && name.bytes().all(fits) && !name.bytes().all(|byte| byte == b'.')
}

fn line_of(text: &str, key: &str) -> usize {
    let assigns = |line: &str| {
        let table = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        table == Some(key)
            || line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(assigns).map_or(0, |line| line + 1)
}

const DEFAULT_PATH: &str = "/etc/postern/agent.toml";
const PORT: u16 = 7441;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("agent.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default_configuration() {
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn the_shipped_sample_is_the_default_configuration() {
        assert_eq!(parse(include_str!("../../systemd/agent.toml")), Ok(Config::default()));
    }

    #[test]
    fn every_key_can_be_set() {
        let config = parse(
            "state_dir = \"/tmp/s\"\nlisten = \"127.0.0.1:0\"\nadvertise = [\"192.0.2.1:7\"]\n\
             machine_networks = [\"127.0.0.1/32\"]\nmachines_on_uplink = true\nmachine_interface = \"eth1\"\ndial_timeout_s = 3\ndatagram_idle_s = 5\nhub_ping_s = 9\ngso = \"off\"\n\
             log = \"debug\"\n[control]\nsocket = \"/tmp/c\"\nmode = 0o600\n[caps]\nconnections = 1\nstrangers = 2\n\
             tunnels = 3\nflows = 4\n[audit]\nsize_kib = 256\n[recordings]\nsize_mib = 1\neach_mib = 2\nkeep_days = 0\n\
             [packet_vpn]\ntun = \"tun-p\"\ninterface = \"eth2\"\nrange = \"10.9.0.0/24\"\n\
             [proxy]\nurl = \"http://proxy:3128\"\nuser = \"press-7\"\npassword_file = \"/etc/p\"\n",
        )
        .unwrap();
        assert_eq!(config.caps, Caps { connections: 1, strangers: 2, tunnels: 3, flows: 4 });
        assert_eq!(config.listen_addresses(), ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(config.recordings, Recordings { size_mib: 1, each_mib: 2, keep_days: 0 });
        assert_eq!(config.control.mode, 0o600);
        assert_eq!((config.gso, config.hub_ping_s), (Gso::Off, 9));
        assert_eq!(
            (config.packet_vpn.as_ref().unwrap().tun.as_str(), config.packet_interface()),
            ("tun-p", Some("eth2"))
        );
        let (user, password_file) = (Some("press-7".to_owned()), Some("/etc/p".into()));
        let proxy = ProxyConfig { url: "http://proxy:3128".to_owned(), user, password_file };
        assert_eq!(config.proxy, Some(proxy));
    }

    #[test]
    fn a_packet_vpn_needs_to_know_where_machines_are_and_has_a_range_of_its_own() {
        let config = parse("machine_interface = \"eth1\"\n[packet_vpn]\ntun = \"postern0\"\n").unwrap();
        assert_eq!(config.packet_interface(), Some("eth1"));
        let range = config.packet_vpn.unwrap().range;
        assert_eq!(
            (range.to_string().as_str(), PacketVpn::gateway_of(range)),
            ("100.96.0.0/24", [100, 96, 0, 1].into())
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_what_was_expected() {
        let error = parse("log = \"info\"\nlisten_on = \"x\"\n").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("`listen_on`") && error.contains("`listen`"),
            "{error}"
        );
        let error = parse("log = \"loud\"\n").unwrap_err();
        assert!(error.contains("line 1") && error.contains("`loud`") && error.contains("`debug`"), "{error}");
    }

    #[test]
    fn an_impossible_value_is_named_with_its_line_and_what_was_expected() {
        let cases = [
            ("\nstate_dir = \"here\"", "line 2: `state_dir` must be an absolute path"),
            ("[control]\nmode = 0o666", "line 2: `mode` must be 0o600 or 0o660"),
            ("machine_networks = []", "line 1: `machine_networks` must be at least one network"),
            ("[caps]\n\ntunnels = 0", "line 3: `tunnels` must be at least 1"),
            ("advertise = [\"0.0.0.0:1\"]", "line 1: `advertise` must be addresses that a client can dial"),
            ("hub_ping_s = 26", "line 1: `hub_ping_s` must be 2 to 25 seconds"),
            ("[audit]\nsize_kib = 1", "line 2: `size_kib` must be at least 256"),
            (
                "[packet_vpn]\ntun = \"postern0\"",
                "line 1: `packet_vpn` must be told its `interface` to the machines, where there is no `machine_interface`",
            ),
            (
                "[packet_vpn]\ninterface = \"eth1\"\ntun = \"a\\\" drop\"",
                "line 3: `tun` must be the name of a network interface",
            ),
            (
                "[packet_vpn]\ntun = \"t\"\ninterface = \"e\"\nrange = \"192.0.2.0/24\"",
                "line 4: `range` must be a private network from /16 to /29",
            ),
            (
                "\n[proxy]\nurl = \"https://proxy:1\"",
                "line 3: `url` of the proxy: TLS to the proxy itself (`https://`) is not spoken; expected is `http://`, which carries TLS all the same",
            ),
            (
                "[proxy]\nurl = \"http://a:b@proxy:1\"",
                "line 2: `url` must be without a login, which `user` and `password_file` are for",
            ),
            (
                "[proxy]\nurl = \"proxy:1\"\nuser = \"a\"",
                "line 1: `proxy` must be told both `user` and `password_file`, or neither",
            ),
            (
                "[proxy]\nurl = \"proxy:1\"\nuser = \"a\"\npassword_file = \"b\"",
                "line 4: `password_file` must be an absolute path",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(format!("the configuration `agent.toml` is wrong: {expected}")));
        }
    }
}
