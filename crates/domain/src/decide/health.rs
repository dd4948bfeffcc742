//! When an engine that runs but does not answer counts as hung (decisions 9).

use crate::Timestamp;
use std::time::Duration;

/// A probe's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It answered.
    Answered,
    /// It said it is busy: starting up, recovering, too many connections. That is life.
    Busy,
    /// No answer in time.
    Silent,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    Healthy,
    /// Silent, but not for long enough.
    Suspect {
        /// Since when.
        since: Timestamp,
    },
    /// Kill it and start it again.
    Restart,
}

/// Silence of a single instance that is answered by a restart.
pub const HUNG_AFTER: Duration = Duration::from_secs(30);
/// A gap between two probes longer than this means that the prober itself was away; silence is counted afresh.
pub const OWN_PAUSE: Duration = Duration::from_secs(10);

/// Decides on one probe. `last_probe` is when the probe before this one ended.
pub fn decide(probe: Probe, silent_since: Option<Timestamp>, last_probe: Option<Timestamp>, now: Timestamp) -> Verdict {
    if probe != Probe::Silent {
        return Verdict::Healthy;
    }
    let away = last_probe.is_none_or(|last| now.since(last) > OWN_PAUSE);
    let since = match silent_since {
        Some(since) if !away => since,
        _ => now,
    };
    if now.since(since) >= HUNG_AFTER { Verdict::Restart } else { Verdict::Suspect { since } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn only_lasting_silence_is_a_hang() {
        assert_eq!(decide(Probe::Busy, Some(Timestamp(0)), Some(Timestamp(99 * S)), Timestamp(100 * S)), Verdict::Healthy);
        assert_eq!(decide(Probe::Silent, None, Some(Timestamp(0)), Timestamp(S)), Verdict::Suspect { since: Timestamp(S) });
        assert_eq!(decide(Probe::Silent, Some(Timestamp(0)), Some(Timestamp(28 * S)), Timestamp(30 * S)), Verdict::Restart);
    }

    #[test]
    fn a_pause_of_the_prober_is_not_the_engines_silence() {
        assert_eq!(
            decide(Probe::Silent, Some(Timestamp(0)), Some(Timestamp(S)), Timestamp(100 * S)),
            Verdict::Suspect { since: Timestamp(100 * S) }
        );
    }
}
