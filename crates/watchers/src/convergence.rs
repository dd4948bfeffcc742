//! Wish against world: a cluster that should serve, has no process and no operation gets `cluster.recover`.

use crate::{Watch, now};
use futures::StreamExt;
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::instance::ProcessState;
use moorage_domain::{ClusterId, OperationId, Timestamp};
use moorage_durable::Operation;
use moorage_host::Change;
use moorage_operations::recover;
use moorage_operations::serving::{Lead, keep_endpoint};
use moorage_store::{Clusters, Instances, NewOperation, StoreError, Submitted};
use std::collections::HashMap;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(5);
/// Waits between attempts at a cluster that does not come back: doubled from the first to the second.
const WAITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Attempts at a cluster in this life of the process.
struct Attempts {
    count: u32,
    next: Timestamp,
}

pub(crate) async fn run(watch: Watch) {
    open_endpoints(&watch).await;
    let mut changes = watch.world.host.changes();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut attempts = HashMap::new();
    loop {
        tokio::select! {
            change = changes.next() => if !matches!(change, Some(Change::Instance(_))) { continue },
            _ = tick.tick() => {}
        }
        if let Err(error) = converge(&watch, &mut attempts).await {
            tracing::warn!(%error, "wish and world could not be compared");
        }
    }
}

async fn converge(watch: &Watch, attempts: &mut HashMap<ClusterId, Attempts>) -> Result<(), StoreError> {
    for (cluster, lacking) in idle(watch).await? {
        if !lacking {
            attempts.remove(&cluster.id);
            continue;
        }
        let entry = attempts.entry(cluster.id.clone()).or_insert(Attempts { count: 0, next: Timestamp(0) });
        if now() < entry.next {
            continue;
        }
        entry.next = now().plus((WAITS.0 * 2_u32.saturating_pow(entry.count)).min(WAITS.1));
        entry.count += 1;
        submit(watch, &cluster).await?;
    }
    Ok(())
}

/// Clusters of this host that should serve and that no operation holds, and whether each lacks its process. One whose engine
/// was given up on is left alone: starting it again is for a person to decide.
async fn idle(watch: &Watch) -> Result<Vec<(Cluster, bool)>, StoreError> {
    let mut look = watch.world.store.look().await?;
    let mut found = Vec::new();
    for cluster in look.clusters_of_host(watch.world.host.id()).await? {
        if cluster.wish != Wish::Run || cluster.operation.is_some() {
            continue;
        }
        let Some(instance) = look.instances_of(&cluster.id).await?.into_iter().next() else { continue };
        let lacking = match watch.world.host.process(&instance.id).await {
            Ok(process) => matches!(process, ProcessState::Absent | ProcessState::Stopped),
            Err(error) => {
                tracing::warn!(instance = %instance.id, %error, "a process could not be looked at");
                false
            }
        };
        found.push((cluster, lacking));
    }
    Ok(found)
}

async fn submit(watch: &Watch, cluster: &Cluster) -> Result<(), StoreError> {
    let id = OperationId::from_bits(uuid::Uuid::now_v7().as_u128());
    let request = recover::Request {};
    let new = NewOperation::new(&id, recover::Recover::KIND, cluster, &request, "moorage", now());
    let mut uow = watch.world.store.begin().await?;
    if let Submitted::Started = uow.submit(&new).await? {
        uow.commit().await?;
        tracing::warn!(cluster = %cluster.id, operation = %id, "a cluster that should serve has no process and is brought back");
        (watch.wake)();
    }
    Ok(())
}

/// After a start of this program: the gateway is told every endpoint that should lead somewhere. It serves from its own files
/// anyway; this mends files that were lost.
async fn open_endpoints(watch: &Watch) {
    let clusters = match idle(watch).await {
        Ok(clusters) => clusters,
        Err(error) => {
            tracing::warn!(%error, "endpoints could not be compared");
            return;
        }
    };
    for (cluster, lacking) in clusters {
        if lacking {
            continue;
        }
        let Ok(loaded) = watch.world.load(&cluster.id).await else { continue };
        if loaded.endpoint.is_some() && keep_endpoint(&watch.world, &loaded, &loaded.cluster.spec.allow_list, Lead::ToInstance).await.is_err() {
            tracing::warn!(cluster = %cluster.id, "an endpoint could not be confirmed; it is tried again with the next change");
        }
    }
}
