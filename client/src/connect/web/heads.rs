//! Headers on their way: what belongs to one connection, and every key, stays here.
//!
//! 1. Headers of one connection (RFC 9110, section 7.6.1) and those that `Connection` names are taken out, on both ways.
//! 2. An upgrade names itself again, and nothing else.
//! 3. Towards the machine, the cookies and keys of this program are taken out, also those of another port.
//! 4. Towards the browser, a cookie that looks like one of this program's is taken out: it is none of the machine's.
//!
//! `Transfer-Encoding` stays for the writer of the next head, which applies it. `Expect` ends here: the body is asked for
//! as soon as the request may pass.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, COOKIE, Entry, HeaderName, HeaderValue, REFERER, SET_COOKIE, UPGRADE};

use crate::connect::web::door::{COOKIE_PREFIX, PROGRAM_KEY};

/// Whether it asks for another protocol on this connection.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Takes out what the machine must not get.
pub(super) fn towards_machine(headers: &mut HeaderMap, upgrade: bool) {
    without_hop(headers, upgrade);
    headers.remove("expect");
    headers.remove(PROGRAM_KEY);
    let lines: Vec<Vec<u8>> = headers.get_all(COOKIE).iter().map(|line| foreign(line.as_bytes())).collect();
    if let Entry::Occupied(present) = headers.entry(COOKIE) {
        present.remove_entry_mult();
    }
    for line in lines.iter().filter(|line| !line.is_empty()) {
        // Parts of a value make a value.
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    // Used up, but nobody else's business.
    let has_key = |value: &HeaderValue| {
        let key: &[u8] = b"postern=";
        value.as_bytes().windows(key.len()).any(|window| window == key)
    };
    if headers.get(REFERER).is_some_and(has_key) {
        headers.remove(REFERER);
    }
}

/// Takes out what the browser must not get.
pub(super) fn towards_browser(headers: &mut HeaderMap, switches: bool) {
    without_hop(headers, switches);
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|line| !sets_own(line.as_bytes())).cloned().collect();
    if let Entry::Occupied(present) = headers.entry(SET_COOKIE) {
        present.remove_entry_mult();
    }
    for line in kept {
        headers.append(SET_COOKIE, line);
    }
}

/// Name and value of each cookie in a line.
pub(super) fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';').map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        (name.trim_ascii(), value.strip_prefix(b"=").unwrap_or(value).trim_ascii())
    })
}

/// The cookies of a line that are not this program's, byte for byte.
fn foreign(line: &[u8]) -> Vec<u8> {
    let kept = line.split(|byte| *byte == b';').filter(|pair| !cookies(pair).any(|(name, _)| is_own(name)));
    kept.collect::<Vec<_>>().join(&b';').trim_ascii().to_vec()
}

fn sets_own(line: &[u8]) -> bool {
    cookies(line).next().is_some_and(|(name, _)| is_own(name))
}

/// Whether a cookie is of this program, at this port or another.
fn is_own(name: &[u8]) -> bool {
    let port = name.strip_prefix(COOKIE_PREFIX.as_bytes());
    port.is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

fn without_hop(headers: &mut HeaderMap, upgrade: bool) {
    let protocol = headers.get(UPGRADE).cloned().filter(|_| upgrade);
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .collect();
    // `Connection: host` must not take out what the request is judged by.
    for name in named.iter().filter(|name| !END_TO_END.contains(&name.as_str())) {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(*name);
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Headers of one connection.
const HOP: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"];
/// Headers that no `Connection` takes out: they frame the message or say who asks.
const END_TO_END: &[&str] =
    &["host", "content-length", "transfer-encoding", "origin", "cookie", "authorization", "content-type"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn listed(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn no_key_reaches_the_machine_and_its_own_cookies_do() {
        let mut sent = headers(&[
            ("cookie", "a=1; postern-24000=secret; b=2"),
            ("cookie", "postern-24001=other"),
            ("cookie", "postern=3; postern-x=4"),
            ("x-postern-token", "secret"),
            ("authorization", "Basic x"),
            ("referer", "http://hmi.press-7.localhost:24000/?postern=secret"),
        ]);
        towards_machine(&mut sent, false);
        assert_eq!(
            listed(&sent),
            ["authorization: Basic x", "cookie: a=1; b=2", "cookie: postern=3; postern-x=4"]
        );
    }

    #[test]
    fn a_referrer_without_a_key_passes() {
        let mut sent = headers(&[("referer", "http://hmi.press-7.localhost:24000/a?b")]);
        towards_machine(&mut sent, false);
        assert_eq!(listed(&sent), ["referer: http://hmi.press-7.localhost:24000/a?b"]);
    }

    #[test]
    fn what_belongs_to_one_connection_stays_and_what_frames_the_message_passes() {
        let mut sent = headers(&[
            ("connection", "keep-alive, X-Mine, content-length"),
            ("keep-alive", "timeout=5"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("content-length", "3"),
        ]);
        towards_machine(&mut sent, false);
        assert_eq!(listed(&sent), ["content-length: 3"]);
    }

    #[test]
    fn an_upgrade_names_itself_and_nothing_else() {
        let mut sent = headers(&[
            ("connection", "keep-alive, Upgrade, sec-websocket-key"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ]);
        towards_machine(&mut sent, true);
        assert_eq!(listed(&sent), ["connection: upgrade", "sec-websocket-version: 13", "upgrade: websocket"]);
    }

    #[test]
    fn a_machine_sets_its_own_cookies_and_none_of_this_program() {
        let mut answered = headers(&[
            ("set-cookie", "postern-24000=forged; Path=/"),
            ("set-cookie", " postern-24000 =forged"),
            ("set-cookie", "sid=1; Path=/"),
            ("set-cookie", "postern-mode=dark"),
            ("connection", "close"),
        ]);
        towards_browser(&mut answered, false);
        assert_eq!(listed(&answered), ["set-cookie: postern-mode=dark", "set-cookie: sid=1; Path=/"]);
    }

    #[test]
    fn cookies_are_found_however_they_are_spaced() {
        let found: Vec<_> = cookies(b" a = 1;b=2=3; c ;;").collect();
        let expected: [(&[u8], &[u8]); 5] =
            [(b"a", b"1"), (b"b", b"2=3"), (b"c", b""), (b"", b""), (b"", b"")];
        assert_eq!(found, expected);
    }
}
