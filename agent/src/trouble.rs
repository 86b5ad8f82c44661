//! Why a command failed, and the exit code that says so.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use postern_protocol::audit::verify::ExportFault;
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{SelfTestFault, SnapshotFault};
use postern_protocol::trust::RootFault;
use postern_protocol::trust::sealed::SealingKeyFault;
use postern_protocol::wire::invitation::InvitationFault;
use postern_protocol::wire::registry::Failure;
use postern_transport::MachineTlsFault;
use postern_transport::quic::BindError;

use crate::command::PromptError;
use crate::config::{ConfigError, ProxyError};
use crate::control::{AskError, ControlError};
use crate::daemon::StateFault;
use crate::exit::Exit;
use crate::identity::KeyError;
use crate::packet_vpn::PacketVpnError;
use crate::recordings::ShelfError;
use crate::secrets::SecretError;
use crate::store::StoreError;
use crate::sync::EnrollError;

/// Everything that ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The proxy, or its password.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The enrolment code.
    #[error("{0}; `postern-cloud device add NAME` prints the code of a device")]
    Code(#[from] InvitationFault),
    /// The device key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The sealing key that follows from it.
    #[error(transparent)]
    Sealing(#[from] SealingKeyFault),
    /// An exported trail.
    #[error("the audit trail was changed, or is not complete: {0}")]
    Export(#[from] ExportFault),
    /// The stored state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored chain of roots.
    #[error("the stored root is not genuine: {0}; enrol this device anew")]
    Root(#[from] RootFault),
    /// The stored snapshot.
    #[error(
        "the stored policy is not genuine: {0}; the agent denies everything until its hub sends another one"
    )]
    Snapshot(#[from] SnapshotFault),
    /// The decision.
    #[error("{0}; the agent serves nobody, install another version of it")]
    SelfTest(#[from] SelfTestFault),
    /// Enrolment.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The control socket, as the agent.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The control socket, as a caller.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The UDP socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Another agent works on the same state.
    #[error("another agent works on `{}`; two agents on one state would lose policy and audit", path.display())]
    Occupied {
        /// The state directory.
        path: PathBuf,
    },
    /// The state directory cannot be used.
    #[error("the state directory `{}` cannot be used: {error}", path.display())]
    StateDir {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Somebody else could change the state.
    #[error(transparent)]
    State(#[from] StateFault),
    /// Nobody has confirmed that the state is to be wiped.
    #[error(
        "this overwrites and removes key, policy, floor and enrolment in `{}`, and only a new code brings the device back; if that is meant, add `--yes`",
        path.display()
    )]
    Unconfirmed {
        /// The state directory.
        path: PathBuf,
    },
    /// The event loop cannot be started.
    #[error("the event loop cannot be started: {0}")]
    Runtime(io::Error),
    /// A file that was named cannot be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The directory of recordings.
    #[error(transparent)]
    Recordings(#[from] ShelfError),
    /// There is no finished recording of this tunnel.
    #[error("there is no finished recording of {tunnel} here; `postern-agent recordings list` shows them")]
    NoRecording {
        /// The tunnel.
        tunnel: TunnelId,
    },
    /// A secret of this device.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody typed one.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A machine that was to be looked at.
    #[error("`{target}`: {}; {}", failure.sentence(), failure.next_step())]
    Machine {
        /// Where.
        target: SocketAddr,
        /// Why there is no connection.
        failure: Failure,
    },
    /// Its TLS.
    #[error("{0}; check address and port, and what the machine speaks")]
    MachineTls(#[from] MachineTlsFault),
    /// The packet VPN.
    #[error(transparent)]
    PacketVpn(#[from] PacketVpnError),
    /// The enrolment names no hub.
    #[error("no address of a hub is known; enrol this device anew")]
    NoHub,
    /// No such tunnel is open.
    #[error("no such tunnel is open; `postern-agent sessions` lists them")]
    NoTunnel,
}

impl Trouble {
    /// The code for the shell.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Unconfirmed { .. }
            | Self::Config(_)
            | Self::Proxy(ProxyError::Environment(_) | ProxyError::Login { .. } | ProxyError::Read { .. })
            | Self::Code(_)
            | Self::PacketVpn(PacketVpnError::NotConfigured)
            | Self::Prompt(PromptError::NoTerminal) => Exit::Usage,
            Self::Key(KeyError::Missing { .. }) | Self::Store(StoreError::NotEnrolled) => Exit::NotEnrolled,
            Self::Key(
                KeyError::NotAFile { .. }
                | KeyError::Mode { .. }
                | KeyError::Owner { .. }
                | KeyError::Content { .. }
                | KeyError::Fault(_),
            )
            | Self::Store(
                StoreError::Corrupt { .. }
                | StoreError::Newer { .. }
                | StoreError::Older { .. }
                | StoreError::Copy { .. }
                | StoreError::Chain(_)
                | StoreError::Codec(_),
            )
            | Self::Sealing(_)
            | Self::Export(_)
            | Self::Root(_)
            | Self::Snapshot(_)
            | Self::Proxy(ProxyError::Exposed { .. })
            | Self::State(
                StateFault::Mode { .. }
                | StateFault::Owner { .. }
                | StateFault::Link { .. }
                | StateFault::Kind { .. },
            ) => Exit::Unsafe,
            Self::Key(KeyError::Random | KeyError::Io { .. })
            | Self::Store(
                StoreError::Sqlite { .. }
                | StoreError::Missing { .. }
                | StoreError::Io { .. }
                | StoreError::Enrolled
                | StoreError::Reseal
                | StoreError::Random
                | StoreError::Full
                | StoreError::Busy
                | StoreError::Closed,
            )
            | Self::Control(ControlError::Io { .. })
            | Self::Bind(_)
            | Self::StateDir { .. }
            | Self::State(StateFault::Io { .. })
            | Self::Runtime(_)
            | Self::File { .. }
            | Self::Ask(AskError::Refused { .. } | AskError::Answer { .. } | AskError::Io { .. })
            | Self::Secret(_)
            | Self::Machine { .. }
            | Self::MachineTls(_)
            | Self::Prompt(
                PromptError::Input(_)
                | PromptError::Interrupted
                | PromptError::Differ
                | PromptError::Length(_),
            )
            | Self::Recordings(_)
            | Self::NoRecording { .. }
            | Self::PacketVpn(
                PacketVpnError::NoRight(_)
                | PacketVpnError::NoNft
                | PacketVpnError::IptablesOnly
                | PacketVpnError::Nft(_)
                | PacketVpnError::NoTunModule
                | PacketVpnError::NoInterface(_)
                | PacketVpnError::Taken(_)
                | PacketVpnError::Range { .. }
                | PacketVpnError::File { .. }
                | PacketVpnError::Tun { .. },
            )
            | Self::NoHub
            | Self::NoTunnel => Exit::Failure,
            Self::Ask(AskError::Forbidden { .. }) => Exit::Failure,
            Self::SelfTest(_) => Exit::SelfTest,
            Self::Ask(AskError::NotRunning { .. }) => Exit::NotRunning,
            Self::Occupied { .. } | Self::Control(ControlError::Occupied { .. }) => Exit::Occupied,
            Self::Enroll(EnrollError::Store(_) | EnrollError::Key(_)) => Exit::Failure,
            Self::Enroll(
                EnrollError::Link(_)
                | EnrollError::Refused(_)
                | EnrollError::Failed(_)
                | EnrollError::Unexpected
                | EnrollError::Root(_)
                | EnrollError::HubKey
                | EnrollError::Sealing(_)
                | EnrollError::Snapshot(_),
            ) => Exit::Hub,
        }
    }
}
