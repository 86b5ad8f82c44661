//! Requests for approval, the answers to them, and what is approved for the compiler.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::{Row, params};
use serde::Serialize;

use postern_protocol::id::ApprovalId;
use postern_protocol::name::Name;
use postern_protocol::policy::{Mode, Origin};
use postern_protocol::time::UnixTime;

use super::people::parse_name;
use super::{StoreError, Tx, bytes, secs, time};
use crate::compile::Approved;

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has decided yet.
    Pending,
    /// Approved, for a time that is not over.
    Approved,
    /// Somebody said no.
    Rejected,
    /// What was asked or approved was taken back.
    Revoked,
    /// Nobody decided in time, or what was approved is over.
    Expired,
}

impl ApprovalState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Rejected, Self::Revoked, Self::Expired];

    /// The word in listings, JSON and the state file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|state| state.word() == word);
        found.ok_or(StoreError::Damaged { what: "state of an approval" })
    }
}

/// One request for approval, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApprovalRequest {
    /// Its id.
    pub id: ApprovalId,
    /// Who asks.
    pub user: Name,
    /// The device.
    pub device: Name,
    /// The account to which the device belonged: what its people approved is worth nothing in another one.
    pub account: Name,
    /// The service, by its name on the device.
    pub service: Name,
    /// What demands the approval.
    pub origins: BTreeSet<Origin>,
    /// Whether no more than looking is asked for.
    pub view_only: bool,
    /// For how many seconds.
    pub for_s: u32,
    /// Why, for those who decide.
    pub why: String,
    /// When it was asked.
    pub asked: UnixTime,
    /// The first second in which nobody can approve it any more.
    pub lapses: UnixTime,
    /// Where it stands.
    pub state: ApprovalState,
    /// The last decision on it.
    pub decision: Option<Decision>,
    /// What was approved of it.
    pub given: Option<Given>,
}

/// Who decided on a request, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Who.
    pub by: String,
    /// When.
    pub at: UnixTime,
    /// Why.
    pub why: String,
}

/// What was approved of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Given {
    /// Whether no more than looking.
    pub view_only: bool,
    /// The first second in which it is worth nothing.
    pub until: UnixTime,
}

const COLUMNS: &str = "id, \"user\", device, account, service, origins, view_only, for_s, why, asked, lapses, state, \
                       decider, decided, decided_why, given_view_only, given_until";

