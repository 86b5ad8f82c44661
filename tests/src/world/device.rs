//! The device: an agent with a state directory, a configuration and a control socket of its own.

use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mishap::{Ending, Mishap};
use super::process::{Call, Done, Running};
use crate::programs::{Program, Shelf};

/// An agent, running or not.
#[derive(Debug)]
pub struct Device {
    command: Vec<OsString>,
    dir: PathBuf,
    config: PathBuf,
    listen: SocketAddr,
    /// What it may dial, as a TOML list.
    networks: String,
    /// Where it says that it is; none is where it listens.
    said: Option<SocketAddr>,
    running: Option<Running>,
    past: String,
    /// Whether it serves clients at all of its addresses, at the port of `listen`.
    is_everywhere: bool,
    /// Whether it and its libraries log all that they can.
    logs_all: bool,
    ping: Option<u16>,
}

impl Device {
    /// Writes the configuration of an agent that lives in `dir` and serves clients at `listen`.
    pub(super) fn prepare(shelf: &Shelf, dir: PathBuf, listen: SocketAddr) -> Result<Self, Mishap> {
        std::fs::create_dir_all(&dir).map_err(Mishap::io(format!("making `{}`", dir.display())))?;
        let command = match std::env::var("POSTERN_AGENT_BIN") {
            Ok(words) => words.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect(),
            Err(_) => vec![shelf.path(Program::Agent).into_os_string()],
        };
        let config = dir.join("agent.toml");
        let networks = "[\"127.0.0.1/32\"]".to_owned();
        let (said, running, past) = (None, None, String::new());
        let (is_everywhere, logs_all, ping) = (false, false, None);
        let device = Self {
            command,
            dir,
            config,
            listen,
            networks,
            said,
            running,
            past,
            is_everywhere,
            logs_all,
            ping,
        };
        device.configure("")?;
        Ok(device)
    }

