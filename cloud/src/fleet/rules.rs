//! Reads what a service lets through: the options of its kind, and its pages.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::rules::{Method, Methods};
use postern_protocol::policy::{
    Allow, Credential, HttpRules, Kind, PathLog, Pattern, Rules, Scheme, Upstream, VncRules, WebsocketRules,
};
use postern_protocol::wire::text::Text;

use super::complaint::Fault;
use super::reader::{Reader, Section};
use super::tree::{Node, Value};
use crate::model::{Page, Service};

impl Reader<'_> {
    /// The rules of a service at one place; none where its kind is not known.
    pub(super) fn rules(&mut self, section: &mut Section, kind: Option<Kind>) -> Option<Rules> {
        Some(match kind {
            Some(Kind::Vnc) => Rules::Vnc(self.vnc(section)),
            Some(Kind::Http) => Rules::Http(self.http(section)),
            Some(Kind::Websocket) => Rules::Websocket(self.websocket(section)),
            Some(Kind::Vpn) | None => {
                // The kind was complained about; that its options are unknown would be no news.
                for key in OPTIONS {
                    let _of_some_kind = section.take(key);
                }
                return None;
            }
        })
    }

    fn vnc(&mut self, s: &mut Section) -> VncRules {
        let password = self.optional_name(s, "password");
        let writers = self.number(s, "writers", u16::MAX.into(), "a whole number from 0 to 65535");
        let writers = writers.and_then(|writers| u16::try_from(writers).ok());
        VncRules { password, writers: writers.unwrap_or(Service::WRITERS) }
    }

    fn http(&mut self, s: &mut Section) -> HttpRules {
        let whole = HttpRules::whole();
        let upstream = self.upstream(s);
        let start = self.plain_text(s, "start").unwrap_or(whole.start);
        let methods = if self.flag(s, "read-only") { Methods::READ } else { Methods::ALL };
        let allow = self.allow(s, methods);
        let credential = self.login(s);
        let identity = self.flag(s, "identity");
        let log = self.optional_word(s, "log", &LOGS, log_word).unwrap_or(whole.log);
        HttpRules { upstream, start, allow, credential, identity, log }
    }

    fn websocket(&mut self, s: &mut Section) -> WebsocketRules {
        let whole = WebsocketRules::whole();
        let upstream = self.upstream(s);
        let paths =
            if s.has("paths") { self.patterns(s, "paths") } else { whole.paths.into_iter().collect() };
        let subprotocols = self.plain_texts(s, "subprotocols");
        let origin = self.plain_text(s, "origin");
        let credential = self.login(s);
        let expected = "a whole number of bytes from 1 to 16777216";
        let frame = self.number(s, "frame-bytes", 16 * 1024 * 1024, expected);
        let message = self.number(s, "message-bytes", 16 * 1024 * 1024, expected);
        let (paths, subprotocols) = (paths.into_iter().collect(), subprotocols.into_iter().collect());
        let message_bytes = message.unwrap_or(whole.message_bytes);
        let frame_bytes = frame.unwrap_or_else(|| whole.frame_bytes.min(message_bytes));
        WebsocketRules { upstream, paths, subprotocols, origin, credential, frame_bytes, message_bytes }
    }

    fn upstream(&mut self, s: &mut Section) -> Upstream {
        let host = self.plain_text(s, "host");
        let before = self.complaint_count();
        let tls = s.has("tls").then(|| {
            let pins = self.list(s, "tls", |reader, path, node| {
                let (at, text) = reader.text(path, node, EXPECTED_PIN)?;
                let digest = pin(&text);
                if digest.is_none() {
                    reader.bad_value(at, path, &text, EXPECTED_PIN);
                }
                Some((digest?, text))
            });
            pins.into_iter().collect()
        });
        // What was complained about already is no second complaint; nothing with complaints is ever applied.
        let tls = tls.filter(|_| self.complaint_count() == before);
        Upstream { host, tls }
    }

    /// What reaches the machine, with no other methods than these.
    fn allow(&mut self, s: &mut Section, methods: Methods) -> Vec<Allow> {
        if !s.has("allow") {
            return vec![Allow { path: Pattern::everything(), methods, query: None }];
        }
        let (path, at) = (s.key("allow"), s.at);
        let before = self.complaint_count();
        let rows: BTreeSet<Allow> = self.list(s, "allow", |reader, path, node| {
            let mut row = reader.section(path.to_owned(), node)?;
            let pattern = reader.pattern(&mut row, "path");
            let own = reader.methods(&mut row, "methods");
            let query = row.has("query").then(|| reader.plain_texts(&mut row, "query").into_iter().collect());
            let at = row.at;
            reader.finish(row);
            let methods = own.map_or(Some(methods), |own| own.and(methods));
            if methods.is_none() {
                reader.bad_value(at, path, "methods that change something", "GET or HEAD beside `read-only`");
            }
            let pattern = pattern?;
            let word = pattern.to_string();
            Some((Allow { path: pattern, methods: methods?, query }, word))
        });
        if rows.is_empty() && self.complaint_count() == before {
            self.bad_value(at, path, "an empty list", EXPECTED_ALLOW);
        }
        rows.into_iter().collect()
    }

    fn login(&mut self, s: &mut Section) -> Option<Credential> {
        let node = s.take("login")?;
        let mut section = self.section(s.key("login"), node)?;
        let s = &mut section;
        let scheme = self.word(s, "scheme", &[Scheme::Basic, Scheme::Digest], scheme_word);
        let user = self.plain_text(s, "user");
        if user.is_none() {
            self.missing(s, "user", "a user's name as text");
        }
        let secret = self.name(s, "secret");
        self.finish(section);
        Some(Credential { scheme: scheme?, user: user?, secret: secret? })
    }

    /// The pages of a service.
    pub(super) fn pages(&mut self, section: &mut Section) -> BTreeMap<Name, Page> {
        let mut pages = BTreeMap::new();
        let Some(node) = section.take("page") else { return pages };
        let path = section.key("page");
        self.mark(&path, node.at);
        for (name, node) in self.named(&path, node) {
            let Some(mut page) = self.section(format!("{path}.{name}"), node) else { continue };
            let (key, at) = (page.key("path"), page.at);
            let own = self.pattern(&mut page, "path");
            let methods = self.methods(&mut page, "methods").unwrap_or(Methods::READ);
            let assets = self.patterns(&mut page, "assets");
            self.finish(page);
            match own {
                // What a page is cannot be known from one that is many.
                Some(own) if own.as_str().contains('*') => {
                    self.bad_value(
                        at,
                        key,
                        own.as_str(),
                        "one path without `*`; all below it belongs to the page",
                    );
                }
                Some(path) => drop(pages.insert(name, Page { path, methods, assets })),
                None => {}
            }
        }
        pages
    }

    /// A pattern that must be there.
    fn pattern(&mut self, section: &mut Section, key: &'static str) -> Option<Pattern> {
        let Some(node) = section.take(key) else {
            self.missing(section, key, EXPECTED_PATH);
            return None;
        };
        self.pattern_of(&section.key(key), node).map(|(pattern, _)| pattern)
    }

    fn patterns(&mut self, section: &mut Section, key: &'static str) -> BTreeSet<Pattern> {
        self.list(section, key, Self::pattern_of)
    }

    fn pattern_of(&mut self, key: &str, node: Node) -> Option<(Pattern, String)> {
        let (at, text) = self.text(key, node, EXPECTED_PATH)?;
        self.mark(key, at);
        match text.parse() {
            Ok(pattern) => Some((pattern, text)),
            Err(fault) => {
                self.complain(at, key, Fault::Pattern { found: text.into(), fault });
                None
            }
        }
    }

    /// Methods, if the key is there and names some.
    fn methods(&mut self, section: &mut Section, key: &'static str) -> Option<Methods> {
        if !section.has(key) {
            return None;
        }
        let (path, at) = (section.key(key), section.at);
        let before = self.complaint_count();
        let methods = Methods::of(self.words(section, key, &Method::ALL, Method::word));
        if methods.is_none() && self.complaint_count() == before {
            self.bad_value(
                at,
                path,
                "an empty list",
                "at least one method; leave the key away for the default",
            );
        }
        methods
    }

    /// Text that goes to a machine; what may stand there says the form of the rules.
    fn plain_text(&mut self, section: &mut Section, key: &'static str) -> Option<Text> {
        let node = section.take(key)?;
        self.plain_text_of(&section.key(key), node).map(|(text, _)| text)
    }

    fn plain_texts(&mut self, section: &mut Section, key: &'static str) -> BTreeSet<Text> {
        self.list(section, key, Self::plain_text_of)
    }

    fn plain_text_of(&mut self, key: &str, node: Node) -> Option<(Text, String)> {
        let (at, text) = self.text(key, node, "text")?;
        self.mark(key, at);
        match Text::try_from(text.clone()) {
            Ok(plain) => Some((plain, text)),
            Err(_) => {
                self.bad_value(at, key, &text, "at most 256 bytes without control or invisible characters");
                None
            }
        }
    }

    pub(super) fn optional_word<T: Copy>(
        &mut self,
        section: &mut Section,
        key: &'static str,
        vocabulary: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let node = section.take(key)?;
        self.word_of(&section.key(key), node, vocabulary, word)
    }

    /// A whole number from 0 to `most`.
    fn number(
        &mut self,
        section: &mut Section,
        key: &'static str,
        most: u32,
        expected: &'static str,
    ) -> Option<u32> {
        let node = section.take(key)?;
        let path = section.key(key);
        let Value::Integer(number) = node.value else {
            let fault = Fault::Type { found: node.value.describe(), expected: "a whole number" };
            self.complain(node.at, path, fault);
            return None;
        };
        let fitting = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= most);
        if fitting.is_none() {
            let found = number.map_or_else(|| "a huge number".to_owned(), |number| number.to_string());
            self.bad_value(node.at, path, &found, expected);
        }
        fitting
    }
}

