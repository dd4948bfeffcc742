//! The record of actions keeps a bit more than a year: it grows with every change that anybody asks for.

use crate::{Watch, now};
use moorage_domain::Timestamp;
use moorage_store::StoreError;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(6 * 3600);
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

pub(crate) async fn run(watch: Watch) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match watch.look("actions", PERIOD, forget(&watch, now())).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "actions older than 400 days were taken off the record"),
            Err(error) => tracing::warn!(%error, "the record of actions could not be looked at"),
        }
    }
}

async fn forget(watch: &Watch, now: Timestamp) -> Result<u64, StoreError> {
    let mut uow = watch.world.store.begin().await?;
    // Of several servers on one store, one looks after what belongs to all.
    if uow.take_lease("watchers", watch.world.host.id().as_str(), now.plus(PERIOD * 2), now).await?.is_none() {
        return Ok(0);
    }
    let count = uow.forget_actions(Timestamp(now.0.saturating_sub(i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX)))).await?;
    uow.commit().await?;
    Ok(count)
}
