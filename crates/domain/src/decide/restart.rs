//! When a dead engine is started again, and when that is given up (decisions 6).

use crate::Timestamp;
use std::time::Duration;

/// How long an engine must have run for its earlier deaths to be forgotten.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// Deaths in a row after which the engine is left dead, visibly.
pub const MOST_IN_A_ROW: u32 = 6;

/// The longest wait before a restart.
pub const LONGEST_WAIT: Duration = Duration::from_millis(200 << (MOST_IN_A_ROW - 2));

/// What to do about a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterDeath {
    /// Start it again after this long.
    RestartIn(Duration),
    /// Leave it dead and say so.
    GiveUp,
}

/// Decides after a death: `in_a_row` counts the deaths before this one that were not forgiven, `started` and `died` frame
/// the run that just ended. Returns the new count with the decision. The first restart is immediate, then the wait
/// doubles from 200 ms.
pub fn decide(in_a_row: u32, started: Timestamp, died: Timestamp) -> (u32, AfterDeath) {
    let before = if died.since(started) >= FORGIVEN_AFTER { 0 } else { in_a_row };
    let count = before + 1;
    let what = match count {
        1 => AfterDeath::RestartIn(Duration::ZERO),
        n if n <= MOST_IN_A_ROW => AfterDeath::RestartIn(Duration::from_millis(200) * 2_u32.pow(n - 2)),
        _ => AfterDeath::GiveUp,
    };
    (count, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_is_mended_at_once_and_a_loop_ends() {
        let at = |s: i64| Timestamp(s * 1_000_000);
        let (mut count, what) = decide(0, at(0), at(1));
        assert_eq!(what, AfterDeath::RestartIn(Duration::ZERO));
        let mut waits = Vec::new();
        loop {
            let (next, what) = decide(count, at(0), at(1));
            count = next;
            match what {
                AfterDeath::RestartIn(wait) => waits.push(wait),
                AfterDeath::GiveUp => break,
            }
        }
        assert_eq!(waits.len() as u32, MOST_IN_A_ROW - 1);
        assert!(waits.windows(2).all(|w| w[1] == w[0] * 2));
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
    }

    #[test]
    fn a_long_life_forgives_earlier_deaths() {
        assert_eq!(decide(5, Timestamp(0), Timestamp(61_000_000)), (1, AfterDeath::RestartIn(Duration::ZERO)));
    }
}
