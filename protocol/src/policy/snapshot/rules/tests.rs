use super::*;
use crate::limits;
use crate::policy::{Reach, Target};
use crate::wire::text::Text;

fn text(text: &str) -> Text {
    Text::try_from(text.to_owned()).unwrap()
}

fn allow(path: &str) -> Allow {
    Allow { path: path.parse().unwrap(), methods: Methods::READ, query: None }
}

/// Rules of HTTP with one thing changed.
fn http(change: impl FnOnce(&mut HttpRules)) -> Result<(), FormFault> {
    let mut rules = HttpRules::whole();
    change(&mut rules);
    Rules::Http(rules).check_form()
}

/// Rules of WebSocket with one thing changed.
fn websocket(change: impl FnOnce(&mut WebsocketRules)) -> Result<(), FormFault> {
    let mut rules = WebsocketRules {
        upstream: Upstream::PLAIN,
        paths: vec!["/live".parse().unwrap()],
        subprotocols: vec![text("mqtt")],
        origin: None,
        credential: None,
        frame_bytes: 1024,
        message_bytes: 4096,
    };
    change(&mut rules);
    Rules::Websocket(rules).check_form()
}

const fn value(field: &'static str) -> Result<(), FormFault> {
    Err(FormFault::Value { list: "services", field })
}

const fn order(list: &'static str) -> Result<(), FormFault> {
    Err(FormFault::Order { list })
}

const fn over(list: &'static str, limit: usize) -> Result<(), FormFault> {
    Err(FormFault::Count { list, found: limit + 1, limit })
}

#[test]
fn a_kind_is_that_of_its_rules_and_a_screen_may_have_no_seat() {
    let vnc = |writers| Rules::Vnc(VncRules { password: None, writers });
    assert_eq!(vnc(1).kind(), Kind::Vnc);
    assert_eq!(Rules::Http(HttpRules::whole()).kind(), Kind::Http);
    for in_form in [vnc(0), vnc(1)] {
        assert_eq!(in_form.check_form(), Ok(()));
    }
    for kind in Kind::ALL {
        let whole = Reach::whole(kind, Target { ip: [10, 0, 0, 1].into(), port: 502 });
        assert_eq!((whole.kind(), whole.check_form()), (kind, Ok(())));
        assert_eq!(whole.target().is_none(), kind == Kind::Vpn);
    }
    assert_eq!((http(|_| ()), websocket(|_| ())), (Ok(()), Ok(())));
}

#[test]
fn a_host_is_a_host_and_nothing_that_ends_it() {
    for good in ["panel.local", "panel", "10.0.0.1:8080", "[fd00::1]:80"] {
        assert_eq!(http(|rules| rules.upstream.host = Some(text(good))), Ok(()), "{good}");
    }
    for bad in ["", "a b", "a/b", "a@b", "a\\b", "a?b", "a#b", "pänel", "a,b"] {
        assert_eq!(http(|rules| rules.upstream.host = Some(text(bad))), value("host"), "{bad}");
        assert_eq!(websocket(|rules| rules.upstream.host = Some(text(bad))), value("host"), "{bad}");
    }
}

#[test]
fn tls_has_one_to_four_keys_in_order() {
    let pinned = |pins: &[[u8; 32]]| {
        let pins = pins.to_vec();
        http(|rules| rules.upstream.tls = Some(pins))
    };
    assert_eq!(pinned(&[[1; 32]]), Ok(()));
    assert_eq!(pinned(&[[1; 32], [2; 32], [3; 32], [4; 32]]), Ok(()));
    assert_eq!(pinned(&[]), value("tls"));
    assert_eq!(pinned(&[[2; 32], [1; 32]]), order("tls"));
    assert_eq!(pinned(&[[1; 32], [1; 32]]), order("tls"));
    assert_eq!(pinned(&[[1; 32]; limits::PINS + 1]), over("tls", limits::PINS));
}

#[test]
fn a_browser_begins_at_a_path_of_this_server() {
    for good in ["/", "/a/b", "/a?x=1&y=%20", "/#/dashboard"] {
        assert_eq!(http(|rules| rules.start = text(good)), Ok(()), "{good}");
    }
    for bad in ["", "a", "//other", "/\\other", "http://other/", "/a b", "/ü"] {
        assert_eq!(http(|rules| rules.start = text(bad)), value("start"), "{bad}");
    }
}

#[test]
fn what_is_allowed_ascends_and_is_bounded() {
    assert_eq!(http(|rules| rules.allow.clear()), Ok(()));
    assert_eq!(http(|rules| rules.allow = vec![allow("/a"), allow("/b")]), Ok(()));
    assert_eq!(http(|rules| rules.allow = vec![allow("/b"), allow("/a")]), order("allow"));
    assert_eq!(http(|rules| rules.allow = vec![allow("/a"), allow("/a")]), order("allow"));
    let more = vec![allow("/a"); limits::ALLOWS + 1];
    assert_eq!(http(|rules| rules.allow = more), over("allow", limits::ALLOWS));
    let most = vec![allow("/a"); limits::ALLOWS];
    assert_eq!(http(|rules| rules.allow = most), order("allow"));
}

