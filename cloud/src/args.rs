//! The command line.

mod approval;
mod audit;
mod case;
mod cluster;
mod database;
mod device;
mod invitation;
mod lock;
mod root;
mod serve;
mod user;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use postern_protocol::time::UnixTime;

use crate::clock;
use crate::fleet::Override;
use crate::model::MailAddress;

pub(crate) use self::approval::ApprovalCommand;
pub(crate) use self::audit::{AuditCommand, AuditExport, AuditList};
pub(crate) use self::case::{CaseArgs, CaseCommand, CaseOpen, CaseSpan};
pub(crate) use self::cluster::{Clustered, EdgeCommand};
pub(crate) use self::database::Elsewhere;
pub(crate) use self::device::{DeviceCommand, SecretCommand};
pub(crate) use self::invitation::{InvitationArgs, InvitationCommand, InvitationNew};
pub(crate) use self::lock::{LockCommand, Lockable};
pub(crate) use self::root::{Lifetime, Of, RootCommand, RootInit, RootKeyCommand, RootRotate};
pub(crate) use self::serve::ServedRelay;
pub(crate) use self::user::UserCommand;

use self::serve::loopback;

/// The cloud's side of Postern: the access model, its compiler, and the hub that agents and users dial.
#[derive(Debug, Parser)]
#[command(name = "postern-cloud", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The directory with keys and state.
    #[arg(long, global = true, env = "POSTERN_CLOUD_STATE", default_value = "/var/lib/postern-cloud")]
    pub(crate) state: PathBuf,
    /// Answers in JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Founds an installation: makes its keys, its first root and its state. Never overwrites anything.
    Init {
        /// Where the hub listens.
        #[arg(long, default_value = "0.0.0.0:7440")]
        listen: SocketAddr,
        /// Where devices and users reach the hub; repeat it for each address, in the order to be tried.
        #[arg(long)]
        advertise: Vec<SocketAddr>,
        /// Founds with root version 1 of a ceremony (`postern-cloud root init`) instead of making keys.
        #[arg(long, value_name = "FILE", requires = "keys")]
        root: Option<PathBuf>,
        /// An online key that the root of the ceremony names, such as `policy=policy.key`; one for each.
        #[arg(long = "key", value_name = "ROLE=FILE", requires = "root")]
        keys: Vec<Of>,
        /// How many root keys are made, each for a holder and a medium of its own.
        #[arg(long, default_value_t = 3)]
        root_keys: u8,
        /// How many of them must sign the next root.
        #[arg(long, default_value_t = 2)]
        root_threshold: u8,
        #[command(flatten)]
        database: Elsewhere,
    },
    /// Asks for the first model of an installation, step by step: groups, categories, roles, users and the first device.
    Setup {
        /// The fleet file to write; it must not exist.
        #[arg(long, value_name = "FILE", default_value = "fleet.toml")]
        output: PathBuf,
    },
    /// Checks a fleet file by itself, without an installation.
    Check {
        #[command(flatten)]
        fleet: Fleet,
    },
    /// Replaces the model with a fleet file, and signs what changes for each device.
    Apply {
        #[command(flatten)]
        fleet: Fleet,
        /// Shows the plan and changes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Publishes also when somebody gains access, without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Shows who would gain and lose what if a fleet file were applied.
    Diff {
        #[command(flatten)]
        fleet: Fleet,
    },
    /// Says why a user may or may not use a service, by the same judgement as the device's.
    Explain {
        /// The user's name.
        user: String,
        /// The device's name.
        device: String,
        /// The service's name on the device.
        service: String,
        /// When, in RFC 3339; now if not given.
        #[arg(long, value_parser = clock::parse)]
        at: Option<UnixTime>,
        /// How long ago the user's second factor was used, such as `2h`; not at all if not given.
        #[arg(long, value_parser = clock::parse_span)]
        second_factor_age: Option<SignedDuration>,
        /// Supposes that the device is cut off from the cloud, with its whole budget for that.
        #[arg(long)]
        offline: bool,
    },
    /// Lists all that a user can reach, or all who can reach a device, and why.
    Review {
        /// The name of a user or a device.
        name: String,
        /// What the name is; needed only where a user and a device have the same.
        #[arg(long, value_enum)]
        kind: Option<Reviewed>,
        /// When, in RFC 3339; now if not given.
        #[arg(long, value_parser = clock::parse)]
        at: Option<UnixTime>,
    },
    /// Lists the roles that can be assigned, built-in and custom, or says what one of them may.
    Roles {
        /// The name of one role.
        name: Option<String>,
    },
    /// Writes the model as a fleet file, which applies to no change.
    Export {
        /// The file to write; standard output if not given.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replaces the file if it exists.
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Lists who changed the model when, the newest first.
    History {
        /// How many changes at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Shows one change instead: each entity as it was and as it is.
        #[arg(long, value_name = "NUMBER", conflicts_with = "limit")]
        revision: Option<i64>,
    },
    /// Accounts: removing one.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Approvals: who waits to be let in by somebody of the machine's own company, and the answer.
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// Service cases: opening and closing them, and for how long they let the service provider in.
    Case(CaseArgs),
    /// Audit trails of devices.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Lists what somebody should look at, such as two machines with one device's key.
    Alarms {
        #[command(subcommand)]
        command: Option<AlarmsCommand>,
    },
    /// Devices: enrolment codes, keys and the state of links.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Secrets of devices, such as the password of a panel: setting, listing, removing. None is ever shown.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Invitations: asking somebody to join with an access level and an end, again, and not any more.
    Invitation(InvitationArgs),
    /// Locks: denies at once on devices, without a change of the model, until it is lifted.
    #[command(subcommand)]
    Lock(LockCommand),
    /// Mail: trying out what `mail.toml` in the state directory says.
    #[command(subcommand)]
    Mail(MailCommand),
    /// Users: invitations, listing, disabling.
    #[command(subcommand)]
    User(UserCommand),
    /// Reads `sso.toml` and asks each identity provider that it names.
    Providers,
    /// Tokens for the API: making, listing, taking back.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Roots: who may sign what. All but `publish` work on files, away from the hub.
    #[command(subcommand)]
    Root(RootCommand),
    /// Runs the hub until SIGTERM or SIGINT. Its first line of output says where it listens.
    Serve {
        /// Listens here instead of where `init` said.
        #[arg(long)]
        listen: Option<SocketAddr>,
        /// Answers the administration API (HTTP) here, such as `127.0.0.1:7480`; not at all if not given. An address of this
        /// machine alone: a proxy that speaks TLS stands before it.
        #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
        api: Option<SocketAddr>,
        /// Answers programs that watch here, such as `127.0.0.1:7490`: `/metrics`, `/healthz`, `/readyz` (HTTP, without a token);
        /// not at all if not given. An address of this machine alone, or of a network that is yours.
        #[arg(long, value_name = "ADDRESS")]
        metrics: Option<SocketAddr>,
        /// Sends devices there on SIGTERM: another hub of this installation, at an address that `init --advertise` has named. They
        /// come back here if not given.
        #[arg(long, value_name = "ADDRESS")]
        drain_to: Option<SocketAddr>,
        #[command(flatten)]
        relay: ServedRelay,
        #[command(flatten)]
        cluster: Clustered,
    },
    /// Has the running hub end without a crowd at its door: devices are told when to come back, requests are answered, then it ends.
    Drain {
        /// Where devices go: another hub of this installation, at an address that `init --advertise` has named. They come back to
        /// this one if not given.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<SocketAddr>,
    },
    /// Further hubs of this installation, without its model.
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// Relays packets for a hub that runs elsewhere, and does nothing else.
    Relay {
        /// Where it listens for UDP.
        #[arg(long)]
        listen: SocketAddr,
        /// Where it listens for TLS over TCP. Without it only UDP is relayed.
        #[arg(long)]
        tls: Option<SocketAddr>,
        /// The hub's `relay.key`, in a file that nobody else may read.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Answers programs that watch here, as `serve --metrics` does.
        #[arg(long, value_name = "ADDRESS")]
        metrics: Option<SocketAddr>,
    },
    /// Shows the installation as a whole.
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Removes an account with its users, groups and places. Its devices go to the account that it was nested in, closed.
    Remove {
        /// The account's name.
        name: String,
        /// Shows the plan and changes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Removes it without asking.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MailCommand {
    /// Sends a letter to an address, and says what came of it.
    Test {
        /// The address, such as `jo@example.com`.
        address: MailAddress,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmsCommand {
    /// Clears the alarms of a device, once somebody has looked.
    Clear {
        /// The device's name.
        device: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a token for a user, and shows it this once. Whoever has it may do what the user may, in the API and nowhere else.
    New {
        /// The user's name.
        user: String,
        /// What it is for, for those who list it.
        #[arg(long = "for", value_name = "TEXT", default_value = "")]
        label: String,
        /// For how many days it is good.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
        /// It reads and changes nothing, whatever its user may.
        #[arg(long)]
        reads_only: bool,
    },
    /// Lists all tokens, without their secrets.
    List,
    /// Takes a token back.
    Revoke {
        /// Its number.
        number: i64,
    },
}

/// What is reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reviewed {
    /// All that a user can reach.
    User,
    /// All who can reach a device.
    Device,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Fleet {
    /// The fleet file.
    #[arg(value_name = "FLEET")]
    pub(crate) file: PathBuf,
    /// Changes one value of the file before it is read, such as
    /// `device.press-7.service.hmi.target=127.0.0.1:5900`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<Override>,
}

const EXIT_CODES: &str = "\
Environment:
  POSTERN_LOG  how much `serve` logs: error, warn, info (as by default), debug, trace

Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  the fleet file was refused; nothing was applied
  4  the plan needs a confirmation that nobody gave, or somebody else changed the model meanwhile; nothing was applied
  5  the state directory is missing, damaged or unsafe
  6  another hub runs on this state directory
  7  there is no such account, user, device, service, case, secret, key, token, provider or revision
  8  the device's key is another one than was named, or not in a state for this; nothing was changed
  9  the audit trail was changed, or is not complete
  10  another hub serves this installation now, or the database that says who does was away for too long";
