//! The page behind the link of a letter: `GET` shows what waits, and `POST`, by a button there, approves it.
//!
//! Whatever only looks at links, such as a scanner of mail, asks with `GET` and approves nothing. The code in the path is the only secret, so
//! the page is kept nowhere, is said to nobody by a `Referer`, loads nothing and runs nothing. How it looks stands in the page.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;

use postern_protocol::trust::Digest;
use postern_protocol::wire::approval_code::ApprovalCode;

use super::{Api, Problem, blocking};
use crate::approval::{ApprovalError, code};
use crate::clock;

/// Shows what a code would approve.
pub(super) async fn show(State(api): State<Api>, path: Result<Path<String>, PathRejection>) -> Response {
    let Some(code) = read(path) else { return nothing() };
    let (store, now) = (api.store, (api.clock)());
    let told = blocking(move || {
        known(store.read(|tx| {
            let (request, approver) = code::read(tx, &code, now)?;
            Ok((code::told(&*tx.model()?, &request), approver))
        }))
    });
    match told.await {
        Ok(Some((told, approver))) => {
            let form = format!(
                "<p>You are {approver}.</p><form method=\"post\"><button>Let them in</button></form>\
                 <p>If you do not know what this is about, close the page: nothing happens then.</p>"
            );
            page(StatusCode::OK, "Let somebody in?", &told, &form)
        }
        Ok(None) => nothing(),
        Err(problem) => problem.into_response(),
    }
}

/// Approves it.
pub(super) async fn approve(State(api): State<Api>, path: Result<Path<String>, PathRejection>) -> Response {
    let Some(code) = read(path) else { return nothing() };
    let (store, publisher, now) = (api.store, api.publisher, (api.clock)());
    let approved = blocking(move || {
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        let seen = known(store.read(|tx| code::read(tx, &code, now)))?;
        if seen.is_none() {
            return Ok(None);
        }
        known(store.write(|tx| code::approve(tx, &publisher, (&code, None), now)))
    });
    match approved.await {
        Ok(Some((request, ..))) => {
            api.news.publish();
            let until = request.given.map_or_else(String::new, |given| clock::show(given.until));
            let told =
                format!("{} may use {} of {} until {until}.", request.user, request.service, request.device);
            let more = format!("<p>To take it back: <code>postern revoke {}</code></p>", request.id);
            page(StatusCode::OK, "They are let in", &told, &more)
        }
        Ok(None) => nothing(),
        Err(problem) => problem.into_response(),
    }
}

fn read(path: Result<Path<String>, PathRejection>) -> Option<ApprovalCode> {
    path.ok().and_then(|Path(text)| text.parse().ok())
}

/// None for a code that is worth nothing, whatever the reason.
fn known<T>(result: Result<T, ApprovalError>) -> Result<Option<T>, Problem> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error @ (ApprovalError::Store(_) | ApprovalError::Publish(_))) => {
            tracing::error!(%error, "an approval by a link failed");
            Err(Problem::FAILED)
        }
        Err(
            ApprovalError::Nothing
            | ApprovalError::Nobody
            | ApprovalError::Span
            | ApprovalError::Reason
            | ApprovalError::TooMany
            | ApprovalError::Unknown(_)
            | ApprovalError::Code
            | ApprovalError::Decided { .. },
        ) => Ok(None),
    }
}

/// The one answer to every code that is worth nothing.
fn nothing() -> Response {
    let told = "This link is worth nothing: it was used, is over, or somebody has answered otherwise.";
    page(StatusCode::NOT_FOUND, "Nothing waits here", told, "")
}

fn page(status: StatusCode, title: &str, told: &str, more: &str) -> Response {
    let told: String = told.split("\n\n").map(|part| format!("<p>{}</p>", escape(part))).collect();
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{told}{more}</main></body></html>"
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        BASE64.encode(Digest::of(&[STYLE.as_bytes()]).as_bytes())
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (status, headers, html).into_response()
}

/// Text of somebody else in a page.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Of the page itself, known to the browser by its digest: nothing else may say how the page looks. People open it on a telephone, by day and by night.
const STYLE: &str = ":root{color-scheme:light dark;font:17px/1.5 system-ui,sans-serif}body{margin:0;padding:1.5rem}\
main{max-width:34rem;margin:8vh auto 0}h1{font-size:1.7rem;line-height:1.2;margin:0 0 1.25rem}p{margin:0 0 1rem;overflow-wrap:anywhere}\
form{margin:1.5rem 0}button{font:inherit;font-weight:600;width:100%;max-width:20rem;padding:.8rem 1.5rem;border:0;border-radius:.5rem;\
color:#fff;background:#0a58a8;cursor:pointer}button:focus-visible{outline:3px solid #7db4ec;outline-offset:2px}\
code{font-size:.9em;padding:.15em .35em;border-radius:.25rem;background:#8883}";
