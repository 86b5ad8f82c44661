//! `ssh -L` and `ssh -w`: what people use today, with an own server, own keys and nothing of the machine's configuration.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::child::{Program, is_installed};
use super::link::{Link, Side, run};
use super::machine;
use crate::world::Mishap;

/// A server and its clients.
#[derive(Debug)]
pub struct Ssh {
    dir: PathBuf,
    at: SocketAddr,
    server: Program,
}

impl Ssh {
    /// Whether client and server are installed.
    #[must_use]
    pub fn is_there() -> bool {
        is_installed("ssh") && is_installed("ssh-keygen") && is_installed("setpriv") && sshd().is_some()
    }

    /// Makes keys in `dir` and starts a server at the device's side.
    ///
    /// # Errors
    /// When the server does not come up.
    pub fn start(link: &Link, dir: &Path) -> Result<Self, Mishap> {
        Self::start_at(link, dir, Side::Device, link.address(Side::Device))
    }

    /// As [`start`](Self::start), at another side.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_at(link: &Link, dir: &Path, side: Side, address: IpAddr) -> Result<Self, Mishap> {
        let missing = || Mishap::unexpected("the ssh server", "none", "an installed one");
        let sshd = sshd().ok_or_else(missing)?;
        let dir = dir.join("ssh");
        fs::create_dir_all(&dir)?;
        for name in ["host", "user"] {
            let path = dir.join(name).display().to_string();
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path])?;
        }
        fs::copy(dir.join("user.pub"), dir.join("authorized"))?;
        let port = link.within(side, || Ok(TcpListener::bind((address, 0))?.local_addr()?.port()))?;
        let at = SocketAddr::new(address, port);
        let config = format!(
            "ListenAddress {at}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPermitTunnel yes\nPidFile none\nLogLevel INFO\n",
            dir.display()
        );
        fs::write(dir.join("sshd_config"), config)?;
        // The server drops privileges into this directory, which exists only where its service runs.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        let mut command = link.command(side, OsStr::new("setpriv"));
        command.args(["--pdeathsig", "KILL"]).arg(sshd).args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
        let server = Program::start("sshd", command)?;
        server.line("listening on")?;
        Ok(Self { dir, at, server })
    }

    /// Starts a client that forwards a free local port to the machine with `cipher`.
    ///
    /// # Errors
    /// When it does not connect.
    pub fn forward(&self, link: &Link, cipher: &str, machine: u16) -> Result<(Program, SocketAddr), Mishap> {
        let local = link.within(Side::Client, || Ok(TcpListener::bind(machine::local(0))?.local_addr()?))?;
        let forwarded = format!("{local}:{}", machine::local(machine));
        Ok((self.client(link, cipher, &["-L", &forwarded])?, local))
    }

    /// As [`forward`](Self::forward), by way of another server, which sees what it cannot read.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_over(
        &self,
        link: &Link,
        jump: &Self,
        cipher: &str,
        machine: u16,
    ) -> Result<(Program, SocketAddr), Mishap> {
        let local = link.within(Side::Client, || Ok(TcpListener::bind(machine::local(0))?.local_addr()?))?;
        let forwarded = format!("{local}:{}", machine::local(machine));
        let options = OPTIONS.map(|option| format!("-o {option}")).join(" ");
        let proxy = format!(
            "ProxyCommand=ssh -F none -c {cipher} -i {}/user {options} -W %h:%p -p {} {}",
            jump.dir.display(),
            jump.at.port(),
            jump.at.ip()
        );
        Ok((self.client(link, cipher, &["-o", &proxy, "-L", &forwarded])?, local))
    }

    /// Starts a client that joins the adapters `tunUNIT` of both sides with `cipher`.
    ///
    /// # Errors
    /// When it does not connect.
    pub fn tunnel(&self, link: &Link, cipher: &str, unit: u8) -> Result<Program, Mishap> {
        let units = format!("{unit}:{unit}");
        self.client(link, cipher, &["-o", "Tunnel=point-to-point", "-w", &units])
    }

    fn client(&self, link: &Link, cipher: &str, what: &[&str]) -> Result<Program, Mishap> {
        let mut command = link.command(Side::Client, OsStr::new("setpriv"));
        command.args(["--pdeathsig", "KILL", "ssh", "-v", "-N", "-F", "none", "-c", cipher]);
        command.arg("-i").arg(self.dir.join("user"));
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command.args(what).args(["-p", &self.at.port().to_string(), &self.at.ip().to_string()]);
        let client = Program::start("ssh", command)?;
        client.line("Entering interactive session")?;
        Ok(client)
    }

    /// The server's process, whose children serve the clients.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// Nothing of the user's own configuration counts.
const OPTIONS: [&str; 4] =
    ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes"];

fn sshd() -> Option<&'static str> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists())
}