/// SHA-256 of a key, in hexadecimal digits or in base 64 as other programs write it.
fn pin(text: &str) -> Option<[u8; 32]> {
    let bytes =
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).or_else(|_| BASE64.decode(text.as_bytes())).ok()?;
    bytes.try_into().ok()
}

/// How much of a path is recorded, as a word.
pub(super) const fn log_word(log: PathLog) -> &'static str {
    match log {
        PathLog::Full => "full",
        PathLog::Prefix => "prefix",
        PathLog::None => "none",
    }
}

/// How a gate logs in, as a word.
pub(super) const fn scheme_word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Basic => "basic",
        Scheme::Digest => "digest",
    }
}

const LOGS: [PathLog; 3] = [PathLog::Full, PathLog::Prefix, PathLog::None];
/// Every option of some kind.
const OPTIONS: [&str; 15] = [
    "password",
    "writers",
    "host",
    "tls",
    "start",
    "read-only",
    "allow",
    "login",
    "identity",
    "log",
    "paths",
    "subprotocols",
    "origin",
    "frame-bytes",
    "message-bytes",
];
const EXPECTED_PATH: &str = "a path as text that begins with `/`";
const EXPECTED_ALLOW: &str =
    "at least one `{ path = \"/..\" }`; leave the key away to allow the whole service";
const EXPECTED_PIN: &str =
    "SHA-256 of the machine's SubjectPublicKeyInfo as 64 hexadecimal digits or 44 characters of base 64";
