//! What the trail says that concerns one company, without the name of anybody or anything else's: a document for that company.
//!
//! 1. Of each device the times at which it was the company's, or of a company nested in it ([`Past::stretches`]); rows of other times are
//!    another's.
//! 2. Of each row what is listed in [`told`], and nothing that is not listed: a field that a later version adds is left out until
//!    somebody has thought about it.
//! 3. Users are named whom the company knows as its own ([`Past::knows`]); others are an opaque id and what kind of company they
//!    belong to, and where they called from is left out. Of where a grant comes from the built-in role and the company's own groups are
//!    named: assignments, entries and custom roles are the installation's, and may be called after anybody.
//! 4. What a stranger asked for in vain is named only where a grant or a prohibition of the device contains it. Until a device had a policy of its new company in force, its services and what was done there go by names of the old one, and are
//!    left out.
//!
//! The document is JSON Lines: a head, a line for each row, and an end with their number. It does not verify: whoever hides something in a
//! row changes its digest, and a digest of what is hidden lets anybody try names until one fits. So the lines have no links; each names
//! its row (device, log, sequence), and whoever doubts it has an auditor compare it with an export, which verifies.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use postern_protocol::audit::{AuditLine, Event};
use postern_protocol::id::UserId;
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::Origin;
use postern_protocol::time::UnixTime;

use super::ExportError;
use crate::clock;
use crate::model::{Essential, Model};
use crate::past::{Past, PastUser, Span};
use crate::store::{StoreError, TrailRow, Tx};

/// Which rows a report has.
#[derive(Clone, Debug)]
pub struct Report {
    /// The company.
    pub company: Name,
    /// Written in this time.
    pub span: Span,
}

/// The first line.
#[derive(Serialize)]
struct Head<'a> {
    postern_report: u8,
    account: &'a Name,
    made: String,
    from: Option<String>,
    until: Option<String>,
}

/// The last line: without it the document was cut off.
#[derive(Serialize)]
struct End {
    rows: u64,
}

/// One row, as the company may have it.
#[derive(Serialize)]
struct Told {
    device: Name,
    log: String,
    time: String,
    #[serde(flatten)]
    line: AuditLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    company: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_by: Option<Granted>,
}

/// Where a grant comes from, as far as that is the company's business.
#[derive(Serialize)]
struct Granted {
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// What is looked up for one report.
struct Desk<'a> {
    tx: &'a Tx<'a>,
    model: &'a Model,
    past: Past,
    company: &'a Name,
    users: BTreeMap<UserId, Option<PastUser>>,
}

/// Writes the report; returns how many rows it has.
///
/// # Errors
/// An [`ExportError`].
pub fn report(
    tx: &Tx<'_>,
    report: &Report,
    now: UnixTime,
    out: &mut dyn io::Write,
) -> Result<u64, ExportError> {
    let Report { company, span } = report;
    let (model, past) = (tx.model()?, tx.past()?);
    let shown = |time: UnixTime, unless: UnixTime| (time != unless).then(|| clock::show(time));
    let head = Head {
        postern_report: 1,
        account: company,
        made: clock::show(now),
        from: shown(span.from, UnixTime::EPOCH),
        until: shown(span.until, UnixTime::MAX),
    };
    put(out, &head)?;
    let stretches = past.stretches(company);
    let mut desk = Desk { tx, model: &model, past, company, users: BTreeMap::new() };
    let mut rows = 0;
    for stretch in &stretches {
        let Some(wanted) = stretch.span.and(*span) else { continue };
        for log in tx.trail_logs(&stretch.device)? {
            let mut next = log.first;
            loop {
                let chunk = tx.trail_log_rows(log.number, next, CHUNK)?;
                let Some(last) = chunk.last() else { break };
                next = last.row.seq.saturating_add(1);
                for row in chunk.iter().filter(|row| wanted.contains(row.when)) {
                    put(out, &desk.tell(row)?)?;
                    rows += 1;
                }
            }
        }
    }
    put(out, &End { rows })?;
    Ok(rows)
}

