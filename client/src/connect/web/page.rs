//! Answers of this program itself: a page for people, JSON for programs, and the way in.
//!
//! A page is one document without anything from elsewhere; everything in it that came from outside is escaped. It may
//! be shown in frames of its own origin only, is kept nowhere and tells no address to anybody.

use bytes::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};

use crate::connect::web::body::Payload;
use crate::connect::web::door::Entrance;
use crate::exit::Exit;
use crate::problem::Problem;

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A browser shows it as a page.
    Person,
    /// Everything else, also what a page fetches for itself.
    Program,
}

impl Reader {
    /// Whoever asks for HTML is a person.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let html: &[u8] = b"text/html";
        let asks = |value: &HeaderValue| value.as_bytes().windows(html.len()).any(|window| window == html);
        if headers.get_all(ACCEPT).iter().any(asks) { Self::Person } else { Self::Program }
    }

    /// Says a problem.
    pub(super) fn answer(self, status: StatusCode, problem: &Problem) -> Response<Payload> {
        let again = status == StatusCode::SERVICE_UNAVAILABLE;
        let (kind, body) = match self {
            Self::Person => ("text/html; charset=utf-8", document(problem, again)),
            Self::Program => {
                let json = serde_json::to_string(&problem.for_programs()).unwrap_or_default();
                ("application/json", json + "\n")
            }
        };
        let mut response = own(status, kind, body);
        if again {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(AGAIN_S));
        }
        response
    }
}

/// The status of an answer that stands for the machine's.
pub(super) const fn status_of(problem: &Problem) -> StatusCode {
    match problem.exit {
        Exit::Denied | Exit::SignedOut => StatusCode::FORBIDDEN,
        Exit::DeviceUnreachable | Exit::HubUnreachable => StatusCode::SERVICE_UNAVAILABLE,
        Exit::Done
        | Exit::Failure
        | Exit::Usage
        | Exit::UnsafeProfile
        | Exit::WrongKey
        | Exit::NotDone
        | Exit::SignInRefused
        | Exit::NoSuchDevice
        | Exit::Degraded
        | Exit::Waiting
        | Exit::Unknown
        | Exit::Overtaken
        | Exit::Unfit => StatusCode::BAD_GATEWAY,
    }
}

/// Ends the local connection behind an answer: who is turned away shall not hold it.
pub(super) fn and_goodbye(mut response: Response<Payload>) -> Response<Payload> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Leads a browser in.
pub(super) fn entrance(entrance: &Entrance) -> Response<Payload> {
    let Entrance { to, redirect, .. } = entrance;
    let mut response = if *redirect {
        own(StatusCode::SEE_OTHER, "text/plain", String::new())
    } else {
        // A page of this origin goes on by itself: what it asks for is no request of another site, and has the cookie.
        let to = escaped(to);
        let meta = format!("<meta http-equiv=\"refresh\" content=\"0;url={to}\">");
        let body = format!("<p><a href=\"{to}\">Go on</a></p>");
        own(StatusCode::OK, "text/html; charset=utf-8", frame("Welcome", &meta, &body))
    };
    if *redirect && let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    with_cookie(response, entrance)
}

