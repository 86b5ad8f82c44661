//! What of a request goes on to the machine, and what of its answer to the client.

use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, REFERER, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts as RequestParts;
use hyper::http::response::Parts as ResponseParts;

use postern_protocol::gate::http::{Head, Site, headers};
use postern_protocol::policy::{Permit, Upstream};

use super::login::AUTHENTICATION_INFO;
use crate::registry::Admitted;

/// What the machine believes its own address to be.
pub(super) fn site(permit: &Permit, upstream: &Upstream) -> Site {
    let target = permit.target();
    let is_tls = upstream.tls.is_some();
    let usual = if is_tls { 443 } else { 80 };
    let own = target.map(|target| {
        let own = match target.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        if target.port() == usual { own } else { format!("{own}:{}", target.port()) }
    });
    let own = own.unwrap_or_default();
    Site::new(is_tls, upstream.host.as_ref().map_or(own.as_str(), AsRef::as_ref))
}

/// Leaves in a request what goes on to the machine, in terms of the machine's own address.
pub(super) fn prepare(request: &mut RequestParts, head: &Head, site: &Site) {
    retain(&mut request.headers, |name| headers::reaches_machine(name, &head.named));
    request.headers.insert(HOST, value(site.authority()));
    let text = |headers: &HeaderMap, name: &HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    if let Some(origin) = text(&request.headers, &ORIGIN) {
        request.headers.insert(ORIGIN, value(&site.of_page(&origin)));
    }
    if request.headers.contains_key(REFERER) {
        let referer = text(&request.headers, &REFERER).and_then(|referer| site.referer(&referer));
        request.headers.remove(REFERER);
        referer.map(|referer| request.headers.insert(REFERER, value(&referer)));
    }
}

/// Tells the machine who asks. Whatever a client says of this was taken away before.
pub(super) fn identify(request: &mut RequestParts, permit: &Permit, tunnel: &Admitted) {
    request.headers.insert(X_FORWARDED_USER, value(&permit.user().to_string()));
    request.headers.insert(X_POSTERN_TUNNEL, value(&tunnel.id.to_string()));
}

/// Takes what the machine says about the gate's own login out of an answer: no client has a part in it.
pub(super) fn keep_login(answer: &mut ResponseParts) {
    answer.headers.remove(WWW_AUTHENTICATE);
    answer.headers.remove(AUTHENTICATION_INFO);
}

/// Leaves in an answer what goes on to the client, so that a browser stays at the local address.
pub(super) fn tidy(answer: &mut ResponseParts, site: &Site) {
    let named: Vec<Box<str>> = answer
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| headers::connection_tokens(value.as_bytes()))
        .collect();
    retain(&mut answer.headers, |name| headers::reaches_client(name, &named));
    if let Some(location) = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()) {
        let location = value(site.location(location));
        answer.headers.insert(LOCATION, location);
    }
    let cookies: Vec<HeaderValue> = answer.headers.get_all(SET_COOKIE).iter().cloned().collect();
    answer.headers.remove(SET_COOKIE);
    for cookie in cookies {
        let local = cookie.to_str().map(|text| value(&Site::cookie(text))).unwrap_or(cookie);
        answer.headers.append(SET_COOKIE, local);
    }
}

fn retain(headers: &mut HeaderMap, stays: impl Fn(&str) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| !stays(name.as_str())).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Text of the policy or of a header that was one before; anything else would be left empty.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const X_POSTERN_TUNNEL: HeaderName = HeaderName::from_static("x-postern-tunnel");
