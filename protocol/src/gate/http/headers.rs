//! Which headers pass the gate, in both directions. What does not is left out; the gate sets its own in their place.
//!
//! 1. Headers of one hop end here (RFC 9110, section 7.6.1): `Connection` with everything that it names, and their kin.
//! 2. What would have a machine read another method, path, host or person than those that were judged never reaches it. Names are
//!    compared as CGI reads them: `X_Forwarded_For` is `X-Forwarded-For` to many a machine.
//! 3. Of the machine's answers, what would bind a browser to the machine's own address is left out.

/// Whether a header of the client goes on to the machine. `named` are those of [`Head::named`](super::strict::Head::named).
#[must_use]
pub fn reaches_machine(name: &str, named: &[Box<str>]) -> bool {
    let plain = plain(name);
    !is_named(&plain, named)
        && !HOP.contains(&plain.as_str())
        && !FOR_THE_GATE.contains(&plain.as_str())
        && !CLAIMS.contains(&plain.as_str())
        // `Content_Length` is no length to the gate, and one to a machine that reads headers as CGI does.
        && (plain.eq_ignore_ascii_case(name) || !belongs_to_request(&plain))
        && !CLAIM_FAMILIES.iter().any(|family| plain.starts_with(family))
}

/// Whether a header of the machine's answer goes on to the client. `named` are the tokens of its `Connection`.
#[must_use]
pub fn reaches_client(name: &str, named: &[Box<str>]) -> bool {
    let plain = plain(name);
    !is_named(&plain, named)
        && !plain.starts_with("proxy-")
        && !HOP.contains(&plain.as_str())
        && !BINDING.contains(&plain.as_str())
}

/// Whether a header says what the request is, so that no `Connection` may take it away.
pub(super) fn belongs_to_request(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "authorization"
            | "cookie"
            | "origin"
    ) || matches!(name, "transfer-encoding" | "expect" | "range" | "sec-websocket-key")
}

/// The tokens of a `Connection` of the machine, in small letters. What is no token is left out.
#[must_use]
pub fn connection_tokens(value: &[u8]) -> Vec<Box<str>> {
    let text = String::from_utf8_lossy(value);
    text.split(',').map(|token| token.trim().to_ascii_lowercase().into_boxed_str()).collect()
}

fn is_named(plain: &str, named: &[Box<str>]) -> bool {
    named.iter().any(|named| self::plain(named) == plain)
}

/// A name as CGI tells it: small letters, and a dash for everything that is neither letter nor digit.
fn plain(name: &str) -> String {
    let dash = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(dash).collect()
}

/// Headers of one hop.
const HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Headers that the gate answers or sets itself.
const FOR_THE_GATE: &[&str] = &["host", "expect", "forwarded", "via", "max-forwards"];

/// Claims about the request or the person that only a proxy may make.
const CLAIMS: &[&str] = &[
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-http-host-override",
    "x-host",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-user",
    "x-username",
    "x-script-name",
    "script-name",
    "remote-addr",
    "remote-user",
    // CGI tells it as `HTTP_PROXY`, which programs take for their own setting (CVE-2016-5385).
    "proxy",
];

/// Families of such claims, by how their names begin.
const CLAIM_FAMILIES: &[&str] = &[
    "proxy-",
    "x-forwarded",
    "x-original-",
    "x-rewrite-",
    "x-postern-",
    "x-accel-",
    "x-remote-",
    "x-auth-request-",
    "x-authenticated",
    "x-webauth-",
    "x-ssl-",
    "x-client-cert",
    "ssl-client-",
    "x-proxy",
    "x-arr-",
    "x-envoy-",
    "sec-websocket-extensions",
];

/// What would have a browser leave the local address, or never come back to it.
const BINDING: &[&str] =
    &["strict-transport-security", "alt-svc", "public-key-pins", "expect-ct", "clear-site-data"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_the_request_reaches_the_machine_and_what_claims_something_does_not() {
        for name in ["Accept", "Cookie", "authorization", "If-None-Match", "Content-Type", "X-Requested-With"]
        {
            assert!(reaches_machine(name, &[]), "{name}");
        }
        for name in [
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "Upgrade",
            "HTTP2-Settings",
            "Host",
            "Expect",
            "Via",
            "Forwarded",
            "Proxy-Authorization",
            "Proxy",
            "X-Forwarded-For",
            "x_forwarded_user",
            "X-Forwarded",
            "X.Forwarded.Host",
            "X-Real-IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-Postern-User",
            "Remote-User",
            "X_WebAuth_Role",
            "X-SSL-Client-CN",
            "SSL_CLIENT_VERIFY",
            "X-Authenticated",
            "Content_Length",
            "Content.Type",
            "Sec-WebSocket-Extensions",
        ] {
            assert!(!reaches_machine(name, &[]), "{name}");
        }
    }

    #[test]
    fn what_connection_names_ends_here_in_both_directions() {
        let named: Vec<Box<str>> = vec!["close".into(), "x-hop".into()];
        assert!(!reaches_machine("X-Hop", &named) && !reaches_client("X_Hop", &named));
        assert!(reaches_machine("X-Hop-2", &named) && reaches_client("X-Hop", &[]));
        assert_eq!(connection_tokens(b"Close,  X-Hop"), named);
    }

    #[test]
    fn an_answer_does_not_bind_the_browser_to_the_machines_address() {
        for name in ["Content-Type", "Set-Cookie", "Location", "WWW-Authenticate", "ETag", "X-Anything"] {
            assert!(reaches_client(name, &[]), "{name}");
        }
        for name in ["Strict-Transport-Security", "Alt-Svc", "Connection", "Keep-Alive", "Proxy-Authenticate"]
        {
            assert!(!reaches_client(name, &[]), "{name}");
        }
    }

    #[test]
    fn connection_cannot_take_away_what_the_request_is() {
        for name in ["host", "content-length", "authorization", "cookie"] {
            assert!(belongs_to_request(name), "{name}");
        }
        assert!(!belongs_to_request("keep-alive"));
    }
}
