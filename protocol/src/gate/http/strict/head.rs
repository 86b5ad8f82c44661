//! A whole head, read once: the request line, and the headers on which framing and hops depend.

use super::super::fault::RequestFault;
use super::super::headers;
use super::super::target::Target;
use super::HEADERS;

/// What a head says about the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method, a token.
    pub method: Box<str>,
    /// The target, which [`Target::parse`] reads without a fault.
    pub target: Box<str>,
    /// How its body ends.
    pub framing: Framing,
    /// Whether it asks for WebSocket.
    pub upgrade: bool,
    /// Headers that `Connection` names, in small letters: they end at this hop.
    pub named: Vec<Box<str>>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// The headers that a head may have once at most.
#[derive(Default)]
struct Single<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
}

/// Reads a head that ends with an empty line and has no lone CR or LF.
pub(super) fn read(bytes: &[u8]) -> Result<Head, RequestFault> {
    // Behind the last line stand an empty one and nothing.
    let text = bytes.strip_suffix(b"\r\n\r\n").ok_or(RequestFault::Line)?;
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let (mut single, mut named, mut count) = (Single::default(), Vec::new(), 0);
    for line in lines {
        count += 1;
        if count > HEADERS {
            return Err(RequestFault::HeaderCount);
        }
        header(line, &mut single, &mut named)?;
    }
    if !single.host.is_some_and(is_host) {
        return Err(RequestFault::Host);
    }
    if single.expect.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(RequestFault::Expect);
    }
    let framing = framing(&single)?;
    if matches!(method, "GET" | "HEAD") && !matches!(framing, Framing::None | Framing::Length(0)) {
        return Err(RequestFault::Body);
    }
    let upgrade = upgrade(method, framing, single.upgrade, &named)?;
    Ok(Head { method: method.into(), target: target.into(), framing, upgrade, named })
}

fn request_line(line: &[u8]) -> Result<(&str, &str), RequestFault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RequestFault::Line);
    };
    if method.is_empty() || method.len() > METHOD_BYTES || !method.iter().copied().all(is_token) {
        return Err(RequestFault::Line);
    }
    match version {
        b"HTTP/1.1" => {}
        other if other.starts_with(b"HTTP/") => return Err(RequestFault::Version),
        _ => return Err(RequestFault::Line),
    }
    let (Ok(method), Ok(target)) = (std::str::from_utf8(method), std::str::from_utf8(target)) else {
        return Err(RequestFault::Line);
    };
    if matches!(method, "CONNECT" | "TRACE" | "PRI") {
        return Err(RequestFault::Method);
    }
    Target::parse(target)?;
    Ok((method, target))
}

fn header<'a>(
    line: &'a [u8],
    single: &mut Single<'a>,
    named: &mut Vec<Box<str>>,
) -> Result<(), RequestFault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(RequestFault::Fold);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(RequestFault::Name)?;
    let (name, value) = line.split_at_checked(colon).ok_or(RequestFault::Name)?;
    // A space before the colon is no token either: some machines would read another name.
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(RequestFault::Name);
    }
    let value = trim(value.get(1..).unwrap_or_default());
    let (place, fault) = match () {
        () if name.eq_ignore_ascii_case(b"host") => (&mut single.host, RequestFault::Host),
        () if name.eq_ignore_ascii_case(b"content-length") => (&mut single.length, RequestFault::Length),
        () if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            (&mut single.encoding, RequestFault::Encoding)
        }
        () if name.eq_ignore_ascii_case(b"upgrade") => (&mut single.upgrade, RequestFault::Upgrade),
        () if name.eq_ignore_ascii_case(b"expect") => (&mut single.expect, RequestFault::Expect),
        () if name.eq_ignore_ascii_case(b"connection") => return connection(value, named),
        () => return Ok(()),
    };
    if place.replace(value).is_some() { Err(fault) } else { Ok(()) }
}

fn connection(value: &[u8], named: &mut Vec<Box<str>>) -> Result<(), RequestFault> {
    for token in value.split(|byte| *byte == b',').map(trim) {
        let is_name = !token.is_empty() && token.iter().copied().all(is_token);
        let (true, Ok(token)) = (is_name && named.len() < NAMED, std::str::from_utf8(token)) else {
            return Err(RequestFault::Connection);
        };
        let token = token.to_ascii_lowercase();
        // Taken away, these would change what the machine reads the request as.
        if headers::belongs_to_request(&token) {
            return Err(RequestFault::Connection);
        }
        named.push(token.into_boxed_str());
    }
    Ok(())
}

fn framing(single: &Single<'_>) -> Result<Framing, RequestFault> {
    match (single.length, single.encoding) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(RequestFault::TwoLengths),
        (None, Some(value)) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(RequestFault::Encoding),
        (Some(value), None) => length(value).map(Framing::Length).ok_or(RequestFault::Length),
    }
}

/// One decimal number in its one spelling.
fn length(value: &[u8]) -> Option<u64> {
    let plain = value.iter().all(u8::is_ascii_digit) && (value == b"0" || !value.starts_with(b"0"));
    if !plain || value.len() > LENGTH_DIGITS {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn upgrade(
    method: &str,
    framing: Framing,
    value: Option<&[u8]>,
    named: &[Box<str>],
) -> Result<bool, RequestFault> {
    let is_named = named.iter().any(|token| &**token == "upgrade");
    match value {
        None if !is_named => Ok(false),
        Some(value) => {
            let asks = is_named && value.eq_ignore_ascii_case(b"websocket");
            let bare = method == "GET" && matches!(framing, Framing::None | Framing::Length(0));
            // `Upgrade: h2c` would turn the connection into one that nobody here reads.
            if asks && bare { Ok(true) } else { Err(RequestFault::Upgrade) }
        }
        None => Err(RequestFault::Upgrade),
    }
}

fn is_host(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(in crate::gate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes of a method.
const METHOD_BYTES: usize = 32;
/// Digits of a `Content-Length`: less than a petabyte.
const LENGTH_DIGITS: usize = 15;
/// Tokens of `Connection`.
const NAMED: usize = 16;
