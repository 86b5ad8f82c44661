//! What one commit costs, and what rows of a trail cost that come in one.

use std::path::Path;
use std::time::Instant;

use postern_cloud::store::StoreError;
use postern_protocol::audit::{Begin, End, Event, LogId, RatchetKey, Row, Taken, chain};

use super::{fleet, found, refused, tell};
use crate::world::Mishap;

/// Writes and reads, a hundred of each in a round.
///
/// # Errors
/// When the cloud refuses something.
pub fn write(state: &Path, rounds: u32) -> Result<(), Mishap> {
    let (store, _) = found::open(state)?;
    let model = store.read::<_, StoreError>(|tx| tx.model()).map_err(refused("the model"))?;
    let Some(device) = model.devices.keys().next() else { return Ok(()) };
    let user = fleet::operator(1, 0).map_err(refused("a name"))?;
    let log = LogId::new([1; 16]);
    let begin =
        Begin { log, first: 1, previous: chain::ORIGIN, sealed_from: 1, key: RatchetKey::new([1; 32]) };
    let begun = store.write(|tx| tx.begin_trail_log(device, &begin, found::NOW));
    begun.map_err(refused("a trail"))?;
    let known = store.read(|tx| tx.trail_log(device, log)).map_err(refused("a trail"))?;
    let Some(number) = known.map(|known| known.number) else { return Ok(()) };
    let mut end = End { seq: 0, link: chain::ORIGIN };
    for _ in 0..rounds {
        timed("commit", || store.write(|tx| tx.log(found::NOW, "benchmark", "note").map(drop)))?;
        timed("note", || store.note(|tx| tx.confirmed(device, found::NOW)))?;
        timed("read", || store.read(|tx| tx.person(&user).map(drop)))?;
        timed("rows", || {
            store.write::<_, StoreError>(|tx| {
                for _ in 0..ROWS {
                    let row = Row { seq: end.seq.saturating_add(1), at: found::NOW, event: Event::Stopped };
                    let damaged = |_| StoreError::Damaged { what: "row" };
                    let (body, link) = chain::append(&end.link, &row).map_err(damaged)?;
                    end = End { seq: row.seq, link };
                    tx.add_trail_row(number, &Taken { row, link }, &body, found::NOW)?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// A hundred times the same; milliseconds for each.
fn timed(row: &str, mut once: impl FnMut() -> Result<(), StoreError>) -> Result<(), Mishap> {
    let begun = Instant::now();
    for _ in 0..100 {
        once().map_err(refused("the store"))?;
    }
    tell(row, "each", begun.elapsed().as_secs_f64() * 10.0);
    Ok(())
}

/// Rows in a commit.
const ROWS: u32 = 64;
