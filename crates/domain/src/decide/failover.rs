//! What follows from how the two instances of a cluster are seen: one verdict, with one sentence that says why.

use std::time::Duration;

/// Silence of a running primary after which the standby takes over: longer than a pause of two seconds that passes.
pub const PRIMARY_SILENT_FOR: Duration = Duration::from_millis(3_200);
/// Silence of a running standby after which commits do not wait for it any more.
pub const STANDBY_SILENT_FOR: Duration = Duration::from_millis(3_200);

/// How long a standby that is connected may take to get what the primary has written: longer than the bound on what it has not applied
/// takes to be applied on a busy machine.
pub const STANDBY_STUCK_FOR: Duration = Duration::from_secs(10);

/// How an instance is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It runs and answers, or says that it is busy.
    Answers,
    /// It runs and has not answered for so long.
    Silent(Duration),
    /// Its process has ended; in words how.
    Dead(String),
}

/// What is seen of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The primary of the present term.
    pub primary: Sight,
    /// The other instance.
    pub standby: Sight,
    /// The name of the other instance.
    pub standby_name: &'a str,
    /// The standby may be promoted, in a life that is not its present one or in none: the record is out of date.
    pub outlived: bool,
    /// The standby may be promoted.
    pub promotable: bool,
    /// Whether the primary's commits wait for the standby; none where it is not known.
    pub waited_for: Option<bool>,
    /// Commits are to wait for the standby also while it is not in sync.
    pub strict: bool,
    /// Both answer, and for so long the primary has lacked the acknowledgement that its commits wait for.
    pub unacknowledged: Option<Duration>,
    /// Both answer, and for so long the standby has lacked what the primary had written then.
    pub stuck: Option<Duration>,
    /// Nothing is in the way of bringing the standby back: it was not tried a moment ago.
    pub may_rejoin: bool,
    /// Nor of putting right who waits for whom.
    pub may_settle: bool,
}

/// What to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Nothing,
    /// Something is wrong, and nothing is done about it yet.
    Wait(String),
    /// The standby takes over.
    FailOver(String),
    /// The primary of the present term is started again: nobody else has everything.
    Restart(String),
    /// The standby is recorded as not promotable, and brought back.
    Rejoin(String),
}

fn tenths(silence: Duration) -> String {
    format!("{}.{} s", silence.as_secs(), silence.subsec_millis() / 100)
}

/// Decides. A dead process is certain, silence is not: it has to last.
pub fn decide(seen: &Seen<'_>) -> Verdict {
    let name = seen.standby_name;
    let ready = seen.promotable && !seen.outlived;
    let what = match &seen.primary {
        Sight::Answers => return standby(seen),
        Sight::Dead(how) => format!("The primary {how}"),
        Sight::Silent(silence) if *silence >= PRIMARY_SILENT_FOR => format!("The primary has not answered for {}", tenths(*silence)),
        Sight::Silent(silence) => {
            return Verdict::Wait(format!(
                "The primary has not answered for {}; it is given {}.",
                tenths(*silence),
                tenths(PRIMARY_SILENT_FOR)
            ));
        }
    };
    let dead = matches!(seen.primary, Sight::Dead(_));
    match (&seen.standby, ready) {
        (Sight::Answers, true) => Verdict::FailOver(format!("{what}, and {name} has everything that was acknowledged.")),
        (Sight::Silent(silence), true) if dead && *silence < STANDBY_SILENT_FOR => {
            Verdict::FailOver(format!("{what}, and {name} has everything that was acknowledged."))
        }
        (_, _) if dead => {
            let why = match (&seen.standby, seen.promotable) {
                (Sight::Dead(how), _) => format!("{name} {how}, too"),
                (_, true) if seen.outlived => format!("{name} was started again and may lack what was acknowledged"),
                (Sight::Silent(silence), true) => format!("{name} has not answered for {}", tenths(*silence)),
                (_, _) => format!("{name} was not in sync and may lack what was acknowledged"),
            };
            Verdict::Restart(format!("{what}; {why}: the primary is started again."))
        }
        (_, true) => Verdict::Wait(format!("{what}, and neither does {name} answer.")),
        (_, false) => Verdict::Wait(format!("{what}, and {name} may not take over: it was not in sync.")),
    }
}

