//! `decommission`: ends a running agent, and overwrites and removes what makes this device what it is.

use std::time::{Duration, Instant};

use super::{Trouble, View, print};
use crate::control::{AskError, Request, ask};
use crate::daemon::StateDir;
use crate::exit::Exit;
use crate::recordings::Shelf;
use crate::store;

pub(super) fn run(view: &View<'_>, yes: bool, with_audit: bool) -> Result<Exit, Trouble> {
    let config = view.config;
    if !yes {
        return Err(Trouble::Unconfirmed { path: config.state_dir.clone() });
    }
    let state = match StateDir::lock(&config.state_dir) {
        Err(Trouble::Occupied { path }) => {
            match ask(&config.control.socket, &Request::Decommission {}) {
                // It ended by itself meanwhile, or is not the one that this socket leads to: the lock tells.
                Ok(_) | Err(AskError::NotRunning { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            wait_for_lock(&config.state_dir, path)?
        }
        locked => locked?,
    };
    let files = store::wipe_everything(state.path(), with_audit)?;
    if with_audit {
        Shelf::clear(state.path())?;
    }
    if view.json {
        view.show_json(&serde_json::json!({ "removed": files, "with_audit": with_audit }));
    } else {
        let trail =
            if with_audit { "the audit trail is gone as well" } else { "the audit trail is still there" };
        print(&format!(
            "{files} files were overwritten and removed; {trail}; in the cloud, \
             `postern-cloud device decommission NAME --forget` forgets this device's key"
        ));
    }
    Ok(Exit::Ok)
}

/// The agent that was told to stop lets its tunnels end first.
fn wait_for_lock(dir: &std::path::Path, occupied: std::path::PathBuf) -> Result<StateDir, Trouble> {
    let until = Instant::now() + PATIENCE;
    loop {
        match StateDir::lock(dir) {
            Err(Trouble::Occupied { .. }) if Instant::now() < until => std::thread::sleep(GLANCE),
            Err(Trouble::Occupied { .. }) => return Err(Trouble::Occupied { path: occupied }),
            locked => return locked,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(20);
