//! What each command does, and how it answers.
//!
//! 1. A command returns an [`Answer`]: text for people and the same in JSON.
//! 2. Errors are one enum; each has an exit code that `--help` documents.
//! 3. Commands that publish tell a running hub at once.

mod account;
mod alarms;
mod apply;
mod approval;
mod arrival;
mod audit;
mod case;
mod change;
mod cluster;
mod cuts;
mod device;
mod drain;
mod edge;
mod explain;
mod export;
mod history;
mod init;
mod invitation;
mod lock;
mod mail;
mod plan;
mod progress;
mod relay;
mod remedy;
mod review;
mod roles;
mod root;
mod secret;
mod serve;
mod setup;
mod sso;
mod standby;
mod status;
mod table;
mod token;
mod user;
mod words;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::trust::Fingerprint;
use postern_protocol::trust::sealed::{PlaintextFault, SealFault};
use postern_protocol::wire::invitation::{Invitation, Invitee};

use self::edge::EdgeFileError;
use crate::administration::Refused;
use crate::approval::ApprovalError;
use crate::args::{
    AccountCommand, AlarmsCommand, Args, AuditCommand, CaseArgs, Command, DeviceCommand, EdgeCommand,
    InvitationArgs, MailCommand, SecretCommand, UserCommand,
};
use crate::case::CaseError;
use crate::cluster::edge_file;
use crate::explain::ExplainError;
use crate::fleet::{Complaint, Cut, Place, Unwritable};
use crate::invitation::{self as invitations, InvitationError};
use crate::keys::{FoundError, KeyFileError, Origin};
use crate::mail::{SendError, SettingsError};
use crate::model::{Bereft, EntityKind, Model, RemoveFault};
use crate::nearest::nearest;
use crate::publish::{PublishError, Publisher};
use crate::signer::SignerError;
use crate::sso::ConfigError;
use crate::store::{Store, StoreError, Tx};
use crate::trail::{ExportError, VerifyError};

