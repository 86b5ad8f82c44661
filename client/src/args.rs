//! The command line.

mod admin;
mod case;
mod vpn;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use postern_protocol::id::ApprovalId;
use postern_protocol::name::{Name, NameFault};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_transport::proxy::{EnvironmentFault, Proxies, Proxy, ProxyUrlFault};

pub(crate) use self::admin::{
    AdminArgs, AdminCommand, AdminHistory, AdminInvite, Entity, HistoryPlace, ScopeText,
};
pub(crate) use self::case::{CaseArgs, CaseCommand, CaseOpen, Openness};
pub(crate) use self::vpn::{AdapterArgs, DiscoverArgs, ForwardArgs, HostPort, ProxyArgs, VpnArgs};

use crate::{clock, exit};

/// Reaches the services of machines through the gate at their site.
#[derive(Debug, Parser)]
#[command(name = "postern", version, after_help = exit::HELP)]
pub(crate) struct Args {
    /// Keeps key and state in DIR instead of the platform's directory
    #[arg(long, global = true, value_name = "DIR", env = "POSTERN_HOME", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// Prints JSON for programs, also for errors
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Reaches the hub and relays through this proxy where nothing else leads there: `http://HOST:PORT`,
    /// `socks5://HOST:PORT`, with USER:PASSWORD@ before the host for a login, or `none` [default: what HTTPS_PROXY or ALL_PROXY say]
    #[arg(long, global = true, value_name = "URL", env = "POSTERN_PROXY", hide_env_values = true)]
    pub(crate) via_proxy: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The proxies by which hub and relays may be reached.
    ///
    /// # Errors
    /// What names no proxy.
    pub(crate) fn proxies(&self) -> Result<Proxies, ProxyError> {
        match self.via_proxy.as_deref().filter(|url| !url.is_empty()) {
            Some("none") => Ok(Proxies::none()),
            Some(url) => Ok(Proxies::always(Proxy::parse(url)?)),
            None => Ok(Proxies::from_environment(|name| std::env::var(name).ok())?),
        }
    }
}

/// Why there is no proxy although one is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The command line, or the program's own variable.
    #[error("`--via-proxy` names no proxy: {0}")]
    Argument(#[from] ProxyUrlFault),
    /// The variables that every program reads.
    #[error(transparent)]
    Environment(#[from] EnvironmentFault),
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Signs in: the first time with an invitation code, later with the password
    Login(LoginArgs),
    /// Proves your second factor again with a one-time code; what is open stays open
    StepUp(StepUpArgs),
    /// Signs out: removes this computer's key at the hub and here
    Logout {
        /// Makes every sign-in of yours worthless, on every computer; what is open ends
        #[arg(long)]
        everywhere: bool,
    },
    /// Shows who is signed in, until when, and whether the hub answers
    Status,
    /// Lists the devices on which you may use something
    Devices,
    /// Finds what stands between this computer and the hub or a device, and says what to ask of whom
    Doctor {
        /// The device; without it, the way to the hub alone
        device: Option<DeviceRef>,
    },
    /// Lists your sessions, as devices have told the hub: where, since when, and what came of it
    Sessions(SessionsArgs),
    /// Lists the services of a device that you may use
    Services {
        /// The device's name, or ACCOUNT/NAME when the name is not unique; with @ADDRESS it is looked for nowhere else
        device: DeviceRef,
    },
    /// Lists your requests for approval, and those of others that you may decide
    Approvals,
    /// Approves a request of somebody else, no further and no longer than it asks
    Approve(ApproveArgs),
    /// Says no to a request
    Reject(EndArgs),
    /// Takes back what was approved, or a request of your own; what is open ends
    Revoke(EndArgs),
    /// Opens, activates, deactivates and closes service cases: who lets the service provider in, and for how long
    Case(CaseArgs),
    /// Looks at companies, people, devices, roles and who has which where, and edits them, as far as you may
    Admin(AdminArgs),
    /// Makes a service of a device reachable on this computer, until Ctrl-C
    Connect(ConnectArgs),
    /// Makes single places of a device's machine network reachable on this computer, until Ctrl-C
    Forward(ForwardArgs),
    /// Makes a device's machine network reachable for programs that speak SOCKS5 or HTTP CONNECT, until Ctrl-C
    Proxy(ProxyArgs),
    /// Shows the machines that a device knows on its machine network, as far as you may reach them
    Discover(DiscoverArgs),
    /// Makes a device's machine network reachable for every program, over a network adapter, until Ctrl-C; needs
    /// administrator rights
    Vpn(AdapterArgs),
    /// Shows a recorded session, or exports pictures of it
    Replay(ReplayArgs),
    /// Prints the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes the manual pages into a directory
    Man {
        /// The directory; it is created when it does not exist
        dir: PathBuf,
    },
}

/// Arguments of `login`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The invitation code, or `-` to be asked for it, so that no other user of this computer sees it among the
    /// programs that run; you then choose a password
    #[arg(conflicts_with_all = ["otp", "setup_otp", "hub", "hub_key", "account", "user"])]
    pub(crate) code: Option<String>,
    /// Your account, when it is not known here yet
    #[arg(long, value_name = "PATH")]
    pub(crate) account: Option<String>,
    /// Your user name, when it is not known here yet
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Name>,
    /// The hub's address, on a computer that has seen no invitation
    #[arg(long, value_name = "IP:PORT", requires = "hub_key")]
    pub(crate) hub: Option<SocketAddr>,
    /// The hub's public key in hexadecimal digits
    #[arg(long, value_name = "KEY", requires = "hub")]
    pub(crate) hub_key: Option<PublicKey>,
    /// Signs in with a one-time code as well; asks for it when CODE is left out
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) otp: Option<String>,
    /// Sets up one-time codes and shows the URI for an authenticator app
    #[arg(long)]
    pub(crate) setup_otp: bool,
    /// Signs in for this device only; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["code", "setup_otp"])]
    pub(crate) only_device: Vec<Name>,
    /// Signs in for services of this name only; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["code", "setup_otp"])]
    pub(crate) only_service: Vec<Name>,
    /// Reads the password from the first line of standard input instead of asking
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Signs in with your company's identity provider, in a browser; NAME where the hub knows several. Later sign-ins do the same
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "",
          conflicts_with_all = ["otp", "setup_otp", "password_stdin", "account", "user"])]
    pub(crate) sso: Option<String>,
    /// With an identity provider: opens no browser, and says where to go
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// With an identity provider: the browser is on another computer or telephone, where you type a code
    #[arg(long, conflicts_with = "no_browser")]
    pub(crate) elsewhere: bool,
}

