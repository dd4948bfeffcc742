//! Leftovers: what carries our mark on the host and belongs to no row of the store. It is reported and never removed: a store
//! restored from an older copy does not know everything that lives, and what lives is users' data (decisions 10).

use crate::Watch;
use moorage_domain::{ClusterId, InstanceId};
use moorage_store::{Clusters, Endpoints, Instances, StoreError};
use std::collections::HashSet;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Leftover {
    /// An instance of no cluster this store knows.
    Instance(InstanceId),
    /// An endpoint of no cluster this store knows.
    Endpoint(ClusterId),
    /// A cluster of which the host has seen a later term than the store.
    LaterTerm(ClusterId),
}

pub(crate) async fn run(watch: Watch) {
    // What is seen twice in a row is reported, once: a row may be on its way, or just gone.
    let (mut seen, mut reported) = (HashSet::new(), HashSet::new());
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let found: HashSet<Leftover> = match watch.look("leftovers", PERIOD, find(&watch)).await {
            Ok(found) => found.into_iter().collect(),
            Err(error) => {
                tracing::warn!(error, "leftovers could not be looked for");
                continue;
            }
        };
        reported.retain(|leftover| found.contains(leftover));
        for leftover in found.intersection(&seen) {
            if reported.insert(leftover.clone()) {
                tracing::error!(
                    ?leftover,
                    "this host has something that the store does not know: if the store was restored from an older copy, restore the newer one; nothing is removed"
                );
            }
        }
        seen = found;
    }
}

async fn find(watch: &Watch) -> Result<Vec<Leftover>, String> {
    // The inventory first: what is made meanwhile has a row by the time rows are read.
    let inventory = watch.world.host.inventory().await.map_err(|error| error.to_string())?;
    let rows = rows(watch).await.map_err(|error| error.to_string())?;
    let of_instances = inventory.instances.into_keys().filter(|id| !rows.instances.contains(id)).map(Leftover::Instance);
    let of_endpoints = inventory.endpoints.into_iter().filter(|id| !rows.endpoints.contains(id)).map(Leftover::Endpoint);
    let older = rows.terms.iter().filter(|(id, term)| inventory.terms.get(id).is_some_and(|seen| seen > term));
    Ok(of_instances.chain(of_endpoints).chain(older.map(|(id, _)| Leftover::LaterTerm(id.clone()))).collect())
}

struct Known {
    instances: HashSet<InstanceId>,
    endpoints: HashSet<ClusterId>,
    terms: Vec<(ClusterId, u64)>,
}

async fn rows(watch: &Watch) -> Result<Known, StoreError> {
    let mut look = watch.world.store.look().await?;
    let host = watch.world.host.id();
    let instances = look.instances_of_host(host).await?.into_iter().map(|instance| instance.id).collect();
    let (mut endpoints, mut terms) = (HashSet::new(), Vec::new());
    for cluster in look.clusters_of_host(host).await? {
        if look.endpoint_of(&cluster.id).await?.is_some() {
            endpoints.insert(cluster.id.clone());
        }
        terms.push((cluster.id, cluster.term));
    }
    Ok(Known { instances, endpoints, terms })
}
