//! What the agent gives up before it reads the first byte from the network, so that it is as safe under any init as under systemd.
//!
//! 1. [`enter`] is called when the state is locked and no other thread runs: every later thread is bound by it as well.
//! 2. It gives up new privileges, memory dumps and every capability, and then, as far as the kernel knows how, all files but those that
//!    the agent works with ([landlock](https://docs.kernel.org/userspace-api/landlock.html)) and the system calls of [`calls`].
//! 3. [`Sandbox::settle`] gives up the last capability, by which a port below 1024 was bound.
//!
//! A kernel that knows less is served as well: what does not hold is logged and shown in `status`, with the reason. The agent runs no
//! program, so nothing is inherited by anybody. Deliberately absent: a switch that turns this off.

mod calls;

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::config::Config;
use crate::report::{Measure, SandboxReport};

/// What was given up.
#[derive(Debug)]
pub(crate) struct Sandbox {
    report: SandboxReport,
    /// Whether a capability is left until the port is bound.
    binds: bool,
}

/// Gives up what a running agent needs no more. Nothing else may run in this process yet.
pub(crate) fn enter(config: &Config) -> Sandbox {
    let keeps = kept(config);
    let held = [
        ("no new privileges", whole(set_no_new_privs(true))),
        ("no memory dump", whole(undumpable())),
        ("no capability", whole(drop_capabilities(keeps))),
        ("own files only", restrict_files(config).map(|abi| Some(reach(abi)))),
        ("few system calls", whole(calls::restrict())),
    ];
    let measures = held.map(|(what, held)| {
        let (how, why) = match held {
            Ok(how) => (how, None),
            Err(error) => {
                tracing::warn!(error, "this kernel lets the agent give up less than it would: no `{what}`");
                (None, Some(error))
            }
        };
        Measure { what: what.to_owned(), holds: why.is_none(), why, how }
    });
    Sandbox {
        report: SandboxReport { measures: measures.into() },
        binds: keeps.contains(CapabilitySet::NET_BIND_SERVICE),
    }
}

impl Sandbox {
    /// The port is bound: gives up the right to do that, and says what holds.
    pub(crate) fn settle(self, config: &Config) -> SandboxReport {
        if self.binds
            && let Err(error) = drop_capabilities(kept(config).difference(CapabilitySet::NET_BIND_SERVICE))
        {
            tracing::warn!(%error, "the right to bind low ports is kept");
        }
        self.report
    }
}

/// What holds wholly or not at all.
fn whole(done: Result<(), impl std::fmt::Display>) -> Result<Option<String>, String> {
    done.map(|()| None).map_err(|error| error.to_string())
}

/// How far landlock reaches on a kernel: its ABI, and what that leaves to the modes of files.
fn reach(abi: ABI) -> String {
    let later = [(ABI::V3, "truncation by name", "6.2"), (ABI::V5, "control of devices", "6.10")];
    let left = later.into_iter().filter(|(since, ..)| abi < *since);
    let left: String = left
        .map(|(_, what, linux)| format!("; {what} is left to their modes, before Linux {linux}"))
        .collect();
    format!("landlock {abi}{left}")
}

/// Memory with keys in it is no file: not for a debugger of the same user, and not after a crash.
fn undumpable() -> Result<(), Errno> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // What an init has given up already it may have forbidden to ask for.
    if getrlimit(Resource::Core).maximum == Some(0) {
        return Ok(());
    }
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// Rights of this process that it may not do without; it has them only where it was given them.
fn kept(config: &Config) -> CapabilitySet {
    let binds = config.listen_addresses().iter().any(|addr| (1..1024).contains(&addr.port()));
    // From Linux 5.7 on everybody may bind a socket to an interface.
    let bound =
        config.machine_interface.is_some() && is_older_than(rustix::system::uname().release(), (5, 7));
    let when = |needed, capability| if needed { capability } else { CapabilitySet::empty() };
    when(binds, CapabilitySet::NET_BIND_SERVICE) | when(bound, CapabilitySet::NET_RAW)
}

fn is_older_than(release: &std::ffi::CStr, (major, minor): (u32, u32)) -> bool {
    let release = release.to_string_lossy();
    let mut numbers =
        release.split(|digit: char| !digit.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(major), numbers.next().unwrap_or(minor)) < (major, minor)
}

/// Gives up all capabilities but these, where they are there.
fn drop_capabilities(but: CapabilitySet) -> Result<(), Errno> {
    let had = rustix::thread::capabilities(None)?;
    if but.contains(had.permitted | had.inheritable) {
        return Ok(());
    }
    let (effective, permitted) = (had.effective & but, had.permitted & but);
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })
}

/// Gives up all files but those that the agent works with, and the running of programs; by which ABI.
fn restrict_files(config: &Config) -> Result<ABI, String> {
    let say = |error: RulesetError| error.to_string();
    let all = AccessFs::from_all(KNOWN);
    let mut rules = Ruleset::default().handle_access(all).map_err(say)?.create().map_err(say)?;
    for (path, access) in files(config) {
        // What is not there needs no rule, and cannot come to be there later: it would be another file.
        if let Ok(place) = PathFd::new(&path) {
            rules = rules.add_rule(PathBeneath::new(place, access)).map_err(say)?;
        }
    }
    let status = rules.restrict_self().map_err(say)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(ABI::from(status.landlock)),
        RulesetStatus::NotEnforced => Err("this kernel has no landlock (Linux 5.13)".to_owned()),
    }
}

/// With what the agent works, and how.
fn files(config: &Config) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Without sockets and devices: the control socket may lie here, though.
    let keep = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut files = vec![
        (config.state_dir.clone(), keep),
        // Routes and neighbours, by which networks are told apart.
        (PathBuf::from("/proc"), read),
        // Names of proxies: the resolver's files, and its modules where it has some.
        (PathBuf::from("/etc"), read),
        (PathBuf::from("/usr"), read),
        (PathBuf::from("/lib"), read),
        (PathBuf::from("/lib64"), read),
        (PathBuf::from("/dev/urandom"), read),
        (PathBuf::from("/dev/null"), read | AccessFs::WriteFile),
    ];
    let beside = |path: &Path| path.parent().map(Path::to_owned);
    let resolver = std::fs::canonicalize("/etc/resolv.conf").ok();
    files.extend(resolver.and_then(|path| beside(&path)).map(|dir| (dir, read)));
    let socket = beside(&config.control.socket);
    files.extend(socket.map(|dir| (dir, read | AccessFs::MakeSock | AccessFs::RemoveFile)));
    if config.packet_vpn.is_some() {
        files.push((PathBuf::from("/dev/net/tun"), read | AccessFs::WriteFile | AccessFs::IoctlDev));
    }
    files
}

/// The rights over files that are known here; a kernel that knows fewer takes those.
const KNOWN: ABI = ABI::V5;

#[cfg(test)]
mod tests;