fn mute(seen: &Seen<'_>) -> bool {
    let longer = |since: Option<Duration>, limit: Duration| since.is_some_and(|since| since >= limit);
    seen.promotable && (longer(seen.unacknowledged, STANDBY_SILENT_FOR) || longer(seen.stuck, STANDBY_STUCK_FOR))
}

impl Seen<'_> {
    /// Whether commits wait for the standby, or are to: then somebody is waiting for it to be looked after.
    pub fn commits_wait(&self) -> bool {
        self.promotable || self.strict || self.waited_for == Some(true)
    }
}

/// What is wrong with who waits for whom while no standby is in sync.
fn unsettled(seen: &Seen<'_>) -> Option<String> {
    match (seen.promotable, seen.waited_for.filter(|_| seen.may_settle), seen.strict) {
        (false, Some(false), true) => Some("The cluster is strict, and commits do not wait for the standby.".to_owned()),
        (false, Some(true), false) => Some("Commits wait for a standby that is not in sync.".to_owned()),
        _ => None,
    }
}

fn standby(seen: &Seen<'_>) -> Verdict {
    let name = seen.standby_name;
    let why = match &seen.standby {
        Sight::Dead(how) => format!("The standby {name} {how}."),
        Sight::Silent(silence) if *silence >= STANDBY_SILENT_FOR => {
            format!("The standby {name} has not answered for {}.", tenths(*silence))
        }
        Sight::Silent(_) if unsettled(seen).is_none() => return Verdict::Nothing,
        Sight::Silent(silence) => format!("The standby {name} has not answered for {}.", tenths(*silence)),
        Sight::Answers if seen.outlived => format!("The standby {name} was started again."),
        Sight::Answers if seen.promotable && seen.waited_for == Some(false) => {
            format!("{name} may be promoted, and the primary does not wait for it.")
        }
        Sight::Answers if mute(seen) => {
            let since = seen.unacknowledged.or(seen.stuck).unwrap_or_default();
            format!("The standby {name} runs, but for {} it has not said that it has what was written.", tenths(since))
        }
        Sight::Answers if !seen.promotable => format!("The standby {name} is not in sync."),
        Sight::Answers => return Verdict::Nothing,
    };
    // Commits wait for it: that it is recorded as lost bears no delay, bringing it back does.
    if seen.promotable || seen.may_rejoin {
        return Verdict::Rejoin(why);
    }
    unsettled(seen).map_or(Verdict::Wait(why), Verdict::Rejoin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Seen<'static> {
        Seen {
            primary: Sight::Answers,
            standby: Sight::Answers,
            standby_name: "shop-2",
            outlived: false,
            promotable: true,
            waited_for: Some(true),
            strict: false,
            unacknowledged: None,
            stuck: None,
            may_rejoin: true,
            may_settle: true,
        }
    }
    fn killed() -> Sight {
        Sight::Dead("was killed by signal 9".into())
    }
    const LONG: Sight = Sight::Silent(Duration::from_secs(4));
    const SHORT: Sight = Sight::Silent(Duration::from_secs(2));

    #[test]
    fn a_dead_primary_is_followed_by_a_standby_that_has_everything_and_by_no_other() {
        let seen = Seen { primary: killed(), ..well() };
        assert_eq!(
            decide(&seen),
            Verdict::FailOver("The primary was killed by signal 9, and shop-2 has everything that was acknowledged.".into())
        );
        for other in [
            Seen { promotable: false, ..seen.clone() },
            Seen { outlived: true, ..seen.clone() },
            Seen { standby: killed(), ..seen.clone() },
            Seen { standby: LONG, ..seen.clone() },
        ] {
            assert!(matches!(decide(&other), Verdict::Restart(_)), "{other:?}");
        }
        assert!(matches!(decide(&Seen { standby: SHORT, ..seen }), Verdict::FailOver(_)), "a late probe is no reason");
    }

    #[test]
    fn silence_has_to_last_and_is_never_answered_by_a_restart() {
        assert!(matches!(decide(&Seen { primary: SHORT, ..well() }), Verdict::Wait(_)), "two seconds are no failover");
        assert!(matches!(decide(&Seen { primary: LONG, ..well() }), Verdict::FailOver(_)));
        for standby in [killed(), LONG, SHORT] {
            assert!(matches!(decide(&Seen { primary: LONG, standby, ..well() }), Verdict::Wait(_)), "nobody there to take over");
        }
        assert!(matches!(decide(&Seen { primary: LONG, promotable: false, ..well() }), Verdict::Wait(_)));
    }

    #[test]
    fn a_standby_that_answers_and_acknowledges_nothing_is_lost_too() {
        let mute = Seen { unacknowledged: Some(Duration::from_secs(4)), may_rejoin: false, ..well() };
        assert!(matches!(decide(&mute), Verdict::Rejoin(_)));
        assert!(matches!(decide(&Seen { waited_for: Some(false), ..well() }), Verdict::Rejoin(_)), "what the record says does not hold");
        assert!(matches!(decide(&Seen { promotable: false, ..mute.clone() }), Verdict::Rejoin(_)), "commits wait for nobody");
        assert_eq!(decide(&Seen { unacknowledged: Some(Duration::from_secs(1)), ..mute }), Verdict::Nothing);
        assert_eq!(decide(&Seen { stuck: Some(Duration::from_secs(9)), ..well() }), Verdict::Nothing, "it applies first");
        assert!(matches!(decide(&Seen { stuck: Some(Duration::from_secs(11)), may_rejoin: false, ..well() }), Verdict::Rejoin(_)));
    }

    #[test]
    fn who_waits_for_whom_is_put_right_at_once_also_when_the_cluster_becomes_strict_or_ceases_to_be() {
        for standby in [killed(), LONG, SHORT, Sight::Answers] {
            let lost = Seen { standby, promotable: false, may_rejoin: false, ..well() };
            for (strict, waits) in [(true, true), (false, false)] {
                let settled = Seen { strict, waited_for: Some(waits), ..lost.clone() };
                assert!(!matches!(decide(&settled), Verdict::Rejoin(_)), "{settled:?}");
                let unsettled = Seen { waited_for: Some(!waits), ..settled.clone() };
                assert!(matches!(decide(&unsettled), Verdict::Rejoin(_)), "{unsettled:?}");
                let tried = Seen { may_settle: false, ..unsettled };
                assert!(!matches!(decide(&tried), Verdict::Rejoin(_)), "{tried:?}");
                let unknown = Seen { waited_for: None, ..settled };
                assert!(!matches!(decide(&unknown), Verdict::Rejoin(_)), "{unknown:?}");
            }
        }
        let long = Some(Duration::from_secs(60));
        let catches_up = Seen { promotable: false, may_rejoin: false, strict: true, unacknowledged: long, ..well() };
        assert!(matches!(decide(&catches_up), Verdict::Wait(_)), "a strict cluster waits for it as long as it takes");
    }

    #[test]
    fn a_lost_standby_is_recorded_at_once_and_brought_back_with_rests() {
        assert_eq!(decide(&well()), Verdict::Nothing);
        assert_eq!(decide(&Seen { standby: SHORT, ..well() }), Verdict::Nothing);
        for lost in [Seen { standby: killed(), ..well() }, Seen { standby: LONG, ..well() }, Seen { outlived: true, ..well() }] {
            assert!(matches!(decide(&Seen { may_rejoin: false, ..lost.clone() }), Verdict::Rejoin(_)), "{lost:?}");
            let recorded = Seen { promotable: false, outlived: false, waited_for: Some(false), ..lost };
            assert!(matches!(decide(&recorded), Verdict::Rejoin(_)), "{recorded:?}");
            assert!(matches!(decide(&Seen { may_rejoin: false, ..recorded }), Verdict::Wait(_)));
        }
    }
}