/// Arguments of `sessions`.
#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    /// Only those on this device
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<Name>,
    /// Only those that began at this time or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_past)]
    pub(crate) from: Option<UnixTime>,
    /// Only those that began before this time
    #[arg(long, value_name = "TIME", value_parser = parse_past)]
    pub(crate) until: Option<UnixTime>,
    /// Sessions at most: the newest ones (1 to 10000)
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    /// Those of everybody whom you may audit, and what was refused; that you looked is noted
    #[arg(long, conflicts_with = "user")]
    pub(crate) all: bool,
    /// Those of this user, as far as you may audit them
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Name>,
}

impl SessionsArgs {
    /// Whether sessions of others are wanted.
    pub(crate) const fn is_about_others(&self) -> bool {
        self.all || self.user.is_some()
    }
}

/// Reads a time in RFC 3339, or how long ago it was as a span with its unit.
///
/// # Errors
/// What is neither.
fn parse_past(text: &str) -> Result<UnixTime, PastFault> {
    clock::past(text, clock::now()).ok_or(PastFault)
}

/// A text that says no time of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a time with its offset, such as 2026-12-31T18:00:00Z (RFC 3339), or how long ago it was, such as 2h"
)]
pub(crate) struct PastFault;

/// Arguments of `step-up`.
#[derive(Debug, clap::Args)]
pub(crate) struct StepUpArgs {
    /// The one-time code; without it you are asked. Who signs in with an identity provider proves it there, and has none
    #[arg(long, value_name = "CODE")]
    pub(crate) otp: Option<String>,
    /// With an identity provider: opens no browser, and says where to go
    #[arg(long, conflicts_with = "otp")]
    pub(crate) no_browser: bool,
}

