//! One line for whatever went wrong: what and why, what to do next, and who can change it.
//!
//! Each boundary has its own error type; here, and only here, they become words and an exit code.

#[cfg(target_os = "linux")]
mod adapter;
mod vpn;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use postern_protocol::name::NameFault;
use postern_protocol::policy::Reason;
use postern_protocol::policy::reason::Lifter;
use postern_protocol::recording::Fault as RecordingFault;
use postern_protocol::wire::administration::{Decline, Declined};
use postern_protocol::wire::hub::Refusal;
use postern_protocol::wire::invitation::InvitationFault;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::text::readable;
use postern_protocol::wire::tunnel::Holder;

use crate::admin::BodyFault;
use crate::args::ProxyError;
use crate::clock;
use crate::connect::Refused;
use crate::device::DeviceError;
use crate::dial::DialError;
use crate::directory::FindError;
use crate::ending::Ending;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::profile::{FileFault, ProfileError};
use crate::replay::Fault as ReplayFault;
use crate::secret::SecretError;

/// What went wrong, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// How the program ends.
    pub(crate) exit: Exit,
    word: &'static str,
    what: String,
    next: String,
    who: Option<Lifter>,
    /// Where several things are wrong, each by itself.
    lines: Vec<String>,
}

impl Problem {
    fn new(exit: Exit, word: &'static str, what: impl fmt::Display, next: &str) -> Self {
        Self { exit, word, what: what.to_string(), next: next.to_owned(), who: None, lines: Vec::new() }
    }

    /// The device's policy said no.
    pub(crate) fn denied(reason: Reason) -> Self {
        // Whoever the device does not know has to sign in, as on a new computer.
        let exit = if reason == Reason::BadPass { Exit::SignedOut } else { Exit::Denied };
        let problem = Self::new(exit, reason.word(), reason.sentence(), reason.next_step());
        Self { who: Some(reason.lifter()), ..problem }
    }

    /// Somebody else has the place.
    fn occupied(holder: &Holder, may_look: bool) -> Self {
        let role = holder.role.as_ref().map(|role| format!(" (role `{role}`)")).unwrap_or_default();
        let what = format_args!("held by user {}{role} since {}", holder.user, clock::local(holder.since));
        let next = if may_look {
            "look only with `--view-only`, or try again when it is free"
        } else {
            "try again when it is free"
        };
        Self { who: Some(Lifter::Time), ..Self::new(Exit::Denied, Reason::Concurrency.word(), what, next) }
    }

    /// The other side gave a code, or went without one. `lost` is how the program ends then.
    pub(crate) fn ended(ending: &Ending, lost: Exit) -> Self {
        match ending {
            Ending::Said(CloseCode::Denied(reason)) => Self::denied(*reason),
            Ending::Said(CloseCode::Failed(failure)) => Self::failed(*failure),
            Ending::Said(code @ (CloseCode::Done | CloseCode::Fault(_) | CloseCode::Unknown(_))) => {
                Self::new(Exit::Failure, code.word(), code.sentence(), code.next_step())
            }
            Ending::Lost(end) => Self::new(lost, "lost", end, "check the network and try again"),
        }
    }

