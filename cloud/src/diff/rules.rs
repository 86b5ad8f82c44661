//! Whether the rules of a service let through all that others do, and in words what sets them apart.
//!
//! Sizes, limits of one message and what is written to the log are no access. What decides whom one speaks to is: another host,
//! key, login or password is another access, as another address is.

use postern_protocol::policy::snapshot::rules::Method;
use postern_protocol::policy::{
    Allow, Credential, HttpRules, Pattern, Reach, Rules, VncRules, WebsocketRules,
};
use postern_protocol::wire::text::Text;

use super::flows;

/// Whether whoever may use a service by `these` rules may do all that `others` let through.
pub(super) fn cover(these: &Reach, others: &Reach) -> bool {
    match (these, others) {
        (Reach::Flows(these), Reach::Flows(others)) => flows::cover(these, others),
        (Reach::Place { rules: these, .. }, Reach::Place { rules: others, .. }) => places(these, others),
        (Reach::Flows(_) | Reach::Place { .. }, _) => false,
    }
}

fn places(these: &Rules, others: &Rules) -> bool {
    match (these, others) {
        (Rules::Vnc(these), Rules::Vnc(others)) => vnc(these, others),
        (Rules::Http(these), Rules::Http(others)) => http(these, others),
        (Rules::Websocket(these), Rules::Websocket(others)) => websocket(these, others),
        (Rules::Vnc(_) | Rules::Http(_) | Rules::Websocket(_), _) => false,
    }
}

/// What `these` rules have that `others` have not or have in another way, each as a phrase.
pub(crate) fn beyond(these: &Reach, others: &Reach) -> Vec<String> {
    match (these, others) {
        (Reach::Flows(these), Reach::Flows(others)) => flows::beyond(these, others),
        (Reach::Place { rules: these, .. }, Reach::Place { rules: others, .. }) => {
            beyond_at_a_place(these, others)
        }
        (Reach::Flows(_) | Reach::Place { .. }, _) => Vec::new(),
    }
}

fn beyond_at_a_place(these: &Rules, others: &Rules) -> Vec<String> {
    match (these, others) {
        (Rules::Vnc(these), Rules::Vnc(others)) => {
            let password = (these.password != others.password).then(|| match &these.password {
                Some(name) => format!("with secret `{name}`"),
                None => "without a password".to_owned(),
            });
            let seats =
                (these.writers != others.writers).then(|| format!("with {} who touch", these.writers));
            password.into_iter().chain(seats).collect()
        }
        (Rules::Http(these), Rules::Http(others)) => {
            let login = login(these.credential.as_ref(), others.credential.as_ref());
            let server =
                (these.upstream != others.upstream).then(|| "by another host name or key".to_owned());
            let named = (these.identity != others.identity)
                .then(|| if these.identity { "under their name" } else { "without their name" }.to_owned());
            let requests = (these.allow != others.allow).then(|| "for other requests".to_owned());
            [server, login, named, requests].into_iter().flatten().collect()
        }
        (Rules::Websocket(these), Rules::Websocket(others)) => {
            let server =
                (these.upstream != others.upstream).then(|| "by another host name or key".to_owned());
            let origin = (these.origin != others.origin).then(|| "from another origin".to_owned());
            let requests = (these.paths != others.paths || these.subprotocols != others.subprotocols)
                .then(|| "for other requests".to_owned());
            let login = login(these.credential.as_ref(), others.credential.as_ref());
            [server, origin, login, requests].into_iter().flatten().collect()
        }
        (Rules::Vnc(_) | Rules::Http(_) | Rules::Websocket(_), _) => Vec::new(),
    }
}

/// As whom, where that is another.
fn login(these: Option<&Credential>, others: Option<&Credential>) -> Option<String> {
    (these != others).then(|| match these {
        Some(login) => format!("logged in as `{}` with secret `{}`", login.user, login.secret),
        None => "without a login".to_owned(),
    })
}

