//! Who gets in: each allowed thing beside its refused twin, with bytes that prove it.

use std::time::Duration;

use postern_tests::world::probe::{Page, http_page, vnc_picture, websocket_talk, within};
use postern_tests::world::target::{Target, check_pattern, pattern};
use postern_tests::world::{Ending, Exchange, Mishap, Person, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stage::{LAB, Outcome, Plant};

/// What `postern connect` ends with when policy says no.
pub(crate) const DENIED: i32 = 4;
/// What `postern connect` ends with when policy says yes and the machine says no.
const NOT_DONE: i32 = 9;

#[tokio::test]
async fn a_panel_opens_for_whom_vnc_is_granted_and_for_nobody_else() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.services().allow("anna", &["hmi"]).allow("bert", &["web"]);
    let world = World::start(LAB, &fleet).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);

    let session = anna.connect("hmi").await?;
    assert!(session.url.starts_with("vnc://127.0.0.1:"), "{}", session.url);
    let (name, picture) = vnc_picture(session.address).await?;
    let (direct_name, direct) = vnc_picture(plant.press.vnc).await?;
    assert_eq!(name, direct_name);
    assert_eq!((picture.width(), picture.height()), (direct.width(), direct.height()));

    expect_no_grant(&bert, "hmi").await
}

#[tokio::test]
async fn a_page_loads_for_whom_http_is_granted_and_for_nobody_else() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.services().allow("anna", &["web"]).allow("bert", &["hmi", "live"]);
    let world = World::start(LAB, &fleet).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);

    let session = anna.connect("web").await?;
    assert!(session.url.starts_with("http://web.press-7.localhost:"), "{}", session.url);
    let through = http_page(&session, "/machine-info").await?;
    assert_eq!(through.status, 200);
    // The page counts hours of operation; everything before its title stands still.
    let direct = http_page(plant.press.web, "/machine-info").await?;
    let head = |page: &Page| page.body.split_once("</title>").map(|(head, _)| head.to_owned());
    assert!(head(&direct).is_some_and(|head| head.contains("Machine info")), "{direct:?}");
    assert_eq!(head(&through), head(&direct));
    assert_eq!(http_page(&session, "/nowhere").await?.status, 404);

    expect_no_grant(&bert, "web").await
}

#[tokio::test]
async fn live_values_come_for_whom_websocket_is_granted_and_http_does_not_imply_it() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.services().allow("anna", &["live"]).allow("bert", &["web"]);
    let world = World::start(LAB, &fleet).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);

    let session = anna.connect("live").await?;
    assert!(session.url.starts_with("ws://"), "{}", session.url);
    let (values, echo) = websocket_talk(&session, "hello").await?;
    assert!(values.contains("\"press-7\""), "{values}");
    assert_eq!(echo, r#"{"echo":"hello"}"#);

    expect_no_grant(&bert, "live").await
}

#[tokio::test]
async fn an_unknown_service_and_a_service_of_others_get_the_same_answer() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let bert = world.person("bert").await?;

    let of_others = bert.refused("echo").await?.expect_code(DENIED)?;
    let unknown = bert.refused("nope").await?.expect_code(DENIED)?;
    assert_eq!(of_others.out, unknown.out);
    assert_eq!(of_others.err.replace("echo", "SERVICE"), unknown.err.replace("nope", "SERVICE"));
    assert_eq!(plant.echo.accepted(), 0, "a refused request reached the machine");
    Ok(())
}

#[tokio::test]
async fn a_listing_shows_what_its_reader_may_use_and_nothing_else() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    assert_eq!(anna.services().await?, ["echo", "hmi", "live", "sink", "source", "web"]);
    assert_eq!(bert.services().await?, ["hmi"]);
    Ok(())
}

#[tokio::test]
async fn each_direction_of_a_tunnel_closes_by_itself() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;

    // The echo answers the end of what it gets with its own end: both must pass, in this order.
    let mut stream = session.exchange().await?;
    within("an echo after half-close", async {
        stream.write_all(b"first").await?;
        let mut first = [0; 5];
        stream.read_exact(&mut first).await?;
        assert_eq!(&first, b"first");
        stream.write_all(b"last").await?;
        stream.shutdown().await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        assert_eq!(rest, b"last");
        Ok(())
    })
    .await?;
    plant.echo.deserted().await;
    Ok(())
}

