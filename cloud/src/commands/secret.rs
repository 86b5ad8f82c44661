//! `secret set`, `secret list` and `secret remove`: passwords of machines, sealed to the device that uses them.
//!
//! 1. The secret is read from the terminal without echo or from standard input, never from an argument.
//! 2. It is sealed to the key that the device announced under its own signature, which is verified again here.
//! 3. One transaction stores the sealed bytes and signs the device's next snapshot with them.
//!
//! Deliberately absent: any way to read one again, and to seal one anew for a device with a new key. Whoever knows the
//! secret sets it again.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Read as _};
use std::path::Path;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::trust::sealed::{Place, Plaintext, seal};

use super::table::table;
use super::{Answer, CommandError, arrival, known, open, operator, publisher};
use crate::model::EntityKind;
use crate::publish::{Affected, Publication};
use crate::store::{StoredSecret, Tx};
use crate::{chance, clock, hub};

pub(super) fn set(state: &Path, device: &str, name: &Name, from_stdin: bool) -> Result<Answer, CommandError> {
    let store = open(state)?;
    // Asked for last: nobody types a password for a device that cannot have one.
    store.read(|tx| recipient(tx, device).map(drop))?;
    let secret = if from_stdin { read()? } else { ask(name)? };
    let (device, publications) = store.write(|tx| {
        let (device, id, device_key, to) = recipient(tx, device)?;
        let stored = tx.secrets(Some(&device))?;
        if stored.len() >= limits::SECRETS && stored.iter().all(|stored| stored.name != *name) {
            return Err(CommandError::TooManySecrets(device));
        }
        let publisher = publisher(state, tx)?;
        let place = Place { fleet: publisher.signer().now().root.fleet, device: id, name };
        let sealed = seal(&to, &place, &secret, Zeroizing::new(chance::bytes()))?;
        let now = clock::now();
        let set = StoredSecret { device: device.clone(), name: name.clone(), device_key, set: now };
        tx.save_secret(&set, &sealed)?;
        tx.log(now, &operator(), &format!("secret set {device} {name}"))?;
        let publications = publisher.publish(tx, Affected::Device(&device), now)?;
        Ok((device, publications))
    })?;
    drop(secret);
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    Ok(Answer {
        text: format!("Secret {name} is set for {device}.\n{arrived}"),
        json: json!({ "device": device, "secret": name, "published": publications, "arrival": arrival }),
    })
}

pub(super) fn list(state: &Path, device: Option<&str>) -> Result<Answer, CommandError> {
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    open(state)?.read(|tx| {
        let device = device.map(|device| known(&tx.model()?, EntityKind::Device, device)).transpose()?;
        for secret in tx.secrets(device.as_ref())? {
            let now = tx.device(&secret.device)?.and_then(|device| device.key);
            let is_stale = now != Some(secret.device_key);
            let state = if is_stale { "stale: set it again" } else { "ok" };
            rows.push(vec![
                secret.device.to_string(),
                secret.name.to_string(),
                clock::show(secret.set),
                secret.device_key.fingerprint().to_string(),
                state.to_owned(),
            ]);
            entries.push(json!({
                "device": secret.device, "name": secret.name, "set": secret.set,
                "device_key": secret.device_key, "state": if is_stale { "stale" } else { "ok" },
            }));
        }
        Ok::<_, CommandError>(())
    })?;
    let header = ["DEVICE", "SECRET", "SET", "FOR DEVICE KEY", "STATE"];
    Ok(Answer { text: table(&header, rows), json: json!({ "secrets": entries }) })
}

pub(super) fn remove(state: &Path, device: &str, name: &Name) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (device, publications): (Name, Vec<Publication>) = store.write(|tx| {
        let device = known(&tx.model()?, EntityKind::Device, device)?;
        if !tx.remove_secret(&device, name)? {
            return Err(CommandError::NoSecret { device, name: name.clone() });
        }
        let now = clock::now();
        tx.log(now, &operator(), &format!("secret remove {device} {name}"))?;
        let publications = publisher(state, tx)?.publish(tx, Affected::Device(&device), now)?;
        Ok((device, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    Ok(Answer {
        text: format!("Secret {name} of {device} is removed.\n{arrived}"),
        json: json!({ "device": device, "secret": name, "published": publications, "arrival": arrival }),
    })
}

/// A device of the model with its id, its key, and the sealing key that is signed by that key.
fn recipient(tx: &Tx<'_>, device: &str) -> Result<Recipient, CommandError> {
    let device = known(&tx.model()?, EntityKind::Device, device)?;
    let state = tx.device(&device)?;
    let enrolled = state.and_then(|state| Some((state.id, state.key?)));
    let Some((id, device_key)) = enrolled else { return Err(CommandError::NotEnrolled(device)) };
    let sealing = tx.announcement(&device)?.and_then(|announced| announced.verify(&device_key).ok());
    let Some(to) = sealing else { return Err(CommandError::NoSealingKey(device)) };
    Ok((device, id, device_key, to))
}

type Recipient = (
    Name,
    postern_protocol::id::DeviceId,
    postern_protocol::trust::PublicKey,
    postern_protocol::trust::sealed::SealingKey,
);

/// Typed twice: nobody sees what was typed, and nobody can look at it later.
fn ask(name: &Name) -> Result<Plaintext, CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::NoTerminal);
    }
    let broken = |error| CommandError::Io { what: "the terminal", error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(broken)?;
    // At Ctrl-C the prompt raises the signal before the terminal echoes again. Caught, it does not end the program there.
    // It is not heeded later either: what follows takes seconds, and is all or nothing.
    let inside = runtime.enter();
    let _caught = signal(SignalKind::interrupt()).map_err(broken)?;
    drop(inside);
    let typed = |prompt: &str| match rpassword::prompt_password(prompt) {
        Ok(typed) => Ok(Zeroizing::new(typed)),
        Err(error) if error.kind() == ErrorKind::Interrupted => Err(CommandError::Interrupted),
        Err(error) => Err(broken(error)),
    };
    let first = typed(&format!("Secret {name}: "))?;
    if first != typed("The same again: ")? {
        return Err(CommandError::SecretsDiffer);
    }
    Ok(Plaintext::new(Zeroizing::new(first.as_bytes().to_vec()))?)
}

/// The first line of standard input, without its end.
fn read() -> Result<Plaintext, CommandError> {
    // One allocation, so that no part of the line stays behind in memory that is not wiped.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    let limit = u64::try_from(LINE_BYTES).unwrap_or(u64::MAX);
    let io = |error| CommandError::Io { what: "standard input", error };
    std::io::stdin().lock().take(limit).read_until(b'\n', &mut line).map_err(io)?;
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    line.truncate(end);
    Ok(Plaintext::new(line)?)
}

/// More than any secret, so that one that is too long is seen to be.
const LINE_BYTES: usize = 1024;
