//! Points in time as microseconds since the Unix epoch: what the store keeps and what decisions compare.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This point moved forward.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
    /// RFC 3339 in UTC with whole seconds, as `2024-05-17T00:23:17Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_second(self.0.div_euclid(1_000_000))
            .map_or_else(|_| String::from("1970-01-01T00:00:00Z"), |at| at.to_string())
    }
    /// The same with milliseconds, as `2024-05-17T00:23:17.123Z`.
    pub fn rfc3339_millis(self) -> String {
        jiff::Timestamp::from_millisecond(self.0.div_euclid(1_000))
            .map_or_else(|_| String::from("1970-01-01T00:00:00.000Z"), |at| format!("{at:.3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc3339_in_whole_seconds() {
        assert_eq!(Timestamp(1_715_905_397_123_456).rfc3339(), "2024-05-17T00:23:17Z");
        assert_eq!(Timestamp(1_715_905_397_003_456).rfc3339_millis(), "2024-05-17T00:23:17.003Z");
    }
}
