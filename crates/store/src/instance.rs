//! Instances.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::instance::{Instance, Observed};
use moorage_domain::{ClusterId, HostId, InstanceId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    UPSERT = "INSERT INTO instance (id, cluster_id, host_id, name, role, uid, number, slot, observed, observed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, uid = excluded.uid, number = excluded.number, slot = excluded.slot";
    OF_CLUSTER = "SELECT id, cluster_id, host_id, name, role, uid, number, slot, observed, observed_at FROM instance WHERE cluster_id = $1 ORDER BY slot, name";
    GET = "SELECT id, cluster_id, host_id, name, role, uid, number, slot, observed, observed_at FROM instance WHERE id = $1";
    OF_HOST = "SELECT id, cluster_id, host_id, name, role, uid, number, slot, observed, observed_at FROM instance WHERE host_id = $1 ORDER BY id";
    USED_ON_HOST = "SELECT uid, number FROM instance WHERE host_id = $1";
    OBSERVE = "UPDATE instance SET observed = $2, observed_at = $3 WHERE id = $1";
    REMOVE = "DELETE FROM instance WHERE cluster_id = $1";
}

fn read(row: &AnyRow) -> StoreResult<Instance> {
    let broken = |e: sqlx::Error| unreadable("instance", e);
    let text = |name: &str| row.try_get::<String, _>(name).map_err(broken);
    Ok(Instance {
        id: InstanceId::parse(&text("id")?).map_err(|e| unreadable("instance", e))?,
        cluster: ClusterId::parse(&text("cluster_id")?).map_err(|e| unreadable("instance", e))?,
        host: HostId::parse(&text("host_id")?).map_err(|e| unreadable("instance", e))?,
        name: text("name")?,
        role: text("role")?,
        uid: row.try_get::<Option<i64>, _>("uid").map_err(broken)?.and_then(|uid| u32::try_from(uid).ok()),
        number: u32::try_from(row.try_get::<i64, _>("number").map_err(broken)?).map_err(|e| unreadable("instance", e))?,
        slot: u32::try_from(row.try_get::<i64, _>("slot").map_err(broken)?).map_err(|e| unreadable("instance", e))?,
        observed: serde_json::from_str(&text("observed")?).map_err(|e| unreadable("observation", e))?,
        observed_at: row.try_get::<Option<i64>, _>("observed_at").map_err(broken)?.map(Timestamp),
    })
}

/// Queries about instances.
#[allow(async_fn_in_trait)]
pub trait Instances: Rows {
    /// The instances of a cluster by name.
    async fn instances_of(&mut self, cluster: &ClusterId) -> StoreResult<Vec<Instance>> {
        let rows =
            sqlx::query(OF_CLUSTER).bind(cluster.as_str()).fetch_all(self.connection()).await.map_err(failed("reading instances"))?;
        rows.iter().map(read).collect()
    }
    /// One instance.
    async fn instance(&mut self, id: &InstanceId) -> StoreResult<Option<Instance>> {
        let row = sqlx::query(GET).bind(id.as_str()).fetch_optional(self.connection()).await.map_err(failed("reading an instance"))?;
        row.as_ref().map(read).transpose()
    }
    /// The instances of a host.
    async fn instances_of_host(&mut self, host: &HostId) -> StoreResult<Vec<Instance>> {
        let rows = sqlx::query(OF_HOST).bind(host.as_str()).fetch_all(self.connection()).await.map_err(failed("reading instances"))?;
        rows.iter().map(read).collect()
    }
    /// Uids and numbers in use on a host.
    async fn used_identities(&mut self, host: &HostId) -> StoreResult<(Vec<u32>, Vec<u32>)> {
        let rows =
            sqlx::query(USED_ON_HOST).bind(host.as_str()).fetch_all(self.connection()).await.map_err(failed("reading used identities"))?;
        let uids = rows.iter().filter_map(|row| row.get::<Option<i64>, _>("uid")).filter_map(|uid| u32::try_from(uid).ok()).collect();
        let numbers = rows.iter().filter_map(|row| u32::try_from(row.get::<i64, _>("number")).ok()).collect();
        Ok((uids, numbers))
    }
}
impl<R: Rows> Instances for R {}

impl UnitOfWork {
    pub(crate) async fn put_instance(&mut self, instance: &Instance) -> StoreResult<()> {
        let observed = serde_json::to_string(&instance.observed).map_err(|e| unreadable("observation", e))?;
        sqlx::query(UPSERT)
            .bind(instance.id.as_str())
            .bind(instance.cluster.as_str())
            .bind(instance.host.as_str())
            .bind(&instance.name)
            .bind(&instance.role)
            .bind(instance.uid.map(i64::from))
            .bind(i64::from(instance.number))
            .bind(i64::from(instance.slot))
            .bind(observed)
            .bind(instance.observed_at.map(|at| at.0))
            .execute(self.connection())
            .await
            .map_err(failed("writing an instance"))?;
        Ok(())
    }
    pub(crate) async fn observe_instance(&mut self, instance: &InstanceId, observed: &Observed, now: Timestamp) -> StoreResult<()> {
        let text = serde_json::to_string(observed).map_err(|e| unreadable("observation", e))?;
        let query = sqlx::query(OBSERVE).bind(instance.as_str()).bind(text).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("writing an observation"))?;
        Ok(())
    }
    pub(crate) async fn remove_instances(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        sqlx::query(REMOVE).bind(cluster.as_str()).execute(self.connection()).await.map_err(failed("removing instances"))?;
        Ok(())
    }
}