/// Hands a browser its cookie, where it has none.
pub(super) fn with_cookie(mut response: Response<Payload>, entrance: &Entrance) -> Response<Payload> {
    if let Some(Ok(cookie)) = entrance.cookie.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn own(status: StatusCode, kind: &'static str, body: String) -> Response<Payload> {
    let mut response = Response::new(Payload::said(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Says who speaks, for programs and for whoever reads a trace: this program, not the machine.
        (HeaderName::from_static("x-postern"), "local"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn document(problem: &Problem, again: bool) -> String {
    let what = escaped(&sentence(problem.reason()));
    let next = marked(&escaped(&sentence(problem.next_step())));
    let who = problem.who().map(|who| format!("<p class=\"who\">Who can change it: {}.</p>", escaped(who)));
    let refresh = format!("<meta http-equiv=\"refresh\" content=\"{AGAIN_S}\">");
    let title = if again { "Connecting again" } else { "Not possible now" };
    let body = format!(
        "<h1>{what}</h1><p>{next}</p>{}<p class=\"small\"><a href=\"/\">Start page of this service</a> · \
         said by postern on this computer, not by the machine</p>",
        who.unwrap_or_default()
    );
    frame(title, if again { &refresh } else { "" }, &body)
}

fn frame(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} - postern</title>\
         <meta name=\"viewport\" content=\"width=device-width\">{head}<style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n"
    )
}

/// A fragment as a sentence.
fn sentence(fragment: &str) -> String {
    let mut chars = fragment.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// Commands between backticks stand out.
fn marked(escaped: &str) -> String {
    let mut parts = escaped.split('`');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (place, part) in parts.enumerate() {
        text.push_str(if place % 2 == 0 { "<code>" } else { "</code>" });
        text.push_str(part);
    }
    if escaped.matches('`').count() % 2 == 1 {
        text.push_str("</code>");
    }
    text
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Seconds after which a page tries again by itself.
const AGAIN_S: &str = "3";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'self'";
const STYLE: &str = "body{margin:0;background:#f3f4f2;color:#1d2320;font:17px/1.5 system-ui,sans-serif}\
                     main{max-width:38rem;margin:12vh auto 0;padding:2rem 2.2rem;background:#fff;\
                     border-left:6px solid #b4541a;box-shadow:0 1px 4px #0002}\
                     h1{margin:0 0 1rem;font-size:1.35rem;line-height:1.3}p{margin:.5rem 0}\
                     code{background:#eef0ed;padding:.1em .35em;border-radius:3px}.who{font-weight:600}\
                     .small{margin-top:1.6rem;font-size:.8rem;color:#5d6762}a{color:#1c5d8a}";

#[cfg(test)]
mod tests {
    use postern_protocol::policy::Reason;

    use super::*;

    fn reader(accept: &'static str) -> Reader {
        Reader::of(&[(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
    }

    fn body(response: Response<Payload>) -> String {
        match response.into_body() {
            Payload::Said(words) => String::from_utf8(words.unwrap_or_default().to_vec()).unwrap(),
            Payload::Carried(..) => panic!("not said here"),
        }
    }

    #[test]
    fn who_asks_for_html_is_a_person_and_everybody_else_a_program() {
        assert_eq!(reader("text/html,application/xhtml+xml,*/*;q=0.8"), Reader::Person);
        assert_eq!(reader("application/json"), Reader::Program);
        assert_eq!(reader("*/*"), Reader::Program);
        assert_eq!(Reader::of(&HeaderMap::new()), Reader::Program);
    }

    #[test]
    fn a_refusal_says_what_why_and_who_to_people_and_programs() {
        let problem = Problem::denied(Reason::CaseInactive);
        let page = body(Reader::Person.answer(StatusCode::FORBIDDEN, &problem));
        let (what, next) = (sentence(problem.reason()), sentence(problem.next_step()));
        assert!(page.contains(&format!("<h1>{}</h1>", escaped(&what))), "{page}");
        assert!(page.contains(&format!("<p>{}</p>", marked(&escaped(&next)))), "{page}");
        assert!(page.contains(&format!("Who can change it: {}.", problem.who().unwrap())), "{page}");
        for outside in ["http://", "https://", "src=", "<script", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&body(Reader::Program.answer(StatusCode::FORBIDDEN, &problem))).unwrap();
        assert_eq!(json["error"]["word"], "case_inactive");
    }

    #[test]
    fn a_lost_connection_is_tried_again_by_the_page_and_a_denial_is_not() {
        let lost = Problem::connecting_again("press-7");
        assert_eq!(status_of(&lost), StatusCode::SERVICE_UNAVAILABLE);
        let response = Reader::Person.answer(status_of(&lost), &lost);
        assert_eq!(response.headers()[RETRY_AFTER], "3");
        assert!(body(response).contains("http-equiv=\"refresh\" content=\"3\""));
        let denied = Problem::denied(Reason::Expired);
        let response = Reader::Person.answer(status_of(&denied), &denied);
        assert_eq!((response.status(), response.headers().get(RETRY_AFTER)), (StatusCode::FORBIDDEN, None));
        assert!(!body(response).contains("refresh"));
    }

    #[test]
    fn what_comes_from_outside_is_text_and_never_markup() {
        let problem = Problem::connecting_again("<img src=x onerror='alert(1)'>&\"");
        let page = body(Reader::Person.answer(StatusCode::SERVICE_UNAVAILABLE, &problem));
        assert!(page.contains("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;&quot;"), "{page}");
        assert!(!page.contains("<img"), "{page}");
    }

    #[test]
    fn commands_stand_out_and_a_lone_backtick_opens_nothing_for_good() {
        assert_eq!(marked("run `a b` or `c`"), "run <code>a b</code> or <code>c</code>");
        assert_eq!(marked("a ` b"), "a <code> b</code>");
    }

    #[test]
    fn the_way_in_is_a_redirect_or_a_page_and_tells_nobody_where_it_came_from() {
        let mut way = Entrance {
            to: "http://a.b.localhost:1/x?a&b".into(),
            cookie: Some("postern-1=k".into()),
            redirect: true,
            at_start: false,
        };
        let response = entrance(&way);
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers()[LOCATION], "http://a.b.localhost:1/x?a&b");
        assert_eq!(response.headers()[SET_COOKIE], "postern-1=k");
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
        way.redirect = false;
        let response = entrance(&way);
        assert_eq!((response.status(), response.headers().get(LOCATION)), (StatusCode::OK, None));
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
        assert!(body(response).contains("content=\"0;url=http://a.b.localhost:1/x?a&amp;b\""));
    }
}
