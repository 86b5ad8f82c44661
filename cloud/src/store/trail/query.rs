//! Finds rows of trails by conditions, however many there are.
//!
//! 1. The condition that leaves fewest rows chooses the indices that are walked, the newest row first: that of a tunnel, of each user, of each
//!    log, of a service, of a verdict, or of all rows ([`TrailQuery::walks`]).
//! 2. The others are asked of each row on the way. Of all walks together the newest rows are kept, as many as are wanted; a later walk ends
//!    where it comes to older ones.
//! 3. Only these are read and decoded.
//!
//! Rows are ordered by the device's time ([`TrailRow::when`]), and those of one log as they were written. A device that cannot know the time has
//! a lower bound of it, so that rows of two devices may stand in another order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::super::engine::{Row, Value, params};

use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{self, LogId};
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::codec;

use super::super::people::parse_name;
use super::super::{StoreError, Tx, bytes, secs, time};
use super::{CLOSED, LINK, PERMITTED, number};
use crate::past::{Span, Stretch};

/// A row that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailRow {
    /// The device.
    pub device: Name,
    /// The number of its log.
    pub log: i64,
    /// The name of its log.
    pub log_id: LogId,
    /// What it says.
    pub row: audit::Row,
    /// Whom it is about; of a row about a tunnel the user of its permit.
    pub user: Option<UserId>,
    /// Which service it is about; of a row about a tunnel that of its permit.
    pub service: Option<Name>,
    /// Its link.
    pub link: Digest,
    /// When it was written, by which it is ordered: the device's time, and no earlier than that of the row before.
    pub when: UnixTime,
    /// When it arrived.
    pub received: UnixTime,
}

impl TrailRow {
    /// What it comes to, one of [`VERDICTS`](super::VERDICTS).
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        super::verdict(&self.row.event)
    }
}

/// Which rows are wanted. Each condition that is given narrows.
#[derive(Clone, Debug, Default)]
pub struct TrailQuery {
    /// Of this device.
    pub device: Option<Name>,
    /// Of these devices, each in its time; an empty list is nothing.
    pub within: Option<Vec<Stretch>>,
    /// About one of these users; an empty list is nobody.
    pub users: Option<Vec<UserId>>,
    /// About this tunnel.
    pub tunnel: Option<TunnelId>,
    /// About this service.
    pub service: Option<Name>,
    /// With this word as what they come to, one of [`VERDICTS`](super::VERDICTS).
    pub verdict: Option<&'static str>,
    /// With one of these words as their event; none is any.
    pub events: &'static [&'static str],
    /// Written at this time or later.
    pub from: Option<UnixTime>,
    /// Written before this time.
    pub until: Option<UnixTime>,
    /// Rows at most: the newest ones that match.
    pub limit: u32,
}

/// One index that is walked, and what is equal there.
struct Walk {
    index: &'static str,
    equal: Option<(&'static str, Value<'static>)>,
    span: Span,
}

/// Logs that are looked at, each with its times; none is every log.
type Logs = Option<BTreeMap<i64, Vec<Span>>>;

/// A place in the order: time, log, sequence.
type Found = (i64, i64, i64);

impl TrailQuery {
    /// The indices that lead to what is wanted in the shortest way.
    fn walks(&self, logs: &Logs) -> Vec<Walk> {
        let (from, until) = (self.from.unwrap_or(UnixTime::EPOCH), self.until.unwrap_or(UnixTime::MAX));
        let span = Span { from, until };
        let walk = |index, equal| Walk { index, equal, span };
        if let Some(tunnel) = self.tunnel {
            return vec![walk("trail_row_tunnel", Some(("tunnel", blob(tunnel.as_bytes()))))];
        }
        if let Some(users) = &self.users {
            let one = |user: &UserId| walk("trail_row_user", Some(("\"user\"", blob(user.as_bytes()))));
            return users.iter().map(one).collect();
        }
        if let Some(logs) = logs {
            let each = logs.iter().flat_map(|(log, spans)| spans.iter().map(move |one| (*log, *one)));
            let cut = each.filter_map(|(log, one)| Some((log, one.and(span)?)));
            let one = |(log, span)| Walk {
                index: "trail_row_log",
                equal: Some(("log", Value::Integer(log))),
                span,
            };
            return cut.map(one).collect();
        }
        let common = self.verdict.is_none_or(|verdict| [PERMITTED, CLOSED].contains(&verdict));
        vec![match (&self.service, self.verdict) {
            (Some(service), _) if common => {
                walk("trail_row_service", Some(("service", Value::Text(service.to_string().into()))))
            }
            (_, Some(verdict)) => walk("trail_row_verdict", Some(("verdict", Value::Text(verdict.into())))),
            (_, None) => walk("trail_row_at", None),
        }]
    }