/// What a command has to say.
pub(crate) struct Answer {
    text: String,
    json: Value,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the fleet file was refused and nothing was applied:\n{}", lines(file, complaints))]
    Fleet { file: PathBuf, complaints: Vec<Complaint> },
    #[error("this needs a confirmation: look at the plan and run it again with `--yes`; nothing was applied")]
    Unconfirmed,
    #[error("not confirmed; nothing was applied")]
    Declined,
    #[error(
        "the model was changed by somebody else meanwhile; look at the plan again and repeat; nothing was applied"
    )]
    Overtaken,
    #[error("{}; nothing was applied", bereft(.0))]
    Bereft(Vec<Bereft>),
    #[error("revision {0} changed nothing of the model, or is not there; `postern-cloud history` lists all")]
    NoChange(i64),
    #[error("there is no token {0}; `postern-cloud token list` shows all")]
    NoToken(i64),
    #[error(transparent)]
    Found(#[from] FoundError),
    #[error("`--advertise ADDRESS` is needed: {listen} does not say where devices and users reach the hub")]
    NoAdvertise { listen: SocketAddr },
    #[error(
        "no address is known under which the hub can be reached: run `postern-cloud serve` once, or found the \
         installation with `--advertise`"
    )]
    NoAddress,
    #[error(transparent)]
    MailSettings(#[from] SettingsError),
    #[error("mail is not configured: there is no `mail.toml` in the state directory")]
    NoMail,
    #[error(transparent)]
    Mail(#[from] SendError),
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    #[error("a scope is `KIND=NAME`, such as `device=press-7`, or a table as in a fleet file: {0}")]
    Scope(String),
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error(transparent)]
    Root(#[from] root::RootError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Trail(#[from] VerifyError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("device `{0}` has sent no rows of a trail yet; nothing was written")]
    NoTrail(Name),
    #[error("no row of a trail is about a service `{name}`{}", hint(nearest.as_deref()))]
    NoRows { name: String, nearest: Option<String> },
    #[error(transparent)]
    Explain(#[from] ExplainError),
    #[error(transparent)]
    Remove(#[from] RemoveFault),
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    #[error("`{}` exists; `--force` replaces it", .0.display())]
    Exists(PathBuf),
    #[error("a user and a device are called `{0}`; say which one with `--kind user` or `--kind device`")]
    Ambiguous(String),
    #[error("there is no user or device `{name}` in the model{}", hint(nearest.as_deref()))]
    NoSubject { name: String, nearest: Option<String> },
    #[error("there is no {kind} `{name}` in the model{}", hint(nearest.as_deref()))]
    Unknown { kind: EntityKind, name: String, nearest: Option<String> },
    #[error("user `{0}` is disabled; `postern-cloud user enable {0}` lifts it")]
    Disabled(Name),
    #[error(
        "the key of `{device}` has the fingerprint {seen}, not {typed}; if that is what the device prints, type it \
         again; if not, somebody else has used the code: `postern-cloud device reject {device}`; nothing was changed"
    )]
    Fingerprint { device: Name, seen: Fingerprint, typed: Fingerprint },
    #[error("no key of `{0}` awaits confirmation; `postern-cloud device list` shows how it stands")]
    NotWaiting(Name),
    #[error("`{0}` is in service; `postern-cloud device decommission {0}` puts it out of it")]
    NotRetired(Name),
    #[error(
        "user `{user}` has no key {fingerprint}; `postern-cloud user keys {user}` lists those that can be withdrawn; \
         nothing was changed"
    )]
    NoKey { user: Name, fingerprint: Fingerprint },
    #[error(transparent)]
    Sso(#[from] ConfigError),
    #[error("{table}not every provider that is set up answers as it must: {}", list(providers))]
    NoAnswer { table: String, providers: Vec<Name> },
    #[error("{}", no_provider(name.as_ref(), known))]
    NoProvider { name: Option<Name>, known: Vec<Name> },
    #[error(
        "`sso.toml` lets `{provider}` vouch for other accounts than that of `{user}`; nothing was changed"
    )]
    NotFor { user: Name, provider: Name },
    #[error("`{subject}` of `{provider}` is linked to another user; nothing was changed")]
    Taken { subject: String, provider: Name },
    #[error("user `{0}` is linked to no identity; nothing was changed")]
    NotLinked(Name),
    #[error("{kind} `{name}` is not locked there; `postern-cloud lock list` says what is")]
    NotLocked { kind: &'static str, name: Name },
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("remote access needs an end: say `--for 4h` or `--until TIME`")]
    NoEnd,
    #[error("a case is about a machine or a device: say `--machine NAME` or `--device NAME`")]
    NoPlace,
    #[error(
        "`{}` is the state directory of an edge, which has no model; run this on the hub that has it", .0.display()
    )]
    Edge(PathBuf),
    #[error("`{}` exists, and keys are never overwritten; name a directory that does not", .0.display())]
    EdgeExists(PathBuf),
    #[error("an edge takes what it serves from NATS: say where with `--nats URL`")]
    EdgeAlone,
    #[error("an edge has no model to administrate: `--api` is for the hub that has it")]
    EdgeApi,
    #[error(transparent)]
    EdgeFile(#[from] EdgeFileError),
    #[error(transparent)]
    Bus(#[from] crate::cluster::BusError),
    #[error("another hub runs on `{0}`")]
    Running(PathBuf),
    #[error("this hub serves no longer, because another one may: {0}")]
    Superseded(StoreError),
    #[error("{what}: {error}")]
    Io { what: &'static str, error: std::io::Error },
    #[error(transparent)]
    Bind(#[from] postern_transport::quic::BindError),
    #[error(transparent)]
    Relay(crate::relay::RelayError),
    #[error("no hub runs on this state directory")]
    NoHub,
    #[error("the hub that runs is of a version that cannot drain; SIGTERM ends it")]
    NoDrain,
    #[error(
        "devices know no hub at {to}, so they would not go there; those that they know are {}",
        known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotAdvertised { to: std::net::SocketAddr, known: Vec<std::net::SocketAddr> },
    #[error("the time span cannot be negative")]
    NegativeSpan,
    #[error("device `{0}` is not enrolled, so it has no key; `postern-cloud device add {0}` begins that")]
    NotEnrolled(Name),
    #[error(
        "device `{0}` has announced no key to which a secret could be sealed; bring it online once, with the agent of \
         this version"
    )]
    NoSealingKey(Name),
    #[error(
        "device `{device}` has no secret `{name}`; `postern-cloud secret list {device}` shows those that it has"
    )]
    NoSecret { device: Name, name: Name },
    #[error("device `{0}` has {max} secrets, which is all that fit; remove one first", max = limits::SECRETS)]
    TooManySecrets(Name),
    #[error(transparent)]
    Plaintext(#[from] PlaintextFault),
    #[error(transparent)]
    Seal(#[from] SealFault),
    #[error("there is no terminal to ask for the secret; `--stdin` reads it from standard input")]
    NoTerminal,
    #[error(
        "the model is not empty: {users} users, {devices} devices; `setup` begins one. `postern-cloud export --output FILE` \
         writes the present one, to be changed and applied"
    )]
    NotEmpty { users: usize, devices: usize },
    #[error("the answers ended before the last question; nothing was written and nothing was applied")]
    Unanswered,
    #[error("interrupted; nothing was set")]
    Interrupted,
    #[error("the two secrets differ; nothing was set")]
    SecretsDiffer,
}

