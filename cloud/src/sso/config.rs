//! `sso.toml` in the state directory: which identity providers are believed, and about whom.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use openidconnect::{ClientSecret, IssuerUrl};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use postern_protocol::name::Name;

use super::web;

/// One provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What users and administrators call it.
    pub name: Name,
    /// Its issuer identifier: the identities are its own, whatever it is called.
    pub issuer: IssuerUrl,
    /// As whom the hub is registered there.
    pub client_id: String,
    /// The secret of that registration; none for a public client.
    pub(crate) secret: Option<ClientSecret>,
    /// Accounts whose users it may vouch for, with those below them; empty for everybody's.
    pub accounts: BTreeSet<Name>,
    /// Scopes that are asked for beside `openid`.
    pub scopes: Vec<String>,
    /// Authorities that its certificate may come from, in place of those of the system.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// Whether people may sign in with a browser elsewhere (RFC 8628).
    pub elsewhere: bool,
    /// The one port on loopback that it leads back to; any port where none is named (RFC 8252, section 7.3).
    pub loopback_port: Option<u16>,
    /// Whether everything is to be proved once more at each sign-on (`prompt=login`), and the provider is believed to see to that.
    pub always_prompt: bool,
    /// What counts as a second factor.
    pub second_factor: SecondFactor,
}

/// What counts as a second factor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecondFactor {
    /// One of these methods among the token's `amr` (RFC 8176).
    pub amr: BTreeSet<String>,
    /// One of these as the token's `acr`.
    pub acr: BTreeSet<String>,
}

impl Default for SecondFactor {
    /// `mfa` is the one method of RFC 8176 that says by itself that there was more than one.
    fn default() -> Self {
        Self { amr: BTreeSet::from(["mfa".to_owned()]), acr: BTreeSet::new() }
    }
}

/// Why `sso.toml` is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error("`{}`: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// It is no TOML, or not of that form.
    #[error("`{}`: {error}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// One provider.
    #[error("`{}`, provider `{name}`: {fault}", path.display())]
    Provider {
        /// The file.
        path: PathBuf,
        /// The provider's name.
        name: Name,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a provider.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Named twice.
    #[error("there is another one of that name")]
    Name,
    /// Two with one issuer: nobody could say whose users its identities are.
    #[error("there is another one with that issuer")]
    Issuer,
    /// Not encrypted.
    #[error("the issuer must begin with https://; http:// is for 127.0.0.1, [::1] and localhost")]
    Insecure,
    /// Nobody could register as that.
    #[error("`client_id` is empty")]
    ClientId,
    /// No secret in the file.
    #[error("`client_secret_file` `{}`: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A secret that others may read.
    #[error("`client_secret_file` `{}` is open to others (mode {mode:o}): `chmod 600` it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// No authority in the file.
    #[error("`ca_file` `{}`: {why}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The system has no authorities.
    #[error(
        "this system has no certificates of authorities; install `ca-certificates` or set `ca_file`: {0}"
    )]
    NoAuthorities(io::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    provider: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Name,
    issuer: IssuerUrl,
    client_id: String,
    client_secret_file: Option<PathBuf>,
    #[serde(default)]
    accounts: BTreeSet<Name>,
    #[serde(default)]
    scopes: Vec<String>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    device_flow: bool,
    loopback_port: Option<u16>,
    #[serde(default)]
    always_prompt: bool,
    #[serde(default)]
    second_factor: SecondFactor,
}

/// Reads the file; without it there is no provider. Paths in it are relative to `state`.
pub(super) fn read(state: &Path) -> Result<Vec<Settings>, ConfigError> {
    let path = state.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::Read { path, error }),
    };
    let whole: Whole = match toml::from_str(&text) {
        Ok(whole) => whole,
        Err(error) => return Err(ConfigError::Form { path, error: Box::new(error) }),
    };
    let mut providers: Vec<Settings> = Vec::new();
    for entry in whole.provider {
        let name = entry.name.clone();
        let settings = if providers.iter().any(|other| other.name == name) {
            Err(Fault::Name)
        } else if providers.iter().any(|other| other.issuer == entry.issuer) {
            Err(Fault::Issuer)
        } else {
            entry.check(state)
        };
        match settings {
            Ok(settings) => providers.push(settings),
            Err(fault) => return Err(ConfigError::Provider { path, name, fault }),
        }
    }
    Ok(providers)
}

