//! A PostgreSQL server for tests, as Debian has it: with data and a socket in a directory of its own, and nothing left afterwards.
//!
//! 1. [`Server::start`] makes and starts one, or says why it is skipped; with `POSTERN_REQUIRE_PEERS=1` it fails instead.
//! 2. [`Server::database`] makes an empty database and returns its URL.
//! 3. [`Server::kill`] and [`Server::start_again`] are an outage. What the server had promised is there again.
//!
//! The server refuses to run as root, so that it runs as `postgres` or `nobody` then. It writes without `fsync`, as a test's disk never loses
//! power; [`Server::start_durable`] is for measurements.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A running server.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    directory: tempfile::TempDir,
    settings: Vec<String>,
    port: u16,
    running: Option<Child>,
    databases: AtomicU32,
}

impl Server {
    /// Starts a server; none where PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it does not start, or is not installed and must be.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&["fsync=off"])
    }

    /// Starts a server that keeps its promises through a power cut.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_durable() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server that speaks TLS, with this certificate and key in PEM.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with_certificate(certificate: &str, key: &str) -> Option<Self> {
        let mut server = Self::prepare(&["fsync=off", "ssl=on"])?;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = server.data().join(name);
            fs::write(&path, text).expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
            if let Some((uid, gid)) = another_user() {
                chown(&path, Some(uid), Some(gid)).expect("root can give a file away");
            }
        }
        server.start_again();
        Some(server)
    }

    fn start_with(settings: &[&str]) -> Option<Self> {
        let mut server = Self::prepare(settings)?;
        server.start_again();
        Some(server)
    }

    fn prepare(settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            assert_ne!(
                std::env::var("POSTERN_REQUIRE_PEERS").as_deref(),
                Ok("1"),
                "PostgreSQL is not installed"
            );
            println!("SKIPPED: PostgreSQL is not installed");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("postern-pg-").tempdir().expect("a directory");
        if let Some((uid, gid)) = another_user() {
            chown(directory.path(), Some(uid), Some(gid)).expect("root can give a directory away");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        drop(listener);
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server =
            Self { programs, directory, settings, port, running: None, databases: AtomicU32::new(0) };
        let data = server.data();
        let made = server
            .program("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postern",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Some(server)
    }

    /// Starts it after [`Self::kill`], with what it had stored.
    ///
    /// # Panics
    /// When it does not start within half a minute.
    pub fn start_again(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let mut command = self.program("postgres");
            command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
            command.arg("-p").arg(self.port.to_string()).args(["-c", "listen_addresses=127.0.0.1"]);
            self.settings.iter().for_each(|setting| {
                command.args(["-c", setting]);
            });
            let mut child =
                command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("postgres runs");
            let said = child.stderr.take().expect("a pipe");
            let (ready, is_ready) = mpsc::sync_channel(1);
            thread::spawn(move || {
                let mut lines = String::new();
                for line in BufReader::new(said).lines().map_while(Result::ok) {
                    if line.contains("ready to accept connections") {
                        let _gone = ready.try_send(Ok(()));
                    }
                    lines.push_str(&line);
                    lines.push('\n');
                }
                let _known = ready.try_send(Err(lines));
            });
            match is_ready.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => {
                    self.running = Some(child);
                    return;
                }
                // Children of one that was killed may be on their way out still.
                Ok(Err(said)) if said.contains("shared memory") && Instant::now() < until => {
                    let _gone = child.wait();
                    thread::yield_now();
                }
                Ok(Err(said)) => panic!("PostgreSQL does not start: {said}"),
                Err(late) => {
                    let _gone = child.kill();
                    panic!("PostgreSQL does not start: {late}");
                }
            }
        }
    }

    /// Kills it as it stands (`SIGKILL`), and whatever it has started.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Stops it (`SIGSTOP`) or lets it go on (`SIGCONT`): the connections stay, and nothing answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, freeze: bool) {
        let signal = if freeze { Signal::STOP } else { Signal::CONT };
        for pid in self.processes() {
            let _gone = kill_process(pid, signal);
        }
    }

    /// The URL of an empty database over the server's own socket.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        self.url(&self.empty())
    }

    /// The URL of an empty database over TCP on loopback.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn database_over_tcp(&self) -> String {
        format!("postgres://postern@127.0.0.1:{}/{}", self.port, self.empty())
    }

    fn empty(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?host={}&port={}&user=postern",
            self.directory.path().display(),
            self.port
        )
    }

    /// Runs SQL as another program would, and returns what comes of it, a row a line.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let done = self
            .program("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postern", "-h"])
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .output()
            .expect("psql runs");
        assert!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// The port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where its data, certificates and socket are.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        if let Some((uid, gid)) = another_user() {
            command.gid(gid).uid(uid);
        }
        command
    }

    /// The server and its children.
    fn processes(&self) -> Vec<Pid> {
        let Some(running) = &self.running else { return Vec::new() };
        let parent = running.id();
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let all = children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([parent]);
        all.filter_map(|pid: u32| i32::try_from(pid).ok().and_then(Pid::from_raw)).collect()
    }

    fn end(&mut self, signal: Signal) {
        let all = self.processes();
        for pid in &all {
            let _gone = kill_process(*pid, signal);
        }
        if let Some(mut running) = self.running.take() {
            let _gone = running.wait();
        }
        let until = Instant::now() + Duration::from_secs(10);
        while all.iter().any(|pid| test_kill_process(*pid).is_ok()) && Instant::now() < until {
            thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.freeze(false);
        // At once, without a last checkpoint.
        self.end(Signal::QUIT);
    }
}

/// Where Debian has the server's programs: the newest.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/postgres").exists().then(|| (version, path.join("bin")))
        })
        .collect();
    versions.sort();
    versions.pop().map(|(_, programs)| programs)
}

/// As whom root runs the server.
fn another_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
