//! The tables, and how an older file becomes a newer one.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Brings the schema up to date, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Damaged { what: "schema number" })?;
    for (position, step) in STEPS.iter().enumerate().skip(done) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have migrated while this one waited for the lock.
        let now: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let number = i64::try_from(position).unwrap_or(i64::MAX).saturating_add(1);
        if now < number {
            tx.execute_batch(step)?;
            tx.pragma_update(None, "user_version", number)?;
            tx.commit()?;
        }
    }
    Ok(())
}

/// Step `n` makes schema `n + 1`. Steps are never edited, only added.
pub(super) const STEPS: &[&str] = &["
CREATE TABLE installation (
    only      INTEGER PRIMARY KEY CHECK (only = 1),
    fleet     BLOB NOT NULL,
    listen    TEXT NOT NULL,
    advertise TEXT NOT NULL,  -- JSON list of addresses
    bound     TEXT            -- where `serve` listened last
) STRICT;

CREATE TABLE root (version INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;

CREATE TABLE revision (
    number INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    what   TEXT NOT NULL
) STRICT;

CREATE TABLE entity (
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    body     TEXT NOT NULL,
    revision INTEGER NOT NULL REFERENCES revision (number),
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE person (
    name         TEXT PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    disabled     INTEGER NOT NULL DEFAULT 0,
    password     TEXT,                         -- PHC string
    otp_secret   BLOB,                         -- in force
    otp_pending  BLOB,                         -- handed out, not used yet
    otp_step     INTEGER NOT NULL DEFAULT 0    -- the last step whose code was used
) STRICT, WITHOUT ROWID;

CREATE TABLE person_key (
    key    BLOB PRIMARY KEY,
    person TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    used   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX person_key_person ON person_key (person);

CREATE TABLE device (
    name            TEXT PRIMARY KEY,
    id              BLOB NOT NULL UNIQUE,
    key             BLOB UNIQUE,
    enrolled        INTEGER,
    online          INTEGER NOT NULL DEFAULT 0,
    seen            INTEGER,
    agent           TEXT,
    addresses       TEXT NOT NULL DEFAULT '[]',
    applied         INTEGER,                    -- version in force on the device, as it says
    refused         INTEGER,                    -- version that it refused
    refused_code    TEXT,
    refused_final   INTEGER,                    -- whether it is pointless to push that version again
    refused_detail  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot (
    device  TEXT PRIMARY KEY REFERENCES device (name) ON DELETE CASCADE,
    epoch   INTEGER NOT NULL,
    version INTEGER NOT NULL,
    digest  BLOB NOT NULL,   -- of the signed payload
    content BLOB NOT NULL,   -- of policy and addressee
    issued  INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    sealed  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE invitation (
    digest  BLOB PRIMARY KEY,
    kind    TEXT NOT NULL CHECK (kind IN ('device', 'user')),
    name    TEXT NOT NULL,
    expires INTEGER NOT NULL,
    used    INTEGER,
    used_by BLOB
) STRICT, WITHOUT ROWID;
", "
-- Members of a user group may end: a list of names becomes a table.
UPDATE entity SET body = json_set(body, '$.members', json(coalesce(
    (SELECT json_group_object(member.value, json('{\"until\":null}')) FROM json_each(body, '$.members') AS member),
    '{}')))
WHERE kind = 'user-group' AND json_type(body, '$.members') = 'array';

-- What a revision did to the model; unknown for those before.
ALTER TABLE revision ADD COLUMN added   INTEGER;
ALTER TABLE revision ADD COLUMN changed INTEGER;
ALTER TABLE revision ADD COLUMN removed INTEGER;

-- Which snapshots grow old is asked every minute.
CREATE INDEX IF NOT EXISTS snapshot_age ON snapshot (issued, expires);
", "
-- What somebody should look at: one row for each device and kind, however often it happens.
CREATE TABLE alarm (
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (device, kind)
) STRICT, WITHOUT ROWID;
", "
-- What a device says about the key to which its secrets are sealed: the key and a signature by the device's key.
ALTER TABLE device ADD COLUMN sealing BLOB;

-- Sealed to one device; nobody else can read them, this file included.
CREATE TABLE secret (
    device     TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    device_key BLOB NOT NULL,   -- the key of the device when it was set
    set_at     INTEGER NOT NULL,
    sealed     BLOB NOT NULL,
    PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;
", "
-- From when on passes of a user count: signing out everywhere raises it.
ALTER TABLE person ADD COLUMN passes_from INTEGER NOT NULL DEFAULT 0;
", "
-- The life of a device's key: waits for confirmation, is about to be replaced, is out of service.
ALTER TABLE device ADD COLUMN next_key  BLOB;                       -- announced, not used yet
ALTER TABLE device ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 1; -- whether somebody has compared the key, or need not
ALTER TABLE device ADD COLUMN retired   INTEGER NOT NULL DEFAULT 0; -- 1: out of service; 2: its key is forgotten then
ALTER TABLE device ADD COLUMN rotate    INTEGER NOT NULL DEFAULT 0; -- whether it is asked for a new key
-- By which copies of a device are noticed.
ALTER TABLE device ADD COLUMN life      BLOB;                       -- the process that linked last
ALTER TABLE device ADD COLUMN lives     BLOB NOT NULL DEFAULT x'';  -- those before it, 16 bytes each, newest first
ALTER TABLE device ADD COLUMN boots     INTEGER NOT NULL DEFAULT 0; -- the highest count of starts
CREATE UNIQUE INDEX device_next_key ON device (next_key);
ALTER TABLE invitation ADD COLUMN confirm INTEGER NOT NULL DEFAULT 0; -- whether the key must be confirmed
", "
-- What is locked, on one device or (empty) on all, and the newest lock that was signed for each.
CREATE TABLE lock_rule (
    kind   TEXT NOT NULL,
    name   TEXT NOT NULL,
    device TEXT NOT NULL,
    why    TEXT NOT NULL,
    who    TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (kind, name, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE device_lock (
    device   TEXT PRIMARY KEY REFERENCES device (name) ON DELETE CASCADE,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    cleared  INTEGER NOT NULL,
    sealed   BLOB,
    applied  INTEGER NOT NULL
) STRICT;
", "
-- Which root is in force on a device, as it says, and which it refused.
ALTER TABLE device ADD COLUMN root INTEGER;
ALTER TABLE device ADD COLUMN root_refused INTEGER;
ALTER TABLE device ADD COLUMN root_refused_code TEXT;
ALTER TABLE device ADD COLUMN root_refused_detail TEXT;
", "
-- When a device last asked what is newest and held just that.
ALTER TABLE device ADD COLUMN confirmed_at INTEGER;
", "
-- What devices have signed about tunnels that they stopped.
CREATE TABLE receipt (
    device   TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    id       BLOB NOT NULL,
    at       INTEGER NOT NULL,
    received INTEGER NOT NULL,
    key      BLOB NOT NULL,   -- of the device, by which it is verified
    signed   BLOB NOT NULL,
    PRIMARY KEY (device, id)
) STRICT, WITHOUT ROWID;
", "
-- Every key that a device ever had: a checkpoint may be by an earlier one.
CREATE TABLE device_key (
    device TEXT NOT NULL,
    key    BLOB NOT NULL,
    PRIMARY KEY (device, key)
) STRICT, WITHOUT ROWID;
INSERT INTO device_key SELECT name, key FROM device WHERE key IS NOT NULL;
-- The log that a device had last, so that another one is noticed.
ALTER TABLE device ADD COLUMN log BLOB;

-- The trails of devices. Nothing refers to `device`: what happened outlives it.
CREATE TABLE trail_log (
    number     INTEGER PRIMARY KEY,
    device     TEXT NOT NULL,
    log        BLOB NOT NULL,
    first      INTEGER NOT NULL,
    previous   BLOB NOT NULL,    -- link of the row before the first
    began      INTEGER NOT NULL,
    seq        INTEGER NOT NULL, -- the newest row that was taken
    link       BLOB NOT NULL,
    ratchet    INTEGER NOT NULL, -- the row whose key follows
    key        BLOB NOT NULL,    -- verifies that row, and none before it
    device_key BLOB,             -- the device key in force, as the rows say
    UNIQUE (device, log)
) STRICT;
CREATE TABLE trail_row (
    log      INTEGER NOT NULL REFERENCES trail_log (number),
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL, -- the device's time
    event    TEXT NOT NULL,
    user     BLOB,
    tunnel   BLOB,
    service  TEXT,
    body     BLOB NOT NULL,
    link     BLOB NOT NULL,
    received INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX trail_row_received ON trail_row (received);
CREATE INDEX trail_row_user ON trail_row (user, at) WHERE user IS NOT NULL;
CREATE INDEX trail_row_tunnel ON trail_row (tunnel) WHERE tunnel IS NOT NULL;
CREATE TABLE trail_mark (
    log  INTEGER NOT NULL REFERENCES trail_log (number),
    seq  INTEGER NOT NULL,
    kind INTEGER NOT NULL, -- 0: a checkpoint of the device; 1: an acknowledgement
    body BLOB NOT NULL,
    PRIMARY KEY (log, seq, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE trail_fork (
    log      INTEGER NOT NULL REFERENCES trail_log (number),
    seq      INTEGER NOT NULL,
    body     BLOB NOT NULL,    -- what was sent second
    received INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;
", "
-- Who asks for access that somebody of the machine's own company must approve, and what became of it.
CREATE TABLE approval (
    id              BLOB PRIMARY KEY,
    user            TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    device          TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    account         TEXT NOT NULL,    -- of the device when it was asked
    service         TEXT NOT NULL,
    origins         TEXT NOT NULL,    -- JSON: what demands it
    view_only       INTEGER NOT NULL, -- what is asked for
    for_s           INTEGER NOT NULL,
    why             TEXT NOT NULL,
    asked           INTEGER NOT NULL,
    lapses          INTEGER NOT NULL, -- when nobody can approve it any more
    state           TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'revoked', 'expired')),
    decider         TEXT,
    decided         INTEGER,
    decided_why     TEXT,
    given_view_only INTEGER,
    given_until     INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX approval_pending ON approval (user, device, service) WHERE state = 'pending';
CREATE INDEX approval_state ON approval (state, asked);
", "
-- What each revision did to each entity: its stored form before and after.
CREATE TABLE change (
    revision INTEGER NOT NULL REFERENCES revision (number),
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    before   TEXT,
    after    TEXT,
    PRIMARY KEY (revision, kind, name)
) STRICT, WITHOUT ROWID;

-- What programs bring to the API, by the digest of its secret.
CREATE TABLE token (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     BLOB NOT NULL UNIQUE,
    person     TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    label      TEXT NOT NULL,
    reads_only INTEGER NOT NULL,
    made       INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    used       INTEGER
) STRICT;
CREATE INDEX token_person ON token (person);
", "
-- What was whose, since when; the trail outlives users, and devices change hands.
CREATE TABLE account_past (
    account TEXT NOT NULL,
    since   INTEGER NOT NULL,
    gone    INTEGER NOT NULL,
    parent  TEXT,
    PRIMARY KEY (account, since)
) STRICT, WITHOUT ROWID;
CREATE TABLE device_past (
    device  TEXT NOT NULL,
    since   INTEGER NOT NULL,
    account TEXT,             -- none: it left the model
    epoch   INTEGER NOT NULL, -- the newest policy that was signed before
    version INTEGER NOT NULL,
    applied INTEGER,          -- when a later one came into force, by the device's time: no row of before is later
    PRIMARY KEY (device, since)
) STRICT, WITHOUT ROWID;
CREATE TABLE user_past (
    id      BLOB NOT NULL,
    since   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    account TEXT,            -- none: the user left
    PRIMARY KEY (id, since)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_past_name ON user_past (name);
-- Nothing is said of what was before the last change of each entity: that much is known.
INSERT INTO account_past SELECT name, revision.at, 0, json_extract(body, '$.parent')
    FROM entity JOIN revision ON revision.number = entity.revision WHERE kind = 'account';
INSERT INTO device_past SELECT name, revision.at, json_extract(body, '$.account'), 0, 0, revision.at
    FROM entity JOIN revision ON revision.number = entity.revision WHERE kind = 'device';
INSERT INTO user_past SELECT person.id, revision.at, entity.name, json_extract(body, '$.account')
    FROM entity JOIN revision ON revision.number = entity.revision JOIN person ON person.name = entity.name WHERE kind = 'user';

-- What a row comes to, by which it is found: rows about a tunnel have the user and the service of its permit.
ALTER TABLE trail_row ADD COLUMN verdict TEXT NOT NULL DEFAULT '';
UPDATE trail_row SET verdict = event;
UPDATE trail_row AS one SET (user, service) = (
    SELECT permit.user, permit.service FROM trail_row AS permit
    JOIN trail_log AS log ON log.number = permit.log
    WHERE permit.tunnel = one.tunnel AND permit.event = 'permitted'
      AND log.device = (SELECT device FROM trail_log WHERE number = one.log) LIMIT 1
) WHERE tunnel IS NOT NULL AND event <> 'permitted';
DROP INDEX trail_row_received;
CREATE INDEX trail_row_at ON trail_row (at);
CREATE INDEX trail_row_log ON trail_row (log, at);
CREATE INDEX trail_row_verdict ON trail_row (verdict, at);
CREATE INDEX trail_row_service ON trail_row (service, at) WHERE service IS NOT NULL;

-- Who has read of the trail, and how much.
CREATE TABLE trail_reading (
    number INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    manner TEXT NOT NULL,
    what   TEXT NOT NULL,    -- the conditions
    rows   INTEGER           -- none: it did not come to its end
) STRICT;
", "
-- Who handed a code out, and when; of those before nobody knows.
ALTER TABLE invitation ADD COLUMN made    INTEGER;
ALTER TABLE invitation ADD COLUMN made_by TEXT;
CREATE INDEX invitation_name ON invitation (kind, name);
", "
-- Codes by which one person can approve one request once, by the digest of each.
CREATE TABLE approval_code (
    digest   BLOB PRIMARY KEY,
    approval BLOB NOT NULL REFERENCES approval (id) ON DELETE CASCADE,
    approver TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    expires  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_code_approval ON approval_code (approval);
CREATE INDEX approval_code_approver ON approval_code (approver);
", "
-- Who is whom at an identity provider: the issuer and subject of its ID tokens.
CREATE TABLE identity (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    person  TEXT NOT NULL UNIQUE REFERENCES person (name) ON DELETE CASCADE,
    linked  INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
", "
-- By which it is found what an entity was after a revision.
CREATE INDEX change_entity ON change (kind, name, revision);
", "
-- Which parcel of another hub was the last to be recorded: none is recorded twice.
CREATE TABLE parcel (
    hub BLOB PRIMARY KEY,
    seq INTEGER NOT NULL,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"];
