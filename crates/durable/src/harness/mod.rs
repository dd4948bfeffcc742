//! The test bench every operation runs through: a crash before every commit, every step twice, a step that gives up, a
//! wish to call it off, each at every step, on a real store file and in fast time.
//!
//! ```ignore
//! moorage_durable::harness!(provision, ProvisionFixture);
//! ```
//!
//! makes a module of tests named after what they prove. The fixture says how to prepare a world, what to submit, what the
//! world contains, and what must be true in the end.

mod bench;
mod fast_time;
mod saboteur;

pub use bench::{Ending, Trial};
pub use fast_time::{FastClock, in_fast_time, temporary_directory};

use crate::{OnCancel, Operation, Registry, StepName};
use async_trait::async_trait;
use moorage_domain::operation::OperationStatus;
use moorage_domain::{ClusterId, HostId, OperationId, Timestamp};
use moorage_store::{Store, StoreResult};
use saboteur::{Act, Saboteur};
use serde::Serialize;

/// What an operation under test needs around it. The fixture itself stands for the world outside the control plane: it
/// outlives crashes, while store and world are opened anew after each.
#[async_trait]
pub trait Fixture: Sized + Send + Sync + 'static {
    /// The operation under test.
    type Operation: Operation;

    /// Makes a fresh outside world and inserts the rows the operation presupposes.
    async fn prepare(store: &Store, clock: FastClock) -> Self;
    /// The operation under test.
    fn operation(&self) -> Self::Operation;
    /// The host whose operations are carried out.
    fn host(&self) -> HostId;
    /// The cluster it works on.
    fn cluster(&self) -> ClusterId;
    /// The world a control plane with this store acts on.
    fn world(&self, store: &Store) -> <Self::Operation as Operation>::World;
    /// Submits the operation.
    async fn submit(&self, store: &Store, now: Timestamp) -> OperationId;
    /// Everything outside and in the store that cleaning up has to bring back to what it was, as text.
    async fn inventory(&self, store: &Store) -> String;
    /// Panics unless what the operation promises is true.
    async fn check_succeeded(&self, store: &Store);
    /// Panics unless the cluster is as it should be after cleaning up; the inventory is compared anyway.
    async fn check_cleaned_up(&self, _store: &Store) {}
    /// Further operations that may start by themselves.
    fn others(&self, registry: Registry<<Self::Operation as Operation>::World>) -> Registry<<Self::Operation as Operation>::World> {
        registry
    }
}

fn step_names<O: Operation>() -> Vec<&'static str> {
    O::Step::ALL.iter().map(|step| step.name()).collect()
}

fn parse<F: Fixture>(step: &str) -> <F::Operation as Operation>::Step {
    StepName::parse(step).unwrap_or_else(|| panic!("'{step}' is no step; steps are {:?}", step_names::<F::Operation>()))
}

async fn succeeded<F: Fixture>(trial: &Trial<F>, ending: &Ending, doing: &str) {
    assert_eq!(ending.status, OperationStatus::Succeeded, "{doing}: it must succeed\n{}", ending.story());
    trial.fixture().check_succeeded(trial.store()).await;
}

async fn cleaned_up<F: Fixture>(trial: &Trial<F>, ending: &Ending, expected: OperationStatus, doing: &str) {
    assert_eq!(ending.status, expected, "{doing}: it must clean up\n{}", ending.story());
    let after = trial.fixture().inventory(trial.store()).await;
    assert_eq!(after, trial.inventory_before(), "{doing}: nothing may be left behind\n{}", ending.story());
    trial.fixture().check_cleaned_up(trial.store()).await;
}

/// It runs to its end, and what it promises is true. Returns the steps of its road.
pub fn completes<F: Fixture>() {
    in_fast_time(async {
        road::<F>().await;
    });
}

/// The steps of an undisturbed run, in order and without repetitions, and how many commits it took.
async fn road<F: Fixture>() -> (Vec<String>, u32) {
    let saboteur = Saboteur::idle();
    let mut trial = Trial::<F>::begin(saboteur.clone()).await;
    let ending = trial.run_to_the_end().await;
    succeeded(&trial, &ending, "undisturbed").await;
    (saboteur.steps(), saboteur.commits())
}

/// Killed before each of its commits in turn, and once before every single one, it still succeeds.
pub fn survives_crash_before_every_commit<F: Fixture>() {
    in_fast_time(async {
        let (_, commits) = road::<F>().await;
        for n in 1..=commits {
            let mut trial = Trial::<F>::begin(Saboteur::new(Act::CrashAt(n))).await;
            let ending = trial.run_to_the_end().await;
            // A run that had to wait less often has fewer commits.
            assert!(trial.crashes() == 1 || n > 1, "the crash before commit {n} did not happen");
            succeeded(&trial, &ending, &format!("crashed before commit {n} of {commits}")).await;
        }
        let mut trial = Trial::<F>::begin(Saboteur::new(Act::CrashAtEverySecond)).await;
        let ending = trial.run_to_the_end().await;
        succeeded(&trial, &ending, "crashed before every commit").await;
    });
}

/// Every step runs twice in a row, and then every step beside a twin of itself; it still succeeds.
pub fn tolerates_every_step_running_twice<F: Fixture>() {
    in_fast_time(async {
        for (act, doing) in [(Act::Twice, "every step twice"), (Act::Beside, "every step beside a twin")] {
            let mut trial = Trial::<F>::begin(Saboteur::new(act)).await;
            let ending = trial.run_to_the_end().await;
            succeeded(&trial, &ending, doing).await;
        }
    });
}

