//! What is recorded: a row for each decision, opening, refusal and end, durable before the first byte.

use postern_tests::world::{Ending, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gate::{DENIED, echoed, has};
use super::stage::{LAB, Outcome, Plant};

/// What `postern-agent audit verify` ends with when the trail was changed.
const UNSAFE: i32 = 6;

#[tokio::test]
async fn every_tunnel_has_a_row_for_its_permit_and_one_for_its_end_with_exact_counts() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.fleet().service("flow", "vpn", plant.echo.address).allow("anna", &["flow"]);
    let world = World::start(LAB, &fleet).await?;
    let session = world.person("anna").await?.connect("flow").await?;

    // A plain flow, so that bytes are counted as they are written here.
    let mut stream = TcpStream::connect(session.address).await?;
    let body = [7; 12_345];
    let head = b"POST / HTTP/1.1\r\nHost: echo\r\nTransfer-Encoding: chunked\r\n\r\n3039\r\n";
    let request = [head.as_slice(), &body, b"\r\n0\r\n\r\n"].concat();
    stream.write_all(&request).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", answer.len());
    // The VPN is open for further flows until its user ends it.
    session.interrupt().await?;

    let rows =
        world.device.audit_until("a closed row", |rows| rows.iter().any(|row| has(row, "closed"))).await?;
    let permitted = one(&rows, "permitted");
    let closed = one(&rows, "closed");
    assert_eq!(permitted["service"], "flow");
    assert_eq!(permitted["kind"], "vpn");
    assert_eq!(permitted["tunnel"], closed["tunnel"]);
    assert_eq!(closed["reason"], "done");
    assert_eq!(closed["to_machine"], request.len());
    assert_eq!(closed["to_client"], answer.len());
    let sequence: Vec<u64> = rows.iter().filter_map(|row| row["seq"].as_u64()).collect();
    let expected: Vec<u64> = (1..).take(rows.len()).collect();
    assert_eq!(sequence, expected);
    Ok(())
}

#[tokio::test]
async fn refusals_and_failures_have_rows_with_their_reasons() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant
        .services()
        .service("outside", "vnc", "127.0.0.2:5900".parse().unwrap())
        .allow("anna", &["outside"])
        .allow("bert", &["hmi"]);
    let world = World::start(LAB, &fleet).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    anna.call(["connect", "press-7", "outside", "--stdio"]).input("").finish().await?;
    bert.refused("echo").await?.expect_code(DENIED)?;

    let rows = world
        .device
        .audit_until("both rows", |rows| {
            rows.iter().any(|row| has(row, "denied")) && rows.iter().any(|row| has(row, "failed"))
        })
        .await?;
    let denied = one(&rows, "denied");
    assert_eq!(denied["service"], "echo");
    assert_eq!(denied["reason"], "no_grant", "{denied}");
    assert!(denied["user"].as_str().is_some_and(|user| user.starts_with("usr-")), "{denied}");
    let failed = one(&rows, "failed");
    assert_eq!(failed["reason"], "forbidden_target", "{failed}");
    assert_eq!(failed["tunnel"], one(&rows, "permitted")["tunnel"]);
    Ok(())
}

#[tokio::test]
async fn a_permit_is_on_disk_before_its_first_byte_whatever_happens_next() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;
    let mut stream = session.exchange().await?;
    assert_eq!(echoed(&mut stream, b"first byte").await?, b"first byte");
    assert!(matches!(world.device.kill().await?, Ending::Signal(_)));

    let rows = world.device.audit().await?;
    assert_eq!(one(&rows, "permitted")["service"], "echo");
    assert!(
        !rows.iter().any(|row| has(row, "closed")),
        "an agent that was killed cannot have written an end"
    );
    world.device.run().await?;
    let rows = world.device.audit().await?;
    assert_eq!(rows.iter().filter(|row| has(row, "started")).count(), 2);
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn a_trail_verifies_until_one_byte_of_it_is_changed() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"x").await?, b"x");
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    world.device.stop().await?;
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;

    let path = world.device.state_dir().join("audit.db");
    let mut bytes = std::fs::read(&path)?;
    let place = bytes.windows(4).position(|window| window == b"echo").expect("the service's name in a row");
    bytes[place] = b'E';
    std::fs::write(&path, bytes)?;
    world.device.call(["audit", "verify"]).finish().await?.expect_code(UNSAFE)?;
    Ok(())
}

#[tokio::test]
async fn an_orderly_end_of_the_agent_is_recorded_and_told_to_those_who_are_connected() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;
    let mut stream = session.exchange().await?;
    assert_eq!(echoed(&mut stream, b"x").await?, b"x");
    world.device.stop().await?;
    session.notice("the other side is shutting down").await?;

    let rows = world.device.audit().await?;
    assert_eq!(one(&rows, "closed")["reason"], "shutdown");
    assert!(rows.last().is_some_and(|row| has(row, "stopped")), "{rows:#?}");
    Ok(())
}

/// The only row of this event.
fn one<'a>(rows: &'a [Value], event: &str) -> &'a Value {
    let mut found = rows.iter().filter(|row| has(row, event));
    let (row, second) = (found.next(), found.next());
    assert!(row.is_some() && second.is_none(), "not exactly one `{event}` among {rows:#?}");
    row.unwrap()
}
