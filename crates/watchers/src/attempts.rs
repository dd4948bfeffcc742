//! Attempts at clusters that are not as they should be, with rests between them that grow; in this life of the process.

use moorage_domain::ClusterId;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

struct Attempt {
    count: u32,
    next: Instant,
}

/// What was tried and when it may be tried again.
pub(crate) struct Attempts {
    /// The first rest and the longest; each is twice the one before.
    rests: (Duration, Duration),
    made: HashMap<ClusterId, Attempt>,
}

impl Attempts {
    pub fn resting(first: Duration, longest: Duration) -> Self {
        Self { rests: (first, longest), made: HashMap::new() }
    }
    /// Whether the rest after the last attempt is over.
    pub fn may_try(&self, cluster: &ClusterId) -> bool {
        self.made.get(cluster).is_none_or(|attempt| attempt.next <= Instant::now())
    }
    /// It is tried now.
    pub fn try_now(&mut self, cluster: &ClusterId) {
        let attempt = self.made.entry(cluster.clone()).or_insert(Attempt { count: 0, next: Instant::now() });
        attempt.next = Instant::now() + (self.rests.0 * 2_u32.saturating_pow(attempt.count.min(8))).min(self.rests.1);
        attempt.count += 1;
    }
    /// It is as it should be.
    pub fn forget(&mut self, cluster: &ClusterId) {
        self.made.remove(cluster);
    }
}
