//! The local origin of web services: who may use it, what passes, and what is said when something does not.

use std::io::ErrorKind;

use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::CloseCode;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::world::{GENEROUS, Running, World};

/// A running `connect` to a web service, and what it printed.
struct Origin {
    running: Running,
    address: String,
    host: String,
    link: String,
    key: String,
}

impl Origin {
    async fn of(world: &World, args: &[&str]) -> Self {
        let mut running = world.start(&[&["connect", "press-7"], args, &["--json"]].concat());
        let value: serde_json::Value = serde_json::from_str(&running.out().await).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let (url, address) = (text("url"), text("address"));
        let (_, rest) = url.split_once("://").unwrap();
        let (host, target) = rest.split_once('/').unwrap();
        Self { running, address, host: host.to_owned(), link: format!("/{target}"), key: text("token") }
    }

    async fn dial(&self) -> Local {
        Local(BufReader::new(TcpStream::connect(&self.address).await.unwrap()))
    }

    /// A browser that has come in: its cookie.
    async fn enter(&self) -> String {
        let answer = self.ask("GET", &self.link, &[]).await;
        assert_eq!(answer.status, 303);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// One request on a connection of its own.
    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answered {
        self.dial().await.ask(self, method, target, headers).await
    }
}

/// One local connection.
struct Local(BufReader<TcpStream>);

/// Method and headers of a request, status and word of its answer.
type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str);

#[derive(Debug)]
struct Answered {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn word(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        value["error"]["word"].as_str().unwrap().to_owned()
    }
}

impl Local {
    async fn send(&mut self, origin: &Origin, method: &str, target: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", origin.host));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        self.0.get_mut().write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    }

    async fn ask(
        &mut self,
        origin: &Origin,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answered {
        self.send(origin, method, target, headers).await;
        let mut answered = self.head().await;
        let mut body = match answered.header("content-length") {
            Some(length) => vec![0; length.parse().unwrap()],
            None => Vec::new(),
        };
        self.0.read_exact(&mut body).await.unwrap();
        if answered.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
        }
        answered.body = String::from_utf8(body).unwrap();
        answered
    }

    /// An answer of eight bytes.
    async fn read(mut reader: impl tokio::io::AsyncBufRead + Unpin) -> String {
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut answer).await.unwrap(), 0, "{answer}");
        }
        let mut body = [0; 8];
        reader.read_exact(&mut body).await.unwrap();
        answer + str::from_utf8(&body).unwrap()
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(GENEROUS, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    async fn head(&mut self) -> Answered {
        let first = self.line().await;
        let status =
            first.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{first:?}"))[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Answered { status, headers, body: String::new() }
    }

    /// The next chunk of a chunked body; the last is empty.
    async fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut chunk = vec![0; size];
        self.0.read_exact(&mut chunk).await.unwrap();
        assert_eq!(self.line().await, "");
        chunk
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }
}

#[tokio::test]
async fn a_link_lets_a_browser_in_once_and_no_key_reaches_the_machine() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "hmi"]);
    let url = running.out().await;
    assert!(url.starts_with("http://hmi.press-7.localhost:") && url.contains("/?postern="), "{url}");
    drop(running);
    let mut origin = Origin::of(&world, &["hmi"]).await;
    let entered = origin.ask("GET", &origin.link, &[("Sec-Fetch-Site", "none")]).await;
    assert_eq!(entered.status, 303);
    assert_eq!(entered.header("location").unwrap(), format!("http://{}/start?page=1", origin.host));
    assert_eq!(entered.header("referrer-policy"), Some("no-referrer"));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(world.device.opens(), ["hmi"], "the device says where the service begins");

    let both = format!("sid=7; {cookie}");
    let shown = origin.ask("GET", "/a?b=%2F", &[("Cookie", &both), ("Sec-Fetch-Site", "same-origin")]).await;
    assert_eq!((shown.status, shown.body.as_str()), (200, "panel"));
    let set: Vec<_> = shown.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!(set, [&("set-cookie".to_owned(), "sid=7; Path=/".to_owned())]);
    assert_eq!(world.device.site.seen(), ["GET /a?b=%2F | cookie: sid=7"]);

    let again = origin.ask("GET", &origin.link, &[]).await;
    assert_eq!((again.status, again.word()), (403, "used_link".to_owned()));
    let warned = origin.running.err().await;
    assert!(warned.contains("press-7/hmi: this link has been used"), "{warned}");
    assert_eq!(world.device.opens(), ["hmi", "hmi"]);
}

