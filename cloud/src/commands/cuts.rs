//! `device cuts`: what devices have signed about tunnels that they stopped.

use std::path::Path;

use serde_json::{Value, json};

use postern_protocol::id::FleetId;
use postern_protocol::trust::{CutCause, Receipt};

use super::table::table;
use super::{Answer, CommandError, known_among, open};
use crate::clock;
use crate::model::EntityKind;
use crate::store::{DeviceState, KeptReceipt, StoreError, Tx};

pub(super) fn run(state: &Path, name: Option<&str>) -> Result<Answer, CommandError> {
    let kept = open(state)?.read(|tx| {
        let fleet = tx.installation()?.fleet;
        let names = tx.device_names()?;
        let name = name.map(|name| known_among(names.iter().collect(), EntityKind::Device, name));
        let kept = tx.receipts(name.transpose()?.as_ref())?;
        kept.into_iter().map(|kept| verified(tx, fleet, kept)).collect::<Result<Vec<_>, CommandError>>()
    })?;
    let header = ["DEVICE", "CUT AT", "BECAUSE OF", "TUNNELS", "STOPPED WITHIN", "RECEIVED"];
    let text = if kept.is_empty() {
        "no tunnels were cut\n".to_owned()
    } else {
        table(&header, kept.iter().map(row).collect())
    };
    let cuts: Vec<Value> = kept.iter().map(entry).collect();
    Ok(Answer { text, json: json!({ "cuts": cuts }) })
}

/// A receipt, if it holds by itself: the file may have been in other hands.
type Verified = (KeptReceipt, Option<Receipt>);

fn verified(tx: &Tx<'_>, fleet: FleetId, kept: KeptReceipt) -> Result<Verified, CommandError> {
    let device = tx.device(&kept.device)?.ok_or(StoreError::Damaged { what: "device" })?;
    let receipt = kept.signed.verify(&kept.key, fleet, device.id).ok();
    Ok((kept, receipt))
}

fn row((kept, receipt): &Verified) -> Vec<String> {
    let (device, received) = (kept.device.to_string(), clock::show(kept.received));
    let Some(receipt) = receipt else {
        let unknown = || "-".to_owned();
        return vec![
            device,
            "not signed by the device".to_owned(),
            unknown(),
            unknown(),
            unknown(),
            received,
        ];
    };
    let within = match receipt.cause {
        // Before the agent started again, and nobody knows when.
        CutCause::SuddenEnd => "-".to_owned(),
        CutCause::Policy { .. } | CutCause::Lock { .. } | CutCause::Root { .. } | CutCause::Time => {
            format!("{} ms", receipt.stopped_ms)
        }
    };
    vec![device, clock::show(receipt.at), because(receipt), receipt.cut.to_string(), within, received]
}

fn entry((kept, receipt): &Verified) -> Value {
    let mut entry = receipt.as_ref().map_or_else(|| json!({}), summary);
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("device".to_owned(), json!(kept.device));
        entry.insert("received".to_owned(), json!(kept.received));
        entry.insert("signed_by".to_owned(), json!(kept.key.fingerprint()));
        entry.insert("genuine".to_owned(), json!(receipt.is_some()));
    }
    entry
}

/// What one receipt says, for programs.
fn summary(receipt: &Receipt) -> Value {
    let (epoch, version) = match receipt.cause {
        CutCause::Policy { epoch, version } | CutCause::Lock { epoch, sequence: version } => {
            (Some(epoch), Some(version))
        }
        CutCause::Root { version } => (None, Some(version.into())),
        CutCause::Time | CutCause::SuddenEnd => (None, None),
    };
    json!({
        "at": receipt.at, "because_of": receipt.cause.word(), "epoch": epoch, "version": version,
        "tunnels": receipt.cut, "changes": receipt.changes, "stopped_ms": receipt.stopped_ms,
    })
}

/// The change, and how many others are summed up in it.
fn because(receipt: &Receipt) -> String {
    let word = receipt.cause.word();
    let cause = match receipt.cause {
        CutCause::Policy { version, .. } => format!("{word} {version}"),
        CutCause::Lock { sequence, .. } => format!("{word} {sequence}"),
        CutCause::Root { version } => format!("{word} {version}"),
        CutCause::Time | CutCause::SuddenEnd => word.replace('_', " "),
    };
    match receipt.changes.saturating_sub(1) {
        0 => cause,
        more => format!("{cause} and {more} before"),
    }
}

/// The newest cut of a device among the receipts of all, as its listing shows it: for people and for programs.
pub(super) fn last(kept: &[KeptReceipt], device: &DeviceState, fleet: FleetId) -> (String, Value) {
    let newest = kept.iter().find(|kept| kept.device == device.name);
    match newest.and_then(|kept| kept.signed.verify(&kept.key, fleet, device.id).ok()) {
        Some(receipt) => (format!("{} ({})", clock::show(receipt.at), receipt.cut), summary(&receipt)),
        None => ("-".to_owned(), Value::Null),
    }
}
