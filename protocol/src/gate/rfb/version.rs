//! The twelve bytes with which both sides begin (RFC 6143, section 7.1.1).

/// What the gate says to a viewer, and to a machine that speaks this version or a later one.
pub(super) const GREETING: &[u8; 12] = b"RFB 003.008\n";

/// A published version of the handshake. What follows the handshake is the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.3: the server dictates the security type in one word.
    V3_3,
    /// 3.7: the server offers a list; without authentication there is no result.
    V3_7,
    /// 3.8: there is always a result, and a failure has a reason.
    V3_8,
}

/// What a viewer answered to the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The handshake that it wants.
    pub(super) version: Version,
    /// Whether it is Apple's (3.889), which knows no session without a password.
    pub(super) apple: bool,
}

impl Version {
    /// The version to speak with a server that greets like this: never more than it offers, and 3.8 at most.
    /// Some servers offer 3.889, 4.1 or 5.0 and accept 3.8.
    pub(super) fn of_server(greeting: [u8; 12]) -> Option<Self> {
        match numbers(greeting)? {
            (3, 3..=6) => Some(Self::V3_3),
            (3, 7) => Some(Self::V3_7),
            (3, 8..) | (4.., _) => Some(Self::V3_8),
            _ => None,
        }
    }

    /// The greeting of this version.
    pub(super) const fn greeting(self) -> &'static [u8; 12] {
        match self {
            Self::V3_3 => b"RFB 003.003\n",
            Self::V3_7 => b"RFB 003.007\n",
            Self::V3_8 => GREETING,
        }
    }
}

impl Answer {
    /// Reads a viewer's answer. A number that was never published means 3.3, as the RFC demands.
    pub(super) fn of_viewer(answer: [u8; 12]) -> Option<Self> {
        let (version, apple) = match numbers(answer)? {
            (3, 7) => (Version::V3_7, false),
            (3, 8) => (Version::V3_8, false),
            (3, 889) => (Version::V3_8, true),
            (3, 3..) => (Version::V3_3, false),
            _ => return None,
        };
        Some(Self { version, apple })
    }
}

/// Major and minor number of `RFB xxx.yyy\n`.
fn numbers(bytes: [u8; 12]) -> Option<(u16, u16)> {
    let digits = bytes.strip_prefix(b"RFB ")?.strip_suffix(b"\n")?;
    let (major, minor) = (digits.get(..3)?, digits.get(4..)?);
    (digits.get(3) == Some(&b'.')).then_some((number(major)?, number(minor)?))
}

fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |number: u16, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_spoken_to_in_no_later_version_than_it_offers() {
        for (greeting, version) in [
            (b"RFB 003.003\n", Some(Version::V3_3)),
            (b"RFB 003.006\n", Some(Version::V3_3)),
            (b"RFB 003.007\n", Some(Version::V3_7)),
            (b"RFB 003.008\n", Some(Version::V3_8)),
            (b"RFB 003.889\n", Some(Version::V3_8)),
            (b"RFB 004.001\n", Some(Version::V3_8)),
            (b"RFB 005.000\n", Some(Version::V3_8)),
            (b"RFB 003.002\n", None),
            (b"RFB 000.000\n", None),
            (b"RFB 002.008\n", None),
            (b"RFB 003.00:\n", None),
            (b"RFB 003 008\n", None),
            (b"RFB 003.008\r", None),
            (b"rfb 003.008\n", None),
            (b"SSH-2.0-Open", None),
        ] {
            assert_eq!(Version::of_server(*greeting), version, "{}", greeting.escape_ascii());
        }
    }

    #[test]
    fn a_viewer_that_answers_an_unpublished_number_gets_3_3() {
        let plain = |version| Some(Answer { version, apple: false });
        for (answer, expected) in [
            (b"RFB 003.003\n", plain(Version::V3_3)),
            (b"RFB 003.005\n", plain(Version::V3_3)),
            (b"RFB 003.007\n", plain(Version::V3_7)),
            (b"RFB 003.008\n", plain(Version::V3_8)),
            (b"RFB 003.009\n", plain(Version::V3_3)),
            (b"RFB 003.889\n", Some(Answer { version: Version::V3_8, apple: true })),
            (b"RFB 003.001\n", None),
            (b"RFB 004.001\n", None),
            (b"GET / HTTP/1", None),
        ] {
            assert_eq!(Answer::of_viewer(*answer), expected, "{}", answer.escape_ascii());
        }
    }
}
