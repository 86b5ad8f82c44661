//! Logins at machines that demand Digest: a server that checks every answer for itself, and what its clients see of it.

use std::sync::{Arc, Mutex};

use md5::Digest as _;
use postern_protocol::policy::{Credential, Kind, Rules, Scheme, WebsocketRules};
use postern_protocol::wire::text::Text;

use crate::client::Tunnel;
use crate::http::{ask, status, world};
use crate::web::{Says, Web};
use crate::world::World;

/// A web server with one user, whose nonces are good for some requests each, in the order in which they are counted.
#[derive(Debug)]
struct Lock {
    algorithm: &'static str,
    password: &'static str,
    /// Requests for which a nonce is good.
    uses: u32,
    /// The answer names the next nonce.
    names_next: bool,
    nonce: u32,
    count: u32,
}

const LOCK: Lock =
    Lock { algorithm: "SHA-256", password: "4711", uses: u32::MAX, names_next: false, nonce: 0, count: 0 };

impl Lock {
    async fn start(self) -> Web {
        let lock = Arc::new(Mutex::new(self));
        Web::start(move |request| lock.lock().unwrap().answer(request)).await
    }

    fn answer(&mut self, request: &str) -> Says {
        let Some(login) = header(request, "authorization") else { return self.refuse(false) };
        let Some(login) = login.strip_prefix("Digest ") else { panic!("{login}") };
        let value = |name: &str| {
            let of = |part: &str| {
                part.strip_prefix(&format!("{name}=")).map(|value| value.trim_matches('"').to_owned())
            };
            login.split(", ").find_map(of).unwrap_or_else(|| panic!("`{name}` in {login}"))
        };
        let (method, target) = request.split_once(' ').unwrap();
        let target = target.split(' ').next().unwrap();
        assert_eq!((&*value("uri"), &*value("algorithm"), &*value("qop")), (target, self.algorithm, "auth"));
        assert_eq!((&*value("opaque"), &*value("realm")), ("o=1", "Press,7"));
        let count = u32::from_str_radix(&value("nc"), 16).unwrap();
        if value("nonce") != format!("n{}", self.nonce) || count != self.count + 1 || count > self.uses {
            return self.refuse(true);
        }
        let secret = self.hash(&format!("service:Press,7:{}", self.password));
        let asked = self.hash(&format!("{method}:{target}"));
        let (nonce, nc, cnonce) = (value("nonce"), value("nc"), value("cnonce"));
        if value("response") != self.hash(&format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{asked}")) {
            return self.refuse(false);
        }
        self.count = count;
        let mut more = String::new();
        if self.names_next {
            (self.nonce, self.count) = (self.nonce + 1, 0);
            more = format!("Authentication-Info: qop=auth, nextnonce=\"n{}\"\r\n", self.nonce);
        }
        if request.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
            return Says::Echoes(
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                )
                .into(),
            );
        }
        Says::This(
            format!(
                "HTTP/1.1 200 OK\r\n{more}WWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nin"
            )
            .into(),
        )
    }

    fn refuse(&mut self, stale: bool) -> Says {
        (self.nonce, self.count) = (self.nonce + 1, 0);
        let challenge = format!(
            "WWW-Authenticate: Basic realm=\"Press,7\"\r\n\
             WWW-Authenticate: Digest realm=\"Press,7\", nonce=\"n{}\", opaque=\"o=1\", qop=\"auth,auth-int\", \
             algorithm={}, stale={stale}\r\n",
            self.nonce, self.algorithm
        );
        Says::This(format!("HTTP/1.1 401 Unauthorized\r\n{challenge}Content-Length: 3\r\n\r\nout").into())
    }

    fn hash(&self, text: &str) -> String {
        match self.algorithm {
            "MD5" => data_encoding::HEXLOWER.encode(&md5::Md5::digest(text)),
            _ => data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(text)),
        }
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// A world whose device logs in at `web` with the password `4711`.
async fn logging_in(web: &Web, scheme: Scheme) -> World {
    let world = world(web, |rules| {
        let secret = "web-login".parse().unwrap();
        rules.credential = Some(Credential { scheme, user: Text::clean("service"), secret });
    })
    .await;
    let done = world.agent.feed(&["secret", "set", "web-login", "--stdin"], "4711").await;
    assert_eq!(done.code, 0, "{done:?}");
    world
}

