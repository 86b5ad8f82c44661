//! The upgrade: what a client offers, what of it may be passed on, and what a machine may answer.

use super::fault::HandshakeFault;
use crate::gate::http::strict::is_token;

/// What a client asks for with its upgrade, beside the request that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    key: Box<str>,
    protocols: Vec<Box<str>>,
}

impl Offer {
    /// Reads the headers of an upgrade, all of them, with their names in any case.
    ///
    /// # Errors
    /// The first [`HandshakeFault`].
    pub fn read<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, HandshakeFault> {
        let (mut version, mut key) = (None, None);
        let mut protocols: Vec<Box<str>> = Vec::new();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("sec-websocket-version") {
                once(&mut version, value, HandshakeFault::Version)?;
            } else if name.eq_ignore_ascii_case("sec-websocket-key") {
                once(&mut key, value, HandshakeFault::Key)?;
            } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                for token in std::str::from_utf8(value).map_err(|_| HandshakeFault::Protocols)?.split(',') {
                    protocols.push(token.trim_matches([' ', '\t']).into());
                }
            }
        }
        if version != Some(b"13".as_slice()) {
            return Err(HandshakeFault::Version);
        }
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_token);
        if protocols.len() > PROTOCOLS || !protocols.iter().all(|name| is_name(name)) {
            return Err(HandshakeFault::Protocols);
        }
        let key = key.filter(|key| is_key(key)).and_then(|key| std::str::from_utf8(key).ok());
        Ok(Self { key: key.ok_or(HandshakeFault::Key)?.into(), protocols })
    }

    /// What of the offer is allowed: its subprotocols that are among `allowed`. None when it asks for some and for none of these.
    #[must_use]
    pub fn narrow<A: AsRef<str>>(mut self, allowed: &[A]) -> Option<Self> {
        let asked = !self.protocols.is_empty();
        self.protocols.retain(|name| allowed.iter().any(|allowed| allowed.as_ref() == &**name));
        (!asked || !self.protocols.is_empty()).then_some(self)
    }

    /// The key, which the machine answers.
    #[must_use]
    pub const fn key(&self) -> &str {
        &self.key
    }

    /// The value of `Sec-WebSocket-Protocol`; none when no subprotocol is asked for.
    #[must_use]
    pub fn protocols(&self) -> Option<String> {
        (!self.protocols.is_empty()).then(|| self.protocols.join(", "))
    }

    /// Whether the machine's answer fits this offer. Its `Sec-WebSocket-Accept` is the client's to check.
    ///
    /// # Errors
    /// The first [`HandshakeFault`].
    pub fn check_answer<'a>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), HandshakeFault> {
        let (mut upgrade, mut connection, mut accept, mut choice) = (None, false, None, None);
        for (name, value) in headers {
            match name.to_ascii_lowercase().as_str() {
                "upgrade" => once(&mut upgrade, value, HandshakeFault::Answer)?,
                "connection" => {
                    connection |= value
                        .split(|byte| *byte == b',')
                        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
                }
                "sec-websocket-accept" => once(&mut accept, value, HandshakeFault::Answer)?,
                "sec-websocket-protocol" => once(&mut choice, value, HandshakeFault::Choice)?,
                "sec-websocket-extensions" => return Err(HandshakeFault::Extension),
                _ => {}
            }
        }
        let switches = upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
        if status != 101 || !switches || !connection || accept.is_none() {
            return Err(HandshakeFault::Answer);
        }
        match choice {
            Some(choice) if !self.protocols.iter().any(|name| name.as_bytes() == choice) => {
                Err(HandshakeFault::Choice)
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn once<'a>(
    place: &mut Option<&'a [u8]>,
    value: &'a [u8],
    fault: HandshakeFault,
) -> Result<(), HandshakeFault> {
    if place.replace(value).is_some() { Err(fault) } else { Ok(()) }
}

/// Whether this is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    matches!(key.split_at_checked(22), Some((digits, b"=="))
        if digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte)))
}

/// Subprotocols of an offer.
const PROTOCOLS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &[u8]) = ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &[u8]) = ("sec-websocket-version", b"13");
    const SWITCH: [(&str, &[u8]); 3] = [
        ("Upgrade", b"WebSocket"),
        ("Connection", b"keep-alive, Upgrade"),
        ("Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];

    fn offer(protocols: &'static str) -> Result<Offer, HandshakeFault> {
        Offer::read([KEY, VERSION, ("Sec-WebSocket-Protocol", protocols.as_bytes())])
    }

    #[test]
    fn an_offer_is_read_and_only_allowed_subprotocols_are_passed_on() {
        let plain = Offer::read([KEY, VERSION, ("Cookie", b"a")]).unwrap();
        assert_eq!((plain.key(), plain.protocols()), ("dGhlIHNhbXBsZSBub25jZQ==", None));
        assert_eq!(plain.clone().narrow::<&str>(&[]), Some(plain));
        let two = offer("mqtt, v2.live").unwrap();
        assert_eq!(two.protocols().as_deref(), Some("mqtt, v2.live"));
        assert_eq!(two.clone().narrow(&["v2.live"]).unwrap().protocols().as_deref(), Some("v2.live"));
        assert_eq!(two.narrow(&["other"]), None);
        assert_eq!(offer("mqtt").unwrap().narrow::<&str>(&[]), None);
    }

    #[test]
    fn an_offer_that_is_not_clear_is_refused() {
        for (headers, fault) in [
            (vec![KEY], HandshakeFault::Version),
            (vec![KEY, VERSION, VERSION], HandshakeFault::Version),
            (vec![KEY, ("Sec-WebSocket-Version", b"8".as_slice())], HandshakeFault::Version),
            (vec![VERSION], HandshakeFault::Key),
            (vec![KEY, KEY, VERSION], HandshakeFault::Key),
            (vec![("Sec-WebSocket-Key", b"short==".as_slice()), VERSION], HandshakeFault::Key),
            (
                vec![("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ= ".as_slice()), VERSION],
                HandshakeFault::Key,
            ),
        ] {
            assert_eq!(Offer::read(headers.clone()), Err(fault), "{headers:?}");
        }
        for protocols in ["", "a,", "a b", "a,,b", "ä", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"] {
            assert_eq!(offer(protocols), Err(HandshakeFault::Protocols), "{protocols}");
        }
    }

    #[test]
    fn an_answer_switches_and_chooses_only_what_was_offered() {
        let offer = offer("mqtt").unwrap();
        let with = |more: &[(&'static str, &'static [u8])]| {
            offer.check_answer(101, SWITCH.iter().chain(more).copied())
        };
        assert_eq!(with(&[]), Ok(()));
        assert_eq!(with(&[("Sec-WebSocket-Protocol", b"mqtt")]), Ok(()));
        assert_eq!(with(&[("Sec-WebSocket-Protocol", b"other")]), Err(HandshakeFault::Choice));
        assert_eq!(with(&[("Sec-WebSocket-Protocol", b"mqtt, other")]), Err(HandshakeFault::Choice));
        assert_eq!(
            with(&[("Sec-WebSocket-Extensions", b"permessage-deflate")]),
            Err(HandshakeFault::Extension)
        );
        assert_eq!(offer.check_answer(200, SWITCH), Err(HandshakeFault::Answer));
        for left_out in 0..SWITCH.len() {
            let rest = SWITCH.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, header)| *header);
            assert_eq!(offer.check_answer(101, rest), Err(HandshakeFault::Answer), "{left_out}");
        }
    }
}
