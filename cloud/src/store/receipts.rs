//! What devices say of tunnels that they stopped, as they signed it: the newest of each device.
//!
//! A receipt that comes again is the same one, and one that is older than all that are kept, of as many as are kept, is gone again at
//! once: to say it once more adds nothing.

use super::engine::{Row, params};

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{PublicKey, Receipt, SignedReceipt};
use postern_protocol::wire::codec;

use super::people::{parse_name, public_key};
use super::{StoreError, Tx, secs, time};

/// A receipt as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReceipt {
    /// The device that said it.
    pub device: Name,
    /// What it said.
    pub signed: SignedReceipt,
    /// The key of the link over which it came, which has signed it.
    pub key: PublicKey,
    /// When it came.
    pub received: UnixTime,
}

impl Tx<'_> {
    /// Keeps a receipt that was verified with `key`, and of those of its device the newest.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn keep_receipt(
        &self,
        device: &Name,
        (signed, receipt): (&SignedReceipt, &Receipt),
        key: &PublicKey,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let body = codec::encode(signed, BYTES).map_err(|_| DAMAGED)?;
        let (device, at) = (device.as_str(), secs(receipt.at));
        self.sql
            .prepare_cached(
                "INSERT INTO receipt (device, id, at, received, key, signed) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (device, id) DO NOTHING",
            )?
            .execute(params![device, receipt.id.0, at, secs(now), key.as_bytes(), body])?;
        self.sql
            .prepare_cached(
                "DELETE FROM receipt WHERE device = ?1 AND id NOT IN
                 (SELECT id FROM receipt WHERE device = ?1 ORDER BY at DESC, received DESC, id LIMIT ?2)",
            )?
            .execute(params![device, KEPT])?;
        Ok(())
    }

    /// The receipts of one device or of all, by device, the newest of each first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn receipts(&self, device: Option<&Name>) -> Result<Vec<KeptReceipt>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT device, signed, key, received FROM receipt WHERE CAST(?1 AS TEXT) IS NULL OR device = ?1
             ORDER BY device, at DESC, received DESC, id",
        )?;
        let mut rows = query.query(params![device.map(Name::as_str)])?;
        let mut receipts = Vec::new();
        while let Some(row) = rows.next()? {
            receipts.push(receipt(row)?);
        }
        Ok(receipts)
    }
}

fn receipt(row: Row<'_>) -> Result<KeptReceipt, StoreError> {
    let (device, signed, key): (String, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(KeptReceipt {
        device: parse_name(&device)?,
        signed: codec::decode(&signed, BYTES).map_err(|_| DAMAGED)?,
        key: public_key(&key)?,
        received: time(row.get(3)?),
    })
}

const DAMAGED: StoreError = StoreError::Damaged { what: "receipt" };
/// Bytes of a receipt and its signature.
const BYTES: usize = limits::RECEIPT_BYTES + 64;
/// Receipts of each device.
const KEPT: u32 = 64;
