//! `root publish`: puts a signed root in force on the hub's machine.
//!
//! 1. It is judged as a device judges it: as the successor of the stored root.
//! 2. The keys that it names must be here, or come with the command; they are written beside their places.
//! 3. In one transaction: the root is stored, and every snapshot and lock that it makes worthless is signed anew. A snapshot of a
//!    higher epoch ends the locks of those before: what is locked must be said again, or it would be open.
//! 4. Retired key files are moved aside, and a running hub is told. Devices get the root before anything else.

use std::path::Path;

use serde_json::json;

use postern_protocol::trust::Root;

use super::{Answer, CommandError, Of, RootError, given, read, stored};
use crate::ceremony::differences;
use crate::commands::{lock, open, operator};
use crate::keys::{Exchange, Keys};
use crate::publish::{Affected, Publisher};
use crate::{clock, hub};

pub(super) fn run(state: &Path, path: &Path, keys: &[Of]) -> Result<Answer, CommandError> {
    let (sealed, keys, now) = (read(path)?.sealed().to_vec(), given(keys)?, clock::now());
    let (before, root, signed) = open(state)?.write(|tx| {
        let (_, before) = stored(tx)?;
        let root = before.accept_next(&sealed).map_err(RootError::Refused)?;
        if root.expires <= now {
            return Err(RootError::Expired(clock::show(root.expires)).into());
        }
        Exchange::prepare(state, &root, &keys).map_err(RootError::from)?;
        let missing = Keys::missing(state, &root)?;
        if !missing.is_empty() {
            return Err(RootError::Missing(missing).into());
        }
        tx.save_root(root.version, &sealed)?;
        if root.policy_epoch != before.policy_epoch {
            tx.epoch_begins()?;
        }
        let publisher = Publisher::open(state, tx)?;
        lock::relock_all(tx, &publisher)?;
        let signed = publisher.publish(tx, Affected::All, now)?.len();
        tx.log(now, &operator(), &format!("root publish {}", root.version))?;
        Ok::<_, CommandError>((before, root, signed))
    })?;
    // The root is in force; what fails from here on is said and undoes nothing.
    let settled = Exchange::settle(state, &root);
    hub::notify(state);
    let told = if hub::is_running(state) { "The running hub was told." } else { "No hub is running." };
    let tidied = settled.as_ref().err().map(|error| {
        format!("The key files were not moved into place ({error}); the hub finds them all the same.\n")
    });
    let text = format!(
        "Root version {} is in force:\n  {}\n{signed} policies were signed anew. {told}\n{}\
         `postern-cloud device list` shows which root each device has.\n",
        root.version,
        differences(&before, &root).join("\n  "),
        tidied.unwrap_or_default(),
    );
    Ok(Answer { text, json: report(&root, signed) })
}

fn report(root: &Root, signed: usize) -> serde_json::Value {
    json!({ "version": root.version, "policy_epoch": root.policy_epoch, "expires": root.expires, "signed": signed })
}
