//! Manifests: what the store knows of this host's clusters, and of people, is kept beside the data a few seconds after it changed.

use crate::Watch;
use moorage_domain::ClusterId;
use moorage_domain::service_state::ServiceState;
use moorage_operations::manifest::{self, KeepError};
use moorage_store::Clusters;
use std::collections::HashMap;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(2);

/// What was kept last.
#[derive(Default)]
struct KeptLast {
    people: String,
    clusters: HashMap<ClusterId, String>,
}

pub(crate) async fn run(watch: Watch) {
    let mut last = KeptLast::default();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        tick.tick().await;
        match watch.look("manifests", PERIOD, keep(&watch, &mut last)).await {
            Ok(()) => told = false,
            Err(error) if !told => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "manifests, from which a lost store could be rebuilt, cannot be kept; it is tried again");
                told = true;
            }
            Err(_) => {}
        }
    }
}

async fn keep(watch: &Watch, last: &mut KeptLast) -> Result<(), KeepError> {
    let people = manifest::of_people(&watch.world).await?;
    if people != last.people {
        watch.world.host.ensure_manifest(None, &people).await?;
        last.people = people;
    }
    let clusters = watch.world.store.look().await?.clusters_of_host(watch.world.host.id()).await?;
    last.clusters.retain(|id, _| clusters.iter().any(|cluster| cluster.id == *id));
    for cluster in clusters {
        // One that is being made keeps its own when it is; of one that failed nothing is left.
        if matches!(cluster.state, ServiceState::Creating | ServiceState::Failed | ServiceState::Terminating) {
            continue;
        }
        let now = format!("{cluster:?}");
        if last.clusters.get(&cluster.id) != Some(&now) {
            manifest::keep(&watch.world, &cluster.id).await?;
            last.clusters.insert(cluster.id, now);
        }
    }
    Ok(())
}
