//! How a device is found on a network that it shares with somebody: one question and one answer of multicast DNS (RFC 6762) about a
//! service (RFC 6763).
//!
//! 1. Who knows a device's key knows its [`Sign`], and asks for it by name: nobody else can tell which device a sign is of.
//! 2. The device [hears](Sign::heard) whether a question concerns it, and says its port and its addresses on that network.
//! 3. Who asked dials where the [answer](Sign::found) came from. Nothing in it is believed: the device proves its key there.
//!
//! Deliberately absent: announcements, and a list of service types. A device is silent until somebody asks for what it is.

use std::fmt;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use domain::base::iana::{Class, Opcode};
use domain::base::message_builder::{PushError, RecordSectionBuilder};
use domain::base::name::{Name, ToName};
use domain::base::{Message, MessageBuilder, ParsedName, Rtype, StaticCompressor, Ttl};
use domain::rdata::{A, Aaaa, Ptr, Srv, Txt};

use crate::trust::{Digest, PublicKey};

/// The name of a device on a network, which only those recognise who know its key.
#[derive(Clone, Debug)]
pub struct Sign {
    service: Name<Vec<u8>>,
    instance: Name<Vec<u8>>,
    host: Name<Vec<u8>>,
}

/// A question that concerns a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    id: u16,
    about: About,
    what: Rtype,
    /// Whether the answer may go to who asked alone.
    pub unicast: bool,
}

/// Which of its names a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Service,
    Instance,
    Host,
}

/// To whom an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody who asks from a port of their own and hears nothing else (RFC 6762 section 6.7).
    Once,
    /// Somebody who keeps what is said on the network.
    Resolver,
}

