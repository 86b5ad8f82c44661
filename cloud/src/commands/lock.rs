//! `lock add`, `lock list` and `lock lift`: what is denied at once, without a change of the model.

use std::path::Path;

use serde_json::{Value, json};

use postern_protocol::name::Name;

use super::table::table;
use super::{Answer, CommandError, arrival, known, open, operator, publisher};
use crate::args::{LockCommand, Lockable};
use crate::clock;
use crate::hub;
use crate::model::EntityKind;
use crate::publish::{Affected, Publisher};
use crate::store::{DeviceState, LockKind, LockRule, Tx};

pub(super) fn run(state: &Path, command: LockCommand) -> Result<Answer, CommandError> {
    match command {
        LockCommand::Add { what, name, on, why } => {
            add(state, &Asked { what, name: &name, on: on.as_deref() }, why.as_deref().unwrap_or_default())
        }
        LockCommand::List => list(state),
        LockCommand::Lift { what, name, on } => lift(state, &Asked { what, name: &name, on: on.as_deref() }),
    }
}

/// What somebody typed.
struct Asked<'a> {
    what: Lockable,
    name: &'a str,
    on: Option<&'a str>,
}

/// The same, known to the model.
struct Place {
    kind: LockKind,
    name: Name,
    on: Option<Name>,
}

fn add(state: &Path, asked: &Asked<'_>, why: &str) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (place, devices) = store.write(|tx| {
        let place = find(tx, asked)?;
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        let Place { kind, name, on } = &place;
        let (who, why) = (operator(), why.to_owned());
        let rule =
            LockRule { kind: *kind, name: name.clone(), on: on.clone(), why, who: who.clone(), at: now };
        tx.add_lock_rule(&rule)?;
        tx.log(now, &who, &format!("lock add {} {name}", kind.word()))?;
        let devices = concerned(tx, &place)?;
        relock(tx, &publisher, &devices)?;
        Ok::<_, CommandError>((place, devices))
    })?;
    hub::notify(state);
    let away: Vec<&str> =
        devices.iter().filter(|device| !device.online).map(|device| device.name.as_str()).collect();
    let mut text =
        format!("{} {} is locked; locks signed: {}.\n", place.kind.word(), place.name, devices.len());
    if !away.is_empty() {
        text.push_str(&format!("Not linked, locked as soon as they are: {}.\n", away.join(", ")));
    }
    let json = json!({ "kind": place.kind, "name": place.name, "on": place.on, "devices": devices.len(), "away": away });
    Ok(Answer { text, json })
}

