//! The policy of every device: compiled, signed and stored, and the highest memory meanwhile.

use std::path::Path;
use std::time::Instant;

use postern_cloud::publish::{Affected, LIFETIME_S, PublishError};

use super::{fleet, found, refused, tell};
use crate::bench::proc::peak_kib;
use crate::world::Mishap;

/// Publishes everything, first because there is nothing yet, then because half of a lifetime is over each time.
///
/// # Errors
/// When another number of snapshots is signed than there are devices.
pub fn publish(state: &Path, customers: u32, rounds: u32) -> Result<(), Mishap> {
    let (store, publisher) = found::open(state)?;
    let devices = usize::try_from(customers * fleet::DEVICES).unwrap_or(usize::MAX);
    let begun = Instant::now();
    store.read::<_, PublishError>(|tx| Ok(tx.model()?)).map_err(refused("the model"))?;
    tell(ALL, "load", begun.elapsed().as_secs_f64());
    let mut now = found::NOW;
    for _ in 0..rounds.min(ROUNDS) {
        for (column, expected) in [("all", devices), ("again", 0)] {
            let begun = Instant::now();
            let published = store.write(|tx| publisher.publish(tx, Affected::All, now));
            tell(ALL, column, begun.elapsed().as_secs_f64());
            let signed = published.map_err(refused("publishing"))?.len();
            if signed != expected {
                return Err(Mishap::unexpected("snapshots that were signed", signed, expected));
            }
        }
        now = now.saturating_add(LIFETIME_S / 2);
    }
    peak_kib(std::process::id()).into_iter().for_each(|peak| tell(ALL, "peak", peak / 1024.0));
    Ok(())
}

/// The only row.
pub const ALL: &str = "all";
/// Each takes half a minute.
const ROUNDS: u32 = 3;
