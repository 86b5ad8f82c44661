//! `root`: who may sign what. Everything but `publish` works on files alone, on machines that never see the hub.

mod draft;
mod publish;
mod show;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use postern_protocol::trust::{KeyFault, PublicKey, RootFault};

use super::{Answer, CommandError};
use crate::args::{Of, RootCommand, RootKeyCommand};
use crate::ceremony::{ChangeFault, RootFile, RootFileFault};
use crate::keys::{self, ExchangeError, Purpose};
use crate::signer::SignerError;

/// Why a command on roots failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    /// Not a root file, or nothing to sign.
    #[error("`{}`: {fault}", file.display())]
    File { file: PathBuf, fault: RootFileFault },
    /// It makes no root.
    #[error(transparent)]
    Change(#[from] ChangeFault),
    /// Not a public key.
    #[error("`{value}` is no public key and no file with one: {fault}")]
    PublicKey { value: String, fault: KeyFault },
    /// Something that only roles have.
    #[error("`{0}` has no threshold: any of its keys is enough")]
    NoThreshold(&'static str),
    /// Not a number.
    #[error("`{0}` is no threshold: expected a number from 1 to 16")]
    BadThreshold(String),
    /// A device would not accept it.
    #[error("no device would accept this root, so nothing was published: {0}")]
    Refused(RootFault),
    /// Nothing would be permitted under it.
    #[error("this root has expired at {0}, so nothing was published; draw up and sign another one")]
    Expired(String),
    /// The hub could not sign under it.
    #[error(
        "the hub does not hold the keys that this root names, so nothing was published:\n{}\nGive them with \
         `--key ROLE=FILE`, such as `--key policy=policy.key`.",
        .0.join("\n")
    )]
    Missing(Vec<String>),
    /// A key cannot be put into place.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Nothing was said about a role.
    #[error("no key for `{0}` was given; a first root names at least one for each role and one of the hub")]
    Unnamed(&'static str),
}

impl RootError {
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Change(_)
            | Self::PublicKey { .. }
            | Self::NoThreshold(_)
            | Self::BadThreshold(_)
            | Self::Unnamed(_) => 2,
            Self::File { .. } | Self::Refused(_) | Self::Expired(_) | Self::Missing(_) => 1,
            Self::Exchange(error) => match error {
                ExchangeError::Key(_) => 5,
                ExchangeError::Unnamed { .. } | ExchangeError::Offline | ExchangeError::Full => 1,
            },
        }
    }
}

pub(super) fn run(state: &Path, command: RootCommand) -> Result<Answer, CommandError> {
    match command {
        RootCommand::Init(plan) => draft::init(&plan),
        RootCommand::Rotate(plan) => draft::rotate(state, &plan),
        RootCommand::Sign { file, key } => sign(&file, &key),
        RootCommand::Show { file } => show::run(&file),
        RootCommand::Publish { file, keys } => publish::run(state, &file, &keys),
        RootCommand::Key(RootKeyCommand::New { file }) => new_key(&file),
    }
}

/// Only the public half is printed, on a line of its own: what is redirected into a file can be given as a key.
fn new_key(file: &Path) -> Result<Answer, CommandError> {
    let public = keys::make(file)?.public();
    let json = json!({ "file": file, "public": public, "fingerprint": public.fingerprint().to_string() });
    Ok(Answer { text: format!("{public}\n"), json })
}

fn sign(path: &Path, key: &Path) -> Result<Answer, CommandError> {
    let fault = |fault| RootError::File { file: path.to_owned(), fault };
    let file = read(path)?;
    let key = keys::read(key)?;
    let signed = file.sign(&key).map_err(fault)?;
    // Beside it and renamed: a medium that is pulled out too early must not cost the signatures of others.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let io = |error| CommandError::Io { what: "the root file", error };
    let mut out = std::fs::File::create(&beside).map_err(io)?;
    out.write_all(signed.to_string().as_bytes()).and_then(|()| out.sync_all()).map_err(io)?;
    std::fs::rename(&beside, path).map_err(io)?;
    let state = show::progress(&signed).map_err(fault)?;
    let what = show::meaning(&signed).map_err(fault)?;
    let fingerprint = key.public().fingerprint();
    let text = format!("{what}\nSigned with key {fingerprint}. {}\n", state.sentence());
    Ok(Answer { text, json: json!({ "file": path, "signed_by": key.public(), "signatures": state.json() }) })
}

/// Reads a root file.
pub(super) fn read(path: &Path) -> Result<RootFile, CommandError> {
    use std::io::Read as _;
    let io = |error| CommandError::Io { what: "the root file", error };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(LARGEST).read_to_end(&mut bytes).map_err(io)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(RootFile::parse(&text).map_err(|fault| RootError::File { file: path.to_owned(), fault })?)
}

/// Writes a root file that must not be there yet.
fn write(path: &Path, file: &RootFile) -> Result<(), CommandError> {
    let io = |error: std::io::Error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        if exists {
            CommandError::Exists(path.to_owned())
        } else {
            CommandError::Io { what: "the root file", error }
        }
    };
    let mut out = std::fs::File::options().write(true).create_new(true).open(path).map_err(io)?;
    out.write_all(file.to_string().as_bytes()).and_then(|()| out.sync_all()).map_err(io)
}

/// A public key: its digits, or a file with them.
fn public(value: &str) -> Result<PublicKey, CommandError> {
    let read = || std::fs::read_to_string(value).ok().map(|text| text.trim().to_owned());
    let parsed = value.parse().or_else(|fault| match read() {
        Some(text) => text.parse(),
        None => Err(fault),
    });
    Ok(parsed.map_err(|fault| RootError::PublicKey { value: value.to_owned(), fault })?)
}

/// Keys for the hub, as they were given on the command line.
pub(super) fn given(keys: &[Of]) -> Result<Vec<(Purpose, postern_protocol::trust::SecretKey)>, CommandError> {
    keys.iter().map(|of| Ok((of.purpose, keys::read(Path::new(&of.value))?))).collect()
}

/// The first root of an installation, from the file of a ceremony.
pub(super) fn founding(path: &Path) -> Result<Vec<u8>, CommandError> {
    Ok(read(path)?.sealed().to_vec())
}

fn stored(tx: &crate::store::Tx<'_>) -> Result<(Vec<u8>, postern_protocol::trust::Root), CommandError> {
    let sealed = tx.newest_root()?;
    let root = postern_protocol::trust::Root::self_signed(&sealed).map_err(SignerError::from)?;
    Ok((sealed, root))
}

/// Two roots of 16 KiB with their signatures in hexadecimal digits, and a little.
const LARGEST: u64 = 80 * 1024;
