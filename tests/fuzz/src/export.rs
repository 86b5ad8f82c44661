//! An exported trail that somebody else has written.

use postern_protocol::audit::export::{HEAD, Item};
use postern_protocol::audit::verify::{ExportFault, Summary, Verifier};
use postern_protocol::limits;
use postern_protocol::wire::codec;

use super::fixed_root;

/// An export: as lines, and as items that are spelled rightly behind the head. Of one that verifies no row can be taken away.
pub fn export(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    let judged = judge(&lines);
    let noted: Vec<&str> = lines.iter().flat_map(|line| [*line, "# row 00"]).collect();
    assert_eq!(judge(&noted), judged, "what is for people counts");
    if judged.is_ok() {
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("row ")) {
            let without = [&lines[..at], &lines[at + 1..]].concat();
            assert!(judge(&without).is_err(), "the row of line {at} can be taken away");
        }
    }
    if let Ok(items) = codec::decode::<Vec<Item>>(bytes, limits::LIST_FRAME_BYTES) {
        let lines: Vec<String> = items.iter().map(Item::line).collect();
        for (line, item) in lines.iter().zip(&items) {
            if let Ok(read) = Item::parse(line) {
                assert_eq!(read.as_ref(), Some(item), "a line reads back as something else");
            }
        }
        let lines: Vec<&str> = [HEAD].into_iter().chain(lines.iter().map(String::as_str)).collect();
        let _whatever_it_is = judge(&lines);
    }
}

/// What the verifier makes of lines, by the fixed root.
///
/// # Errors
/// The first thing that is wrong.
pub fn judge(lines: &[&str]) -> Result<Summary, ExportFault> {
    let mut verifier = Verifier::new(fixed_root());
    lines.iter().try_for_each(|line| verifier.handle_line(line))?;
    verifier.finish()
}
