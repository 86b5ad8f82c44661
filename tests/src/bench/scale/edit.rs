//! Edits that few of many devices feel, and sign-ins with a new key: until what was signed is committed.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use postern_cloud::compile::{affected, warnings};
use postern_cloud::diff::Diff;
use postern_cloud::model::Model;
use postern_cloud::publish::{Affected, PublishError, Publisher};
use postern_cloud::store::Store;
use postern_protocol::name::{Name, NameFault};
use postern_protocol::trust::SecretKey;

use super::{fleet, found, refused, tell};
use crate::world::Mishap;

/// One kind of edit.
struct Edit {
    row: &'static str,
    make: fn(&mut Model) -> Result<(), NameFault>,
    devices: usize,
}

/// Edits and signs in, in rounds. Everything must have been published before.
///
/// # Errors
/// When other devices are affected than expected.
pub fn edit(state: &Path, rounds: u32) -> Result<(), Mishap> {
    let (store, publisher) = found::open(state)?;
    for round in 0..rounds {
        for edit in &EDITS {
            once(&store, &publisher, edit)?;
        }
        let operator = fleet::operator(1, 0).map_err(refused("a name"))?;
        sign_in(&store, &publisher, &operator, round)?;
    }
    Ok(())
}

fn once(store: &Store, publisher: &Publisher, edit: &Edit) -> Result<(), Mishap> {
    // After an edit the next one reads the model again: here that comes before anything counts.
    let old: Arc<Model> =
        store.read::<_, PublishError>(|tx| Ok(tx.model()?)).map_err(refused("the model"))?;
    let mut new = (*old).clone();
    (edit.make)(&mut new).map_err(refused("a name"))?;

    let begun = Instant::now();
    let (diff, _warnings) = (Diff::between(&old, &new), warnings(&new));
    tell(edit.row, "plan", millis(begun));
    let same = affected(&old, &new);
    if diff.affected.len() != edit.devices || same != diff.affected {
        return Err(Mishap::unexpected("affected devices", diff.affected.len(), edit.devices));
    }

    let begun = Instant::now();
    let devices = affected(&old, &new);
    tell(edit.row, "affected", millis(begun));
    let worked = store.write::<_, PublishError>(|tx| {
        let saving = Instant::now();
        tx.save_model(&new, found::NOW, "benchmark", "apply")?;
        tell(edit.row, "save", millis(saving));
        let publishing = Instant::now();
        let affected = Affected::Edit { model: &new, devices: &devices };
        let signed = publisher.publish(tx, affected, found::NOW)?.len();
        tell(edit.row, "publish", millis(publishing));
        Ok((signed, Instant::now()))
    });
    let (signed, at) = worked.map_err(refused("the edit"))?;
    tell(edit.row, "commit", millis(at));
    tell(edit.row, "together", millis(begun));
    if signed != edit.devices {
        return Err(Mishap::unexpected("snapshots that were signed", signed, edit.devices));
    }
    Ok(())
}

/// Somebody signs in with a key that is new, as on another computer.
fn sign_in(store: &Store, publisher: &Publisher, user: &Name, round: u32) -> Result<(), Mishap> {
    store.read::<_, PublishError>(|tx| Ok(tx.model()?)).map_err(refused("the model"))?;
    let mut seed = [11; 32];
    seed.iter_mut().zip(round.to_be_bytes()).for_each(|(byte, number)| *byte = number);
    let key = SecretKey::from_seed(seed).map_err(refused("a key"))?.public();
    let begun = Instant::now();
    let worked = store.write::<_, PublishError>(|tx| {
        tx.register_key(user, &key, found::NOW)?;
        let publishing = Instant::now();
        let signed = publisher.publish(tx, Affected::User(user), found::NOW)?.len();
        tell(SIGN_IN, "publish", millis(publishing));
        Ok((signed, Instant::now()))
    });
    let (signed, at) = worked.map_err(refused("the sign-in"))?;
    tell(SIGN_IN, "commit", millis(at));
    tell(SIGN_IN, "together", millis(begun));
    if signed != 100 {
        return Err(Mishap::unexpected("snapshots that were signed", signed, 100));
    }
    Ok(())
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// The row that P12 is judged by.
pub const HUNDRED: &str = "100 devices";
const SIGN_IN: &str = "sign-in with a new key, 100 devices";
const EDITS: [Edit; 3] = [
    Edit { row: "1 device", make: fleet::move_service, devices: 1 },
    Edit { row: HUNDRED, make: fleet::assign_customer, devices: 100 },
    Edit { row: "10,000 devices", make: fleet::assign_region, devices: 10_000 },
];
