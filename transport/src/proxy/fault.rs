//! Why a proxy does not lead there, in its own words where it has some.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a proxy does not lead there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// Its name leads to no address.
    #[error("its name is not known to the system's resolver")]
    Unresolved,
    /// No TCP connection.
    #[error("no TCP connection: {0}")]
    Unreachable(io::ErrorKind),
    /// It did not answer in time.
    #[error("no answer within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
    },
    /// The connection ended before it had answered.
    #[error("it closed the connection without an answer")]
    Ended,
    /// It speaks no HTTP.
    #[error("what it answers is no HTTP")]
    NotHttp,
    /// Its answer has no end.
    #[error("the head of its answer is larger than {limit} bytes")]
    HeadTooLong {
        /// Bytes that are read of it.
        limit: usize,
    },
    /// It wants a login and there is none.
    #[error("407: it wants a user name and password ({0}), and none is configured")]
    LoginWanted(Schemes),
    /// It takes none of the logins that are spoken here.
    #[error("407: it takes only {0}; spoken are Basic and Digest with MD5 or SHA-256")]
    SchemeUnspoken(Schemes),
    /// It does not take the login.
    #[error("{0}: it does not accept the user name and password")]
    LoginRefused(u16),
    /// The user cannot stand in an answer to its challenge.
    #[error("407: the user name cannot be sent to it as Digest: no quotes and no backslashes")]
    LoginUnfit,
    /// It does not connect to that place.
    #[error("it answers {0} to CONNECT{hint}", hint = status_hint(*.0))]
    Refused(u16),
    /// It speaks no SOCKS5.
    #[error("what it answers is no SOCKS5")]
    NotSocks,
    /// It takes none of the logins that are offered.
    #[error("it takes neither connections without a login nor user and password")]
    NoMethod,
    /// It wants user and password and there are none.
    #[error("it wants a user name and password, and none is configured")]
    SocksLoginWanted,
    /// It does not take user and password.
    #[error("it does not accept the user name and password")]
    SocksLoginRefused,
    /// It does not connect to that place.
    #[error("it says: {0}")]
    SocksRefused(SocksReply),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes for a Digest login")]
    NoRandomness,
}

/// Ways to log in that a proxy offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schemes {
    /// Basic (RFC 7617).
    pub basic: bool,
    /// Digest (RFC 7616).
    pub digest: bool,
    /// NTLM.
    pub ntlm: bool,
    /// Kerberos or NTLM (RFC 4559).
    pub negotiate: bool,
    /// Something else.
    pub other: bool,
}

/// What a SOCKS5 proxy answers to a request (RFC 1928, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocksReply(pub u8);

impl Schemes {
    /// Those with these names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut schemes = Self::default();
        for name in names {
            let slot = match name.to_ascii_lowercase().as_slice() {
                b"basic" => &mut schemes.basic,
                b"digest" => &mut schemes.digest,
                b"ntlm" => &mut schemes.ntlm,
                b"negotiate" | b"kerberos" => &mut schemes.negotiate,
                _ => &mut schemes.other,
            };
            *slot = true;
        }
        schemes
    }
}

impl fmt::Display for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.digest, "Digest"),
            (self.basic, "Basic"),
            (self.ntlm, "NTLM"),
            (self.negotiate, "Negotiate (Kerberos or NTLM)"),
            (self.other, "another scheme"),
        ];
        let offered: Vec<&str> = names.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        f.write_str(if offered.is_empty() { "no scheme named" } else { "" })?;
        f.write_str(&offered.join(", "))
    }
}

impl fmt::Display for SocksReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            1 => "general failure",
            2 => "its rules do not allow that connection",
            3 => "the network is unreachable",
            4 => "the host is unreachable",
            5 => "the connection was refused",
            6 => "the way is too long",
            7 => "it does not connect for others",
            8 => "it does not know that kind of address",
            other => return write!(f, "code {other}"),
        };
        f.write_str(words)
    }
}

const fn status_hint(status: u16) -> &'static str {
    match status {
        403 => ": its rules do not allow that address or port",
        502..=504 => ": it does not reach that address",
        _ => "",
    }
}
