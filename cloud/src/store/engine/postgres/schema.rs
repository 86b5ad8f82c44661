//! The tables in PostgreSQL: those of the file, in the same numbers of steps.
//!
//! Nothing is older here than step [`BASE_STEP`], which is made at once. Each later step is in [`LATER`] and in the list of SQLite's, and does the same
//! in both; a test compares what comes out. Text is ordered by its bytes, as in a file. Two tables are of this engine alone: `mark` ([`super`]), and
//! `schema_step`, the number that a file has in its head.

use super::{Database, DatabaseError, Transaction};
use crate::store::StoreError;
use crate::store::engine::{Access, params};

/// The step that the tables have; none where there are none.
fn step(transaction: &Transaction<'_>) -> Result<Option<i64>, StoreError> {
    let there = transaction.prepare("SELECT to_regclass('schema_step') IS NOT NULL")?;
    let mut there = there.query(params![])?;
    let is_there = there.next()?.map(|row| row.try_get::<_, bool>(0)).transpose();
    if !is_there.map_err(|error| DatabaseError::of(&error))?.unwrap_or(false) {
        return Ok(None);
    }
    let number = transaction.prepare("SELECT max(number) FROM schema_step")?;
    let mut number = number.query(params![])?;
    let found = number.next()?.map(|row| row.try_get::<_, Option<i64>>(0)).transpose();
    Ok(found.map_err(|error| DatabaseError::of(&error))?.flatten())
}

/// Makes the tables where there are none. A database with an older installation is left as it is: whoever founds another one is refused.
pub(in crate::store) fn make(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    if step(transaction)?.is_some() {
        return Ok(());
    }
    let session = transaction.session()?;
    session.batch(BASE)?;
    LATER.iter().try_for_each(|later| session.batch(later))?;
    session.batch(&format!("INSERT INTO schema_step (number) VALUES ({})", known()))?;
    Ok(())
}

/// Brings the tables up to date, each step in a transaction of its own.
pub(in crate::store) fn migrate(database: &mut Database) -> Result<(), StoreError> {
    let known = known();
    let found = step(&database.begin(Access::Read)?)?.ok_or(DatabaseError::Empty)?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (number, later) in (BASE_STEP + 1..).zip(LATER) {
        if number <= found {
            continue;
        }
        let transaction = database.begin(Access::Write)?;
        // Another process may have migrated while this one waited for the lock.
        if step(&transaction)?.is_some_and(|now| now < number) {
            let session = transaction.session()?;
            session.batch(later)?;
            session.batch(&format!("UPDATE schema_step SET number = {number}"))?;
            transaction.commit()?;
        }
    }
    Ok(())
}

fn known() -> i64 {
    BASE_STEP.saturating_add(i64::try_from(LATER.len()).unwrap_or(i64::MAX))
}

/// Up to which step of SQLite's the tables are made at once.
pub(in crate::store) const BASE_STEP: i64 = 19;

/// Step `n` of this list makes schema `BASE_STEP + n + 1`. Steps are never edited, only added, here and there.
pub(in crate::store) const LATER: &[&str] = &[];

const BASE: &str = r#"
CREATE TABLE schema_step (number BIGINT NOT NULL);
CREATE TABLE mark (number BIGINT PRIMARY KEY, mark BYTEA NOT NULL);

CREATE TABLE installation (
    "only"    BIGINT PRIMARY KEY CHECK ("only" = 1),
    fleet     BYTEA NOT NULL,
    listen    TEXT COLLATE "C" NOT NULL,
    advertise TEXT COLLATE "C" NOT NULL,
    bound     TEXT COLLATE "C"
);
CREATE TABLE root (version BIGINT PRIMARY KEY, sealed BYTEA NOT NULL);
CREATE TABLE revision (
    number  BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    who     TEXT COLLATE "C" NOT NULL,
    what    TEXT COLLATE "C" NOT NULL,
    added   BIGINT,
    changed BIGINT,
    removed BIGINT
);
CREATE TABLE entity (
    kind     TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    body     TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL REFERENCES revision (number),
    PRIMARY KEY (kind, name)
);
CREATE TABLE change (
    revision BIGINT NOT NULL REFERENCES revision (number),
    kind     TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    before   TEXT COLLATE "C",
    after    TEXT COLLATE "C",
    PRIMARY KEY (revision, kind, name)
);
CREATE INDEX change_entity ON change (kind, name, revision);