impl Entry {
    fn check(self, state: &Path) -> Result<Settings, Fault> {
        if !web::is_safe(self.issuer.url().as_str()) {
            return Err(Fault::Insecure);
        }
        if self.client_id.is_empty() {
            return Err(Fault::ClientId);
        }
        let secret = self.client_secret_file.map(|path| secret(state.join(path))).transpose()?;
        let roots = self.ca_file.map(|path| authorities(state.join(path))).transpose()?;
        Ok(Settings {
            name: self.name,
            issuer: self.issuer,
            client_id: self.client_id,
            secret,
            accounts: self.accounts,
            scopes: self.scopes,
            roots: roots.unwrap_or_default(),
            elsewhere: self.device_flow,
            loopback_port: self.loopback_port,
            always_prompt: self.always_prompt,
            second_factor: self.second_factor,
        })
    }
}

fn secret(path: PathBuf) -> Result<ClientSecret, Fault> {
    let read = || {
        let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
        let text = fs::read_to_string(&path)?;
        if text.trim().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
        }
        Ok((mode, text))
    };
    match read() {
        Ok((mode, _)) if mode & 0o077 != 0 => Err(Fault::Open { path, mode }),
        Ok((_, text)) => Ok(ClientSecret::new(text.trim().to_owned())),
        Err(error) => Err(Fault::Secret { path, error }),
    }
}

fn authorities(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(roots) if roots.is_empty() => {
            Err(Fault::Authority { path, why: "no certificate (PEM) is in it".to_owned() })
        }
        Ok(roots) => Ok(roots),
        Err(error) => Err(Fault::Authority { path, why: error.to_string() }),
    }
}

const FILE: &str = "sso.toml";

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Settings>, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        for (file, mode) in [("secret", 0o600), ("open", 0o640)] {
            fs::write(dir.path().join(file), "s3cret\n").unwrap();
            fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(dir.path().join("empty"), "\n").unwrap();
        read(dir.path()).map_err(|error| error.to_string().replace(&dir.path().display().to_string(), ""))
    }

    #[test]
    fn a_provider_is_read_with_what_was_left_out() {
        assert!(read(tempfile::tempdir().unwrap().path()).unwrap().is_empty());
        let text = "[[provider]]\nname = \"corp\"\nissuer = \"https://login.example.com\"\nclient_id = \"postern\"\n";
        let [least] = &read_text(text).unwrap()[..] else { panic!() };
        assert_eq!((least.name.as_str(), least.client_id.as_str()), ("corp", "postern"));
        assert!(least.secret.is_none() && !least.elsewhere && least.loopback_port.is_none());
        assert_eq!(least.second_factor.amr, BTreeSet::from(["mfa".to_owned()]));
        let more = "client_secret_file = \"secret\"\naccounts = [\"acme\"]\ndevice_flow = true\n\
                    second_factor = { amr = [], acr = [\"phrh\"] }\n";
        let [most] = &read_text(&format!("{text}{more}")).unwrap()[..] else { panic!() };
        assert_eq!(most.secret.as_ref().unwrap().secret(), "s3cret");
        assert!(most.elsewhere && most.accounts.len() == 1 && most.second_factor.amr.is_empty());
        assert!(!format!("{most:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_of_the_provider() {
        let one = |name: &str, issuer: &str, more: &str| {
            format!("[[provider]]\nname = \"{name}\"\nissuer = \"{issuer}\"\nclient_id = \"x\"\n{more}\n")
        };
        let good = one("corp", "https://a.example", "");
        for (text, said) in [
            (
                one("corp", "http://a.example", ""),
                "`/sso.toml`, provider `corp`: the issuer must begin with https://",
            ),
            (
                format!("{good}{}", one("corp", "https://b.example", "")),
                "provider `corp`: there is another one of that name",
            ),
            (
                format!("{good}{}", one("b", "https://a.example", "")),
                "provider `b`: there is another one with that issuer",
            ),
            (
                one("corp", "https://a.example", "client_secret_file = \"open\""),
                "is open to others (mode 640)",
            ),
            (one("corp", "https://a.example", "client_secret_file = \"none\""), "`/none`: No such file"),
            (
                one("corp", "https://a.example", "client_secret_file = \"empty\""),
                "`/empty`: the file is empty",
            ),
            (one("corp", "https://a.example", "ca_file = \"secret\""), "no certificate (PEM) is in it"),
            (one("corp", "https://a.example", "colour = \"red\""), "unknown field `colour`"),
            (good.replace("\"x\"", "\"\""), "`client_id` is empty"),
        ] {
            let error = read_text(&text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        for loopback in ["http://127.0.0.1:4593", "http://localhost:4593/api", "http://[::1]:1"] {
            read_text(&one("corp", loopback, "")).unwrap();
        }
        read_text(&one("corp", "http://127.0.0.1.example.com", "")).unwrap_err();
    }
}