    /// Permitted, but it could not be done.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self::new(Exit::NotDone, failure.word(), failure.sentence(), failure.next_step())
    }

    /// The local listener.
    pub(crate) fn listener(addr: SocketAddr, error: &io::Error) -> Self {
        let what = format_args!("cannot listen on {addr}: {error}");
        Self::new(Exit::Failure, "listener", what, "choose another port")
    }

    /// A file or directory that the user named.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let what = format_args!("cannot write to `{}`: {error}", path.display());
        Self::new(Exit::Failure, "file", what, "choose another directory")
    }

    /// A recording that is not what it should be.
    pub(crate) fn recording(path: &Path, fault: &RecordingFault) -> Self {
        let (word, next) = match fault {
            RecordingFault::OtherKey { .. } => {
                ("wrong_key", "name the private half of that key with `--key`")
            }
            RecordingFault::Cut { .. } => {
                ("cut", "fetch it again from the device; what came before the cut is genuine")
            }
            RecordingFault::Version { .. } => ("other_version", "use a newer program"),
            RecordingFault::Magic => {
                ("no_recording", "name a file that `postern-agent recording export` wrote")
            }
            RecordingFault::HeaderSize { .. }
            | RecordingFault::Header(_)
            | RecordingFault::Weak
            | RecordingFault::Frame { .. }
            | RecordingFault::Changed { .. }
            | RecordingFault::Events { .. }
            | RecordingFault::Trailing => ("damaged", "fetch it again from the device"),
        };
        let exit = if word == "wrong_key" { Exit::WrongKey } else { Exit::Failure };
        Self::new(exit, word, format_args!("`{}`: {fault}", path.display()), next)
    }

    /// A recording whose machine sent something that is no picture.
    pub(crate) fn unplayable(path: &Path, fault: &ReplayFault) -> Self {
        let what = format_args!("`{}`: {fault}", path.display());
        Self::new(Exit::Failure, "unplayable", what, "what came before it was shown")
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let what = format_args!("cannot read `{}`: {error}", path.display());
        Self::new(Exit::Failure, "file", what, "name another file")
    }

    /// A recording key that cannot be read or made.
    pub(crate) fn recording_key(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        if error.kind() == io::ErrorKind::InvalidData {
            let next = "name the file that `postern replay keygen` wrote";
            return Self::new(Exit::Failure, "no_key", format_args!("`{path}` is no recording key"), next);
        }
        if error.kind() == io::ErrorKind::AlreadyExists {
            let next = "choose another file: a key in use must not be lost";
            return Self::new(Exit::Failure, "file", format_args!("`{path}` exists already"), next);
        }
        Self::new(Exit::Failure, "file", format_args!("`{path}`: {error}"), "name another file")
    }

    /// The runtime of this program did not start.
    pub(crate) fn runtime(error: io::Error) -> Self {
        let what = format_args!("the program could not start: {error}");
        Self::new(Exit::Failure, "runtime", what, "free memory or file descriptors and try again")
    }

    /// Neither an invitation nor an earlier login says where the hub is.
    pub(crate) fn no_hub() -> Self {
        let next = "sign in with your invitation code (`postern login CODE`), or name `--hub`, `--hub-key`, \
                    `--account` and `--user`";
        Self::new(Exit::SignedOut, "no_hub", "this computer knows no hub yet", next)
    }

    /// Nothing on this computer opens such a service.
    pub(crate) fn no_viewer(what: &str) -> Self {
        Self::new(Exit::Failure, "no_viewer", what, "open the printed address by hand")
    }

    /// The connection to a device is gone for the moment.
    pub(crate) fn connecting_again(device: &str) -> Self {
        let what = format_args!("the connection to {device} was lost and is being made again");
        let next = "wait a moment; a page tries again by itself";
        Self::new(Exit::DeviceUnreachable, "connecting_again", what, next)
    }

    /// The far end of a tunnel ended it, or speaks something else than HTTP.
    pub(crate) fn no_answer() -> Self {
        let next = "try again; check that the service is a web page";
        Self::new(Exit::NotDone, "no_answer", "the machine gave no answer that a browser understands", next)
    }

    /// Random bytes for the keys of a local origin.
    pub(crate) fn no_randomness() -> Self {
        let what = "the operating system gives no random bytes for a key";
        Self::new(Exit::Failure, "no_randomness", what, "try again")
    }

    /// A request for approval was left.
    pub(crate) fn waits(id: &str) -> Self {
        let what = format!("request {id} waits for an approval");
        let next = format!(
            "`postern approvals` shows the answer, the same command connects then, and `postern revoke {id}` takes it back"
        );
        Self { who: Some(Lifter::Site), ..Self::new(Exit::Waiting, "waits", what, &next) }
    }

    /// A request for approval came to nothing.
    pub(crate) fn not_approved(how: &str, why: &str) -> Self {
        let because = if why.is_empty() { String::new() } else { format!(": {why}") };
        let what = format!("your request was {how}{because}");
        let next = "talk to the company that runs the device, and ask again with the same command";
        Self { who: Some(Lifter::Site), ..Self::new(Exit::Denied, "not_approved", what, next) }
    }

    /// Somebody has to approve, and nobody says why they should.
    pub(crate) fn no_reason() -> Self {
        let what = "this access needs an approval, and those who give it want to know why";
        Self::new(Exit::Usage, "no_reason", what, "say it with `--reason TEXT`")
    }

    /// The hub does not do that with the model or a case.
    fn declined(declined: &Declined) -> Self {
        let (exit, word, next) = match declined.how {
            Decline::Unknown => {
                (Exit::Unknown, "unknown", "see with `postern admin list` what is there for you")
            }
            Decline::Forbidden => {
                (Exit::Denied, "forbidden", "ask an administrator of your company, or of the one above")
            }
            Decline::Overtaken => {
                (Exit::Overtaken, "overtaken", "look at it again and make your change from what it is now")
            }
            Decline::Conflict => (Exit::Unfit, "conflict", "nothing was changed; correct it and try again"),
            Decline::Unreadable => {
                (Exit::Unfit, "unreadable", "nothing was changed; correct it and try again")
            }
            Decline::TooLarge => (Exit::Unfit, "too_large", "nothing was changed"),
        };
        let lines: Vec<String> = declined.problems.iter().map(|line| readable(line)).collect();
        let what = match lines.as_slice() {
            [line] => line.clone(),
            lines => format!("{} things are wrong:\n  {}\n", lines.len(), lines.join("\n  ")),
        };
        Self { lines, ..Self::new(exit, word, what, next) }
    }

    /// A hub that does not know the request.
    pub(crate) fn earlier_hub(what: &str) -> Self {
        let what = format!("the hub does not understand this: it is of an earlier version, without `{what}`");
        Self::new(Exit::Failure, "earlier_hub", what, "ask whoever runs the hub to update it")
    }

    /// Remote access without an end.
    pub(crate) fn no_end() -> Self {
        let what = "remote access is activated for a time, and no end was given";
        Self::new(Exit::Usage, "no_end", what, "say it with `--for 4h` or `--until TIME`")
    }

    /// What a person gave for an entity or a batch.
    pub(crate) fn body(fault: &BodyFault) -> Self {
        let next = match fault {
            BodyFault::Io { .. } => "name another file, or `-` for standard input",
            BodyFault::TooLarge => "make several batches of it, or use the HTTP API",
            BodyFault::Json { .. } | BodyFault::Toml { .. } | BodyFault::NoTable => {
                "write the keys of a fleet file as TOML, or as a JSON object; `postern admin show` prints one"
            }
        };
        Self::new(Exit::Usage, "bad_body", fault, next)
    }

    /// A hub was named, and nobody to sign in there.
    pub(crate) fn nobody_named() -> Self {
        let what = "a hub was named, and nobody who signs in there";
        Self::new(Exit::Usage, "nobody_named", what, "say `--account PATH --user NAME`, or `--sso`")
    }

    /// A browser, and nothing to do with it.
    pub(crate) fn no_sso() -> Self {
        let what = "`--no-browser` and `--elsewhere` are for who signs in with an identity provider";
        Self::new(Exit::Usage, "no_sso", what, "say `--sso`, or leave them out")
    }

    /// A provider's name that is none.
    pub(crate) fn bad_name(fault: NameFault) -> Self {
        Self::new(Exit::Usage, "bad_name", fault, "ask who runs the hub for the provider's name")
    }

    /// Nothing can come back from a browser.
    pub(crate) fn no_landing(port: u16, error: &std::io::Error) -> Self {
        let place = if port == 0 { String::new() } else { format!(" port {port} of") };
        Self::new(
            Exit::Failure,
            "no_landing",
            format!("a browser could not come back to{place} this computer: {error}"),
            "close what listens there, or sign in with `--elsewhere`",
        )
    }

    /// Ctrl-C before anything was done.
    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Failure, "interrupted", "interrupted", "run the command again when you are ready")
    }

    /// Whether another one-time code may help.
    pub(crate) fn wants_another_code(&self) -> bool {
        self.word == WRONG_CODE
    }

    /// Whether a second factor, used now, may help.
    pub(crate) fn wants_second_factor(&self) -> bool {
        [Reason::SecondFactorRequired, Reason::SecondFactorStale]
            .iter()
            .any(|reason| self.word == reason.word())
    }

    /// What happened, without what to do.
    pub(crate) fn reason(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(crate) fn next_step(&self) -> &str {
        &self.next
    }

    /// Who can change it, where that is known.
    pub(crate) fn who(&self) -> Option<&'static str> {
        self.who.map(Lifter::describe)
    }

    /// Says first what the problem is about.
    pub(crate) fn about(self, subject: &str) -> Self {
        Self { what: format!("{subject}: {}", self.what), ..self }
    }

    /// The same for programs.
    pub(crate) fn for_programs(&self) -> ProblemReport<'_> {
        let error = ProblemFields {
            code: self.exit.number(),
            word: self.word,
            what: &self.what,
            next: &self.next,
            who: self.who(),
            problems: &self.lines,
        };
        ProblemReport { error }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // After several lines the next step stands on one of its own.
        let between = if self.what.ends_with('\n') { "" } else { "; " };
        write!(f, "{}{between}{}", self.what, self.next)?;
        match self.who {
            Some(Lifter::Time) => f.write_str(" (it passes with time)"),
            Some(who) => write!(f, " (who can change it: {})", who.describe()),
            None => Ok(()),
        }
    }
}

