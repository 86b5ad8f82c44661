//! `alarms` and `alarms clear`: what somebody should look at.

use std::path::Path;

use serde_json::json;

use postern_protocol::name::Name;

use super::table::table;
use super::{Answer, CommandError, known_among, open, operator};
use crate::clock;
use crate::model::EntityKind;
use crate::store::Alarm;

pub(super) fn list(state: &Path) -> Result<Answer, CommandError> {
    let alarms = open(state)?.read(|tx| tx.alarms())?;
    let header = ["DEVICE", "ALARM", "SINCE", "LAST", "COUNT", "DETAIL"];
    let mut text = if alarms.is_empty() {
        "no alarms\n".to_owned()
    } else {
        table(&header, alarms.iter().map(row).collect())
    };
    let mut kinds: Vec<_> = alarms.iter().map(|alarm| alarm.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        text.push_str(&format!("\n{}: {}; {}.\n", kind.word(), kind.sentence(), kind.next_step()));
    }
    Ok(Answer { text, json: json!({ "alarms": alarms }) })
}

pub(super) fn clear(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let (device, cleared) = open(state)?.write(|tx| {
        // Also one that left the model: its alarms are as true as those of others.
        let names = tx.device_names()?;
        let device = known_among(names.iter().collect(), EntityKind::Device, name)?;
        let cleared = tx.clear_alarms(&device)?;
        if cleared > 0 {
            tx.log(clock::now(), &operator(), &format!("alarms clear {device}"))?;
        }
        Ok::<(Name, usize), CommandError>((device, cleared))
    })?;
    let text = match cleared {
        0 => format!("{device} has no alarms.\n"),
        1 => format!("1 alarm of {device} is cleared.\n"),
        many => format!("{many} alarms of {device} are cleared.\n"),
    };
    Ok(Answer { text, json: json!({ "device": device, "cleared": cleared }) })
}

fn row(alarm: &Alarm) -> Vec<String> {
    vec![
        alarm.device.to_string(),
        alarm.kind.word().to_owned(),
        clock::show(alarm.first),
        clock::show(alarm.last),
        alarm.count.to_string(),
        alarm.detail.clone(),
    ]
}
