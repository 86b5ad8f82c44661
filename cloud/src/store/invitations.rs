//! Codes that were handed out, known by the digest of their secret.

use rusqlite::{OptionalExtension as _, params};

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
        let row: Option<(String, i64, Option<Vec<u8>>, bool)> = self
            .sql
            .query_row(
                "SELECT name, expires, used_by, confirm FROM invitation WHERE digest = ? AND kind = ?",
                params![secret.as_bytes(), kind(invitee)],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .optional()?;
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
