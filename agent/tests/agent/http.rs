//! HTTP through the gate: what reaches the machine, byte for byte, what does not, and what a client reads.

use postern_protocol::policy::snapshot::rules::Method;
use postern_protocol::policy::{Allow, Credential, HttpRules, Kind, Methods, Mode, Reason, Rules, Scheme};
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;

use crate::client::Tunnel;
use crate::policy::now;
use crate::web::{Says, Web, ok};
use crate::world::{GENEROUS, World};

/// A world whose user may use `pages`, an HTTP service on `web`, by rules that a test changes.
pub(crate) async fn world(web: &Web, change: impl FnOnce(&mut HttpRules)) -> World {
    let mut world = World::start().await;
    world.policy.service("pages", Kind::Http, web.addr());
    world.policy.snapshot.categories[0].services = vec![0, 1, 2, 4];
    change(rules(&mut world));
    world.publish(3).await;
    world
}

/// The rules of the service `pages`.
pub(crate) fn rules(world: &mut World) -> &mut HttpRules {
    match world.policy.snapshot.services[2].reach.rules_mut() {
        Some(Rules::Http(rules)) => rules,
        Some(Rules::Vnc(_) | Rules::Websocket(_)) | None => panic!("`pages` speaks HTTP"),
    }
}

fn allow(path: &str, methods: &[Method]) -> Allow {
    Allow { path: path.parse().unwrap(), methods: Methods::of(methods.iter().copied()).unwrap(), query: None }
}

/// Sends bytes and reads one answer with its body.
pub(crate) async fn ask(tunnel: &mut Tunnel, request: &str) -> String {
    tunnel.send.write_all(request.as_bytes()).await.unwrap();
    answer(tunnel).await
}

/// Reads one answer with its body.
async fn answer(tunnel: &mut Tunnel) -> String {
    let reading = async {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")
                        .map(|length| length.parse().unwrap())
                });
                if length.is_none_or(|length: usize| body.len() >= length) {
                    return text;
                }
            }
            let mut byte = [0];
            tunnel.recv.read_exact(&mut byte).await.unwrap_or_else(|error| panic!("{error} after {text:?}"));
            bytes.extend_from_slice(&byte);
        }
    };
    tokio::time::timeout(GENEROUS, reading).await.unwrap()
}

/// Reads until the end of the stream, which must come in order.
pub(crate) async fn rest(tunnel: &mut Tunnel) -> String {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = tunnel.recv.read_chunk(64 * 1024).await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).unwrap()
    };
    tokio::time::timeout(GENEROUS, reading).await.unwrap()
}

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

const HOST: &str = "Host: pages.press-7.localhost:4001\r\n";

#[tokio::test]
async fn a_granted_request_reaches_the_machine_in_its_own_terms_and_nothing_else_does() {
    let mut web = Web::start(|_line| Says::This(ok("hello"))).await;
    let world = world(&web, |rules| rules.upstream.host = Some(Text::clean("panel.local"))).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let request = format!(
        "GET /a?b=%2F HTTP/1.1\r\n{HOST}Accept: */*\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
         X-Forwarded-For: 10.9.9.9\r\nX_Forwarded_User: root\r\nX-Original-URL: /admin\r\n\
         X-HTTP-Method-Override: DELETE\r\nProxy-Authorization: Basic eDp5\r\nExpect: 100-continue\r\n\
         Origin: http://pages.press-7.localhost:4001\r\nReferer: http://pages.press-7.localhost:4001/start?x\r\n\
         Cookie: a=1; b=2\r\nX-CSRFToken: t\r\n\r\n"
    );
    let answer = ask(&mut tunnel, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let heard = web.heard().await.text;
    let mut lines: Vec<&str> = heard.trim_end().lines().collect();
    assert_eq!(lines.remove(0), "GET /a?b=%2F HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "Accept: */*",
            "Cookie: a=1; b=2",
            "Host: panel.local",
            "Origin: http://panel.local",
            "Referer: http://panel.local/start?x",
            "X-CSRFToken: t",
        ]
    );
}

#[tokio::test]
async fn each_request_of_a_connection_is_judged_alone() {
    let mut web = Web::start(|_line| Says::This(ok("page"))).await;
    let world = world(&web, |rules| {
        rules.allow = vec![
            allow("/api/*/values", &[Method::Get, Method::Post]),
            allow("/dashboard/**", &[Method::Get]),
        ];
    })
    .await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    for (request, expected, reason) in [
        ("GET /dashboard", "200", ""),
        ("GET /admin", "403", "path_denied"),
        ("POST /dashboard/", "403", "method_denied"),
        ("GET /api/7/values", "200", ""),
        ("GET /dashboard/../admin", "400", ""),
    ] {
        let length = if request.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
        let answer = ask(&mut tunnel, &format!("{request} HTTP/1.1\r\n{HOST}{length}\r\n")).await;
        assert_eq!(status(&answer), expected, "{request}: {answer}");
        assert!(answer.contains(reason), "{answer}");
        if expected == "200" {
            let heard = web.heard().await;
            assert!(heard.text.starts_with(request) && heard.connection == 0, "{heard:?}");
        }
    }
    assert_eq!(rest(&mut tunnel).await, "", "an ambiguous request is the last");
    web.heard_nothing();
}

