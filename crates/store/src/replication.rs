//! Which instance of a cluster writes, and whether the other may take its place.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::replication::Replication;
use moorage_domain::{ClusterId, HostId, InstanceId};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    UPSERT = "INSERT INTO replication (cluster_id, primary_id, promotable, rewind_id, reason, sealed_password)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (cluster_id) DO UPDATE SET primary_id = excluded.primary_id, promotable = excluded.promotable,
        rewind_id = excluded.rewind_id, reason = excluded.reason, sealed_password = excluded.sealed_password";
    GET = "SELECT cluster_id, primary_id, promotable, rewind_id, reason, sealed_password FROM replication WHERE cluster_id = $1";
    ALL = "SELECT cluster_id, primary_id, promotable, rewind_id, reason, sealed_password FROM replication";
    RUNNING_OF_HOST = "SELECT r.cluster_id FROM replication r JOIN cluster c ON c.id = r.cluster_id
        WHERE c.host_id = $1 AND c.gone_at IS NULL AND c.wish = 'run' ORDER BY r.cluster_id";
    REMOVE = "DELETE FROM replication WHERE cluster_id = $1";
}

fn read(row: &AnyRow) -> StoreResult<Replication> {
    let promotable: Option<String> = row.get("promotable");
    Ok(Replication {
        cluster: ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("replication", e))?,
        primary: InstanceId::parse(row.get("primary_id")).map_err(|e| unreadable("replication", e))?,
        promotable: promotable.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| unreadable("replication", e))?,
        rewind: row
            .get::<Option<String>, _>("rewind_id")
            .map(|id| InstanceId::parse(&id))
            .transpose()
            .map_err(|e| unreadable("replication", e))?,
        reason: row.get("reason"),
        sealed_password: row.get("sealed_password"),
    })
}

/// Queries about replication.
#[allow(async_fn_in_trait)]
pub trait Replications: Rows {
    /// A cluster's replication; none where it has one instance.
    async fn replication_of(&mut self, cluster: &ClusterId) -> StoreResult<Option<Replication>> {
        let query = sqlx::query(GET).bind(cluster.as_str());
        let Some(row) = query.fetch_optional(self.connection()).await.map_err(failed("reading a replication"))? else { return Ok(None) };
        read(&row).map(Some)
    }
    /// All of them.
    async fn replications(&mut self) -> StoreResult<Vec<Replication>> {
        let rows = sqlx::query(ALL).fetch_all(self.connection()).await.map_err(failed("reading replications"))?;
        rows.iter().map(read).collect()
    }
    /// The clusters of several instances on a host that are meant to run.
    async fn replicated_on(&mut self, host: &HostId) -> StoreResult<Vec<ClusterId>> {
        let query = sqlx::query(RUNNING_OF_HOST).bind(host.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing replicated clusters"))?;
        rows.iter().map(|row| ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("replication", e))).collect()
    }
}
impl<R: Rows> Replications for R {}

impl UnitOfWork {
    pub(crate) async fn put_replication(&mut self, replication: &Replication) -> StoreResult<()> {
        let promotable =
            replication.promotable.as_ref().map(serde_json::to_string).transpose().map_err(|e| unreadable("replication", e))?;
        sqlx::query(UPSERT)
            .bind(replication.cluster.as_str())
            .bind(replication.primary.as_str())
            .bind(promotable)
            .bind(replication.rewind.as_ref().map(InstanceId::as_str))
            .bind(&replication.reason)
            .bind(&replication.sealed_password)
            .execute(self.connection())
            .await
            .map_err(failed("writing a replication"))?;
        Ok(())
    }
    pub(crate) async fn remove_replication(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        sqlx::query(REMOVE).bind(cluster.as_str()).execute(self.connection()).await.map_err(failed("removing a replication"))?;
        Ok(())
    }
}
