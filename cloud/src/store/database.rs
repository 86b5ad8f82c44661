//! Where the state of an installation is, if it is on a database server and not in its directory.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use postern_protocol::id::FleetId;
use serde::Deserialize;
use serde_json::json;

use super::engine::postgres::DatabaseError;

/// What `database.toml` in a state directory says. A password may be in it, so that nobody else may read it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatabaseFile {
    /// `postgres://USER@HOST/DATABASE`.
    pub url: String,
    /// Who may vouch for the server, as PEM; the system's authorities where there is none.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// A file whose first line is the password; in its absence it is in the URL or in `PGPASSWORD`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Whose keys are in this directory: the database must have the state of the same installation.
    #[serde(default)]
    pub fleet: Option<FleetId>,
}

impl std::fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseFile").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl DatabaseFile {
    /// A database with nothing but its URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), authorities: None, password_file: None, fleet: None }
    }

    /// Where it lies in a state directory.
    #[must_use]
    pub fn path(state: &Path) -> PathBuf {
        state.join("database.toml")
    }

    /// What a state directory says; none where the state is in the directory itself.
    ///
    /// # Errors
    /// [`DatabaseError::File`], also where others may read it.
    pub fn read(state: &Path) -> Result<Option<Self>, DatabaseError> {
        let path = Self::path(state);
        let wrong = |reason: String| DatabaseError::File { path: path.clone(), reason };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let mode = std::fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(wrong(format!("others may read it (mode {:o}); `chmod 600`", mode & 0o777)));
        }
        // The complaint would show the line.
        let read = toml::from_str(&text).map_err(|error: toml::de::Error| wrong(error.message().to_owned()));
        read.map(Some)
    }

    /// Writes it into a state directory that has none.
    ///
    /// # Errors
    /// [`DatabaseError::File`].
    pub fn write(&self, state: &Path) -> Result<(), DatabaseError> {
        let path = Self::path(state);
        let wrong = |reason: String| DatabaseError::File { path: path.clone(), reason };
        let said = [
            ("url", Some(json!(self.url))),
            ("authorities", self.authorities.as_ref().map(|path| json!(path))),
            ("password-file", self.password_file.as_ref().map(|path| json!(path))),
            ("fleet", self.fleet.map(|fleet| json!(fleet))),
        ];
        // Strings of JSON are strings of TOML.
        let lines =
            said.iter().filter_map(|(key, value)| value.as_ref().map(|value| format!("{key} = {value}\n")));
        let text = format!(
            "# Where the state of this installation is. Its keys are here.\n{}",
            lines.collect::<String>()
        );
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(|error| wrong(error.to_string()))
    }
}
