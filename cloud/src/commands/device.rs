//! `device add`, `confirm`, `reject`, `rotate-key`, `decommission`, `recommission` and `list`.

use std::path::Path;

use serde_json::json;

use postern_protocol::name::Name;
use postern_protocol::policy::{Freshness, FreshnessRule, FreshnessState};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, Fingerprint};
use postern_protocol::wire::invitation::Invitee;

use super::table::table;
use super::{Answer, CommandError, arrival, cuts, invitation, known, known_among, open, operator, publisher};
use crate::clock;
use crate::hub;
use crate::model::{Device, EntityKind};
use crate::publish::Affected;
use crate::store::{DeviceState, Invited, SealedTerm, Standing, StoreError, Tx};

pub(super) fn add(state: &Path, name: &str, confirm: bool) -> Result<Answer, CommandError> {
    let (device, code, expires) = open(state)?.write(|tx| {
        let device = known(&tx.model()?, EntityKind::Device, name)?;
        let code = invitation(state, tx, Invitee::Device)?;
        let expires = clock::now().saturating_add(CODE_S);
        let invited = Invited { invitee: Invitee::Device, name: device.clone(), confirm };
        tx.invite(&Digest::of(&[&code.secret]), &invited, expires)?;
        Ok::<_, CommandError>((device, code.to_string(), expires))
    })?;
    let mut text = format!(
        "On {device}, run this once before {}:\n\npostern-agent enroll {code}\n",
        clock::show(expires)
    );
    if confirm {
        text.push_str(&format!(
            "\nIt prints the fingerprint of the device's key. Until you have confirmed it, everything is denied there:\n\n\
             postern-cloud device confirm {device} FINGERPRINT\n"
        ));
    }
    let json = json!({ "device": device, "code": code, "expires": expires, "confirm_key": confirm });
    Ok(Answer { text, json })
}

