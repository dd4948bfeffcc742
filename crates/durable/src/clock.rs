//! Where the time comes from.

use moorage_domain::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of the present.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The time by which this process writes rows and counts waits: the machine's clock, but without its jumps.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock;

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        static STEADY: Mutex<Option<Steady>> = Mutex::new(None);
        let (wall, running) = (wall_now().0, running_for());
        let mut steady = STEADY.lock().unwrap_or_else(PoisonError::into_inner);
        let next = steady.map_or(Steady { running, shown: wall }, |before| before.follow(wall, running));
        *steady = Some(next);
        Timestamp(next.shown)
    }
}

/// What the machine's clock says, jumps and all: for what is agreed on with others, as when a token ends.
pub fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// How long the machine has run, its sleep included, in microseconds.
fn running_for() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

/// So far from the machine's clock, in microseconds, a jump is the lesser evil: a machine without a clock of its own begins years ago.
const HOPELESS: i64 = 24 * 3600 * 1_000_000;

/// What was last shown, in microseconds since 1970, and how long the machine had run by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steady {
    running: i64,
    shown: i64,
}

impl Steady {
    /// Approaches the machine's clock without a jump, unless they are more than a day apart: a wait is never more than twice as
    /// long or half as long as it should be, and what comes later has no earlier time. A clock that was wrong by an hour is caught
    /// up with within two.
    fn follow(self, wall: i64, running: i64) -> Self {
        let passed = running.saturating_sub(self.running).max(0);
        let away = wall.saturating_sub(self.shown.saturating_add(passed));
        if away.saturating_abs() > HOPELESS {
            return Self { running: running.max(self.running), shown: wall };
        }
        let shown = self.shown.saturating_add(passed).saturating_add(away.clamp(-passed / 2, passed));
        Self { running: running.max(self.running), shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    #[test]
    fn a_clock_that_keeps_time_is_followed_exactly() {
        let at = Steady { running: 5, shown: 100 * SECOND };
        assert_eq!(at.follow(101 * SECOND, 5 + SECOND), Steady { running: 5 + SECOND, shown: 101 * SECOND });
    }

    #[test]
    fn a_clock_that_jumps_is_approached_in_either_direction_and_never_goes_back() {
        for off in [HOUR, -HOUR] {
            let mut steady = Steady { running: 0, shown: 10 * HOUR };
            let mut caught_up = None;
            for second in 1..=3 * 3600 {
                let wall = 10 * HOUR + off + second * SECOND;
                let next = steady.follow(wall, second * SECOND);
                let went = next.shown - steady.shown;
                assert!((SECOND / 2..=2 * SECOND).contains(&went), "{went}");
                steady = next;
                if steady.shown == wall {
                    caught_up = caught_up.or(Some(second));
                }
            }
            assert_eq!(caught_up, Some(if off > 0 { 3600 } else { 2 * 3600 }));
        }
    }

    #[test]
    fn a_clock_that_was_wrong_by_years_is_not_caught_up_with_for_years() {
        let at = Steady { running: 0, shown: 0 };
        assert_eq!(at.follow(50_000 * HOUR, SECOND).shown, 50_000 * HOUR);
    }

    #[test]
    fn the_machine_is_told_the_time_it_has() {
        let (before, now, after) = (wall_now(), SteadyClock.now(), wall_now());
        assert!(before.0 - SECOND <= now.0 && now.0 <= after.0 + SECOND);
    }
}
