use super::*;

const HOST: &str = "hmi.press-7.localhost:24000";
const OWN: &str = "http://hmi.press-7.localhost:24000";

fn door() -> Door {
    Door::new(HOST.to_owned(), 24_000, false).unwrap()
}

/// What the door says to a request with these headers beside the right `Host`.
fn ask(door: &Door, method: Method, target: &str, headers: &[(&str, &str)]) -> Result<Entry, Refused> {
    let target: Uri = target.parse().unwrap();
    let all = [&[("host", HOST)], headers].concat();
    judge(door, &method, &target, &all, false)
}

fn judge(
    door: &Door,
    method: &Method,
    target: &Uri,
    headers: &[(&str, &str)],
    upgrade: bool,
) -> Result<Entry, Refused> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, value.parse().unwrap());
    }
    door.judge(&Asked { method, target, headers: &map, upgrade })
}

fn cookie(door: &Door) -> String {
    format!("sid=1; postern-24000={}", door.keys.cookie.text())
}

fn pass(target: &str) -> Result<Entry, Refused> {
    Ok(Entry::Pass(target.parse().unwrap()))
}

#[test]
fn a_link_lets_one_browser_in_and_leads_to_the_path_without_it() {
    let door = door();
    let link = door.link().unwrap();
    let target = link.strip_prefix(OWN).unwrap();
    let cookie = format!("postern-24000={}; Path=/; HttpOnly; SameSite=Strict", door.keys.cookie.text());
    let entrance = Entrance { to: format!("{OWN}/"), cookie: Some(cookie), redirect: true, at_start: true };
    assert_eq!(ask(&door, Method::GET, target, &[("sec-fetch-site", "none")]), Ok(Entry::Enter(entrance)));
    assert_eq!(ask(&door, Method::GET, target, &[("sec-fetch-site", "none")]), Err(Refused::Link));
}

#[test]
fn a_used_link_in_the_browser_that_has_used_it_leads_in_as_well() {
    let door = door();
    let again = Entrance { to: format!("{OWN}/a?b"), cookie: None, redirect: true, at_start: false };
    let cookie = cookie(&door);
    assert_eq!(ask(&door, Method::GET, "/a?postern=used&b", &[("cookie", &cookie)]), Ok(Entry::Enter(again)));
    let foreign = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(ask(&door, Method::GET, "/a?postern=used&b", &foreign), Err(Refused::Link));
}

#[test]
fn a_link_on_another_page_leads_in_by_a_page_of_this_origin() {
    let door = door();
    let key = door.keys.new_link().unwrap().text();
    let target = format!("/dashboard?a=1&postern={key}&b=%20");
    let entered = ask(&door, Method::GET, &target, &[("sec-fetch-site", "cross-site")]);
    let Ok(Entry::Enter(entrance)) = entered else { panic!("{entered:?}") };
    assert_eq!((entrance.to, entrance.redirect), (format!("{OWN}/dashboard?a=1&b=%20"), false));
}

#[test]
fn a_link_never_leads_to_another_host() {
    let door = door();
    let key = door.keys.new_link().unwrap().text();
    let entered = ask(&door, Method::GET, &format!("//evil.example/?postern={key}"), &[]);
    let Ok(Entry::Enter(entrance)) = entered else { panic!("{entered:?}") };
    assert_eq!(entrance.to, format!("{OWN}//evil.example/"));
}

#[test]
fn a_browser_with_the_cookie_passes_and_without_or_with_another_it_does_not() {
    let door = door();
    let own = cookie(&door);
    assert_eq!(ask(&door, Method::GET, "/a?b=1", &[("cookie", &own)]), pass("/a?b=1"));
    assert_eq!(ask(&door, Method::GET, "/a?b=1", &[]), Err(Refused::NoKey));
    for wrong in [
        format!("postern-24000={}", door.keys.program.text()),
        format!("postern-24001={}", door.keys.cookie.text()),
        "postern-24000=".to_owned(),
    ] {
        assert_eq!(ask(&door, Method::GET, "/", &[("cookie", &wrong)]), Err(Refused::NoKey), "{wrong}");
    }
}