/// Each step of the road gives up, before and after it did its work: what was made is gone again, also when the clean-up
/// is killed before each of its commits and runs every step twice. Where the operation says that there is nothing to clean
/// up, it ends as failed and lets go of its cluster.
pub fn cleans_up_when_any_step_gives_up<F: Fixture>() {
    in_fast_time(async {
        let (steps, commits) = road::<F>().await;
        let mut last_with_way_back = None;
        for step in &steps {
            for after in [false, true] {
                let mut trial = Trial::<F>::begin(Saboteur::new(Act::GiveUp { step: step.clone(), after })).await;
                let way_back = trial.fixture().operation().on_give_up(parse::<F>(step)).is_some();
                let ending = trial.run_to_the_end().await;
                let doing = format!("'{step}' gave up {} its work", if after { "after" } else { "before" });
                if way_back {
                    cleaned_up(&trial, &ending, OperationStatus::Failed, &doing).await;
                    last_with_way_back = Some(step.clone());
                } else {
                    assert_eq!(ending.status, OperationStatus::Failed, "{doing}\n{}", ending.story());
                }
            }
        }
        let Some(step) = last_with_way_back else { return };
        for n in 1..=commits + 2 {
            let mut trial = Trial::<F>::begin(Saboteur::new(Act::GiveUpAndCrash { step: step.clone(), at: n })).await;
            let ending = trial.run_to_the_end().await;
            cleaned_up(&trial, &ending, OperationStatus::Failed, &format!("'{step}' gave up, and a crash before commit {n}")).await;
        }
        let mut trial = Trial::<F>::begin(Saboteur::new(Act::GiveUpAndTwice { step: step.clone() })).await;
        let ending = trial.run_to_the_end().await;
        cleaned_up(&trial, &ending, OperationStatus::Failed, &format!("'{step}' gave up, and every step ran twice")).await;
    });
}

/// Called off before each step of the road: either it cleans up and nothing is left, or it says that it is too late, says
/// so in its timeline, and succeeds.
pub fn can_be_cancelled_at_every_step<F: Fixture>() {
    in_fast_time(async {
        let (steps, _) = road::<F>().await;
        for step in &steps {
            let mut trial = Trial::<F>::begin(Saboteur::new(Act::Cancel { step: step.clone() })).await;
            let answer = trial.fixture().operation().on_cancel(parse::<F>(step));
            let ending = trial.run_to_the_end().await;
            let doing = format!("called off at '{step}'");
            match answer {
                OnCancel::CleanUpFrom(_) => cleaned_up(&trial, &ending, OperationStatus::Cancelled, &doing).await,
                OnCancel::FinishFirst(why) => {
                    succeeded(&trial, &ending, &doing).await;
                    assert!(
                        ending.events.iter().any(|event| event.detail.contains(why)),
                        "{doing}: nobody was told why not\n{}",
                        ending.story()
                    );
                }
            }
        }
    });
}

/// The parts of an operation that rows of older builds contain: its kind, the names of its steps, and a request and a state
/// with every field set. Snapshot it: what disappears from it needs a migration.
pub fn wire_format<O: Operation>(request: &O::Request, state: &O::State) -> String {
    #[derive(Serialize)]
    struct Format<'a, R, S> {
        kind: &'a str,
        steps: Vec<&'a str>,
        request: &'a R,
        state: &'a S,
    }
    let empty: Result<O::State, _> = serde_json::from_str("{}");
    assert!(empty.is_ok(), "{}: every field of a state is optional, yet {:?}", O::KIND, empty.err());
    let format = Format { kind: O::KIND, steps: step_names::<O>(), request, state };
    serde_json::to_string_pretty(&format).unwrap_or_else(|error| panic!("{}: {error}", O::KIND))
}

/// A row as an older build left it, at this step and with this state as JSON: it must still run to success.
pub fn outlives_upgrade<F: Fixture>(step: &str, state: &str) {
    in_fast_time(async {
        let mut trial = Trial::<F>::begin(Saboteur::new(Act::StopAt { step: step.to_owned() })).await;
        trial.until_stopped().await;
        trial.rewrite_state(state).await;
        let ending = trial.run_to_the_end().await;
        succeeded(&trial, &ending, &format!("an older state at '{step}'")).await;
    });
}

fn expect<T>(doing: &str, result: StoreResult<T>) -> T {
    result.unwrap_or_else(|error| panic!("{doing}: {error}: {:?}", std::error::Error::source(&error)))
}

/// Makes a module of tests that put the operation of a [`Fixture`] through the whole bench.
#[macro_export]
macro_rules! harness {
    ($name:ident, $fixture:ty) => {
        mod $name {
            use super::*;

            #[test]
            fn completes() {
                $crate::harness::completes::<$fixture>();
            }
            #[test]
            fn survives_crash_before_every_commit() {
                $crate::harness::survives_crash_before_every_commit::<$fixture>();
            }
            #[test]
            fn tolerates_every_step_running_twice() {
                $crate::harness::tolerates_every_step_running_twice::<$fixture>();
            }
            #[test]
            fn cleans_up_when_any_step_gives_up() {
                $crate::harness::cleans_up_when_any_step_gives_up::<$fixture>();
            }
            #[test]
            fn can_be_cancelled_at_every_step() {
                $crate::harness::can_be_cancelled_at_every_step::<$fixture>();
            }
        }
    };
}
