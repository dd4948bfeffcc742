//! Numbers by which a family knows what is ours under identifiers. A number is given once and never again.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use sqlx::Row;
use std::collections::HashMap;

/// The one family that knows things by number.
pub const NUMBERING_FAMILY: &str = "globo";

statements! {
    INSERT = "INSERT INTO api_id (family, kind, external_id, internal_id)
        SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST(COALESCE(MAX(CAST(external_id AS BIGINT)), 0) + 1 AS TEXT), CAST($3 AS TEXT)
        FROM api_id WHERE family = $1 AND kind = $2";
    INTERNAL = "SELECT internal_id FROM api_id WHERE family = $1 AND kind = $2 AND external_id = $3";
    EXTERNAL = "SELECT external_id FROM api_id WHERE family = $1 AND kind = $2 AND internal_id = $3";
    ALL = "SELECT external_id, internal_id FROM api_id WHERE family = $1 AND kind = $2";
}

/// Queries about numbers.
#[allow(async_fn_in_trait)]
pub trait ApiIds: Rows {
    /// What has this number.
    async fn numbered(&mut self, family: &str, kind: &str, number: u64) -> StoreResult<Option<String>> {
        let query = sqlx::query(INTERNAL).bind(family).bind(kind).bind(number.to_string());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("looking up a number"))?;
        Ok(row.map(|row| row.get("internal_id")))
    }
    /// Which number something has.
    async fn number_of(&mut self, family: &str, kind: &str, id: &str) -> StoreResult<Option<u64>> {
        let query = sqlx::query(EXTERNAL).bind(family).bind(kind).bind(id);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("looking up a number"))?;
        row.map(|row| row.get::<String, _>("external_id").parse().map_err(|e| unreadable("number", e))).transpose()
    }
    /// All numbers of a kind, by identifier.
    async fn numbers(&mut self, family: &str, kind: &str) -> StoreResult<HashMap<String, u64>> {
        let rows = sqlx::query(ALL).bind(family).bind(kind).fetch_all(self.connection()).await.map_err(failed("looking up numbers"))?;
        let pair = |row: &sqlx::any::AnyRow| {
            let number = row.get::<String, _>("external_id").parse().map_err(|e| unreadable("number", e))?;
            Ok((row.get("internal_id"), number))
        };
        rows.iter().map(pair).collect()
    }
}
impl<R: Rows> ApiIds for R {}

impl UnitOfWork {
    /// Gives something the next number of its kind.
    pub async fn give_number(&mut self, family: &str, kind: &str, id: &str) -> StoreResult<()> {
        let query = sqlx::query(INSERT).bind(family).bind(kind).bind(id);
        query.execute(self.connection()).await.map_err(failed("giving a number"))?;
        Ok(())
    }
}
