//! The product as it is used: real agents at one side of the wire, the real `postern` command at the other.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_protocol::policy::Target;

use super::child::{Program, finish};
use super::hub::Hub;
use super::link::{Link, Side};
use super::machine;
use super::policy::{Content, service_name};
use super::vpn::NETWORK;
use crate::programs::{Program as Name, Shelf};
use crate::world::{Mishap, Near};

/// A hub, an engineer who is signed in, and the means to add devices.
#[derive(Debug)]
pub struct Site {
    /// The hub.
    pub hub: Hub,
    link: Link,
    dir: PathBuf,
    shelf: Shelf,
    machine: u16,
}

/// A device with a running agent.
#[derive(Debug)]
pub struct Device {
    name: String,
    config: PathBuf,
    executable: PathBuf,
    listen: SocketAddr,
    link: Link,
    agent: Option<Program>,
}

impl Site {
    /// Starts a hub and signs the engineer in. `machine` is the port of the machine behind all devices.
    ///
    /// # Errors
    /// When a step fails, with what was printed.
    pub fn start(link: &Link, dir: &Path, machine: u16) -> Result<Self, Mishap> {
        let executable = std::env::current_exe()?;
        let shelf = Shelf::fill(dir.join("bin"), &executable).map_err(Mishap::io("linking the programs"))?;
        let hub = Hub::start(link)?;
        let site = Self { hub, link: link.clone(), dir: dir.to_owned(), shelf, machine };
        let mut login = site.client();
        login.args(["login", &site.hub.invite()?, "--password-stdin"]);
        finish(login, "correct horse battery staple\n")?;
        Ok(site)
    }

    /// Enrols a device that keeps its state below `state` and starts its agent.
    ///
    /// # Errors
    /// When a step fails, with what was printed.
    pub fn device(&self, name: &str, state: &Path) -> Result<Device, Mishap> {
        self.device_with(name, state, &self.shelf.path(Name::Agent))
    }

    /// As [`device`](Self::device), with another build of the agent.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn device_with(&self, name: &str, state: &Path, executable: &Path) -> Result<Device, Mishap> {
        self.bring_up(name, state, executable, self.content())
    }

    /// As [`device`](Self::device), under another policy.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn device_under(&self, name: &str, state: &Path, content: Content) -> Result<Device, Mishap> {
        self.bring_up(name, state, &self.shelf.path(Name::Agent), content)
    }

    /// As [`device`](Self::device), with another build of the agent and under another policy.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn bring_up(
        &self,
        name: &str,
        state: &Path,
        executable: &Path,
        content: Content,
    ) -> Result<Device, Mishap> {
        let dir = state.join(name);
        fs::create_dir_all(&dir)?;
        let config = dir.join("agent.toml");
        let listen = free_port(&self.link, SocketAddr::new(self.link.address(Side::Device), 0))?;
        let (state, socket) = (dir.join("state"), dir.join("control.sock"));
        let text = format!(
            "state_dir = {state:?}\nlisten = \"{listen}\"\nmachine_networks = [\"127.0.0.1/32\", \"{NETWORK}\"]\n\n\
             [control]\nsocket = {socket:?}\nmode = 0o600\n\n\
             [caps]\nconnections = 256\nstrangers = 64\ntunnels = 1024\nflows = 12000\n"
        );
        fs::write(&config, text)?;
        let code = self.hub.add_device(name, content)?;
        let executable = executable.to_owned();
        let (name_of, link) = (name.to_owned(), self.link.clone());
        let mut device = Device { name: name_of, config, executable, listen, link, agent: None };
        finish(device.command(&["enroll", &code]), "")?;
        device.start()?;
        self.hub.settled(name)?;
        Ok(device)
    }

    /// The policy under which everything but policy itself is measured.
    #[must_use]
    pub fn content(&self) -> Content {
        let at = machine::local(self.machine);
        Content::small(Target { ip: at.ip(), port: at.port() })
    }

    /// Runs `postern connect` to a device's machine and yields its local listener.
    ///
    /// # Errors
    /// When no listener comes up, with what was printed instead.
    pub fn connect(&self, device: &str) -> Result<(Program, SocketAddr), Mishap> {
        let (program, near) = self.connect_to(device, &service_name(0))?;
        Ok((program, near.address))
    }

    /// Runs `postern connect` to one of a device's services and yields its local listener.
    ///
    /// # Errors
    /// When no listener comes up, with what was printed instead.
    pub fn connect_to(&self, device: &str, service: &str) -> Result<(Program, Near), Mishap> {
        let mut command = self.client();
        command.args(["connect", device, service, "--json"]);
        let program = Program::start("postern", command)?;
        let line = program.line("://")?;
        let near =
            Near::announced(&line).ok_or_else(|| Mishap::unexpected("the URL", &line, "JSON with one"))?;
        Ok((program, near))
    }

    /// Runs `postern vpn` to one of a device's services, with options, and waits until its adapter is up.
    ///
    /// # Errors
    /// When it does not come up, with what was printed instead.
    pub fn vpn(&self, device: &str, service: &str, options: &[&str]) -> Result<Program, Mishap> {
        let mut command = self.client();
        // Its sockets lie with its files, whoever runs this.
        command.env_remove("XDG_RUNTIME_DIR").args(["vpn", device, "--service", service, "--json"]);
        command.args(options);
        let program = Program::start("postern vpn", command)?;
        program.line("\"interface\"")?;
        Ok(program)
    }

    /// Whether `postern vpn` has an option.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn vpn_has(&self, option: &str) -> Result<bool, Mishap> {
        let mut command = self.client();
        command.args(["vpn", "--help"]);
        Ok(finish(command, "")?.contains(option))
    }

    /// Runs `postern proxy` to one of a device's VPNs and yields its local listener.
    ///
    /// # Errors
    /// When no listener comes up, with what was printed instead.
    pub fn proxy(&self, device: &str, service: &str) -> Result<(Program, SocketAddr), Mishap> {
        let mut command = self.client();
        command.args(["proxy", device, "--service", service, "--listen", "0", "--json"]);
        let program = Program::start("postern proxy", command)?;
        let line = program.line("{")?;
        let at = line.split('"').filter_map(|word| word.parse::<SocketAddr>().ok()).next();
        let at = at.ok_or_else(|| Mishap::unexpected("the listener", &line, "JSON with an address"))?;
        Ok((program, at))
    }

    /// The programs.
    #[must_use]
    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The profile of the engineer.
    #[must_use]
    pub fn engineer(&self) -> PathBuf {
        self.dir.join("engineer")
    }

    fn client(&self) -> Command {
        let mut command = self.link.command(Side::Client, self.shelf.path(Name::Client).as_os_str());
        command.env("POSTERN_HOME", self.engineer()).env("NO_COLOR", "1");
        command
    }
}

