//! The door of a local origin: which requests may use the open tunnel.
//!
//! A tunnel that stands open on 127.0.0.1 can be reached by every page in the engineer's browser and every user of the
//! computer. What a request must show, in this order:
//!
//! 1. **Form.** A target of this origin, `/...`: nobody is served as by a proxy.
//! 2. **Host.** Exactly the origin's. A hostile name that was made to point at 127.0.0.1 (DNS rebinding) is still in `Host`.
//! 3. **Link.** `GET /any/path?postern=LINK` uses the link up, sets a cookie and leads to the path without it. Wherever
//!    the link stood: who has it was given it.
//! 4. **Where it was made.** `Sec-Fetch-Site` and `Origin`, where they are there, say the own origin; a person's own
//!    navigation (`none`) may look. A page of another service of the same device is another origin as well, although
//!    browsers call it the same site.
//! 5. **Key.** The cookie of a browser, or the program key in a header; for a WebSocket service also in its URL.
//! 6. **Act.** With the cookie, what can act (any method but GET and HEAD, and an upgrade) must say the own origin:
//!    silence is a no.
//!
//! A link of another page that leads here is refused by step 4, and without `Sec-Fetch-Site` by step 5, because browsers
//! keep a `SameSite=Strict` cookie back: no page but the origin's own chooses a path of the machine.
//!
//! Programs that send the program key need not name an origin, because no page can send that header here: browsers
//! would first ask with an `OPTIONS` that step 4 refuses.

use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, StatusCode, Uri};

use crate::connect::web::heads::cookies;
use crate::connect::web::keys::Keys;

/// A request as the door sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) target: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) upgrade: bool,
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It goes to the machine, with this target.
    Pass(PathAndQuery),
    /// Its browser comes in.
    Enter(Entrance),
}

/// How a browser comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entrance {
    /// Where it goes on, in full.
    pub(super) to: String,
    /// The `Set-Cookie`, unless it has the cookie already.
    pub(super) cookie: Option<String>,
    /// Whether a redirect leads there. One that began at another site would not carry the new cookie.
    pub(super) redirect: bool,
    /// Whether it named no path of its own.
    pub(super) at_start: bool,
}

impl Entrance {
    /// Goes on where the service begins, if that is said and is a path.
    pub(super) fn begin_at(&mut self, start: Option<&str>) {
        if let (true, Some(path)) = (self.at_start, start.and_then(|start| start.strip_prefix('/'))) {
            self.to.push_str(path);
        }
    }
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// A proxy's request, or no path at all.
    #[error("the request does not name a path of this service")]
    Form,
    /// Another `Host`, or none, or two.
    #[error("the request was not addressed to this service")]
    Host,
    /// A link that is used up or of another run.
    #[error("this link has been used, or is of an earlier `postern connect`")]
    Link,
    /// Made by another page.
    #[error("the request was made by a page that is not of this service")]
    Foreign,
    /// No key.
    #[error("this browser has not come in through a link of `postern connect`")]
    NoKey,
    /// A program key that is none.
    #[error("the program key is wrong, or of an earlier `postern connect`")]
    WrongKey,
}

impl Refused {
    /// The status of the answer.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Form => StatusCode::BAD_REQUEST,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Link | Self::Foreign | Self::NoKey | Self::WrongKey => StatusCode::FORBIDDEN,
        }
    }
}

/// The door of one origin.
#[derive(Debug)]
pub(in crate::connect) struct Door {
    authority: String,
    origin: String,
    cookie: String,
    keys: Keys,
    for_programs: bool,
}

