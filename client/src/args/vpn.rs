//! Arguments of the commands that reach the machine network of a device.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use postern_protocol::name::Name;
use postern_protocol::policy::Protocol;
use postern_protocol::wire::flow::{FlowTarget, Host};

use super::DeviceRef;

/// Arguments of `forward`.
#[derive(Debug, clap::Args)]
pub(crate) struct ForwardArgs {
    #[command(flatten)]
    pub(crate) vpn: VpnArgs,
    /// Machines and their TCP ports.
    #[arg(
        required = true,
        num_args = 1..=64,
        value_name = "HOST:PORT",
        help = "A machine and its TCP port, such as 192.168.0.10:102 or [fd00::10]:102; a name is resolved by the device"
    )]
    pub(crate) targets: Vec<HostPort>,
    /// Listens there instead of at a free port of 127.0.0.1, for the first HOST:PORT; may be repeated for the next ones
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub(crate) listen: Vec<Listen>,
    /// Ends after the first local connection
    #[arg(long)]
    pub(crate) once: bool,
}

/// Arguments of `proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    #[command(flatten)]
    pub(crate) vpn: VpnArgs,
    /// Listens there instead of at the port of this device and service
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub(crate) listen: Option<Listen>,
}

/// Arguments of `discover`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    #[command(flatten)]
    pub(crate) vpn: VpnArgs,
    /// The same as `--service SERVICE`
    #[arg(value_name = "SERVICE", conflicts_with = "service")]
    pub(crate) named: Option<Name>,
    /// Has the device ask each host that you may reach, and the ports of it that you may: at most 1024 questions in a
    /// minute, recorded in its audit; no byte is sent to any port
    #[arg(long)]
    pub(crate) scan: bool,
}

impl DiscoverArgs {
    /// The machine network.
    pub(crate) fn vpn(&self) -> VpnArgs {
        VpnArgs { service: self.named.clone().or_else(|| self.vpn.service.clone()), ..self.vpn.clone() }
    }
}

/// Arguments of `vpn`.
#[derive(Debug, clap::Args)]
pub(crate) struct AdapterArgs {
    /// The device's name, or ACCOUNT/NAME when the name is not unique; with @ADDRESS it is looked for nowhere else
    #[arg(required_unless_present_any = ["status", "down"])]
    pub(crate) device: Option<DeviceRef>,
    /// The VPN service; without it, all that are open to you on the device
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<Name>,
    /// Looks only: reaches what a gate on the device can keep to looking
    #[arg(long)]
    pub(crate) view_only: bool,
    /// Gives every network of machines other addresses on this computer, also where its own are free
    #[arg(long)]
    pub(crate) alias: bool,
    /// Carries packets as they are, where the device is prepared for them; otherwise each connection is a flow of its own
    #[arg(long)]
    pub(crate) packets: bool,
    /// Shows the VPNs that are up, their flows and what was refused
    #[arg(long, conflicts_with_all = ["device", "service", "view_only", "alias", "packets", "down"])]
    pub(crate) status: bool,
    /// Ends the VPN of a device
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["device", "service", "view_only", "alias", "packets"])]
    pub(crate) down: Option<DeviceRef>,
}

#[cfg(target_os = "linux")]
impl AdapterArgs {
    /// The machine network that is to be brought up; none where the question is another.
    pub(crate) fn vpn(&self) -> Option<VpnArgs> {
        let (service, view_only) = (self.service.clone(), self.view_only);
        Some(VpnArgs { device: self.device.clone()?, service, view_only })
    }
}

/// Which machine network.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VpnArgs {
    /// The device's name, or ACCOUNT/NAME when the name is not unique; with @ADDRESS it is looked for nowhere else
    pub(crate) device: DeviceRef,
    /// The VPN service, where the device has several that lead there
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<Name>,
    /// Looks only: reaches what a gate on the device can keep to looking
    #[arg(long)]
    pub(crate) view_only: bool,
}

/// A machine and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// The machine.
    pub(crate) host: Host,
    /// The port; not zero.
    pub(crate) port: u16,
}

/// A text that is no machine and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostPortFault {
    /// No port.
    #[error("an address or name, `:` and a port from 1 to 65535 are expected")]
    Port,
    /// No machine.
    #[error(
        "what stands before the port is neither an address nor a host name; an IPv6 address stands in `[` and `]`"
    )]
    Host,
}

impl HostPort {
    /// A flow to it.
    pub(crate) fn flow(&self, protocol: Protocol) -> FlowTarget {
        FlowTarget { protocol, host: self.host.clone(), port: self.port }
    }

    /// A machine as programs name it: an address, or a name for the device to resolve.
    pub(crate) fn host(text: &str) -> Option<Host> {
        match text.parse::<IpAddr>() {
            // An IPv4 address in IPv6 clothes is that IPv4 address.
            Ok(ip) => Some(Host::Ip(ip.to_canonical())),
            Err(_) => text.parse().ok().map(Host::Name),
        }
    }
}

impl FromStr for HostPort {
    type Err = HostPortFault;

