//! `edge new`: makes the state directory of a hub without the model.
//!
//! It holds the roots, the keys that prove a hub and say what time it is, what hubs share with relays and with each other, and where the
//! primary is. With these somebody can be a hub that withholds; nobody can sign policy, passes, locks or acknowledgements.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::{Answer, CommandError, open};
use crate::cluster::{edge_file, key_file};
use crate::keys;
use crate::signer::Signer;
use crate::store::{Installation, Store};

/// What an edge is told in its directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EdgeFile {
    /// Where the primary is, in the order to be tried.
    pub(super) primary: Vec<SocketAddr>,
}

/// Why `edge.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgeFileError {
    /// It cannot be read.
    #[error("`{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// It says something else.
    #[error("`{path}`: {error}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: toml::de::Error,
    },
    /// It names nobody.
    #[error("`{path}` names no address of the primary: `primary = [\"192.0.2.1:7440\"]`")]
    Nobody {
        /// The file.
        path: PathBuf,
    },
}

impl EdgeFile {
    /// What a state directory says of the primary; none where it is not an edge's.
    pub(super) fn read(state: &Path) -> Result<Option<Self>, EdgeFileError> {
        let path = edge_file(state);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EdgeFileError::Io { path, error }),
        };
        match toml::from_str::<Self>(&text) {
            Ok(edge) if edge.primary.is_empty() => Err(EdgeFileError::Nobody { path }),
            Ok(edge) => Ok(Some(edge)),
            Err(error) => Err(EdgeFileError::Toml { path, error }),
        }
    }
}

pub(super) fn new(
    state: &Path,
    directory: &Path,
    listen: SocketAddr,
    primary: Vec<SocketAddr>,
) -> Result<Answer, CommandError> {
    let io = |error| CommandError::Io { what: "the directory of the edge", error };
    let (installation, bound, roots, signer) = open(state)?.read(|tx| {
        Ok::<_, CommandError>((tx.installation()?, tx.bound()?, tx.roots()?, Signer::open(state, tx)?))
    })?;
    let primary = Some(primary).filter(|given| !given.is_empty()).unwrap_or_else(|| {
        let reached = installation.advertise.iter().copied().chain(bound).chain([installation.listen]);
        reached.filter(|addr| !addr.ip().is_unspecified()).take(1).collect()
    });
    if primary.is_empty() {
        return Err(CommandError::NoAddress);
    }
    let (relay, shared) =
        (keys::read_or_make(&state.join("relay.key"))?, keys::read_or_make(&key_file(state))?);
    let authority = signer.now();
    if directory.exists() {
        return Err(CommandError::EdgeExists(directory.to_owned()));
    }
    std::fs::DirBuilder::new().mode(0o700).create(directory).map_err(io)?;
    let made = (|| {
        keys::copy(&relay, &directory.join("relay.key"))?;
        keys::copy(&shared, &key_file(directory))?;
        authority.keys.copy_for_edge(directory)?;
        let Installation { fleet, advertise, .. } = installation;
        let mut roots = roots.iter();
        let first = roots.next().map_or(&[][..], Vec::as_slice);
        let store = Store::create(
            &directory.join(keys::DATABASE),
            &Installation { fleet, listen, advertise },
            first,
        )?;
        store.write(|tx| (2..).zip(roots).try_for_each(|(version, root)| tx.save_root(version, root)))?;
        // Last: a directory without it is none that serves.
        let text = format!(
            "# Where the hub with the model is, in the order to be tried.\nprimary = {}\n",
            json!(primary)
        );
        let mut file = std::fs::OpenOptions::new();
        let mut file =
            file.write(true).create_new(true).mode(0o600).open(edge_file(directory)).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    })();
    if let Err(error) = made {
        let _nothing_to_lose = std::fs::remove_dir_all(directory);
        return Err(error);
    }
    let (place, at) = (directory.display(), primary.iter().map(ToString::to_string).collect::<Vec<_>>());
    let text = format!(
        "{place} is the state directory of an edge of {fleet}. Its primary is at {at}.\n\n\
         It holds keys: bring it to its machine over a way that nobody else reads, and leave no copy.\n\n\
         There:  postern-cloud --state {place} serve --nats URL\n\
         Here:   postern-cloud --state {state} serve --nats URL\n",
        fleet = installation.fleet,
        at = at.join(", "),
        state = state.display(),
    );
    Ok(Answer { text, json: json!({ "directory": directory, "primary": primary, "listen": listen }) })
}
