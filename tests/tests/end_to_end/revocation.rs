//! Who is thrown out, and how fast: every live tunnel is judged again when policy or time change.
//!
//! The moment of activation is taken where the agent says that the policy is in force; the moment of the last byte is
//! taken at the near end of the tunnel, behind every buffer on the way.

use std::time::{Duration, Instant, SystemTime};

use postern_tests::world::flow::{Flow, FlowEnd};
use postern_tests::world::probe::{http_page, vnc_picture, websocket, websocket_talk, within};
use postern_tests::world::{Fleet, Grant, Mishap, Session, World, in_seconds};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use super::gate::{DENIED, echoed, has};
use super::stage::{LAB, Outcome, Plant};

/// What is promised.
const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn tunnels_under_load_stop_within_a_second_of_the_change() -> Outcome {
    let plant = Plant::start().await?;
    let mut fleet = Fleet::new();
    for kind in ["http", "websocket"] {
        fleet = fleet.service(&format!("{kind}-down"), kind, plant.source.address);
        fleet = fleet.service(&format!("{kind}-up"), kind, plant.echo.address);
    }
    // A screen is loaded in both directions at once: whole pictures down, requests for them up.
    fleet = fleet.service("vnc-down", "vnc", plant.press.vnc).service("vnc-up", "vnc", plant.press.vnc);
    let all = ["vnc-down", "vnc-up", "http-down", "http-up", "websocket-down", "websocket-up"];
    let fleet = fleet.allow("anna", &all).allow("carl", &["http-down"]);
    let mut world = World::start(LAB, &fleet).await?;
    let (anna, carl) = (world.person("anna").await?, world.person("carl").await?);

    let mut loaded: Vec<(Session, Flow)> = Vec::new();
    for service in all {
        let session = anna.connect(service).await?;
        let flow = if service.ends_with("-up") {
            Flow::upload(&session).await?
        } else {
            Flow::download(&session).await?
        };
        flow.receives(MEGABYTE).await?;
        loaded.push((session, flow));
    }
    let bystander = carl.connect("http-down").await?;
    let unharmed = Flow::download(&bystander).await?;
    unharmed.receives(MEGABYTE).await?;
    assert!(loaded.iter().all(|(_, flow)| !flow.is_over()));

    let printed = world.device.running()?.line_count();
    world.hub.apply(&fleet.without_grants_of("anna").to_toml(), &[]).await?;
    let active = activation(&mut world, printed, "a policy came into force").await?;

    for ((session, flow), service) in loaded.into_iter().zip(all) {
        let end = flow.end().await?;
        expect_cut_within_limit(service, &end, active);
        session.notice("your access was withdrawn").await?;
    }
    plant.echo.deserted().await;
    unharmed.receives(MEGABYTE).await?;
    assert!(!unharmed.is_over(), "the tunnel of somebody else was cut");
    let rows = world
        .device
        .audit_until("six ends", |rows| rows.iter().filter(|row| has(row, "closed")).count() == 6)
        .await?;
    let cut: Vec<u64> = rows
        .iter()
        .filter(|row| has(row, "policy_applied"))
        .filter_map(|row| row["count"].as_u64())
        .collect();
    assert_eq!(cut.iter().sum::<u64>(), 6, "{cut:?}");
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_granted_again_revives_nothing_and_opens_anew() -> Outcome {
    let plant = Plant::start().await?;
    // One seat for the connection that is cut, and one for the picture before.
    let fleet = plant.fleet().limit("hmi", "writers = 2");
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let (hmi, web, live) =
        (anna.connect("hmi").await?, anna.connect("web").await?, anna.connect("live").await?);
    let echo = anna.connect("echo").await?;
    let mut old = (TcpStream::connect(hmi.address).await?, echo.exchange().await?, websocket(&live).await?);
    old.0.read_exact(&mut [0; 12]).await?;
    // The panel speaks first; a page and live values are real before they are cut.
    vnc_picture(hmi.address).await?;
    http_page(&web, "/").await?;
    websocket_talk(&live, "x").await?;

    world.apply(&fleet.clone().without_grants_of("anna")).await?;
    over(&mut old.0).await?;
    over(&mut old.1).await?;
    over(old.2.get_mut()).await?;
    anna.refused("hmi").await?.expect_code(DENIED)?;

    world.apply(&fleet).await?;
    over(&mut old.0).await?;
    over(&mut old.1).await?;
    over(old.2.get_mut()).await?;
    vnc_picture(hmi.address).await?;
    assert_eq!(http_page(&web, "/").await?.status, 200);
    websocket_talk(&live, "again").await?;
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_window_cuts_what_is_open_and_refuses_what_comes() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.services().allow("anna", &[]);
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;

    let until = in_seconds(8);
    world.apply(&plant.services().grant(Grant::new("anna", &["source", "echo"]).until(until))).await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(MEGABYTE).await?;
    let end = flow.end().await?;

    let last_byte = SystemTime::now() - end.last_byte.elapsed();
    let late = last_byte.duration_since(until).unwrap_or_default();
    let early = until.duration_since(last_byte).unwrap_or_default();
    assert!(late <= LIMIT, "the last byte came {late:?} after the end of the window");
    assert!(early <= LIMIT, "the tunnel was cut {early:?} before the end of its window");
    session.notice("your access has ended").await?;
    let refused = anna.refused("echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("your access has ended"), "{}", refused.err);
    Ok(())
}

#[tokio::test]
async fn a_window_that_begins_later_refuses_until_then() -> Outcome {
    let plant = Plant::start().await?;
    let from = in_seconds(8);
    let fleet = plant.services().grant(Grant::new("anna", &["echo"]).from(from));
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let refused = anna.refused("echo").await?;
    if SystemTime::now() < from {
        let refused = refused.expect_code(DENIED)?;
        assert!(refused.err.contains("your access has not begun"), "{}", refused.err);
    }
    let begins = from.duration_since(SystemTime::now()).unwrap_or_default();
    // The condition is the clock itself: the device's, which is attested in whole seconds.
    let begins = begins + Duration::from_secs(1);
    tokio::time::sleep_until(tokio::time::Instant::now() + begins).await;
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"now").await?, b"now");
    Ok(())
}

