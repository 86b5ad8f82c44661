//! Facts about people: ids, keys, passwords, one-time codes.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::{Row, params};
use zeroize::Zeroizing;

use postern_protocol::id::UserId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;

use super::identities::Identity;
use super::{StoreError, Tx, bytes, secs, time};
use crate::compile::{Enrolled, Roster};

/// A user's facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user's name in the model.
    pub name: Name,
    /// The id that the cloud assigned.
    pub id: UserId,
    /// Whether an administrator has disabled the user.
    pub disabled: bool,
    /// A pass that was signed earlier is worth nothing; 0 takes every pass.
    pub passes_from: UnixTime,
    /// The hash of the password; none before an invitation was accepted, and for who signs in with an identity.
    pub password: Option<String>,
    /// Who that is at an identity provider; none for who signs in with a password.
    pub identity: Option<Identity>,
    /// The state of one-time codes.
    pub one_time: OneTime,
}

/// One-time codes of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneTime {
    /// The secret in force.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// A secret that was handed out; its first code puts it in force.
    pub pending: Option<Zeroizing<Vec<u8>>>,
    /// The step of the last code that was used: it and those before are worth nothing any more.
    pub last_step: u64,
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonState {
    /// Has not accepted an invitation.
    Invited,
    /// Can sign in.
    Active,
    /// Disabled by an administrator.
    Disabled,
}