#[test]
fn a_second_cookie_of_the_name_shuts_nobody_out() {
    let door = door();
    let both = format!("postern-24000=tossed; {}", cookie(&door));
    assert_eq!(ask(&door, Method::GET, "/", &[("cookie", &both)]), pass("/"));
}

#[test]
fn the_host_is_this_origin_and_no_name_that_was_made_to_point_here() {
    let door = door();
    let own = cookie(&door);
    let with_hosts = |hosts: &[&str]| {
        let mut headers = vec![("cookie", own.as_str())];
        headers.extend(hosts.iter().map(|host| ("host", *host)));
        judge(&door, &Method::GET, &"/".parse().unwrap(), &headers, false)
    };
    assert_eq!(with_hosts(&[HOST]), pass("/"));
    assert_eq!(with_hosts(&["HMI.press-7.localhost:24000"]), pass("/"));
    for hosts in [
        &[][..],
        &["evil.example:24000"],
        &["127.0.0.1:24000"],
        &["localhost:24000"],
        &["hmi.press-7.localhost"],
        &["hmi.press-7.localhost:24001"],
        &["hmi.press-7.localhost.:24000"],
        &["web.press-7.localhost:24000"],
        &[HOST, "evil.example"],
        &[HOST, HOST],
    ] {
        assert_eq!(with_hosts(hosts), Err(Refused::Host), "{hosts:?}");
    }
}

#[test]
fn only_paths_of_this_origin_are_served_and_nothing_as_by_a_proxy() {
    let door = door();
    let own = cookie(&door);
    for target in ["http://hmi.press-7.localhost:24000/", "http://evil.example/", "evil.example:80", "*"] {
        let asked = ask(&door, Method::GET, target, &[("cookie", &own)]);
        assert_eq!(asked, Err(Refused::Form), "{target}");
    }
}

#[test]
fn what_looks_comes_from_the_own_page_or_a_person() {
    let door = door();
    let own = cookie(&door);
    let from = |headers: &[(&str, &str)]| {
        ask(&door, Method::GET, "/", &[&[("cookie", own.as_str())], headers].concat())
    };
    for headers in [
        &[][..],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "same-origin"), ("origin", OWN)],
        &[("origin", OWN)],
    ] {
        assert_eq!(from(headers), pass("/"), "{headers:?}");
    }
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        // A page of another service of the same device.
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "new-word")],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")],
        &[("sec-fetch-site", "none"), ("origin", OWN)],
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://hmi.press-7.localhost:24001")],
        &[("origin", "https://hmi.press-7.localhost:24000")],
        &[("origin", OWN), ("origin", OWN)],
    ] {
        assert_eq!(from(headers), Err(Refused::Foreign), "{headers:?}");
    }
}