#[test]
fn keys_of_a_query_ascend_are_bounded_and_need_no_escape() {
    let keyed = |keys: &[&str]| {
        let query = Some(keys.iter().map(|key| text(key)).collect());
        http(|rules| rules.allow = vec![Allow { query, ..allow("/a") }])
    };
    assert_eq!(keyed(&[]), Ok(()));
    assert_eq!(keyed(&["id", "items[]"]), Ok(()));
    assert_eq!(keyed(&["items", "id"]), order("query"));
    assert_eq!(keyed(&["id", "id"]), order("query"));
    for bad in ["", "a&b", "a=b", "a;b", "a#b", "a%b", "a+b", "a b", "ü"] {
        assert_eq!(keyed(&[bad]), value("query"), "{bad}");
    }
    assert_eq!(keyed(&["a"; limits::QUERY_KEYS + 1]), over("query", limits::QUERY_KEYS));
}

#[test]
fn a_service_names_the_secret_with_which_its_machine_is_entered() {
    let secret: Name = "s".parse().unwrap();
    let credential = || Some(Credential { scheme: Scheme::Basic, user: text("a"), secret: secret.clone() });
    let mut live = WebsocketRules::whole();
    live.credential = credential();
    for with in [
        Rules::Vnc(VncRules { password: Some(secret.clone()), writers: 1 }),
        Rules::Http(HttpRules { credential: credential(), ..HttpRules::whole() }),
        Rules::Websocket(live),
    ] {
        let without = Rules::whole(with.kind()).unwrap();
        assert_eq!((with.secret(), without.secret()), (Some(&secret), None));
    }
}

#[test]
fn a_user_of_a_credential_needs_no_escape() {
    let named = |user: &str| {
        let credential =
            Credential { scheme: Scheme::Digest, user: text(user), secret: "web".parse().unwrap() };
        let own = credential.clone();
        let found = http(|rules| rules.credential = Some(credential));
        assert_eq!(websocket(|rules| rules.credential = Some(own)), found);
        found
    };
    assert_eq!(named("service"), Ok(()));
    assert_eq!(named("line service"), Ok(()));
    for bad in ["", "a:b", "a\"b", "a\\b", "ü"] {
        assert_eq!(named(bad), value("user"), "{bad}");
    }
}

#[test]
fn paths_and_subprotocols_of_a_websocket_ascend_and_are_bounded() {
    let paths = |paths: &[&str]| paths.iter().map(|path| path.parse().unwrap()).collect::<Vec<Pattern>>();
    assert_eq!(websocket(|rules| rules.paths = paths(&[])), Ok(()));
    assert_eq!(websocket(|rules| rules.paths = paths(&["/a", "/b/**"])), Ok(()));
    assert_eq!(websocket(|rules| rules.paths = paths(&["/b", "/a"])), order("paths"));
    let more = paths(&["/a"; limits::WEBSOCKET_PATHS + 1]);
    assert_eq!(websocket(|rules| rules.paths = more), over("paths", limits::WEBSOCKET_PATHS));
    let names = |names: &[&str]| names.iter().map(|name| text(name)).collect::<Vec<Text>>();
    assert_eq!(websocket(|rules| rules.subprotocols = names(&[])), Ok(()));
    assert_eq!(websocket(|rules| rules.subprotocols = names(&["mqtt", "v2.live"])), Ok(()));
    assert_eq!(websocket(|rules| rules.subprotocols = names(&["v2", "mqtt"])), order("subprotocols"));
    let more = names(&["a"; limits::SUBPROTOCOLS + 1]);
    assert_eq!(websocket(|rules| rules.subprotocols = more), over("subprotocols", limits::SUBPROTOCOLS));
    for bad in ["", "a b", "a,b", "a/b", "a\"", "ü"] {
        assert_eq!(websocket(|rules| rules.subprotocols = names(&[bad])), value("subprotocols"), "{bad}");
    }
}

#[test]
fn an_origin_is_that_of_a_page_or_of_none() {
    for good in ["http://panel.local", "https://panel:8443", "null"] {
        assert_eq!(websocket(|rules| rules.origin = Some(text(good))), Ok(()), "{good}");
    }
    for bad in ["", "panel.local", "http://", "http://a/", "file://a", "http://a@b"] {
        assert_eq!(websocket(|rules| rules.origin = Some(text(bad))), value("origin"), "{bad}");
    }
}

#[test]
fn messages_of_a_websocket_have_a_size_and_hold_a_frame() {
    let sized =
        |frame, message| websocket(|rules| (rules.frame_bytes, rules.message_bytes) = (frame, message));
    assert_eq!(sized(1, 1), Ok(()));
    let most = u32::try_from(limits::WEBSOCKET_BYTES).unwrap();
    assert_eq!(sized(1, most), Ok(()));
    assert_eq!(sized(0, 1), value("frame_bytes"));
    assert_eq!(sized(2, 1), value("frame_bytes"));
    assert_eq!(sized(1, most + 1), value("message_bytes"));
}