/// Arguments of `connect`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The device's name, or ACCOUNT/NAME when the name is not unique; with @ADDRESS it is looked for nowhere else
    pub(crate) device: DeviceRef,
    /// The service's name on the device
    pub(crate) service: Name,
    /// Listens on this port instead of the service's own; 0 is any free one
    #[arg(long, value_name = "PORT", conflicts_with = "stdio")]
    pub(crate) port: Option<u16>,
    /// Opens the browser or a VNC viewer as well
    #[arg(long, conflicts_with = "stdio")]
    pub(crate) open: bool,
    /// Looks only: nothing that you do reaches the machine, whatever you are granted
    #[arg(long)]
    pub(crate) view_only: bool,
    /// Ends after the first local connection
    #[arg(long, conflicts_with = "stdio")]
    pub(crate) once: bool,
    /// Connects standard input and output instead of listening (for ProxyCommand and scripts)
    #[arg(long, conflicts_with = "json")]
    pub(crate) stdio: bool,
    /// Why, for those who approve, where an approval is demanded; without it you are asked
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// For how long an approval is asked for, such as 30m or 2h
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    pub(crate) for_: Lasting,
    /// Asks for an approval where one is demanded, and does not wait for it
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Arguments of `approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {
    /// The request, as `postern approvals` lists it
    #[arg(required_unless_present = "code", conflicts_with = "code")]
    pub(crate) id: Option<ApprovalId>,
    /// By the code of a letter instead, once and as it was asked for
    #[arg(long)]
    pub(crate) code: Option<ApprovalCode>,
    /// To look only
    #[arg(long, conflicts_with = "code")]
    pub(crate) view_only: bool,
    /// For how long, such as 30m or 2h [default: as long as is asked for]
    #[arg(long = "for", value_name = "TIME", conflicts_with = "code")]
    pub(crate) for_: Option<Lasting>,
}

/// Arguments of `reject` and `revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct EndArgs {
    /// The request, as `postern approvals` lists it
    pub(crate) id: ApprovalId,
    /// Why, for who asked
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ReplayArgs {
    /// What to do instead of showing a recording.
    #[command(subcommand)]
    pub(crate) command: Option<ReplayCommand>,
    /// The recording, as the device exported it
    #[arg(required = true)]
    pub(crate) file: Option<PathBuf>,
    /// The private half of the recording key
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Option<PathBuf>,
    /// Writes pictures into DIR instead of showing anything; of a web page its requests
    #[arg(long, value_name = "DIR", conflicts_with_all = ["port", "open", "speed"])]
    pub(crate) export: Option<PathBuf>,
    /// Exports one picture for each interval in which something changed, such as 500ms, 1s or 2m
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "export")]
    pub(crate) every: Every,
    /// Shows it so many times as fast
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) speed: Speed,
    /// Listens on this port of 127.0.0.1 instead of a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Opens a VNC viewer as well
    #[arg(long)]
    pub(crate) open: bool,
}

/// What `replay` does besides showing.
#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Makes a recording key: prints the public half for the fleet's files and keeps the private half in FILE
    Keygen {
        /// The file; it must not exist
        file: PathBuf,
    },
}

/// For how long somebody is let in, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lasting(pub(crate) u32);

/// A time that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number and m, h or d is expected, such as 30m")]
pub(crate) struct LastingFault;

impl FromStr for Lasting {
    type Err = LastingFault;

    fn from_str(text: &str) -> Result<Self, LastingFault> {
        let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or(LastingFault)?;
        let (number, unit) = text.split_at(unit);
        let factor = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(LastingFault),
        };
        let number: u32 = number.parse().map_err(|_| LastingFault)?;
        number.checked_mul(factor).filter(|secs| *secs > 0).map(Self).ok_or(LastingFault)
    }
}

/// A time between pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) Duration);

/// A time that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number and ms, s or m is expected, such as 500ms")]
pub(crate) struct EveryFault;

impl FromStr for Every {
    type Err = EveryFault;

    fn from_str(text: &str) -> Result<Self, EveryFault> {
        let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or(EveryFault)?;
        let (number, unit) = text.split_at(unit);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            _ => return Err(EveryFault),
        };
        let number: u32 = number.parse().map_err(|_| EveryFault)?;
        if number == 0 {
            return Err(EveryFault);
        }
        Ok(Self(Duration::from_millis(u64::from(number) * factor)))
    }
}

/// How fast a recording is shown: above 0, at most 1000.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed(pub(crate) f64);

/// A speed that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number above 0 and at most 1000 is expected")]
pub(crate) struct SpeedFault;

impl FromStr for Speed {
    type Err = SpeedFault;

    fn from_str(text: &str) -> Result<Self, SpeedFault> {
        let speed: f64 = text.parse().map_err(|_| SpeedFault)?;
        if speed > 0.0 && speed <= 1000.0 { Ok(Self(speed)) } else { Err(SpeedFault) }
    }
}

/// How a person names a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRef {
    /// The account's path, where it was said.
    pub(crate) account: Option<String>,
    /// The name.
    pub(crate) name: Name,
    /// Where it is, where that was said: it is looked for nowhere else.
    pub(crate) at: Option<SocketAddr>,
}

/// A device that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceRefFault {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// Where it is.
    #[error(
        "after `@` an IP address is expected, with or without a port, such as 192.168.0.1 or [fd00::1]:7441"
    )]
    Address,
}

impl FromStr for DeviceRef {
    type Err = DeviceRefFault;

    fn from_str(text: &str) -> Result<Self, DeviceRefFault> {
        let (text, at) = match text.split_once('@') {
            Some((text, at)) => (text, Some(place(at).ok_or(DeviceRefFault::Address)?)),
            None => (text, None),
        };
        match text.rsplit_once('/') {
            Some((account, name)) => Ok(Self { account: Some(account.to_owned()), name: name.parse()?, at }),
            None => Ok(Self { account: None, name: text.parse()?, at }),
        }
    }
}

