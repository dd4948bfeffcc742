//! Which operations this build knows.

use crate::operation::Cause;
use crate::{Context, Next, OnCancel, Operation, StepError, StepName};
use async_trait::async_trait;
use moorage_domain::{Problem, ProblemCode};
use moorage_store::{NOT_BEGUN, OperationRow};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The operations that act on one kind of world, by their kind.
pub struct Registry<W> {
    operations: HashMap<&'static str, Arc<dyn AnyOperation<W>>>,
}

impl<W> Clone for Registry<W> {
    fn clone(&self) -> Self {
        Self { operations: self.operations.clone() }
    }
}
impl<W> Default for Registry<W> {
    fn default() -> Self {
        Self { operations: HashMap::new() }
    }
}

impl<W: Send + Sync + 'static> Registry<W> {
    /// One that knows none.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds an operation; a later one of the same kind replaces an earlier one.
    #[must_use]
    pub fn with<O: Operation<World = W>>(mut self, operation: O) -> Self {
        self.operations.insert(O::KIND, Arc::new(Known(operation)));
        self
    }
    /// The kinds it knows.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.operations.keys().copied().collect();
        kinds.sort_unstable();
        kinds
    }
    pub(crate) fn find(&self, kind: &str) -> Option<&Arc<dyn AnyOperation<W>>> {
        self.operations.get(kind)
    }
}

/// A row whose step, request or state this build cannot read.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl From<Unreadable> for StepError {
    fn from(Unreadable(why): Unreadable) -> Self {
        StepError::NeedsOperator(unreadable(why))
    }
}

pub(crate) fn unreadable(why: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::OperationUnreadable, "This version of Moorage cannot read how far the operation is.")
        .detail(why)
        .hint("Start the version that began it, or abandon it.")
}

/// What a step brought about.
pub(crate) struct Ran {
    /// The state it left, unless it could not be read or written.
    pub(crate) state: Option<String>,
    /// What follows.
    pub(crate) result: Result<Next<&'static str>, StepError>,
}

/// An operation whose steps, request and state are texts, as they are in its row.
#[async_trait]
pub(crate) trait AnyOperation<W>: Send + Sync {
    /// The step a row is at, under the name this build gives it.
    fn step(&self, stored: &str) -> Result<&'static str, Unreadable>;
    fn on_cancel(&self, step: &str) -> Result<OnCancel<&'static str>, Unreadable>;
    fn on_give_up(&self, step: &str) -> Result<Option<&'static str>, Unreadable>;
    fn after(&self, step: &str) -> Result<Option<&'static str>, Unreadable>;
    fn patience(&self, step: &str) -> Option<Duration>;
    fn deadline(&self) -> Duration;
    async fn run(&self, row: &OperationRow, context: &mut Context<W>) -> Ran;
}

struct Known<O>(O);

impl<O: Operation> Known<O> {
    fn parse(&self, stored: &str) -> Result<O::Step, Unreadable> {
        if stored == NOT_BEGUN {
            return Ok(self.0.first());
        }
        O::Step::parse(stored).ok_or_else(|| Unreadable(format!("It has no step '{stored}' here.")))
    }

    async fn run_step(
        &self,
        row: &OperationRow,
        state: &mut O::State,
        context: &mut Context<O::World>,
    ) -> Result<Next<&'static str>, StepError> {
        let step = self.parse(&row.step)?;
        let request: O::Request = serde_json::from_str(&row.request).map_err(|e| Unreadable(format!("Its request: {e}.")))?;
        let next = self.0.run(step, &request, state, context).await?;
        Ok(match next {
            Next::Go(step) => Next::Go(step.name()),
            Next::Wait(step, rest, why) => Next::Wait(step.name(), rest, why),
            Next::Done => Next::Done,
        })
    }
}

#[async_trait]
impl<O: Operation> AnyOperation<O::World> for Known<O> {
    fn step(&self, stored: &str) -> Result<&'static str, Unreadable> {
        self.parse(stored).map(StepName::name)
    }
    fn on_cancel(&self, step: &str) -> Result<OnCancel<&'static str>, Unreadable> {
        Ok(match self.0.on_cancel(self.parse(step)?) {
            OnCancel::CleanUpFrom(step) => OnCancel::CleanUpFrom(step.name()),
            OnCancel::FinishFirst(why) => OnCancel::FinishFirst(why),
        })
    }
    fn on_give_up(&self, step: &str) -> Result<Option<&'static str>, Unreadable> {
        Ok(self.0.on_give_up(self.parse(step)?).map(StepName::name))
    }
    fn after(&self, step: &str) -> Result<Option<&'static str>, Unreadable> {
        Ok(self.0.after(self.parse(step)?).map(StepName::name))
    }
    fn patience(&self, step: &str) -> Option<Duration> {
        self.0.patience(self.parse(step).ok()?)
    }
    fn deadline(&self) -> Duration {
        self.0.deadline()
    }
    async fn run(&self, row: &OperationRow, context: &mut Context<O::World>) -> Ran {
        let mut state: O::State = match serde_json::from_str(&row.state) {
            Ok(state) => state,
            Err(error) => return Ran { state: None, result: Err(Unreadable(format!("Its state: {error}.")).into()) },
        };
        let result = self.run_step(row, &mut state, context).await;
        match serde_json::to_string(&state) {
            Ok(text) => Ran { state: Some(text), result },
            Err(error) => {
                Ran { state: None, result: Err(StepError::NeedsOperator(unreadable(format!("Its state cannot be written: {error}.")))) }
            }
        }
    }
}

/// An error with all its sources on one line.
pub(crate) fn chain(cause: &Cause) -> String {
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
