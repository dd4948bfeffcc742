//! Engine logs stay bounded: a tenant that fills its log must not fill the disk.

use crate::Watch;
use moorage_store::{Instances, StoreError};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);
/// Bytes of a log at most; a longer one keeps its end.
const MOST_BYTES: u64 = 64 << 20;

pub(crate) async fn run(watch: Watch) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = watch.look("logs", PERIOD, bound(&watch)).await {
            tracing::warn!(%error, "engine logs could not be looked at");
        }
    }
}

async fn bound(watch: &Watch) -> Result<(), StoreError> {
    let host = &watch.world.host;
    let instances = watch.world.store.look().await?.instances_of_host(host.id()).await?;
    for instance in instances {
        match host.ensure_log_bounded(&instance.id, MOST_BYTES).await {
            Ok(true) => tracing::info!(instance = %instance.id, "an engine's log was cut to its end: it had grown beyond 64 MiB"),
            Ok(false) => {}
            Err(error) => tracing::warn!(instance = %instance.id, %error, "an engine's log could not be shortened"),
        }
    }
    Ok(())
}
