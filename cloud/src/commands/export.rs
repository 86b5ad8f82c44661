//! `export`: the model as a fleet file, which applies to no change.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde_json::json;

use super::{Answer, CommandError, open};
use crate::fleet;

pub(super) fn run(state: &Path, output: Option<&Path>, force: bool) -> Result<Answer, CommandError> {
    let (model, revision) = open(state)?.read(|tx| Ok::<_, CommandError>((tx.model()?, tx.revision()?)))?;
    let text = fleet::write(&model)?;
    let Some(output) = output else {
        let json = json!({ "revision": revision, "fleet": text });
        return Ok(Answer { text, json });
    };
    save(output, &text, force)?;
    let (users, devices) = (model.users.len(), model.devices.len());
    let said = format!(
        "Revision {revision} was written to {}: {users} users, {devices} devices.\n",
        output.display()
    );
    let json = json!({ "revision": revision, "file": output, "users": users, "devices": devices });
    Ok(Answer { text: said, json })
}

/// Writes a fleet file. One that is replaced is written beside and renamed, so that a full disk does not leave half a fleet.
pub(super) fn save(output: &Path, text: &str, force: bool) -> Result<(), CommandError> {
    let io = |error| CommandError::Io { what: "the fleet file", error };
    if !force {
        let file = std::fs::File::options().write(true).create_new(true).open(output);
        let mut file = file.map_err(|error| {
            let exists = error.kind() == ErrorKind::AlreadyExists;
            if exists { CommandError::Exists(output.to_owned()) } else { io(error) }
        })?;
        return file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io);
    }
    let mut beside = output.as_os_str().to_owned();
    beside.push(".new");
    let mut file = std::fs::File::create(&beside).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    std::fs::rename(&beside, output).map_err(io)
}
