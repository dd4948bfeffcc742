//! Sealed secrets that operations refer to by identifier, and facts about the installation.

use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::{SecretId, Timestamp};
use sqlx::Row;

statements! {
    INSERT = "INSERT INTO secret (id, sealed, created_at) VALUES ($1, $2, $3)";
    GET = "SELECT sealed FROM secret WHERE id = $1";
    FACT = "SELECT value FROM installation WHERE name = $1";
    SET_FACT = "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

/// Queries about secrets and the installation.
#[allow(async_fn_in_trait)]
pub trait Secrets: Rows {
    /// A sealed secret, until it is forgotten.
    async fn secret(&mut self, id: &SecretId) -> StoreResult<Option<String>> {
        let row = sqlx::query(GET).bind(id.as_str()).fetch_optional(self.connection()).await.map_err(failed("reading a secret"))?;
        Ok(row.map(|row| row.get("sealed")))
    }
    /// A fact about the installation.
    async fn fact(&mut self, name: &str) -> StoreResult<Option<String>> {
        let row = sqlx::query(FACT).bind(name).fetch_optional(self.connection()).await.map_err(failed("reading a fact"))?;
        Ok(row.map(|row| row.get("value")))
    }
}
impl<R: Rows> Secrets for R {}

impl UnitOfWork {
    /// Keeps a sealed secret.
    pub async fn insert_secret(&mut self, id: &SecretId, sealed: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT).bind(id.as_str()).bind(sealed).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("keeping a secret"))?;
        Ok(())
    }
    /// Sets a fact about the installation.
    pub async fn set_fact(&mut self, name: &str, value: &str) -> StoreResult<()> {
        sqlx::query(SET_FACT).bind(name).bind(value).execute(self.connection()).await.map_err(failed("writing a fact"))?;
        Ok(())
    }
}