    /// What is asked of each row of a walk, in SQL with its values.
    fn conditions(&self, values: &mut Vec<Value<'static>>) -> String {
        let mut conditions = String::new();
        let mut ask = |column: &str, value: Value<'static>| {
            conditions.push_str(&format!(" AND {column} = ?"));
            values.push(value);
        };
        self.service.iter().for_each(|service| ask("service", Value::Text(service.to_string().into())));
        self.verdict.iter().for_each(|verdict| ask("verdict", Value::Text((*verdict).into())));
        if !self.events.is_empty() {
            conditions.push_str(&format!(" AND event IN ({})", vec!["?"; self.events.len()].join(", ")));
            values.extend(self.events.iter().map(|event| Value::Text((*event).into())));
        }
        conditions
    }
}

impl Tx<'_> {
    /// The newest rows that match, the oldest of them first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_rows(&self, query: &TrailQuery) -> Result<Vec<TrailRow>, StoreError> {
        let logs = self.logs_of(query)?;
        let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut newest: BinaryHeap<Reverse<Found>> = BinaryHeap::new();
        for walk in query.walks(&logs) {
            self.walk(query, &walk, &logs, wanted, &mut newest)?;
        }
        let ordered = newest.into_sorted_vec().into_iter().rev();
        ordered.map(|Reverse((_, log, seq))| self.trail_row(log, seq)).collect()
    }

    /// Rows of one log in their order, from `from` on; at most `limit`.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_log_rows(&self, log: i64, from: u64, limit: u32) -> Result<Vec<TrailRow>, StoreError> {
        let select =
            format!("{ROW} WHERE trail_row.log = ? AND trail_row.seq >= ? ORDER BY trail_row.seq LIMIT ?");
        let mut query = self.sql.prepare_cached(&select)?;
        let mut rows = query.query(params![log, number(from)?, limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(trail_row(row)?);
        }
        Ok(found)
    }

    /// Every service that a row names, ascending.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_services(&self) -> Result<Vec<Name>, StoreError> {
        // From each to the next one: the index has a row for each row of the trail.
        let mut query = self.sql.prepare_cached(
            "WITH RECURSIVE one (service) AS (
                 SELECT min(service) FROM trail_row WHERE service IS NOT NULL
                 UNION ALL
                 SELECT (SELECT min(service) FROM trail_row WHERE service > one.service) FROM one
                 WHERE one.service IS NOT NULL
             ) SELECT service FROM one WHERE service IS NOT NULL",
        )?;
        let mut rows = query.query(params![])?;
        let mut services = Vec::new();
        while let Some(row) = rows.next()? {
            services.push(parse_name(&row.get::<String>(0)?)?);
        }
        Ok(services)
    }

    fn trail_row(&self, log: i64, seq: i64) -> Result<TrailRow, StoreError> {
        let select = format!("{ROW} WHERE trail_row.log = ? AND trail_row.seq = ?");
        let mut query = self.sql.prepare_cached(&select)?;
        let mut rows = query.query(params![log, seq])?;
        rows.next()?.ok_or(StoreError::Damaged { what: "audit row" }).and_then(trail_row)
    }

    /// Keeps of one walk what is newer than what is kept already.
    fn walk(
        &self,
        query: &TrailQuery,
        walk: &Walk,
        logs: &Logs,
        wanted: usize,
        newest: &mut BinaryHeap<Reverse<Found>>,
    ) -> Result<(), StoreError> {
        let kept = newest.peek().filter(|_| newest.len() >= wanted).map(|Reverse((at, ..))| *at);
        let (sql, values) = self.statement(query, walk, kept.unwrap_or(0));
        let mut select = self.sql.prepare_cached(&sql)?;
        let mut rows = select.walk(&values)?;
        while let Some(row) = rows.next()? {
            let found: Found = (row.get(0)?, row.get(1)?, row.get(2)?);
            let user: Option<Vec<u8>> = row.get(3)?;
            let is_about =
                |users: &Vec<UserId>| users.iter().any(|id| user.as_deref() == Some(id.as_bytes()));
            if !is_in(logs, found.1, time(found.0)) || !query.users.as_ref().is_none_or(is_about) {
                continue;
            }
            if newest.len() >= wanted {
                if newest.peek().is_none_or(|Reverse(oldest)| *oldest >= found) {
                    break;
                }
                newest.pop();
            }
            newest.push(Reverse(found));
        }
        Ok(())
    }

    /// What one walk asks: its rows from `oldest` on, the newest first.
    fn statement(&self, query: &TrailQuery, walk: &Walk, oldest: i64) -> (String, Vec<Value<'static>>) {
        let (mut equal, mut values) = (String::new(), Vec::new());
        if let Some((column, value)) = &walk.equal {
            equal = format!("{column} = ? AND ");
            values.push(value.clone());
        }
        // A device may claim the end of time, and is listed all the same.
        let last = if walk.span.lasts() { i64::MAX } else { secs(walk.span.until).saturating_sub(1) };
        values.extend([Value::Integer(secs(walk.span.from).max(oldest)), Value::Integer(last)]);
        let conditions = query.conditions(&mut values);
        let through = self.sql.through(walk.index);
        let sql = format!(
            "SELECT at, log, seq, \"user\" FROM trail_row{through} WHERE {equal}at >= ? AND at <= ?{conditions}
             ORDER BY at DESC, log DESC, seq DESC"
        );
        (sql, values)
    }

    fn logs_of(&self, query: &TrailQuery) -> Result<Logs, StoreError> {
        let always = |device: &Name| Stretch { device: device.clone(), span: Span::ALWAYS };
        let stretches: Vec<Stretch> = match (&query.within, &query.device) {
            (None, None) => return Ok(None),
            (None, Some(device)) => vec![always(device)],
            (Some(within), None) => within.clone(),
            (Some(within), Some(device)) => {
                within.iter().filter(|stretch| stretch.device == *device).cloned().collect()
            }
        };
        let mut numbers = self.sql.prepare_cached("SELECT number FROM trail_log WHERE device = ?")?;
        let mut logs: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
        for Stretch { device, span } in stretches {
            let mut rows = numbers.query(params![device.as_str()])?;
            while let Some(row) = rows.next()? {
                logs.entry(row.get(0)?).or_default().push(span);
            }
        }
        Ok(Some(logs))
    }
}

