//! The note about what was changed, for whoever takes it back: also after a crash, until the next start of the system, which
//! forgets all of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PacketVpnError;

/// What was changed, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The interface that was made.
    pub(super) tun: String,
    /// Interfaces from which nothing was forwarded before.
    pub(super) forwarding: Vec<String>,
}

impl State {
    /// The note; none where nothing was changed.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, PacketVpnError> {
        let path = file(dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PacketVpnError::File { path, error }),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| PacketVpnError::File { path, error: error.into() })
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), PacketVpnError> {
        let (path, draft) = (file(dir), dir.join("state.new"));
        let text = serde_json::to_vec(self).unwrap_or_default();
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&draft, text))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| PacketVpnError::File { path, error })
    }

    /// Removes it.
    pub(super) fn remove(dir: &Path) -> Result<(), PacketVpnError> {
        let path = file(dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PacketVpnError::File { path, error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_gone_when_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("deeper");
        assert_eq!(State::read(&place).unwrap(), None);
        let state = State { tun: "postern0".to_owned(), forwarding: vec!["eth1".to_owned()] };
        state.write(&place).unwrap();
        assert_eq!(State::read(&place).unwrap(), Some(state));
        State::remove(&place).unwrap();
        State::remove(&place).unwrap();
        assert_eq!(State::read(&place).unwrap(), None);
    }
}
