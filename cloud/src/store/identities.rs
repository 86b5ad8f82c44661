//! Which identity at which provider is which user: one for each user, and one user for each.

use super::engine::params;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::people::{Person, parse_name};
use super::{StoreError, Tx, secs};

/// Somebody at an identity provider. Its name at this installation is no part of that: another provider under the same name has other
/// people (OpenID Connect Core 1.0, section 5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// Who, among its identities.
    pub subject: String,
}

impl Tx<'_> {
    /// The user whom an identity is linked to.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn person_of_identity(&self, identity: &Identity) -> Result<Option<Person>, StoreError> {
        let mut query =
            self.sql.prepare_cached("SELECT person FROM identity WHERE issuer = ? AND subject = ?")?;
        let name: Option<String> =
            query.first(params![&identity.issuer, &identity.subject], |row| row.get(0))?;
        match name {
            Some(name) => self.person(&parse_name(&name)?),
            None => Ok(None),
        }
    }

    /// Links a user to an identity, in place of a password, one-time codes, and an identity of before. An identity that is
    /// somebody else's stays theirs, and nothing is changed; returns whether it was linked.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn link(&self, name: &Name, identity: &Identity, now: UnixTime) -> Result<bool, StoreError> {
        if self.person_of_identity(identity)?.is_some_and(|owner| owner.name != *name) {
            return Ok(false);
        }
        self.forget_proofs(name)?;
        self.sql.execute(
            "INSERT INTO identity (issuer, subject, person, linked) VALUES (?, ?, ?, ?)",
            params![identity.issuer, identity.subject, name.as_str(), secs(now)],
        )?;
        Ok(true)
    }

    /// Forgets everything by which a user can sign in: password, one-time codes and identity.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn forget_proofs(&self, name: &Name) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM identity WHERE person = ?", params![name.as_str()])?;
        self.sql.execute(
            "UPDATE person SET password = NULL, otp_secret = NULL, otp_pending = NULL, otp_step = 0 WHERE name = ?",
            params![name.as_str()],
        )?;
        Ok(())
    }
}
