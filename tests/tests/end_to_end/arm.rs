//! The agent of a router: the binary that `POSTERN_AGENT_BIN` names does the main job.

use postern_tests::world::flow::Flow;
use postern_tests::world::probe::{http_page, vnc_picture, websocket_talk};
use postern_tests::world::{Fleet, World};

use super::gate::DENIED;
use super::stage::{LAB, Outcome, Plant};

/// Enrols, gets a policy, serves and refuses tunnels of all kinds, and cuts one.
///
/// `POSTERN_AGENT_BIN` is a command line that is split at spaces, such as `qemu-arm-static path/to/postern-agent`.
#[tokio::test]
async fn arm_agent_enrols_serves_and_refuses() -> Outcome {
    if std::env::var_os("POSTERN_AGENT_BIN").is_none() {
        println!("SKIPPED arm_agent_enrols_serves_and_refuses: POSTERN_AGENT_BIN names no agent");
        return Ok(());
    }
    let plant = Plant::start().await?;
    let fleet: Fleet =
        plant.services().allow("anna", &["hmi", "web", "live", "source"]).allow("bert", &["hmi"]);
    let world = World::start(LAB, &fleet).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);

    let (hmi, web, live) =
        (anna.connect("hmi").await?, anna.connect("web").await?, anna.connect("live").await?);
    let (_, picture) = vnc_picture(hmi.address).await?;
    assert_eq!((picture.width(), picture.height()), (640, 400));
    assert_eq!(http_page(web.address, "/").await?.status, 200);
    assert_eq!(websocket_talk(live.address, "arm").await?.1, r#"{"echo":"arm"}"#);
    bert.refused("web").await?.expect_code(DENIED)?;

    let source = anna.connect("source").await?;
    let flow = Flow::download(source.address).await?;
    flow.receives(1024 * 1024).await?;
    world.apply(&fleet.without_grants_of("anna")).await?;
    flow.end().await?;
    source.notice("your access was withdrawn").await?;
    anna.refused("hmi").await?.expect_code(DENIED)?;
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}
