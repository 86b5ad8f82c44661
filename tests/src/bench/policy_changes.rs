//! Policy through a real agent: how long a large one takes to be in force, and how long an agent takes from its start to a standing gate.

use std::time::{Duration, Instant};

use super::decisions::large;
use super::proc::resident_kib;
use super::product::{Device, Site};
use super::report::{Column, Grid};
use crate::world::Mishap;

/// Publishes a policy with 5,000 users again and again, and restarts the agent with it.
///
/// # Errors
/// When the device does not follow.
pub fn large_policy(site: &Site, device: &mut Device, rounds: u32) -> Result<Grid, Mishap> {
    let mut grid = Grid::new("activation_agent", "A policy with 5,000 users in a real agent", None, &LARGE);
    let content = large(site.content().target);
    let before = resident_kib(device.pid()?);
    site.hub.publish(device.name(), content)?;
    let after = resident_kib(device.pid()?);
    if let (Some(before), Some(after)) = (before, after) {
        grid.add("postern", "memory", (after - before) / 1024.0);
    }
    for _ in 0..rounds {
        let (begun, acknowledged) = site.hub.publish(device.name(), content)?;
        grid.add("postern", "push", millis(acknowledged - begun));
    }
    for _ in 0..rounds {
        device.stop()?;
        let begun = Instant::now();
        device.start()?;
        grid.add("postern", "start", millis(begun.elapsed()));
    }
    site.hub.settled(device.name())?;
    site.hub.publish(device.name(), site.content())?;
    Ok(grid)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

const LARGE: [Column; 3] = [
    Column { id: "push", title: "published to acknowledged ms" },
    Column { id: "start", title: "start to gate ready ms" },
    Column { id: "memory", title: "memory MiB" },
];