impl Door {
    /// The door of `http://AUTHORITY`, whose port is `port`. With `for_programs` the program key may stand in the URL:
    /// for a WebSocket service, whose URL no browser keeps.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub(in crate::connect) fn new(
        authority: String,
        port: u16,
        for_programs: bool,
    ) -> Result<Self, getrandom::Error> {
        // Cookies do not know ports: two of these programs at one host name must not overwrite each other's.
        let (origin, cookie) = (format!("http://{authority}"), format!("{COOKIE_PREFIX}{port}"));
        Ok(Self { authority, origin, cookie, keys: Keys::random()?, for_programs })
    }

    /// What programs send in `X-Postern-Token`.
    pub(in crate::connect) fn program_key(&self) -> String {
        self.keys.program.text()
    }

    /// The URL that is handed out: a link for a browser, or the address with the program key.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub(in crate::connect) fn url(&self) -> Result<String, getrandom::Error> {
        if self.for_programs {
            return Ok(format!("ws://{}/?{QUERY_KEY}={}", self.authority, self.program_key()));
        }
        self.link()
    }

    /// A URL for one visit of a browser.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub(in crate::connect) fn link(&self) -> Result<String, getrandom::Error> {
        Ok(format!("{}/?{QUERY_KEY}={}", self.origin, self.keys.new_link()?.text()))
    }

    /// Judges a request.
    pub(super) fn judge(&self, asked: &Asked<'_>) -> Result<Entry, Refused> {
        let target = own_target(asked.target)?;
        if !self.is_addressed(asked.headers) {
            return Err(Refused::Host);
        }
        let (key, rest) = split_key(target);
        let key = key.as_deref();
        if let (Some(link), &Method::GET, false, false) =
            (key, asked.method, asked.upgrade, self.for_programs)
        {
            return self.enter(link, &rest, asked);
        }
        let by_program = self.is_program(asked, key.filter(|_| self.for_programs))?;
        if !self.is_made_here(asked.headers, false) {
            return Err(Refused::Foreign);
        }
        if by_program {
            // Only there the key was part of the target.
            return Ok(Entry::Pass(if self.for_programs { rest } else { target.clone() }));
        }
        if !self.has_cookie(asked.headers) {
            return Err(Refused::NoKey);
        }
        let acts = asked.upgrade || !matches!(*asked.method, Method::GET | Method::HEAD);
        if acts && !self.is_made_here(asked.headers, true) {
            return Err(Refused::Foreign);
        }
        Ok(Entry::Pass(target.clone()))
    }

    fn enter(&self, link: &str, rest: &PathAndQuery, asked: &Asked<'_>) -> Result<Entry, Refused> {
        // In full: `//elsewhere/` alone would lead away.
        let to = format!("{}{rest}", self.origin);
        let at_start = rest.as_str() == "/";
        let site = single(asked.headers, SEC_FETCH_SITE);
        if self.keys.redeem(link.as_bytes()) {
            let cookie =
                format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie, self.keys.cookie.text());
            let redirect = matches!(site, Ok(None | Some(b"none" | b"same-origin")));
            return Ok(Entry::Enter(Entrance { to, cookie: Some(cookie), redirect, at_start }));
        }
        // The link once more in the browser that has used it, from its history or the terminal.
        if self.is_made_here(asked.headers, false) && self.has_cookie(asked.headers) {
            return Ok(Entry::Enter(Entrance { to, cookie: None, redirect: true, at_start }));
        }
        Err(Refused::Link)
    }

    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        matches!(single(headers, "host"), Ok(Some(host)) if host.eq_ignore_ascii_case(self.authority.as_bytes()))
    }

    /// Whether the own page made it, as far as the browser says so; with `must_say` silence is a no.
    fn is_made_here(&self, headers: &HeaderMap, must_say: bool) -> bool {
        let (Ok(site), Ok(origin)) = (single(headers, SEC_FETCH_SITE), single(headers, "origin")) else {
            return false;
        };
        let is_own = |origin: &[u8]| origin.eq_ignore_ascii_case(self.origin.as_bytes());
        match (site, origin) {
            // Browsers hide the origin of a page that wants no referrer; no page can hide or forge the site.
            (Some(b"same-origin"), Some(b"null") | None) => true,
            (Some(b"same-origin") | None, Some(origin)) => is_own(origin),
            (Some(b"none") | None, None) => !must_say,
            (Some(_), _) => false,
        }
    }

    fn is_program(&self, asked: &Asked<'_>, in_target: Option<&str>) -> Result<bool, Refused> {
        let in_header = single(asked.headers, PROGRAM_KEY).map_err(|_| Refused::WrongKey)?;
        match in_header.or(in_target.map(str::as_bytes)) {
            Some(key) if self.keys.program.is(key) => Ok(true),
            Some(_) => Err(Refused::WrongKey),
            None => Ok(false),
        }
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let own =
            |(name, value): (&[u8], &[u8])| name == self.cookie.as_bytes() && self.keys.cookie.is(value);
        // A page of another service of the device can set a second one of the name, but not the value.
        headers.get_all("cookie").iter().flat_map(|line| cookies(line.as_bytes())).any(own)
    }
}

/// Path and query, as they came.
fn own_target(target: &Uri) -> Result<&PathAndQuery, Refused> {
    match target.path_and_query() {
        Some(path) if target.authority().is_none() && path.as_str().starts_with('/') => Ok(path),
        Some(_) | None => Err(Refused::Form),
    }
}

/// The key in the query, and the target without it. The rest of the query keeps its bytes and order.
fn split_key(target: &PathAndQuery) -> (Option<String>, PathAndQuery) {
    let Some(query) = target.query() else { return (None, target.clone()) };
    let is_key = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == QUERY_KEY);
    let Some((_, key)) = query.split('&').find(is_key).and_then(|pair| pair.split_once('=')) else {
        return (None, target.clone());
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    let rest = match rest.join("&").as_str() {
        "" => target.path().to_owned(),
        rest => format!("{}?{rest}", target.path()),
    };
    match PathAndQuery::try_from(rest) {
        Ok(rest) => (Some(key.to_owned()), rest),
        // Not reached: parts of a target make a target.
        Err(_) => (None, target.clone()),
    }
}

/// The value of a header that there is at most one of.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Several> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(|value| value.as_bytes())),
        (_, Some(_)) => Err(Several),
    }
}

/// More than one header where one decides.
#[derive(Debug)]
struct Several;

/// How every cookie of this program begins; the port follows.
pub(super) const COOKIE_PREFIX: &str = "postern-";
/// Where the key stands in a URL.
const QUERY_KEY: &str = "postern";
/// Where programs put their key; `Authorization` is the machine's own.
pub(super) const PROGRAM_KEY: &str = "x-postern-token";
const SEC_FETCH_SITE: &str = "sec-fetch-site";

#[cfg(test)]
mod tests;
