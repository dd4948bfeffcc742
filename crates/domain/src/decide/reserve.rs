//! Who gets the little that is kept of a full volume: an engine that was refused, to recover and to delete; not one that still
//! writes, which would use it up and leave none for the delete.

use crate::Timestamp;
use crate::instance::VolumeRoom;
use std::time::Duration;

/// How long no more may have been taken in before an engine counts as refused.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// What a new low has to be below the last one: engines touch a little on their own all the time.
const A_LITTLE: i64 = 1 << 20;
/// What is given at a time beyond what is used already: two segments of PostgreSQL's log, in which it recovers and deletes. A
/// writer who goes on gets no more before he has been refused again.
const PORTION: u64 = 32 << 20;

/// The least that was left of a full volume, and since when it has not become less. An engine that tries again and again to make
/// a file, and removes it when it is refused, does not begin anew each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Low {
    /// In bytes, without the reserve: less than nothing where that is used.
    pub left_bytes: i64,
    /// Since when.
    pub since: Timestamp,
}

/// What happens to the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine may use so many bytes of it altogether.
    Give(u64),
    /// What is not used of it is kept for later.
    TakeBack,
    /// It stays as it is.
    Leave,
}

/// What an engine is given that has used so much of the reserve.
pub fn portion(reserve_used_bytes: u64) -> u64 {
    reserve_used_bytes.saturating_add(PORTION)
}

/// Decides by what is left now. An engine that does not answer takes nothing in from anybody: it has died of the full volume or
/// recovers from that, and a few deaths in a row would be its last.
pub fn decide(before: Option<Low>, room: &VolumeRoom, answering: bool, now: Timestamp) -> (Low, Verdict) {
    let fresh = Low { left_bytes: room.left_bytes(), since: now };
    let give = Verdict::Give(portion(room.reserve_used_bytes));
    let Some(low) = before else { return (fresh, if answering { Verdict::Leave } else { give }) };
    if !answering {
        (if fresh.left_bytes < low.left_bytes { fresh } else { low }, give)
    } else if fresh.left_bytes.saturating_add(A_LITTLE) < low.left_bytes {
        (fresh, Verdict::TakeBack)
    } else if now.since(low.since) >= REFUSED_FOR {
        (low, give)
    } else {
        (low, Verdict::Leave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;
    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    /// A volume with so many megabytes left; less than none: so many of the reserve are used.
    fn left(megabytes: i64) -> VolumeRoom {
        let bytes = |megabytes: i64| u64::try_from(megabytes.max(0) * MIB).expect("not negative");
        VolumeRoom { size_bytes: 16 << 30, free_bytes: bytes(megabytes), reserve_used_bytes: bytes(-megabytes) }
    }

    fn gives(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Give(_))
    }

    #[test]
    fn a_slow_writer_meets_the_ceiling_before_the_reserve_is_given() {
        let mut before = None;
        for (look, megabytes) in [50, 43, 36, 29, 22, 15, 8, 1].into_iter().enumerate() {
            let (low, verdict) = decide(before, &left(megabytes), true, at(3 * look as u64));
            assert!(!gives(verdict), "at {megabytes}");
            before = Some(low);
        }
        for (seconds, wanted) in [(24, Verdict::Leave), (30, Verdict::Leave), (31, Verdict::Give(PORTION))] {
            assert_eq!(decide(before, &left(1), true, at(seconds)).1, wanted, "refused since the 21st second, now the {seconds}th");
        }
    }

    #[test]
    fn one_who_is_refused_again_and_again_gets_it() {
        let (mut before, mut given) = (None, false);
        for (look, megabytes) in [3, 15, 1, 12, 2, 16, 3].into_iter().enumerate() {
            let (low, verdict) = decide(before, &left(megabytes), true, at(3 * look as u64));
            given |= gives(verdict);
            before = Some(low);
        }
        assert!(given);
    }

    #[test]
    fn a_writer_who_tries_again_for_ever_gets_a_portion_at_a_time_with_a_pause_before_each() {
        let (mut before, mut allowed, mut used) = (None, 0, 0);
        let mut portions = Vec::new();
        for look in 0..60 {
            // Whatever is there is written at once.
            used = allowed;
            let room = VolumeRoom { size_bytes: 16 << 30, free_bytes: 0, reserve_used_bytes: used };
            let (low, verdict) = decide(before, &room, true, at(3 * look));
            before = Some(low);
            match verdict {
                Verdict::Give(bytes) if bytes > allowed => {
                    portions.push(3 * look);
                    allowed = bytes;
                }
                Verdict::TakeBack => allowed = used,
                _ => {}
            }
        }
        assert!(portions.len() > 3 && portions.windows(2).all(|pair| pair[1] - pair[0] >= 12), "{portions:?}");
        assert!(used > 0 && used <= portions.len() as u64 * PORTION, "{used} after {portions:?}");
    }

    #[test]
    fn who_writes_on_after_a_pause_loses_it_again_and_who_recovers_does_not() {
        let (low, _) = decide(None, &left(40), true, NOW);
        assert!(gives(decide(Some(low), &left(40), true, at(60)).1));
        let lower = Low { left_bytes: 30 * MIB, since: at(63) };
        assert_eq!(decide(Some(low), &left(30), true, at(63)), (lower, Verdict::TakeBack));
        assert_eq!(decide(Some(low), &left(30), false, at(63)), (lower, Verdict::Give(PORTION)), "its engine recovers");
        assert_eq!(decide(None, &left(30), false, at(63)), (lower, Verdict::Give(PORTION)), "its engine died before anybody looked");
        let used = Verdict::Give(PORTION + 5 * MIB as u64);
        assert_eq!(decide(Some(low), &left(-5), false, at(63)).1, used, "beyond what it has used already");
        assert_eq!(decide(Some(low), &left(50), true, at(63)), (low, Verdict::Give(PORTION)), "something was deleted");
    }
}
