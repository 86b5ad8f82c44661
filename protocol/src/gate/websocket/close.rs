//! Close frames: the one that the gate sends, and which codes may be sent at all.

/// The code of a connection that policy ends (RFC 6455, section 7.4.1).
pub const POLICY_VIOLATION: u16 = 1008;

/// A close frame of a server: not masked, with a code and as much of `reason` as fits.
#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut text = reason;
    while text.len() > REASON_BYTES {
        let mut shorter = text.chars();
        shorter.next_back();
        text = shorter.as_str();
    }
    let length = u8::try_from(text.len() + 2).unwrap_or_default();
    let mut frame = vec![0x88, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Whether a close frame may carry `code`: those that are defined, and those of applications.
pub(super) const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Bytes of a reason: what a control frame holds beside the code.
const REASON_BYTES: usize = super::frames::CONTROL_BYTES - 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_says_why_and_fits_into_a_control_frame() {
        assert_eq!(close_frame(1008, "no"), [0x88, 4, 0x03, 0xf0, b'n', b'o']);
        let long = close_frame(1008, &"ü".repeat(70));
        assert_eq!((long.len(), long[1]), (2 + 2 + 122, 124));
        assert_eq!(std::str::from_utf8(&long[4..]), Ok("ü".repeat(61).as_str()));
    }

    #[test]
    fn codes_that_only_describe_a_lost_connection_are_not_sent() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999] {
            assert!(may_be_sent(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000, u16::MAX] {
            assert!(!may_be_sent(code), "{code}");
        }
    }
}