impl Sign {
    /// The sign of the device with this key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        let digest = Digest::of(&[LABEL, key.as_bytes()]);
        let tag = HEXLOWER.encode(digest.as_bytes().get(..TAG_BYTES).unwrap_or_default());
        Self {
            service: name(SERVICE),
            instance: name(&format!("{tag}.{SERVICE}")),
            host: name(&format!("{tag}.local")),
        }
    }

    /// Asks where the device is.
    #[must_use]
    pub fn question(&self, id: u16) -> Vec<u8> {
        let Ok(mut message) = MessageBuilder::from_target(Vec::new());
        message.header_mut().set_id(id);
        let mut message = message.question();
        // Into a vector nothing is too long.
        let _fits = message.push((&self.instance, Rtype::SRV, Class::from_int(IN | TOP)));
        message.finish()
    }

    /// Reads a message of the network; none where it asks for nothing of this device, or knows the answer.
    #[must_use]
    pub fn heard(&self, message: &[u8]) -> Option<Asked> {
        let message = Message::from_octets(message).ok()?;
        let header = message.header();
        if header.qr() || header.opcode() != Opcode::QUERY {
            return None;
        }
        let mut questions = message.question().take(QUESTIONS).map_while(Result::ok);
        let asked = questions.find_map(|question| {
            let class = question.qclass().to_int();
            let (name, what) = (question.qname(), question.qtype());
            let about = self.about(name, what).filter(|_| matches!(class & !TOP, IN | ANY))?;
            Some(Asked { id: header.id(), about, what, unicast: class & TOP != 0 })
        })?;
        (asked.about != About::Service || !self.is_known(&message)).then_some(asked)
    }

    fn about(&self, name: &ParsedName<&[u8]>, what: Rtype) -> Option<About> {
        let is = |own: &Name<Vec<u8>>, kinds: &[Rtype]| kinds.contains(&what) && name.name_eq(own);
        if is(&self.service, &[Rtype::PTR, Rtype::ANY]) {
            Some(About::Service)
        } else if is(&self.instance, &[Rtype::SRV, Rtype::TXT, Rtype::ANY]) {
            Some(About::Instance)
        } else if is(&self.host, &[Rtype::A, Rtype::AAAA, Rtype::ANY]) {
            Some(About::Host)
        } else {
            None
        }
    }

    /// Whether the asker has this device among the answers that it knows, for long enough (RFC 6762 section 7.1).
    fn is_known(&self, message: &Message<&[u8]>) -> bool {
        let Ok(answers) = message.answer() else { return false };
        let mut known = answers.limit_to::<Ptr<ParsedName<&[u8]>>>().take(QUESTIONS).map_while(Result::ok);
        known.any(|known| {
            known.ttl().as_secs() >= RESOLVER_TTL / 2 && known.data().ptrdname().name_eq(&self.instance)
        })
    }

    /// The answer: at `port` of `own`, the device's addresses where it was asked.
    #[must_use]
    pub fn answer(&self, asked: Asked, asker: Asker, port: u16, own: &[IpAddr]) -> Vec<u8> {
        // Into a vector nothing is too long.
        self.compose(asked, asker, port, own).unwrap_or_default()
    }

    fn compose(&self, asked: Asked, asker: Asker, port: u16, own: &[IpAddr]) -> Result<Vec<u8>, PushError> {
        let Ok(mut message) = MessageBuilder::from_target(StaticCompressor::new(Vec::new()));
        let header = message.header_mut();
        header.set_qr(true);
        header.set_aa(true);
        let mut message = message.question();
        if asker == Asker::Once {
            message.header_mut().set_id(asked.id);
            let name = match asked.about {
                About::Service => &self.service,
                About::Instance => &self.instance,
                About::Host => &self.host,
            };
            message.push((name, asked.what, Class::IN))?;
        }
        // Everything is said at once: what was asked as the answer, the rest beside it (RFC 6763 section 12).
        let all = [Row::Name, Row::Place(port), Row::Text];
        let all: Vec<Row> = all.into_iter().chain(own.iter().map(|ip| Row::Address(*ip))).collect();
        let mut message = message.answer();
        for row in all.iter().filter(|row| row.answers(asked)) {
            self.put(&mut message, *row, asker)?;
        }
        let mut message = message.additional();
        for row in all.iter().filter(|row| !row.answers(asked) && **row != Row::Name) {
            self.put(&mut message, *row, asker)?;
        }
        Ok(message.finish().into_target())
    }

    fn put(
        &self,
        section: &mut impl RecordSectionBuilder<StaticCompressor<Vec<u8>>>,
        row: Row,
        asker: Asker,
    ) -> Result<(), PushError> {
        // A resolver forgets what it knew of names that only this device has (RFC 6762 section 10.2).
        let (ttl, own) = match asker {
            Asker::Once => (Ttl::from_secs(ONCE_TTL), Class::IN),
            Asker::Resolver => (Ttl::from_secs(RESOLVER_TTL), Class::from_int(IN | TOP)),
        };
        match row {
            Row::Name => section.push((&self.service, Class::IN, ttl, Ptr::new(&self.instance))),
            Row::Place(port) => section.push((&self.instance, own, ttl, Srv::new(0, 0, port, &self.host))),
            // It says nothing, and has to be there (RFC 6763 section 6.1).
            Row::Text => match Txt::from_octets([0]) {
                Ok(text) => section.push((&self.instance, own, ttl, text)),
                Err(_) => Ok(()),
            },
            Row::Address(IpAddr::V4(ip)) => section.push((&self.host, own, ttl, A::new(ip))),
            Row::Address(IpAddr::V6(ip)) => section.push((&self.host, own, ttl, Aaaa::new(ip))),
        }
    }

    /// The port that an answer to the question `id` names for this device; none where it is no such answer.
    #[must_use]
    pub fn found(&self, message: &[u8], id: u16) -> Option<u16> {
        let message = Message::from_octets(message).ok()?;
        let header = message.header();
        if !header.qr() || header.id() != id {
            return None;
        }
        let answers = message.answer().ok()?.limit_to::<Srv<ParsedName<&[u8]>>>();
        let mut answers = answers.take(QUESTIONS).map_while(Result::ok);
        let port = answers.find(|answer| answer.owner().name_eq(&self.instance))?.data().port();
        (port != 0).then_some(port)
    }
}

