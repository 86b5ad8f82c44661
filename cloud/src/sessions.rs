//! Sessions as users may see them: their own, or those of others whom they may audit.
//!
//! 1. Whoever asks for sessions of others holds `audit.read`; devices that it covers now count for the time in which they belonged to
//!    the auditor's account or to one nested in it ([`Past::stretches`]).
//! 2. Rows that begin something, permits and refusals, are found for that; for each permit its end is looked up.
//! 3. What the asker may not know is left out: refusals on devices that do not concern them, names of other companies' people, services by
//!    the names of a time before, and what a stranger typed.
//!
//! What does not exist, what is hidden and what never was have one answer: nothing. Deliberately absent: whoever asks and how often (the
//! hub), and any other fact of a device.

use std::collections::BTreeSet;

use postern_protocol::audit::Event;
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::policy::Kind;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::sessions::{
    PageMark, SessionEntry, SessionOutcome, SessionPage, SessionQuery, SessionUser, SessionsOf,
};

use crate::model::{Model, Permission};
use crate::past::{Past, Stretch};
use crate::rights::{Rights, Site};
use crate::store::{Person, StoreError, TrailQuery, TrailRow, Tx};
use crate::trail::is_guessed;
use crate::visibility::visible_devices;

/// What somebody who may audit looks at.
struct Audit {
    company: Name,
    past: Past,
    stretches: Vec<Stretch>,
    /// Only those of whoever has this name.
    user: Option<Name>,
}

/// A page of the sessions that a user asks for; none where the user may audit nobody and asks for others.
///
/// # Errors
/// A [`StoreError`].
pub fn page(
    tx: &Tx<'_>,
    person: &Person,
    query: &SessionQuery,
    now: UnixTime,
) -> Result<Option<SessionPage>, StoreError> {
    let model = tx.model()?;
    let user = match &query.whose {
        SessionsOf::Mine => return own(tx, &model, person, query, now).map(Some),
        SessionsOf::Everybody { .. } => None,
        SessionsOf::User { user, .. } => Some(user.clone()),
    };
    let Some(rights) = Rights::of(&model, &person.name, now) else { return Ok(None) };
    if !rights.permissions().contains(&Permission::ReadAudit) {
        return Ok(None);
    }
    let past = tx.past()?;
    let mut stretches = past.stretches(rights.account());
    let devices: BTreeSet<Name> = stretches.iter().map(|stretch| stretch.device.clone()).collect();
    let covered: BTreeSet<Name> = devices
        .into_iter()
        .filter(|device| rights.over(Permission::ReadAudit, Site::Device(device)))
        .collect();
    stretches.retain(|stretch| covered.contains(&stretch.device));
    let audit = Audit { company: rights.account().clone(), past, stretches, user };
    audit.page(tx, query, now).map(Some)
}

/// The asker's own.
fn own(
    tx: &Tx<'_>,
    model: &Model,
    person: &Person,
    query: &SessionQuery,
    now: UnixTime,
) -> Result<SessionPage, StoreError> {
    // A device that was asked for by its address says no to everybody who may use nothing there; its name is not theirs to know.
    let visible: BTreeSet<Name> = visible_devices(model, &person.name, now).into_iter().collect();
    let mut wanted = TrailQuery { users: Some(vec![person.id]), ..begun(query) };
    if query.device.as_ref().is_some_and(|device| !visible.contains(device)) {
        // Not looked at, so that there is no next page of it either.
        wanted.events = PERMITS;
    }
    let (rows, more) = cut(tx.trail_rows(&wanted)?, query);
    let mut sessions = Vec::new();
    for row in rows {
        let is_refusal = matches!(row.row.event, Event::Denied { .. });
        if !is_refusal || visible.contains(&row.device) {
            let service = row.service.clone();
            sessions.extend(entry(tx, &row, service, None)?);
        }
    }
    Ok(SessionPage { sessions, more })
}

impl Audit {
    fn page(&self, tx: &Tx<'_>, query: &SessionQuery, now: UnixTime) -> Result<SessionPage, StoreError> {
        let users = match &self.user {
            None => None,
            Some(name) => {
                let mut users = tx.users_called(name)?;
                let mut failed = Ok(());
                // Whose name is not the auditor's to know is not found by it.
                users.retain(|id| match tx.past_user(*id) {
                    Ok(user) => user.is_some_and(|user| self.past.knows_last(&self.company, &user, now)),
                    Err(error) => {
                        failed = Err(error);
                        false
                    }
                });
                failed?;
                Some(users)
            }
        };
        let wanted = TrailQuery { within: Some(self.stretches.clone()), users, ..begun(query) };
        let (rows, more) = cut(tx.trail_rows(&wanted)?, query);
        let mut sessions = Vec::new();
        for row in rows {
            let user = row.user.map(|id| self.user(tx, id, row.when)).transpose()?;
            let own = user.as_ref().is_some_and(|user| user.name.is_some());
            if self.user.is_some() && !own {
                continue;
            }
            let told = !is_guessed(&row.row.event, own) && self.past.is_settled(&row.device, row.when);
            let service = row.service.clone().filter(|_| told);
            sessions.extend(entry(tx, &row, service, user)?);
        }
        Ok(SessionPage { sessions, more })
    }