#[tokio::test]
async fn nothing_goes_further_without_a_key_from_another_page_or_to_another_host() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    let cookie = origin.enter().await;
    let own = format!("http://{}", origin.host);
    let port = origin.host.rsplit(':').next().unwrap().to_owned();
    let (local, loopback) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let refusals: [Refusal<'_>; 13] = [
        ("GET", &[], 403, "no_key"),
        ("GET", &[("Cookie", "postern-1=x")], 403, "no_key"),
        ("GET", &[("X-Postern-Token", "wrong")], 403, "wrong_key"),
        ("GET", &[("Cookie", &cookie), ("Host", "evil.example")], 421, "wrong_host"),
        ("GET", &[("Cookie", &cookie), ("Host", &local)], 421, "wrong_host"),
        ("GET", &[("Cookie", &cookie), ("Host", &loopback)], 421, "wrong_host"),
        ("GET", &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")], 403, "foreign_page"),
        ("GET", &[("Cookie", &cookie), ("Sec-Fetch-Site", "same-site")], 403, "foreign_page"),
        ("GET", &[("Cookie", &cookie), ("Origin", "http://evil.example")], 403, "foreign_page"),
        ("POST", &[("Cookie", &cookie), ("Content-Length", "0")], 403, "foreign_page"),
        ("POST", &[("Cookie", &cookie), ("Origin", "null"), ("Content-Length", "0")], 403, "foreign_page"),
        ("GET", &[("Cookie", &cookie), upgrade[0], upgrade[1]], 403, "foreign_page"),
        (
            "GET",
            &[("Cookie", &cookie), ("Origin", "http://evil.example"), upgrade[0], upgrade[1]],
            403,
            "foreign_page",
        ),
    ];
    for (method, headers, status, word) in refusals {
        let answered = origin.ask(method, "/", headers).await;
        assert_eq!((answered.status, answered.word()), (status, word.to_owned()), "{method} {headers:?}");
        assert_eq!(answered.header("connection"), Some("close"), "{headers:?}");
    }
    assert_eq!(world.device.opens(), ["hmi"], "the device was asked nothing more");

    let acts = [("Cookie", cookie.as_str()), ("Origin", &own), ("Content-Length", "0")];
    assert_eq!(origin.ask("POST", "/", &acts).await.status, 200);
    let program = [("X-Postern-Token", origin.key.as_str()), ("Content-Length", "0")];
    assert_eq!(origin.ask("POST", "/", &program).await.status, 200);
    assert_eq!(world.device.site.seen(), ["POST /", "POST /"]);
}

#[tokio::test]
async fn one_local_connection_has_one_tunnel_which_is_opened_anew_when_it_has_ended() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    let key = [("X-Postern-Token", origin.key.as_str())];
    let mut local = origin.dial().await;
    for _ in 0..3 {
        assert_eq!(local.ask(&origin, "GET", "/", &key).await.body, "panel");
    }
    assert_eq!(world.device.opens(), ["hmi"]);
    assert_eq!(local.ask(&origin, "GET", "/last", &key).await.status, 200);
    assert_eq!(local.ask(&origin, "GET", "/", &key).await.body, "panel", "over a new tunnel");
    assert_eq!(origin.ask("GET", "/", &key).await.body, "panel");
    assert_eq!(world.device.opens(), ["hmi", "hmi", "hmi"]);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    let mut local = origin.dial().await;
    let headers = [("X-Postern-Token", origin.key.as_str()), ("Transfer-Encoding", "chunked")];
    local.send(&origin, "POST", "/echo", &headers).await;
    for word in ["one", "two"] {
        // The answer to the first words comes before the last ones are sent.
        local.write(format!("3\r\n{word}\r\n").as_bytes()).await;
        if word == "one" {
            assert_eq!(local.head().await.status, 200);
        }
        assert_eq!(local.chunk().await, word.as_bytes());
    }
    local.write(b"0\r\n\r\n").await;
    assert_eq!(local.chunk().await, b"");
}

#[tokio::test]
async fn a_body_larger_than_any_buffer_arrives_whole() {
    const BYTES: usize = 8 * 1024 * 1024;
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    let length = BYTES.to_string();
    let headers = [("X-Postern-Token", origin.key.as_str()), ("Content-Length", &length)];
    let mut local = origin.dial().await;
    local.send(&origin, "POST", "/echo", &headers).await;
    let sent: Vec<u8> = (0..BYTES).map(|place| u8::try_from(place % 251).unwrap()).collect();
    let (reader, mut writer) = local.0.into_inner().into_split();
    let (upload, expected) = (sent.clone(), sent);
    let sending = tokio::spawn(async move { writer.write_all(&upload).await.map(|()| writer) });
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < BYTES {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
        let mut chunk = vec![0; usize::from_str_radix(line.trim_end(), 16).unwrap() + 2];
        reader.read_exact(&mut chunk).await.unwrap();
        received.extend_from_slice(&chunk[..chunk.len() - 2]);
    }
    assert!(received == expected);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_body_is_shown() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["brief"]).await;
    for length in [1024, 4 * 1024 * 1024] {
        let text = length.to_string();
        let headers = [("X-Postern-Token", origin.key.as_str()), ("Content-Length", &text)];
        let mut local = origin.dial().await;
        local.send(&origin, "POST", "/", &headers).await;
        let (reader, mut writer) = local.0.into_inner().into_split();
        let sending = tokio::spawn(async move {
            // Whoever has answered may hang up on the rest.
            let _unread = writer.write_all(&vec![b'x'; length]).await;
            writer
        });
        let answer = Local::read(BufReader::new(reader)).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too long"), "{answer}");
        drop(sending.await.unwrap());
    }
}