/// The name of the instance.
impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.instance, f)
    }
}

/// What is said of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Name,
    Place(u16),
    Text,
    Address(IpAddr),
}

impl Row {
    fn answers(self, asked: Asked) -> bool {
        let (about, kind) = match self {
            Self::Name => (About::Service, Rtype::PTR),
            Self::Place(_) => (About::Instance, Rtype::SRV),
            Self::Text => (About::Instance, Rtype::TXT),
            Self::Address(IpAddr::V4(_)) => (About::Host, Rtype::A),
            Self::Address(IpAddr::V6(_)) => (About::Host, Rtype::AAAA),
        };
        asked.about == about && (asked.what == kind || asked.what == Rtype::ANY)
    }
}

#[expect(clippy::expect_used, reason = "the names are constants and hexadecimal digits")]
fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().expect("labels of at most 20 bytes")
}

/// What a sign is derived from, with the key behind it.
const LABEL: &[u8] = b"postern nearby v1\0";
/// Enough that no two devices of a network have the same, and nobody makes a key to a sign by trying.
const TAG_BYTES: usize = 10;
const SERVICE: &str = "_postern._udp.local";
/// Questions, and answers that are known, that are looked at.
const QUESTIONS: usize = 16;
/// For who keeps nothing (RFC 6762 section 6.7), and for names with addresses (section 10). Seconds.
const ONCE_TTL: u32 = 10;
const RESOLVER_TTL: u32 = 120;
const IN: u16 = 1;
const ANY: u16 = 255;
/// Of a question: who asks takes an answer for itself. Of an answer: what was known before is not so (RFC 6762 sections 5.4, 10.2).
const TOP: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trust::SecretKey;

    fn sign(number: u8) -> Sign {
        Sign::of(&SecretKey::from_seed([number; 32]).unwrap().public())
    }

    fn own() -> Vec<IpAddr> {
        vec!["192.168.0.1".parse().unwrap(), "fe80::1".parse().unwrap()]
    }

    /// A question as a resolver asks it.
    fn question(name: &str, what: Rtype, class: u16) -> Vec<u8> {
        let Ok(message) = MessageBuilder::from_target(Vec::new());
        let mut message = message.question();
        message.push((super::name(name), what, Class::from_int(class))).unwrap();
        message.finish()
    }

    #[test]
    fn who_knows_the_key_asks_and_learns_the_port() {
        let device = sign(1);
        let asked = device.heard(&device.question(77)).unwrap();
        assert!(asked.unicast);
        let answer = device.answer(asked, Asker::Once, 7441, &own());
        assert_eq!(device.found(&answer, 77), Some(7441));
        assert_eq!((device.found(&answer, 78), sign(2).found(&answer, 77)), (None, None));
        assert_eq!(device.found(&device.question(77), 77), None);
    }

    #[test]
    fn a_sign_is_of_one_key_and_says_nothing_about_it() {
        assert_eq!(sign(1).to_string(), "22b0592bd02c27e6580c._postern._udp.local");
        assert_eq!(sign(1).host.to_string(), "22b0592bd02c27e6580c.local");
        assert_ne!(sign(1).instance, sign(2).instance);
    }

    #[test]
    fn only_questions_about_the_device_or_its_kind_are_heard() {
        let device = sign(1);
        let tag = "22b0592bd02c27e6580c";
        let own = |rest: &str| format!("{tag}.{rest}");
        for (name, what) in [
            (SERVICE.to_owned(), Rtype::PTR),
            (SERVICE.to_uppercase(), Rtype::ANY),
            (own(SERVICE), Rtype::SRV),
            (own(SERVICE), Rtype::TXT),
            (own("local"), Rtype::A),
            (own("local"), Rtype::AAAA),
        ] {
            assert!(device.heard(&question(&name, what, IN)).is_some(), "{name} {what}");
        }
        for (name, what, class) in [
            ("_services._dns-sd._udp.local".to_owned(), Rtype::PTR, IN),
            ("_http._tcp.local".to_owned(), Rtype::PTR, IN),
            (SERVICE.to_owned(), Rtype::SRV, IN),
            (own(SERVICE), Rtype::A, IN),
            (format!("00000000000000000000.{SERVICE}"), Rtype::SRV, IN),
            (own(SERVICE), Rtype::SRV, 3),
        ] {
            assert_eq!(device.heard(&question(&name, what, class)), None, "{name} {what}");
        }
        let mut answer = question(SERVICE, Rtype::PTR, IN);
        answer[2] |= 0x80;
        assert_eq!(device.heard(&answer), None, "no answer is answered");
    }

    #[test]
    fn a_resolver_gets_everything_at_once_and_whoever_asks_once_gets_the_question_back() {
        let device = sign(1);
        let asked = device.heard(&question(SERVICE, Rtype::PTR, IN)).unwrap();
        assert!(!asked.unicast);
        let counts = |answer: &[u8]| {
            let counts = Message::from_octets(answer).unwrap().header_counts();
            (counts.qdcount(), counts.ancount(), counts.arcount())
        };
        let resolver = device.answer(asked, Asker::Resolver, 7441, &own());
        assert_eq!(counts(&resolver), (0, 1, 4));
        assert_eq!(counts(&device.answer(asked, Asker::Once, 7441, &own())), (1, 1, 4));
        let host = device.heard(&question("22b0592bd02c27e6580c.local", Rtype::AAAA, IN)).unwrap();
        assert_eq!(counts(&device.answer(host, Asker::Resolver, 7441, &own())), (0, 1, 3));
    }

    #[test]
    fn whoever_knows_the_answer_already_gets_none() {
        let device = sign(1);
        let known = |ttl: u32, of: &Sign| {
            let Ok(message) = MessageBuilder::from_target(Vec::new());
            let mut message = message.question();
            message.push((&device.service, Rtype::PTR, Class::IN)).unwrap();
            let mut message = message.answer();
            message.push((&device.service, Class::IN, Ttl::from_secs(ttl), Ptr::new(&of.instance))).unwrap();
            message.finish()
        };
        assert_eq!(device.heard(&known(60, &device)), None);
        assert!(device.heard(&known(59, &device)).is_some());
        assert!(device.heard(&known(120, &sign(2))).is_some());
    }

    #[test]
    fn an_answer_is_short_however_many_addresses_are_said() {
        let (device, four) = (sign(1), vec!["fd00::1".parse().unwrap(); 4]);
        let lengths = [device.question(1), question(SERVICE, Rtype::PTR, IN)].map(|question| {
            let answer = device.answer(device.heard(&question).unwrap(), Asker::Once, 7441, &four);
            (question.len(), answer.len())
        });
        assert_eq!(lengths, [(58, 250), (37, 264)]);
    }

    proptest! {
        #[test]
        fn bytes_of_the_network_are_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..512), id: u16) {
            let device = sign(1);
            let _ = (device.heard(&bytes), device.found(&bytes, id));
        }

        #[test]
        fn a_question_or_answer_with_a_changed_byte_is_read_or_passed_over(place in 0_usize..400, with: u8) {
            let device = sign(1);
            let question = device.question(9);
            let answer = device.answer(device.heard(&question).unwrap(), Asker::Once, 7441, &own());
            for mut bytes in [question, answer] {
                let place = place % bytes.len();
                bytes[place] = with;
                let _ = (device.heard(&bytes), device.found(&bytes, 9));
            }
        }
    }
}