/// Asks for a page and expects it, after so many requests at the machine.
async fn get(tunnel: &mut Tunnel, web: &mut Web, requests: usize) -> String {
    let answer = ask(tunnel, "GET /a?b=c HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n").await;
    assert_eq!(status(&answer), "200", "{answer}");
    heard(web, requests).await;
    answer
}

async fn heard(web: &mut Web, requests: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..requests {
        all.push(web.heard().await.text);
    }
    web.heard_nothing();
    all
}

#[tokio::test]
async fn the_device_logs_in_once_and_the_browser_sees_nothing_of_it() {
    for algorithm in ["SHA-256", "MD5"] {
        let mut web = Lock { algorithm, ..LOCK }.start().await;
        let world = logging_in(&web, Scheme::Digest).await;
        let client = world.client().await;
        let mut tunnel = client.tunnel("pages").await;
        let answer = get(&mut tunnel, &mut web, 2).await;
        assert!(answer.ends_with("\r\n\r\nin"), "{answer}");
        assert!(header(&answer, "www-authenticate").is_none(), "{answer}");
        get(&mut tunnel, &mut web, 1).await;
        // The next tunnel goes on with the nonce that the last one has left.
        tunnel.send.finish().unwrap();
        world.agent.trail_with("closed", 1).await;
        get(&mut client.tunnel("pages").await, &mut web, 1).await;
    }
}

#[tokio::test]
async fn a_nonce_that_is_used_up_is_replaced_by_the_next_one() {
    let mut web = Lock { uses: 2, ..LOCK }.start().await;
    let world = logging_in(&web, Scheme::Digest).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    for requests in [2, 1, 2, 1] {
        get(&mut tunnel, &mut web, requests).await;
    }
    let mut web = Lock { uses: 1, names_next: true, ..LOCK }.start().await;
    let world = logging_in(&web, Scheme::Digest).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    for requests in [2, 1, 1] {
        let answer = get(&mut tunnel, &mut web, requests).await;
        assert!(header(&answer, "authentication-info").is_none(), "{answer}");
    }
}