#[tokio::test]
async fn a_refusal_says_why_and_who_can_change_it_to_browsers_and_to_programs() {
    let mut web = Web::start(|_line| Says::This(ok(""))).await;
    let world = world(&web, |rules| rules.allow.clear()).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let page = ask(&mut tunnel, &format!("GET / HTTP/1.1\r\n{HOST}Accept: text/html\r\n\r\n")).await;
    for part in [
        "HTTP/1.1 403 Forbidden\r\n",
        "text/html",
        "this page is not granted",
        "ask your administrator for it",
    ] {
        assert!(page.contains(part), "{page}");
    }
    let text = ask(&mut tunnel, &format!("GET / HTTP/1.1\r\n{HOST}Accept: application/json\r\n\r\n")).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&json["error"]["reason"], &json["error"]["status"]), (&"path_denied".into(), &403.into()));
    tunnel.send.write_all(format!("HEAD / HTTP/1.1\r\n{HOST}\r\n").as_bytes()).await.unwrap();
    tunnel.send.finish().unwrap();
    let head = rest(&mut tunnel).await;
    assert!(status(&head) == "403" && head.ends_with("\r\n\r\n"), "{head}");
    web.heard_nothing();
}

#[tokio::test]
async fn what_two_programs_could_read_in_two_ways_is_answered_400_and_reaches_no_machine() {
    let mut web = Web::start(|_line| Says::This(ok("first"))).await;
    let world = world(&web, |_rules| ()).await;
    let client = world.client().await;
    for (request, expected) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "400"),
        ("GET / HTTP/1.1\nHost: a\n\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "400"),
        ("GET http://10.0.0.1/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET //admin HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "505"),
        ("CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
            "400",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ", "400"),
    ] {
        // A request before it is answered in full.
        let mut tunnel = client.tunnel("pages").await;
        let both = format!(
            "GET /before HTTP/1.1\r\nHost: a\r\n\r\n{request}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let first = ask(&mut tunnel, &both).await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.ends_with("first"), "{first}");
        let rest = rest(&mut tunnel).await;
        assert_eq!(status(&rest), expected, "{request:?}: {rest}");
        assert!(rest.contains("Connection: close"), "{rest}");
        assert!(web.heard().await.text.starts_with("GET /before "));
        web.heard_nothing();
    }
}

#[tokio::test]
async fn a_chunk_that_ends_elsewhere_than_it_says_is_answered_400_and_never_finished_at_the_machine() {
    let mut web = Web::start(|_line| Says::This(ok(""))).await;
    let world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let head = format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
    tunnel
        .send
        .write_all((head + "5\r\nhello0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let answer = rest(&mut tunnel).await;
    assert_eq!(status(&answer), "400", "{answer}");
    web.heard_nothing();
}

#[tokio::test]
async fn a_request_with_a_body_is_the_last_on_its_connection_to_the_machine() {
    let mut web = Web::start(|_line| Says::This(ok("done"))).await;
    let world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let plain = format!("POST /1 HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello");
    let chunked = format!(
        "PUT /2 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    );
    let bare = format!("GET /3 HTTP/1.1\r\n{HOST}\r\n");
    for (request, connection) in [(&plain, 0), (&chunked, 1), (&bare, 2), (&bare, 2)] {
        assert!(ask(&mut tunnel, request).await.ends_with("done"));
        let heard = web.heard().await;
        assert_eq!(heard.connection, connection, "{heard:?}");
        let closes = heard.text.contains("Connection: close\r\n");
        assert_eq!(closes, request != &bare, "{heard:?}");
        let body = heard.text.split_once("\r\n\r\n").unwrap().1;
        match connection {
            0 => assert_eq!(body, "hello"),
            1 => assert!(heard.text.contains("chunked") && body.contains("hello") && body.contains(" world")),
            _ => assert_eq!(body, ""),
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_machine_closed_is_dialled_again_and_a_machine_that_is_gone_is_named() {
    let mut web = Web::start(|_line| Says::Last(ok("once"))).await;
    let world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    for connection in 0..3 {
        assert!(ask(&mut tunnel, &format!("GET / HTTP/1.1\r\n{HOST}\r\n")).await.ends_with("once"));
        assert_eq!(web.heard().await.connection, connection);
    }
    drop(web);
    let answer = ask(&mut tunnel, &format!("GET / HTTP/1.1\r\n{HOST}\r\n")).await;
    assert_eq!(status(&answer), "502", "{answer}");
    assert!(answer.contains("the machine refused the connection"), "{answer}");
}

#[tokio::test]
async fn an_answer_does_not_lead_away_from_the_local_address() {
    let web = Web::start(|_line| {
        Says::This(
            b"HTTP/1.1 302 Found\r\nLocation: http://panel.local/login?x\r\nSet-Cookie: s=1; Domain=panel.local; HttpOnly\r\n\
              Set-Cookie: t=2\r\nStrict-Transport-Security: max-age=1\r\nAlt-Svc: h3=\":443\"\r\nKeep-Alive: timeout=5\r\n\
              Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let world = world(&web, |rules| rules.upstream.host = Some(Text::clean("panel.local"))).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let answer = ask(&mut tunnel, &format!("GET / HTTP/1.1\r\n{HOST}\r\n")).await;
    let mut lines: Vec<&str> = answer.trim_end().lines().skip(1).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "Content-Length: 0",
            "Location: /login?x",
            "Set-Cookie: s=1; HttpOnly",
            "Set-Cookie: t=2",
            "X-Kept: 1"
        ]
    );
}

#[tokio::test]
async fn a_narrower_mode_cuts_the_request_in_flight_and_refuses_the_next_one() {
    let mut web = Web::start(|line| {
        if line.starts_with("POST") {
            Says::Begins(b"HTTP/1.1 200 OK\r\n\r\nslow".to_vec())
        } else {
            Says::This(ok("seen"))
        }
    })
    .await;
    let mut world = world(&web, |_rules| ()).await;
    let client = world.client().await;
    let (mut writes, mut reads) = (client.tunnel("pages").await, client.tunnel("pages").await);
    let post = format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\nhi");
    let get = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
    writes.send.write_all(post.as_bytes()).await.unwrap();
    assert!(web.heard().await.text.starts_with("POST"));
    assert!(ask(&mut reads, &get).await.ends_with("seen"));
    world.policy.snapshot.grants[0].mode = Mode::ViewOnly;
    world.publish(4).await;
    assert_eq!(writes.drain().await, Err(StreamFault::Reset(Reason::ViewOnly.number().into())));
    assert!(ask(&mut reads, &get).await.ends_with("seen"), "who looks goes on looking");
    let refused = ask(&mut reads, &post).await;
    assert!(status(&refused) == "403" && refused.contains("view_only"), "{refused}");
}

#[tokio::test]
async fn an_approval_that_is_narrowed_to_looking_narrows_its_tunnels_in_place() {
    let mut web = Web::start(|line| {
        if line.starts_with("POST") {
            Says::Begins(b"HTTP/1.1 200 OK\r\n\r\nslow".to_vec())
        } else {
            Says::This(ok("seen"))
        }
    })
    .await;
    let mut world = world(&web, |_rules| ()).await;
    let services = &world.policy.snapshot.services;
    let pages = services.iter().position(|service| service.name.as_str() == "pages").unwrap();
    let (pages, until) = (u32::try_from(pages).unwrap(), now().saturating_add(600));
    world.policy.demand_approval(pages, Mode::WIDEST, until);
    world.publish(4).await;
    let client = world.client().await;
    let (mut writes, mut reads) = (client.tunnel("pages").await, client.tunnel("pages").await);
    let post = format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\nhi");
    let get = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
    writes.send.write_all(post.as_bytes()).await.unwrap();
    assert!(web.heard().await.text.starts_with("POST"));
    assert!(ask(&mut reads, &get).await.ends_with("seen"));
    world.policy.demand_approval(pages, Mode::ViewOnly, until);
    world.publish(5).await;
    assert_eq!(writes.drain().await, Err(StreamFault::Reset(Reason::ViewOnly.number().into())));
    assert!(ask(&mut reads, &get).await.ends_with("seen"), "who looks goes on looking");
    let refused = ask(&mut reads, &post).await;
    assert!(status(&refused) == "403" && refused.contains("view_only"), "{refused}");
}

#[tokio::test]
async fn a_page_that_is_denied_is_closed_at_once_in_a_tunnel_of_the_whole_service_and_the_rest_is_not() {
    let web = Web::start(|line| {
        if line.contains("/slow") {
            Says::Begins(b"HTTP/1.1 200 OK\r\n\r\nslow".to_vec())
        } else {
            Says::This(ok("seen"))
        }
    })
    .await;
    let mut world = world(&web, |_rules| ()).await;
    let client = world.client().await;
    let (mut tunnel, mut reading) = (client.tunnel("pages").await, client.tunnel("pages").await);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{HOST}\r\n");
    assert!(ask(&mut tunnel, &get("/service/reset")).await.ends_with("seen"));
    reading.send.write_all(get("/service/slow").as_bytes()).await.unwrap();
    while tunnel_heard(&mut reading).await != b'w' {}
    world.policy.close_path("/service/**");
    world.publish(4).await;
    assert_eq!(reading.drain().await, Err(StreamFault::Reset(Reason::PathDenied.number().into())));
    let refused = ask(&mut tunnel, &get("/service/reset")).await;
    assert!(status(&refused) == "403" && refused.contains("path_denied"), "{refused}");
    assert!(ask(&mut tunnel, &get("/services")).await.ends_with("seen"), "the same tunnel goes on");
    world.policy.snapshot.prohibitions.clear();
    world.publish(5).await;
    assert!(
        ask(&mut tunnel, &get("/service/reset")).await.ends_with("seen"),
        "what is denied no more is open"
    );
}

/// One byte of an answer.
async fn tunnel_heard(tunnel: &mut Tunnel) -> u8 {
    let mut byte = [0];
    tunnel.recv.read_exact(&mut byte).await.unwrap();
    byte[0]
}

#[tokio::test]
async fn a_withdrawn_right_cuts_an_answer_in_its_middle() {
    let mut web =
        Web::start(|_line| Says::Begins(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nslow".to_vec()))
            .await;
    let mut world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    tunnel.send.write_all(format!("GET / HTTP/1.1\r\n{HOST}\r\n").as_bytes()).await.unwrap();
    web.heard().await;
    world.policy.revoke();
    world.publish(4).await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::Revoked.number().into())));
}

#[tokio::test]
async fn the_gate_logs_in_with_its_own_secret_and_passes_no_other_on() {
    let mut web = Web::start(|_line| Says::This(ok(""))).await;
    let world = world(&web, |rules| {
        let secret = "web-login".parse().unwrap();
        rules.credential = Some(Credential { scheme: Scheme::Basic, user: Text::clean("service"), secret });
        rules.identity = true;
    })
    .await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let request =
        format!("GET / HTTP/1.1\r\n{HOST}Authorization: Basic eDp5\r\nX-Forwarded-User: root\r\n\r\n");
    let missing = ask(&mut tunnel, &request).await;
    assert!(status(&missing) == "502" && missing.contains("postern-agent secret set"), "{missing}");
    let done = world.agent.feed(&["secret", "set", "web-login", "--stdin"], "4711").await;
    assert_eq!(done.code, 0, "{done:?}");
    let answer = ask(&mut tunnel, &request).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let heard = web.heard().await.text;
    let of = |name: &str| {
        heard.lines().filter(|line| line.to_ascii_lowercase().starts_with(name)).collect::<Vec<_>>()
    };
    assert_eq!(of("authorization"), ["Authorization: Basic c2VydmljZTo0NzEx"]);
    assert_eq!(of("x-forwarded-user"), [format!("X-Forwarded-User: {}", crate::policy::USER)]);
}

#[tokio::test]
async fn who_asks_is_said_by_the_gate_alone_whatever_a_client_claims_and_how_it_is_spelt() {
    for identity in [false, true] {
        let mut web = Web::start(|_request| Says::This(ok(""))).await;
        let world = world(&web, |rules| rules.identity = identity).await;
        let mut tunnel = world.client().await.tunnel("pages").await;
        let claims = [
            "X-Forwarded-User: root",
            "X-Forwarded-User: admin",
            "x-forwarded-user: root",
            "X_Forwarded_User: root",
            "X-Forwarded_User: root",
            "X.Forwarded.User: root",
            "X-Forwarded-User-Groups: root",
            "X-Forwarded-Email: root",
            "X-Forwarded-Preferred-Username: root",
            "X_Postern_Tunnel: root",
            "X-Postern-Mode: root",
            "Remote_User: root",
            "X-Remote-User: root",
            "X-WebAuth-User: root",
            "Connection: X-Forwarded-User, X-Postern-Tunnel",
        ];
        let request = format!("GET / HTTP/1.1\r\n{HOST}Accept: */*\r\n{}\r\n\r\n", claims.join("\r\n"));
        assert_eq!(status(&ask(&mut tunnel, &request).await), "200");
        let heard = web.heard().await.text;
        let mut lines: Vec<&str> = heard.trim_end().lines().skip(1).collect();
        lines.sort_unstable();
        let Answer::Accepted { tunnel, .. } = tunnel.answer else { panic!("{:?}", tunnel.answer) };
        let (user, tunnel) =
            (format!("X-Forwarded-User: {}", crate::policy::USER), format!("X-Postern-Tunnel: {tunnel}"));
        let host = format!("Host: {}", web.addr());
        let said =
            if identity { vec!["Accept: */*", &host, &user, &tunnel] } else { vec!["Accept: */*", &host] };
        assert_eq!(lines, said);
    }
}

#[tokio::test]
async fn the_trail_has_what_was_asked_and_what_came_of_it_without_queries() {
    let web = Web::start(|_line| Says::This(ok("12345"))).await;
    let world = world(&web, |rules| rules.allow = vec![allow("/api/**", &[Method::Get])]).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    for _ in 0..3 {
        ask(&mut tunnel, &format!("GET /api/values?token=secret HTTP/1.1\r\n{HOST}\r\n")).await;
    }
    ask(&mut tunnel, &format!("GET /admin HTTP/1.1\r\n{HOST}\r\n")).await;
    tunnel.send.finish().unwrap();
    assert_eq!(rest(&mut tunnel).await, "");
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "list"]).await;
    let rows = rows.as_array().unwrap();
    let requests: Vec<_> = rows
        .iter()
        .filter(|row| row["event"] == "requests")
        .map(|row| {
            (
                row["detail"].as_str().unwrap(),
                row["count"].as_u64(),
                row["to_client"].as_u64(),
                row["reason"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        requests,
        [
            ("GET /admin -> 403", Some(1), Some(0), Some("path_denied")),
            ("GET /api/values -> 200", Some(3), Some(15), None),
        ]
    );
    let closed = rows.iter().find(|row| row["event"] == "closed").unwrap();
    assert_eq!(closed["gate"]["http"], serde_json::json!({ "forwarded": 3, "dropped": 1 }));
    assert!(!rows.iter().any(|row| row.to_string().contains("token")));
}