pub(super) fn confirm(state: &Path, name: &str, typed: Fingerprint) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (device, publications) = store.write(|tx| {
        let (device, seen) = waiting(tx, name)?;
        if seen != typed {
            return Err(CommandError::Fingerprint { device: device.name, seen, typed });
        }
        let (publisher, now) = (publisher(state, tx)?, clock::now());
        tx.confirm_device(&device.name)?;
        tx.log(now, &operator(), &format!("device confirm {} {seen}", device.name))?;
        let publications = publisher.publish(tx, Affected::Device(&device.name), now)?;
        Ok((device.name, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let text = format!("The key of {device} is confirmed.\n{arrived}");
    let json =
        json!({ "device": device, "fingerprint": typed, "published": publications, "arrival": arrival });
    Ok(Answer { text, json })
}

pub(super) fn reject(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let (device, seen) = open(state)?.write(|tx| {
        let (device, seen) = waiting(tx, name)?;
        tx.unbind_device(&device.name)?;
        tx.log(clock::now(), &operator(), &format!("device reject {} {seen}", device.name))?;
        Ok::<(Name, Fingerprint), CommandError>((device.name, seen))
    })?;
    hub::notify(state);
    let text = format!(
        "The key {seen} of {device} is forgotten; its code is worth nothing any more.\n\
         If the device is yours, get a new code with `postern-cloud device add {device} --confirm-key`.\n"
    );
    Ok(Answer { text, json: json!({ "device": device, "fingerprint": seen }) })
}

pub(super) fn rotate_key(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let device = open(state)?.write(|tx| {
        let device = enrolled(tx, name)?;
        tx.want_rotation(&device.name)?;
        tx.log(clock::now(), &operator(), &format!("device rotate-key {}", device.name))?;
        Ok::<DeviceState, CommandError>(device)
    })?;
    hub::notify(state);
    let (name, old) = (&device.name, device.key.map(|key| key.fingerprint()));
    let text = format!(
        "{name} is asked for a new key, now or when it links again. `postern-cloud device list` shows the\n\
         fingerprint of the key that it uses; the present one goes on to work until then.\n"
    );
    Ok(Answer { text, json: json!({ "device": name, "fingerprint": old }) })
}

pub(super) fn decommission(state: &Path, name: &str, forget: bool) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (device, publications, forgotten) = store.write(|tx| {
        let device = enrolled(tx, name)?;
        let (publisher, now) = (publisher(state, tx)?, clock::now());
        tx.retire_device(&device.name, true, forget)?;
        let flag = if forget { " --forget" } else { "" };
        tx.log(now, &operator(), &format!("device decommission {}{flag}", device.name))?;
        let publications = publisher.publish(tx, Affected::Device(&device.name), now)?;
        let newest = tx.snapshot_term(&device.name)?.map(|term| term.held.version);
        // It was out of service already, and has said so.
        let forgotten = forget && publications.is_empty() && device.applied == newest;
        if forgotten {
            tx.unbind_device(&device.name)?;
        }
        Ok::<_, CommandError>((device.name, publications, forgotten))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    // It may have acknowledged while this command was looking.
    let now = store.read(|tx| tx.device(&device))?;
    let forgotten = forgotten || now.is_some_and(|device| device.key.is_none());
    let arrived = if forgotten { String::new() } else { arrival::sentence(arrival.as_ref(), &publications) };
    let key = match (forget, forgotten) {
        (true, true) => {
            format!("Its key is forgotten; `postern-cloud device add {device}` enrols it anew.\n")
        }
        (true, false) => "Its key is forgotten as soon as it has acknowledged that.\n".to_owned(),
        (false, _) => {
            format!("It keeps its key; `postern-cloud device recommission {device}` brings it back.\n")
        }
    };
    let text = format!("{device} is out of service: it forgets its users and services.\n{arrived}{key}");
    let json = json!({
        "device": device, "published": publications, "arrival": arrival, "forget": forget, "forgotten": forgotten,
    });
    Ok(Answer { text, json })
}

pub(super) fn recommission(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (device, publications) = store.write(|tx| {
        let device = named(tx, name)?;
        if !device.retired {
            return Err(CommandError::NotRetired(device.name));
        }
        let (publisher, now) = (publisher(state, tx)?, clock::now());
        tx.retire_device(&device.name, false, false)?;
        tx.log(now, &operator(), &format!("device recommission {}", device.name))?;
        let publications = publisher.publish(tx, Affected::Device(&device.name), now)?;
        Ok((device.name, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let text = format!("{device} is in service again.\n{arrived}");
    Ok(Answer { text, json: json!({ "device": device, "published": publications, "arrival": arrival }) })
}

/// A device that has a key.
fn enrolled(tx: &Tx<'_>, name: &str) -> Result<DeviceState, CommandError> {
    let device = named(tx, name)?;
    if device.key.is_some() { Ok(device) } else { Err(CommandError::NotEnrolled(device.name)) }
}

/// A device whose key awaits confirmation, and the key's fingerprint.
fn waiting(tx: &Tx<'_>, name: &str) -> Result<(DeviceState, Fingerprint), CommandError> {
    let device = named(tx, name)?;
    match device.key.map(|key| key.fingerprint()) {
        Some(seen) if device.standing() == Standing::AwaitsConfirmation => Ok((device, seen)),
        Some(_) | None => Err(CommandError::NotWaiting(device.name)),
    }
}

/// A device that is or was in the model.
fn named(tx: &Tx<'_>, name: &str) -> Result<DeviceState, CommandError> {
    let names = tx.device_names()?;
    let name = known_among(names.iter().collect(), EntityKind::Device, name)?;
    Ok(tx.device(&name)?.ok_or(StoreError::Damaged { what: "device" })?)
}

pub(super) fn list(state: &Path) -> Result<Answer, CommandError> {
    let (running, now) = (hub::is_running(state), clock::now());
    let (model, devices, alarms, (fleet, cuts)) = open(state)?.read(|tx| {
        let mut devices: Vec<(DeviceState, Option<SealedTerm>)> = Vec::new();
        for device in tx.devices()? {
            let newest = tx.snapshot_term(&device.name)?;
            devices.push((device, newest));
        }
        let cuts = (tx.installation()?.fleet, tx.receipts(None)?);
        Ok::<_, CommandError>((tx.model()?, devices, tx.alarms()?, cuts))
    })?;
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (device, newest) in devices {
        let account = model.devices.get(&device.name).map(|body| model.path(&body.account));
        // What a hub that was killed has left behind is not the truth.
        let online = device.online && running;
        let latest = newest.map(|term| term.held.version);
        let link = match (&device.key, device.standing(), online) {
            (None, _, _) => "not enrolled",
            (Some(_), Standing::AwaitsConfirmation, _) => "awaits confirmation",
            (Some(_), Standing::Retired, _) => "decommissioned",
            (Some(_), Standing::InService, true) => "online",
            (Some(_), Standing::InService, false) => "offline",
        };
        let fingerprint = device.key.map(|key| key.fingerprint());
        let rule = model.devices.get(&device.name).map_or(Device::FRESHNESS, |body| body.freshness);
        // A device that is here and has the newest asks again before its window ends.
        let is_current = online && device.confirmed_at.is_some() && device.applied == latest;
        let freshness = freshness(device.confirmed_at, rule, now)
            .map(|state| if is_current { FreshnessState::Fresh } else { state });
        let refused = device.refused.as_ref();
        let alarms: Vec<&str> = alarms
            .iter()
            .filter(|alarm| alarm.device == device.name)
            .map(|alarm| alarm.kind.word())
            .collect();
        let (last_cut, last_cut_json) = cuts::last(&cuts, &device, fleet);
        let root = match (device.root, &device.root_refused) {
            (_, Some(refused)) => format!("refused {} ({})", refused.version, refused.code),
            (Some(version), None) => version.to_string(),
            (None, None) => "-".to_owned(),
        };
        let shown =
            |version: Option<u64>| version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        rows.push(vec![
            device.name.to_string(),
            account.clone().unwrap_or_else(|| "(removed)".to_owned()),
            link.to_owned(),
            shown(device.applied),
            shown(latest),
            refused
                .map_or_else(|| "-".to_owned(), |refused| format!("{} ({})", refused.version, refused.code)),
            root,
            freshness.map_or_else(|| "-".to_owned(), |state| state.word().to_owned()),
            device.seen.map_or_else(|| "never".to_owned(), clock::show),
            last_cut,
            if alarms.is_empty() { "-".to_owned() } else { alarms.join(",") },
            fingerprint.map_or_else(|| "-".to_owned(), |fingerprint| fingerprint.to_string()),
        ]);
        entries.push(json!({
            "name": device.name,
            "id": device.id,
            "account": account,
            "enrolled": device.key.is_some(),
            "online": online,
            "applied": device.applied,
            "latest": latest,
            "root": device.root,
            "root_refused": device.root_refused.as_ref().map(|refused| json!({
                "version": refused.version, "code": refused.code, "detail": refused.detail,
            })),
            "refused": refused.map(|refused| json!({
                "version": refused.version, "code": refused.code, "detail": refused.detail, "final": refused.is_final,
            })),
            "freshness": freshness,
            "confirmed": device.confirmed_at,
            "seen": device.seen,
            "agent": device.agent,
            "addresses": device.addresses,
            "alarms": alarms,
            "last_cut": last_cut_json,
            "fingerprint": fingerprint,
            "next_fingerprint": device.next_key.map(|key| key.fingerprint()),
            "awaits_confirmation": device.standing() == Standing::AwaitsConfirmation,
            "decommissioned": device.retired,
        }));
    }
    let header = [
        "DEVICE", "ACCOUNT", "LINK", "APPLIED", "LATEST", "REFUSED", "ROOT", "POLICY", "SEEN", "LAST CUT",
        "ALARMS", "KEY",
    ];
    Ok(Answer { text: table(&header, rows), json: json!({ "devices": entries }) })
}

/// What a device's policy is worth to it, as far as can be known here: it counts from the last question whose answer
/// confirmed it. A device that was restarted since then may have spent more of its time without the cloud.
fn freshness(confirmed: Option<UnixTime>, rule: FreshnessRule, now: UnixTime) -> Option<FreshnessState> {
    let fresh_until = confirmed?.saturating_add(u64::from(rule.window_s));
    let offline_until = fresh_until.saturating_add(u64::from(rule.offline_s));
    Some(Freshness { fresh_until, offline_until }.state(now))
}

/// For how long an enrolment code is good.
const CODE_S: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_device_s_freshness_counts_from_its_last_question() {
        let (rule, at) = (FreshnessRule { window_s: 900, offline_s: 3600 }, UnixTime::from_secs);
        let seen = |confirmed, now| freshness(confirmed, rule, at(now));
        assert_eq!(seen(None, 1000), None);
        assert_eq!(seen(Some(at(1000)), 1899), Some(FreshnessState::Fresh));
        assert_eq!(seen(Some(at(1000)), 1900), Some(FreshnessState::Stale));
        assert_eq!(seen(Some(at(1000)), 5500), Some(FreshnessState::Expired));
    }
}
