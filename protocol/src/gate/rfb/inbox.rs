//! Small buffers of a handshake: what has arrived of the part that is read now, and what waits to be sent.

/// Above this many bytes a buffer that was emptied gives its memory back.
const KEPT_BYTES: usize = 2 * 1024;

/// Collects exactly the bytes of the part that is read now; what follows stays in the caller's buffer.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes the next `N` bytes once all have arrived.
    pub(super) fn array<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        self.list(input, N)?.try_into().ok()
    }

    /// Takes the next `len` bytes once all have arrived. The caller bounds `len`.
    pub(super) fn list(&mut self, input: &mut &[u8], len: usize) -> Option<Vec<u8>> {
        self.bytes.reserve_exact(len.saturating_sub(self.bytes.len()));
        let missing = len.saturating_sub(self.bytes.len()).min(input.len());
        let (taken, rest) = input.split_at_checked(missing)?;
        self.bytes.extend_from_slice(taken);
        *input = rest;
        (self.bytes.len() == len).then(|| std::mem::take(&mut self.bytes))
    }

    /// What has arrived of an unfinished part.
    pub(super) fn partial(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Bytes on their way out. They are lent to the shell once and are gone with its next call.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    fresh: Vec<u8>,
    lent: Vec<u8>,
}

impl Outbox {
    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.fresh.extend_from_slice(bytes);
    }

    /// Appends a message that is given up by its holder, without copying where nothing else waits.
    pub(super) fn push_whole(&mut self, bytes: &mut Vec<u8>) {
        if self.fresh.is_empty() {
            self.fresh = std::mem::take(bytes);
        } else {
            self.fresh.append(bytes);
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Lends everything that waits. What was lent before is forgotten.
    pub(super) fn lend(&mut self) -> &[u8] {
        self.recycle();
        std::mem::swap(&mut self.fresh, &mut self.lent);
        &self.lent
    }

    /// Forgets what was lent, and gives back what a large message needed.
    pub(super) fn recycle(&mut self) {
        self.lent.clear();
        if self.lent.capacity() > KEPT_BYTES {
            self.lent = Vec::new();
        }
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.fresh.capacity() + self.lent.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_taken_when_it_is_whole_and_what_follows_stays() {
        let mut inbox = Inbox::default();
        let mut input: &[u8] = &[1, 2];
        assert_eq!(inbox.array::<4>(&mut input), None);
        assert_eq!((input, inbox.partial()), (&[][..], &[1, 2][..]));
        input = &[3, 4, 5];
        assert_eq!(inbox.array(&mut input), Some([1, 2, 3, 4]));
        assert_eq!(input, [5]);
        assert_eq!(inbox.list(&mut input, 0), Some(vec![]));
        assert_eq!(inbox.array(&mut input), Some([5]));
    }

    #[test]
    fn what_waits_is_lent_once_and_a_large_buffer_is_given_back() {
        let mut outbox = Outbox::default();
        outbox.push(&[1, 2]);
        outbox.push_whole(&mut vec![3; 70_000]);
        assert_eq!(outbox.lend().len(), 70_002);
        assert!(outbox.is_empty());
        assert!(outbox.capacity() >= 70_002);
        assert_eq!(outbox.lend(), [0_u8; 0]);
        assert_eq!(outbox.capacity(), 0);
    }
}