CREATE TABLE person (
    name        TEXT COLLATE "C" PRIMARY KEY,
    id          BYTEA NOT NULL UNIQUE,
    disabled    BIGINT NOT NULL DEFAULT 0,
    password    TEXT COLLATE "C",
    otp_secret  BYTEA,
    otp_pending BYTEA,
    otp_step    BIGINT NOT NULL DEFAULT 0,
    passes_from BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE person_key (
    key    BYTEA PRIMARY KEY,
    person TEXT COLLATE "C" NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    used   BIGINT NOT NULL
);
CREATE INDEX person_key_person ON person_key (person);
CREATE TABLE identity (
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    person  TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES person (name) ON DELETE CASCADE,
    linked  BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE TABLE token (
    number     BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    digest     BYTEA NOT NULL UNIQUE,
    person     TEXT COLLATE "C" NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    label      TEXT COLLATE "C" NOT NULL,
    reads_only BIGINT NOT NULL,
    made       BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    used       BIGINT
);
CREATE INDEX token_person ON token (person);
CREATE TABLE invitation (
    digest  BYTEA PRIMARY KEY,
    kind    TEXT COLLATE "C" NOT NULL CHECK (kind IN ('device', 'user')),
    name    TEXT COLLATE "C" NOT NULL,
    expires BIGINT NOT NULL,
    used    BIGINT,
    used_by BYTEA,
    confirm BIGINT NOT NULL DEFAULT 0,
    made    BIGINT,
    made_by TEXT COLLATE "C"
);
CREATE INDEX invitation_name ON invitation (kind, name);

CREATE TABLE device (
    name                TEXT COLLATE "C" PRIMARY KEY,
    id                  BYTEA NOT NULL UNIQUE,
    key                 BYTEA UNIQUE,
    enrolled            BIGINT,
    online              BIGINT NOT NULL DEFAULT 0,
    seen                BIGINT,
    agent               TEXT COLLATE "C",
    addresses           TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    applied             BIGINT,
    refused             BIGINT,
    refused_code        TEXT COLLATE "C",
    refused_final       BIGINT,
    refused_detail      TEXT COLLATE "C",
    sealing             BYTEA,
    next_key            BYTEA,
    confirmed           BIGINT NOT NULL DEFAULT 1,
    retired             BIGINT NOT NULL DEFAULT 0,
    rotate              BIGINT NOT NULL DEFAULT 0,
    life                BYTEA,
    lives               BYTEA NOT NULL DEFAULT '\x',
    boots               BIGINT NOT NULL DEFAULT 0,
    root                BIGINT,
    root_refused        BIGINT,
    root_refused_code   TEXT COLLATE "C",
    root_refused_detail TEXT COLLATE "C",
    confirmed_at        BIGINT,
    log                 BYTEA
);
CREATE UNIQUE INDEX device_next_key ON device (next_key);
CREATE TABLE device_key (
    device TEXT COLLATE "C" NOT NULL,
    key    BYTEA NOT NULL,
    PRIMARY KEY (device, key)
);
CREATE TABLE snapshot (
    device  TEXT COLLATE "C" PRIMARY KEY REFERENCES device (name) ON DELETE CASCADE,
    epoch   BIGINT NOT NULL,
    version BIGINT NOT NULL,
    digest  BYTEA NOT NULL,
    content BYTEA NOT NULL,
    issued  BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    sealed  BYTEA NOT NULL
);
CREATE INDEX snapshot_age ON snapshot (issued, expires);
CREATE TABLE alarm (
    device TEXT COLLATE "C" NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    kind   TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    first  BIGINT NOT NULL,
    last   BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (device, kind)
);
CREATE TABLE secret (
    device     TEXT COLLATE "C" NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    name       TEXT COLLATE "C" NOT NULL,
    device_key BYTEA NOT NULL,
    set_at     BIGINT NOT NULL,
    sealed     BYTEA NOT NULL,
    PRIMARY KEY (device, name)
);
CREATE TABLE lock_rule (
    kind   TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    why    TEXT COLLATE "C" NOT NULL,
    who    TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (kind, name, device)
);
CREATE TABLE device_lock (
    device   TEXT COLLATE "C" PRIMARY KEY REFERENCES device (name) ON DELETE CASCADE,
    epoch    BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    cleared  BIGINT NOT NULL,
    sealed   BYTEA,
    applied  BIGINT NOT NULL
);
CREATE TABLE receipt (
    device   TEXT COLLATE "C" NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    id       BYTEA NOT NULL,
    at       BIGINT NOT NULL,
    received BIGINT NOT NULL,
    key      BYTEA NOT NULL,
    signed   BYTEA NOT NULL,
    PRIMARY KEY (device, id)
);

CREATE TABLE approval (
    id              BYTEA PRIMARY KEY,
    "user"          TEXT COLLATE "C" NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    device          TEXT COLLATE "C" NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    account         TEXT COLLATE "C" NOT NULL,
    service         TEXT COLLATE "C" NOT NULL,
    origins         TEXT COLLATE "C" NOT NULL,
    view_only       BIGINT NOT NULL,
    for_s           BIGINT NOT NULL,
    why             TEXT COLLATE "C" NOT NULL,
    asked           BIGINT NOT NULL,
    lapses          BIGINT NOT NULL,
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'revoked', 'expired')),
    decider         TEXT COLLATE "C",
    decided         BIGINT,
    decided_why     TEXT COLLATE "C",
    given_view_only BIGINT,
    given_until     BIGINT
);
CREATE UNIQUE INDEX approval_pending ON approval ("user", device, service) WHERE state = 'pending';
CREATE INDEX approval_state ON approval (state, asked);
CREATE TABLE approval_code (
    digest   BYTEA PRIMARY KEY,
    approval BYTEA NOT NULL REFERENCES approval (id) ON DELETE CASCADE,
    approver TEXT COLLATE "C" NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    expires  BIGINT NOT NULL
);
CREATE INDEX approval_code_approval ON approval_code (approval);
CREATE INDEX approval_code_approver ON approval_code (approver);

