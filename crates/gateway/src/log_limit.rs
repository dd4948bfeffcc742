//! Keeps what strangers can cause from filling the log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lets one line through per period and counts the rest.
pub struct LogLimit {
    period: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    /// One line per `period`.
    pub fn new(period: Duration) -> Self {
        Self { period, state: Mutex::new((None, 0)) }
    }

    /// Whether to write a line now, and how many were held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match state.0 {
            Some(last) if now.duration_since(last) < self.period => {
                state.1 += 1;
                None
            }
            _ => {
                let held_back = state.1;
                *state = (Some(now), 0);
                Some(held_back)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_per_period_and_says_how_many_were_held_back() {
        let limit = LogLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(limit.pass_at(start), Some(0));
        assert_eq!(limit.pass_at(start + Duration::from_secs(1)), None);
        assert_eq!(limit.pass_at(start + Duration::from_secs(9)), None);
        assert_eq!(limit.pass_at(start + Duration::from_secs(10)), Some(2));
    }
}