fn vnc(these: &VncRules, others: &VncRules) -> bool {
    // With a password more opens than without; another one opens something else.
    let opens = others.password.is_none() || these.password == others.password;
    opens && these.writers >= others.writers
}

fn http(these: &HttpRules, others: &HttpRules) -> bool {
    these.upstream == others.upstream
        && (others.credential.is_none() || these.credential == others.credential)
        && these.identity >= others.identity
        && others.allow.iter().all(|other| allows(&these.allow, other))
}

fn websocket(these: &WebsocketRules, others: &WebsocketRules) -> bool {
    these.upstream == others.upstream
        && these.origin == others.origin
        && (others.credential.is_none() || these.credential == others.credential)
        && others.paths.iter().all(|other| these.paths.iter().any(|path| covers(path, other)))
        && others.subprotocols.iter().all(|name| these.subprotocols.contains(name))
}

/// Whether rows let each request of `other` through; each of its methods may be in another row.
fn allows(rows: &[Allow], other: &Allow) -> bool {
    let one = |method: Method| {
        rows.iter().any(|row| {
            row.methods.contains(method)
                && covers(&row.path, &other.path)
                && keys(row.query.as_deref(), other.query.as_deref())
        })
    };
    other.methods.iter().all(one)
}

/// No list of keys is any key.
fn keys(these: Option<&[Text]>, others: Option<&[Text]>) -> bool {
    match (these, others) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(these), Some(others)) => others.iter().all(|key| these.contains(key)),
    }
}

/// Whether a pattern matches every path that another one matches.
pub(super) fn covers(pattern: &Pattern, other: &Pattern) -> bool {
    let mut others = other.segments();
    for segment in pattern.segments() {
        if segment == "**" {
            return true;
        }
        match others.next() {
            Some("**") | None => return false,
            Some("") if segment == "*" => return false,
            Some(_) if segment == "*" => {}
            Some(other) if other == segment => {}
            Some(_) => return false,
        }
    }
    others.next().is_none()
}

#[cfg(test)]
mod tests {
    use postern_protocol::policy::snapshot::rules::Methods;
    use postern_protocol::policy::{Kind, Scheme, Target, Upstream};

    use super::*;

    /// Whether the rules of one service at a place cover those of another.
    fn cover(these: &Rules, others: &Rules) -> bool {
        super::places(these, others)
    }

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_covers_what_it_matches_and_no_more() {
        for (wide, narrow) in [
            ("/**", "/"),
            ("/**", "/a/*/b"),
            ("/**", "/**"),
            ("/a/**", "/a"),
            ("/a/**", "/a/"),
            ("/a/**", "/a/b/**"),
            ("/*/b", "/a/b"),
            ("/*/b", "/*/b"),
            ("/a/", "/a/"),
        ] {
            assert!(covers(&pattern(wide), &pattern(narrow)), "{wide} covers {narrow}");
        }
        for (narrow, wide) in [
            ("/", "/**"),
            ("/a/**", "/**"),
            ("/a/b/**", "/a/**"),
            ("/a", "/a/"),
            ("/a/*", "/a/"),
            ("/a/*", "/a/**"),
            ("/a/b", "/a/*"),
            ("/*", "/a/b"),
            ("/a", "/b"),
        ] {
            assert!(!covers(&pattern(narrow), &pattern(wide)), "{narrow} does not cover {wide}");
        }
    }

    /// Rules of HTTP with one thing changed.
    fn web(change: impl FnOnce(&mut HttpRules)) -> Rules {
        let mut rules = HttpRules::whole();
        change(&mut rules);
        Rules::Http(rules)
    }

    fn text(text: &str) -> Text {
        Text::clean(text)
    }

    fn row(path: &str, methods: Methods, query: Option<&[&str]>) -> Allow {
        Allow {
            path: pattern(path),
            methods,
            query: query.map(|keys| keys.iter().map(|key| text(key)).collect()),
        }
    }