/// A problem as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemReport<'a> {
    error: ProblemFields<'a>,
}

#[derive(Debug, Serialize)]
struct ProblemFields<'a> {
    code: u8,
    word: &'static str,
    what: &'a str,
    next: &'a str,
    who: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [String],
}

impl From<ProfileError> for Problem {
    fn from(error: ProfileError) -> Self {
        let (exit, word, next) = match &error {
            ProfileError::NoHome => {
                (Exit::Failure, "no_home", "name a directory with `--home` or POSTERN_HOME".to_owned())
            }
            ProfileError::SignedOut => {
                (Exit::SignedOut, "signed_out", "sign in with `postern login`".to_owned())
            }
            ProfileError::Replaced => {
                (Exit::SignedOut, "replaced", "run the command again as who is signed in now".to_owned())
            }
            ProfileError::File(fault) => file_advice(fault),
            ProfileError::NoRandomness => (Exit::Failure, "no_randomness", "try again".to_owned()),
            ProfileError::Key(_) => (Exit::UnsafeProfile, "bad_key", RENEW.to_owned()),
        };
        Self::new(exit, word, error, &next)
    }
}

fn file_advice(fault: &FileFault) -> (Exit, &'static str, String) {
    match fault {
        FileFault::Exposed { path, expected, .. } => {
            let next = format!(
                "run `chmod {expected:o} '{}'`; if somebody else may have read the key, run `postern logout` and sign in again",
                path.display()
            );
            (Exit::UnsafeProfile, "exposed", next)
        }
        FileFault::Owner { .. } => {
            let next = "use a directory of your own (`--home`)".to_owned();
            (Exit::UnsafeProfile, "foreign_file", next)
        }
        FileFault::NotRegular { .. } => (Exit::UnsafeProfile, "not_regular", RENEW.to_owned()),
        FileFault::Damaged { .. } => (Exit::UnsafeProfile, "damaged", RENEW.to_owned()),
        FileFault::Io { .. } => {
            (Exit::Failure, "file", "check the disk and the permissions of the directory".to_owned())
        }
    }
}

