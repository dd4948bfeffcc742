//! Leftovers: what carries our mark on the host and belongs to no row. Reported first, removed when it is still there after a
//! grace: a row may be on its way.

use crate::{Watch, now};
use moorage_domain::{ClusterId, InstanceId, Timestamp};
use moorage_host::HostResult;
use moorage_store::{Clusters, Endpoints, Instances, StoreError};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);
/// How long a leftover is only reported.
const GRACE: Duration = Duration::from_secs(600);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Leftover {
    Instance(InstanceId),
    Endpoint(ClusterId),
}

pub(crate) async fn run(watch: Watch) {
    let mut seen: HashMap<Leftover, Timestamp> = HashMap::new();
    let mut tick = tokio::time::interval(PERIOD);
    loop {
        tick.tick().await;
        let found = match find(&watch).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error, "leftovers could not be looked for");
                continue;
            }
        };
        seen.retain(|leftover, _| found.contains(leftover));
        for leftover in found {
            match seen.get(&leftover) {
                None => {
                    tracing::warn!(?leftover, "something on this host belongs to no cluster; it is removed if it is still there in ten minutes");
                    seen.insert(leftover, now());
                }
                Some(since) if now().since(*since) >= GRACE => match remove(&watch, &leftover).await {
                    Ok(()) => tracing::info!(?leftover, "a leftover was removed"),
                    Err(error) => tracing::warn!(?leftover, %error, "a leftover could not be removed"),
                },
                Some(_) => {}
            }
        }
    }
}

async fn remove(watch: &Watch, leftover: &Leftover) -> HostResult<()> {
    match leftover {
        Leftover::Instance(instance) => watch.world.host.ensure_instance_absent(instance).await,
        Leftover::Endpoint(cluster) => watch.world.host.ensure_endpoint_absent(cluster).await,
    }
}

async fn find(watch: &Watch) -> Result<Vec<Leftover>, String> {
    // The inventory first: what is made meanwhile has a row by the time rows are read.
    let inventory = watch.world.host.inventory().await.map_err(|error| error.to_string())?;
    let (instances, clusters) = rows(watch).await.map_err(|error| error.to_string())?;
    let of_instances = inventory.instances.into_keys().filter(|id| !instances.contains(id)).map(Leftover::Instance);
    let of_endpoints = inventory.endpoints.into_iter().filter(|id| !clusters.contains(id)).map(Leftover::Endpoint);
    Ok(of_instances.chain(of_endpoints).collect())
}

async fn rows(watch: &Watch) -> Result<(HashSet<InstanceId>, HashSet<ClusterId>), StoreError> {
    let mut look = watch.world.store.look().await?;
    let host = watch.world.host.id();
    let instances = look.instances_of_host(host).await?.into_iter().map(|instance| instance.id).collect();
    let mut clusters = HashSet::new();
    for cluster in look.clusters_of_host(host).await? {
        if look.endpoint_of(&cluster.id).await?.is_some() {
            clusters.insert(cluster.id);
        }
    }
    Ok((instances, clusters))
}
