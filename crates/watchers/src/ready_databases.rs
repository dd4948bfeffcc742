//! Databases that are ready to become tenants', in clusters that databases of a plan share: whoever asks for one does not wait for its making.

use crate::Watch;
use moorage_domain::ClusterId;
use moorage_operations::serving;
use moorage_store::{Allocations, StoreError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How soon a new shared cluster is seen.
const PERIOD: Duration = Duration::from_secs(1);
/// How often one is looked at again; what was taken is made again at once by who took it.
const AGAIN: Duration = Duration::from_secs(60);
/// How long an engine may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Engines that are asked at a time: one that hangs does not keep the others waiting.
const AT_ONCE: usize = 4;

pub(crate) async fn run(watch: Watch) {
    let (mut looked_at, mut asked) = (BTreeMap::new(), JoinSet::new());
    loop {
        if let Err(error) = watch.look("ready-databases", PERIOD, look(&watch, &mut looked_at, &mut asked)).await {
            tracing::warn!(%error, "which clusters are shared could not be read");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Asks the engines that are due, and does not wait for them.
async fn look(watch: &Watch, looked_at: &mut BTreeMap<ClusterId, Instant>, asked: &mut JoinSet<()>) -> Result<(), StoreError> {
    let shared = watch.world.store.glance().await?.clusters_with_room(watch.world.host.id()).await?;
    looked_at.retain(|cluster, _| shared.contains(cluster));
    while asked.try_join_next().is_some() {}
    for cluster in shared {
        if asked.len() == AT_ONCE || looked_at.get(&cluster).is_some_and(|at| at.elapsed() < AGAIN) {
            continue;
        }
        looked_at.insert(cluster.clone(), Instant::now());
        let watch = watch.clone();
        asked.spawn(async move {
            // An engine that does not answer is asked again the next time.
            if tokio::time::timeout(LIMIT, prepare(&watch, &cluster)).await.is_err() {
                tracing::warn!(%cluster, seconds = LIMIT.as_secs(), "an engine made no database ready in time; databases are made when they are asked for");
            }
        });
    }
    Ok(())
}

async fn prepare(watch: &Watch, cluster: &ClusterId) -> Option<()> {
    let world = &watch.world;
    let loaded = world.load(cluster).await.ok()?;
    let socket = serving::socket(world, &loaded.cluster, loaded.instance.as_ref()?).await.ok()?;
    let mut session = world.engine(loaded.cluster.engine).ok()?.connect(&socket, &world.host.administrator()).await.ok()?;
    if let Err(error) = session.prepare_databases().await {
        let cause = error.cause.as_ref().map(ToString::to_string);
        tracing::warn!(%cluster, %error, cause, "no database could be made ready; they are made when they are asked for");
    }
    Some(())
}