#[tokio::test]
async fn an_upgrade_of_the_own_page_becomes_a_pipe_through_its_own_tunnel() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    let cookie = origin.enter().await;
    let own = format!("http://{}", origin.host);
    let headers = [
        ("Cookie", cookie.as_str()),
        ("Origin", &own),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
    ];
    let mut local = origin.dial().await;
    assert_eq!(local.ask(&origin, "GET", "/", &headers[..1]).await.body, "panel");
    local.send(&origin, "GET", "/live", &headers).await;
    let answered = local.head().await;
    assert_eq!(answered.status, 101);
    assert_eq!(
        (answered.header("upgrade"), answered.header("connection")),
        (Some("websocket"), Some("upgrade"))
    );
    local.write(b"\x81\x00frames").await;
    let mut echoed = [0; 8];
    local.0.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"\x81\x00frames");
    assert_eq!(world.device.opens(), ["hmi", "hmi"], "the way in; the page and the upgrade");
    assert_eq!(world.device.site.seen(), ["GET /", "GET /live | connection: upgrade | upgrade: websocket"]);
}

#[tokio::test]
async fn a_websocket_service_takes_its_key_in_the_url() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["live"]).await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    assert_eq!(origin.link, format!("/?postern={}", origin.key));
    assert_eq!(origin.ask("GET", "/", &upgrade).await.word(), "no_key");
    let foreign = [upgrade[0], upgrade[1], ("Origin", "http://evil.example")];
    assert_eq!(origin.ask("GET", &origin.link, &foreign).await.word(), "foreign_page");
    for _ in 0..2 {
        let mut local = origin.dial().await;
        local.send(&origin, "GET", &origin.link, &upgrade).await;
        assert_eq!(local.head().await.status, 101);
    }
    let line = "GET / | connection: upgrade | upgrade: websocket";
    assert_eq!(world.device.site.seen(), [line, line]);
}

#[tokio::test]
async fn a_denial_is_a_page_for_people_and_json_for_programs() {
    let world = World::signed_in().await;
    let mut origin = Origin::of(&world, &["hmi"]).await;
    let cookie = origin.enter().await;
    world.device.refuse(Reason::CaseInactive);
    let page = origin.ask("GET", "/", &[("Cookie", &cookie), ("Accept", "text/html,*/*")]).await;
    assert_eq!((page.status, page.header("content-type")), (403, Some("text/html; charset=utf-8")));
    let sentence = Reason::CaseInactive.sentence();
    assert!(page.body.contains(&sentence[1..]), "{}", page.body);
    assert!(page.body.contains(Reason::CaseInactive.lifter().describe()), "{}", page.body);
    let json = origin.ask("GET", "/api", &[("Cookie", &cookie), ("Accept", "application/json")]).await;
    assert_eq!((json.status, json.word()), (403, "case_inactive".to_owned()));
    let line = origin.running.err().await;
    assert!(line.starts_with(&format!("postern: press-7/hmi: {sentence}")), "{line}");
}