impl From<ProxyError> for Problem {
    fn from(error: ProxyError) -> Self {
        let next = "write it as `http://HOST:PORT` or `socks5://HOST:PORT`, or `--via-proxy none` for none";
        Self::new(Exit::Usage, "bad_proxy", error, next)
    }
}

impl From<InvitationFault> for Problem {
    fn from(fault: InvitationFault) -> Self {
        let next = "paste the code as you got it, or ask your administrator for a new one";
        Self::new(Exit::Usage, "bad_code", fault, next)
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        let (word, next) = match &error {
            SecretError::NoTerminal(_) => (
                "no_terminal",
                "give a one-time code with `--otp CODE` and a password with `--password-stdin`",
            ),
            SecretError::Input(_) => {
                ("no_input", "write the password to standard input, or leave out `--password-stdin`")
            }
            SecretError::Length(_) => ("bad_password", "type it again"),
            SecretError::Interrupted => return Self::interrupted(),
            SecretError::Differ => ("passwords_differ", "run the command again"),
        };
        Self::new(Exit::Usage, word, error, next)
    }
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Self {
        let (word, next) = match &error {
            FindError::Unknown { .. } => ("unknown_device", "`postern devices` lists yours"),
            FindError::Ambiguous { .. } => ("ambiguous_device", "write ACCOUNT/NAME"),
        };
        Self::new(Exit::NoSuchDevice, word, error, next)
    }
}

