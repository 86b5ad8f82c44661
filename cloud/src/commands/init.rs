//! `init`: founds an installation.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use super::{Answer, CommandError};
use crate::clock;
use crate::keys::{self, Plan};

pub(super) fn run(
    state: &Path,
    listen: SocketAddr,
    advertise: Vec<SocketAddr>,
) -> Result<Answer, CommandError> {
    // Codes carry addresses; "everywhere" is none.
    if listen.ip().is_unspecified() && advertise.is_empty() {
        return Err(CommandError::NoAdvertise { listen });
    }
    let installation = keys::found(state, &Plan { listen, advertise }, clock::now())?;
    let offline = state.join(keys::OFFLINE);
    let text = format!(
        "Installation {fleet} was founded in {state}.\n\n\
         Move {offline} to a medium that you keep in a safe, now: whoever has the root key in it can replace every\n\
         other key, and no command but a change of roots needs it. Keep a backup of {state} as well.\n\n\
         Next: postern-cloud --state {state} apply FLEET\n",
        fleet = installation.fleet,
        state = state.display(),
        offline = offline.display(),
    );
    let json = json!({
        "fleet": installation.fleet,
        "state": state,
        "offline": offline,
        "listen": installation.listen,
        "advertise": installation.advertise,
    });
    Ok(Answer { text, json })
}
