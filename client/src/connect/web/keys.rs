//! The keys to a local origin, made anew by every `postern connect`.
//!
//! | key | where it travels | good for |
//! | --- | --- | --- |
//! | link | in the first URL, which browsers keep and the system's list of programs shows | one visit |
//! | cookie | between the browser that has used a link and this program | as long as this program runs |
//! | program key | in a header of its own, or in the URL of a WebSocket | as long as this program runs |
//!
//! Each is 128 random bits and compared in constant time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

/// A random value that opens the door.
#[derive(Clone)]
pub(super) struct Key([u8; 16]);

impl Key {
    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As it travels.
    pub(super) fn text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// Whether `text` is this key.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        // How a wrong text is malformed tells nothing about the right one.
        BASE64URL_NOPAD.decode(text).is_ok_and(|bytes| bool::from(self.0.as_slice().ct_eq(&bytes)))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

/// All keys of one origin.
#[derive(Debug)]
pub(super) struct Keys {
    /// What a browser holds after it has used a link.
    pub(super) cookie: Key,
    /// What programs send.
    pub(super) program: Key,
    links: Mutex<VecDeque<Key>>,
}

impl Keys {
    /// Makes cookie and program key; there is no link yet.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        Ok(Self { cookie: Key::random()?, program: Key::random()?, links: Mutex::default() })
    }

    /// Makes a link. Of those that nobody has used, the newest [`LINKS`] are good.
    pub(super) fn new_link(&self) -> Result<Key, getrandom::Error> {
        let link = Key::random()?;
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() == LINKS {
            links.pop_front();
        }
        links.push_back(link.clone());
        Ok(link)
    }

    /// Uses a link up; false where it is none, or none any more.
    pub(super) fn redeem(&self, text: &[u8]) -> bool {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let before = links.len();
        links.retain(|link| !link.is(text));
        links.len() < before
    }
}

/// Links that wait for their browser.
const LINKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once() {
        let keys = Keys::random().unwrap();
        let (one, two) = (keys.new_link().unwrap().text(), keys.new_link().unwrap().text());
        assert_eq!(one.len(), 22);
        assert!(keys.redeem(one.as_bytes()));
        assert!(!keys.redeem(one.as_bytes()), "used up");
        assert!(keys.redeem(two.as_bytes()), "the other one still is good");
    }

    #[test]
    fn a_cookie_a_program_key_and_a_guess_are_no_links() {
        let keys = Keys::random().unwrap();
        keys.new_link().unwrap();
        for wrong in [keys.cookie.text(), keys.program.text(), String::new(), "A".repeat(22), "%".to_owned()]
        {
            assert!(!keys.redeem(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_itself_to_the_last_bit_and_nothing_else() {
        let key = Key([7; 16]);
        assert!(key.is(key.text().as_bytes()));
        let mut near = [7; 16];
        near[15] ^= 1;
        assert!(!key.is(Key(near).text().as_bytes()));
        assert!(!key.is(&key.text().as_bytes()[..21]));
        assert!(!key.is(format!("{}=", key.text()).as_bytes()));
        assert_eq!(format!("{key:?}"), "redacted");
    }

    #[test]
    fn more_links_than_anybody_opens_push_the_oldest_out() {
        let keys = Keys::random().unwrap();
        let first = keys.new_link().unwrap().text();
        let second = keys.new_link().unwrap().text();
        for _ in 0..LINKS - 1 {
            keys.new_link().unwrap();
        }
        assert!(!keys.redeem(first.as_bytes()));
        assert!(keys.redeem(second.as_bytes()));
    }
}