    /// Writes the configuration anew, with `extra` tables at its end; a running agent does not notice.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, extra: &str) -> Result<(), Mishap> {
        let (state, socket) = (self.state_dir(), self.control_socket());
        let said = self.said.map(|said| format!("advertise = [\"{said}\"]\n")).unwrap_or_default();
        let listen =
            if self.is_everywhere { (Ipv6Addr::UNSPECIFIED, self.listen.port()).into() } else { self.listen };
        let ping = self.ping.map(|ping| format!("hub_ping_s = {ping}\n")).unwrap_or_default();
        let log = if self.logs_all { "log = \"trace\"\n" } else { "" };
        let text = format!(
            "state_dir = {state:?}\nlisten = \"{}\"\n{log}{said}machine_networks = {}\n\
             dial_timeout_s = 2\n{ping}\n[control]\nsocket = {socket:?}\nmode = 0o600\n{extra}",
            listen, self.networks
        );
        std::fs::write(&self.config, text).map_err(Mishap::io("writing the configuration of the agent"))
    }

    /// Lets it dial another network, from its next start on.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn lead_to(&mut self, network: &str) -> Result<(), Mishap> {
        self.networks = format!("[\"{}\"]", network.replace(' ', "\", \""));
        self.configure("")
    }

    /// Lets it serve clients at every address that it has, from its next start on.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn serve_everywhere(&mut self) -> Result<(), Mishap> {
        self.is_everywhere = true;
        self.configure("")
    }

    /// Has it and its libraries log all that they can, from its next start on.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn log_everything(&mut self) -> Result<(), Mishap> {
        self.logs_all = true;
        self.configure("")
    }

    /// Has it ask after this many seconds whether its hub is there, from its next start on.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn ping_each(&mut self, secs: u16) -> Result<(), Mishap> {
        self.ping = Some(secs);
        self.configure("")
    }

    /// Lets it say that it is somewhere else than where it listens, from its next start on.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn say_at(&mut self, said: SocketAddr) -> Result<(), Mishap> {
        self.said = Some(said);
        self.configure("")
    }

    /// Its state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Its control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where it serves clients.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// A command of the agent's program on this device.
    #[must_use]
    pub fn call<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call {
        let (program, rest) = match self.command.split_first() {
            Some((program, rest)) => (program.as_os_str(), rest),
            None => ("postern-agent".as_ref(), [].as_slice()),
        };
        Call::new(program).args(rest).arg("--config").arg(&self.config).args(args)
    }

    /// Enrols it with a code.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub async fn enroll(&self, code: &str) -> Result<Done, Mishap> {
        self.call(["enroll", code]).finish().await
    }

    /// Starts the agent and waits until it serves clients.
    ///
    /// # Errors
    /// When it ends, or is silent for too long.
    pub async fn run(&mut self) -> Result<(), Mishap> {
        self.retire();
        let running = self.call(["run"]).start("agent")?;
        let ready = running.line("that it listens", |line| line.text.contains("listening on")).await;
        self.running = Some(running);
        ready.map(drop)
    }

    /// The running agent.
    ///
    /// # Errors
    /// When none runs.
    pub fn running(&mut self) -> Result<&mut Running, Mishap> {
        self.running.as_mut().ok_or_else(|| Mishap::unexpected("the agent", "none", "a running one"))
    }

    /// Ends the agent in order.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<(), Mishap> {
        if let Some(running) = &mut self.running {
            running.stop().await?;
        }
        self.retire();
        Ok(())
    }

    /// Ends the agent as a power cut would.
    ///
    /// # Errors
    /// When the kernel does not report its end.
    pub async fn kill(&mut self) -> Result<Ending, Mishap> {
        let ending = self.running()?.kill().await;
        self.retire();
        ending
    }

    fn retire(&mut self) {
        if let Some(running) = self.running.take() {
            self.past.push_str(&running.log());
        }
    }

    /// What `status --json` says.
    ///
    /// # Errors
    /// When no agent answers.
    pub async fn status(&self) -> Result<Value, Mishap> {
        self.call(["status", "--json"]).finish().await?.expect_code(0)?.json()
    }

    /// The rows of the audit trail, oldest first, by way of `audit list --json`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn audit(&self) -> Result<Vec<Value>, Mishap> {
        let done = self.call(["audit", "list", "--limit", "1000", "--json"]).finish().await?;
        let answer = done.expect_code(0)?.json()?;
        let rows = answer.as_array().or_else(|| answer.get("rows").and_then(Value::as_array));
        rows.cloned().ok_or_else(|| Mishap::unexpected("the audit", &answer, "rows"))
    }

    /// Asks for the audit until `wanted` holds, and yields the rows.
    ///
    /// # Errors
    /// When it does not hold in time, with the rows.
    pub async fn audit_until(
        &self,
        what: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>, Mishap> {
        let begun = Instant::now();
        loop {
            let rows = self.audit().await?;
            if wanted(&rows) {
                return Ok(rows);
            }
            if begun.elapsed() > WITHIN {
                let seen = rows.iter().map(|row| format!("{row}\n")).collect();
                return Err(Mishap::Deadline { what: what.to_owned(), within: WITHIN, seen });
            }
        }
    }

    /// Asks for the status until `wanted` holds.
    ///
    /// # Errors
    /// When it does not hold in time, with the last status.
    pub async fn status_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, Mishap> {
        let begun = Instant::now();
        loop {
            let status = self.status().await?;
            if wanted(&status) {
                return Ok(status);
            }
            if begun.elapsed() > WITHIN {
                let seen = format!("{status:#}\n");
                return Err(Mishap::Deadline { what: what.to_owned(), within: WITHIN, seen });
            }
        }
    }

    /// Everything that its agents printed.
    #[must_use]
    pub fn log(&self) -> String {
        let present = self.running.as_ref().map(Running::log).unwrap_or_default();
        format!("{}{present}", self.past)
    }
}

const WITHIN: Duration = Duration::from_secs(30);