impl Desk<'_> {
    fn tell(&mut self, row: &TrailRow) -> Result<Told, StoreError> {
        let at = row.when;
        let user = match row.user {
            Some(id) => self.user(id)?.cloned(),
            None => None,
        };
        let own = user.filter(|user| self.past.knows(self.company, user, at));
        let company = match (row.user, &own) {
            (None, _) => None,
            (Some(_), Some(_)) => Some("own"),
            (Some(id), None) => Some(self.kind_of(id, at)?),
        };
        let is_settled = self.past.is_settled(&row.device, at);
        Ok(Told {
            device: row.device.clone(),
            log: row.log_id.to_string(),
            time: clock::show(row.row.at),
            line: told(row, own.is_some(), is_settled),
            user_name: own.map(|user| user.name),
            company,
            granted_by: origin(&row.row.event).map(|origin| self.granted(origin)),
        })
    }

    fn user(&mut self, id: UserId) -> Result<Option<&PastUser>, StoreError> {
        if !self.users.contains_key(&id) {
            self.users.insert(id, self.tx.past_user(id)?);
        }
        Ok(self.users.get(&id).and_then(Option::as_ref))
    }

    /// What kind of company somebody belonged to.
    fn kind_of(&mut self, id: UserId, at: UnixTime) -> Result<&'static str, StoreError> {
        let model = self.model;
        let account = self.user(id)?.and_then(|user| user.account_at(at));
        let tenant = account.and_then(|account| model.accounts.get(account)).map(|account| account.tenant);
        Ok(tenant.map_or("unknown", |tenant| tenant.word()))
    }

    fn granted(&self, origin: &Origin) -> Granted {
        let model = self.model;
        let own = |group: &Label, account: Option<&Name>| {
            let is_own = account.is_some_and(|account| model.is_within(account, self.company));
            is_own.then(|| group.to_string())
        };
        let role = |role: &Label| Essential::from_word(role.as_str()).map(|role| role.word().to_owned());
        match origin {
            Origin::Assignment { role: of, group, .. } => {
                let group = group.as_ref().and_then(|group| {
                    let found =
                        group.as_str().parse::<Name>().ok().and_then(|name| model.user_groups.get(&name));
                    own(group, found.map(|group| &group.account))
                });
                Granted { by: "assignment", role: role(of), group }
            }
            Origin::Membership { group, role: of } => {
                let found =
                    group.as_str().parse::<Name>().ok().and_then(|name| model.device_groups.get(&name));
                let group = own(group, found.map(|group| &group.account));
                Granted { by: "membership", role: role(of), group }
            }
            Origin::Entry { .. } => Granted { by: "entry", role: None, group: None },
        }
    }
}

/// Whether the service that an event names is the word of a stranger, which nothing on the device contains: it may be anybody's name.
#[must_use]
pub fn is_guessed(event: &Event, own: bool) -> bool {
    !own && matches!(event, Event::Denied { origin: None, .. })
}

/// What a company is told of a row: each field is named here, so that a new one is left out.
fn told(row: &TrailRow, own: bool, settled: bool) -> AuditLine {
    let line = AuditLine::from(row.row.clone());
    let guessed = is_guessed(&row.row.event, own);
    AuditLine {
        seq: line.seq,
        at: line.at,
        event: line.event,
        tunnel: line.tunnel,
        user: row.user,
        service: row.service.as_ref().filter(|_| settled && !guessed).map(Name::to_string),
        kind: line.kind,
        target: line.target.filter(|_| settled),
        before: line.before,
        mode: line.mode,
        reason: line.reason,
        origin: None,
        peer: line.peer.filter(|_| own),
        path: line.path,
        version: line.version,
        count: line.count,
        to_machine: line.to_machine,
        to_client: line.to_client,
        seconds: line.seconds,
        gate: line.gate,
        recorded: line.recorded,
        digest: line.digest,
        bytes: line.bytes,
        flow: line.flow.filter(|_| settled),
        uid: line.uid,
        detail: line.detail.filter(|_| settled).and_then(|detail| words(&row.row.event, detail)),
    }
}

/// The details of events whose details are of a closed vocabulary, or are what was asked of the company's own machine.
fn words(event: &Event, detail: String) -> Option<String> {
    match event {
        Event::Started { .. }
        | Event::Denied { .. }
        | Event::Requests { .. }
        | Event::Changed { .. }
        | Event::Locked { .. }
        | Event::Unlocked { .. }
        | Event::Enrolled { .. }
        | Event::KeyChanged { .. }
        | Event::RootTaken { .. } => Some(detail),
        // `secret set NAME`: what was done, and not to what.
        Event::Control { .. } => Some(detail.split(' ').take(2).collect::<Vec<_>>().join(" ")),
        // Free text.
        Event::Alarm { .. }
        | Event::Stopped
        | Event::PolicyApplied { .. }
        | Event::PolicyRefused { .. }
        | Event::Permitted { .. }
        | Event::Failed { .. }
        | Event::Closed { .. }
        | Event::Retired { .. }
        | Event::RootRefused { .. }
        | Event::Recorded { .. }
        | Event::RecordingRemoved { .. }
        | Event::Flows { .. }
        | Event::Gap { .. } => None,
    }
}

/// Where the grant of an event comes from.
fn origin(event: &Event) -> Option<&Origin> {
    match event {
        Event::Permitted { origin, .. } | Event::Denied { origin, .. } | Event::Changed { origin, .. } => {
            origin.as_ref()
        }
        Event::Started { .. }
        | Event::Stopped
        | Event::PolicyApplied { .. }
        | Event::PolicyRefused { .. }
        | Event::Failed { .. }
        | Event::Closed { .. }
        | Event::Control { .. }
        | Event::Alarm { .. }
        | Event::Enrolled { .. }
        | Event::KeyChanged { .. }
        | Event::Retired { .. }
        | Event::Locked { .. }
        | Event::Unlocked { .. }
        | Event::RootTaken { .. }
        | Event::RootRefused { .. }
        | Event::Requests { .. }
        | Event::Recorded { .. }
        | Event::RecordingRemoved { .. }
        | Event::Flows { .. }
        | Event::Gap { .. } => None,
    }
}

fn put(out: &mut dyn io::Write, line: &impl Serialize) -> Result<(), ExportError> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Rows that are read at a time.
const CHUNK: u32 = 512;

#[cfg(test)]
mod tests;
