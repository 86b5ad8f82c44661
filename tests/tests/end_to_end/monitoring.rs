//! What an operator watches and does: numbers that move when something happens, in the format that Prometheus reads, health, and the end
//! of a hub.

use std::time::{Duration, Instant};

use postern_tests::world::probe::http_page;
use postern_tests::world::{Line, Mishap, Readings, Watch, World};
use rustix::process::Signal;
use serde_json::json;

use super::floods::cloud::{AT_ONCE, Sockets};
use super::relay::behind_nat;
use super::stage::{Outcome, Plant};

/// A world whose hub is watched.
async fn watched(plant: &Plant) -> Result<(World, Watch), Mishap> {
    let mut world = plant.world().await?;
    world.hub.stop().await?;
    world.hub.open_metrics();
    world.hub.open_api();
    world.hub.serve().await?;
    let watch = world.hub.watch().await?;
    Ok((world, watch))
}

/// Reads again and again until something holds.
async fn until(watch: &Watch, what: &str, holds: impl Fn(&Readings) -> bool) -> Result<Readings, Mishap> {
    let began = Instant::now();
    loop {
        let readings = watch.read().await?;
        if holds(&readings) {
            return Ok(readings);
        }
        if began.elapsed() > WITHIN {
            let seen = readings.iter().map(|(sample, value)| format!("{sample} {value}\n")).collect();
            return Err(Mishap::Deadline { what: what.to_owned(), within: WITHIN, seen });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_happens_at_a_hub_moves_its_metrics_and_names_nobody() -> Outcome {
    let plant = Plant::start().await?;
    let (world, watch) = watched(&plant).await?;
    let before = until(&watch, "the device's link", |seen| seen.value("postern_hub_links") >= 1.0).await?;
    assert_eq!(before.value("postern_hub_links"), 1.0);
    assert!(before.value("postern_hub_handshakes_total{outcome=\"done\"}") >= 1.0);
    assert!(before.value("process_resident_memory_bytes") > 1e6);
    assert!(before.value("process_open_fds") > 3.0);
    assert!(before.value("process_max_fds") >= before.value("process_open_fds"));
    let build = format!("postern_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(before.find(&build), Some(1.0));

    // Somebody arrives: a sign-in, a policy with a new key, an answer.
    let carla = plant.fleet().allow("carla", &["web"]);
    world.apply(&carla).await?;
    let anna = world.person("carla").await?;
    let session = anna.connect("web").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    let program = world.hub.program("carla").await?;
    assert_eq!(program.ask("GET", "/v1/none", None).await?.body["status"], json!(404));
    let moved = until(&watch, "what the device has recorded", |seen| {
        seen.value("postern_hub_audit_rows_total") > before.value("postern_hub_audit_rows_total")
    })
    .await?;
    for sample in [
        "postern_hub_pushes_total",
        "postern_hub_push_bytes_total",
        "postern_hub_push_answers_total{answer=\"applied\"}",
        "postern_hub_push_answer_seconds_count",
        "postern_hub_publications_total{cause=\"changed\"}",
        "postern_hub_requests_total{kind=\"accept_invitation\",outcome=\"answered\"}",
        "postern_hub_requests_total{kind=\"list_devices\",outcome=\"answered\"}",
        "postern_hub_audit_batches_total{outcome=\"taken\"}",
        "postern_api_requests_total{status=\"4xx\"}",
        "postern_store_seconds_count{access=\"write\",part=\"work\"}",
        "process_cpu_seconds_total",
    ] {
        assert!(moved.value(sample) > before.value(sample), "{sample} has not moved");
    }
    assert_eq!(moved.value("postern_hub_push_answers_total{answer=\"refused\"}"), 0.0);
    // The twin of every row above: what nobody asked for is not said to have been answered.
    assert_eq!(moved.find("postern_hub_requests_total{kind=\"logout\",outcome=\"answered\"}"), None);
    let (_, text) = watch.page("/metrics").await?;
    for name in ["anna", "carla", "press", "web"] {
        assert!(!text.contains(name), "`{name}` is said to whoever watches");
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_says_that_it_lives_and_serves_and_nothing_else_is_there() -> Outcome {
    let plant = Plant::start().await?;
    let (_world, watch) = watched(&plant).await?;
    assert_eq!(watch.page("/healthz").await?, (200, "alive\n".to_owned()));
    assert_eq!(watch.page("/readyz").await?, (200, "ready\n".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_hub_that_drains_sends_its_devices_away_and_they_come_back_when_it_is_there_again() -> Outcome {
    let plant = Plant::start().await?;
    let (mut world, watch) = watched(&plant).await?;
    until(&watch, "the device's link", |seen| seen.value("postern_hub_links") == 1.0).await?;
    // Sent nowhere that the installation does not know.
    let wrong = world.hub.call(["drain", "--to", "192.0.2.7:7440"]).finish().await?.expect_code(2)?;
    assert!(wrong.err.contains("devices know no hub at 192.0.2.7:7440"), "{}", wrong.err);
    assert_eq!(watch.page("/readyz").await?.0, 200);

    let drained = world.hub.call(["drain", "--json"]).finish().await?.expect_code(0)?.json()?;
    let ms = drained["ms"].as_u64().unwrap();
    assert!(ms < 10_000, "one device needs {ms} ms to leave");
    assert!(
        world.hub.log().contains("the hub has drained told=1 left=0 unanswered=0"),
        "{}",
        world.hub.log()
    );
    world.hub.stop().await?;
    let nobody = world.hub.call(["drain"]).finish().await?.expect_code(1)?;
    assert!(nobody.err.contains("no hub runs"), "{}", nobody.err);
    assert!(world.device.log().contains("the hub sends this device away"), "{}", world.device.log());

    world.hub.serve().await?;
    let began = Instant::now();
    let again = world.hub.watch().await?;
    until(&again, "the device's return", |seen| seen.value("postern_hub_links") == 1.0).await?;
    assert!(began.elapsed() < Duration::from_secs(8), "it came after {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_hub_that_drains_lives_serves_nobody_new_and_does_not_wait_for_ever() -> Outcome {
    let plant = Plant::start().await?;
    let (mut world, watch) = watched(&plant).await?;
    until(&watch, "the device's link", |seen| seen.value("postern_hub_links") == 1.0).await?;
    let anna = world.stranger("anna")?;
    let code = world.hub.invitation_code("anna").await?;
    // A device that hears nothing does not leave.
    world.device.running()?.signal(Signal::STOP);
    world.hub.running()?.signal(Signal::TERM);
    let began = Instant::now();
    while watch.page("/readyz").await? != (503, "draining: it is about to end\n".to_owned()) {
        assert!(began.elapsed() < WITHIN, "it goes on to serve");
    }
    assert_eq!(watch.page("/healthz").await?, (200, "alive\n".to_owned()));
    assert_eq!(watch.read().await?.value("postern_hub_draining"), 1.0);
    let refused = anna.login_with_code(&code).await?;
    assert!(refused.expect_code(0).is_err(), "somebody new was let in");
    let has_drained = |line: &Line| line.text.contains("the hub has drained");
    let drained = world.hub.running()?.line("that it has drained", has_drained).await?.text;
    assert!(drained.ends_with("told=1 left=1 unanswered=0"), "{drained}");
    world.hub.stop().await?;
    world.device.running()?.signal(Signal::CONT);
    Ok(())
}

#[tokio::test]
async fn whoever_says_nothing_keeps_nobody_from_reading_the_metrics() -> Outcome {
    let plant = Plant::start().await?;
    let (_world, watch) = watched(&plant).await?;
    let silent = Sockets::come(watch.at, 200, b"GET /metrics HTTP/1.1\r\n").await?;
    let began = Instant::now();
    assert_eq!(watch.page("/readyz").await?.0, 200);
    assert!(watch.read().await?.value("process_resident_memory_bytes") > 0.0);
    assert!(began.elapsed() < AT_ONCE, "they were waited for");
    silent.are_cut().await
}

#[tokio::test]
async fn a_relay_by_itself_counts_what_it_passes_on() -> Outcome {
    let plant = Plant::start().await?;
    let (mut world, _nowhere) = behind_nat(&plant).await?;
    let relay = world.relay_apart().await?;
    let line = relay.line("where it is watched", |line| line.text.contains("metrics on")).await?;
    let watch = Watch::in_line(&line.text)?;
    assert_eq!(watch.page("/readyz").await?, (200, "ready\n".to_owned()));
    let before = watch.read().await?;
    assert_eq!(before.find("postern_relay_packets_total{outcome=\"passed\"}"), Some(0.0));
    let anna = world.person("anna").await?;
    let session = anna.connect("web").await?;
    session.notice("is reached through the relay at").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    let after = watch.read().await?;
    assert_eq!(after.find("postern_relay_meetings"), Some(1.0));
    assert!(after.value("postern_relay_packets_total{outcome=\"passed\"}") > 10.0);
    assert!(after.value("postern_relay_bytes_total") > 1000.0);
    assert!(after.value("postern_relay_notices_total{outcome=\"bound\"}") >= 2.0);
    assert_eq!(after.find("postern_hub_links"), None);
    Ok(())
}

const WITHIN: Duration = Duration::from_secs(30);