    fn user(&self, tx: &Tx<'_>, id: UserId, at: UnixTime) -> Result<SessionUser, StoreError> {
        let known = tx.past_user(id)?.filter(|user| self.past.knows(&self.company, user, at));
        Ok(SessionUser { id, name: known.map(|user| user.name) })
    }
}

/// What begins a session or refuses one, as far as the query and its page say.
fn begun(query: &SessionQuery) -> TrailQuery {
    // The whole second in which the page before ended; what was looked at of it is skipped.
    let behind = query.after.map(|mark| mark.at.saturating_add(1));
    let until = [query.until, behind].into_iter().flatten().min();
    let seen = query.after.map_or(0, |mark| mark.seen.min(SEEN));
    let size = u32::try_from(query.size()).unwrap_or(u32::MAX);
    TrailQuery {
        device: query.device.clone(),
        events: BEGINNINGS,
        from: query.from,
        until,
        limit: size.saturating_add(seen).saturating_add(1),
        ..TrailQuery::default()
    }
}

/// The rows of one page, newest first, and where the next one begins.
fn cut(rows: Vec<TrailRow>, query: &SessionQuery) -> (Vec<TrailRow>, Option<PageMark>) {
    let mut rows = rows.into_iter().rev().peekable();
    let mut mark = query.after.unwrap_or(PageMark { at: UnixTime::MAX, seen: 0 });
    mark.seen = mark.seen.min(SEEN);
    for _ in 0..mark.seen {
        if rows.next_if(|row| row.when == mark.at).is_none() {
            break;
        }
    }
    let mut page = Vec::new();
    for row in rows.by_ref().take(query.size()) {
        mark = match row.when == mark.at {
            true => PageMark { at: mark.at, seen: mark.seen.saturating_add(1) },
            false => PageMark { at: row.when, seen: 1 },
        };
        page.push(row);
    }
    let more = rows.peek().is_some().then_some(mark);
    (page, more)
}

/// What a row begins, with its end; none for a row that begins nothing.
fn entry(
    tx: &Tx<'_>,
    row: &TrailRow,
    service: Option<Name>,
    user: Option<SessionUser>,
) -> Result<Option<SessionEntry>, StoreError> {
    let outcome = if let Event::Permitted { tunnel, kind, recorded, .. } = &row.row.event {
        ended(tx, &row.device, *tunnel, (*kind, *recorded))?
    } else if let Event::Denied { reason, count, .. } = &row.row.event {
        SessionOutcome::Denied { reason: *reason, count: *count }
    } else {
        return Ok(None);
    };
    Ok(Some(SessionEntry { at: row.row.at, device: row.device.clone(), service, user, outcome }))
}

/// What became of a tunnel that was permitted.
fn ended(
    tx: &Tx<'_>,
    device: &Name,
    tunnel: TunnelId,
    (kind, recorded): (Kind, bool),
) -> Result<SessionOutcome, StoreError> {
    let ends = TrailQuery {
        device: Some(device.clone()),
        tunnel: Some(tunnel),
        events: &["closed", "failed"],
        limit: 1,
        ..TrailQuery::default()
    };
    let end = tx.trail_rows(&ends)?.pop().map(|row| row.row.event);
    Ok(match end {
        Some(Event::Closed { code, to_machine, to_client, seconds, .. }) => {
            SessionOutcome::Ended { tunnel, kind, recorded, code, seconds, to_machine, to_client }
        }
        Some(Event::Failed { failure, .. }) => SessionOutcome::Failed { tunnel, failure },
        None | Some(_) => SessionOutcome::Open { tunnel, kind, recorded },
    })
}

/// The words of events that begin a session or refuse one.
const BEGINNINGS: &[&str] = &["permitted", "denied"];
/// Those that begin one.
const PERMITS: &[&str] = &["permitted"];
/// Sessions of one second that a page can begin behind. More than that of one second are passed over.
const SEEN: u32 = 4096;

#[cfg(test)]
mod tests;
