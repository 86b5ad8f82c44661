//! One agent process with its state in a directory that goes with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postern_protocol::id::{DeviceId, UserId};
use postern_protocol::trust::PublicKey;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::Client;
use crate::hub::Hub;
use crate::machine::Machine;
use crate::policy::{DEVICE, Policy, USER, secret};

/// For what must happen: long enough that only a defect reaches it.
pub(crate) const GENEROUS: Duration = Duration::from_secs(30);

/// A hub, a machine, and an agent that is enrolled and runs under a policy.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) machine: Machine,
    pub(crate) agent: Agent,
    pub(crate) policy: Policy,
}

impl World {
    /// An agent under `Policy::usual`, which grants [`USER`] one service of each kind on an echoing machine.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more lines of configuration.
    pub(crate) async fn start_with(config: &str) -> Self {
        Self::under(config, |_usual| ()).await
    }

    /// The same, and what is granted holds without the hub too.
    pub(crate) async fn start_marked() -> Self {
        Self::under("", |policy| policy.snapshot.grants.iter_mut().for_each(|grant| grant.offline_ok = true))
            .await
    }

    async fn under(config: &str, change: impl FnOnce(&mut Policy)) -> Self {
        let machine = Machine::echo().await;
        let mut hub = Hub::start();
        let mut agent = Agent::enrolled(&hub, config).await;
        let mut policy = Policy::usual(agent.key(), machine.addr());
        change(&mut policy);
        hub.publish(policy.seal(2));
        agent.start().await;
        assert_eq!(hub.applied().await.version, 2);
        Self { hub, machine, agent, policy }
    }

    /// The usual user, signed in.
    pub(crate) async fn client(&self) -> Client {
        Client::signed_in(&self.agent, USER, 1).await
    }

    /// Signs and pushes the policy as the next version and waits until it is in force.
    pub(crate) async fn publish(&mut self, version: u64) {
        self.hub.publish(self.policy.seal(version));
        assert_eq!(self.hub.applied().await.version, version);
    }
}

/// The program and its state directory.
pub(crate) struct Agent {
    dir: tempfile::TempDir,
    process: Option<Process>,
    /// Whom it runs as; none for whoever runs the tests.
    user: Option<u32>,
}

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    listening: SocketAddr,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Agent {
    /// A state directory with a configuration, and nothing else.
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let usual = "machine_networks = [\"127.0.0.1/32\"]\n";
        let networks = if config.contains("machine_networks") { "" } else { usual };
        let text = format!(
            "state_dir = \"{0}/state\"\nlisten = \"127.0.0.1:0\"\n{networks}\
             log = \"debug\"\n{config}\n[control]\nsocket = \"{0}/control.sock\"\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("agent.toml"), text).unwrap();
        Self { dir, process: None, user: None }
    }

    /// An agent that has enrolled with `hub`.
    pub(crate) async fn enrolled(hub: &Hub, config: &str) -> Self {
        let agent = Self::new(config);
        let done = agent.run(&["enroll", &hub.code()]).await;
        assert_eq!((done.code, done.err.lines().find(|line| line.contains("ERROR"))), (0, None), "{done:?}");
        agent
    }

    /// Starts the gate and waits until it stands.
    pub(crate) async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    /// The same with variables of the environment.
    pub(crate) async fn start_with(&mut self, env: &[(&str, &std::ffi::OsStr)]) {
        let mut command = self.command(&["run"]);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.envs(env.iter().copied());
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(GENEROUS, out.read_line(&mut line)).await.unwrap().unwrap();
        let listening = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("said `{line}`"));
        let listening = listening.parse().unwrap();
        self.process = Some(Process { child, out, listening });
    }

    /// Gives everything to a user without any right, whom it runs as from its next start on.
    pub(crate) fn belong_to(&mut self, user: u32) {
        let mut chown = std::process::Command::new("chown");
        chown.args(["-R", &user.to_string()]).arg(self.dir.path());
        assert!(chown.status().unwrap().success());
        self.user = Some(user);
    }

    /// Ends the process as a power cut would.
    pub(crate) async fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.child.kill().await.unwrap();
    }

    /// Leaves the process to the caller.
    pub(crate) fn let_go(&mut self) -> Child {
        self.process.take().unwrap().child
    }

    /// One command that another program runs.
    pub(crate) fn under(&self, program: &str, options: &[String], args: &[&str]) -> Command {
        let inner = self.command(args);
        let mut command = Command::new(program);
        command.args(options).arg(inner.as_std().get_program()).args(inner.as_std().get_args());
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Waits until the process has ended by itself and returns its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        tokio::time::timeout(GENEROUS, process.child.wait()).await.unwrap().unwrap().code()
    }

    /// Asks the process to stop and returns its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let pid =
            rustix::process::Pid::from_raw(i32::try_from(process.child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(GENEROUS, process.child.wait()).await.unwrap().unwrap();
        drop(process.out);
        status.code()
    }

    /// Runs one command to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Done {
        let output = tokio::time::timeout(GENEROUS, self.command(args).output()).await.unwrap().unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs one command with something on its standard input.
    pub(crate) async fn feed(&self, args: &[&str], input: &str) -> Done {
        use tokio::io::AsyncWriteExt as _;
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // A command that refuses may be gone before it reads.
        let _gone = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
        let output = tokio::time::timeout(GENEROUS, child.wait_with_output()).await.unwrap().unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs one command with `--json` and reads its answer.
    pub(crate) async fn json(&self, args: &[&str]) -> serde_json::Value {
        let done = self.run(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    }

    /// The events of the audit trail with the reasons, in order.
    pub(crate) async fn trail(&self) -> Vec<(String, String)> {
        let rows = self.json(&["audit", "list", "--limit", "1000"]).await;
        let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.as_array().unwrap().iter().map(|row| (word(row, "event"), word(row, "reason"))).collect()
    }

    /// The trail, as soon as it contains `event` `count` times.
    pub(crate) async fn trail_with(&self, event: &str, count: usize) -> Vec<(String, String)> {
        let waiting = async {
            loop {
                let trail = self.trail().await;
                if trail.iter().filter(|(found, _)| found == event).count() >= count {
                    return trail;
                }
            }
        };
        tokio::time::timeout(GENEROUS, waiting).await.unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().child.id().unwrap()
    }

    pub(crate) fn listening(&self) -> SocketAddr {
        self.process.as_ref().unwrap().listening
    }

    /// The public key of this device.
    pub(crate) fn key(&self) -> PublicKey {
        let text = std::fs::read_to_string(self.state().join("device.key")).unwrap();
        let seed = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).unwrap();
        postern_protocol::trust::SecretKey::from_seed(seed.try_into().unwrap()).unwrap().public()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern-agent"));
        command.args(args).arg("--config").arg(self.dir.path().join("agent.toml")).stdin(Stdio::null());
        command
    }
}

/// The identity that the fake hub assigns.
pub(crate) const fn device() -> DeviceId {
    DEVICE
}

/// A user beside the usual one.
pub(crate) fn other_user() -> (UserId, PublicKey) {
    (UserId::new([9; 8]), secret(99).public())
}
