//! Receipts that the hub has not taken yet, in `policy.db`: about 70 bytes for each change that stopped tunnels, until the hub
//! has them.

use rusqlite::{Connection, params};

use postern_protocol::limits;
use postern_protocol::trust::{Receipt, ReceiptId};
use postern_protocol::wire::codec;

use super::StoreError;
use super::policy::{FORMAT, PolicyDb, sqlite};

impl PolicyDb {
    /// Keeps a receipt, in the place of another where it stands for both.
    pub(super) fn keep_receipt(
        &mut self,
        receipt: &Receipt,
        instead_of: Option<ReceiptId>,
    ) -> Result<(), StoreError> {
        let body = codec::encode(receipt, limits::RECEIPT_BYTES).map_err(|_| FORMAT.damaged())?;
        self.change(|transaction| {
            if let Some(id) = instead_of {
                delete(transaction, id)?;
            }
            let insert = "INSERT OR REPLACE INTO receipt (id, body) VALUES (?1, ?2)";
            transaction.execute(insert, params![receipt.id.0, body]).map(drop).map_err(sqlite)
        })
    }

    /// Forgets a receipt that was taken.
    pub(super) fn forget_receipt(&mut self, id: ReceiptId) -> Result<(), StoreError> {
        self.change(|transaction| delete(transaction, id))
    }

    /// The receipts that were not taken, oldest first.
    pub(super) fn receipts(&self) -> Result<Vec<Receipt>, StoreError> {
        let mut query = self.0.prepare("SELECT body FROM receipt ORDER BY rowid").map_err(sqlite)?;
        let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        rows.map(|body| {
            codec::decode(&body.map_err(sqlite)?, limits::RECEIPT_BYTES).map_err(|_| FORMAT.damaged())
        })
        .collect()
    }
}

fn delete(connection: &Connection, ReceiptId(id): ReceiptId) -> Result<(), StoreError> {
    connection.execute("DELETE FROM receipt WHERE id = ?1", params![id]).map(drop).map_err(sqlite)
}
