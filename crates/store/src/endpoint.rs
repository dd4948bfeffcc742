//! Endpoints.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::cluster::ClusterSpec;
use moorage_domain::instance::Endpoint;
use moorage_domain::{ClusterId, HostId, InstanceId};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

const WRITING: &str = "writing an endpoint";

statements! {
    UPSERT = "INSERT INTO endpoint (cluster_id, host_id, address, port, public_address) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (cluster_id) WHERE instance_id IS NULL DO UPDATE SET host_id = excluded.host_id, address = excluded.address,
        port = excluded.port, public_address = excluded.public_address";
    UPSERT_OF_INSTANCE = "INSERT INTO endpoint (cluster_id, instance_id, host_id, address, port) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (cluster_id, instance_id) DO UPDATE SET host_id = excluded.host_id, address = excluded.address, port = excluded.port";
    OF_CLUSTER = "SELECT instance_id, address, port, public_address FROM endpoint WHERE cluster_id = $1";
    TAKEN = "SELECT address FROM endpoint WHERE host_id = $1 AND cluster_id <> $2";
    PROMISED = "SELECT c.spec FROM cluster c WHERE c.host_id = $1 AND c.id <> $2 AND c.gone_at IS NULL AND c.creation_failed IS NULL
        AND NOT EXISTS (SELECT 1 FROM endpoint e WHERE e.cluster_id = c.id)";
    TAKEN_PUBLIC = "SELECT public_address FROM endpoint WHERE host_id = $1 AND cluster_id <> $2 AND public_address IS NOT NULL";
    REMOVE = "DELETE FROM endpoint WHERE cluster_id = $1";
}

/// One address of a cluster: its endpoint's, or that of one instance.
struct Place {
    instance: Option<InstanceId>,
    address: Ipv4Addr,
    port: u16,
    public: Option<SocketAddrV4>,
}

fn read(row: &AnyRow) -> StoreResult<Place> {
    let optional = |name: &str| row.try_get::<Option<String>, _>(name).map_err(|e| unreadable("endpoint", e));
    Ok(Place {
        instance: optional("instance_id")?.map(|id| InstanceId::parse(&id)).transpose().map_err(|e| unreadable("endpoint", e))?,
        address: row.get::<String, _>("address").parse().map_err(|e| unreadable("endpoint", e))?,
        port: u16::try_from(row.get::<i64, _>("port")).map_err(|e| unreadable("endpoint", e))?,
        public: optional("public_address")?.map(|address| address.parse()).transpose().map_err(|e| unreadable("endpoint", e))?,
    })
}

/// Queries about endpoints.
#[allow(async_fn_in_trait)]
pub trait Endpoints: Rows {
    /// A cluster's endpoint.
    async fn endpoint_of(&mut self, cluster: &ClusterId) -> StoreResult<Option<Endpoint>> {
        let rows =
            sqlx::query(OF_CLUSTER).bind(cluster.as_str()).fetch_all(self.connection()).await.map_err(failed("reading an endpoint"))?;
        let places: Vec<Place> = rows.iter().map(read).collect::<StoreResult<_>>()?;
        let Some(own) = places.iter().find(|place| place.instance.is_none()) else { return Ok(None) };
        let instances = places.iter().filter_map(|place| Some((place.instance.clone()?, place.address))).collect();
        Ok(Some(Endpoint { cluster: cluster.clone(), address: own.address, port: own.port, public: own.public, instances }))
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
            taken.extend(spec.wished_addresses());
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
            .map_err(failed(WRITING))?;
        for (instance, address) in &endpoint.instances {
            let query = sqlx::query(UPSERT_OF_INSTANCE).bind(endpoint.cluster.as_str()).bind(instance.as_str()).bind(host.as_str());
            let query = query.bind(address.to_string()).bind(i64::from(endpoint.port));
            query.execute(self.connection()).await.map_err(failed(WRITING))?;
        }
        Ok(())
    }
    pub(crate) async fn remove_endpoint(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        sqlx::query(REMOVE).bind(cluster.as_str()).execute(self.connection()).await.map_err(failed("removing an endpoint"))?;
        Ok(())
    }
}