fn lift(state: &Path, asked: &Asked<'_>) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (place, publications) = store.write(|tx| {
        let place = find(tx, asked)?;
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        let removed = tx.remove_lock_rule(place.kind, &place.name, place.on.as_ref())?;
        if !removed && !holds_unknown(tx, &publisher, &place)? {
            return Err(CommandError::NotLocked { kind: place.kind.word(), name: place.name });
        }
        tx.log(now, &operator(), &format!("lock lift {} {}", place.kind.word(), place.name))?;
        let devices = concerned(tx, &place)?;
        for device in &devices {
            publisher.lift(tx, &device.name)?;
        }
        // What is still locked goes out under a new sequence, before the snapshot that lifts the old ones.
        relock(tx, &publisher, &devices)?;
        let affected = match &place.on {
            Some(device) => Affected::Device(device),
            None if place.kind == LockKind::Device => Affected::Device(&place.name),
            None => Affected::All,
        };
        let publications = publisher.publish(tx, affected, now)?;
        Ok((place, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let count = publications.len();
    let text = format!(
        "{} {} is not locked any more; snapshots signed: {count}. What was cut stays cut.\n{arrived}",
        place.kind.word(),
        place.name
    );
    let json = json!({
        "kind": place.kind, "name": place.name, "on": place.on, "published": publications, "arrival": arrival,
    });
    Ok(Answer { text, json })
}

fn list(state: &Path) -> Result<Answer, CommandError> {
    let (rules, devices) = open(state)?.read(|tx| {
        let epoch = publisher(state, tx)?.epoch();
        let mut devices = Vec::new();
        for name in tx.device_names()? {
            let lock = tx.device_lock(&name, epoch)?;
            if lock.sealed.is_some() {
                devices.push((name, lock));
            }
        }
        Ok::<_, CommandError>((tx.lock_rules()?, devices))
    })?;
    if rules.is_empty() {
        return Ok(Answer {
            text: "nothing is locked\n".to_owned(),
            json: json!({ "locks": [], "devices": [] }),
        });
    }
    let rows = rules.iter().map(|rule| {
        let on = rule.on.as_ref().map_or("every device", Name::as_str).to_owned();
        let (kind, name) = (rule.kind.word().to_owned(), rule.name.to_string());
        vec![kind, name, on, clock::show(rule.at), rule.who.clone(), rule.why.clone()]
    });
    let mut text = table(&["LOCKED", "NAME", "ON", "SINCE", "BY", "WHY"], rows.collect());
    text.push('\n');
    let word = |applied: bool| if applied { "applied" } else { "pending" };
    let rows = devices.iter().map(|(name, lock)| {
        vec![name.to_string(), lock.sequence.to_string(), word(lock.is_applied()).to_owned()]
    });
    text.push_str(&table(&["DEVICE", "LOCK", "STATE"], rows.collect()));
    let devices: Vec<Value> = devices
        .iter()
        .map(
            |(name, lock)| json!({ "device": name, "sequence": lock.sequence, "applied": lock.is_applied() }),
        )
        .collect();
    Ok(Answer { text, json: json!({ "locks": rules, "devices": devices }) })
}

fn find(tx: &Tx<'_>, asked: &Asked<'_>) -> Result<Place, CommandError> {
    let model = tx.model()?;
    let (kind, entity) = match asked.what {
        Lockable::User => (LockKind::User, EntityKind::User),
        Lockable::Device => (LockKind::Device, EntityKind::Device),
        Lockable::Category => (LockKind::Category, EntityKind::Category),
    };
    let name = known(&model, entity, asked.name)?;
    let on = asked.on.map(|on| known(&model, EntityKind::Device, on)).transpose()?;
    // A device is locked where it is.
    let on = if kind == LockKind::Device { None } else { on };
    Ok(Place { kind, name, on })
}

/// Whether a device holds a lock that this state did not sign: after a backup was restored, or a theft of the key.
fn holds_unknown(tx: &Tx<'_>, publisher: &Publisher, place: &Place) -> Result<bool, CommandError> {
    let lock = tx.device_lock(&place.name, publisher.epoch())?;
    Ok(place.kind == LockKind::Device && lock.sealed.is_none() && lock.sequence > lock.cleared)
}

/// The enrolled devices on which something is locked.
fn concerned(tx: &Tx<'_>, place: &Place) -> Result<Vec<DeviceState>, CommandError> {
    let names = match (&place.on, place.kind) {
        (Some(device), _) => vec![device.clone()],
        (None, LockKind::Device) => vec![place.name.clone()],
        (None, LockKind::User | LockKind::Category) => tx.device_names()?,
    };
    let mut devices = Vec::new();
    for name in names {
        devices.extend(tx.device(&name)?.filter(|device| device.key.is_some()));
    }
    Ok(devices)
}

/// Signs what is locked on any device, where that is worth nothing any more.
pub(super) fn relock_all(tx: &Tx<'_>, publisher: &Publisher) -> Result<(), CommandError> {
    if tx.lock_rules()?.is_empty() {
        return Ok(());
    }
    let mut devices = Vec::new();
    for name in tx.device_names()? {
        devices.extend(tx.device(&name)?.filter(|device| device.key.is_some()));
    }
    relock(tx, publisher, &devices)
}

fn relock(tx: &Tx<'_>, publisher: &Publisher, devices: &[DeviceState]) -> Result<(), CommandError> {
    let (rules, now) = (tx.lock_rules()?, clock::now());
    for device in devices {
        publisher.relock(tx, device, &rules, now)?;
    }
    Ok(())
}
