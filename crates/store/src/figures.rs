//! Figures over many rows, for metrics.

use crate::statement::statements;
use crate::{Rows, StoreResult, failed};
use sqlx::Row;

statements! {
    UNFINISHED = "SELECT status, count(*) AS count FROM operation WHERE finished_at IS NULL GROUP BY status";
}

/// Queries for figures.
#[allow(async_fn_in_trait)]
pub trait Figures: Rows {
    /// How many operations stand where, of those that have not ended.
    async fn unfinished_operations(&mut self) -> StoreResult<Vec<(String, u64)>> {
        let rows = sqlx::query(UNFINISHED).fetch_all(self.connection()).await.map_err(failed("counting operations"))?;
        Ok(rows.iter().map(|row| (row.get("status"), u64::try_from(row.get::<i64, _>("count")).unwrap_or(0))).collect())
    }
}
impl<R: Rows> Figures for R {}
