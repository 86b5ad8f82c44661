//! What a client reads in place of the machine's answer: what happened, why, and who can change it.
//!
//! Browsers get a page, programs that prefer JSON get JSON. Neither names anything that the policy does not grant.

use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};

use postern_protocol::gate::http::RequestFault;
use postern_protocol::gate::websocket::HandshakeFault;
use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::Failure;

/// Why the gate answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Policy says no.
    Denied(Reason),
    /// The machine could not be asked, or did not answer.
    Failed(Failure),
    /// The machine did not answer in time.
    Late,
    /// The machine's answer is none that the gate passes on.
    Garbled,
    /// The machine has refused the device's login, which rests for so many seconds.
    Resting(u64),
    /// The machine demands a login before a body that is too large to be sent twice.
    AskAgain,
    /// The request is not clear.
    Fault(RequestFault),
    /// The upgrade is not clear, or the machine's answer to it.
    Handshake(HandshakeFault),
    /// A WebSocket service was asked for a page.
    UpgradeRequired,
}

impl Answered {
    /// The status of the answer.
    pub(super) fn status(self) -> StatusCode {
        let status = match self {
            Self::Denied(_) => 403,
            Self::AskAgain | Self::Failed(Failure::Busy | Failure::Unrecorded | Failure::Shutdown) => 503,
            Self::Failed(_)
            | Self::Garbled
            | Self::Resting(_)
            | Self::Handshake(HandshakeFault::Answer | HandshakeFault::Choice | HandshakeFault::Extension) => {
                502
            }
            Self::Late => 504,
            Self::Fault(fault) => fault.status(),
            Self::Handshake(HandshakeFault::Version | HandshakeFault::Key | HandshakeFault::Protocols) => 400,
            Self::UpgradeRequired => 426,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The word for programs.
    fn word(self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.word(),
            Self::Failed(failure) => failure.word(),
            Self::Resting(_) => Failure::Login.word(),
            Self::Late => "late",
            Self::Garbled => "garbled",
            Self::AskAgain => "ask_again",
            Self::Fault(_) => "ambiguous",
            Self::Handshake(_) => "handshake",
            Self::UpgradeRequired => "upgrade_required",
        }
    }

    /// What happened.
    fn sentence(self) -> String {
        match self {
            Self::Denied(reason) => reason.sentence().to_owned(),
            Self::Failed(failure) => failure.sentence().to_owned(),
            Self::Resting(seconds) => format!(
                "the machine has refused the device's login; so that it does not lock the account, the device does not try it again for \
                 {seconds} s"
            ),
            Self::Late => "the machine did not answer in time".to_owned(),
            Self::Garbled => "the machine's answer was cut off or is no HTTP".to_owned(),
            Self::AskAgain => {
                "the machine asked the device to log in first, and has not taken this".to_owned()
            }
            Self::Fault(fault) => fault.to_string(),
            Self::Handshake(fault) => fault.to_string(),
            Self::UpgradeRequired => "this service is a WebSocket, not a page".to_owned(),
        }
    }

    /// What to do next.
    fn next_step(self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.next_step(),
            Self::Failed(failure) => failure.next_step(),
            Self::Resting(_) => {
                "have the machine's password set anew, on the device or in the cloud: a new one is tried at once"
            }
            Self::Late | Self::Garbled => "try again, and check the machine if it stays so",
            Self::AskAgain => "send it again: the device is ready to log in now",
            Self::Fault(_) => {
                "use a program that speaks plain HTTP/1.1; the gate passes on nothing that can be read in two ways"
            }
            Self::Handshake(_) => "check what the program and the machine speak",
            Self::UpgradeRequired => {
                "open it with a program that speaks WebSocket, or from the machine's page"
            }
        }
    }

    /// Who can change it.
    fn who(self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.lifter().describe(),
            // The pin is in the policy, where nobody at the machine can change it.
            Self::Failed(Failure::MachineKey) => "your administrator",
            Self::Failed(_) | Self::Late | Self::Garbled | Self::Resting(_) => {
                "whoever looks after the machine"
            }
            Self::AskAgain | Self::Fault(_) | Self::Handshake(_) | Self::UpgradeRequired => "you",
        }
    }
}

