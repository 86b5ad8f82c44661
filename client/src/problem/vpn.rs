//! Problems on the way to the machine network.

use postern_protocol::name::Name;
use postern_protocol::policy::Kind;
use postern_protocol::policy::reason::Lifter;

use super::Problem;
use crate::exit::Exit;

impl Problem {
    /// The device has no VPN for this user.
    pub(crate) fn no_vpn() -> Self {
        let next = "ask your administrator for an access category that contains one";
        let problem = Self::new(Exit::Denied, "no_vpn", "no VPN of this device is open to you", next);
        Self { who: Some(Lifter::Administrator), ..problem }
    }

    /// The service is something else.
    pub(crate) fn other_kind(service: &Name, kind: Kind) -> Self {
        let what = format_args!("`{service}` is no VPN but a service of the kind {}", kind.word());
        Self::new(Exit::Usage, "no_vpn", what, "use `postern connect`, or name a VPN with `--service`")
    }

    /// The device has several VPNs and nothing says which.
    pub(crate) fn several_vpns(names: &[Name]) -> Self {
        let what = format_args!("this device has several VPNs: {}", list(names));
        Self::new(Exit::Usage, "several_vpns", what, "choose one with `--service`")
    }

    /// None of several VPNs leads to a place.
    pub(crate) fn no_vpn_to(places: &str, names: &[Name]) -> Self {
        let what = format_args!("none of the VPNs {} leads to {places}", list(names));
        let next = "check the address, or ask your administrator for it";
        let problem = Self::new(Exit::Denied, "no_vpn", what, next);
        Self { who: Some(Lifter::Administrator), ..problem }
    }

    /// A VPN that leads to more than one place cannot be connected to as if it were one.
    pub(crate) fn many_places() -> Self {
        let next =
            "use `postern forward DEVICE HOST:PORT` for one of them, or `postern proxy DEVICE` for all";
        Self::new(Exit::Usage, "many_places", "this VPN leads to more than one place", next)
    }

    /// More places to listen at than places to lead to.
    pub(crate) fn too_many_listeners() -> Self {
        let what = "there are more `--listen` than HOST:PORT";
        Self::new(Exit::Usage, "listeners", what, "leave out the last ones")
    }

    /// A program that speaks neither of the protocols of the proxy.
    pub(crate) fn no_proxy_protocol() -> Self {
        let what = "a local program speaks neither SOCKS5 nor HTTP CONNECT";
        Self::new(
            Exit::Failure,
            "no_proxy_protocol",
            what,
            "set its proxy as printed, or use `postern forward`",
        )
    }
    /// Another operating system.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn no_adapter_here() -> Self {
        let what = "network adapters are made on Linux only";
        let next = "use `postern forward` or `postern proxy`";
        Self::new(Exit::Failure, "no_adapter", what, next)
    }
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
