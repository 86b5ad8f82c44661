//! `review`: all that a user can reach, or all who can reach a device, and why.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::table::table;
use super::words::{Conditions, links};
use super::{Answer, CommandError, known, open};
use crate::args::Reviewed;
use crate::clock;
use crate::compile::Roster;
use crate::fleet::Cut;
use crate::model::{EntityKind, Model};
use crate::nearest::nearest;
use crate::review::{self, Granted, Review, Standing};

pub(super) fn run(
    state: &Path,
    name: &str,
    kind: Option<Reviewed>,
    at: Option<UnixTime>,
) -> Result<Answer, CommandError> {
    let at = at.unwrap_or_else(clock::now);
    let (model, roster) = open(state)?.read(|tx| Ok::<_, CommandError>((tx.model()?, tx.roster()?)))?;
    match kind.map_or_else(|| recognise(&model, name), Ok)? {
        Reviewed::User => of_user(&model, &roster, &known(&model, EntityKind::User, name)?, at),
        Reviewed::Device => of_device(&model, &roster, &known(&model, EntityKind::Device, name)?, at),
    }
}

/// What a name is, where it was not said.
fn recognise(model: &Model, name: &str) -> Result<Reviewed, CommandError> {
    let (users, devices) = (model.names(EntityKind::User), model.names(EntityKind::Device));
    let is = |names: &[&Name]| names.iter().any(|known| known.as_str() == name);
    match (is(&users), is(&devices)) {
        (true, true) => Err(CommandError::Ambiguous(name.to_owned())),
        (true, false) => Ok(Reviewed::User),
        (false, true) => Ok(Reviewed::Device),
        (false, false) => {
            let nearest = nearest(name, users.into_iter().chain(devices).map(Name::as_str));
            let nearest = nearest.map(str::to_owned);
            Err(CommandError::NoSubject { name: Cut(name).to_string(), nearest })
        }
    }
}

fn of_user(model: &Model, roster: &Roster, user: &Name, at: UnixTime) -> Result<Answer, CommandError> {
    let review = review::of_user(model, roster, user, at)?;
    let account = model.users.get(user).map(|user| model.path(&user.account)).unwrap_or_default();
    let (registered, disabled) = standing_of(roster, user);
    let mut text = String::new();
    let devices = review.devices();
    let mark = mark(registered, disabled);
    let _infallible = writeln!(
        text,
        "{user} of {account}{mark} is granted {} on {} at {}.",
        count(review.grants.len(), "service", "services"),
        count(devices, "device", "devices"),
        clock::show(at),
    );
    let rows = review.grants.iter().map(|granted| {
        let mut row = vec![granted.device.to_string()];
        row.extend(cells(granted));
        row
    });
    write_table(&mut text, "DEVICE", rows.collect());
    let json = json!({
        "user": user, "account": account, "registered": registered, "disabled": disabled, "review": review,
    });
    Ok(Answer { text, json })
}

/// All who can reach a device of a model, which need not be stored.
pub(super) fn of_device(
    model: &Model,
    roster: &Roster,
    device: &Name,
    at: UnixTime,
) -> Result<Answer, CommandError> {
    let review = review::of_device(model, roster, device, at)?;
    let account = model.devices.get(device).map(|device| model.path(&device.account)).unwrap_or_default();
    let closed = model.devices.get(device).is_some_and(|device| device.closed);
    let mut text = String::new();
    let _infallible = writeln!(
        text,
        "{device} of {account} is granted to {} at {}{}.",
        count(review.users(), "user", "users"),
        clock::show(at),
        if closed { "; it is closed, so nothing is open to anybody" } else { "" },
    );
    let rows = review.grants.iter().map(|granted| {
        let (registered, disabled) = standing_of(roster, &granted.user);
        let mut row = vec![format!("{}{}", granted.user, mark(registered, disabled))];
        row.extend(cells(granted));
        row
    });
    write_table(&mut text, "USER", rows.collect());
    let json = json!({ "device": device, "account": account, "closed": closed, "review": review });
    Ok(Answer { text, json })
}

/// Whether a user has registered a key, and whether they are disabled.
fn standing_of(roster: &Roster, user: &Name) -> (bool, bool) {
    let user = roster.users.get(user);
    (user.is_some_and(|user| !user.keys.is_empty()), user.is_some_and(|user| user.disabled))
}

const fn mark(registered: bool, disabled: bool) -> &'static str {
    match (registered, disabled) {
        (_, true) => " (disabled)",
        (false, false) => " (not signed in yet)",
        (true, false) => "",
    }
}

fn cells(granted: &Granted) -> [String; 6] {
    let conditions = Conditions {
        not_before: granted.not_before,
        not_after: granted.not_after,
        second_factor_s: granted.second_factor_s,
        needs_case: granted.needs_case,
        mode: granted.mode,
        record: granted.record,
        closed: &granted.closed,
        case: granted.case.as_deref(),
        needs_approval: granted.needs_approval,
        approval: granted.approval,
        offline_s: granted.offline_s,
    };
    [
        granted.service.to_string(),
        granted.kind.word().to_owned(),
        links(&granted.origin).join(" -> "),
        granted.category.clone(),
        conditions.words().unwrap_or_else(|| "always".to_owned()),
        words(&granted.standing),
    ]
}

fn words(standing: &Standing) -> String {
    match standing {
        Standing::Open => "open".to_owned(),
        Standing::Fails { reason } => format!("no: {reason}"),
        Standing::Denied { by, until: None } => format!("no: denied by {by}"),
        Standing::Denied { by, until: Some(until) } => {
            format!("no: denied by {by} until {}", clock::show(*until))
        }
        Standing::Disabled => "no: the user is disabled".to_owned(),
    }
}

fn write_table(text: &mut String, first: &str, rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        let header = [first, "SERVICE", "KIND", "VIA", "CATEGORY", "CONDITIONS", "STATE"];
        text.push_str(&table(&header, rows));
    }
}

fn count(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

impl Review {
    fn devices(&self) -> usize {
        let devices: std::collections::BTreeSet<&Name> =
            self.grants.iter().map(|granted| &granted.device).collect();
        devices.len()
    }

    fn users(&self) -> usize {
        let users: std::collections::BTreeSet<&Name> =
            self.grants.iter().map(|granted| &granted.user).collect();
        users.len()
    }
}