#[tokio::test]
async fn an_idle_tunnel_and_an_old_tunnel_end_with_their_own_reasons() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant
        .services()
        .limit("echo", "idle = \"1s\"")
        .limit("source", "duration = \"2s\"")
        .allow("anna", &["echo", "source"]);
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;

    let idle = anna.connect("echo").await?;
    let mut stream = idle.exchange().await?;
    assert_eq!(echoed(&mut stream, b"x").await?, b"x");
    over(&mut stream).await?;
    idle.notice("the tunnel was idle for too long").await?;

    let old = anna.connect("source").await?;
    let begun = Instant::now();
    let end = Flow::download(&old).await?.end().await?;
    assert!(end.last_byte.duration_since(begun) >= Duration::from_secs(1), "{end:?}");
    old.notice("the tunnel reached its longest duration").await?;
    Ok(())
}

#[tokio::test]
async fn an_operator_ends_one_tunnel_and_the_others_live() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let (first, second) = (anna.connect("echo").await?, anna.connect("source").await?);
    let mut ended = first.exchange().await?;
    assert_eq!(echoed(&mut ended, b"x").await?, b"x");
    let other = Flow::download(&second).await?;
    other.receives(1).await?;

    let rows = world.device.audit().await?;
    let permitted = rows.iter().find(|row| has(row, "permitted") && row["service"] == "echo");
    let tunnel = permitted.expect("a row for the echo")["tunnel"].as_str().unwrap().to_owned();
    world.device.call(["tunnel", "end", &tunnel]).finish().await?.expect_code(0)?;
    over(&mut ended).await?;
    first.notice("the operator ended the tunnel").await?;
    other.receives(MEGABYTE).await?;
    Ok(())
}

/// When the agent said that something came into force, among the lines after the first `printed`.
pub(crate) async fn activation(world: &mut World, printed: usize, said: &str) -> Result<Instant, Mishap> {
    let running = world.device.running()?;
    Ok(running.line_after(printed, said, |line| line.text.contains(said)).await?.at)
}

fn expect_cut_within_limit(service: &str, end: &FlowEnd, active: Instant) {
    let late = end.last_byte.saturating_duration_since(active);
    eprintln!("{service}: last byte {late:?} after activation, {} bytes", end.received);
    assert!(late <= LIMIT, "the last byte of {service} came {late:?} after activation");
}

/// Waits for the end of a connection, whatever it still delivers.
async fn over(stream: &mut (impl AsyncRead + Unpin)) -> Outcome {
    within("the end of a connection", async {
        let mut rest = Vec::new();
        // An end and a reset are both the end.
        let _end_or_reset = stream.read_to_end(&mut rest).await;
        Ok(())
    })
    .await
}

const MEGABYTE: u64 = 1024 * 1024;