impl CommandError {
    fn code(&self) -> u8 {
        match self {
            Self::Fleet { .. } | Self::Bereft(_) => 3,
            Self::Unconfirmed | Self::Unanswered | Self::Declined | Self::Overtaken => 4,
            Self::NoAdvertise { .. }
            | Self::NoEnd
            | Self::NoPlace
            | Self::NegativeSpan
            | Self::Ambiguous(_)
            | Self::Scope(_)
            | Self::NotAdvertised { .. }
            | Self::EdgeAlone
            | Self::EdgeApi
            | Self::NoTerminal => 2,
            Self::Key(_)
            | Self::Store(_)
            | Self::Signer(_)
            | Self::MailSettings(_)
            | Self::Edge(_)
            | Self::EdgeFile(_)
            | Self::Sso(_) => 5,
            Self::Found(error) => match error {
                FoundError::Exists(_) | FoundError::Store(StoreError::Database(_)) => 5,
                FoundError::Threshold { .. } => 2,
                FoundError::BadPath(_)
                | FoundError::Root(_)
                | FoundError::NotFirst(_)
                | FoundError::Exchange(_)
                | FoundError::Io { .. }
                | FoundError::Key(_)
                | FoundError::Envelope(_)
                | FoundError::Left { .. }
                | FoundError::Store(_) => 1,
            },
            Self::Root(error) => error.code(),
            Self::Publish(error)
            | Self::Approval(ApprovalError::Publish(error))
            | Self::Case(CaseError::Refused(Refused::Publish(error))) => match error {
                PublishError::Store(_) | PublishError::Signer(_) => 5,
                PublishError::Compile(_)
                | PublishError::Size { .. }
                | PublishError::Form { .. }
                | PublishError::Seal { .. }
                | PublishError::Exhausted { .. }
                | PublishError::Ahead { .. } => 1,
            },
            Self::Approval(error) => match error {
                ApprovalError::Span | ApprovalError::Reason => 2,
                ApprovalError::Unknown(_) | ApprovalError::Code => 7,
                ApprovalError::Store(_) => 5,
                ApprovalError::Nothing
                | ApprovalError::Nobody
                | ApprovalError::TooMany
                | ApprovalError::Decided { .. }
                | ApprovalError::Publish(_) => 1,
            },
            Self::Case(error) => match error {
                CaseError::Window { .. } | CaseError::Name(_) => 2,
                CaseError::Store(_) | CaseError::Refused(Refused::Store(_)) => 5,
                CaseError::Refused(Refused::Unknown { .. }) => 7,
                CaseError::Absent(_) | CaseError::Refused(_) => 1,
            },
            Self::Invitation(error) => match error {
                InvitationError::Span
                | InvitationError::Over(_)
                | InvitationError::NoAccount(_)
                | InvitationError::Subject(_)
                | InvitationError::Name(_) => 2,
                InvitationError::Store(_)
                | InvitationError::Signer(_)
                | InvitationError::Refused(Refused::Store(_)) => 5,
                InvitationError::None(_) | InvitationError::Refused(Refused::Unknown { .. }) => 7,
                InvitationError::Accepted(_)
                | InvitationError::Disabled(_)
                | InvitationError::Other(_)
                | InvitationError::Absent(_)
                | InvitationError::NoAddress
                | InvitationError::Refused(_) => 1,
            },
            Self::Trail(VerifyError::Fault { .. }) => 9,
            Self::Trail(VerifyError::Io(_)) => 1,
            Self::Export(error) => match error {
                ExportError::Store(_) => 5,
                ExportError::Seal(_) | ExportError::Io(_) => 1,
            },
            Self::Running(_) => 6,
            Self::Superseded(_) => 10,
            Self::Unknown { .. }
            | Self::NoSubject { .. }
            | Self::NoSecret { .. }
            | Self::NoKey { .. }
            | Self::NoProvider { .. }
            | Self::NoRows { .. } => 7,
            Self::Fingerprint { .. } | Self::NotWaiting(_) | Self::NotEnrolled(_) | Self::NotRetired(_) => 8,
            Self::NoToken(_) | Self::NoChange(_) => 7,
            Self::Explain(error) => match error {
                ExplainError::Unknown { .. } | ExplainError::NoService { .. } => 7,
                ExplainError::Compile(_)
                | ExplainError::Seal(_)
                | ExplainError::Verify(_)
                | ExplainError::Key(_) => 1,
            },
            Self::Remove(error) => match error {
                RemoveFault::Unknown { .. } => 7,
                RemoveFault::Nested { .. } | RemoveFault::Devices { .. } | RemoveFault::Denied { .. } => 1,
            },
            Self::Bus(_)
            | Self::NoAddress
            | Self::NoMail
            | Self::Mail(_)
            | Self::NotEmpty { .. }
            | Self::NoTrail(_)
            | Self::NoSealingKey(_)
            | Self::TooManySecrets(_)
            | Self::Plaintext(_)
            | Self::Seal(_)
            | Self::SecretsDiffer
            | Self::Interrupted
            | Self::Disabled(_)
            | Self::NotLocked { .. }
            | Self::NotFor { .. }
            | Self::Taken { .. }
            | Self::NotLinked(_)
            | Self::NoAnswer { .. }
            | Self::Unwritable(_)
            | Self::Exists(_)
            | Self::EdgeExists(_)
            | Self::Io { .. }
            | Self::Bind(_)
            | Self::NoHub
            | Self::NoDrain
            | Self::Relay(_) => 1,
        }
    }

