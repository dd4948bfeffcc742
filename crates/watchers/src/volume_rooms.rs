//! Whether volumes with a ceiling are full, and who has the reserve that is kept for such a time.

use crate::{Watch, now};
use moorage_domain::InstanceId;
use moorage_domain::decide::reserve::{Low, Verdict, decide};
use moorage_domain::instance::Observed;
use moorage_host::HostError;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Every which look of the health watcher room is measured; that of full volumes is at every one.
const ROOM_EVERY: u32 = 3;
/// Every which look sizes are measured: every file is looked at.
const SIZE_EVERY: u32 = 20;

/// What is measured at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) room: bool,
    pub(crate) size: bool,
}

/// Looks so far.
#[derive(Default)]
pub(crate) struct Ticks(u32);

impl Ticks {
    /// What is due at the next look.
    pub(crate) fn next(&mut self) -> Due {
        let due = Due { room: self.0.is_multiple_of(ROOM_EVERY), size: self.0.is_multiple_of(SIZE_EVERY) };
        self.0 = self.0.wrapping_add(1);
        due
    }
}

/// Measures what a volume takes, in whole MiB so that a busy engine does not change its row at every look.
pub(crate) async fn measure(watch: &Watch, instance: &InstanceId, observed: &mut Observed) {
    match watch.world.host.volume_used(instance).await {
        Ok(used) => observed.volume_used_bytes = used.map(|bytes| bytes >> 20 << 20),
        Err(error) => tracing::warn!(%instance, %error, "a volume could not be measured"),
    }
}

/// The least that was left of each full volume; kept in memory, because after a restart it is looked at afresh anyway.
#[derive(Default)]
pub(crate) struct VolumeRooms {
    lows: Mutex<HashMap<InstanceId, Low>>,
}

impl VolumeRooms {
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
                host.set_volume_reserve(instance, false).await?;
            }
            return Ok(false);
        };
        let verdict = {
            let mut lows = self.lows.lock().unwrap_or_else(PoisonError::into_inner);
            let (low, verdict) = decide(lows.get(instance).copied(), room.free_bytes, observed.answering, now());
            lows.insert(instance.clone(), low);
            verdict
        };
        // Given again at every look: a host that was started anew takes it back.
        match verdict {
            Verdict::Give => host.set_volume_reserve(instance, true).await?,
            Verdict::TakeBack => host.set_volume_reserve(instance, false).await?,
            Verdict::Leave => {}
        }
        Ok(true)
    }
}