CREATE TABLE account_past (
    account TEXT COLLATE "C" NOT NULL,
    since   BIGINT NOT NULL,
    gone    BIGINT NOT NULL,
    parent  TEXT COLLATE "C",
    PRIMARY KEY (account, since)
);
CREATE TABLE device_past (
    device  TEXT COLLATE "C" NOT NULL,
    since   BIGINT NOT NULL,
    account TEXT COLLATE "C",
    epoch   BIGINT NOT NULL,
    version BIGINT NOT NULL,
    applied BIGINT,
    PRIMARY KEY (device, since)
);
CREATE TABLE user_past (
    id      BYTEA NOT NULL,
    since   BIGINT NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C",
    PRIMARY KEY (id, since)
);
CREATE INDEX user_past_name ON user_past (name);

CREATE TABLE trail_log (
    number     BIGINT PRIMARY KEY,
    device     TEXT COLLATE "C" NOT NULL,
    log        BYTEA NOT NULL,
    first      BIGINT NOT NULL,
    previous   BYTEA NOT NULL,
    began      BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    link       BYTEA NOT NULL,
    ratchet    BIGINT NOT NULL,
    key        BYTEA NOT NULL,
    device_key BYTEA,
    UNIQUE (device, log)
);
CREATE TABLE trail_row (
    log      BIGINT NOT NULL REFERENCES trail_log (number),
    seq      BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    event    TEXT COLLATE "C" NOT NULL,
    "user"   BYTEA,
    tunnel   BYTEA,
    service  TEXT COLLATE "C",
    body     BYTEA NOT NULL,
    link     BYTEA NOT NULL,
    received BIGINT NOT NULL,
    verdict  TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (log, seq)
);
-- With the place behind the time, as an index of SQLite has it by itself: walks are in that order.
CREATE INDEX trail_row_at ON trail_row (at, log, seq);
CREATE INDEX trail_row_log ON trail_row (log, at, seq);
CREATE INDEX trail_row_verdict ON trail_row (verdict, at, log, seq);
CREATE INDEX trail_row_user ON trail_row ("user", at, log, seq) WHERE "user" IS NOT NULL;
CREATE INDEX trail_row_service ON trail_row (service, at, log, seq) WHERE service IS NOT NULL;
CREATE INDEX trail_row_tunnel ON trail_row (tunnel, at, log, seq) WHERE tunnel IS NOT NULL;
CREATE TABLE trail_mark (
    log  BIGINT NOT NULL REFERENCES trail_log (number),
    seq  BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (log, seq, kind)
);
CREATE TABLE trail_fork (
    log      BIGINT NOT NULL REFERENCES trail_log (number),
    seq      BIGINT NOT NULL,
    body     BYTEA NOT NULL,
    received BIGINT NOT NULL,
    PRIMARY KEY (log, seq)
);
CREATE TABLE trail_reading (
    number BIGINT PRIMARY KEY,
    at     BIGINT NOT NULL,
    who    TEXT COLLATE "C" NOT NULL,
    manner TEXT COLLATE "C" NOT NULL,
    what   TEXT COLLATE "C" NOT NULL,
    rows   BIGINT
);
CREATE TABLE parcel (
    hub BYTEA PRIMARY KEY,
    seq BIGINT NOT NULL,
    at  BIGINT NOT NULL
);
"#;
