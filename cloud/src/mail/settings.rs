//! `mail.toml` in the state directory: through which server letters leave, and as whose.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use serde::Deserialize;
use zeroize::Zeroizing;

/// The settings, as far as they can be meant.
pub(super) struct Settings {
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) tls: Protection,
    pub(super) user: Option<(String, Zeroizing<String>)>,
    pub(super) from: Mailbox,
    /// Certificates (PEM) that are trusted beside those of the system.
    pub(super) authority: Option<Vec<u8>>,
    pub(super) link: Option<String>,
    /// Whether requests for approval are told with a code.
    pub(super) approval_codes: bool,
}

/// How a connection to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protection {
    /// TLS from the first byte.
    Implicit,
    /// TLS after a word in the clear; without it nothing is sent.
    Starttls,
    /// None at all; to this machine only.
    None,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("`{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// It cannot be understood.
    #[error("`{path}`, line {line}: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A value cannot be meant.
    #[error("`{FILE}`: `{key}`: {why}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// Others can read the password.
    #[error("the password file `{path}` has mode {mode:04o}, expected 0600: `chmod 600` it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The keys of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    server: String,
    port: Option<u16>,
    tls: Protection,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
    ca: Option<PathBuf>,
    link: Option<String>,
    approval_codes: Option<bool>,
}

impl Settings {
    pub(super) fn read(state: &Path) -> Result<Option<Self>, SettingsError> {
        let path = state.join(FILE);
        let text = match read(&path, FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(SettingsError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let malformed = |line, why| SettingsError::Malformed { path: path.clone(), line, why };
        let text = String::from_utf8(text).map_err(|_| malformed(1, "this is not UTF-8".to_owned()))?;
        let keys: Keys = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            malformed(before.matches('\n').count() + 1, error.message().to_owned())
        })?;
        keys.check(state).map(Some)
    }
}

impl Keys {
    fn check(self, state: &Path) -> Result<Settings, SettingsError> {
        let wrong = |key, why: String| Err(SettingsError::Key { key, why });
        let Self { server, port, tls, user, password_file, from, ca, link, approval_codes } = self;
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if server.is_empty() || !server.chars().all(is_host) {
            return wrong("server", "expected the name or address of a mail server".to_owned());
        }
        let is_here = server == "localhost" || server.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if tls == Protection::None && !is_here {
            return wrong(
                "tls",
                format!("`none` would send codes in the clear to `{server}`; take `implicit` or `starttls`"),
            );
        }
        if port == Some(0) {
            return wrong("port", "expected 1 to 65535".to_owned());
        }
        let port = port.unwrap_or(match tls {
            Protection::Implicit => 465,
            Protection::Starttls => 587,
            Protection::None => 25,
        });
        let user = match (user, password_file) {
            (Some(user), Some(file)) => Some((user, password(&state.join(file))?)),
            (None, None) => None,
            (Some(_), None) => return wrong("user", "this needs a `password-file` beside it".to_owned()),
            (None, Some(_)) => return wrong("password-file", "this needs a `user` beside it".to_owned()),
        };
        let from: Mailbox = match from.parse() {
            Ok(from) if !from_has_control(&from) => from,
            _ => {
                return wrong(
                    "from",
                    "expected an address such as `Postern <postern@example.com>`".to_owned(),
                );
            }
        };
        if ca.is_some() && tls == Protection::None {
            return wrong("ca", "nothing is verified without TLS".to_owned());
        }
        let authority = ca.map(|ca| read(&state.join(ca), FILE_BYTES)).transpose()?;
        let is_pem = |pem: &Vec<u8>| pem.windows(BEGIN.len()).any(|window| window == BEGIN);
        if authority.as_ref().is_some_and(|pem| !is_pem(pem)) {
            return wrong("ca", "no certificate in PEM is there".to_owned());
        }
        let link = match link {
            Some(link) if is_base(&link) => Some(link.trim_end_matches('/').to_owned()),
            Some(_) => {
                return wrong(
                    "link",
                    "expected where people reach the API, such as `https://cloud.example.com`".to_owned(),
                );
            }
            None => None,
        };
        let approval_codes = approval_codes.unwrap_or(true);
        Ok(Settings { server, port, tls, user, from, authority, link, approval_codes })
    }
}

impl SettingsError {
    pub(super) fn authority(error: &dyn std::error::Error) -> Self {
        Self::Key { key: "ca", why: format!("no certificate in PEM that can be trusted: {error}") }
    }
}

/// HTTPS, or HTTP to this machine alone: a link is worth an approval.
fn is_base(link: &str) -> bool {
    let is_plain = |rest: &str| {
        !rest.is_empty()
            && rest
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '/' | '_' | '[' | ']'))
    };
    let local = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    link.strip_prefix("https://").is_some_and(is_plain)
        || link.strip_prefix("http://").is_some_and(|rest| is_plain(rest) && local(rest))
}

fn from_has_control(from: &Mailbox) -> bool {
    from.name.as_deref().unwrap_or_default().chars().any(char::is_control)
}

/// The first line of a file that nobody else may read.
fn password(path: &Path) -> Result<Zeroizing<String>, SettingsError> {
    let io = |error| SettingsError::Io { path: path.to_owned(), error };
    let mode = std::fs::metadata(path).map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SettingsError::Exposed { path: path.to_owned(), mode });
    }
    let bytes = Zeroizing::new(read(path, FILE_BYTES)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() {
        let why = format!("`{}` has no password in its first line", path.display());
        return Err(SettingsError::Key { key: "password-file", why });
    }
    Ok(Zeroizing::new(first.to_owned()))
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, SettingsError> {
    let io = |error| SettingsError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    let size = file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if u64::try_from(size).unwrap_or(u64::MAX) > limit {
        return Err(io(io::Error::new(io::ErrorKind::FileTooLarge, "it is far larger than this can be")));
    }
    Ok(bytes)
}

/// The file's name in the state directory.
pub(super) const FILE: &str = "mail.toml";
/// How a certificate begins (RFC 7468).
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// None of the files is larger.
const FILE_BYTES: u64 = 64 * 1024;
