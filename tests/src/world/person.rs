//! A person with the real `postern` command and a home of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, Pass, SecretKey};
use postern_protocol::wire::codec;
use rustix::process::Signal;

use super::DEVICE;
use super::exchange::Exchange;
use super::fleet::ACCOUNT;
use super::mishap::{Ending, Mishap};
use super::process::{Call, Done, Line, Piped, Running, Stream};
use crate::programs::{Program, Shelf};

/// Somebody who uses `postern`.
#[derive(Debug)]
pub struct Person {
    name: String,
    program: PathBuf,
    home: PathBuf,
}

/// A running `postern connect` with its local listener.
#[derive(Debug)]
pub struct Session {
    /// Where the near end listens.
    pub address: SocketAddr,
    /// The URL that was printed; for a web page it lets one browser in.
    pub url: String,
    /// What lets programs in, where there is a door.
    pub key: Option<String>,
    running: Running,
}

impl Person {
    /// Somebody whose profile is kept in `home`.
    pub(super) fn new(shelf: &Shelf, home: PathBuf, name: &str) -> Result<Self, Mishap> {
        let parent = home.parent().unwrap_or(&home);
        std::fs::create_dir_all(parent).map_err(Mishap::io(format!("making `{}`", parent.display())))?;
        Ok(Self { name: name.to_owned(), program: shelf.path(Program::Client), home })
    }

    /// Their name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Their profile directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A `postern` command of this person.
    #[must_use]
    pub fn call<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call {
        Call::new(&self.program).args(args).env("POSTERN_HOME", self.home.as_os_str())
    }

    /// Accepts an invitation and chooses [`PASSWORD`].
    ///
    /// # Errors
    /// When the command cannot be run.
    pub async fn login_with_code(&self, code: &str) -> Result<Done, Mishap> {
        self.call(["login", code, "--password-stdin"]).input(format!("{PASSWORD}\n")).finish().await
    }

    /// Signs in on a computer that has seen no invitation.
    pub async fn login_at(&self, hub: SocketAddr, hub_key: &str) -> Result<Done, Mishap> {
        self.call(["login", "--password-stdin", "--account", ACCOUNT, "--user", &self.name])
            .args(["--hub", &hub.to_string(), "--hub-key", hub_key])
            .input(format!("{PASSWORD}\n"))
            .finish()
            .await
    }

    /// Signs in again.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub async fn login(&self) -> Result<Done, Mishap> {
        self.call(["login", "--password-stdin"]).input(format!("{PASSWORD}\n")).finish().await
    }

    /// The fingerprint of this computer's key.
    ///
    /// # Errors
    /// When `postern status` does not say it.
    pub async fn key(&self) -> Result<String, Mishap> {
        let status = self.call(["status", "--json"]).finish().await?.expect_code(0)?.json()?;
        let key = status.get("key").and_then(serde_json::Value::as_str).map(str::to_owned);
        key.ok_or_else(|| Mishap::unexpected("the status", &status, "a key"))
    }

    /// When the pass on this computer ends.
    ///
    /// # Errors
    /// When there is none.
    pub fn pass_expires(&self) -> Result<SystemTime, Mishap> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(self.pass()?.expires.as_secs()))
    }

    /// The pass on this computer.
    fn pass(&self) -> Result<Pass, Mishap> {
        let sealed = std::fs::read(self.home.join("pass"))?;
        let wrong =
            |fault: &dyn std::fmt::Display| Mishap::unexpected("the pass of a profile", fault, "a pass");
        let envelope = Envelope::parse(&sealed, limits::PASS_BYTES).map_err(|fault| wrong(&fault))?;
        codec::decode(envelope.payload(), limits::PASS_BYTES).map_err(|fault| wrong(&fault))
    }

    /// Puts a pass in the place of the one on this computer that ends at another time.
    pub(super) fn hold_until(&self, until: SystemTime, identity: &SecretKey) -> Result<(), Mishap> {
        let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let pass = Pass { expires: UnixTime::from_secs(until.as_secs()), ..self.pass()? };
        let sealed = Envelope::seal(&pass, &[identity])
            .map_err(|fault| Mishap::unexpected("a shorter pass", fault, "an envelope"))?;
        Ok(std::fs::write(self.home.join("pass"), sealed)?)
    }

    /// The names of the services that they may use on the device, in the order of the listing.
    ///
    /// # Errors
    /// When the listing fails.
    pub async fn services(&self) -> Result<Vec<String>, Mishap> {
        let answer = self.call(["services", DEVICE, "--json"]).finish().await?.expect_code(0)?.json()?;
        let rows = answer.as_array().or_else(|| answer.get("services").and_then(serde_json::Value::as_array));
        let rows = rows.ok_or_else(|| Mishap::unexpected("the listing", &answer, "services"))?;
        Ok(rows.iter().filter_map(|row| row.get("name")?.as_str().map(str::to_owned)).collect())
    }

    /// Connects to a service and waits for its URL.
    ///
    /// # Errors
    /// When no listener comes up, with what was printed instead.
    pub async fn connect(&self, service: &str) -> Result<Session, Mishap> {
        self.connect_with(service, &[]).await
    }

    /// As [`connect`](Self::connect), with options such as `--view-only`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(&self, service: &str, options: &[&str]) -> Result<Session, Mishap> {
        let name = format!("{} at {service}", self.name);
        let call = self.call(["connect", DEVICE, service, "--json"]).args(options);
        let running = call.start(&name)?;
        let line =
            running.line("a URL", |line| line.stream == Stream::Out && line.text.contains("://")).await?;
        let wrong = || Mishap::unexpected("the answer of `connect`", &line.text, "JSON with a URL");
        let answer: serde_json::Value = serde_json::from_str(&line.text).map_err(|_| wrong())?;
        let text = |name: &str| answer.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let address = text("address").and_then(|address| address.parse().ok()).ok_or_else(wrong)?;
        Ok(Session { address, url: text("url").ok_or_else(wrong)?, key: text("token"), running })
    }

    /// Tries to connect to a service that is refused, and yields what was said.
    ///
    /// # Errors
    /// When the command cannot be run or does not end.
    pub async fn refused(&self, service: &str) -> Result<Done, Mishap> {
        self.call(["connect", DEVICE, service]).finish().await
    }

    /// Connects to a service over the command's own input and output.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn pipe(&self, service: &str) -> Result<Piped, Mishap> {
        self.call(["connect", DEVICE, service, "--stdio"]).start_piped()
    }
}

impl Session {
    /// Begins an exchange with an HTTP service, and with it a tunnel.
    ///
    /// # Errors
    /// When the near end does not listen any more, or refuses.
    pub async fn exchange(&self) -> Result<Exchange, Mishap> {
        Exchange::open(self).await
    }

    /// The command itself.
    #[must_use]
    pub const fn running(&self) -> &Running {
        &self.running
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for a line on standard error that contains `text`.
    ///
    /// # Errors
    /// When it does not come, with everything that was printed.
    pub async fn notice(&self, text: &str) -> Result<Line, Mishap> {
        let what = format!("a line with `{text}`");
        self.running.line(&what, |line| line.stream == Stream::Err && line.text.contains(text)).await
    }

    /// Everything that was printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn interrupt(mut self) -> Result<Ending, Mishap> {
        self.running.signal(rustix::process::Signal::INT);
        self.running.ended().await
    }
}

/// The password that every person chooses.
pub(super) const PASSWORD: &str = "correct horse battery staple";
