//! What clusters' engines applied when they were last asked.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::parameter::AppliedParameters;
use moorage_domain::{ClusterId, Timestamp};
use sqlx::Row;

statements! {
    UPSERT = "INSERT INTO applied_parameters (cluster_id, read_at, parameters) VALUES ($1, $2, $3)
        ON CONFLICT (cluster_id) DO UPDATE SET read_at = excluded.read_at, parameters = excluded.parameters";
    GET = "SELECT read_at, parameters FROM applied_parameters WHERE cluster_id = $1";
    REMOVE = "DELETE FROM applied_parameters WHERE cluster_id = $1";
}

/// Queries about parameters.
#[allow(async_fn_in_trait)]
pub trait Parameters: Rows {
    /// What a cluster's engine applied when it was last asked.
    async fn applied_parameters(&mut self, cluster: &ClusterId) -> StoreResult<Option<AppliedParameters>> {
        let query = sqlx::query(GET).bind(cluster.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading parameters"))?;
        row.map(|row| {
            let parameters = serde_json::from_str(row.get("parameters")).map_err(|e| unreadable("list of parameters", e))?;
            Ok(AppliedParameters { read_at: Timestamp(row.get("read_at")), parameters })
        })
        .transpose()
    }
}
impl<R: Rows> Parameters for R {}

impl UnitOfWork {
    pub(crate) async fn put_parameters(&mut self, cluster: &ClusterId, applied: &AppliedParameters) -> StoreResult<()> {
        let text = serde_json::to_string(&applied.parameters).map_err(|e| unreadable("list of parameters", e))?;
        let query = sqlx::query(UPSERT).bind(cluster.as_str()).bind(applied.read_at.0).bind(text);
        query.execute(self.connection()).await.map_err(failed("writing parameters"))?;
        Ok(())
    }
    pub(crate) async fn remove_parameters(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        sqlx::query(REMOVE).bind(cluster.as_str()).execute(self.connection()).await.map_err(failed("removing parameters"))?;
        Ok(())
    }
}
