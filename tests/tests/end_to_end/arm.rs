//! The agent of a router: the binary that `POSTERN_AGENT_BIN` names does the main job.

use postern_tests::world::flow::Flow;
use postern_tests::world::probe::{http_page, vnc_picture, websocket_talk};
use postern_tests::world::{Fleet, Mishap, World};

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
    let mut world = World::start(LAB, &fleet).await?;
    let idle = resident_kib(&mut world)?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);

    let (hmi, web, live) =
        (anna.connect("hmi").await?, anna.connect("web").await?, anna.connect("live").await?);
    let (_, picture) = vnc_picture(hmi.address).await?;
    assert_eq!((picture.width(), picture.height()), (640, 400));
    assert_eq!(http_page(&web, "/").await?.status, 200);
    assert_eq!(websocket_talk(&live, "arm").await?.1, r#"{"echo":"arm"}"#);
    bert.refused("web").await?.expect_code(DENIED)?;

    let source = anna.connect("source").await?;
    let flow = Flow::download(&source).await?;
    flow.receives(1024 * 1024).await?;
    let busy = resident_kib(&mut world)?;
    println!("resident memory of the agent: {idle} KiB idle, {busy} KiB with four tunnels, one of them busy");
    if !is_emulated() {
        assert!(idle < 8 * 1024, "{idle} KiB idle, less than 8 MiB is promised");
        assert!(busy < 16 * 1024, "{busy} KiB busy, less than 16 MiB is promised");
    }
    world.apply(&fleet.without_grants_of("anna")).await?;
    flow.end().await?;
    source.notice("your access was withdrawn").await?;
    anna.refused("hmi").await?.expect_code(DENIED)?;
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

/// Under an emulator it is mostly the emulator's memory.
fn is_emulated() -> bool {
    std::env::var("POSTERN_AGENT_BIN").is_ok_and(|line| line.contains("qemu"))
}

fn resident_kib(world: &mut World) -> Result<u64, Mishap> {
    let pid = world.device.running()?.pid().ok_or_else(|| std::io::Error::other("the agent has ended"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    Ok(kib.ok_or_else(|| std::io::Error::other("the kernel tells no resident memory"))?)
}