/// The answer, in the form that the request prefers.
pub(super) fn answer(answered: Answered, service: &str, request: &HeaderMap) -> Response<Vec<u8>> {
    let accept = request.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, body) = if prefers_json(accept) {
        ("application/json", json(answered, service))
    } else {
        ("text/html; charset=utf-8", html(answered, service))
    };
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = answered.status();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        // Otherwise a browser would show the refusal when it is over.
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ] {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    if let Answered::Resting(seconds) = answered {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The same as bytes on the wire, for a client whose request could not be read. It ends the connection.
pub(super) fn raw(fault: RequestFault, service: &str) -> Vec<u8> {
    let answered = Answered::Fault(fault);
    let (status, body) = (answered.status(), html(answered, service));
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    );
    [head, body].concat().into_bytes()
}

fn json(answered: Answered, service: &str) -> String {
    let value = serde_json::json!({
        "error": {
            "status": answered.status().as_u16(),
            "reason": answered.word(),
            "service": service,
            "what": answered.sentence(),
            "next": answered.next_step(),
            "who": answered.who(),
        }
    });
    format!("{value}\n")
}

fn html(answered: Answered, service: &str) -> String {
    let status = answered.status();
    let title = match answered {
        Answered::Denied(_) => "Not allowed here",
        Answered::Failed(_) | Answered::Late | Answered::Garbled | Answered::Resting(_) => {
            "The machine cannot be reached"
        }
        Answered::AskAgain | Answered::Fault(_) | Answered::Handshake(_) | Answered::UpgradeRequired => {
            "This request is not passed on"
        }
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:15vh auto;padding:0 1em;color:#222;background:#fafafa}}\
         h1{{font-size:1.4em}}dt{{font-weight:600;margin-top:.8em}}dd{{margin:0}}small{{color:#666}}</style></head>\
         <body><h1>{title}</h1><dl><dt>What</dt><dd>{what}</dd><dt>What to do</dt><dd>{next}</dd>\
         <dt>Who can change it</dt><dd>{who}</dd></dl>\
         <p><small>Postern, service {service}: {code} {word}</small></p></body></html>\n",
        what = escape(&answered.sentence()),
        next = escape(answered.next_step()),
        who = escape(answered.who()),
        service = escape(service),
        code = status.as_u16(),
        word = answered.word(),
    )
}

/// Text that stands for itself in a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Whether an `Accept` prefers JSON to a page. Whoever says nothing gets a page.
fn prefers_json(accept: &str) -> bool {
    let (mut json, mut page) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, per_mille);
        match kind {
            "application/json" => json = quality.max(json),
            "text/html" | "application/xhtml+xml" => page = quality.max(page),
            _ => {}
        }
    }
    json > page
}

/// A quality (RFC 9110, section 12.4.2) in thousandths.
fn per_mille(quality: &str) -> u16 {
    let (whole, digits) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = format!("{digits:0<3}");
    let part = digits.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if whole == "0" { part } else { 1000 }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn denied(accept: Option<&'static str>) -> (u16, String, String) {
        let mut request = HeaderMap::new();
        if let Some(accept) = accept {
            request.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let response = answer(Answered::Denied(Reason::PathDenied), "web", &request);
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        (response.status().as_u16(), kind, String::from_utf8(response.into_body()).unwrap())
    }

    #[test]
    fn a_browser_reads_a_page_and_a_program_json() {
        let (status, kind, page) = denied(Some("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert_eq!((status, kind.as_str()), (403, "text/html; charset=utf-8"));
        for part in
            ["this page is not granted", "ask your administrator for it", "your administrator", "path_denied"]
        {
            assert!(page.contains(part), "{page}");
        }
        let (status, kind, text) = denied(Some("application/json"));
        assert_eq!((status, kind.as_str()), (403, "application/json"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            serde_json::json!({ "error": {
                "status": 403, "reason": "path_denied", "service": "web", "what": "this page is not granted",
                "next": "ask your administrator for it", "who": "your administrator",
            }})
        );
    }

    #[test]
    fn another_key_of_the_machine_is_told_with_who_changes_the_pin() {
        let response = answer(Answered::Failed(Failure::MachineKey), "web", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let page = String::from_utf8(response.into_body()).unwrap();
        for part in [
            "the machine proved another key than the one that is pinned for it",
            "ask whether the machine or its certificate was exchanged, and have the new key pinned if so",
            "<dd>your administrator</dd>",
            "502 machine_key",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }

    #[test]
    fn json_is_for_those_who_prefer_it() {
        for (accept, json) in [
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("text/html;q=0.5, application/json;q=0.9", true),
            ("text/html, application/json", false),
            ("text/html;q=0.9, application/json;q=0.85", false),
            ("application/json;q=0", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(prefers_json(accept), json, "{accept}");
        }
        assert_eq!(denied(None).1, "text/html; charset=utf-8");
    }

    #[test]
    fn what_a_client_wrote_stands_for_itself_in_the_page() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }

    #[test]
    fn a_request_that_cannot_be_read_gets_an_answer_that_ends_the_connection() {
        let text = String::from_utf8(raw(RequestFault::TwoLengths, "web")).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.ends_with("Connection: close"),
            "{head}"
        );
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("there are both `Content-Length` and `Transfer-Encoding`"), "{body}");
    }
}
