//! In which order a standby comes to be promotable and ceases to be (decisions 11).
//!
//! Two things say who matters. The primary's engine has a set of instances that must have a commit before it is acknowledged,
//! the *acknowledging* set; the store has a row that says who may be promoted. Every commit waits for all of the acknowledging set.
//!
//! Invariant, whoever dies between any two steps: **who may be promoted has every acknowledged commit.**
//!
//! It holds because the promotable are always a part of the acknowledging set: the engine's set grows before the row and shrinks
//! after it, and a newcomer enters the row only when it has everything that was written before its acknowledgement was required.

/// What is known of a standby. `has_everything` counts only when it was asked after `acknowledging` was seen to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The row says it may be promoted.
    pub promotable: bool,
    /// The primary's commits wait for it.
    pub acknowledging: bool,
    /// It has what the primary had written by a moment at which commits waited for it.
    pub has_everything: bool,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// Have the engine require its acknowledgement.
    Require,
    /// Ask again until it has everything.
    Await,
    /// Record that it may be promoted.
    Record,
    /// Record that it may not be promoted any more.
    Forget,
    /// Have the engine require nobody's acknowledgement: commits that wait go on.
    Release,
    /// Nothing.
    Done,
}

/// The next step for a standby that is to be promotable.
pub fn join(known: Known) -> Next {
    match known {
        Known { acknowledging: false, promotable: true, .. } => Next::Forget,
        Known { acknowledging: false, .. } => Next::Require,
        Known { promotable: true, .. } => Next::Done,
        Known { has_everything: false, .. } => Next::Await,
        Known { .. } => Next::Record,
    }
}

/// The next step for a standby that is lost.
pub fn leave(known: Known) -> Next {
    match known {
        Known { promotable: true, .. } => Next::Forget,
        Known { acknowledging: true, .. } => Next::Release,
        Known { .. } => Next::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A primary, a standby, their engine's setting, the row, and a control plane that acts on what it has seen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct World {
        /// Commits so far, at most a few; which of them the standby has, and which were acknowledged.
        written: u8,
        standby_has: u8,
        acknowledged: u8,
        acknowledging: bool,
        /// Which life of the standby may be promoted.
        promotable: Option<u8>,
        life: u8,
        standby_runs: bool,
        /// The control plane wants the standby in, or out; and has seen that it has everything, in which life.
        wants_in: bool,
        seen: Option<u8>,
    }

    const COMMITS: u8 = 3;
    const LIVES: u8 = 2;

    impl World {
        /// Acknowledges what may be.
        fn settled(mut self) -> Self {
            self.acknowledged = self.acknowledged.max(if self.acknowledging { self.standby_has.min(self.written) } else { self.written });
            self
        }
        fn known(&self) -> Known {
            Known {
                promotable: self.promotable.is_some(),
                acknowledging: self.acknowledging,
                has_everything: self.standby_runs && self.seen == Some(self.life),
            }
        }
        /// What the control plane does next.
        fn act(mut self) -> Self {
            let next = if self.wants_in { join(self.known()) } else { leave(self.known()) };
            match next {
                Next::Require => (self.acknowledging, self.seen) = (true, None),
                Next::Await if self.standby_runs && self.standby_has == self.written => self.seen = Some(self.life),
                Next::Record => self.promotable = Some(self.life),
                Next::Forget => self.promotable = None,
                Next::Release => self.acknowledging = false,
                Next::Await | Next::Done => {}
            }
            self
        }
        fn successors(self) -> Vec<Self> {
            let mut all = vec![self.act()];
            if self.written < COMMITS {
                all.push(Self { written: self.written + 1, ..self });
            }
            if self.standby_runs && self.standby_has < self.written {
                all.push(Self { standby_has: self.standby_has + 1, ..self });
            }
            if self.standby_runs {
                all.push(Self { standby_runs: false, ..self });
            } else if self.life < LIVES {
                // The next life may have lost what it had not applied yet.
                for standby_has in 0..=self.standby_has {
                    all.push(Self { standby_runs: true, life: self.life + 1, standby_has, ..self });
                }
            }
            all.push(Self { wants_in: !self.wants_in, ..self });
            // The control plane is started again and has seen nothing.
            all.push(Self { seen: None, ..self });
            all.into_iter().map(World::settled).collect()
        }
    }

    #[test]
    fn who_may_be_promoted_has_every_acknowledged_commit_whatever_happens_in_between() {
        let first = World {
            written: 1,
            standby_has: 0,
            acknowledged: 1,
            acknowledging: false,
            promotable: None,
            life: 0,
            standby_runs: true,
            wants_in: true,
            seen: None,
        };
        let (mut seen, mut open, mut promotable) = (BTreeSet::from([first]), vec![first], 0);
        while let Some(world) = open.pop() {
            if world.promotable == Some(world.life) && world.standby_runs {
                promotable += 1;
                assert!(world.standby_has >= world.acknowledged, "{world:?}");
            }
            for next in world.successors() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        assert!(promotable > 10 && seen.len() > 1_000, "{promotable} of {}", seen.len());
    }

    #[test]
    fn both_ways_end() {
        let step = |known: Known, next: Next| match next {
            Next::Require => Known { acknowledging: true, has_everything: false, ..known },
            Next::Await => Known { has_everything: true, ..known },
            Next::Record => Known { promotable: true, ..known },
            Next::Forget => Known { promotable: false, ..known },
            Next::Release => Known { acknowledging: false, ..known },
            Next::Done => known,
        };
        for bits in 0..8_u8 {
            let start = Known { promotable: bits & 1 > 0, acknowledging: bits & 2 > 0, has_everything: bits & 4 > 0 };
            let end = (0..6).fold(start, |known, _| step(known, join(known)));
            assert!(join(end) == Next::Done && end.promotable && end.acknowledging, "{start:?} {end:?}");
            let end = (0..6).fold(start, |known, _| step(known, leave(known)));
            assert!(leave(end) == Next::Done && !end.promotable && !end.acknowledging, "{start:?} {end:?}");
        }
    }
}
