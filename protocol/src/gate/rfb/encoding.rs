//! The encodings that a viewer may ask a machine for (RFC 6143, sections 7.5.2 and 7.7, and the registered extensions).
//!
//! An encoding is more than a picture format: many of the negative numbers tell the server that the viewer knows an
//! extension, and the server's answer then gives the viewer new messages. The list holds only what changes nothing in the
//! viewer's messages: after any `SetEncodings` made of it, the types 0 and 2 to 6 with their RFC lengths are all there is.

use super::message;

/// Raw pixels, which every viewer must understand.
const RAW: i32 = 0;
const COPY_RECT: i32 = 1;
const RRE: i32 = 2;
const HEXTILE: i32 = 5;
const ZLIB: i32 = 6;
const TIGHT: i32 = 7;
const TRLE: i32 = 15;
const ZRLE: i32 = 16;
const JPEG_QUALITY: std::ops::RangeInclusive<i32> = -32..=-23;
const DESKTOP_SIZE: i32 = -223;
const LAST_RECT: i32 = -224;
const CURSOR: i32 = -239;
const X_CURSOR: i32 = -240;
const COMPRESSION: std::ops::RangeInclusive<i32> = -256..=-247;

/// Whether a viewer may ask for this encoding. Everything unknown is no, and so are by name: Extended Desktop Size (-308,
/// message 251), Fence (-312, message 248), Continuous Updates (-313, message 150), QEMU Pointer Motion (-257, another
/// meaning of pointer events), QEMU Extended Key (-258, message 255), QEMU Audio (-259, message 255), GII (-305, message
/// 253), XVP (-309, message 250), Extended Mouse Buttons (-316, longer pointer events), Extended Clipboard (0xc0a1e5ce,
/// negative lengths of cut text), and `WMVi` (0x574d5669).
#[must_use]
pub fn allowed(encoding: i32) -> bool {
    matches!(
        encoding,
        RAW | COPY_RECT
            | RRE
            | HEXTILE
            | ZLIB
            | TIGHT
            | TRLE
            | ZRLE
            | DESKTOP_SIZE
            | LAST_RECT
            | CURSOR
            | X_CURSOR
    ) || JPEG_QUALITY.contains(&encoding)
        || COMPRESSION.contains(&encoding)
}

/// Whether a viewer may ask for this encoding in a session that is recorded: of those that are [`allowed`] the ones that
/// a replay decodes. Without this a viewer could have the machine answer in a way that nobody can look at later.
#[must_use]
pub fn replayable(encoding: i32) -> bool {
    matches!(encoding, RAW | COPY_RECT | RRE | HEXTILE | ZRLE | DESKTOP_SIZE | LAST_RECT | CURSOR)
        || COMPRESSION.contains(&encoding)
}

/// Cuts a whole `SetEncodings` message down to what passes, in the viewer's order of preference. `None` where nothing
/// has to be cut.
pub(super) fn rewrite(message: &[u8], passes: fn(i32) -> bool) -> Option<Vec<u8>> {
    let list = message.get(message::SET_ENCODINGS_HEADER..)?;
    let (encodings, _) = list.as_chunks::<4>();
    if encodings.iter().all(|bytes| passes(i32::from_be_bytes(*bytes))) {
        return None;
    }
    let kept: Vec<[u8; 4]> =
        encodings.iter().copied().filter(|bytes| passes(i32::from_be_bytes(*bytes))).collect();
    let count = u16::try_from(kept.len()).ok()?;
    let mut rewritten = Vec::with_capacity(message::SET_ENCODINGS_HEADER + kept.len() * 4);
    rewritten.extend_from_slice(&[message::SET_ENCODINGS, 0]);
    rewritten.extend_from_slice(&count.to_be_bytes());
    rewritten.extend_from_slice(kept.as_flattened());
    Some(rewritten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_encodings(encodings: &[i32]) -> Vec<u8> {
        let mut message = vec![2, 0];
        message.extend_from_slice(&u16::try_from(encodings.len()).unwrap().to_be_bytes());
        message.extend(encodings.iter().flat_map(|encoding| encoding.to_be_bytes()));
        message
    }

    #[test]
    fn every_allowed_encoding_is_listed_here_a_second_time() {
        let mut expected: Vec<i32> = vec![0, 1, 2, 5, 6, 7, 15, 16, -223, -224, -239, -240];
        expected.extend(-32..=-23);
        expected.extend(-256..=-247);
        expected.sort_unstable();
        let allowed: Vec<i32> = (-70_000..70_000).filter(|encoding| allowed(*encoding)).collect();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn what_is_recorded_is_allowed_as_well_and_leaves_out_what_a_replay_does_not_decode() {
        let mut expected: Vec<i32> = vec![0, 1, 2, 5, 16, -223, -224, -239];
        expected.extend(-256..=-247);
        expected.sort_unstable();
        let replayable: Vec<i32> = (-70_000..70_000).filter(|encoding| replayable(*encoding)).collect();
        assert_eq!(replayable, expected);
        assert!(replayable.into_iter().all(allowed));
        let asked = set_encodings(&[7, 1, 16, 6, 5, -24, -254, -240, -239]);
        assert_eq!(rewrite(&asked, super::replayable), Some(set_encodings(&[1, 16, 5, -254, -239])));
    }

    #[test]
    fn extensions_that_bring_messages_are_not_allowed() {
        let clipboard = 0xc0a1_e5ce_u32.cast_signed();
        for extension in [-308, -312, -313, -257, -258, -259, -305, -309, -316, clipboard, 0x574d_5669] {
            assert!(!allowed(extension), "{extension}");
        }
    }

    #[test]
    fn what_tigervnc_asks_for_is_cut_down_in_its_order() {
        let asked =
            [7, 1, 16, 5, 2, 0, -239, -223, -308, -224, -312, -313, -258, -261, -254, -25, -1_063_131_698];
        assert_eq!(
            rewrite(&set_encodings(&asked), allowed),
            Some(set_encodings(&[7, 1, 16, 5, 2, 0, -239, -223, -224, -254, -25]))
        );
    }

    #[test]
    fn a_list_of_allowed_encodings_stays_as_it_is_and_one_of_extensions_becomes_empty() {
        assert_eq!(rewrite(&set_encodings(&[7, 1, 0, -23]), allowed), None);
        assert_eq!(rewrite(&set_encodings(&[]), allowed), None);
        assert_eq!(rewrite(&set_encodings(&[-258]), allowed), Some(vec![2, 0, 0, 0]));
    }
}