    fn json(&self) -> Value {
        let mut body = json!({ "error": self.to_string(), "exit_code": self.code() });
        if let (Self::Fleet { file, complaints }, Some(body)) = (self, body.as_object_mut()) {
            let file = file.display().to_string();
            let complaints: Vec<Value> =
                complaints.iter().map(|complaint| placed(complaint, &file)).collect();
            body.insert("complaints".to_owned(), json!(complaints));
        }
        body
    }
}

/// Runs a command and prints what it says.
pub(crate) fn run(args: Args) -> ExitCode {
    let json = args.json;
    match dispatch(args) {
        Ok(answer) => {
            let text = if json { format!("{}\n", answer.json) } else { answer.text };
            // Whoever reads may have gone; the work is done all the same.
            let _gone = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = if json { error.json().to_string() } else { format!("postern-cloud: {error}") };
            let _gone = writeln!(std::io::stderr().lock(), "{text}");
            ExitCode::from(error.code())
        }
    }
}

fn dispatch(args: Args) -> Result<Answer, CommandError> {
    let state = args.state.as_path();
    match args.command {
        Command::Init { listen, advertise, root: Some(root), keys, database, .. } => {
            let origin = Origin::Ceremony { root: root::founding(&root)?, keys: root::given(&keys)? };
            init::run(state, listen, advertise, origin, database.file())
        }
        Command::Init { listen, advertise, root: None, root_keys, root_threshold, database, .. } => {
            let origin = Origin::Here { keys: root_keys, threshold: root_threshold };
            init::run(state, listen, advertise, origin, database.file())
        }
        Command::Check { fleet } => apply::check(&fleet),
        Command::Apply { fleet, dry_run, yes } => {
            apply::run(state, &fleet, change::Mode { dry_run, yes, json: args.json })
        }
        Command::Diff { fleet } => apply::diff(state, &fleet),
        Command::Explain { user, device, service, at, second_factor_age, offline } => {
            explain::run(state, &explain::Asked { user, device, service, at, second_factor_age, offline })
        }
        Command::Review { name, kind, at } => review::run(state, &name, kind, at),
        Command::Roles { name } => roles::run(state, name.as_deref()),
        Command::Export { output, force } => export::run(state, output.as_deref(), force),
        Command::History { revision: Some(number), .. } => history::show(state, number),
        Command::History { limit, revision: None } => history::run(state, limit),
        Command::Account(AccountCommand::Remove { name, dry_run, yes }) => {
            account::remove(state, &name, change::Mode { dry_run, yes, json: args.json })
        }
        Command::Approval(command) => approval::run(state, command),
        Command::Case(CaseArgs { by, command }) => case::run(state, by.as_ref(), command),
        Command::Audit(AuditCommand::List(asked)) => audit::list::run(state, &asked),
        Command::Audit(AuditCommand::Export(asked)) => audit::export::run(state, &asked),
        Command::Audit(AuditCommand::Readings { limit }) => audit::readings(state, limit),
        Command::Audit(AuditCommand::Verify { file, root }) => audit::verify(state, &file, root.as_deref()),
        Command::Alarms { command: None } => alarms::list(state),
        Command::Alarms { command: Some(AlarmsCommand::Clear { device }) } => alarms::clear(state, &device),
        Command::Device(DeviceCommand::Add { name, confirm_key }) => device::add(state, &name, confirm_key),
        Command::Device(DeviceCommand::Confirm { name, fingerprint }) => {
            device::confirm(state, &name, fingerprint)
        }
        Command::Device(DeviceCommand::Reject { name }) => device::reject(state, &name),
        Command::Device(DeviceCommand::RotateKey { name }) => device::rotate_key(state, &name),
        Command::Device(DeviceCommand::Decommission { name, forget }) => {
            device::decommission(state, &name, forget)
        }
        Command::Device(DeviceCommand::Recommission { name }) => device::recommission(state, &name),
        Command::Device(DeviceCommand::List) => device::list(state),
        Command::Device(DeviceCommand::Cuts { name }) => cuts::run(state, name.as_deref()),
        Command::Secret(SecretCommand::Set { device, name, stdin }) => {
            secret::set(state, &device, &name, stdin)
        }
        Command::Secret(SecretCommand::List { device }) => secret::list(state, device.as_deref()),
        Command::Secret(SecretCommand::Remove { device, name }) => secret::remove(state, &device, &name),
        Command::Invitation(InvitationArgs { by, command }) => invitation::run(state, by.as_ref(), command),
        Command::Mail(MailCommand::Test { address }) => mail::test(state, address),
        Command::Lock(command) => lock::run(state, command),
        Command::User(UserCommand::Invite { name }) => user::invite(state, &name),
        Command::User(UserCommand::List) => user::list(state),
        Command::User(UserCommand::Disable { name }) => user::set_disabled(state, &name, true),
        Command::User(UserCommand::SignOut { name }) => user::sign_out(state, &name),
        Command::User(UserCommand::Keys { name }) => user::keys(state, &name),
        Command::User(UserCommand::WithdrawKey { name, fingerprint }) => {
            user::withdraw_key(state, &name, fingerprint)
        }
        Command::User(UserCommand::Enable { name }) => user::set_disabled(state, &name, false),
        Command::User(UserCommand::Link { name, subject, provider }) => {
            sso::link(state, &name, provider.as_ref(), &subject)
        }
        Command::User(UserCommand::Unlink { name }) => sso::unlink(state, &name),
        Command::Providers => sso::check(state),
        Command::Root(command) => root::run(state, command),
        Command::Token(command) => token::run(state, command),
        Command::Serve { listen, api, metrics, drain_to, relay, cluster } => {
            serve::run(state, &serve::Places { listen, api, metrics, drain_to, relay }, cluster, args.json)
        }
        Command::Edge(EdgeCommand::New { directory, listen, primary }) => {
            edge::new(state, &directory, listen, primary)
        }
        Command::Drain { to } => drain::run(state, to),
        Command::Relay { listen, tls, key, metrics } => {
            relay::run(&relay::Places { listen, tls, metrics }, &key, args.json)
        }
        Command::Setup { output } => setup::run(state, &output, args.json),
        Command::Status => status::run(state),
    }
}

