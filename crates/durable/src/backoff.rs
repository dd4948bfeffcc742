//! How long a failing step rests before it is tried again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const CEILING: Duration = Duration::from_secs(30);
/// No step rests for longer than this, whether it failed or waits for something.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// The rest after the given failed try, from 1: doubling up to a ceiling, up to a quarter longer or shorter, so that
/// operations that failed together do not come back together. The same operation and try always rest equally long.
pub(crate) fn rest(operation: &str, attempt: u32) -> Duration {
    let plain = FIRST.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(CEILING);
    let mut hasher = DefaultHasher::new();
    (operation, attempt).hash(&mut hasher);
    let percent = 75 + u32::try_from(hasher.finish() % 51).unwrap_or(25);
    plain * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_a_ceiling_and_differ_between_operations() {
        for attempt in 1..60 {
            let plain = FIRST.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(CEILING);
            let rest = rest("a", attempt);
            assert!(rest >= plain * 3 / 4 && rest <= plain * 5 / 4, "{attempt}: {rest:?}");
        }
        assert_ne!((1..20).map(|n| rest("a", n)).collect::<Vec<_>>(), (1..20).map(|n| rest("b", n)).collect::<Vec<_>>());
    }
}
