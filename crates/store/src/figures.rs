//! Figures over many rows, for metrics.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, failed};
use moorage_domain::ClusterId;
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    UNFINISHED = "SELECT status, count(*) AS count FROM operation WHERE finished_at IS NULL GROUP BY status";
    ENDED = "SELECT kind, status, count(*) AS count FROM operation WHERE status IN ('succeeded', 'failed', 'cancelled') GROUP BY kind, status";
    SUCCEEDED = "SELECT cluster_id, kind, count(*) AS count FROM operation WHERE kind = $1 AND status = 'succeeded' GROUP BY cluster_id, kind";
}

/// Queries for figures.
#[allow(async_fn_in_trait)]
pub trait Figures: Rows {
    /// How many operations stand where, of those that have not ended.
    async fn unfinished_operations(&mut self) -> StoreResult<Vec<(String, u64)>> {
        let rows = sqlx::query(UNFINISHED).fetch_all(self.connection()).await.map_err(failed("counting operations"))?;
        Ok(rows.iter().map(|row| (row.get("status"), u64::try_from(row.get::<i64, _>("count")).unwrap_or(0))).collect())
    }
    /// How many operations have ended, by kind and how.
    async fn ended_operations(&mut self) -> StoreResult<Vec<(String, String, u64)>> {
        let rows = sqlx::query(ENDED).fetch_all(self.connection()).await.map_err(failed("counting operations"))?;
        let counted = |row: &AnyRow| (row.get("kind"), row.get("status"), u64::try_from(row.get::<i64, _>("count")).unwrap_or(0));
        Ok(rows.iter().map(counted).collect())
    }
    /// How many operations of these kinds have succeeded, by cluster and kind.
    async fn operations_succeeded(&mut self, kinds: &[&str]) -> StoreResult<Vec<(ClusterId, String, u64)>> {
        let mut all = Vec::new();
        for kind in kinds {
            let rows = sqlx::query(SUCCEEDED).bind(*kind).fetch_all(self.connection()).await.map_err(failed("counting operations"))?;
            for row in rows {
                let cluster = ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("operation", e))?;
                all.push((cluster, row.get("kind"), u64::try_from(row.get::<i64, _>("count")).unwrap_or(0)));
            }
        }
        Ok(all)
    }
}
impl<R: Rows> Figures for R {}
