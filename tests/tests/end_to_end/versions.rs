//! Hub, agent and the person's program of the version before and of this one, in every combination through which an upgrade passes.
//!
//! The version before is another build: `POSTERN_PREVIOUS` names its laboratory. It is the last one that speaks `postern-hub/1` alone.

use std::path::{Path, PathBuf};

use postern_tests::programs::Program;
use postern_tests::world::probe::http_page;
use postern_tests::world::{Person, World};

use super::gate::DENIED;
use super::peers::missing;
use super::stage::{LAB, Outcome, Plant};
use super::trail::{alarms, note, same, uploaded};

/// The laboratory of the version before.
fn previous(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("POSTERN_PREVIOUS").map(PathBuf::from);
    let found = named.filter(|file| file.is_file());
    if found.is_none() {
        missing(test, "a build of the version before (`POSTERN_PREVIOUS`)");
    }
    found
}

/// Everything that people need of the three together: a tunnel, a refusal, policy that follows, and rows that are acknowledged.
async fn all_is_well(world: &World, plant: &Plant, [anna, bert]: [&Person; 2]) -> Outcome {
    let session = anna.connect("web").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    let refused = bert.refused("web").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    world.apply(&plant.fleet().without_grants_of("anna")).await?;
    assert!(http_page(&session, "/machine-info").await.map_or(true, |page| page.status != 200));
    anna.refused("web").await?.expect_code(DENIED)?;
    world.apply(&plant.fleet()).await?;
    note(world).await?;
    uploaded(world).await
}

/// Puts this version in the place of the one before, as an operator would: the part ends in order and is started anew.
async fn upgrade(world: &mut World, part: Program) -> Outcome {
    world.shelf().put(part, LAB.as_ref())?;
    match part {
        Program::Cloud => {
            world.hub.stop().await?;
            world.hub.serve().await?;
        }
        Program::Agent => {
            world.device.stop().await?;
            world.device.run().await?;
        }
        // What is called is another one from here on.
        Program::Client | Program::Adapter => {}
    }
    world.settle().await
}

#[tokio::test]
async fn hub_agent_and_client_are_upgraded_in_any_order_and_all_goes_on() -> Outcome {
    const TEST: &str = "hub_agent_and_client_are_upgraded_in_any_order_and_all_goes_on";
    let Some(before) = previous(TEST) else { return Ok(()) };
    let (hub, agent, client) = (Program::Cloud, Program::Agent, Program::Client);
    let orders = [
        [hub, agent, client],
        [hub, client, agent],
        [agent, hub, client],
        [agent, client, hub],
        [client, hub, agent],
        [client, agent, hub],
    ];
    for order in orders {
        println!("{order:?}");
        let plant = Plant::start().await?;
        let mut world = World::start(&before, &plant.fleet()).await?;
        let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
        all_is_well(&world, &plant, [&anna, &bert]).await?;
        for part in order {
            upgrade(&mut world, part).await?;
            all_is_well(&world, &plant, [&anna, &bert]).await?;
            // Who comes new in between signs in as those before.
            let elsewhere = world.second_computer(&anna).await?;
            let session = elsewhere.connect("web").await?;
            assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
            session.interrupt().await?;
        }
        note(&world).await?;
        uploaded(&world).await?;
        // Of one version in the end, with one trail that has every row once, and nothing to be alarmed about.
        same(&world).await?;
        assert_eq!(alarms(&world).await?, Vec::<String>::new());
        world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_ends_has_agents_of_either_version_back() -> Outcome {
    const TEST: &str = "a_hub_that_ends_has_agents_of_either_version_back";
    let Some(before) = previous(TEST) else { return Ok(()) };
    for (hub, agent) in [(PathBuf::from(LAB), before.clone()), (before, LAB.into())] {
        let plant = Plant::start().await?;
        let mut world = World::start(&hub, &plant.fleet()).await?;
        world.shelf().put(Program::Agent, &agent)?;
        world.device.stop().await?;
        world.device.run().await?;
        world.settle().await?;
        world.hub.stop().await?;
        world.hub.serve().await?;
        note(&world).await?;
        uploaded(&world).await?;
        // A hub of the version before tells nobody that it was killed; silence does, after its time.
        if hub == Path::new(LAB) {
            world.hub.kill().await?;
            world.hub.serve().await?;
            note(&world).await?;
            uploaded(&world).await?;
        }
    }
    Ok(())
}
