//! `init`: founds an installation.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Answer, CommandError};
use crate::clock;
use crate::keys::{self, Origin, Plan};
use crate::store::DatabaseFile;

pub(super) fn run(
    state: &Path,
    listen: SocketAddr,
    advertise: Vec<SocketAddr>,
    origin: Origin,
    database: Option<DatabaseFile>,
) -> Result<Answer, CommandError> {
    // Codes carry addresses; "everywhere" is none.
    if listen.ip().is_unspecified() && advertise.is_empty() {
        return Err(CommandError::NoAdvertise { listen });
    }
    let made_here = match origin {
        Origin::Here { keys, threshold } => Some((keys, threshold)),
        Origin::Ceremony { .. } => None,
    };
    let is_elsewhere = database.is_some();
    let installation = keys::found_in(state, &Plan { listen, advertise, origin }, database, clock::now())?;
    let (place, fleet) = (state.display(), installation.fleet);
    let offline = state.join(keys::OFFLINE);
    let files: Vec<_> = match made_here {
        Some((keys, _)) => (1..=keys).map(|n| offline.join(format!("root-{n}.key"))).collect(),
        None => Vec::new(),
    };
    let advice = match made_here {
        Some((_, threshold)) => move_away(&files, threshold),
        None => "Its root keys were never here. Keep it like that.\n".to_owned(),
    };
    let elsewhere = if is_elsewhere { ", and of the database" } else { "" };
    let text = format!(
        "Installation {fleet} was founded in {place}.\n\n{advice}\
         Keep a backup of the rest of {place}{elsewhere}.\n\nNext: postern-cloud --state {place} apply FLEET\n"
    );
    let json = json!({
        "fleet": fleet,
        "state": state,
        "offline": made_here.map(|_| offline),
        "root_keys": files,
        "root_threshold": made_here.map(|(_, threshold)| threshold),
        "listen": installation.listen,
        "advertise": installation.advertise,
    });
    Ok(Answer { text, json })
}

fn move_away(files: &[PathBuf], threshold: u8) -> String {
    let files: Vec<String> = files.iter().map(|file| format!("  {}\n", file.display())).collect();
    format!(
        "Its root keys say who may sign what; {threshold} of them together can replace every other key:\n\n{}\n\
         Move each to a medium of its own, now, and give the media to different people. Nothing that runs needs\n\
         them; `postern-cloud root` does, when keys change and before {}.\n\n",
        files.concat(),
        clock::show(clock::now().saturating_add(keys::ROOT_LIFETIME_S)),
    )
}
