//! The judgement of one request: the rules of the service, the mode of this moment, and what is asked.
//!
//! 1. An upgrade is never part of HTTP: whoever may open a WebSocket may do so by another service.
//! 2. A rule grants a request when path, method and query all fit. Rules are not combined.
//! 3. What is closed to the user is granted by no rule.
//! 4. Without a rule the reason is the nearest one: no rule has this path and query, then none of those has the method.
//! 5. In view-only a request that is granted reads, or is refused.

use super::target::Target;
use crate::policy::snapshot::rules::Method;
use crate::policy::{Allow, Mode, Pattern, Reason};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The method as it was written.
    pub method: &'a str,
    /// Where.
    pub target: Target<'a>,
    /// Whether it asks for WebSocket.
    pub upgrade: bool,
}

/// Judges one request by what the service allows and what of it is closed to its user.
///
/// # Errors
/// The one reason why it does not reach the machine.
pub fn judge<'p>(
    allow: &[Allow],
    closed: impl IntoIterator<Item = &'p Pattern>,
    mode: Mode,
    asked: &Asked<'_>,
) -> Result<(), Reason> {
    if asked.upgrade {
        return Err(Reason::WebsocketNotGranted);
    }
    if closed.into_iter().any(|path| matches(path, asked.target.path())) {
        return Err(Reason::PathDenied);
    }
    let fits = |allow: &Allow| {
        matches(&allow.path, asked.target.path())
            && allow.query.as_ref().is_none_or(|keys| asks_only(&asked.target, keys))
    };
    let mut fitting = allow.iter().filter(|allow| fits(allow)).peekable();
    if fitting.peek().is_none() {
        return Err(Reason::PathDenied);
    }
    let method = asked.method.parse::<Method>().map_err(|_| Reason::MethodDenied)?;
    if !fitting.any(|allow| allow.methods.contains(method)) {
        return Err(Reason::MethodDenied);
    }
    let reads = matches!(method, Method::Get | Method::Head);
    if mode.touches() || reads { Ok(()) } else { Err(Reason::ViewOnly) }
}

/// Whether a pattern grants `path`, which is in the normal form of a [`Target`].
#[must_use]
pub fn matches(pattern: &Pattern, path: &str) -> bool {
    let mut path = path.strip_prefix('/').unwrap_or(path).split('/');
    for wanted in pattern.segments() {
        if wanted == "**" {
            return true;
        }
        match path.next() {
            // What `*` stands for has a name: `/panels/*` does not grant the list `/panels/`.
            Some(segment) if wanted == "*" && !segment.is_empty() => {}
            Some(segment) if wanted == segment => {}
            Some(_) | None => return false,
        }
    }
    path.next().is_none()
}

