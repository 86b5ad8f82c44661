//! The program that makes adapters, and what it is asked.
//!
//! 1. Where its service runs on this computer, that is asked.
//! 2. Otherwise the program is started: as it is, where this user has the right or the program's file has it; through `sudo` where
//!    a person can type a password; through `pkexec` where there is a desktop.
//! 3. It connects to a socket in a directory of the user's own, and the kernel says that it is nobody else.
//! 4. Its end is the end of the VPN.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ipnet::IpNet;
use postern_adapter::SERVICE;
use postern_adapter::message::{Answer, Ask, VERSION};
use postern_adapter::passing::{Inbox, InboxFault, send};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

use super::place::Place;
use crate::problem::Problem;
use crate::screen::Screen;

/// A connection to the program.
#[derive(Debug)]
pub(super) struct Grip {
    socket: UnixStream,
    inbox: Inbox,
    /// Where this program has started it: it is waited for, so that nothing of it is left.
    _child: Option<Child>,
}

impl Grip {
    /// Finds or starts the program.
    ///
    /// # Errors
    /// What is missing, and what helps.
    pub(super) async fn take(place: &Place, screen: &Screen) -> Result<Self, Problem> {
        if let Ok(socket) = UnixStream::connect(SERVICE).await {
            return Ok(Self { socket, inbox: Inbox::default(), _child: None });
        }
        let program = program()?;
        let path = place.file(&format!("adapter-{}.sock", std::process::id()));
        let _left_behind = fs::remove_file(&path);
        let failed = |error: io::Error| Problem::no_adapter_socket(&path, &error);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let started = start(&program, &path, screen);
        let accepted = match started {
            Ok(mut child) => {
                let accepted = tokio::select! {
                    accepted = accept(&listener) => accepted.map_err(failed),
                    _ended = child.wait() => Err(Problem::no_adapter_right(&program)),
                };
                accepted.map(|socket| (socket, child))
            }
            Err(problem) => Err(problem),
        };
        let _gone = fs::remove_file(&path);
        let (socket, child) = accepted?;
        Ok(Self { socket, inbox: Inbox::default(), _child: Some(child) })
    }

    /// Asks for the adapter.
    ///
    /// # Errors
    /// What the program said.
    pub(super) async fn create(
        &mut self,
        addresses: Vec<IpAddr>,
        routes: Vec<IpNet>,
        plain: bool,
    ) -> Result<(String, OwnedFd), Problem> {
        let ask = Ask::Create { version: VERSION, addresses, routes, plain };
        match (self.ask(&ask).await?, self.inbox.take_passed()) {
            (Answer::Created { name }, Some(file)) => Ok((name, file)),
            (answer, _) => Err(Problem::adapter(&answer)),
        }
    }

    /// Asks for other routes; false where this computer has joined another network meanwhile, which has to be looked at first.
    ///
    /// # Errors
    /// What the program said.
    pub(super) async fn route(&mut self, routes: Vec<IpNet>) -> Result<bool, Problem> {
        match self.ask(&Ask::Routes { routes }).await? {
            Answer::Done => Ok(true),
            Answer::Refused { .. } => Ok(false),
            answer @ (Answer::Created { .. }
            | Answer::OtherVersion { .. }
            | Answer::Unexpected
            | Answer::Failed { .. }) => Err(Problem::adapter(&answer)),
        }
    }

    /// Waits for its end. Safe to cancel.
    pub(super) async fn gone(&mut self) -> Problem {
        while self.fill().await.is_ok() {}
        Problem::adapter_gone()
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Answer, Problem> {
        let asking = async {
            send(&self.socket, ask, None).map_err(InboxFault::Socket)?;
            loop {
                if let Some(answer) = self.inbox.take()? {
                    return Ok(answer);
                }
                self.fill().await?;
            }
        };
        match tokio::time::timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(InboxFault::Ended | InboxFault::Long | InboxFault::Socket(_) | InboxFault::Malformed))
            | Err(_) => Err(Problem::adapter_gone()),
        }
    }

    async fn fill(&mut self) -> Result<(), InboxFault> {
        loop {
            self.socket.readable().await?;
            let inbox = &mut self.inbox;
            let mut filled = Ok(());
            let read = self.socket.try_io(Interest::READABLE, || match inbox.fill(&self.socket) {
                Err(InboxFault::Socket(error)) => Err(error),
                other => {
                    filled = other;
                    Ok(())
                }
            });
            match read {
                Ok(()) => return filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The program lies beside this one, or beside the link under which this one was started.
fn program() -> Result<PathBuf, Problem> {
    let here = std::env::current_exe().unwrap_or_default().with_file_name(PROGRAM);
    let link = std::env::args_os().next().map(PathBuf::from).filter(|link| link.is_absolute());
    let beside = link.map(|link| link.with_file_name(PROGRAM));
    let found = [Some(here.clone()), beside].into_iter().flatten().find(|program| program.is_file());
    found.ok_or_else(|| Problem::no_adapter_program(&here))
}

/// The first that connects and is the program: it runs as this user or as root.
async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (socket, _) = listener.accept().await?;
        let uid = socket.peer_cred()?.uid();
        if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            return Ok(socket);
        }
    }
}

fn start(program: &Path, socket: &Path, screen: &Screen) -> Result<Child, Problem> {
    let command = |through: Option<&str>| {
        let mut command = Command::new(through.map_or(program.as_os_str(), |through| through.as_ref()));
        if through.is_some() {
            command.arg(program);
        }
        command.arg("--connect").arg(socket).stdout(Stdio::null());
        command
    };
    let mut command = if has_right(program) {
        let mut command = command(None);
        // Ctrl-C is for this program, which then hangs up.
        command.stdin(Stdio::null()).process_group(0);
        command
    } else if screen.has_person() && in_path("sudo") {
        screen.note("an adapter needs administrator rights; `sudo` asks for your password");
        command(Some("sudo"))
    } else if has_desktop() && in_path("pkexec") {
        command(Some("pkexec"))
    } else {
        return Err(Problem::no_adapter_right(program));
    };
    command.spawn().map_err(|_| Problem::no_adapter_right(program))
}

/// Whether the program has its right without anybody's help.
fn has_right(program: &Path) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let mut value = [0; 64];
    if rustix::fs::getxattr(program, "security.capability", &mut value).is_ok() {
        return true;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ambient = status.lines().find_map(|line| line.strip_prefix("CapAmb:"));
    let ambient = ambient.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    ambient.is_some_and(|set| set & (1 << CAP_NET_ADMIN) != 0)
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn has_desktop() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some())
}

const PROGRAM: &str = "postern-adapter";
/// linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