impl Tx<'_> {
    /// Keeps a new request, which nobody has decided yet.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn add_approval(&self, request: &ApprovalRequest) -> Result<(), StoreError> {
        let origins = serde_json::to_string(&request.origins)
            .map_err(|_| StoreError::Damaged { what: "origin of an approval" })?;
        self.sql.execute(
            "INSERT INTO approval
                 (id, \"user\", device, account, service, origins, view_only, for_s, why, asked, lapses, state)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                request.id.as_bytes(),
                request.user.as_str(),
                request.device.as_str(),
                request.account.as_str(),
                request.service.as_str(),
                origins,
                request.view_only,
                request.for_s,
                request.why,
                secs(request.asked),
                secs(request.lapses),
                request.state.word(),
            ],
        )?;
        Ok(())
    }

    /// Keeps what became of a request. Codes by which it could have been approved are worth nothing from now on.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn decide_approval(
        &self,
        id: ApprovalId,
        state: ApprovalState,
        decision: &Decision,
        given: Option<Given>,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE approval SET state = ?, decider = ?, decided = ?, decided_why = ?, given_view_only = ?, given_until = ?
             WHERE id = ?",
            params![
                state.word(),
                decision.by,
                secs(decision.at),
                decision.why,
                given.map(|it| it.view_only),
                given.map(|it| secs(it.until)),
                id.as_bytes(),
            ],
        )?;
        self.forget_approval_codes(id)
    }

    /// One request.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn approval(&self, id: ApprovalId) -> Result<Option<ApprovalRequest>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM approval WHERE id = ?"))?;
        let mut rows = query.query(params![id.as_bytes()])?;
        rows.next()?.map(request).transpose()
    }

    /// The open request of a user for a service of a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn pending_approval(
        &self,
        user: &Name,
        device: &Name,
        service: &Name,
    ) -> Result<Option<ApprovalRequest>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM approval WHERE \"user\" = ? AND device = ? AND service = ? AND state = 'pending'"
        ))?;
        let mut rows = query.query(params![user.as_str(), device.as_str(), service.as_str()])?;
        rows.next()?.map(request).transpose()
    }

    /// How many requests of a user are open, and how many about a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn pending_approvals(&self, user: &Name, device: &Name) -> Result<(u32, u32), StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT count(*) FILTER (WHERE \"user\" = ?), count(*) FILTER (WHERE device = ?)
             FROM approval WHERE state = 'pending'",
        )?;
        query.query_row(params![user.as_str(), device.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Requests, the open ones first and of these and of the others the newest, at most `limit`.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn approvals(&self, limit: u32) -> Result<Vec<ApprovalRequest>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM approval ORDER BY state = 'pending' DESC, asked DESC, id LIMIT ?"
        ))?;
        let mut rows = query.query(params![limit])?;
        let mut requests = Vec::new();
        while let Some(row) = rows.next()? {
            requests.push(request(row)?);
        }
        Ok(requests)
    }

    /// What is approved, by device. What has ended since the last look at the clock is among it: devices know the time.
    pub(super) fn approved(&self) -> Result<BTreeMap<Name, Vec<Approved>>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM approval WHERE state = 'approved' ORDER BY id"
        ))?;
        let mut rows = query.query(params![])?;
        let mut approved: BTreeMap<Name, Vec<Approved>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let ApprovalRequest { id, user, device, account, service, origins, given, .. } = request(row)?;
            let Given { view_only, until } = given.ok_or(StoreError::Damaged { what: "approval" })?;
            let mode = if view_only { Mode::ViewOnly } else { Mode::WIDEST };
            let one = Approved { id, user, account, service, origins, mode, until };
            approved.entry(device).or_default().push(one);
        }
        Ok(approved)
    }

    /// Marks as expired what nobody decided in time and what was approved and is over, and forgets what ended long ago. What
    /// was marked is returned; whoever looks into `history` finds it there.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn lapse_approvals(&self, now: UnixTime) -> Result<Vec<ApprovalId>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT id, \"user\", device, service FROM approval
             WHERE (state = 'pending' AND lapses <= ?1) OR (state = 'approved' AND given_until <= ?1) ORDER BY id",
        )?;
        let mut rows = query.query(params![secs(now)])?;
        let mut lapsed = Vec::new();
        while let Some(row) = rows.next()? {
            let id: Vec<u8> = row.get(0)?;
            let about: (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
            lapsed.push((ApprovalId::new(bytes(&id, "id of an approval")?), about));
        }
        for (id, (user, device, service)) in &lapsed {
            self.sql.execute("UPDATE approval SET state = 'expired' WHERE id = ?", params![id.as_bytes()])?;
            self.forget_approval_codes(*id)?;
            self.log(now, "time", &format!("approval {id} of {user} for {device}/{service} expired"))?;
        }
        let forgotten = UnixTime::from_secs(now.as_secs().saturating_sub(KEPT_S));
        let mut delete = self.sql.prepare_cached(
            "DELETE FROM approval WHERE state NOT IN ('pending', 'approved') AND lapses < ?1 AND coalesce(given_until, 0) < ?1",
        )?;
        delete.execute(params![secs(forgotten)])?;
        Ok(lapsed.into_iter().map(|(id, _)| id).collect())
    }
}

fn request(row: Row<'_>) -> Result<ApprovalRequest, StoreError> {
    let id: Vec<u8> = row.get(0)?;
    let name = |at| parse_name(&row.get::<String>(at)?);
    let (origins, state): (String, String) = (row.get(5)?, row.get(11)?);
    let (by, at, why): (Option<String>, Option<i64>, Option<String>) =
        (row.get(12)?, row.get(13)?, row.get(14)?);
    let (view_only, until): (Option<bool>, Option<i64>) = (row.get(15)?, row.get(16)?);
    Ok(ApprovalRequest {
        id: ApprovalId::new(bytes(&id, "id of an approval")?),
        user: name(1)?,
        device: name(2)?,
        account: name(3)?,
        service: name(4)?,
        origins: serde_json::from_str(&origins)
            .map_err(|_| StoreError::Damaged { what: "origin of an approval" })?,
        view_only: row.get(6)?,
        for_s: row.get(7)?,
        why: row.get(8)?,
        asked: time(row.get(9)?),
        lapses: time(row.get(10)?),
        state: ApprovalState::parse(&state)?,
        decision: by.zip(at).map(|(by, at)| Decision { by, at: time(at), why: why.unwrap_or_default() }),
        given: view_only.zip(until).map(|(view_only, until)| Given { view_only, until: time(until) }),
    })
}

/// For how long requests are listed that are over. Who decided what stays in `history`.
const KEPT_S: u64 = 90 * 24 * 3600;