/// Whether every key of the query is one of `keys`. A query that some machines split at `;` as well is not.
fn asks_only<K: AsRef<str>>(target: &Target<'_>, keys: &[K]) -> bool {
    let Some(query) = target.query() else { return true };
    let known = |pair: &str| {
        let key = pair.split_once('=').map_or(pair, |(key, _value)| key);
        keys.iter().any(|known| known.as_ref() == key)
    };
    !query.contains(';') && query.split('&').filter(|pair| !pair.is_empty()).all(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Methods;
    use crate::wire::text::Text;

    const FULL: Mode = Mode::Full { clipboard: false };

    fn grants(pattern: &str, path: &str) -> bool {
        matches(&pattern.parse().unwrap(), path)
    }

    fn allow(path: &str, methods: &[Method], query: Option<&[&str]>) -> Allow {
        let query = query.map(|keys| keys.iter().map(|key| Text::clean(key)).collect());
        Allow { path: path.parse().unwrap(), methods: Methods::of(methods.iter().copied()).unwrap(), query }
    }

    fn asked(allow: &[Allow], mode: Mode, method: &str, target: &str) -> Result<(), Reason> {
        let target = Target::parse(target).unwrap();
        judge(allow, [], mode, &Asked { method, target, upgrade: false })
    }

    #[test]
    fn a_pattern_grants_what_it_says_and_not_its_neighbour() {
        for (pattern, granted, refused) in [
            ("/", &["/"][..], &["/a", "/a/"][..]),
            ("/**", &["/", "/a", "/a/", "/a/b.c"], &[]),
            (
                "/static/**",
                &["/static", "/static/", "/static/a", "/static/a/b"],
                &["/", "/statica", "/Static/a", "/a/static/b"],
            ),
            ("/static/", &["/static/"], &["/static", "/static/a"]),
            ("/dashboard", &["/dashboard"], &["/dashboard/", "/dashboard/a", "/dashboards", "/"]),
            (
                "/api/*/values",
                &["/api/7/values", "/api/values/values"],
                &["/api/values", "/api/7/8/values", "/api/7/values/", "/api/7"],
            ),
            ("/panels/*", &["/panels/1"], &["/panels", "/panels/", "/panels/1/", "/panels/1/2"]),
            ("/*/**", &["/a", "/a/b"], &["/"]),
        ] {
            for path in granted {
                assert!(grants(pattern, path), "{pattern} grants {path}");
            }
            for path in refused {
                assert!(!grants(pattern, path), "{pattern} does not grant {path}");
            }
        }
    }

    #[test]
    fn a_request_is_granted_by_one_rule_or_has_one_reason() {
        let rules = [
            allow("/api/*/values", &[Method::Get, Method::Post], None),
            allow("/setpoint", &[Method::Put], Some(&["id"])),
            allow("/setpoint", &[Method::Get], None),
        ];
        for (method, target, expected) in [
            ("GET", "/api/7/values", Ok(())),
            ("POST", "/api/7/values?x", Ok(())),
            ("DELETE", "/api/7/values", Err(Reason::MethodDenied)),
            ("get", "/api/7/values", Err(Reason::MethodDenied)),
            ("PROPFIND", "/api/7/values", Err(Reason::MethodDenied)),
            ("HEAD", "/api/7/values", Err(Reason::MethodDenied)),
            ("GET", "/api/7", Err(Reason::PathDenied)),
            ("DELETE", "/admin", Err(Reason::PathDenied)),
            ("PUT", "/setpoint?id=1", Ok(())),
            // One rule has the method and another the query: together they grant nothing.
            ("PUT", "/setpoint?x=1", Err(Reason::MethodDenied)),
            ("GET", "/setpoint?x=1", Ok(())),
        ] {
            assert_eq!(asked(&rules, FULL, method, target), expected, "{method} {target}");
        }
        assert_eq!(asked(&[], FULL, "GET", "/"), Err(Reason::PathDenied));
    }

    #[test]
    fn what_is_closed_is_granted_by_no_rule_and_the_rest_is() {
        let rules = [allow("/**", &Method::ALL, None)];
        let closed: [Pattern; 2] = ["/service/**", "/logs/*"].map(|text| text.parse().unwrap());
        for (path, expected) in [
            ("/service", Err(Reason::PathDenied)),
            ("/service/", Err(Reason::PathDenied)),
            ("/service/reset?now", Err(Reason::PathDenied)),
            ("/logs/1", Err(Reason::PathDenied)),
            ("/services", Ok(())),
            ("/logs", Ok(())),
            ("/", Ok(())),
        ] {
            let target = Target::parse(path).unwrap();
            for method in Method::ALL {
                let asked = Asked { method: method.word(), target, upgrade: false };
                assert_eq!(judge(&rules, &closed, FULL, &asked), expected, "{method} {path}");
                assert_eq!(judge(&rules, [], FULL, &asked), Ok(()), "{method} {path}");
            }
        }
    }

    #[test]
    fn in_view_only_what_reads_is_granted_and_what_writes_is_not() {
        let rules = [allow("/a", &Method::ALL, None)];
        for method in Method::ALL {
            assert_eq!(asked(&rules, FULL, method.word(), "/a"), Ok(()));
            let reads = matches!(method, Method::Get | Method::Head);
            let expected = if reads { Ok(()) } else { Err(Reason::ViewOnly) };
            assert_eq!(asked(&rules, Mode::ViewOnly, method.word(), "/a"), expected);
        }
        assert_eq!(asked(&rules, Mode::ViewOnly, "POST", "/b"), Err(Reason::PathDenied));
    }

    #[test]
    fn an_upgrade_is_never_part_of_http() {
        let target = Target::parse("/a").unwrap();
        let rules = [allow("/**", &Method::ALL, None)];
        let upgrade = Asked { method: "GET", target, upgrade: true };
        assert_eq!(judge(&rules, [], FULL, &upgrade), Err(Reason::WebsocketNotGranted));
        assert_eq!(judge(&rules, [], FULL, &Asked { upgrade: false, ..upgrade }), Ok(()));
    }

    #[test]
    fn a_query_asks_only_for_the_keys_that_are_listed() {
        let asks = |text: &str, keys: &[&str]| asks_only(&Target::parse(text).unwrap(), keys);
        for text in ["/a", "/a?", "/a?&", "/a?id", "/a?id=1", "/a?id=1&id=2&lang=", "/a?id=x?y=/z"] {
            assert!(asks(text, &["id", "lang"]), "{text}");
        }
        for text in ["/a?ID=1", "/a?id=1&x=2", "/a?%69d=1", "/a?=1", "/a?id=1;x=2", "/a?id[]=1", "/a?+id=1"] {
            assert!(!asks(text, &["id", "lang"]), "{text}");
        }
        assert!(asks("/a", &[]) && !asks("/a?id=1", &[]));
    }
}
