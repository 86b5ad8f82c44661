//! A session that does not come to be: the viewer is told why, and nothing else.

use crate::wire::text::Text;

use super::config::ViewerSecurity;
use super::inbox::Outbox;
use super::viewer::Viewer;

/// Tells a viewer why it sees no screen. For whoever stands where the viewer expects a machine and has none to offer, such
/// as a client whose tunnel was refused.
///
/// ```
/// use postern_protocol::gate::rfb::Refusal;
/// use postern_protocol::wire::text::Text;
///
/// let mut refusal = Refusal::new(Text::clean("no"));
/// assert_eq!(refusal.poll_to_viewer(), Some(&b"RFB 003.008\n"[..]));
/// refusal.handle_viewer(b"RFB 003.008\n");
/// assert_eq!(refusal.poll_to_viewer(), Some(&b"\0\0\0\0\x02no"[..]));
/// assert!(refusal.is_over());
/// ```
#[derive(Debug)]
pub struct Refusal {
    viewer: Viewer,
    to_viewer: Outbox,
}

impl Refusal {
    /// Greets; the reason follows what the viewer answers, where every version of RFB has a place for words.
    #[must_use]
    pub fn new(reason: Text) -> Self {
        let mut to_viewer = Outbox::default();
        let mut viewer = Viewer::new(ViewerSecurity::None, &mut to_viewer);
        viewer.refuse(reason, &mut to_viewer);
        Self { viewer, to_viewer }
    }

    /// Takes bytes of the viewer; what comes after its version is ignored.
    pub fn handle_viewer(&mut self, bytes: &[u8]) {
        // What does not speak RFB is told nothing.
        let _over = self.viewer.handle(&mut { bytes }, &mut self.to_viewer);
    }

    /// Lends what is to be written to the viewer.
    pub fn poll_to_viewer(&mut self) -> Option<&[u8]> {
        let bytes = self.to_viewer.lend();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Whether everything was said, apart from what [`poll_to_viewer`](Self::poll_to_viewer) still has: close then.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        !self.viewer.owes_reason()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a viewer reads that sends this byte by byte.
    fn read(sent: &[u8]) -> (Vec<u8>, bool) {
        let mut refusal = Refusal::new(Text::clean("no"));
        let mut read = refusal.poll_to_viewer().unwrap_or_default().to_vec();
        for byte in sent {
            assert!(!refusal.is_over());
            refusal.handle_viewer(&[*byte]);
            read.extend_from_slice(refusal.poll_to_viewer().unwrap_or_default());
        }
        (read.split_off(12), refusal.is_over())
    }

    #[test]
    fn every_version_is_told_where_it_looks_for_a_security_type() {
        assert_eq!(read(b"RFB 003.008\n"), (b"\0\0\0\0\x02no".to_vec(), true));
        assert_eq!(read(b"RFB 003.889\n"), (b"\0\0\0\0\x02no".to_vec(), true));
        assert_eq!(read(b"RFB 003.007\n"), (b"\0\0\0\0\x02no".to_vec(), true));
        assert_eq!(read(b"RFB 003.003\n"), (b"\0\0\0\0\0\0\0\x02no".to_vec(), true));
    }

    #[test]
    fn half_a_version_is_waited_for_and_what_is_none_is_told_nothing() {
        assert_eq!(read(b"RFB 003.00"), (vec![], false));
        assert_eq!(read(b"GET / HTTP/1"), (vec![], true));
    }
}
