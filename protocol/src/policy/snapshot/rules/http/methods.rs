//! The methods of HTTP that the gate knows (RFC 9110, section 9, and RFC 5789), and sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A method. `CONNECT` and `TRACE` are none: they reach no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Method {
    /// `GET`.
    Get = 1,
    /// `HEAD`.
    Head = 2,
    /// `POST`.
    Post = 4,
    /// `PUT`.
    Put = 8,
    /// `DELETE`.
    Delete = 16,
    /// `OPTIONS`.
    Options = 32,
    /// `PATCH`.
    Patch = 64,
}

impl Method {
    /// All methods, in the order of their bits.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Delete, Self::Options, Self::Patch];

    /// As it stands in a request.
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

    const fn bit(self) -> u8 {
        match self {
            Self::Get => 1,
            Self::Head => 2,
            Self::Post => 4,
            Self::Put => 8,
            Self::Delete => 16,
            Self::Options => 32,
            Self::Patch => 64,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A word that is no [`Method`], or a set of none or of unknown ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of `GET`, `HEAD`, `POST`, `PUT`, `DELETE`, `OPTIONS`, `PATCH`")]
pub struct NoMethod;

/// Methods are written in capitals, also in files: `get` is another method (RFC 9110, section 9.1).
impl FromStr for Method {
    type Err = NoMethod;

    fn from_str(word: &str) -> Result<Self, NoMethod> {
        Self::ALL.into_iter().find(|method| method.word() == word).ok_or(NoMethod)
    }
}

/// A set of methods, never empty: one bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Methods(u8);

impl Methods {
    /// All methods.
    pub const ALL: Self = Self(0x7f);
    /// `GET` and `HEAD`: those that only look.
    pub const READ: Self = Self(Method::Get.bit() | Method::Head.bit());

    /// A set of these; none when there are none.
    #[must_use]
    pub fn of(methods: impl IntoIterator<Item = Method>) -> Option<Self> {
        let bits = methods.into_iter().fold(0, |bits, method| bits | method.bit());
        Self::try_from(bits).ok()
    }

    /// Whether a method is among them.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// Those that are in both; none when there are none.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        Self::try_from(self.0 & other.0).ok()
    }

    /// Whether each of them is in `other`.
    #[must_use]
    pub const fn are_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Each of them, in the order of [`Method::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.contains(*method))
    }
}

impl TryFrom<u8> for Methods {
    type Error = NoMethod;

    fn try_from(bits: u8) -> Result<Self, NoMethod> {
        if matches!(bits, 1..=0x7f) { Ok(Self(bits)) } else { Err(NoMethod) }
    }
}

impl From<Methods> for u8 {
    fn from(methods: Methods) -> Self {
        methods.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_its_word_in_capitals_and_a_bit_of_its_own() {
        for method in Method::ALL {
            assert_eq!(method.word().parse(), Ok(method));
            let alone = Methods::of([method]).unwrap();
            assert_eq!(alone.iter().collect::<Vec<_>>(), [method]);
        }
        for stranger in ["get", "TRACE", "CONNECT", "", "GET "] {
            assert_eq!(stranger.parse::<Method>(), Err(NoMethod), "{stranger:?}");
        }
        assert_eq!(Methods::of(Method::ALL), Some(Methods::ALL));
    }

    #[test]
    fn a_set_is_never_empty_and_has_no_unknown_bit() {
        for bits in 0..=u8::MAX {
            let expected = if bits == 0 || bits >= 0x80 { Err(NoMethod) } else { Ok(bits) };
            assert_eq!(Methods::try_from(bits).map(u8::from), expected, "{bits}");
        }
        assert_eq!(Methods::of([]), None);
    }

    #[test]
    fn reading_is_get_and_head_and_nothing_else() {
        assert_eq!(Methods::READ.iter().collect::<Vec<_>>(), [Method::Get, Method::Head]);
        assert!(Methods::READ.are_within(Methods::ALL) && !Methods::ALL.are_within(Methods::READ));
        assert_eq!(Methods::ALL.and(Methods::READ), Some(Methods::READ));
        assert_eq!(Methods::READ.and(Methods::of([Method::Post]).unwrap()), None);
    }
}
