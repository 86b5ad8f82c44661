//! Opens what a person looks through: the browser for a page, a VNC viewer for a screen.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use postern_protocol::policy::Kind;

use crate::connect::place::Place;
use crate::problem::Problem;

/// Starts the program and does not wait for it.
pub(crate) async fn open(kind: Kind, place: &Place) -> Result<(), Problem> {
    match kind {
        Kind::Http => {
            let url = place.url.clone();
            // Some systems are asked through a program that takes its time.
            let opened = tokio::task::spawn_blocking(move || webbrowser::open(&url)).await;
            match opened {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Problem::no_viewer("no browser could be started")),
            }
        }
        Kind::Vnc => open_vnc(place),
        Kind::Websocket | Kind::Vpn => {
            Err(Problem::no_viewer("nothing opens a service of this kind by itself"))
        }
    }
}

fn open_vnc(place: &Place) -> Result<(), Problem> {
    // macOS knows the scheme; elsewhere viewers take host and port with two colons.
    let target = format!("{}::{}", place.addr.ip(), place.addr.port());
    let (program, argument) = if cfg!(target_os = "macos") {
        (Some(PathBuf::from("/usr/bin/open")), place.url.clone())
    } else {
        (VIEWERS.iter().find_map(|name| find_program(name)), target)
    };
    let Some(program) = program else { return Err(Problem::no_viewer("no VNC viewer was found")) };
    let started = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.map(drop).map_err(|_| Problem::no_viewer("the VNC viewer could not be started"))
}

fn find_program(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(&file)).find(|candidate| candidate.is_file())
}

/// TigerVNC, RealVNC and TightVNC under the names that they are installed as.
const VIEWERS: &[&str] = &["vncviewer", "xtigervncviewer", "xtightvncviewer", "xvncviewer", "tvnviewer"];