#[tokio::test]
async fn a_small_body_is_sent_again_and_a_large_one_by_who_has_it() {
    let mut web = LOCK.start().await;
    let world = logging_in(&web, Scheme::Digest).await;
    let client = world.client().await;
    let small = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let mut tunnel = client.tunnel("pages").await;
    assert_eq!(status(&ask(&mut tunnel, small).await), "200");
    let both = heard(&mut web, 2).await;
    assert!(both.iter().all(|request| request.ends_with("\r\n\r\nhello")), "{both:?}");
    drop((tunnel, client));
    let client = world.client().await;
    let body = "x".repeat(64 * 1024 + 1);
    let large = format!("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = ask(&mut client.tunnel("pages").await, &large).await;
    assert!(status(&answer) == "503" && answer.contains("ask_again"), "{answer}");
    world.agent.trail_with("closed", 1).await;
    heard(&mut web, 1).await;
    assert_eq!(status(&ask(&mut client.tunnel("pages").await, &large).await), "200");
    assert!(heard(&mut web, 1).await[0].ends_with(&body));
}

#[tokio::test]
async fn a_wrong_password_is_a_page_that_says_so_and_no_loop() {
    for (scheme, requests) in [(Scheme::Digest, 2), (Scheme::Basic, 1)] {
        let mut web = if scheme == Scheme::Digest {
            Lock { password: "0815", ..LOCK }.start().await
        } else {
            Web::start(|_request| {
                Says::This(
                    b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                )
            })
            .await
        };
        let world = logging_in(&web, scheme).await;
        let client = world.client().await;
        // The second one comes over a tunnel of its own: the machine has one account.
        for attempts in [requests, 0] {
            let mut tunnel = client.tunnel("pages").await;
            let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n";
            let answer = ask(&mut tunnel, request).await;
            assert_eq!(status(&answer), "502", "{answer}");
            assert!(header(&answer, "www-authenticate").is_none(), "{answer}");
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            let rests: u64 = header(&answer, "retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&rests), "{answer}");
            assert_eq!(
                json["error"],
                serde_json::json!({
                    "status": 502, "reason": "login", "service": "pages",
                    "what": format!(
                        "the machine has refused the device's login; so that it does not lock the account, the device does not \
                         try it again for {rests} s"
                    ),
                    "next": "have the machine's password set anew, on the device or in the cloud: a new one is tried at once",
                    "who": "whoever looks after the machine",
                })
            );
            heard(&mut web, attempts).await;
        }
        // The twin: another secret is tried at once.
        let done = world.agent.feed(&["secret", "set", "web-login", "--stdin"], "0815").await;
        assert_eq!(done.code, 0, "{done:?}");
        let answer = ask(&mut client.tunnel("pages").await, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(status(&answer), if scheme == Scheme::Digest { "200" } else { "502" }, "{answer}");
        heard(&mut web, requests).await;
    }
}

#[tokio::test]
async fn a_machine_that_asks_for_less_than_digest_gets_nothing() {
    let mut web = Web::start(|_request| {
        Says::This(
            b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n".to_vec(),
        )
    })
    .await;
    let world = logging_in(&web, Scheme::Digest).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let answer = ask(&mut tunnel, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n").await;
    assert_eq!(status(&answer), "502", "{answer}");
    assert!(header(&heard(&mut web, 1).await[0], "authorization").is_none());
}

#[tokio::test]
async fn the_device_logs_in_for_a_websocket_of_the_page_as_well() {
    for (password, expected, requests) in [("4711", "101", 2), ("0815", "502", 2)] {
        let mut web = Lock { password, ..LOCK }.start().await;
        let mut world = logging_in(&web, Scheme::Digest).await;
        world.policy.service("push", Kind::Websocket, web.addr());
        world.policy.snapshot.categories[0].services = vec![0, 1, 2, 3, 5];
        world.publish(4).await;
        let mut tunnel = world.client().await.tunnel("pages").await;
        let answer = ask(&mut tunnel, UPGRADE).await;
        assert_eq!(status(&answer), expected, "{answer}");
        let requests = heard(&mut web, requests).await;
        assert!(!requests.iter().any(|request| request.contains("eDp5")), "{requests:?}");
    }
}

/// What a program sends that wants a WebSocket and knows no password of the machine.
const UPGRADE: &str = "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Authorization: Basic eDp5\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn the_device_logs_in_for_a_websocket_service_that_has_no_pages() {
    for (logs_in, expected) in [(true, "101"), (false, "502")] {
        let mut web = LOCK.start().await;
        let mut world = logging_in(&web, Scheme::Digest).await;
        world.policy.service("push", Kind::Websocket, web.addr());
        world.policy.snapshot.categories[0].services = vec![0, 1, 2, 3, 5];
        let secret = "web-login".parse().unwrap();
        let credential = Credential { scheme: Scheme::Digest, user: Text::clean("service"), secret };
        let credential = logs_in.then_some(credential);
        *world.policy.snapshot.services[3].reach.rules_mut().unwrap() =
            Rules::Websocket(WebsocketRules { credential, ..WebsocketRules::whole() });
        world.publish(4).await;
        let own = "Authorization: Basic eDp5\r\n";
        let upgrade = if logs_in { UPGRADE.to_owned() } else { UPGRADE.replace(own, "") };
        let answer = ask(&mut world.client().await.tunnel("push").await, &upgrade).await;
        assert_eq!(status(&answer), expected, "{answer}");
        let heard = heard(&mut web, if logs_in { 2 } else { 1 }).await;
        assert!(!heard.iter().any(|request| request.contains("eDp5")), "{heard:?}");
    }
}
