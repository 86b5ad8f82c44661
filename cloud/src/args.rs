//! The command line.

mod case;
mod invitation;
mod root;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use postern_protocol::id::ApprovalId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Fingerprint;

use crate::clock;
use crate::fleet::Override;
use crate::model::MailAddress;
use crate::store::VERDICTS;

pub(crate) use self::case::{CaseArgs, CaseCommand, CaseOpen, CaseSpan};
pub(crate) use self::invitation::{InvitationArgs, InvitationCommand, InvitationNew};
pub(crate) use self::root::{Lifetime, Of, RootCommand, RootInit, RootKeyCommand, RootRotate};

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
    },
    /// Has the running hub end without a crowd at its door: devices are told when to come back, requests are answered, then it ends.
    Drain {
        /// Where devices go: another hub of this installation, at an address that `init --advertise` has named. They come back to
        /// this one if not given.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<SocketAddr>,
    },
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

/// The relay in a hub, where users and devices meet that cannot reach each other. It reads nothing of what it passes on.
#[derive(Debug, clap::Args)]
pub(crate) struct ServedRelay {
    /// Where the relay listens for UDP. Two ports after the hub's (7442) unless said otherwise.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) relay: Option<SocketAddr>,
    /// Where it listens for TLS over TCP, also for the hub itself. The hub's own port unless said otherwise.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_relay")]
    pub(crate) tls: Option<SocketAddr>,
    /// A relay that runs elsewhere with this hub's `relay.key`, for UDP and TLS on one port; before the hub's own.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) relay_at: Vec<SocketAddr>,
    /// Runs none here.
    #[arg(long, conflicts_with = "relay")]
    pub(crate) no_relay: bool,
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
pub(crate) enum ApprovalCommand {
    /// Lists requests that wait and what is approved, the open ones first.
    List {
        /// Also what was rejected or revoked, or is over.
        #[arg(long)]
        all: bool,
        /// How many at most.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Approves a request, no further and no longer than it asks.
    Approve {
        /// The request, such as `apr-0123456789abcdef`.
        id: ApprovalId,
        /// To look only.
        #[arg(long)]
        view_only: bool,
        /// For how long, such as `2h`; as long as was asked for if not given.
        #[arg(long = "for", value_name = "TIME", value_parser = clock::parse_span)]
        for_: Option<SignedDuration>,
    },
    /// Says no to a request.
    Reject {
        /// The request.
        id: ApprovalId,
        /// Why, for who asked.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Takes back what was approved. Live tunnels are cut at once.
    Revoke {
        /// The request.
        id: ApprovalId,
        /// Why, for who asked.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists rows of all devices, oldest first: the newest ones that match. That somebody looked is noted.
    List(AuditList),
    /// Writes the whole trail of a device into a file that `audit verify` verifies, or what concerns one account into a file that names
    /// nobody else. That somebody did is noted.
    Export(AuditExport),
    /// Lists who has read of the trail, the newest reading first.
    Readings {
        /// How many readings at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Verifies an exported trail by public keys alone, and names the first row that is wrong.
    Verify {
        /// The export.
        file: PathBuf,
        /// The root file that is trusted; roots of the export after it are followed. The first root in `--state` if not given.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
    },
}

/// Which rows are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditList {
    /// Only those about this user, by name or id; also one who has left.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only those of this device.
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Only those about services of this name.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only those that come to this: also requests and flows inside of a tunnel are permitted, denied, failed or closed.
    #[arg(long, value_name = "WORD", value_parser = PossibleValuesParser::new(VERDICTS), hide_possible_values = true)]
    pub(crate) verdict: Option<String>,
    /// Only those of this time or later: in RFC 3339, or how long ago, such as `2h`.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past)]
    pub(crate) from: Option<UnixTime>,
    /// Only those before this time.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past)]
    pub(crate) until: Option<UnixTime>,
    /// Rows at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// What is exported, and where to.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["device", "account"]))]
pub(crate) struct AuditExport {
    /// The device whose whole trail is exported.
    pub(crate) device: Option<String>,
    /// The account for which a report is written: rows of its devices, and of those of accounts nested in it, while they were.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Of a report only rows of this time or later: in RFC 3339, or how long ago, such as `720h`.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past, conflicts_with = "device")]
    pub(crate) from: Option<UnixTime>,
    /// Of a report only rows before this time.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past, conflicts_with = "device")]
    pub(crate) until: Option<UnixTime>,
    /// The file to write, which nobody else may read.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replaces the file if it exists.
    #[arg(long)]
    pub(crate) force: bool,
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
pub(crate) enum LockCommand {
    /// Locks a user, a device or an access category. Live tunnels are cut at once.
    Add {
        /// What it is.
        #[arg(value_enum)]
        what: Lockable,
        /// Its name.
        name: String,
        /// On this device only; a user or a category is locked on every device if not given.
        #[arg(long, value_name = "DEVICE")]
        on: Option<String>,
        /// Why, for those who list it.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Lists what is locked, and which devices know it.
    List,
    /// Lifts a lock by a new policy. Rights come back for new tunnels; what was cut stays cut.
    Lift {
        /// What it is.
        #[arg(value_enum)]
        what: Lockable,
        /// Its name.
        name: String,
        /// On this device only, as it was locked.
        #[arg(long, value_name = "DEVICE")]
        on: Option<String>,
    },
}

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lockable {
    /// A user.
    User,
    /// A whole device.
    Device,
    /// An access category.
    Category,
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

/// An address that only this machine can reach.
fn loopback(text: &str) -> Result<SocketAddr, LoopbackFault> {
    let address: SocketAddr = text.parse()?;
    if address.ip().is_loopback() { Ok(address) } else { Err(LoopbackFault::Reachable) }
}

/// Why the API is not answered somewhere.
#[derive(Clone, Debug, thiserror::Error)]
enum LoopbackFault {
    /// No address.
    #[error(transparent)]
    Address(#[from] std::net::AddrParseError),
    /// Others could read the tokens on the way.
    #[error(
        "others can reach this address, and tokens would pass without TLS; take one such as 127.0.0.1:7480 and put a proxy that \
         speaks TLS before it"
    )]
    Reachable,
}

/// What is reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reviewed {
    /// All that a user can reach.
    User,
    /// All who can reach a device.
    Device,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Prints an enrolment code for a device of the model: single use, for 24 hours.
    Add {
        /// The device's name.
        name: String,
        /// Denies everything on the device until the fingerprint of its key was confirmed.
        #[arg(long)]
        confirm_key: bool,
    },
    /// Confirms the key of a device that awaits it: the device gets its policy.
    Confirm {
        /// The device's name.
        name: String,
        /// What the device prints, read to you by somebody who stands before it.
        fingerprint: Fingerprint,
    },
    /// Forgets a key that awaits confirmation.
    Reject {
        /// The device's name.
        name: String,
    },
    /// Asks a device for a new key. The present one works until the new one is in use.
    RotateKey {
        /// The device's name.
        name: String,
    },
    /// Puts a device out of service: it ends all tunnels and forgets its users and services, and keeps its key.
    Decommission {
        /// The device's name.
        name: String,
        /// Forgets the device's key as well, once it has acknowledged: it can only come back with a new code.
        #[arg(long)]
        forget: bool,
    },
    /// Brings a device back into service.
    Recommission {
        /// The device's name.
        name: String,
    },
    /// Lists devices with what is in force on them.
    List,
    /// Lists when devices cut tunnels, because of what, and how soon nothing passed any more; each row was signed by its device.
    Cuts {
        /// The name of one device; all if not given.
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Seals a secret to a device, which alone can open it; asks for it twice.
    Set {
        /// The device's name.
        device: String,
        /// The secret's name, by which services of the device refer to it.
        name: Name,
        /// Reads the first line of standard input instead.
        #[arg(long)]
        stdin: bool,
    },
    /// Lists secrets: for which device and key, since when, and whether they are stale.
    List {
        /// Only those of this device.
        device: Option<String>,
    },
    /// Removes a secret from a device.
    Remove {
        /// The device's name.
        device: String,
        /// The secret's name.
        name: Name,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Prints an invitation for a user of the model: single use, for three days. Accepting it resets the user's
    /// password, one-time codes and keys.
    Invite {
        /// The user's name.
        name: String,
    },
    /// Lists users.
    List,
    /// Refuses a user on every device, at once, and signs the user out everywhere.
    Disable {
        /// The user's name.
        name: String,
    },
    /// Signs a user out everywhere: every pass signed until now is worthless, and tunnels that rest on one are cut.
    SignOut {
        /// The user's name.
        name: String,
    },
    /// Lists the keys of a user, one for each computer on which the user has signed in.
    Keys {
        /// The user's name.
        name: String,
    },
    /// Withdraws one key of a user, such as that of a lost computer: what it opened is cut, and the user's other keys live on.
    WithdrawKey {
        /// The user's name.
        name: String,
        /// The key's fingerprint, as `user keys` lists it and `postern status` shows it on that computer.
        fingerprint: Fingerprint,
    },
    /// Lifts a `disable`.
    Enable {
        /// The user's name.
        name: String,
    },
    /// Lets a user sign in as somebody at an identity provider, and in no other way: a password is worth nothing any more.
    Link {
        /// The user's name.
        name: String,
        /// Who that is there: the subject (`sub`) of its ID tokens, and no address of e-mail.
        #[arg(long)]
        subject: String,
        /// The provider's name in `sso.toml`; may be left out where there is one alone.
        #[arg(long, value_name = "NAME")]
        provider: Option<Name>,
    },
    /// Takes a user's identity away, and signs the user out everywhere; an invitation lets the user in again.
    Unlink {
        /// The user's name.
        name: String,
    },
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
  9  the audit trail was changed, or is not complete";
