//! Sets the stage: press, hub, fleet, agent and people.

use super::cast::{CAST, FLEET, Member, SERVICES};
use super::steps::Steps;
use crate::machine::Machine;
use crate::world::{DEVICE, Mishap, Person, World};

/// Everything that runs.
pub(super) struct Stage {
    pub(super) people: Vec<(&'static Member, Person)>,
    pub(super) world: World,
    /// The values that put the simulated press behind the services of the fleet.
    pub(super) targets: Vec<String>,
    pub(super) press: Machine,
}

/// Starts everything and signs everybody in.
pub(super) async fn set(steps: &Steps) -> Result<Stage, Mishap> {
    steps.begin("starting the simulated press");
    let press = Machine::start(SEED).await?;
    let targets = SERVICES.iter().zip([press.vnc, press.web, press.live]);
    let targets: Vec<String> =
        targets.map(|(service, at)| format!("device.{DEVICE}.service.{service}.target={at}")).collect();

    steps.begin("making the keys of a new installation");
    let executable = std::env::current_exe().map_err(Mishap::io("finding the own executable"))?;
    let mut world = World::bare(executable).await?;
    world.hush();
    steps.begin("publishing the fleet `samples/direct-sales.toml`");
    world.hub.apply(FLEET, &targets).await?;
    steps.begin("starting the hub");
    world.hub.serve().await?;
    steps.begin("enrolling the device");
    world.enroll().await?;
    steps.begin("starting the agent");
    world.device.run().await?;
    world.settle().await?;

    let mut people = Vec::new();
    for member in CAST {
        steps.begin(&format!("{} accepts an invitation", member.name));
        people.push((member, world.person(member.name).await?));
    }
    Ok(Stage { people, world, targets, press })
}

/// The press runs the same way each time.
const SEED: u64 = 7;
