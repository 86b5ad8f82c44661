//! Tokens of the API, known by the digest of their secret.

use super::engine::{Row, params};
use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;

use super::people::parse_name;
use super::{StoreError, Tx, secs, time};

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its number, by which it is listed and taken back.
    pub number: i64,
    /// Whose it is: it may do what its user may, and no more.
    pub user: Name,
    /// What it is for, for those who list it.
    pub label: String,
    /// Whether it only reads.
    pub reads_only: bool,
    /// When it was made.
    pub made: UnixTime,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
    /// When it was used last, to the day; none before.
    pub used: Option<UnixTime>,
}

const COLUMNS: &str = "number, person, label, reads_only, made, expires, used";

impl Tx<'_> {
    /// Remembers a token; its number is made here.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_token(&self, secret: &Digest, token: &Token) -> Result<i64, StoreError> {
        let Token { user, label, reads_only, made, expires, .. } = token;
        self.sql.query_row(
            "INSERT INTO token (digest, person, label, reads_only, made, expires) VALUES (?, ?, ?, ?, ?, ?) RETURNING number",
            params![secret.as_bytes(), user.as_str(), label, reads_only, secs(*made), secs(*expires)],
            |row| row.get(0),
        )
    }

    /// Looks a token up, whether it is still worth something or not.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn token(&self, secret: &Digest) -> Result<Option<Token>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM token WHERE digest = ?"))?;
        query.first(params![secret.as_bytes()], token)
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM token ORDER BY number"))?;
        let mut rows = query.query(params![])?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            tokens.push(token(row)?);
        }
        Ok(tokens)
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn use_token(&self, number: i64, now: UnixTime) -> Result<(), StoreError> {
        self.sql
            .prepare_cached("UPDATE token SET used = ? WHERE number = ?")?
            .execute(params![secs(now), number])?;
        Ok(())
    }

    /// Takes a token back; whether there was one.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn remove_token(&self, number: i64) -> Result<bool, StoreError> {
        Ok(self.sql.execute("DELETE FROM token WHERE number = ?", params![number])? > 0)
    }
}

fn token(row: Row<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        number: row.get(0)?,
        user: parse_name(&row.get::<String>(1)?)?,
        label: row.get(2)?,
        reads_only: row.get(3)?,
        made: time(row.get(4)?),
        expires: time(row.get(5)?),
        used: row.get::<Option<i64>>(6)?.map(time),
    })
}