#[test]
fn what_acts_says_that_the_own_page_made_it() {
    let door = door();
    let own = cookie(&door);
    let target: Uri = "/maintenance/acknowledge".parse().unwrap();
    let from = |method: &Method, upgrade: bool, headers: &[(&str, &str)]| {
        let all = [&[("host", HOST), ("cookie", own.as_str())], headers].concat();
        judge(&door, method, &target, &all, upgrade)
    };
    for (method, upgrade) in [
        (Method::POST, false),
        (Method::PUT, false),
        (Method::DELETE, false),
        (Method::OPTIONS, false),
        (Method::GET, true),
    ] {
        for headers in [
            &[("origin", OWN)][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        ] {
            let passed = pass("/maintenance/acknowledge");
            assert_eq!(from(&method, upgrade, headers), passed, "{method} {headers:?}");
        }
        for headers in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", "null")],
            &[("sec-fetch-site", "same-site"), ("origin", "http://web.press-7.localhost:24001")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
        ] {
            let refused = Err(Refused::Foreign);
            assert_eq!(from(&method, upgrade, headers), refused, "{method} {upgrade} {headers:?}");
        }
    }
}

#[test]
fn a_program_with_the_key_may_act_and_with_another_it_may_not_even_look() {
    let door = door();
    let key = door.program_key();
    assert_eq!(ask(&door, Method::POST, "/a", &[("x-postern-token", &key)]), pass("/a"));
    let wrong = [door.keys.cookie.text(), door.keys.new_link().unwrap().text(), String::new()];
    for wrong in &wrong {
        let headers = [("x-postern-token", wrong.as_str()), ("cookie", &cookie(&door))];
        assert_eq!(ask(&door, Method::GET, "/a", &headers), Err(Refused::WrongKey), "{wrong}");
    }
    let twice = [("x-postern-token", key.as_str()), ("x-postern-token", key.as_str())];
    assert_eq!(ask(&door, Method::GET, "/a", &twice), Err(Refused::WrongKey));
    let foreign = [("x-postern-token", key.as_str()), ("origin", "http://evil.example")];
    assert_eq!(ask(&door, Method::POST, "/a", &foreign), Err(Refused::Foreign));
}

#[test]
fn a_web_page_takes_no_program_key_in_its_url() {
    let door = door();
    let target = format!("/a?postern={}", door.program_key());
    assert_eq!(ask(&door, Method::GET, &target, &[]), Err(Refused::Link));
    assert_eq!(ask(&door, Method::POST, &target, &[("origin", OWN)]), Err(Refused::NoKey));
}

#[test]
fn a_websocket_service_takes_it_there_and_passes_the_rest_on() {
    let door = Door::new("127.0.0.1:24000".to_owned(), 24_000, true).unwrap();
    let upgrade = |key: &str, headers: &[(&str, &str)]| {
        let target = format!("/live?a=%2F&postern={key}&b").parse().unwrap();
        let all = [&[("host", "127.0.0.1:24000")], headers].concat();
        judge(&door, &Method::GET, &target, &all, true)
    };
    let key = door.program_key();
    assert_eq!(upgrade(&key, &[]), pass("/live?a=%2F&b"));
    assert_eq!(upgrade(&key, &[]), pass("/live?a=%2F&b"), "as often as it connects");
    assert_eq!(upgrade(&key, &[("origin", "http://127.0.0.1:24000")]), pass("/live?a=%2F&b"));
    assert_eq!(upgrade(&key, &[("origin", "http://evil.example")]), Err(Refused::Foreign));
    assert_eq!(upgrade(&key, &[("sec-fetch-site", "cross-site")]), Err(Refused::Foreign));
    assert_eq!(upgrade("wrong", &[]), Err(Refused::WrongKey));
}

#[test]
fn each_refusal_has_its_status() {
    for (refused, status) in [
        (Refused::Form, 400),
        (Refused::Host, 421),
        (Refused::Link, 403),
        (Refused::Foreign, 403),
        (Refused::NoKey, 403),
        (Refused::WrongKey, 403),
    ] {
        assert_eq!(refused.status().as_u16(), status);
    }
}

#[test]
fn a_browser_begins_where_the_service_says_unless_the_link_named_a_path() {
    let begun = |at_start, start| {
        let mut entrance = Entrance { to: format!("{OWN}/"), cookie: None, redirect: true, at_start };
        entrance.begin_at(start);
        entrance.to
    };
    assert_eq!(begun(true, Some("/dashboard?a=1")), format!("{OWN}/dashboard?a=1"));
    assert_eq!(begun(true, None), format!("{OWN}/"));
    assert_eq!(begun(false, Some("/dashboard")), format!("{OWN}/"));
    assert_eq!(begun(true, Some("http://evil.example/")), format!("{OWN}/"));
}
