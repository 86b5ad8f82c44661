//! WebSocket through the gate: who may open one, which frames pass, and what a client reads at its end.

use postern_protocol::policy::{Kind, Mode, Reason, Rules, WebsocketRules};
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::Answer;

use crate::client::Tunnel;
use crate::http;
use crate::web::{PIN, Says, Web, ok, pin};
use crate::world::{GENEROUS, World};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const CHANGE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A server that changes to WebSocket and sends every frame back as it came: to this client they look like its own.
async fn web() -> Web {
    Web::start(says).await
}

fn says(line: &str) -> Says {
    if line.starts_with("GET /live") {
        Says::Echoes(format!("{CHANGE}\r\n").into())
    } else {
        Says::This(ok("page"))
    }
}

/// As `http::world`, with a WebSocket service `push` beside the pages.
async fn world(web: &Web, change: impl FnOnce(&mut WebsocketRules)) -> World {
    let mut world = http::world(web, |_rules| ()).await;
    world.policy.service("push", Kind::Websocket, web.addr());
    world.policy.snapshot.categories[0].services = vec![0, 1, 2, 3, 5];
    let rules = rules(&mut world);
    rules.paths = vec!["/live/**".parse().unwrap()];
    change(rules);
    world.publish(4).await;
    world
}

fn rules(world: &mut World) -> &mut WebsocketRules {
    match world.policy.snapshot.services[3].reach.rules_mut() {
        Some(Rules::Websocket(rules)) => rules,
        Some(Rules::Vnc(_) | Rules::Http(_)) | None => panic!("`push` speaks WebSocket"),
    }
}

fn upgrade(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}{more}\r\n")
}

/// A frame of a client whose mask changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0][..], payload].concat()
}

async fn read(tunnel: &mut Tunnel, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    tokio::time::timeout(GENEROUS, tunnel.recv.read_exact(&mut read)).await.unwrap().unwrap();
    read
}

/// Reads until the end of the stream, which must come in order.
async fn rest(tunnel: &mut Tunnel) -> Vec<u8> {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = tunnel.recv.read_chunk(64 * 1024).await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    };
    tokio::time::timeout(GENEROUS, reading).await.unwrap()
}

/// The code and reason of a close frame.
fn closing(frame: &[u8]) -> (u16, String) {
    assert_eq!((frame[0], usize::from(frame[1])), (0x88, frame.len() - 2), "{frame:?}");
    (u16::from_be_bytes([frame[2], frame[3]]), String::from_utf8(frame[4..].to_vec()).unwrap())
}

/// A server that says frames of its own once and then echoes.
async fn speaking(frames: &'static [u8]) -> Web {
    Web::start(move |_line| Says::Begins([CHANGE.as_bytes(), b"\r\n", frames].concat())).await
}

#[tokio::test]
async fn an_upgrade_on_pages_is_a_tunnel_of_its_own_right_and_reaches_the_machine_in_its_own_terms() {
    let mut web = speaking(b"\x81\x05hello\x89\x00").await;
    let mut world = world(&web, |rules| rules.subprotocols = vec![Text::clean("mqtt")]).await;
    http::rules(&mut world).upstream.host = Some(Text::clean("panel.local"));
    rules(&mut world).upstream.host = Some(Text::clean("panel.local"));
    world.publish(5).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let more = "Origin: http://pages.press-7.localhost:4001\r\nSec-WebSocket-Protocol: mqtt, admin\r\n\
                Sec-WebSocket-Extensions: permessage-deflate\r\nCookie: a=1\r\n";
    let answer = http::ask(&mut tunnel, &upgrade("/live/values?x=1", more)).await;
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    let heard = web.heard().await.text;
    let mut lines: Vec<String> = heard.trim_end().lines().map(str::to_ascii_lowercase).collect();
    assert_eq!(lines.remove(0), "get /live/values?x=1 http/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "connection: upgrade",
            "cookie: a=1",
            "host: panel.local",
            "origin: http://panel.local",
            "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
            "sec-websocket-protocol: mqtt",
            "sec-websocket-version: 13",
            "upgrade: websocket",
        ]
    );
    assert_eq!(read(&mut tunnel, 9).await, b"\x81\x05hello\x89\x00");
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "list"]).await;
    let rows = rows.as_array().unwrap();
    let permitted: Vec<_> = rows.iter().filter(|row| row["event"] == "permitted").collect();
    assert_eq!((&permitted[0]["service"], &permitted[1]["service"]), (&"pages".into(), &"push".into()));
    let closed = rows.iter().find(|row| row["event"] == "closed").unwrap();
    assert_eq!((&closed["tunnel"], &closed["reason"]), (&permitted[0]["tunnel"], &"done".into()));
    let request = rows.iter().find(|row| row["event"] == "requests").unwrap();
    assert_eq!(
        (&request["tunnel"], &request["detail"]),
        (&permitted[1]["tunnel"], &"GET /live/values -> 101".into())
    );
}

