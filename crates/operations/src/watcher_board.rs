//! What watchers last did: each writes here when it has looked, and whoever wants to know reads it.

use moorage_domain::{ClusterId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a watcher last did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherStatus {
    /// Its name.
    pub name: &'static str,
    /// How often it looks, nudges aside.
    pub period: Duration,
    /// When it last began to look.
    pub began_at: Timestamp,
    /// How long that took.
    pub took: Duration,
    /// Why it did not succeed, if it did not.
    pub failure: Option<String>,
    /// How often it has looked since the server was started.
    pub runs: u64,
    /// How often it failed.
    pub failures: u64,
}

/// The board of all watchers of a process.
#[derive(Debug, Default)]
pub struct WatcherBoard {
    seen: Mutex<BTreeMap<&'static str, WatcherStatus>>,
    lags: Mutex<BTreeMap<ClusterId, Duration>>,
}

impl WatcherBoard {
    /// Notes that a watcher has looked.
    pub fn note(&self, name: &'static str, period: Duration, began_at: Timestamp, took: Duration, failure: Option<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (runs, failures) = seen.get(name).map_or((0, 0), |before| (before.runs, before.failures));
        let failures = failures + u64::from(failure.is_some());
        seen.insert(name, WatcherStatus { name, period, began_at, took, failure, runs: runs + 1, failures });
    }

    /// Notes how far a cluster's standby is behind in what it has applied; none where that is not known any more.
    pub fn note_lag(&self, cluster: &ClusterId, lag: Option<Duration>) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        match lag {
            Some(lag) => drop(lags.insert(cluster.clone(), lag)),
            None => drop(lags.remove(cluster)),
        }
    }

    /// How far a cluster's standby was behind when it was last asked.
    pub fn lag(&self, cluster: &ClusterId) -> Option<Duration> {
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).copied()
    }

    /// What each last did, by name.
    pub fn all(&self) -> Vec<WatcherStatus> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_shows_the_last_look_and_counts_all() {
        let board = WatcherBoard::default();
        let second = Duration::from_secs(1);
        board.note("health", second, Timestamp(1), second, Some("the store did not answer".into()));
        board.note("health", second, Timestamp(2), second, None);
        let all = board.all();
        assert_eq!((all.len(), all[0].began_at, &all[0].failure, all[0].runs, all[0].failures), (1, Timestamp(2), &None, 2, 1));
    }
}