/// An address, with the port of agents where none is named.
fn place(text: &str) -> Option<SocketAddr> {
    let alone =
        || text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok();
    text.parse().ok().or_else(|| alone().map(|ip: IpAddr| SocketAddr::new(ip, AGENT_PORT)))
}

/// Where agents serve clients that are not told otherwise.
const AGENT_PORT: u16 = 7441;

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "{account}/{}", self.name),
            None => fmt::Display::fmt(&self.name, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_device_is_named_with_or_without_its_account() {
        let plain: DeviceRef = "press-7".parse().unwrap();
        assert_eq!(plain, DeviceRef { account: None, name: "press-7".parse().unwrap(), at: None });
        let nested: DeviceRef = "acme/paris/press-7".parse().unwrap();
        assert_eq!(nested.account.as_deref(), Some("acme/paris"));
        assert_eq!(nested.to_string(), "acme/paris/press-7");
        assert_eq!("acme/".parse::<DeviceRef>(), Err(DeviceRefFault::Name(NameFault::Empty)));
    }

    #[test]
    fn a_device_may_be_named_with_the_address_at_which_it_is() {
        let at = |text: &str| text.parse::<DeviceRef>().map(|device| device.at.map(|at| at.to_string()));
        assert_eq!(at("press-7@192.168.0.1"), Ok(Some("192.168.0.1:7441".to_owned())));
        assert_eq!(at("acme/press-7@192.168.0.1:9"), Ok(Some("192.168.0.1:9".to_owned())));
        for v6 in ["press-7@fd00::1", "press-7@[fd00::1]", "press-7@[fd00::1]:7441"] {
            assert_eq!(at(v6), Ok(Some("[fd00::1]:7441".to_owned())));
        }
        for wrong in ["press-7@", "press-7@router", "press-7@1.2.3.4:x", "press-7@1.2.3.4@5.6.7.8"] {
            assert_eq!(at(wrong), Err(DeviceRefFault::Address), "{wrong}");
        }
    }

    #[test]
    fn a_recording_is_shown_exported_or_a_key_is_made_for_it() {
        let replay = |args: &[&str]| Args::try_parse_from([&["postern", "replay"], args].concat());
        let Ok(Args { command: Command::Replay(shown), .. }) =
            replay(&["a.rec", "--key", "k", "--speed", "2.5"])
        else {
            panic!("not understood")
        };
        assert_eq!((shown.speed, shown.every), (Speed(2.5), Every(Duration::from_secs(1))));
        let Ok(Args { command: Command::Replay(made), .. }) = replay(&["keygen", "k"]) else {
            panic!("not understood")
        };
        assert!(matches!(made.command, Some(ReplayCommand::Keygen { .. })));
        for wrong in [
            &["a.rec"][..],
            &["--key", "k"],
            &["a.rec", "--key", "k", "--every", "1s"],
            &["a.rec", "--key", "k", "--speed", "0"],
            &["a.rec", "--key", "k", "--speed", "NaN"],
            &["a.rec", "--key", "k", "--export", "d", "--open"],
        ] {
            assert!(replay(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_between_pictures_have_a_unit() {
        let every = |text: &str| text.parse::<Every>().map(|every| every.0.as_millis());
        assert_eq!((every("500ms"), every("1s"), every("2m")), (Ok(500), Ok(1000), Ok(120_000)));
        for wrong in ["", "1", "s", "0s", "1h", "-1s", "1.5s", "99999999999s"] {
            assert_eq!(every(wrong), Err(EveryFault), "{wrong}");
        }
    }

    #[test]
    fn times_for_which_somebody_is_let_in_have_a_unit() {
        let lasting = |text: &str| text.parse::<Lasting>().map(|lasting| lasting.0);
        assert_eq!((lasting("30m"), lasting("2h"), lasting("7d")), (Ok(1800), Ok(7200), Ok(604_800)));
        for wrong in ["", "1", "h", "0h", "1s", "-1h", "1.5h", "99999999999h", "99999d99"] {
            assert_eq!(lasting(wrong), Err(LastingFault), "{wrong}");
        }
    }

    #[test]
    fn the_one_time_code_may_follow_or_be_asked_for() {
        let otp = |args: &[&str]| {
            let args = Args::try_parse_from([&["postern", "login"], args].concat()).unwrap();
            let Command::Login(login) = args.command else { panic!("another command") };
            login.otp
        };
        assert_eq!(otp(&["--otp", "123456"]), Some("123456".to_owned()));
        assert_eq!(otp(&["--otp"]), Some(String::new()));
        assert_eq!(otp(&[]), None);
    }
}