#[tokio::test]
async fn without_its_own_right_an_upgrade_is_refused_and_not_forwarded_as_a_page() {
    let mut web = web().await;
    let mut world = world(&web, |_rules| ()).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("pages").await;
    // A path that no WebSocket service grants, though the pages are granted whole.
    let answer = http::ask(&mut tunnel, &upgrade("/other", "")).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("websocket_not_granted"), "{answer}");
    // A service that is there and not granted.
    world.policy.snapshot.categories[0].services = vec![0, 1, 2, 5];
    world.publish(5).await;
    let answer = http::ask(&mut tunnel, &upgrade("/live/a", "")).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("websocket_not_granted"), "{answer}");
    web.heard_nothing();
    // The pages go on, on the same connection.
    assert!(http::ask(&mut tunnel, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("page"));
    let trail = world.agent.trail().await;
    assert!(trail.contains(&("denied".to_owned(), "no_grant".to_owned())), "{trail:?}");
}

#[tokio::test]
async fn a_websocket_service_opens_for_upgrades_of_its_paths_and_for_nothing_else() {
    let mut web = web().await;
    let world = world(&web, |_rules| ()).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("push").await;
    for (request, status, word) in [
        ("GET /live/a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426", "WebSocket, not a page"),
        (upgrade("/other", ""), "403", "path_denied"),
        (upgrade("/live/a", "Sec-WebSocket-Protocol: mqtt\r\n"), "403", "websocket_not_granted"),
        (upgrade("/live/a", "Sec-WebSocket-Version: 8\r\n"), "400", "Sec-WebSocket-Version"),
    ] {
        let answer = http::ask(&mut tunnel, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(word), "{answer}");
    }
    web.heard_nothing();
    let answer = http::ask(&mut tunnel, &upgrade("/live/a", "")).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    web.heard().await;
    tunnel.send.finish().unwrap();
    assert_eq!(rest(&mut tunnel).await, b"");
    world.agent.trail_with("closed", 1).await;
}

#[tokio::test]
async fn a_websocket_of_a_machine_with_a_pinned_key_goes_over_tls_and_to_no_other_key() {
    let web = Web::start_tls(says).await;
    let world = world(&web, |rules| rules.upstream.tls = Some(vec![pin(PIN)])).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("push").await;
    assert!(http::ask(&mut tunnel, &upgrade("/live", "")).await.starts_with("HTTP/1.1 101"));
    web.renew();
    assert_eq!(client.open("push").await.answer, Answer::Failed(Failure::MachineKey));
}

#[tokio::test]
async fn in_view_only_only_control_frames_reach_the_machine_and_the_mode_changes_in_place() {
    let web = web().await;
    let mut world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("push").await;
    http::ask(&mut tunnel, &upgrade("/live", "")).await;
    // What comes back is masked, which no machine may do: the first frame that reaches it ends the connection.
    for (version, mode) in [(5, Mode::ViewOnly), (6, Mode::Full { clipboard: false }), (7, Mode::ViewOnly)] {
        world.policy.snapshot.grants[0].mode = mode;
        world.publish(version).await;
        if mode == Mode::ViewOnly {
            tunnel.send.write_all(&frame(0x81, b"touch")).await.unwrap();
        }
    }
    tunnel.send.write_all(&frame(0x89, b"ping")).await.unwrap();
    let (code, reason) = closing(&rest(&mut tunnel).await);
    assert_eq!((code, reason.as_str()), (1002, "a frame of the machine is masked"));
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "list"]).await;
    // What the tunnel might do from then on is a row as well, and may be written behind it.
    let closed = rows.as_array().unwrap().iter().rev().find(|row| row["event"] == "closed").unwrap();
    assert_eq!(
        closed["gate"]["websocket"],
        serde_json::json!({ "to_machine": { "forwarded": 0, "dropped": 2 }, "to_client": 0, "controls": 1 })
    );
}