#[tokio::test]
async fn a_cut_in_the_middle_of_an_answer_resets_the_local_connection_and_says_why() {
    let world = World::signed_in().await;
    let mut origin = Origin::of(&world, &["hmi"]).await;
    let mut local = origin.dial().await;
    let key = [("X-Postern-Token", origin.key.as_str())];
    local.send(&origin, "GET", "/slow", &key).await;
    assert_eq!(local.head().await.status, 200);
    assert_eq!(local.chunk().await, b"begin");
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    let end = tokio::time::timeout(GENEROUS, local.0.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let line = "postern: press-7/hmi: tun-0303030303030303: your access was withdrawn; ask your administrator why \
                (who can change it: your administrator)";
    assert_eq!(origin.running.err().await, line);
}

#[tokio::test]
async fn a_cut_between_requests_is_said_at_once_and_by_the_next_answer() {
    let world = World::signed_in().await;
    let mut origin = Origin::of(&world, &["hmi"]).await;
    let mut local = origin.dial().await;
    let key = [("X-Postern-Token", origin.key.as_str())];
    assert_eq!(local.ask(&origin, "GET", "/", &key).await.status, 200);
    world.device.refuse(Reason::Revoked);
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    let line = origin.running.err().await;
    assert!(
        line.starts_with("postern: press-7/hmi: tun-0303030303030303: your access was withdrawn;"),
        "{line}"
    );
    let next = local.ask(&origin, "GET", "/", &key).await;
    assert_eq!((next.status, next.word()), (403, "revoked".to_owned()));
}

#[tokio::test]
async fn once_ends_with_what_the_connection_came_to() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi", "--once"]).await;
    let key = [("X-Postern-Token", origin.key.as_str()), ("Connection", "close")];
    assert_eq!(origin.ask("GET", "/", &key).await.status, 200);
    assert_eq!(origin.running.ended().await.code, 0);
    let origin = Origin::of(&world, &["hmi", "--once"]).await;
    world.device.refuse(Reason::Expired);
    let key = [("X-Postern-Token", origin.key.as_str()), ("Connection", "close")];
    assert_eq!(origin.ask("GET", "/", &key).await.status, 403);
    let outcome = origin.running.ended().await;
    assert_eq!(outcome.code, 4);
    assert!(outcome.stderr.contains("press-7/hmi: your access has ended"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_machine_that_hangs_up_is_told_from_one_that_answers() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    let key = [("X-Postern-Token", origin.key.as_str())];
    let answered = origin.ask("GET", "/gone", &key).await;
    assert_eq!((answered.status, answered.word()), (502, "no_answer".to_owned()));
}

#[tokio::test]
async fn a_lost_connection_is_said_by_a_page_that_tries_again() {
    let world = World::signed_in().await;
    let mut origin = Origin::of(&world, &["hmi"]).await;
    let cookie = origin.enter().await;
    world.device.stop();
    let lost = origin.running.err().await;
    assert!(lost.ends_with("; connecting again"), "{lost}");
    let person = [("Cookie", cookie.as_str()), ("Accept", "text/html")];
    let page = origin.ask("GET", "/", &person).await;
    assert_eq!((page.status, page.header("retry-after")), (503, Some("3")));
    assert!(
        page.body.contains("The connection to press-7 was lost and is being made again."),
        "{}",
        page.body
    );
    let program = origin.ask("GET", "/", &[("Cookie", cookie.as_str())]).await;
    assert_eq!((program.status, program.word()), (503, "connecting_again".to_owned()));
}

#[tokio::test]
async fn the_port_stays_and_a_port_that_is_taken_is_said() {
    let world = World::signed_in().await;
    let first = Origin::of(&world, &["hmi"]).await;
    let mut second = Origin::of(&world, &["hmi"]).await;
    assert_ne!(first.host, second.host);
    let port = first.host.rsplit(':').next().unwrap();
    let line = second.running.err().await;
    assert!(line.starts_with(&format!("postern: press-7/hmi: port {port} is taken, so it is ")), "{line}");
    let (host, mut running) = (first.host.clone(), first.running);
    running.child.kill().await.unwrap();
    assert_eq!(Origin::of(&world, &["hmi"]).await.host, host);
}

#[tokio::test]
async fn who_wishes_to_look_asks_for_no_more_with_pages_and_upgrades() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi", "--view-only"]).await;
    let key = ("X-Postern-Token", origin.key.as_str());
    assert_eq!(origin.ask("GET", "/", &[key]).await.status, 200);
    let mut local = origin.dial().await;
    local.send(&origin, "GET", "/", &[key, ("Connection", "Upgrade"), ("Upgrade", "websocket")]).await;
    assert_eq!(local.head().await.status, 101);
    assert_eq!(world.device.opens(), ["hmi to look", "hmi to look"]);
}

#[tokio::test]
async fn a_refusal_on_the_way_in_leaves_the_browser_its_cookie_for_later() {
    let world = World::signed_in().await;
    let origin = Origin::of(&world, &["hmi"]).await;
    world.device.refuse(Reason::CaseInactive);
    let refused = origin.ask("GET", &origin.link, &[("Accept", "text/html")]).await;
    assert_eq!(refused.status, 403);
    let cookie = refused.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    world.device.permit();
    let again = origin.ask("GET", &origin.link, &[("Cookie", &cookie)]).await;
    assert_eq!((again.status, again.header("set-cookie")), (303, None));
    assert_eq!(origin.ask("GET", "/start", &[("Cookie", &cookie)]).await.body, "panel");
}
