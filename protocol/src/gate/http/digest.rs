//! Digest authentication as a client (RFC 7616): reads a machine's challenge and answers it.
//!
//! 1. [`Challenge::strongest`] reads every `WWW-Authenticate` of an answer and takes the strongest challenge that is spoken here: SHA-256
//!    before MD5, with `qop=auth` or, of machines older than RFC 2617, without. Basic is never taken in place of Digest: whoever can
//!    write one challenge would get the password.
//! 2. A [`Session`] answers it for one request after another and counts them, so that a machine can tell a replay.
//! 3. A machine may name the next nonce with each answer ([`Session::learn`]), or refuse an old one with another challenge.
//!
//! MD5 is broken where somebody chooses both texts; here it keeps a password off the wire, no more. Deliberately absent: `auth-int`,
//! SHA-512-256, hashed user names, and proof of the machine (`rspauth`): that is what TLS with a pinned key is for.

mod challenge;

use data_encoding::HEXLOWER;
use sha2::Digest as _;
use zeroize::Zeroizing;

use self::challenge::{Reader, parameter};

/// What a machine demands of whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// As they stand between their quotes, escapes included.
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    opaque: Option<Box<[u8]>>,
    hash: Hash,
    /// The hash covers the first nonce (`-sess`).
    is_session: bool,
    /// It was named, so the answer names it as well.
    names_hash: bool,
    /// `qop=auth` is offered.
    has_qop: bool,
}

/// The hash of a challenge, by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Md5,
    Sha256,
}

/// Answers to the challenge of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    challenge: Challenge,
    /// The nonce with which it began.
    first_nonce: Box<[u8]>,
    cnonce: Box<str>,
    /// Answers with the present nonce.
    count: u32,
}

/// The schemes of all challenges of an answer, as they are written there.
pub fn schemes<'a>(challenges: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    challenges.flat_map(challenge::all).map(|raw| raw.scheme)
}

impl Challenge {
    /// The strongest challenge of an answer that is spoken here; of equal ones the first.
    #[must_use]
    pub fn strongest<'a>(www_authenticate: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut best: Option<Self> = None;
        for challenge in www_authenticate.flat_map(challenge::all).filter_map(|raw| Self::of(&raw)) {
            if best.as_ref().is_none_or(|best| challenge.strength() > best.strength()) {
                best = Some(challenge);
            }
        }
        best
    }

    fn of(raw: &challenge::Raw<'_>) -> Option<Self> {
        if !raw.scheme.eq_ignore_ascii_case(b"digest") {
            return None;
        }
        let value = |name| parameter(&raw.parameters, name);
        let (realm, nonce) = (value(b"realm")?, value(b"nonce")?);
        let algorithm = value(b"algorithm");
        let (hash, is_session) = match algorithm.map(<[u8]>::to_ascii_uppercase).as_deref() {
            None | Some(b"MD5") => (Hash::Md5, false),
            Some(b"MD5-SESS") => (Hash::Md5, true),
            Some(b"SHA-256") => (Hash::Sha256, false),
            Some(b"SHA-256-SESS") => (Hash::Sha256, true),
            Some(_) => return None,
        };
        let qop = value(b"qop");
        let is_auth = |word: &[u8]| word.trim_ascii().eq_ignore_ascii_case(b"auth");
        let has_qop = qop.is_some_and(|words| words.split(|byte| *byte == b',').any(is_auth));
        if qop.is_some() && !has_qop {
            return None;
        }
        Some(Self {
            realm: realm.into(),
            nonce: nonce.into(),
            opaque: value(b"opaque").map(Into::into),
            hash,
            is_session,
            names_hash: algorithm.is_some(),
            has_qop,
        })
    }

    const fn strength(&self) -> (bool, Hash) {
        (self.has_qop, self.hash)
    }

    const fn algorithm(&self) -> &'static str {
        match (self.hash, self.is_session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
        }
    }
}

impl Session {
    /// Begins to answer a challenge, with 16 random bytes.
    #[must_use]
    pub fn new(challenge: Challenge, random: [u8; 16]) -> Self {
        let first_nonce = challenge.nonce.clone();
        Self { challenge, first_nonce, cnonce: HEXLOWER.encode(&random).into(), count: 0 }
    }

    /// `Authorization` of the next request. None where user or target cannot stand between quotes, or the nonce was used too often.
    #[must_use]
    pub fn authorization(
        &mut self,
        (user, password): (&str, &[u8]),
        (method, target): (&str, &str),
    ) -> Option<Vec<u8>> {
        let is_quotable = |text: &str| !text.contains(['"', '\\']) && !text.contains(char::is_control);
        if !is_quotable(user) || !is_quotable(target) {
            return None;
        }
        self.count = self.count.checked_add(1)?;
        let Challenge { realm, nonce, opaque, hash, is_session, names_hash, has_qop } = &self.challenge;
        let (cnonce, count) = (self.cnonce.as_bytes(), format!("{:08x}", self.count));
        let mut secret = hash.of(&[user.as_bytes(), realm, password]);
        if *is_session {
            secret = hash.of(&[secret.as_bytes(), &self.first_nonce, cnonce]);
        }
        let asked = hash.of(&[method.as_bytes(), target.as_bytes()]);
        let response = if *has_qop {
            hash.of(&[secret.as_bytes(), nonce, count.as_bytes(), cnonce, b"auth", asked.as_bytes()])
        } else {
            hash.of(&[secret.as_bytes(), nonce, asked.as_bytes()])
        };
        let mut header = Vec::new();
        for (name, value) in [
            ("Digest username=\"", user.as_bytes()),
            ("\", realm=\"", &**realm),
            ("\", nonce=\"", &**nonce),
            ("\", uri=\"", target.as_bytes()),
            ("\", response=\"", response.as_bytes()),
        ] {
            header.extend_from_slice(name.as_bytes());
            header.extend_from_slice(value);
        }
        header.push(b'"');
        if let Some(opaque) = opaque {
            header.extend([b", opaque=\"", &**opaque, b"\""].concat());
        }
        if *names_hash {
            header.extend(format!(", algorithm={}", self.challenge.algorithm()).into_bytes());
        }
        if *has_qop {
            header.extend(format!(", qop=auth, nc={count}").into_bytes());
        }
        if *has_qop || *is_session {
            header.extend(format!(", cnonce=\"{}\"", self.cnonce).into_bytes());
        }
        Some(header)
    }

    /// Takes the next nonce from an `Authentication-Info`, if it names one.
    pub fn learn(&mut self, authentication_info: &[u8]) {
        let Some(parameters) = Reader::new(authentication_info).parameters() else { return };
        if let Some(next) = parameter(&parameters, b"nextnonce")
            && *next != *self.challenge.nonce
        {
            (self.challenge.nonce, self.count) = (next.into(), 0);
        }
    }
}

impl Hash {
    /// The hash of texts with colons between them, as hexadecimal digits.
    fn of(self, parts: &[&[u8]]) -> Zeroizing<String> {
        let text = Zeroizing::new(parts.join(&b':'));
        Zeroizing::new(match self {
            Self::Md5 => HEXLOWER.encode(&md5::Md5::digest(&*text)),
            Self::Sha256 => HEXLOWER.encode(&sha2::Sha256::digest(&*text)),
        })
    }
}

#[cfg(test)]
mod tests;
