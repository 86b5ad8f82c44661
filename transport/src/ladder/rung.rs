//! The rungs of the ladder, and what became of each.

use std::fmt;
use std::io;
use std::time::Duration;

use postern_protocol::trust::PublicKey;
use serde::{Deserialize, Serialize};

use crate::proxy::{ProxyFault, ProxyName};
use crate::quic::ConnectError;
use crate::tls::OuterFault;

/// By which means packets leave this network, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Datagrams.
    Udp,
    /// TLS over TCP.
    Tls,
    /// The same through a proxy.
    Proxy,
}

/// Why a rung does not lead there.
#[derive(Debug, thiserror::Error)]
pub enum RungFault {
    /// The network or the far end says no: to a datagram by ICMP, to TCP by a reset.
    #[error("{0}")]
    Refused(io::ErrorKind),
    /// No TCP connection in time.
    #[error("no TCP connection within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
    },
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] OuterFault),
    /// The proxy.
    #[error("`{name}`: {fault}")]
    Proxy {
        /// Which.
        name: ProxyName,
        /// Why.
        fault: ProxyFault,
    },
    /// No proxy leads there, because none is configured or that place is excepted.
    #[error("no proxy is configured for it")]
    NoProxy,
    /// Packets pass, and do not lead to the one who is looked for.
    #[error(transparent)]
    Quic(#[from] ConnectError),
    /// The relay does not answer to the leg.
    #[error("the relay does not answer")]
    Unbound,
}

/// One rung and what became of it.
#[derive(Debug)]
pub struct Attempt {
    /// The rung.
    pub rung: Rung,
    /// Why it does not lead there.
    pub fault: RungFault,
}

/// No rung leads there; each says why.
#[derive(Debug, Default)]
pub struct Fallen {
    /// In the order in which they failed; at most one for each rung.
    pub attempts: Vec<Attempt>,
}

impl Rung {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tls => "TLS",
            Self::Proxy => "proxy",
        }
    }
}

impl Fallen {
    /// The expected and the found key, where somebody else has answered.
    #[must_use]
    pub fn unexpected_key(&self) -> Option<(PublicKey, PublicKey)> {
        self.connect_errors().find_map(|error| match error {
            ConnectError::UnexpectedKey { expected, found } => Some((*expected, *found)),
            ConnectError::NoProtocol
            | ConnectError::BadAddress(_)
            | ConnectError::EndpointClosed
            | ConnectError::TimedOut { .. }
            | ConnectError::Ended(_) => None,
        })
    }

    /// What QUIC said on each rung that carried packets.
    pub fn connect_errors(&self) -> impl Iterator<Item = &ConnectError> {
        self.attempts.iter().filter_map(|attempt| match &attempt.fault {
            RungFault::Quic(error) => Some(error),
            RungFault::Refused(_)
            | RungFault::TimedOut { .. }
            | RungFault::Tls(_)
            | RungFault::Proxy { .. }
            | RungFault::NoProxy
            | RungFault::Unbound => None,
        })
    }
}

impl From<Attempt> for Fallen {
    fn from(attempt: Attempt) -> Self {
        Self { attempts: vec![attempt] }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("there is nothing to try");
        }
        let mut attempts: Vec<&Attempt> = self.attempts.iter().collect();
        attempts.sort_by_key(|attempt| attempt.rung);
        for (number, Attempt { rung, fault }) in attempts.into_iter().enumerate() {
            let comma = if number == 0 { "" } else { "; " };
            write!(f, "{comma}{rung}: {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fallen {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Proxy;

    #[test]
    fn a_fall_names_each_rung_in_order_with_its_reason() {
        let name = Proxy::parse("http://anna:secret@proxy:3128").unwrap().name().clone();
        let attempts = vec![
            Attempt { rung: Rung::Tls, fault: RungFault::Refused(io::ErrorKind::ConnectionRefused) },
            Attempt {
                rung: Rung::Proxy,
                fault: RungFault::Proxy { name, fault: ProxyFault::LoginRefused(407) },
            },
            Attempt {
                rung: Rung::Udp,
                fault: ConnectError::TimedOut { within: Duration::from_secs(10) }.into(),
            },
        ];
        assert_eq!(
            Fallen { attempts }.to_string(),
            "UDP: no connection within 10s; TLS: connection refused; \
             proxy: `http://proxy:3128`: 407: it does not accept the user name and password"
        );
        assert_eq!(Fallen::default().to_string(), "there is nothing to try");
    }
}
