//! Whether volumes with a ceiling are full, and who has the reserve that is kept for such a time.

use crate::{Watch, now};
use moorage_domain::InstanceId;
use moorage_domain::decide::reserve::{Low, Verdict, decide};
use moorage_domain::instance::Observed;
use moorage_host::HostError;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// The least that was left of each full volume; kept in memory, because after a restart it is looked at afresh anyway.
#[derive(Default)]
pub(crate) struct VolumeRooms {
    lows: Mutex<HashMap<InstanceId, Low>>,
}

impl VolumeRooms {
    /// Forgets all others.
    pub(crate) fn keep_only(&self, instances: &HashSet<&InstanceId>) {
        self.lows.lock().unwrap_or_else(PoisonError::into_inner).retain(|instance, _| instances.contains(instance));
    }

    /// Measures a volume, and moves the reserve of a full one as is decided.
    pub(crate) async fn look(&self, watch: &Watch, instance: &InstanceId, observed: &mut Observed) {
        match self.measure(watch, instance, observed).await {
            Ok(full) => {
                if full && !observed.volume_full {
                    tracing::warn!(%instance, "a volume is full; its tenant can go on by deleting");
                }
                observed.volume_full = full;
            }
            Err(error) => tracing::warn!(%instance, %error, "a volume could not be measured"),
        }
    }

    async fn measure(&self, watch: &Watch, instance: &InstanceId, observed: &Observed) -> Result<bool, HostError> {
        let host = &watch.world.host;
        let before = observed.volume_full;
        let Some(room) = host.volume_room(instance).await?.filter(|room| room.is_full(before)) else {
            self.lows.lock().unwrap_or_else(PoisonError::into_inner).remove(instance);
            if before {
                host.set_volume_reserve(instance, 0).await?;
            }
            return Ok(false);
        };
        let verdict = {
            let mut lows = self.lows.lock().unwrap_or_else(PoisonError::into_inner);
            let (low, verdict) = decide(lows.get(instance).copied(), &room, observed.answering, now());
            lows.insert(instance.clone(), low);
            verdict
        };
        // Given again at every look: a host that was started anew takes it back.
        match verdict {
            Verdict::Give(bytes) => host.set_volume_reserve(instance, bytes).await?,
            Verdict::TakeBack => host.set_volume_reserve(instance, 0).await?,
            Verdict::Leave => {}
        }
        Ok(true)
    }
}
