//! Machines that speak TLS with a certificate that nobody signed: the key that is pinned, and every other one.

use postern_protocol::policy::HttpRules;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::Answer;

use crate::http::{ask, rest, rules, status, world};
use crate::machine::Machine;
use crate::web::{PIN, RENEWED_PIN, Says, Web, ok, pin};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n";

/// Pins keys in the rules of a service.
fn pinned(pins: &[&str]) -> impl Fn(&mut HttpRules) {
    let mut pins: Vec<[u8; 32]> = pins.iter().copied().map(pin).collect();
    pins.sort_unstable();
    move |rules| {
        rules.upstream.host = Some(Text::clean("panel.local"));
        rules.upstream.tls = Some(pins.clone());
    }
}

#[tokio::test]
async fn a_machine_that_proves_a_pinned_key_is_asked_in_tls_under_its_own_name() {
    let mut web = Web::start_tls(|line| {
        if line.contains("/moved") {
            Says::This(
                b"HTTP/1.1 302 Found\r\nLocation: https://panel.local/b\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            )
        } else {
            Says::This(ok("secure"))
        }
    })
    .await;
    let world = world(&web, pinned(&[PIN, RENEWED_PIN])).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    let answer = ask(&mut tunnel, "GET /a HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n").await;
    assert!(status(&answer) == "200" && answer.ends_with("secure"), "{answer}");
    let heard = web.heard().await.text;
    assert!(
        heard.contains("Host: panel.local\r\n") && heard.contains("Origin: https://panel.local\r\n"),
        "{heard}"
    );
    let moved = ask(&mut tunnel, "GET /moved HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(moved.contains("Location: /b\r\n"), "{moved}");
}

#[tokio::test]
async fn a_machine_that_proves_another_key_is_not_asked_anything_and_the_trail_says_so() {
    let mut web = Web::start_tls(|_line| Says::This(ok(""))).await;
    let world = world(&web, pinned(&[RENEWED_PIN])).await;
    let answer = world.client().await.open("pages").await.answer;
    assert_eq!(answer, Answer::Failed(Failure::MachineKey));
    web.heard_nothing();
    let trail = world.agent.trail_with("failed", 1).await;
    assert!(trail.contains(&("failed".to_owned(), "machine_key".to_owned())), "{trail:?}");
}

#[tokio::test]
async fn a_plain_machine_where_a_key_is_pinned_is_never_asked_in_the_clear() {
    let (web, machine) = (Web::start(|_line| Says::This(ok(""))).await, Machine::echo().await);
    let mut world = world(&web, pinned(&[PIN])).await;
    world.policy.lead(2, machine.addr());
    world.publish(4).await;
    assert_eq!(world.client().await.open("pages").await.answer, Answer::Failed(Failure::MachineTls));
}

#[tokio::test]
async fn a_key_that_changes_under_a_tunnel_is_refused_in_words_and_works_once_it_is_pinned() {
    let mut web = Web::start_tls(|_line| Says::Last(ok("before"))).await;
    let mut world = world(&web, pinned(&[PIN])).await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("pages").await;
    assert!(ask(&mut tunnel, GET).await.ends_with("before"));
    web.heard().await;
    web.renew();
    let refused = ask(&mut tunnel, GET).await;
    assert_eq!(status(&refused), "502", "{refused}");
    let json: serde_json::Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        json["error"],
        serde_json::json!({
            "status": 502, "reason": "machine_key", "service": "pages",
            "what": "the machine proved another key than the one that is pinned for it",
            "next": "ask whether the machine or its certificate was exchanged, and have the new key pinned if so",
            "who": "your administrator",
        })
    );
    assert_eq!(rest(&mut tunnel).await, "", "the tunnel ends with the answer");
    web.heard_nothing();
    let trail = world.agent.trail_with("closed", 1).await;
    assert!(trail.contains(&("closed".to_owned(), "machine_key".to_owned())), "{trail:?}");
    pinned(&[RENEWED_PIN])(rules(&mut world));
    world.publish(4).await;
    assert!(ask(&mut client.tunnel("pages").await, GET).await.ends_with("before"));
}

#[tokio::test]
async fn a_tunnel_to_a_key_that_is_not_pinned_any_more_is_cut() {
    let web = Web::start_tls(|_line| Says::This(ok("before"))).await;
    let mut world = world(&web, pinned(&[PIN])).await;
    let mut tunnel = world.client().await.tunnel("pages").await;
    assert!(ask(&mut tunnel, GET).await.ends_with("before"));
    pinned(&[RENEWED_PIN])(rules(&mut world));
    world.publish(4).await;
    let revoked = postern_protocol::policy::Reason::Revoked.number().into();
    assert_eq!(tunnel.drain().await, Err(postern_transport::quic::StreamFault::Reset(revoked)));
}

#[tokio::test]
async fn pin_shows_what_a_fleet_file_wants_and_dials_machines_only() {
    let mut web = Web::start_tls(|_line| Says::This(ok(""))).await;
    let world = world(&web, |_rules| ()).await;
    let target = web.addr().to_string();
    let done = world.agent.run(&["pin", &target, "--host", "panel.local"]).await;
    assert_eq!((done.code, done.out.contains(&format!("\ntls = [\"{PIN}\"]\n"))), (0, true), "{done:?}");
    web.renew();
    let json = world.agent.json(&["pin", &target]).await;
    assert_eq!(json, serde_json::json!({ "target": target, "pin": RENEWED_PIN }));
    web.heard_nothing();
    let plain = Machine::echo().await;
    for (target, code, said) in [
        ("127.0.0.2:443".to_owned(), 1, Failure::Forbidden.sentence()),
        (plain.addr().to_string(), 1, "the machine speaks no TLS that is supported"),
        ("panel.local:443".to_owned(), 2, "invalid socket address"),
    ] {
        let done = world.agent.run(&["pin", &target]).await;
        assert_eq!((done.code, done.err.contains(said)), (code, true), "{done:?}");
    }
}
