//! Who opens TLS on the way: a box that shows a certificate of its own in place of a hub's or relay's.
//!
//! 1. What was shown at an address is noted with each connection there.
//! 2. What should have been shown is told later, over QUIC inside that very connection, which the box cannot change.
//! 3. When the two differ, there is such a box. It reads packets of QUIC and can drop them: that is all, and it is named.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use postern_protocol::trust::Digest;

use super::Rung;

/// TLS that somebody in between opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// To where.
    pub at: SocketAddr,
    /// By which rung.
    pub rung: Rung,
    /// SHA-256 of the certificate that was shown instead.
    pub certificate: Digest,
}

/// What was shown where, and where it was not what it should be.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    shown: Vec<(SocketAddr, Rung, Digest)>,
    opened: Vec<Opened>,
}

impl Certificates {
    pub(super) fn show(&mut self, at: SocketAddr, rung: Rung, certificate: Digest) {
        self.shown.retain(|(other, ..)| *other != at);
        self.shown.push((at, rung, certificate));
        let over = self.shown.len().saturating_sub(PLACES);
        self.shown.drain(..over);
    }

    pub(super) fn shown(&self, at: SocketAddr) -> Option<Digest> {
        self.shown.iter().find(|(other, ..)| *other == at).map(|(.., certificate)| *certificate)
    }

    /// What is opened at `at`, when `expected` should have been shown there.
    pub(super) fn compare(&mut self, at: SocketAddr, expected: Digest) -> Option<Opened> {
        self.opened.retain(|opened| opened.at != at);
        let (_, rung, certificate) = *self.shown.iter().find(|(other, ..)| *other == at)?;
        if certificate == expected {
            return None;
        }
        let opened = Opened { at, rung, certificate };
        self.opened.push(opened.clone());
        let over = self.opened.len().saturating_sub(PLACES);
        self.opened.drain(..over);
        Some(opened)
    }

    pub(super) fn opened(&self) -> &[Opened] {
        &self.opened
    }
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, rung, certificate } = self;
        let by = if *rung == Rung::Proxy { " through the proxy" } else { "" };
        write!(
            f,
            "TLS to {at}{by} is opened by somebody in between (certificate {certificate}); it can read nothing of what passes, \
             because that is encrypted once more inside, with keys that are compared"
        )
    }
}

/// Places that are remembered.
const PLACES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_certificate_than_the_expected_one_is_named_until_the_right_one_is_shown() {
        let (at, mut certificates) = ("203.0.113.9:443".parse().unwrap(), Certificates::default());
        let (right, wrong) = (Digest::new([1; 32]), Digest::new([0xab; 32]));
        assert_eq!(certificates.compare(at, right), None, "nothing was shown there");
        certificates.show(at, Rung::Tls, right);
        assert_eq!(certificates.compare(at, right), None);
        certificates.show(at, Rung::Proxy, wrong);
        let opened = Opened { at, rung: Rung::Proxy, certificate: wrong };
        assert_eq!(certificates.compare(at, right), Some(opened.clone()));
        assert_eq!(
            (certificates.opened(), certificates.shown(at)),
            ([opened.clone()].as_slice(), Some(wrong))
        );
        assert!(opened.to_string().starts_with(
            "TLS to 203.0.113.9:443 through the proxy is opened by somebody in between (certificate abab"
        ));
        certificates.show(at, Rung::Tls, right);
        assert_eq!((certificates.compare(at, right), certificates.opened()), (None, [].as_slice()));
    }
}