#[tokio::test]
async fn standard_input_and_output_can_be_the_near_end() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let mut pipe = world.person("anna").await?.pipe("echo")?;

    let mut input = pipe.input.take().expect("a fresh pipe has its input");
    let request =
        "POST / HTTP/1.1\r\nHost: echo\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nover the pipe\r\n0\r\n\r\n";
    input.write_all(request.as_bytes()).await?;
    drop(input);
    let mut answer = Vec::new();
    within("an echo over the pipe", async { Ok(pipe.output.read_to_end(&mut answer).await?) }).await?;
    // The gate writes its own chunks.
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nd\r\nover the pipe\r\n0\r\n\r\n"), "{answer}");
    assert_eq!(pipe.ended().await?, Ending::Code(0));
    Ok(())
}

#[tokio::test]
async fn fifty_megabytes_arrive_unchanged_both_ways() -> Outcome {
    const BYTES: usize = 50 * 1024 * 1024;
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;

    let mut whole = vec![0; BYTES];
    pattern(0, &mut whole);
    let up = anna.connect("sink").await?;
    let mut stream = up.exchange().await?;
    let good = tokio::time::timeout(Duration::from_secs(120), async {
        stream.write_all(&whole).await?;
        stream.shutdown().await?;
        stream.read_u64_le().await
    });
    assert_eq!(good.await.expect("the upload within two minutes")?, BYTES as u64);

    let both = anna.connect("echo").await?;
    let (mut reader, mut writer) = tokio::io::split(both.exchange().await?);
    let exchange = tokio::time::timeout(Duration::from_secs(120), async {
        let write = async {
            writer.write_all(&whole).await?;
            writer.shutdown().await
        };
        let ((), good) = tokio::try_join!(write, check_pattern(&mut reader))?;
        Ok::<_, std::io::Error>(good)
    });
    assert_eq!(exchange.await.expect("the exchange within two minutes")?, BYTES as u64);
    Ok(())
}

#[tokio::test]
async fn a_tunnel_above_the_limit_of_its_service_is_refused_while_the_first_lives() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.services().limit("echo", "tunnels = 1").allow("anna", &["echo"]);
    let world = World::start(LAB, &fleet).await?;
    let session = world.person("anna").await?.connect("echo").await?;

    let mut first = session.exchange().await?;
    assert_eq!(echoed(&mut first, b"one").await?, b"one");
    let second = http_page(&session, "/").await?;
    assert_eq!(second.status, 403);
    assert!(second.body.contains("\"word\":\"concurrency\""), "{}", second.body);
    session.notice("try again when it is free").await?;
    assert_eq!(echoed(&mut first, b"two").await?, b"two");
    assert_eq!(plant.echo.accepted(), 1);

    drop(first);
    plant.echo.deserted().await;
    world
        .device
        .audit_until("the end of the first tunnel", |rows| rows.iter().any(|row| has(row, "closed")))
        .await?;
    let mut third = session.exchange().await?;
    assert_eq!(echoed(&mut third, b"three").await?, b"three");
    Ok(())
}

#[tokio::test]
async fn a_machine_that_is_off_is_no_matter_of_policy() -> Outcome {
    let plant = Plant::start().await?;
    let gone = Target::echo().await?;
    let fleet = plant
        .services()
        .service("off", "vnc", gone.address)
        .service("outside", "vnc", "127.0.0.2:5900".parse().unwrap())
        .allow("anna", &["off", "outside"]);
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    drop(gone);

    expect_failure(&anna, "off", "the machine refused the connection").await?;
    expect_failure(&anna, "outside", "the device may not dial the service's address").await
}

async fn expect_failure(person: &Person, service: &str, sentence: &str) -> Outcome {
    let mut pipe = person.call(["connect", "press-7", service, "--stdio"]).input("").finish().await?;
    pipe = pipe.expect_code(NOT_DONE)?;
    assert!(pipe.err.contains(sentence), "{}", pipe.err);
    Ok(())
}

/// A person is told in one line what happened, what to do next and who can change it.
pub(crate) async fn expect_no_grant(person: &Person, service: &str) -> Outcome {
    let refused = person.refused(service).await?.expect_code(DENIED)?;
    assert_eq!(refused.out, "");
    assert_eq!(refused.err.trim_end().lines().count(), 1, "{}", refused.err);
    for part in [
        service,
        "nothing grants you this service on this device",
        "ask your administrator for an access category that contains it",
        "your administrator",
    ] {
        assert!(refused.err.contains(part), "`{part}` is missing in {}", refused.err);
    }
    Ok(())
}

/// Sends a word to an echo and yields what came back.
pub(crate) async fn echoed(stream: &mut Exchange, word: &[u8]) -> Result<Vec<u8>, Mishap> {
    within("an echo", async {
        stream.write_all(word).await?;
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    })
    .await
}

/// Whether an audit row tells of this event.
pub(crate) fn has(row: &serde_json::Value, event: &str) -> bool {
    row["event"] == event
}
