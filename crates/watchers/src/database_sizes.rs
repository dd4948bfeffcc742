//! What databases take on disk, as their engines say. An engine that does not answer keeps nobody waiting: what was last seen is shown.

use crate::Watch;
use futures::StreamExt;
use moorage_domain::cluster::Cluster;
use moorage_domain::service_state::ServiceState;
use moorage_operations::serving;
use moorage_store::{Clusters, Databases, StoreError};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);
/// How long an engine may take to add up what it has.
const LIMIT: Duration = Duration::from_secs(20);
/// Engines that are asked at a time.
const AT_ONCE: usize = 4;
/// Databases of a cluster that are looked at.
const MOST: u64 = 10_000;

pub(crate) async fn run(watch: Watch) {
    loop {
        if let Err(error) = watch.look("database-sizes", PERIOD, look(&watch)).await {
            tracing::warn!(%error, "what databases take could not be written down");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(watch: &Watch) -> Result<(), StoreError> {
    let clusters = watch.world.store.look().await?.clusters_of_host(watch.world.host.id()).await?;
    let running = clusters.into_iter().filter(|cluster| cluster.state == ServiceState::Running);
    let mut looks = futures::stream::iter(running.map(|cluster| look_at(watch, cluster))).buffer_unordered(AT_ONCE);
    while let Some(looked) = looks.next().await {
        looked?;
    }
    Ok(())
}

async fn look_at(watch: &Watch, cluster: Cluster) -> Result<(), StoreError> {
    let Ok(Some(mut sizes)) = tokio::time::timeout(LIMIT, ask(watch, &cluster)).await else { return Ok(()) };
    let known = watch.world.store.look().await?.databases_of(&cluster.id, 0, MOST).await?;
    sizes.retain(|(name, bytes)| known.iter().any(|database| database.name == *name && database.used_bytes != Some(*bytes)));
    if sizes.is_empty() {
        return Ok(());
    }
    let mut uow = watch.world.store.begin().await?;
    uow.set_database_sizes(&cluster.id, &sizes).await?;
    uow.commit().await
}

async fn ask(watch: &Watch, cluster: &Cluster) -> Option<Vec<(String, u64)>> {
    let world = &watch.world;
    let loaded = world.load(&cluster.id).await.ok()?;
    let socket = serving::socket(world, &loaded.cluster, loaded.instance.as_ref()?).await.ok()?;
    let mut session = world.engine(cluster.engine).ok()?.connect(&socket, &world.host.administrator()).await.ok()?;
    session.database_sizes().await.ok()
}
