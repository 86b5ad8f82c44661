//! Without the hub: the device decides from what it has stored, through restarts, and catches up when the hub is back.
//!
//! What these people may do holds while the device is cut off: their roles say so.

use postern_tests::world::flow::Flow;
use postern_tests::world::probe::http_page;
use postern_tests::world::{Fleet, Grant, World};

use super::gate::{DENIED, echoed};
use super::stage::{LAB, Outcome, Plant};

/// Anna may use what the suite uses, Bert the panel only, also without the hub.
fn marked(plant: &Plant) -> Fleet {
    let anna = Grant::new("anna", &["echo", "source", "web"]).offline();
    plant.services().grant(anna).grant(Grant::new("bert", &["hmi"]).offline())
}

#[tokio::test]
async fn decisions_go_on_while_the_hub_is_dead() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::start(LAB, &marked(&plant)).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    let before = anna.connect("echo").await?;
    let mut open = before.exchange().await?;
    assert_eq!(echoed(&mut open, b"before").await?, b"before");
    anna.services().await?;
    bert.services().await?;

    world.hub.kill().await?;
    assert_eq!(echoed(&mut open, b"still").await?, b"still");
    let after = anna.connect("web").await?;
    assert_eq!(http_page(&after, "/").await?.status, 200);
    bert.refused("web").await?.expect_code(DENIED)?;
    assert_eq!(bert.services().await?, ["hmi"]);
    Ok(())
}

#[tokio::test]
async fn an_agent_restarted_without_its_hub_enforces_what_it_has_verified_and_stored() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::start(LAB, &marked(&plant)).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    anna.services().await?;
    bert.services().await?;

    world.hub.kill().await?;
    world.device.kill().await?;
    world.device.run().await?;
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"after").await?, b"after");
    let refused = bert.refused("echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service on this device"), "{}", refused.err);
    Ok(())
}

#[tokio::test]
async fn a_hub_that_comes_back_delivers_the_newest_policy_and_old_tunnels_end() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::start(LAB, &marked(&plant)).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;

    world.hub.stop().await?;
    // Two changes while the device hears nothing: it must end at the second, whatever the first would have allowed.
    world.hub.apply(&plant.services().allow("anna", &["echo", "source"]).to_toml(), &[]).await?;
    world.hub.apply(&plant.services().allow("anna", &["echo"]).to_toml(), &[]).await?;
    flow.receives(1024 * 1024).await?;

    world.hub.serve().await?;
    world.settle().await?;
    flow.end().await?;
    session.notice("your access was withdrawn").await?;
    anna.refused("source").await?.expect_code(DENIED)?;
    let echo = anna.connect("echo").await?;
    assert_eq!(echoed(&mut echo.exchange().await?, b"newest").await?, b"newest");
    Ok(())
}
