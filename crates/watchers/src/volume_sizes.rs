//! What volumes take on disk. Every file of them is looked at, which takes as long as it takes: nothing waits for it.

use crate::{Watch, now};
use moorage_domain::instance::Observed;
use moorage_store::{Instances, StoreError, Write};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn run(watch: Watch) {
    loop {
        if let Err(error) = watch.look("volume-sizes", PERIOD, look(&watch)).await {
            tracing::warn!(%error, "what volumes take could not be written down");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(watch: &Watch) -> Result<(), StoreError> {
    let host = &watch.world.host;
    let instances = watch.world.store.look().await?.instances_of_host(host.id()).await?;
    for instance in instances {
        let used = match host.volume_used(&instance.id).await {
            // Whole MiB, so that a busy engine does not change its row at every look.
            Ok(used) => used.map(|bytes| bytes >> 20 << 20),
            Err(error) => {
                tracing::warn!(instance = %instance.id, %error, "a volume could not be measured");
                continue;
            }
        };
        if used == instance.observed.volume_used_bytes {
            continue;
        }
        let mut uow = watch.world.store.begin().await?;
        // It may have gone or have been looked at meanwhile.
        if let Some(now_there) = uow.instance(&instance.id).await? {
            let observed = Observed { volume_used_bytes: used, ..now_there.observed };
            uow.apply(&Write::Observed(instance.id, observed), now()).await?;
            uow.commit().await?;
        }
    }
    Ok(())
}
