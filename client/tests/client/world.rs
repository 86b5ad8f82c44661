//! A hub, a device and the directory of one user.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use postern_protocol::trust::SecretKey;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::device::Device;
use crate::hub::Hub;

pub(crate) const PASSWORD: &str = "correct horse battery";
/// For what must happen: long enough that only a defect reaches it.
pub(crate) const GENEROUS: Duration = Duration::from_secs(30);

pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) device: Device,
    dir: tempfile::TempDir,
}

/// What a finished program left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A hub and a device, and nobody signed in.
    pub(crate) async fn new() -> Self {
        let device = Device::start(loopback());
        let hub = Hub::start();
        hub.list(vec![device.entry("press-7", "acme")]);
        Self { hub, device, dir: tempfile::tempdir().unwrap() }
    }

    /// The same with Anna of `acme` signed in and the devices listed once.
    pub(crate) async fn signed_in() -> Self {
        let world = Self::new().await;
        let code = world.hub.invitation();
        let outcome = world.run_with_input(&["login", &code, "--password-stdin"], PASSWORD).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert_eq!(world.run(&["devices"]).await.code, 0);
        world
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(args).env("POSTERN_HOME", self.home()).env("TZ", "UTC").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, "").await
    }

    pub(crate) async fn run_with_input(&self, args: &[&str], input: &str) -> Outcome {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that reads nothing may have ended already.
        let _closed = stdin.write_all(format!("{input}\n").as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(GENEROUS, child.wait_with_output()).await.unwrap().unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Running { child, stdout, stderr }
    }
}

/// A program that has not ended yet.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) async fn out(&mut self) -> String {
        tokio::time::timeout(GENEROUS, self.stdout.next_line()).await.unwrap().unwrap().unwrap()
    }

    pub(crate) async fn err(&mut self) -> String {
        tokio::time::timeout(GENEROUS, self.stderr.next_line()).await.unwrap().unwrap().unwrap()
    }

    /// The port of the address in the first line.
    pub(crate) async fn port(&mut self) -> u16 {
        let line = self.out().await;
        line.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) async fn ended(mut self) -> Outcome {
        let status = tokio::time::timeout(GENEROUS, self.child.wait()).await.unwrap().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.into_inner().read_to_string(&mut stdout).await.unwrap();
        self.stderr.into_inner().read_to_string(&mut stderr).await.unwrap();
        Outcome { code: status.code().unwrap(), stdout, stderr }
    }
}