#[tokio::test]
async fn a_cut_is_a_close_frame_with_its_reason() {
    let web = speaking(b"\x81\x05hello").await;
    let mut world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    http::ask(&mut tunnel, &upgrade("/live", "")).await;
    assert_eq!(read(&mut tunnel, 7).await, b"\x81\x05hello");
    world.policy.revoke();
    world.publish(5).await;
    let (code, reason) = closing(&rest(&mut tunnel).await);
    assert_eq!(
        (code, reason.as_str()),
        (1008, "revoked: your access was withdrawn; ask your administrator why")
    );
    let stopped = tokio::time::timeout(GENEROUS, tunnel.send.stopped()).await.unwrap().unwrap();
    assert_eq!(stopped, Some(Reason::Revoked.number().into()));
    let trail = world.agent.trail_with("closed", 2).await;
    assert_eq!(trail.last(), Some(&("closed".to_owned(), "revoked".to_owned())));
}

#[tokio::test]
async fn within_a_frame_a_cut_is_a_reset() {
    let web = speaking(b"\x81\x05hel").await;
    let mut world = world(&web, |_rules| ()).await;
    let mut tunnel = world.client().await.tunnel("push").await;
    http::ask(&mut tunnel, &upgrade("/live", "")).await;
    assert_eq!(read(&mut tunnel, 5).await, b"\x81\x05hel");
    world.policy.revoke();
    world.publish(5).await;
    let reset = postern_transport::quic::StreamFault::Reset(Reason::Revoked.number().into());
    assert_eq!(tunnel.drain().await, Err(reset));
}

#[tokio::test]
async fn frames_beyond_a_limit_or_against_the_protocol_end_the_connection_and_do_not_pass() {
    let mut web = speaking(b"").await;
    let world = world(&web, |rules| (rules.frame_bytes, rules.message_bytes) = (100, 150)).await;
    let client = world.client().await;
    for (frames, code, words) in [
        (frame(0x82, &[0; 101]), 1009, "a frame has 101 bytes, at most 100 are allowed"),
        (
            [frame(0x02, &[0; 100]), frame(0x80, &[0; 51])].concat(),
            1009,
            "a message has 151 bytes, at most 150 are allowed",
        ),
        (vec![0x81, 0x01, 0x00], 1002, "a frame of the client is not masked"),
        (frame(0xc1, b"x"), 1002, "a frame has a reserved bit"),
        (frame(0x80, b"x"), 1002, "a frame continues a message that was not begun"),
    ] {
        let mut tunnel = client.tunnel("push").await;
        http::ask(&mut tunnel, &upgrade("/live", "")).await;
        web.heard().await;
        tunnel.send.write_all(&frames).await.unwrap();
        assert_eq!(closing(&rest(&mut tunnel).await), (code, words.to_owned()));
    }
}

#[tokio::test]
async fn a_machine_that_does_not_change_or_chooses_what_was_not_offered_is_named() {
    for (answer, words) in [
        (ok("no"), "does not switch to WebSocket"),
        (format!("{CHANGE}Sec-WebSocket-Protocol: mqtt\r\n\r\n").into(), "subprotocol that was not offered"),
        (
            format!("{CHANGE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n").into(),
            "chose an extension",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_vec(),
            "does not switch",
        ),
    ] {
        let web = Web::start(move |_line| Says::This(answer.clone())).await;
        let world = world(&web, |_rules| ()).await;
        let mut tunnel = world.client().await.tunnel("pages").await;
        let answer = http::ask(&mut tunnel, &upgrade("/live", "")).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains(words), "{answer}");
        let trail = world.agent.trail_with("failed", 1).await;
        assert!(trail.contains(&("failed".to_owned(), "broken".to_owned())), "{trail:?}");
    }
}
