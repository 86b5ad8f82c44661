//! The proxy of the configuration, or of the environment where that names none.
//!
//! The password stands in a file of its own, which others on the device cannot read.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use postern_transport::proxy::{EnvironmentFault, Login, Proxies, Proxy, ProxyUrlFault};

/// A proxy that leads to hub and relays where nothing else does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// `http://HOST:PORT` or `socks5://HOST:PORT`; `none` for none, whatever the environment says.
    pub url: String,
    /// The user at the proxy. Default: no login.
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the password in its first line, which others cannot read.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// Why there is no proxy although one is named.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentFault),
    /// The login cannot be sent.
    #[error("the login at the proxy in `{}`: {fault}", path.display())]
    Login {
        /// The file with the password.
        path: PathBuf,
        /// Why.
        #[source]
        fault: ProxyUrlFault,
    },
    /// The password cannot be read.
    #[error("the password of the proxy in `{}` cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// Others can read the password.
    #[error("the password of the proxy in `{}` can be read by everybody on this device (mode {mode:04o}); run `chmod o=`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// The mode seen.
        mode: u32,
    },
}

impl ProxyConfig {
    /// The proxy, without a login; none for `none`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn proxy(&self) -> Result<Option<Proxy>, ProxyUrlFault> {
        if self.url == NONE { Ok(None) } else { Proxy::parse(&self.url).map(Some) }
    }

    /// What is impossible, as a key and what was expected.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.user.is_some() != self.password_file.is_some() {
            return Err(("proxy", "told both `user` and `password_file`, or neither"));
        }
        if self.password_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(("password_file", "an absolute path"));
        }
        match self.proxy() {
            Ok(Some(proxy)) if proxy.has_login() => {
                Err(("url", "without a login, which `user` and `password_file` are for"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn proxies(&self) -> Result<Proxies, ProxyError> {
        // What is wrong with the URL was said when it was read.
        let Ok(Some(proxy)) = self.proxy() else { return Ok(Proxies::none()) };
        let (Some(user), Some(path)) = (&self.user, &self.password_file) else {
            return Ok(Proxies::always(proxy));
        };
        let login = Login::new(user, &password(path)?);
        let login = login.map_err(|fault| ProxyError::Login { path: path.clone(), fault })?;
        Ok(Proxies::always(proxy.with_login(login)))
    }
}

/// The proxies of this device.
///
/// # Errors
/// A [`ProxyError`].
pub(super) fn proxies(
    config: Option<&ProxyConfig>,
    environment: impl Fn(&'static str) -> Option<String>,
) -> Result<Proxies, ProxyError> {
    match config {
        Some(config) => config.proxies(),
        None => Ok(Proxies::from_environment(environment)?),
    }
}

fn password(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProxyError> {
    let read = |error| ProxyError::Read { path: path.to_owned(), error };
    // Without waiting for the writer of a pipe that somebody has put there.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).map_err(read)?;
    let mode = file.metadata().map_err(read)?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(ProxyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(PASSWORD));
    let most = u64::try_from(PASSWORD).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut text).map_err(read)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
}

const NONE: &str = "none";
/// Bytes that are read of the file; a password has at most 255.
const PASSWORD: usize = 512;
/// `O_NONBLOCK` of Linux.
const NONBLOCK: i32 = 0o4000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(user: Option<&str>, password_file: Option<PathBuf>) -> ProxyConfig {
        ProxyConfig { url: "http://proxy:3128".to_owned(), user: user.map(str::to_owned), password_file }
    }

    fn file(content: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_password_is_the_first_line_of_a_file_that_others_cannot_read() {
        let file = file("open sesame\r\nand more\n", 0o640);
        let read = config(Some("press-7"), Some(file.path().to_owned())).proxies().unwrap();
        let login = Login::new("press-7", b"open sesame").unwrap();
        assert_eq!(read, Proxies::always(Proxy::parse("http://proxy:3128").unwrap().with_login(login)));
    }

    #[test]
    fn a_password_that_everybody_can_read_is_refused_and_so_is_none() {
        let open = file("open sesame\n", 0o644);
        let path = open.path().to_owned();
        let error = config(Some("a"), Some(path.clone())).proxies().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the password of the proxy in `{}` can be read by everybody on this device (mode 0644); run `chmod o=`",
                path.display()
            )
        );
        let empty = file("\n", 0o600);
        let fault = config(Some("a"), Some(empty.path().to_owned())).proxies().unwrap_err();
        assert!(matches!(fault, ProxyError::Login { fault: ProxyUrlFault::Login, .. }), "{fault}");
        let fault = config(Some("a"), Some("/nowhere/password".into())).proxies().unwrap_err();
        assert!(matches!(fault, ProxyError::Read { .. }), "{fault}");
    }

    #[test]
    fn the_environment_counts_where_nothing_is_configured() {
        let environment = |name| (name == "HTTPS_PROXY").then(|| "socks5://b:1".to_owned());
        let named = Proxies::always(Proxy::parse("socks5://b:1").unwrap());
        assert_eq!(proxies(None, environment).unwrap(), named);
        let none = ProxyConfig { url: "none".to_owned(), user: None, password_file: None };
        assert_eq!(proxies(Some(&none), environment).unwrap(), Proxies::none());
        let wrong = proxies(None, |name| (name == "ALL_PROXY").then(|| "ftp://b:1".to_owned()));
        assert!(matches!(
            wrong,
            Err(ProxyError::Environment(EnvironmentFault { variable: "ALL_PROXY", .. }))
        ));
    }
}
