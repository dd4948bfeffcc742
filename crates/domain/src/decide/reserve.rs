//! Who gets the little that is kept of a full volume: an engine that was refused, to recover and to delete; not one that still
//! writes, which would use it up and leave none for the delete.

use crate::Timestamp;
use std::time::Duration;

/// How long no more may have been taken in before an engine counts as refused.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// What a new low has to be below the last one: engines touch a little on their own all the time.
const A_LITTLE: u64 = 1 << 20;

/// The least that was left of a full volume, the reserve not counted, and since when it has not become less. An engine that
/// tries again and again to make a file, and removes it when it is refused, does not begin anew each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Low {
    /// In bytes.
    pub free_bytes: u64,
    /// Since when.
    pub since: Timestamp,
}

/// What happens to the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine has it.
    Give,
    /// It is kept for later.
    TakeBack,
    /// It stays as it is.
    Leave,
}

/// Decides by what is left now. An engine that does not answer takes nothing in from anybody: it has died of the full volume or
/// recovers from that, and a few deaths in a row would be its last.
pub fn decide(before: Option<Low>, free_bytes: u64, answering: bool, now: Timestamp) -> (Low, Verdict) {
    let fresh = Low { free_bytes, since: now };
    let Some(low) = before else { return (fresh, if answering { Verdict::Leave } else { Verdict::Give }) };
    if !answering {
        (if free_bytes < low.free_bytes { fresh } else { low }, Verdict::Give)
    } else if free_bytes.saturating_add(A_LITTLE) < low.free_bytes {
        (fresh, Verdict::TakeBack)
    } else if now.since(low.since) >= REFUSED_FOR {
        (low, Verdict::Give)
    } else {
        (low, Verdict::Leave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_slow_writer_meets_the_ceiling_before_the_reserve_is_given() {
        let mut before = None;
        for (look, free) in [50, 43, 36, 29, 22, 15, 8, 1].into_iter().enumerate() {
            let (low, verdict) = decide(before, free * MIB, true, at(3 * look as u64));
            assert_ne!(verdict, Verdict::Give, "at {free}");
            before = Some(low);
        }
        for (seconds, wanted) in [(24, Verdict::Leave), (30, Verdict::Leave), (31, Verdict::Give)] {
            assert_eq!(decide(before, MIB, true, at(seconds)).1, wanted, "refused since the 21st second, now the {seconds}th");
        }
    }

    #[test]
    fn one_who_is_refused_again_and_again_gets_it() {
        let (mut before, mut given) = (None, false);
        for (look, free) in [3, 15, 1, 12, 2, 16, 3].into_iter().enumerate() {
            let (low, verdict) = decide(before, free * MIB, true, at(3 * look as u64));
            given |= verdict == Verdict::Give;
            before = Some(low);
        }
        assert!(given);
    }

    #[test]
    fn who_writes_on_after_a_pause_loses_it_again_and_who_recovers_does_not() {
        let (low, _) = decide(None, 40 * MIB, true, NOW);
        assert_eq!(decide(Some(low), 40 * MIB, true, at(60)).1, Verdict::Give);
        let lower = Low { free_bytes: 30 * MIB, since: at(63) };
        assert_eq!(decide(Some(low), 30 * MIB, true, at(63)), (lower, Verdict::TakeBack));
        assert_eq!(decide(Some(low), 30 * MIB, false, at(63)), (lower, Verdict::Give), "its engine recovers");
        assert_eq!(decide(None, 30 * MIB, false, at(63)), (lower, Verdict::Give), "its engine died before anybody looked");
        assert_eq!(decide(Some(low), 50 * MIB, true, at(63)), (low, Verdict::Give), "something was deleted");
    }
}
