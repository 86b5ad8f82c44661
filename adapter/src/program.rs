//! How the program is started: for one client, or as a service for all who may open its socket.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use crate::passing::InboxFault;
use crate::session::serve;

/// Runs the program; the first argument is its name. `--connect PATH` serves the client that listens there, `--service`
/// serves everybody who may open [`SERVICE`].
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    let outcome = match args.as_slice() {
        [how, path] if how == "--connect" => connect(Path::new(path)),
        [how] if how == "--service" => service(Path::new(SERVICE)),
        [how] if how == "--version" => {
            println!("postern-adapter {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => Err(Mishap::Usage),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(mishap) => {
            eprintln!("postern-adapter: {mishap}");
            ExitCode::FAILURE
        }
    }
}

/// What ends the program early.
#[derive(Debug, thiserror::Error)]
enum Mishap {
    #[error("started by `postern vpn` with `--connect PATH`, or as a service with `--service`")]
    Usage,
    #[error("the socket: {0}")]
    Socket(#[from] io::Error),
    #[error("the client belongs to another user than the one who started this")]
    OtherUser,
    #[error(transparent)]
    Client(#[from] InboxFault),
}

/// Serves one client, which waits for it.
fn connect(path: &Path) -> Result<(), Mishap> {
    let client = UnixStream::connect(path)?;
    let uid = socket_peercred(&client).map_err(io::Error::from)?.uid.as_raw();
    // Who was it that asked `sudo` or `pkexec`? Where none did, it is whoever runs this.
    let asked = ["SUDO_UID", "PKEXEC_UID"].iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    let here = rustix::process::getuid().as_raw();
    // A socket of somebody else in that place must not get an adapter from this user's rights.
    if uid != asked.unwrap_or(here) && uid != here {
        return Err(Mishap::OtherUser);
    }
    Ok(serve(&client)?)
}

/// Serves who may open the socket; the directory says who that is.
fn service(path: &Path) -> Result<(), Mishap> {
    // What a service that was killed left behind; nothing else is removed.
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let served = Arc::new(AtomicUsize::new(0));
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(fault) => {
                // Out of files, of which each client has some: they come back when one leaves.
                eprintln!("postern-adapter: nobody can come: {fault}");
                thread::sleep(ACCEPT_AGAIN);
                continue;
            }
        };
        if served.load(Ordering::Relaxed) >= CLIENTS {
            continue;
        }
        served.fetch_add(1, Ordering::Relaxed);
        let counted = Arc::clone(&served);
        let spawned = thread::Builder::new().spawn(move || {
            let uid = socket_peercred(&client).map_or(u32::MAX, |peer| peer.uid.as_raw());
            eprintln!("postern-adapter: user {uid} came");
            match serve(&client) {
                Ok(()) => eprintln!("postern-adapter: user {uid} left"),
                Err(fault) => eprintln!("postern-adapter: user {uid}: {fault}"),
            }
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            served.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Where the service listens; who may come into the directory may ask for an adapter.
pub const SERVICE: &str = "/run/postern-adapter/socket";
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// Clients at the same time; further ones are hung up on.
const CLIENTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Answer, Ask};
    use crate::passing::{Inbox, send};

    #[test]
    fn a_service_answers_where_one_was_killed_and_leaves_a_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let served = path.clone();
        thread::spawn(move || service(&served));
        let client = loop {
            // Until the service has taken the place of the one that was killed.
            if let Ok(client) = UnixStream::connect(&path) {
                break client;
            }
            thread::yield_now();
        };
        send(&client, &Ask::Routes { routes: Vec::new() }, None).unwrap();
        let mut inbox = Inbox::default();
        inbox.fill(&client).unwrap();
        assert_eq!(inbox.take::<Answer>().unwrap(), Some(Answer::Unexpected), "there is no adapter yet");
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(
            matches!(service(&file), Err(Mishap::Socket(error)) if error.kind() == io::ErrorKind::AddrInUse)
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[test]
    fn who_is_started_serves_whoever_started_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let started = thread::spawn(move || connect(&path));
        drop(listener.accept().unwrap());
        started.join().unwrap().unwrap();
    }
}
