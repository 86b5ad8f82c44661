//! Where a database is: its URL, what belongs to it, and whether it may be spoken to in plain text.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::fault::DatabaseError;
use super::tls::Tls;
use crate::store::database::DatabaseFile;

/// A database that can be connected to.
#[derive(Clone)]
pub(in crate::store) struct Place {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

impl Place {
    /// Reads a URL, and the files that it is used with.
    pub(in crate::store) fn of(file: &DatabaseFile) -> Result<Self, DatabaseError> {
        // Verified to the full wherever there is TLS, so that libpq's words for that mean the same.
        let url = ["verify-full", "verify-ca"]
            .iter()
            .fold(file.url.clone(), |url, word| url.replace(&format!("sslmode={word}"), "sslmode=require"));
        let said_plain = url.contains("sslmode=disable");
        let mut config: Config = url.parse().map_err(|_secret| DatabaseError::Url)?;
        if config.get_hosts().is_empty() {
            return Err(DatabaseError::Url);
        }
        if config.get_password().is_none()
            && let Some(password) = password(file.password_file.as_deref())?
        {
            config.password(password);
        }
        let here =
            config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        config.ssl_mode(match (said_plain, here, config.get_ssl_mode()) {
            (false, true, SslMode::Require) | (false, false, _) => SslMode::Require,
            (true, ..) | (false, true, _) => SslMode::Disable,
        });
        config.application_name("postern-cloud");
        // A server that only follows another one has locks of its own, and knows late what is stored.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // A server that is gone is noticed in seconds, whether something is asked of it or not.
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVES);
        config.tcp_user_timeout(UNANSWERED);
        Ok(Self { config, tls: Tls::new(file.authorities.as_deref())? })
    }
}

/// On this machine, where nobody listens in between.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// From a file, or else from the environment.
fn password(file: Option<&Path>) -> Result<Option<String>, DatabaseError> {
    let Some(path) = file else { return Ok(std::env::var("PGPASSWORD").ok().filter(|it| !it.is_empty())) };
    let read = std::fs::read_to_string(path);
    let text =
        read.map_err(|error| DatabaseError::File { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

const CONNECT: Duration = Duration::from_secs(5);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVES: u32 = 3;
const UNANSWERED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        Place::of(&DatabaseFile::new(url)).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn plain_text_stays_on_this_machine_unless_the_url_says_otherwise() {
        for url in [
            "postgres://postern@127.0.0.1/postern",
            "postgres://postern@localhost/postern",
            "postgres:///postern?host=/run/postgresql&user=postern",
            "postgres://postern@db.example/postern?sslmode=disable",
        ] {
            assert_eq!(mode(url), SslMode::Disable, "{url}");
        }
        for url in [
            "postgres://postern@db.example/postern",
            "postgres://postern@192.0.2.1/postern?sslmode=prefer",
            "postgres://postern@127.0.0.1,db.example/postern",
            "postgres://postern@db.example/postern?hostaddr=127.0.0.1",
            "postgres://postern@127.0.0.1/postern?sslmode=require",
            "postgres://postern@db.example/postern?sslmode=verify-full",
        ] {
            assert_eq!(mode(url), SslMode::Require, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_repeated() {
        for url in
            ["postgres://u:secret@db.example/x?sec=1", "db.example", "postgres://postern:secret@db:port/x"]
        {
            let error = Place::of(&DatabaseFile::new(url)).expect_err(url);
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }
}