/// Whether a row of a log and a time is one that may be looked at.
fn is_in(logs: &Logs, log: i64, at: UnixTime) -> bool {
    let Some(logs) = logs else { return true };
    logs.get(&log).is_some_and(|spans| spans.iter().any(|span| span.contains(at)))
}

fn blob(bytes: &[u8]) -> Value<'static> {
    Value::Blob(bytes.to_vec().into())
}

fn trail_row(row: Row<'_>) -> Result<TrailRow, StoreError> {
    let (device, log, body): (String, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(2)?, row.get(3)?);
    let (user, service): (Option<Vec<u8>>, Option<String>) = (row.get(4)?, row.get(5)?);
    let link: Vec<u8> = row.get(6)?;
    let user = user.map(|user| bytes(&user, "user id")).transpose()?;
    Ok(TrailRow {
        device: parse_name(&device)?,
        log: row.get(1)?,
        log_id: LogId::new(bytes(&log, "log")?),
        row: codec::decode(&body, ROW_BYTES).map_err(|_| StoreError::Damaged { what: "audit row" })?,
        user: user.map(UserId::new),
        service: service.as_deref().map(parse_name).transpose()?,
        link: Digest::new(bytes(&link, LINK)?),
        when: time(row.get(7)?),
        received: time(row.get(8)?),
    })
}

const ROW: &str = "SELECT trail_log.device, trail_row.log, trail_log.log, trail_row.body, trail_row.\"user\", \
                   trail_row.service, trail_row.link, trail_row.at, trail_row.received \
                   FROM trail_row JOIN trail_log ON trail_log.number = trail_row.log";

#[cfg(test)]
mod tests;
