//! Wish against world: a cluster that should serve, has no process or an endpoint that leads nowhere, and that no operation
//! holds, gets `cluster.recover`.

use crate::Watch;
use crate::attempts::Attempts;
use futures::StreamExt;
use moorage_domain::ClusterId;
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::instance::{Instance, ProcessState};
use moorage_host::Change;
use moorage_operations::recover;
use moorage_store::{Clusters, Instances, Replications, StoreError};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(5);
/// Waits between attempts at a cluster that does not come back: doubled from the first to the second.
const WAITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

pub(crate) async fn run(watch: Watch) {
    let mut changes = watch.world.host.changes();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut attempts = Attempts::resting(WAITS.0, WAITS.1);
    loop {
        tokio::select! {
            change = changes.next() => if !matches!(change, Some(Change::Instance(_))) { continue },
            _ = tick.tick() => {}
        }
        if let Err(error) = watch.look("convergence", PERIOD, converge(&watch, &mut attempts, None)).await {
            tracing::warn!(%error, "wish and world could not be compared");
        }
    }
}

/// Compares once, endpoints included.
pub(crate) async fn once(watch: &Watch) {
    // The gateway serves from files of its own; once per start they are compared with the rows.
    let endpoints = watch.world.host.inventory().await.ok().map(|inventory| inventory.endpoints);
    let mut attempts = Attempts::resting(WAITS.0, WAITS.1);
    if let Err(error) = converge(watch, &mut attempts, endpoints.as_deref()).await {
        tracing::warn!(%error, "wish and world could not be compared");
    }
}

async fn converge(watch: &Watch, attempts: &mut Attempts, endpoints: Option<&[ClusterId]>) -> Result<(), StoreError> {
    for (cluster, lacking) in idle(watch).await? {
        let lacking = lacking || endpoints.is_some_and(|served| !served.contains(&cluster.id));
        if !lacking {
            attempts.forget(&cluster.id);
        } else if attempts.may_try(&cluster.id) {
            attempts.try_now(&cluster.id);
            submit(watch, &cluster).await?;
        }
    }
    Ok(())
}

/// Clusters of this host that should serve and that no operation holds, and whether each lacks its process or its endpoint.
/// One whose engine was given up on is left alone: starting it again is for a person to decide.
async fn idle(watch: &Watch) -> Result<Vec<(Cluster, bool)>, StoreError> {
    let mut look = watch.world.store.look().await?;
    let mut found = Vec::new();
    for cluster in look.clusters_of_host(watch.world.host.id()).await? {
        if cluster.wish != Wish::Run || cluster.operation.is_some() {
            continue;
        }
        let instances = look.instances_of(&cluster.id).await?;
        let primary = look.replication_of(&cluster.id).await?.map(|replication| replication.primary);
        let writes = |instance: &Instance| primary.as_ref().is_none_or(|primary| *primary == instance.id);
        let Some(instance) = instances.into_iter().find(writes) else { continue };
        let lacking = match watch.world.host.process(&instance.id).await {
            Ok(ProcessState::Absent | ProcessState::Stopped) => true,
            Ok(ProcessState::Running { .. }) => !instance.observed.published,
            Ok(_) => false,
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
    if let Some(id) = watch.submit::<recover::Recover>(cluster, &recover::Request { reason: None }).await? {
        tracing::warn!(cluster = %cluster.id, operation = %id, "a cluster that should serve does not and is brought back");
    }
    Ok(())
}