fn list(names: &[Name]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn no_provider(name: Option<&Name>, known: &[Name]) -> String {
    match (name, known) {
        (_, []) => "`sso.toml` in the state directory names no identity provider".to_owned(),
        (None, known) => format!("say which provider with `--provider`: {}", list(known)),
        (Some(name), known) => format!("`sso.toml` names no provider `{name}`; there is {}", list(known)),
    }
}

/// The state of an installation. An edge has only a replica of it, which no command but `serve` has business with.
fn open(state: &Path) -> Result<Store, CommandError> {
    if edge_file(state).exists() { Err(CommandError::Edge(state.to_owned())) } else { open_any(state) }
}

fn open_any(state: &Path) -> Result<Store, CommandError> {
    Ok(Store::of(state)?)
}

fn publisher(state: &Path, tx: &Tx<'_>) -> Result<Publisher, CommandError> {
    Ok(Publisher::open(state, tx)?)
}

/// A name that somebody typed, if the model has it.
fn known(model: &Arc<Model>, kind: EntityKind, name: &str) -> Result<Name, CommandError> {
    known_among(model.names(kind), kind, name)
}

/// A name that somebody typed, if it is one of `names`.
fn known_among(names: Vec<&Name>, kind: EntityKind, name: &str) -> Result<Name, CommandError> {
    match names.iter().find(|known| known.as_str() == name) {
        Some(known) => Ok((*known).clone()),
        None => {
            let nearest = nearest(name, names.into_iter().map(Name::as_str)).map(str::to_owned);
            Err(CommandError::Unknown { kind, name: Cut(name).to_string(), nearest })
        }
    }
}

/// A fresh code for an invitee, with everything that it needs to reach this hub and to know it.
fn invitation(state: &Path, tx: &Tx<'_>, invitee: Invitee) -> Result<Invitation, CommandError> {
    let drawn = invitations::draw(tx, publisher(state, tx)?.signer(), invitee);
    if matches!(drawn, Err(InvitationError::NoAddress)) {
        return Err(CommandError::NoAddress);
    }
    Ok(drawn?)
}

/// Who runs this command, for the log of revisions: a name from the environment, harmless and short, or else the user
/// that the system knows.
fn operator() -> String {
    let named = ["SUDO_USER", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    match named.filter(|name| !name.is_empty()) {
        Some(name) => Cut(&name).to_string(),
        None => std::fs::metadata("/proc/self")
            .map_or_else(|_| "unknown".to_owned(), |process| format!("uid {}", process.uid())),
    }
}

/// A complaint for programs: its place in parts, what a person would read as one line, and the fault by itself.
fn placed(complaint: &Complaint, file: &str) -> Value {
    let (line, column, number) = match complaint.place {
        Place::File => (None, None, None),
        Place::At { line, column } => (Some(line), Some(column), None),
        Place::Override { number } => (None, None, Some(number)),
    };
    json!({
        "file": complaint.file.as_deref().unwrap_or(file),
        "line": line,
        "column": column,
        "override": number,
        "key": complaint.key,
        "message": complaint.fault.to_string(),
        "text": complaint.line(file),
    })
}

fn lines(file: &Path, complaints: &[Complaint]) -> String {
    let file = file.display().to_string();
    complaints.iter().map(|complaint| complaint.line(&file)).collect::<Vec<_>>().join("\n")
}

fn bereft(accounts: &[Bereft]) -> String {
    let one = |Bereft { account, administrators }: &Bereft| {
        let were: Vec<String> = administrators.iter().map(|user| format!("`{user}`")).collect();
        let last = if were.len() == 1 { "is the last" } else { "are the last" };
        format!(
            "account `{account}` would have users and no tenant administrator: {} {last}; in the same file, assign \
             `tenant-admin` without an end to one of its users, in a scope that names it",
            were.join(", ")
        )
    };
    accounts.iter().take(plan::SHOWN).map(one).collect::<Vec<_>>().join("\n")
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