    fn from_str(text: &str) -> Result<Self, HostPortFault> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortFault::Port)?;
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HostPortFault::Port);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(HostPortFault::Port)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let ip = rest.strip_suffix(']').and_then(|ip| ip.parse::<Ipv6Addr>().ok());
                ip.map(|ip| Host::Ip(IpAddr::V6(ip).to_canonical()))
            }
            None if host.contains(':') => None,
            None => Self::host(host),
        };
        Ok(Self { host: host.ok_or(HostPortFault::Host)?, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => fmt::Display::fmt(&SocketAddr::new(*ip, self.port), f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Where to listen: always on this computer alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

/// A text that is no address to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListenFault {
    /// No port.
    #[error("a port, or an address of this computer with `:` and a port, is expected")]
    Form,
    /// Other computers could come in.
    #[error("only loopback addresses are listened at, such as 127.0.0.1; other computers must not come in")]
    Open,
}

impl FromStr for Listen {
    type Err = ListenFault;

    fn from_str(text: &str) -> Result<Self, ListenFault> {
        let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let addr = port.or_else(|_| text.parse::<SocketAddr>()).map_err(|_| ListenFault::Form)?;
        if addr.ip().is_loopback() { Ok(Self(addr)) } else { Err(ListenFault::Open) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::args::{Args, Command};

    fn text(text: &str) -> Result<String, HostPortFault> {
        text.parse::<HostPort>().map(|place| place.to_string())
    }

    #[test]
    fn a_place_is_an_address_or_a_name_with_a_port() {
        for good in ["192.168.0.10:102", "[fd00::10]:502", "plc-7.line_2:4840"] {
            assert_eq!(text(good), Ok(good.to_owned()));
        }
        assert_eq!(text("[::ffff:192.168.0.10]:1"), Ok("192.168.0.10:1".to_owned()));
        for bad in ["plc", "plc:", "plc:0", "plc:65536", "plc:+5", "plc:s7"] {
            assert_eq!(text(bad), Err(HostPortFault::Port), "{bad}");
        }
        for bad in
            [":102", "fd00::10:502", "[plc]:102", "[192.168.0.10]:1", "[fd00::10:1", "127.1:80", "a b:1"]
        {
            assert_eq!(text(bad), Err(HostPortFault::Host), "{bad}");
        }
    }

    #[test]
    fn nobody_but_this_computer_is_listened_to() {
        let listen = |text: &str| text.parse::<Listen>().map(|listen| listen.0.to_string());
        assert_eq!(listen("1080"), Ok("127.0.0.1:1080".to_owned()));
        assert_eq!(listen("127.0.0.2:0"), Ok("127.0.0.2:0".to_owned()));
        assert_eq!(listen("[::1]:1080"), Ok("[::1]:1080".to_owned()));
        for open in ["0.0.0.0:1080", "[::]:1080", "192.168.0.5:1080"] {
            assert_eq!(listen(open), Err(ListenFault::Open), "{open}");
        }
        for wrong in ["", "localhost:1080", "127.0.0.1", "65536"] {
            assert_eq!(listen(wrong), Err(ListenFault::Form), "{wrong}");
        }
    }

    #[test]
    fn forward_takes_several_places_and_proxy_none() {
        let parse =
            |args: &[&str]| Args::try_parse_from([&["postern"], args].concat()).map(|args| args.command);
        let Ok(Command::Forward(forward)) =
            parse(&["forward", "press-7", "plc:102", "plc:502", "--listen", "1102", "--listen", "[::1]:0"])
        else {
            panic!("not understood")
        };
        assert_eq!((forward.targets.len(), forward.listen.len()), (2, 2));
        let refused = |args: &[&str]| parse(args).map(drop).map_err(|error| error.kind());
        assert_eq!(refused(&["forward", "press-7"]), Err(ErrorKind::MissingRequiredArgument));
        assert!(matches!(parse(&["proxy", "press-7"]), Ok(Command::Proxy(_))));
        assert_eq!(refused(&["proxy", "press-7", "plc:102"]), Err(ErrorKind::UnknownArgument));
    }

    #[test]
    fn a_discovery_names_its_service_in_either_way_and_not_in_both() {
        let parse = |args: &[&str]| {
            let parsed = Args::try_parse_from([&["postern", "discover"], args].concat());
            parsed.map_err(|error| error.kind()).map(|args| {
                let Command::Discover(args) = args.command else { panic!("another command") };
                (args.vpn().service.map(|name| name.to_string()), args.scan)
            })
        };
        let lines = Some("lines".to_owned());
        assert_eq!(parse(&["press-7"]), Ok((None, false)));
        assert_eq!(parse(&["press-7", "lines", "--scan"]), Ok((lines.clone(), true)));
        assert_eq!(parse(&["press-7", "--service", "lines"]), Ok((lines, false)));
        assert_eq!(parse(&["press-7", "cell", "--service", "lines"]), Err(ErrorKind::ArgumentConflict));
        assert_eq!(parse(&[]), Err(ErrorKind::MissingRequiredArgument));
    }

    #[test]
    fn a_vpn_is_brought_up_shown_or_ended() {
        let parse = |args: &[&str]| {
            Args::try_parse_from([&["postern", "vpn"], args].concat()).map(|args| args.command)
        };
        let Ok(Command::Vpn(up)) = parse(&["press-7", "--service", "lines", "--alias"]) else {
            panic!("not understood")
        };
        assert_eq!((up.device.is_some(), up.service.is_some(), up.alias), (true, true, true));
        let Ok(Command::Vpn(shown)) = parse(&["--status"]) else { panic!("not understood") };
        assert!(shown.status && shown.device.is_none());
        let Ok(Command::Vpn(ended)) = parse(&["--down", "acme/press-7"]) else { panic!("not understood") };
        assert_eq!(ended.down.map(|device| device.to_string()), Some("acme/press-7".to_owned()));
        for wrong in [&[][..], &["press-7", "--status"], &["--status", "--down", "press-7"], &["--alias"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
