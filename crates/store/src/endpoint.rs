//! Endpoints.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::cluster::ClusterSpec;
use moorage_domain::instance::Endpoint;
use moorage_domain::{ClusterId, HostId};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

statements! {
    UPSERT = "INSERT INTO endpoint (cluster_id, host_id, address, port, public_address) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (cluster_id) DO UPDATE SET host_id = excluded.host_id, address = excluded.address, port = excluded.port,
        public_address = excluded.public_address";
    OF_CLUSTER = "SELECT cluster_id, address, port, public_address FROM endpoint WHERE cluster_id = $1";
    TAKEN = "SELECT address FROM endpoint WHERE host_id = $1 AND cluster_id <> $2";
    PROMISED = "SELECT c.spec FROM cluster c WHERE c.host_id = $1 AND c.id <> $2 AND c.gone_at IS NULL AND c.creation_failed IS NULL
        AND NOT EXISTS (SELECT 1 FROM endpoint e WHERE e.cluster_id = c.id)";
    TAKEN_PUBLIC = "SELECT public_address FROM endpoint WHERE host_id = $1 AND cluster_id <> $2 AND public_address IS NOT NULL";
    REMOVE = "DELETE FROM endpoint WHERE cluster_id = $1";
}

fn read(row: &AnyRow) -> StoreResult<Endpoint> {
    Ok(Endpoint {
        cluster: ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("endpoint", e))?,
        address: row.get::<String, _>("address").parse().map_err(|e| unreadable("endpoint", e))?,
        port: u16::try_from(row.get::<i64, _>("port")).map_err(|e| unreadable("endpoint", e))?,
        public: row
            .get::<Option<String>, _>("public_address")
            .map(|address| address.parse())
            .transpose()
            .map_err(|e| unreadable("endpoint", e))?,
    })
}

/// Queries about endpoints.
#[allow(async_fn_in_trait)]
pub trait Endpoints: Rows {
    /// A cluster's endpoint.
    async fn endpoint_of(&mut self, cluster: &ClusterId) -> StoreResult<Option<Endpoint>> {
        let row = sqlx::query(OF_CLUSTER)
            .bind(cluster.as_str())
            .fetch_optional(self.connection())
            .await
            .map_err(failed("reading an endpoint"))?;
        row.as_ref().map(read).transpose()
    }
    /// Addresses on a host that other clusters than this one have, or were promised and are about to have.
    async fn taken_addresses(&mut self, host: &HostId, cluster: &ClusterId) -> StoreResult<HashSet<Ipv4Addr>> {
        let reading = "reading used addresses";
        let query = sqlx::query(TAKEN).bind(host.as_str()).bind(cluster.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed(reading))?;
        let mut taken: HashSet<Ipv4Addr> = rows
            .iter()
            .map(|row| row.get::<String, _>("address").parse().map_err(|e| unreadable("endpoint", e)))
            .collect::<StoreResult<_>>()?;
        let query = sqlx::query(PROMISED).bind(host.as_str()).bind(cluster.as_str());
        for row in query.fetch_all(self.connection()).await.map_err(failed(reading))? {
            let spec: ClusterSpec = serde_json::from_str(row.get("spec")).map_err(|e| unreadable("cluster specification", e))?;
            taken.extend(spec.wished_address());
        }
        Ok(taken)
    }
    /// Public addresses on a host that other clusters than this one have.
    async fn taken_public_addresses(&mut self, host: &HostId, cluster: &ClusterId) -> StoreResult<HashSet<SocketAddrV4>> {
        let query = sqlx::query(TAKEN_PUBLIC).bind(host.as_str()).bind(cluster.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("reading used public addresses"))?;
        rows.iter().map(|row| row.get::<String, _>("public_address").parse().map_err(|e| unreadable("endpoint", e))).collect()
    }
}
impl<R: Rows> Endpoints for R {}

impl UnitOfWork {
    pub(crate) async fn put_endpoint(&mut self, host: &HostId, endpoint: &Endpoint) -> StoreResult<()> {
        sqlx::query(UPSERT)
            .bind(endpoint.cluster.as_str())
            .bind(host.as_str())
            .bind(endpoint.address.to_string())
            .bind(i64::from(endpoint.port))
            .bind(endpoint.public.map(|address| address.to_string()))
            .execute(self.connection())
            .await
            .map_err(failed("writing an endpoint"))?;
        Ok(())
    }
    pub(crate) async fn remove_endpoint(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        sqlx::query(REMOVE).bind(cluster.as_str()).execute(self.connection()).await.map_err(failed("removing an endpoint"))?;
        Ok(())
    }
}
