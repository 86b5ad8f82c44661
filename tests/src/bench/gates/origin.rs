//! The machine behind the gates, and the proxies before it: everything at the device's side.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::super::child::{Program, is_installed};
use super::super::link::{Link, Side};
use super::super::machine::local;
use crate::machine::Machine;
use crate::world::Mishap;
use crate::world::target::Target;

/// Where everything is. It ends with this process.
#[derive(Debug)]
pub(super) struct Origin {
    /// A web server with `/small` and `/large`, where nginx is installed.
    pub(super) web: Option<SocketAddr>,
    /// Frames: what comes goes back, unless `/source` is asked for.
    pub(super) live: SocketAddr,
    /// A screen.
    pub(super) screen: SocketAddr,
    /// nginx before web server and frames.
    pub(super) proxy: Option<SocketAddr>,
    /// websockify before the screen.
    pub(super) bridge: Option<SocketAddr>,
    _programs: Vec<Program>,
}

impl Origin {
    /// Starts it.
    ///
    /// # Errors
    /// When a part does not come up.
    pub(super) fn start(link: &Link, dir: &Path) -> Result<Self, Mishap> {
        let (live, screen) = link.within(Side::Device, serve)?;
        let mut programs = Vec::new();
        let (mut web, mut proxy, mut bridge) = (None, None, None);
        if is_installed("nginx") {
            let [one, other] = [free(link)?, free(link)?];
            programs.push(nginx(link, dir, one, other, live)?);
            (web, proxy) = (Some(one), Some(other));
        }
        if is_installed("websockify") {
            let at = free(link)?;
            let mut command = link.command(Side::Device, OsStr::new("setpriv"));
            command.args(["--pdeathsig", "KILL", "websockify", &at.to_string(), &screen.to_string()]);
            let program = Program::start("websockify", command)?;
            program.line("proxying")?;
            programs.push(program);
            bridge = Some(at);
        }
        Ok(Self { web, live, screen, proxy, bridge, _programs: programs })
    }
}

/// Frames and a screen, on a thread of their own that inherits the place of this one.
pub(in crate::bench) fn serve() -> Result<(SocketAddr, SocketAddr), Mishap> {
    let (sender, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let run = || -> Result<(), Mishap> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (frames, press) = (Target::frames().await?, Machine::start(7).await?);
                let _nobody_waits = sender.send((frames.address, press.vnc));
                std::future::pending::<()>().await;
                Ok(())
            })
        };
        if let Err(fault) = run() {
            eprintln!("postern-bench: the machine: {fault}");
        }
    });
    started.recv().map_err(|_| Mishap::unexpected("the machine", "its end", "addresses"))
}

fn nginx(
    link: &Link,
    dir: &Path,
    web: SocketAddr,
    proxy: SocketAddr,
    live: SocketAddr,
) -> Result<Program, Mishap> {
    let place = dir.join("nginx");
    fs::create_dir_all(place.join("root"))?;
    fs::write(place.join("root/small"), [b'x'; 1024])?;
    fs::File::create(place.join("root/large"))?.set_len(super::talk::LARGE)?;
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let at = place.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"));
    let config = format!(
        "{user} worker_processes 1; pid {at}/pid; error_log stderr notice; events {{}}\n\
         http {{ access_log off; sendfile on; keepalive_requests 1000000; {}\n\
         upstream web {{ server {web}; keepalive 32; }} upstream live {{ server {live}; }}\n\
         server {{ listen {web}; root {at}/root; }}\n\
         server {{ listen {proxy}; proxy_http_version 1.1;\n\
           location / {{ proxy_set_header Connection ''; proxy_pass http://web; }}\n\
           location /frames/ {{ proxy_buffering off; proxy_set_header Connection upgrade; proxy_set_header Upgrade websocket; proxy_pass http://live; }}\n\
         }} }}\n",
        temporary.join(" ")
    );
    let path = place.join("nginx.conf");
    fs::write(&path, config)?;
    let mut command = link.command(Side::Device, OsStr::new("setpriv"));
    command.args(["--pdeathsig", "KILL", "nginx", "-e", "stderr", "-g", "daemon off;", "-c"]).arg(path);
    let program = Program::start("nginx", command)?;
    program.line("start worker process")?;
    Ok(program)
}

/// A port that is free now at the device's side.
fn free(link: &Link) -> Result<SocketAddr, Mishap> {
    link.within(Side::Device, || Ok(TcpListener::bind(local(0))?.local_addr()?))
}
