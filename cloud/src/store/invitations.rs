//! Codes that were handed out, known by the digest of their secret.

use std::collections::BTreeMap;

use super::engine::params;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, PublicKey};
use postern_protocol::wire::invitation::Invitee;

use super::people::{parse_name, public_key};
use super::{StoreError, Tx, secs, time};

/// Who a code is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// A device or a user.
    pub invitee: Invitee,
    /// Its name in the model.
    pub name: Name,
    /// Whether the key that uses the code must be confirmed by its fingerprint; only for devices.
    pub confirm: bool,
}

/// A code that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Who it is for.
    pub invited: Invited,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
    /// The key that has used it.
    pub used_by: Option<PublicKey>,
}

/// A code for a user that nobody has used, whether it is still good or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCode {
    /// When it was handed out; unknown of old ones.
    pub made: Option<UnixTime>,
    /// By whom; unknown of old ones.
    pub made_by: Option<String>,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
}

impl Tx<'_> {
    /// Remembers a code; earlier codes for the same invitee are worth nothing from now on.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn invite(&self, secret: &Digest, invited: &Invited, expires: UnixTime) -> Result<(), StoreError> {
        self.withdraw(invited.invitee, &invited.name)?;
        let (kind, name) = (kind(invited.invitee), invited.name.as_str());
        self.sql.execute(
            "INSERT INTO invitation (digest, kind, name, expires, confirm) VALUES (?, ?, ?, ?, ?)",
            params![secret.as_bytes(), kind, name, secs(expires), invited.confirm],
        )?;
        Ok(())
    }

    /// Notes who handed a code out.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn note_inviter(&self, secret: &Digest, who: &str, now: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE invitation SET made = ?, made_by = ? WHERE digest = ?",
            params![secs(now), who, secret.as_bytes()],
        )?;
        Ok(())
    }

    /// The codes of users that nobody has used, by user.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn open_codes(&self) -> Result<BTreeMap<Name, OpenCode>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT name, made, made_by, expires FROM invitation WHERE kind = 'user' AND used IS NULL",
        )?;
        let mut rows = query.query(params![])?;
        let mut codes = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let made = row.get::<Option<i64>>(1)?.map(time);
            let code = OpenCode { made, made_by: row.get(2)?, expires: time(row.get(3)?) };
            codes.insert(parse_name(&row.get::<String>(0)?)?, code);
        }
        Ok(codes)
    }

    /// Forgets the code of a user that nobody has used; whether there was one.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn revoke_invitation(&self, user: &Name) -> Result<bool, StoreError> {
        let forgotten = self.sql.execute(
            "DELETE FROM invitation WHERE kind = 'user' AND name = ? AND used IS NULL",
            params![user.as_str()],
        )?;
        Ok(forgotten > 0)
    }

    /// Forgets the codes of an invitee.
    pub(super) fn withdraw(&self, invitee: Invitee, name: &Name) -> Result<(), StoreError> {
        let mut delete = self.sql.prepare_cached("DELETE FROM invitation WHERE kind = ? AND name = ?")?;
        delete.execute(params![kind(invitee), name.as_str()])?;
        Ok(())
    }

    /// Looks a code up.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn invitation(&self, secret: &Digest, invitee: Invitee) -> Result<Option<Pending>, StoreError> {
        let row: Option<(String, i64, Option<Vec<u8>>, bool)> = self.sql.first(
            "SELECT name, expires, used_by, confirm FROM invitation WHERE digest = ? AND kind = ?",
            params![secret.as_bytes(), kind(invitee)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let Some((name, expires, used_by, confirm)) = row else { return Ok(None) };
        let used_by = used_by.map(|key| public_key(&key)).transpose()?;
        let invited = Invited { invitee, name: parse_name(&name)?, confirm };
        Ok(Some(Pending { invited, expires: time(expires), used_by }))
    }

    /// Notes that a code was used.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn use_invitation(&self, secret: &Digest, key: &PublicKey, now: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE invitation SET used = ?, used_by = ? WHERE digest = ?",
            params![secs(now), key.as_bytes(), secret.as_bytes()],
        )?;
        Ok(())
    }
}

const fn kind(invitee: Invitee) -> &'static str {
    match invitee {
        Invitee::Device => "device",
        Invitee::User => "user",
    }
}