impl PersonState {
    /// The word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

impl Person {
    /// Where the user stands.
    #[must_use]
    pub const fn state(&self) -> PersonState {
        match (self.disabled, &self.password, &self.identity) {
            (true, ..) => PersonState::Disabled,
            (false, None, None) => PersonState::Invited,
            (false, Some(_), _) | (false, _, Some(_)) => PersonState::Active,
        }
    }
}

const COLUMNS: &str = "name, id, disabled, password, otp_secret, otp_pending, otp_step, passes_from, \
    (SELECT issuer FROM identity WHERE identity.person = name), (SELECT subject FROM identity WHERE identity.person = name)";

impl Tx<'_> {
    /// Everyone, for the compiler.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn roster(&self) -> Result<Roster, StoreError> {
        // Both in the order of names, in which the map is filled fastest, and without a copy of each value: every
        // sign-in with a new key reads all of it.
        let mut query =
            self.sql.prepare_cached("SELECT name, id, disabled, passes_from FROM person ORDER BY name")?;
        let mut rows = query.query(params![])?;
        let mut people = Vec::new();
        while let Some(row) = rows.next()? {
            let name = parse_name(row.text(0)?)?;
            let id = UserId::new(bytes(row.blob(1)?, "user id")?);
            let (disabled, passes_from) = (row.get(2)?, time(row.get(3)?));
            people.push((name, Enrolled { id, keys: BTreeSet::new(), disabled, passes_from }));
        }
        let mut users: BTreeMap<Name, Enrolled> = people.into_iter().collect();
        let mut query = self.sql.prepare_cached("SELECT person, key FROM person_key ORDER BY person")?;
        let mut rows = query.query(params![])?;
        while let Some(row) = rows.next()? {
            let key = public_key(row.blob(1)?)?;
            if let Some(user) = users.get_mut(row.text(0)?) {
                user.keys.insert(key);
            }
        }
        Ok(Roster { users, approvals: self.approved()? })
    }

    /// Everyone, by name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn people(&self) -> Result<Vec<Person>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM person ORDER BY name"))?;
        let mut rows = query.query(params![])?;
        let mut people = Vec::new();
        while let Some(row) = rows.next()? {
            people.push(person(row)?);
        }
        Ok(people)
    }

    /// One user.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn person(&self, name: &Name) -> Result<Option<Person>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM person WHERE name = ?"))?;
        let mut rows = query.query(params![name.as_str()])?;
        rows.next()?.map(person).transpose()
    }

    /// The user who has registered a key.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn person_of_key(&self, key: &PublicKey) -> Result<Option<Person>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT person FROM person_key WHERE key = ?")?;
        let name: Option<String> = query.first(params![key.as_bytes()], |row| row.get(0))?;
        match name {
            Some(name) => self.person(&parse_name(&name)?),
            None => Ok(None),
        }
    }

    /// The keys of a user with the last sign-in of each, the newest first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn person_keys(&self, name: &Name) -> Result<Vec<(PublicKey, UnixTime)>, StoreError> {
        let select = "SELECT key, used FROM person_key WHERE person = ? ORDER BY used DESC, key";
        let mut query = self.sql.prepare_cached(select)?;
        let mut rows = query.query(params![name.as_str()])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.push((public_key(row.blob(0)?)?, time(row.get(1)?)));
        }
        Ok(keys)
    }

    /// Registers a key or notes its use; beyond the limit the one that was unused for longest is forgotten.
    /// Returns whether the user's keys are different now.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn register_key(&self, person: &Name, key: &PublicKey, now: UnixTime) -> Result<bool, StoreError> {
        let known = self
            .sql
            .prepare_cached("UPDATE person_key SET used = ? WHERE key = ? AND person = ?")?
            .execute(params![secs(now), key.as_bytes(), person.as_str()])?;
        if known > 0 {
            return Ok(false);
        }
        let keep = i64::try_from(limits::USER_KEYS).unwrap_or(i64::MAX).saturating_sub(1);
        self.sql.execute(
            "DELETE FROM person_key WHERE person = ?1 AND key NOT IN
             (SELECT key FROM person_key WHERE person = ?1 ORDER BY used DESC, key LIMIT ?2)",
            params![person.as_str(), keep],
        )?;
        self.sql.execute(
            "INSERT INTO person_key (key, person, used) VALUES (?, ?, ?)",
            params![key.as_bytes(), person.as_str(), secs(now)],
        )?;
        Ok(true)
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn forget_key(&self, key: &PublicKey) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM person_key WHERE key = ?", params![key.as_bytes()])?;
        Ok(())
    }

    /// Forgets all keys, one-time codes and the identity of a user and sets a new password: a fresh start after an invitation.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn restart_person(&self, name: &Name, password: &str) -> Result<(), StoreError> {
        self.forget_keys(name)?;
        self.forget_proofs(name)?;
        self.sql
            .execute("UPDATE person SET password = ? WHERE name = ?", params![password, name.as_str()])?;
        Ok(())
    }

    /// Forgets all keys of a user.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn forget_keys(&self, name: &Name) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM person_key WHERE person = ?", params![name.as_str()])?;
        Ok(())
    }

    /// Stores the state of one-time codes.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_one_time(&self, name: &Name, one_time: &OneTime) -> Result<(), StoreError> {
        let blob = |secret: &Option<Zeroizing<Vec<u8>>>| secret.as_ref().map(|secret| secret.to_vec());
        self.sql.execute(
            "UPDATE person SET otp_secret = ?, otp_pending = ?, otp_step = ? WHERE name = ?",
            params![
                blob(&one_time.secret),
                blob(&one_time.pending),
                i64::try_from(one_time.last_step).unwrap_or(i64::MAX),
                name.as_str()
            ],
        )?;
        Ok(())
    }

    /// Disables or enables a user. Returns whether there is such a user.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn set_disabled(&self, name: &Name, disabled: bool) -> Result<bool, StoreError> {
        let changed = self
            .sql
            .execute("UPDATE person SET disabled = ? WHERE name = ?", params![disabled, name.as_str()])?;
        Ok(changed > 0)
    }

    /// Makes every pass of a user that was signed until `now` worthless. Passes are dated to the second, so that the
    /// first one that counts is dated a second later. It never goes back.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn cut_passes(&self, name: &Name, now: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE person SET passes_from = ?1 WHERE name = ?2 AND passes_from < ?1",
            params![secs(now.saturating_add(1)), name.as_str()],
        )?;
        Ok(())
    }
}

fn person(row: Row<'_>) -> Result<Person, StoreError> {
    let (name, id, step): (String, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(6)?);
    let secret = |blob: Option<Vec<u8>>| blob.map(Zeroizing::new);
    let (issuer, subject): (Option<String>, Option<String>) = (row.get(8)?, row.get(9)?);
    Ok(Person {
        name: parse_name(&name)?,
        id: UserId::new(bytes(&id, "user id")?),
        disabled: row.get(2)?,
        passes_from: time(row.get(7)?),
        password: row.get(3)?,
        identity: issuer.zip(subject).map(|(issuer, subject)| Identity { issuer, subject }),
        one_time: OneTime {
            secret: secret(row.get(4)?),
            pending: secret(row.get(5)?),
            last_step: u64::try_from(step).unwrap_or(0),
        },
    })
}

pub(super) fn parse_name(text: &str) -> Result<Name, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "name" })
}

pub(super) fn public_key(blob: &[u8]) -> Result<PublicKey, StoreError> {
    PublicKey::try_from(blob).map_err(|_| StoreError::Damaged { what: "public key" })
}
