//! Codes by which one person can approve one request, known by their digest.

use super::engine::params;

use postern_protocol::id::ApprovalId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;

use super::people::parse_name;
use super::{StoreError, Tx, bytes, secs, time};

/// A code that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCode {
    /// What it approves.
    pub approval: ApprovalId,
    /// For whom it is.
    pub approver: Name,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
}

impl Tx<'_> {
    /// Remembers a code.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn add_approval_code(
        &self,
        secret: &Digest,
        approval: ApprovalId,
        approver: &Name,
        expires: UnixTime,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO approval_code (digest, approval, approver, expires) VALUES (?, ?, ?, ?)",
            params![secret.as_bytes(), approval.as_bytes(), approver.as_str(), secs(expires)],
        )?;
        Ok(())
    }

    /// Looks a code up.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn approval_code(&self, secret: &Digest) -> Result<Option<KnownCode>, StoreError> {
        let mut query = self
            .sql
            .prepare_cached("SELECT approval, approver, expires FROM approval_code WHERE digest = ?")?;
        let mut rows = query.query(params![secret.as_bytes()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (approval, approver): (Vec<u8>, String) = (row.get(0)?, row.get(1)?);
        Ok(Some(KnownCode {
            approval: ApprovalId::new(bytes(&approval, "id of an approval")?),
            approver: parse_name(&approver)?,
            expires: time(row.get(2)?),
        }))
    }

    /// Forgets every code of a request: it is decided, or over.
    pub(super) fn forget_approval_codes(&self, approval: ApprovalId) -> Result<(), StoreError> {
        self.sql
            .prepare_cached("DELETE FROM approval_code WHERE approval = ?")?
            .execute(params![approval.as_bytes()])?;
        Ok(())
    }
}
