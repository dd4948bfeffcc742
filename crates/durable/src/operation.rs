//! What an operation is.

use crate::{Context, StepName};
use async_trait::async_trait;
use moorage_domain::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The private cause of a failure, for the log.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A durable operation on one cluster, whose lock it holds from its submission to its end.
///
/// The kind, the names of its steps and the fields of its request and state are a wire format: rows written by an older
/// build must still be readable, so they are added to, never renamed. Neither request nor state holds a secret.
#[async_trait]
pub trait Operation: Send + Sync + 'static {
    /// Its kind (`cluster.provision`).
    const KIND: &'static str;
    /// What it acts on: host, engines, store.
    type World: Send + Sync + 'static;
    /// What was asked for; never changes.
    type Request: Serialize + DeserializeOwned + Send + Sync;
    /// What was learnt on the way. It is kept when a step has to be tried again, so a step may note there what it begins.
    type State: Serialize + DeserializeOwned + Default + Send + Sync;
    /// Its steps.
    type Step: StepName;

    /// The first step.
    fn first(&self) -> Self::Step;
    /// What calling it off means before this step is run (again).
    fn on_cancel(&self, at: Self::Step) -> OnCancel<Self::Step>;
    /// Where cleaning up begins when this step gives up; none where there is nothing to clean up: the operation then ends
    /// as failed at once.
    fn on_give_up(&self, at: Self::Step) -> Option<Self::Step>;
    /// What comes after a step whose work an operator did by hand; none where that is the end. By default the next step in
    /// the order of their declaration, unless that is where cleaning up begins.
    fn after(&self, step: Self::Step) -> Option<Self::Step> {
        let next = Self::Step::ALL.iter().copied().skip_while(|other| *other != step).nth(1)?;
        (self.on_give_up(step) != Some(next)).then_some(next)
    }
    /// How long a step may go on failing before it gives up; none: it is tried for ever, visibly.
    fn patience(&self, _step: Self::Step) -> Option<Duration> {
        None
    }
    /// After this long, and again after each further such span, the operation is said to be late. Nothing is ended by it.
    fn deadline(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }
    /// Carries out one step. It reads the world first, only ensures, takes seconds and not minutes, and may be dropped and
    /// run again at any point. What it passes to [`Context::write`] is committed with its success and dropped otherwise.
    async fn run(
        &self,
        step: Self::Step,
        request: &Self::Request,
        state: &mut Self::State,
        context: &mut Context<Self::World>,
    ) -> Result<Next<Self::Step>, StepError>;
}

/// What follows a step that did its work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next<S> {
    /// This step, at once.
    Go(S),
    /// This step after a while (the same one to poll), and in public words why. A nudge ends the wait.
    Wait(S, Duration, String),
    /// The end: succeeded, or cleaned up.
    Done,
}

/// What calling an operation off means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCancel<S> {
    /// The clean-up path from this step; the operation then ends as cancelled.
    CleanUpFrom(S),
    /// It is too late, and why; the operation goes on to its end.
    FinishFirst(&'static str),
}

/// How a step failed; the step chooses, nobody guesses from texts.
#[derive(Debug)]
pub enum StepError {
    /// It may do better later.
    Retry {
        /// What users may see: why it has to be tried again, and why it failed once patience is at its end.
        problem: Problem,
        /// For the log.
        cause: Option<Cause>,
    },
    /// It will not do better: the operation cleans up and ends as failed. On the clean-up path an operator is called.
    GiveUp(Problem),
    /// Nobody but an operator can say how to go on; the cluster stays locked.
    NeedsOperator(Problem),
}

impl StepError {
    /// To be tried again; `words` are public, the cause goes to the log.
    pub fn retry(cause: impl Into<Cause>, words: impl Into<String>) -> Self {
        Self::retry_problem(cause, Problem::new(moorage_domain::ProblemCode::HostFailed, words))
    }
    /// To be tried again; the problem is what the operation fails with once patience is at its end.
    pub fn retry_problem(cause: impl Into<Cause>, problem: Problem) -> Self {
        Self::Retry { problem, cause: Some(cause.into()) }
    }
}
