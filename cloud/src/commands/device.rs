//! `device add` and `device list`.

use std::path::Path;

use serde_json::json;

use postern_protocol::trust::Digest;
use postern_protocol::wire::invitation::Invitee;

use super::table::table;
use super::{Answer, CommandError, invitation, known, open};
use crate::clock;
use crate::hub;
use crate::model::EntityKind;
use crate::store::{DeviceState, Invited, SealedTerm};

pub(super) fn add(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let (device, code, expires) = open(state)?.write(|tx| {
        let device = known(&tx.model()?, EntityKind::Device, name)?;
        let code = invitation(state, tx, Invitee::Device)?;
        let expires = clock::now().saturating_add(CODE_S);
        let invited = Invited { invitee: Invitee::Device, name: device.clone() };
        tx.invite(&Digest::of(&[&code.secret]), &invited, expires)?;
        Ok::<_, CommandError>((device, code.to_string(), expires))
    })?;
    let text = format!(
        "On {device}, run this once before {}:\n\npostern-agent enroll {code}\n",
        clock::show(expires)
    );
    Ok(Answer { text, json: json!({ "device": device, "code": code, "expires": expires }) })
}

pub(super) fn list(state: &Path) -> Result<Answer, CommandError> {
    let running = hub::is_running(state);
    let (model, devices, alarms) = open(state)?.read(|tx| {
        let mut devices: Vec<(DeviceState, Option<SealedTerm>)> = Vec::new();
        for device in tx.devices()? {
            let newest = tx.snapshot_term(&device.name)?;
            devices.push((device, newest));
        }
        Ok::<_, CommandError>((tx.model()?, devices, tx.alarms()?))
    })?;
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (device, newest) in devices {
        let account = model.devices.get(&device.name).map(|body| model.path(&body.account));
        // What a hub that was killed has left behind is not the truth.
        let online = device.online && running;
        let latest = newest.map(|term| term.held.version);
        let link = match (&device.key, online) {
            (None, _) => "not enrolled",
            (Some(_), true) => "online",
            (Some(_), false) => "offline",
        };
        let refused = device.refused.as_ref();
        let alarms: Vec<&str> = alarms
            .iter()
            .filter(|alarm| alarm.device == device.name)
            .map(|alarm| alarm.kind.word())
            .collect();
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
            device.seen.map_or_else(|| "never".to_owned(), clock::show),
            if alarms.is_empty() { "-".to_owned() } else { alarms.join(",") },
        ]);
        entries.push(json!({
            "name": device.name,
            "id": device.id,
            "account": account,
            "enrolled": device.key.is_some(),
            "online": online,
            "applied": device.applied,
            "latest": latest,
            "refused": refused.map(|refused| json!({
                "version": refused.version, "code": refused.code, "detail": refused.detail, "final": refused.is_final,
            })),
            "seen": device.seen,
            "agent": device.agent,
            "addresses": device.addresses,
            "alarms": alarms,
        }));
    }
    let header = ["DEVICE", "ACCOUNT", "LINK", "APPLIED", "LATEST", "REFUSED", "SEEN", "ALARMS"];
    Ok(Answer { text: table(&header, rows), json: json!({ "devices": entries }) })
}

/// For how long an enrolment code is good.
const CODE_S: u64 = 24 * 3600;