impl Device {
    /// Prepares it to carry packets to what is behind `interface`, and starts its agent again.
    ///
    /// # Errors
    /// When a step fails, with what was printed.
    pub fn prepare_for_packets(&mut self, interface: &str) -> Result<(), Mishap> {
        self.stop()?;
        let mut config = fs::read_to_string(&self.config)?;
        config.push_str(&format!("\n[packet_vpn]\ntun = \"packets0\"\ninterface = \"{interface}\"\n"));
        fs::write(&self.config, config)?;
        let note = self.config.with_file_name("packets");
        let mut command = self.command(&["packet-vpn", "--state"]);
        command.arg(note).arg("up");
        finish(command, "")?;
        self.start().map(drop)
    }

    /// Runs a command of its program and yields what it printed.
    ///
    /// # Errors
    /// When it fails, with what it printed.
    pub fn run(&self, args: &[&str]) -> Result<String, Mishap> {
        finish(self.command(args), "")
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.config.with_file_name("state")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves clients.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Starts its agent and waits until it serves clients. Yields the line that says where.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&mut self) -> Result<String, Mishap> {
        let agent = Program::start(&format!("the agent of {}", self.name), self.command(&["run"]))?;
        let line = agent.line("listening on")?;
        self.agent = Some(agent);
        Ok(line)
    }

    /// Ends its agent in order.
    ///
    /// # Errors
    /// When the kernel does not report its end.
    pub fn stop(&mut self) -> Result<(), Mishap> {
        self.agent.take().map_or(Ok(()), Program::stop)
    }

    /// The process id of its agent.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32, Mishap> {
        let missing = || Mishap::unexpected(format!("the agent of {}", self.name), "none", "a running one");
        self.agent.as_ref().map(Program::pid).ok_or_else(missing)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.link.command(Side::Device, OsStr::new(&self.executable));
        command.arg("--config").arg(&self.config).args(args).env("NO_COLOR", "1");
        command
    }
}

/// A UDP port that is free now: an agent that is started again must be found where it was.
fn free_port(link: &Link, listen: SocketAddr) -> Result<SocketAddr, Mishap> {
    link.within(Side::Device, || Ok(std::net::UdpSocket::bind(listen)?.local_addr()?))
}