    #[test]
    fn fewer_requests_are_covered_by_more_and_not_the_other_way_round() {
        let whole = web(|_| {});
        let read = web(|rules| rules.allow = vec![row("/**", Methods::READ, None)]);
        let keyed = web(|rules| rules.allow = vec![row("/a", Methods::READ, Some(&["id"]))]);
        let bare = web(|rules| rules.allow = vec![row("/a", Methods::READ, Some(&[]))]);
        for pair in [&whole, &read, &keyed, &bare].windows(2) {
            assert!(cover(pair[0], pair[1]) && !cover(pair[1], pair[0]), "{pair:?}");
        }
        let none = web(|rules| rules.allow.clear());
        assert!(cover(&bare, &none) && !cover(&none, &bare));
        // One row or two make no difference.
        let [get, head] = [Method::Get, Method::Head].map(|method| Methods::of([method]).unwrap());
        let split = web(|rules| rules.allow = vec![row("/**", get, None), row("/**", head, None)]);
        assert!(cover(&read, &split) && cover(&split, &read));
    }

    #[test]
    fn another_server_login_or_password_is_another_access() {
        let plain = web(|_| {});
        let host = web(|rules| rules.upstream = Upstream { host: Some(text("panel")), tls: None });
        assert!(!cover(&plain, &host) && !cover(&host, &plain));
        let login = |user: &str| {
            let credential =
                Credential { scheme: Scheme::Basic, user: text(user), secret: "web".parse().unwrap() };
            web(|rules| rules.credential = Some(credential))
        };
        assert!(
            cover(&login("a"), &plain) && !cover(&plain, &login("a")) && !cover(&login("a"), &login("b"))
        );
        let named = web(|rules| rules.identity = true);
        assert!(cover(&named, &plain) && !cover(&plain, &named));
        let screen = |password: Option<&str>, writers| {
            Rules::Vnc(VncRules { password: password.map(|name| name.parse().unwrap()), writers })
        };
        assert!(
            cover(&screen(Some("a"), 1), &screen(None, 1)) && !cover(&screen(None, 1), &screen(Some("a"), 1))
        );
        assert!(!cover(&screen(Some("a"), 1), &screen(Some("b"), 1)));
        assert!(cover(&screen(None, 2), &screen(None, 1)) && !cover(&screen(None, 1), &screen(None, 2)));
    }

    #[test]
    fn sizes_beginnings_and_logs_are_no_access_and_kinds_are() {
        let elsewhere = web(|rules| rules.start = text("/a"));
        assert!(cover(&web(|_| {}), &elsewhere) && cover(&elsewhere, &web(|_| {})));
        let mut live = WebsocketRules::whole();
        live.message_bytes += 1;
        let (small, large) = (Rules::Websocket(WebsocketRules::whole()), Rules::Websocket(live.clone()));
        assert!(cover(&small, &large) && cover(&large, &small));
        let (plain, mut known) = (live.clone(), live.clone());
        let secret = "web".parse().unwrap();
        known.credential = Some(Credential { scheme: Scheme::Basic, user: text("a"), secret });
        let (plain, known) = (Rules::Websocket(plain), Rules::Websocket(known));
        assert!(cover(&known, &plain) && !cover(&plain, &known));
        assert_eq!(beyond_at_a_place(&known, &plain), ["logged in as `a` with secret `web`"]);
        live.subprotocols = vec![text("mqtt")];
        assert!(cover(&Rules::Websocket(live.clone()), &small) && !cover(&small, &Rules::Websocket(live)));
        for kind in Kind::ALL {
            for other in Kind::ALL {
                let whole = |kind| Reach::whole(kind, Target { ip: [10, 0, 0, 1].into(), port: 502 });
                assert_eq!(super::cover(&whole(kind), &whole(other)), kind == other);
            }
        }
    }
}
