//! The hub: `postern-cloud` with a state directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postern_protocol::trust::SecretKey;
use serde_json::Value;

use super::api::Api;
use super::bus::Bus;
use super::file_in;
use super::mishap::{Ending, Mishap};
use super::process::{Call, Done, Running};
use super::watch::Watch;
use crate::programs::{Program, Shelf};
use crate::shim::{Conditions, Shim};

/// A hub, running or not.
#[derive(Debug)]
pub struct Hub {
    program: PathBuf,
    state: PathBuf,
    address: SocketAddr,
    relays: Relays,
    /// Where it shares what is published with other hubs, and on how many servers.
    nats: Option<(String, usize)>,
    logs_all: bool,
    has_api: bool,
    is_watched: bool,
    /// Whether the installation has another address for it.
    is_twin: bool,
    running: Option<Running>,
    past: String,
}

/// Who relays for a hub.
#[derive(Debug)]
enum Relays {
    /// Itself.
    Itself,
    /// Itself, behind a path; where it is.
    Behind(SocketAddr, Shim),
    /// Somebody elsewhere.
    At(SocketAddr),
}

impl Hub {
    /// Makes keys and an empty model.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn init(shelf: &Shelf, state: PathBuf, address: SocketAddr) -> Result<Self, Mishap> {
        Self::found(shelf, state, address, &[address]).await
    }

    /// The same for an installation that is reached at these addresses.
    pub(super) async fn found(
        shelf: &Shelf,
        state: PathBuf,
        address: SocketAddr,
        reached: &[SocketAddr],
    ) -> Result<Self, Mishap> {
        Self::found_in(shelf, state, address, reached, None).await
    }

    /// The same with its state in a database, where one is given.
    pub(super) async fn found_in(
        shelf: &Shelf,
        state: PathBuf,
        address: SocketAddr,
        reached: &[SocketAddr],
        database: Option<&str>,
    ) -> Result<Self, Mishap> {
        let hub = Self::at(shelf.path(Program::Cloud), state, address);
        let mut init = hub.call(["init", "--listen", &address.to_string()]);
        if let Some(url) = database {
            init = init.arg("--database").arg(url);
        }
        for at in reached {
            init = init.arg("--advertise").arg(at.to_string());
        }
        init.finish().await?.expect_code(0)?;
        Ok(hub)
    }

    /// Makes the directory of a hub without the model, for another machine.
    pub(super) async fn edge(&self, state: PathBuf, address: SocketAddr) -> Result<Self, Mishap> {
        self.edge_of(state, address, &[self.address]).await
    }

    /// The same where the model is at one of these addresses.
    pub(super) async fn edge_of(
        &self,
        state: PathBuf,
        address: SocketAddr,
        primaries: &[SocketAddr],
    ) -> Result<Self, Mishap> {
        let mut new = self.call(["edge", "new"]).arg(&state).arg("--listen").arg(address.to_string());
        for primary in primaries {
            new = new.arg("--primary").arg(primary.to_string());
        }
        new.finish().await?.expect_code(0)?;
        Ok(Self::at(self.program.clone(), state, address))
    }

    /// A hub with the same keys, as on another machine.
    pub(super) fn twin(&self, state: PathBuf, address: SocketAddr) -> Result<Self, Mishap> {
        std::fs::create_dir(&state)?;
        for entry in std::fs::read_dir(&self.state)? {
            let entry = entry?;
            let name = entry.file_name();
            // Of its own is by which it ends connections that it has forgotten.
            let is_state = name.to_str().is_some_and(|name| {
                (name.ends_with(".key") && name != "reset.key") || name.ends_with(".toml")
            });
            if is_state {
                std::fs::copy(entry.path(), state.join(name))?;
            }
        }
        Ok(Self { is_twin: true, ..Self::at(self.program.clone(), state, address) })
    }

    const fn at(program: PathBuf, state: PathBuf, address: SocketAddr) -> Self {
        Self {
            program,
            state,
            address,
            relays: Relays::Itself,
            nats: None,
            logs_all: false,
            has_api: false,
            is_watched: false,
            is_twin: false,
            running: None,
            past: String::new(),
        }
    }

    /// Has it share what is published with other hubs, from its next start on.
    pub fn share(&mut self, bus: &Bus) {
        self.nats = Some((bus.urls(), bus.count()));
    }

    /// A command of `postern-cloud` on this hub.
    #[must_use]
    pub fn call<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call {
        let mut args = args.into_iter();
        let command: Vec<&str> = args.by_ref().take(1).collect();
        Call::new(&self.program).args(command).arg("--state").arg(&self.state).args(args)
    }

    /// The running hub.
    ///
    /// # Errors
    /// When none runs.
    pub fn running(&self) -> Result<&Running, Mishap> {
        self.running.as_ref().ok_or_else(|| Mishap::unexpected("the hub", "none", "a running one"))
    }

    /// Its state directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// Puts a path before its relay, from its next start on.
    pub(super) fn relay_behind(&mut self, relay: SocketAddr, conditions: Conditions) -> Result<(), Mishap> {
        let shim = Shim::before(relay.ip(), relay, conditions).map_err(Mishap::io("opening a path"))?;
        self.relays = Relays::Behind(relay, shim);
        Ok(())
    }

    /// The path before its relay, where there is one.
    pub(super) const fn path(&self) -> Option<&Shim> {
        match &self.relays {
            Relays::Behind(_, path) => Some(path),
            Relays::Itself | Relays::At(_) => None,
        }
    }

    /// Has it and its libraries log all that they can, from its next start on.
    pub const fn log_everything(&mut self) {
        self.logs_all = true;
    }

    /// Has it answer its API as well, from its next start on.
    pub const fn open_api(&mut self) {
        self.has_api = true;
    }

    /// Has it answer those who watch as well, from its next start on.
    pub const fn open_metrics(&mut self) {
        self.is_watched = true;
    }

    /// Where it is watched.
    ///
    /// # Errors
    /// When it is not.
    pub async fn watch(&self) -> Result<Watch, Mishap> {
        let said = |line: &super::process::Line| line.text.contains("metrics on http://");
        Watch::in_line(&self.running()?.line("where the metrics are", said).await?.text)
    }

    /// Where it answers its API.
    ///
    /// # Errors
    /// When it does not.
    pub async fn api(&self) -> Result<SocketAddr, Mishap> {
        let line =
            self.running()?.line("where the API is", |line| line.text.contains("API on http://")).await?;
        let at = line.text.rsplit_once("http://").and_then(|(_, at)| at.trim().parse().ok());
        at.ok_or_else(|| Mishap::unexpected("where the API is", line.text, "an address"))
    }

    /// A program that asks the API in the name of a user.
    ///
    /// # Errors
    /// When there is no API, or no such user.
    pub async fn program(&self, user: &str) -> Result<Api, Mishap> {
        let made =
            self.call(["token", "new", user, "--for", "test", "--days", "1", "--json"]).finish().await?;
        let made = made.expect_code(0)?.json()?;
        let token = made.get("token").and_then(Value::as_str).map(str::to_owned);
        let token = token.ok_or_else(|| Mishap::unexpected("the token", &made, "a token"))?;
        Ok(Api { at: self.api().await?, token })
    }

    /// Has a relay elsewhere relay for it, from its next start on.
    pub fn relay_at(&mut self, relay: SocketAddr) {
        self.relays = Relays::At(relay);
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes a fleet file with some values set from outside (`KEY=VALUE`).
    ///
    /// # Errors
    /// When it is refused, with what was said.
    pub async fn apply(&self, fleet: &str, set: &[String]) -> Result<Done, Mishap> {
        self.try_apply(fleet, set).await?.expect_code(0)
    }

    /// As [`apply`](Self::apply), for fleets that may be refused.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub async fn try_apply(&self, fleet: &str, set: &[String]) -> Result<Done, Mishap> {
        let path = file_in(&self.state, "fleet.toml", fleet)?;
        let mut call = self.call(["apply", "--yes"]);
        for assignment in set {
            call = call.arg("--set").arg(assignment);
        }
        call.arg(path).finish().await
    }

    /// Starts to serve agents and people.
    ///
    /// # Errors
    /// When it ends, or is silent for too long.
    pub async fn serve(&mut self) -> Result<(), Mishap> {
        self.start()?;
        self.takes_over().await
    }

    /// Starts while another one with its keys serves, and waits until it says so.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn stand_by(&mut self) -> Result<(), Mishap> {
        self.start()?;
        let waits = |line: &super::process::Line| line.text.contains("waits to take its place");
        self.running()?.line("that it waits", waits).await.map(drop)
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn takes_over(&mut self) -> Result<(), Mishap> {
        self.running()?.line("that it listens", |line| line.text.contains("listening on")).await.map(drop)
    }

    fn start(&mut self) -> Result<(), Mishap> {
        self.retire();
        // The port that it would take may be somebody else's.
        let near = SocketAddr::new(self.address.ip(), 0);
        let serve = match &self.relays {
            Relays::Itself => self.call(["serve", "--relay"]).arg(near.to_string()),
            Relays::Behind(relay, path) => self
                .call(["serve", "--relay"])
                .arg(relay.to_string())
                .arg("--relay-at")
                .arg(path.at.to_string()),
            Relays::At(relay) => self.call(["serve", "--no-relay", "--relay-at"]).arg(relay.to_string()),
        };
        let serve = match &self.nats {
            Some((urls, copies)) => serve.args(["--nats", urls, "--nats-replicas"]).arg(copies.to_string()),
            None => serve,
        };
        let serve = if self.has_api { serve.args(["--api", "127.0.0.1:0"]) } else { serve };
        let serve = if self.is_watched { serve.args(["--metrics", "127.0.0.1:0"]) } else { serve };
        let serve = if self.logs_all { serve.env("POSTERN_LOG", "trace") } else { serve };
        let serve = if self.is_twin { serve.arg("--listen").arg(self.address.to_string()) } else { serve };
        self.running = Some(serve.start("hub")?);
        Ok(())
    }

    /// Ends in order.
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

    /// Ends as a power cut would.
    ///
    /// # Errors
    /// When none runs, or the kernel does not report its end.
    pub async fn kill(&mut self) -> Result<Ending, Mishap> {
        let missing = || Mishap::unexpected("the hub", "none", "a running one");
        let ending = self.running.as_mut().ok_or_else(missing)?.kill().await;
        self.retire();
        ending
    }

    fn retire(&mut self) {
        if let Some(running) = self.running.take() {
            self.past.push_str(&running.log());
        }
    }

    /// Its key, as `status` shows it to those who sign in without an invitation.
    ///
    /// # Errors
    /// When there is none.
    pub async fn key(&self) -> Result<String, Mishap> {
        let status = self.call(["status", "--json"]).finish().await?.expect_code(0)?.json()?;
        let key = status.pointer("/hub_keys/0").and_then(Value::as_str).map(str::to_owned);
        key.ok_or_else(|| Mishap::unexpected("the status of the hub", &status, "its key"))
    }

    /// The key that signs passes.
    pub(super) fn identity(&self) -> Result<SecretKey, Mishap> {
        let text = std::fs::read_to_string(self.state.join("identity.key"))?;
        let seed = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).ok();
        let key = seed.and_then(|seed| SecretKey::from_seed(seed.try_into().ok()?).ok());
        key.ok_or_else(|| Mishap::unexpected("the identity key", "nonsense", "a key"))
    }

    /// Has a program of its own relay for it, from its next start on.
    pub(super) async fn relay_apart(&mut self) -> Result<Running, Mishap> {
        let near = SocketAddr::new(self.address.ip(), 0).to_string();
        let key = self.state.join("relay.key");
        let relay = self.call(["relay", "--listen", &near, "--metrics", "127.0.0.1:0", "--key"]).arg(key);
        let relay = relay.start("relay")?;
        let line = relay.line("that it relays", |line| line.text.contains("relaying on")).await?.text;
        let at = line.split([' ', ',']).find_map(|word| word.parse().ok());
        self.relays = Relays::At(at.ok_or_else(|| Mishap::unexpected("the relay", &line, "an address"))?);
        Ok(relay)
    }

    /// A code that enrols a device of the fleet.
    ///
    /// # Errors
    /// When the fleet has no such device.
    pub async fn enrolment_code(&self, device: &str) -> Result<String, Mishap> {
        code_in(&self.call(["device", "add", device]).finish().await?.expect_code(0)?)
    }

    /// A code that invites a user of the fleet.
    ///
    /// # Errors
    /// When the fleet has no such user.
    pub async fn invitation_code(&self, user: &str) -> Result<String, Mishap> {
        code_in(&self.call(["user", "invite", user]).finish().await?.expect_code(0)?)
    }

    /// The devices, as `device list --json` lists them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn devices(&self) -> Result<Vec<Value>, Mishap> {
        let answer = self.call(["device", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
        let rows = answer.as_array().or_else(|| answer.get("devices").and_then(Value::as_array));
        rows.cloned().ok_or_else(|| Mishap::unexpected("the list of devices", &answer, "devices"))
    }

    /// Waits until a device has acknowledged the newest version of its policy.
    ///
    /// # Errors
    /// When it does not in time, with the last listing.
    pub async fn until_acknowledged(&self, device: &str) -> Result<(), Mishap> {
        let begun = Instant::now();
        loop {
            let devices = self.devices().await?;
            let row = devices.iter().find(|row| row.get("name").and_then(Value::as_str) == Some(device));
            if row.is_some_and(is_acknowledged) {
                return Ok(());
            }
            if begun.elapsed() > ACKNOWLEDGED_WITHIN {
                let seen = devices.iter().map(|row| format!("{row}\n")).collect();
                let what = format!("the acknowledgement of the newest policy by {device}");
                return Err(Mishap::Deadline { what, within: ACKNOWLEDGED_WITHIN, seen });
            }
        }
    }

    /// Everything that it printed.
    #[must_use]
    pub fn log(&self) -> String {
        let present = self.running.as_ref().map(Running::log).unwrap_or_default();
        format!("{}{present}", self.past)
    }
}

fn is_acknowledged(row: &Value) -> bool {
    let version = |key| row.get(key).and_then(Value::as_u64);
    version("applied").is_some() && version("applied") == version("latest")
}

/// The code among what a command printed.
fn code_in(done: &Done) -> Result<String, Mishap> {
    let code = done.out.split_whitespace().find(|word| word.starts_with("postern-") && word.len() > 60);
    code.map(str::to_owned).ok_or_else(|| Mishap::unexpected(&done.command, &done.out, "a code"))
}

const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);
