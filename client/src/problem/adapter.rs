//! Problems with the network adapter of this computer.

use std::fmt;
use std::io;
use std::path::Path;

use postern_adapter::message::Answer;

use super::Problem;
use crate::exit::Exit;

impl Problem {
    /// The program that makes adapters is not installed.
    pub(crate) fn no_adapter_program(path: &Path) -> Self {
        let what = format_args!("`{}`, which makes network adapters, is missing", path.display());
        Self::no_adapter("no_adapter_program", what, "install it beside `postern`")
    }

    /// Nobody here may make an adapter.
    pub(crate) fn no_adapter_right(program: &Path) -> Self {
        let next = format!(
            "use `sudo setcap cap_net_admin=ep {}` once, start its service, or use `postern` at a terminal with `sudo`",
            program.display()
        );
        Self::no_adapter("no_adapter_right", "you may not make a network adapter on this computer", &next)
    }

    /// What the program that makes adapters answered.
    pub(crate) fn adapter(answer: &Answer) -> Self {
        match answer {
            Answer::Refused { fault } => {
                let what = format_args!("the adapter is refused: {fault}");
                Self::new(Exit::Failure, "adapter_refused", what, "try again with `--alias`")
            }
            Answer::Failed { step, errno } => {
                let what = format_args!("{step}: {}", io::Error::from_raw_os_error(*errno));
                Self::no_adapter("adapter_failed", what, "check that this computer permits TUN interfaces")
            }
            Answer::OtherVersion { version } => {
                let what = format_args!("`postern-adapter` speaks version {version} of another `postern`");
                Self::no_adapter("adapter_version", what, "install both of one version")
            }
            Answer::Created { .. } | Answer::Done | Answer::Unexpected => {
                let what = "`postern-adapter` gave an answer that does not fit the question";
                Self::no_adapter("adapter_version", what, "install both of one version")
            }
        }
    }

    /// The adapter or the program that made it went away.
    pub(crate) fn adapter_gone() -> Self {
        let what = "the network adapter was taken away, or `postern-adapter` ended";
        Self::new(Exit::Failure, "adapter_gone", what, "bring the VPN up again")
    }

    /// The sockets' directory.
    pub(crate) fn unsafe_place(dir: &Path) -> Self {
        let what = format_args!("`{}` can be entered by others, or belongs to another user", dir.display());
        Self::new(Exit::UnsafeProfile, "unsafe_place", what, "remove it, or make it yours alone")
    }

    /// A socket between two programs of this user.
    pub(crate) fn no_adapter_socket(path: &Path, error: &io::Error) -> Self {
        let what = format_args!("no socket at `{}`: {error}", path.display());
        Self::new(Exit::Failure, "socket", what, "set XDG_RUNTIME_DIR to a directory of your own")
    }

    /// Without the routes of this computer nothing can be checked.
    pub(crate) fn routes_unknown(error: &io::Error) -> Self {
        let what = format_args!("the routes of this computer cannot be read: {error}");
        Self::no_adapter("routes", what, "mount /proc")
    }

    /// No network of machines has a place here.
    pub(crate) fn no_network_here(networks: &str) -> Self {
        let what = format_args!("no machine can be reached over an adapter: {networks}");
        Self::no_adapter("no_network", what, "ask for a narrower network")
    }

    /// Nothing to end.
    pub(crate) fn no_such_vpn(device: &str) -> Self {
        let what = format_args!("no VPN of {device} is up");
        Self::new(Exit::NoSuchDevice, "no_vpn", what, "see `postern vpn --status`")
    }

    fn no_adapter(word: &'static str, what: impl fmt::Display, next: &str) -> Self {
        let next = format!("{next}; `postern forward` and `postern proxy` need no administrator rights");
        Self::new(Exit::Failure, word, what, &next)
    }
}