impl From<HubError> for Problem {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Dial(error) => Self::undialled(&error, "hub", Exit::HubUnreachable),
            HubError::Ended(ending) => Self::ended(&ending, Exit::HubUnreachable).about("the hub"),
            HubError::Refused(refusal) => refused(refusal),
            HubError::Declined(declined) => Self::declined(&declined),
            HubError::Failed(failure) => Self::failed(failure).about("the hub"),
            HubError::Unexpected => Self::new(Exit::Failure, "unexpected", error, "use a matching version"),
        }
    }
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Dial(error) => Self::undialled(&error, "device", Exit::DeviceUnreachable),
            DeviceError::Ended(ending) => Self::ended(&ending, Exit::DeviceUnreachable),
            DeviceError::Denied(reason) => Self::denied(reason),
            DeviceError::Failed(failure) => Self::failed(failure),
            DeviceError::Occupied { holder, may_look } => Self::occupied(&holder, may_look),
            DeviceError::OtherDevice { .. } => {
                Self::new(Exit::WrongKey, "other_device", error, "refresh the list with `postern devices`")
            }
            DeviceError::Unexpected => {
                Self::new(Exit::Failure, "unexpected", error, "use a matching version")
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (word, next) = match refused {
            Refused::Form => ("bad_target", "name a path of the printed address"),
            Refused::Host => ("wrong_host", "use the address that `postern connect` has printed, as it is"),
            Refused::Link => (
                "used_link",
                "press Enter where `postern connect` runs, or start it again, and use the new link; if nobody of \
                 yours has used this one, end `postern connect`: another user of this computer has",
            ),
            Refused::Foreign => ("foreign_page", "begin at the start page of this service"),
            Refused::NoKey => (
                "no_key",
                "open the link that `postern connect` has printed; for another browser press Enter there; programs \
                 send the `token` of `--json` as `X-Postern-Token`",
            ),
            Refused::WrongKey => (
                "wrong_key",
                "send the `token` that `postern connect --json` has printed as `X-Postern-Token`",
            ),
        };
        Self::new(Exit::Usage, word, refused, next)
    }
}

impl Problem {
    fn undialled(error: &DialError, peer: &'static str, unreachable: Exit) -> Self {
        let (exit, word, next) = match error {
            DialError::WrongKey { .. } => (
                Exit::WrongKey,
                "wrong_key",
                "do not go on: the peer was replaced, or somebody stands in between; ask your administrator",
            ),
            DialError::NoCommonVersion { .. } => {
                (Exit::Failure, "no_common_version", "update this program or the peer")
            }
            DialError::NoAddress | DialError::Unreachable { .. } if unreachable == Exit::HubUnreachable => (
                unreachable,
                "hub_unreachable",
                "check your network, or ask your administrator whether the hub runs",
            ),
            DialError::NoAddress | DialError::Unreachable { .. } => (
                unreachable,
                "device_unreachable",
                "check with `postern devices` whether it is online, and whether your network reaches it",
            ),
        };
        Self::new(exit, word, format_args!("the {peer} cannot be reached: {error}"), next)
    }
}

