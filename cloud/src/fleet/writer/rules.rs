//! The options of services and the pages of HTTP ones; what is the default is left away.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::rules::{Method, Methods};
use postern_protocol::policy::{Allow, Credential, HttpRules, PathLog, Rules, Upstream, WebsocketRules};

use super::super::rules::{log_word, scheme_word};
use super::Writer;
use super::text::{list, quoted};
use crate::model::{Page, Service};

impl Writer {
    pub(super) fn rules(&mut self, rules: Option<&Rules>) {
        match rules {
            None => {}
            Some(Rules::Vnc(rules)) => {
                self.optional_text("password", rules.password.as_ref());
                self.number("writers", rules.writers, Service::WRITERS);
            }
            Some(Rules::Http(rules)) => self.http(rules),
            Some(Rules::Websocket(rules)) => self.websocket(rules),
        }
    }

    fn http(&mut self, rules: &HttpRules) {
        let whole = HttpRules::whole();
        self.upstream(&rules.upstream);
        if rules.start != whole.start {
            self.text("start", &rules.start);
        }
        let read = |allow: &Allow| Allow { methods: Methods::READ, ..allow.clone() };
        if rules.allow == whole.allow.iter().map(read).collect::<Vec<_>>() {
            self.flag("read-only", true);
        } else if rules.allow != whole.allow {
            let rows: Vec<String> = rules.allow.iter().map(allow).collect();
            self.line("allow", &list(&rows));
        }
        self.login(rules.credential.as_ref());
        self.flag("identity", rules.identity);
        if rules.log != PathLog::Full {
            self.text("log", log_word(rules.log));
        }
    }

    fn websocket(&mut self, rules: &WebsocketRules) {
        let whole = WebsocketRules::whole();
        self.upstream(&rules.upstream);
        if rules.paths != whole.paths {
            let paths: Vec<String> = rules.paths.iter().map(|path| quoted(path.as_str())).collect();
            self.line("paths", &list(&paths));
        }
        self.texts("subprotocols", &rules.subprotocols);
        self.optional_text("origin", rules.origin.as_ref());
        self.login(rules.credential.as_ref());
        if rules.frame_bytes != whole.frame_bytes.min(rules.message_bytes) {
            self.line("frame-bytes", &rules.frame_bytes.to_string());
        }
        if rules.message_bytes != whole.message_bytes {
            self.line("message-bytes", &rules.message_bytes.to_string());
        }
    }

    fn login(&mut self, login: Option<&Credential>) {
        if let Some(login) = login {
            let (scheme, user) = (quoted(scheme_word(login.scheme)), quoted(login.user.as_str()));
            let secret = quoted(login.secret.as_str());
            self.line("login", &format!("{{ scheme = {scheme}, user = {user}, secret = {secret} }}"));
        }
    }

    fn upstream(&mut self, upstream: &Upstream) {
        self.optional_text("host", upstream.host.as_ref());
        self.texts("tls", upstream.tls.iter().flatten().map(|pin| HEXLOWER.encode(pin)));
    }

    pub(super) fn pages(&mut self, service: &[&str], pages: &BTreeMap<Name, Page>) {
        for (name, page) in pages {
            let path: Vec<&str> = service.iter().copied().chain(["page", name.as_str()]).collect();
            self.header(&path);
            self.text("path", &page.path);
            if page.methods != Methods::READ {
                self.texts("methods", page.methods.iter().map(Method::word));
            }
            self.texts("assets", &page.assets);
        }
    }
}

/// One row of what is allowed, as an inline table.
fn allow(allow: &Allow) -> String {
    let mut parts = vec![format!("path = {}", quoted(allow.path.as_str()))];
    if allow.methods != Methods::ALL {
        let methods: Vec<String> = allow.methods.iter().map(|method| quoted(method.word())).collect();
        parts.push(format!("methods = [{}]", methods.join(", ")));
    }
    if let Some(keys) = &allow.query {
        let keys: Vec<String> = keys.iter().map(|key| quoted(key.as_str())).collect();
        parts.push(format!("query = [{}]", keys.join(", ")));
    }
    format!("{{ {} }}", parts.join(", "))
}
