//! The methods that a rule can name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A method that can be granted. Every other one (`CONNECT`, `TRACE`, those of WebDAV) is granted by nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads without the body.
    Head,
    /// Writes.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
    /// Asks what is possible.
    Options,
    /// Changes.
    Patch,
}

/// A set of methods, never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Methods(u8);

/// Why there is no such set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("methods {bits:#04x} are empty or unknown, expected some of the lowest seven bits")]
pub struct MethodsFault {
    /// The bits seen.
    pub bits: u8,
}

/// Why a word is no method that can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no method that can be granted, expected GET, HEAD, POST, PUT, DELETE, OPTIONS or PATCH")]
pub struct UnknownMethod;

impl Method {
    /// Every method, in the order of their bits.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Delete, Self::Options, Self::Patch];

    /// The method as it stands in a request.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
        }
    }

    /// Whether it looks and does not touch.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Get => 1,
            Self::Head => 1 << 1,
            Self::Post => 1 << 2,
            Self::Put => 1 << 3,
            Self::Delete => 1 << 4,
            Self::Options => 1 << 5,
            Self::Patch => 1 << 6,
        }
    }
}

impl Methods {
    /// Every method.
    pub const ALL: Self = Self(0x7f);
    /// `GET` and `HEAD`: what can be granted to somebody who may only look.
    pub const READING: Self = Self(0x03);

    /// The set of these methods; none when there are none.
    #[must_use]
    pub fn of(methods: &[Method]) -> Option<Self> {
        let bits = methods.iter().fold(0, |bits, method| bits | method.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// Whether `method` is in it.
    #[must_use]
    pub const fn contain(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// The methods in it, in the order of their bits.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.contain(*method))
    }
}

impl TryFrom<u8> for Methods {
    type Error = MethodsFault;

    fn try_from(bits: u8) -> Result<Self, MethodsFault> {
        if bits == 0 || bits > Self::ALL.0 { Err(MethodsFault { bits }) } else { Ok(Self(bits)) }
    }
}

impl From<Methods> for u8 {
    fn from(methods: Methods) -> Self {
        methods.0
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    /// Methods are written in capitals; `get` is another method, which nothing grants.
    fn from_str(word: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.into_iter().find(|method| method.word() == word).ok_or(UnknownMethod)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, method) in self.iter().enumerate() {
            write!(f, "{}{method}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_methods_that_it_was_made_of_and_no_other() {
        let set = Methods::of(&[Method::Patch, Method::Get]).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Method::Get, Method::Patch]);
        assert_eq!((u8::from(set), set.to_string()), (0x41, "GET, PATCH".to_owned()));
        assert_eq!(Methods::try_from(0x41), Ok(set));
        assert!(!set.contain(Method::Post));
        assert_eq!(Methods::of(&Method::ALL), Some(Methods::ALL));
        assert_eq!(Methods::READING.iter().collect::<Vec<_>>(), [Method::Get, Method::Head]);
    }

    #[test]
    fn an_empty_set_and_unknown_bits_are_refused() {
        assert_eq!(Methods::of(&[]), None);
        assert_eq!(Methods::try_from(0), Err(MethodsFault { bits: 0 }));
        assert_eq!(Methods::try_from(0x80), Err(MethodsFault { bits: 0x80 }));
    }

    #[test]
    fn a_method_has_one_spelling() {
        for method in Method::ALL {
            assert_eq!(method.word().parse(), Ok(method));
        }
        for word in ["get", "TRACE", "CONNECT", "PROPFIND", "GET ", ""] {
            assert_eq!(word.parse::<Method>(), Err(UnknownMethod), "{word}");
        }
    }
}