fn refused(refusal: Refusal) -> Problem {
    let (exit, word, next) = match refusal {
        Refusal::Code => (Exit::SignInRefused, "bad_code", "ask your administrator for a new code"),
        Refusal::Login => {
            (Exit::SignInRefused, "bad_login", "try again; with a second factor also give `--otp`")
        }
        Refusal::WeakPassword => {
            (Exit::SignInRefused, "weak_password", "choose a longer one; the code is still good")
        }
        Refusal::TooMany => (Exit::SignInRefused, "too_many", "wait a minute"),
        Refusal::UnknownKey => (Exit::SignedOut, "unknown_key", "sign in again with `postern login`"),
        Refusal::Pass => (Exit::SignedOut, "signed_out", "sign in again with `postern login`"),
        Refusal::OneTimeCode => (
            Exit::SignInRefused,
            WRONG_CODE,
            "wait for the next code of your authenticator app and try again",
        ),
        // Devices are told this, never people.
        Refusal::SealingKey => (Exit::SignInRefused, "sealing_key", "use a matching version"),
        Refusal::NoOneTimeCodes => {
            (Exit::SignInRefused, "no_one_time_codes", "set them up with `postern login --setup-otp`")
        }
        Refusal::NoMeeting => {
            (Exit::DeviceUnreachable, "no_meeting", "see with `postern devices` whether it is online")
        }
        Refusal::NoAudit => (
            Exit::Denied,
            "no_audit",
            "ask your administrator for a role with the permission `audit.read`, or leave `--all` and `--user` out",
        ),
        Refusal::NoApproval => {
            (Exit::Denied, "no_approval", "see with `postern services` what is open to you there")
        }
        Refusal::NoApprover => (
            Exit::Denied,
            "no_approver",
            "ask the company that runs the device who may activate remote access",
        ),
        Refusal::Wish => (Exit::Usage, "bad_wish", "say why with `--reason` and for how long with `--for`"),
        Refusal::TooManyRequests => (
            Exit::Denied,
            "too_many_requests",
            "see them with `postern approvals`; `postern revoke` takes one back",
        ),
        Refusal::NoRequest => (Exit::Denied, "no_request", "`postern approvals` lists what you may decide"),
        Refusal::Decided => (Exit::Denied, "decided", "see with `postern approvals` where it stands"),
        Refusal::SecondFactor => {
            (Exit::SignInRefused, "second_factor", "run `postern step-up`, and the same command again")
        }
        Refusal::NoProvider => (
            Exit::Usage,
            "no_provider",
            "name it with `--sso=NAME`; where the browser has to be on this computer, leave `--elsewhere` out",
        ),
        Refusal::Provider => (Exit::NotDone, "provider", "try again later"),
        Refusal::NotVouched => (Exit::SignInRefused, "not_vouched", "ask your own company's administrators"),
        Refusal::SignOn => (Exit::SignInRefused, "sign_on_over", "run the command again"),
        Refusal::Unlinked => (
            Exit::SignInRefused,
            "unlinked",
            "`postern login CODE --sso` accepts an invitation with your identity",
        ),
        Refusal::Unlinkable => (
            Exit::SignInRefused,
            "unlinkable",
            "sign in at the provider as yourself, or ask who has invited you",
        ),
        Refusal::NoSecondFactor => (
            Exit::SignInRefused,
            "no_second_factor",
            "use one there; if you did, who runs the hub has to say in its settings what counts as one",
        ),
        Refusal::Narrowing => (
            Exit::SignInRefused,
            "bad_narrowing",
            "name devices that `postern devices` lists when you are signed in without `--only-device`",
        ),
    };
    Problem::new(exit, word, refusal, next)
}

const WRONG_CODE: &str = "bad_one_time_code";
const RENEW: &str = "run `postern logout` and sign in again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_what_next_and_who() {
        let problem = Problem::denied(Reason::NoGrant).about("press-7/hmi");
        assert_eq!(
            problem.to_string(),
            "press-7/hmi: nothing grants you this service on this device; ask your administrator for an access \
             category that contains it (who can change it: your administrator)"
        );
        assert_eq!(problem.exit, Exit::Denied);
        assert_eq!(Problem::denied(Reason::BadPass).exit, Exit::SignedOut);
    }

    #[test]
    fn programs_get_the_same_in_fields() {
        let problem = Problem::denied(Reason::Concurrency);
        assert_eq!(
            serde_json::to_string(&problem.for_programs()).unwrap(),
            "{\"error\":{\"code\":4,\"word\":\"concurrency\",\"what\":\"as many tunnels are open as this service \
             allows\",\"next\":\"close one of them or try again later\",\"who\":\"nobody, it passes with time\"}}"
        );
    }
}
