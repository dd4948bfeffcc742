//! Showing operations and deciding about them.

use crate::authentication::at_least;
use crate::command::{ListOperations, MOST_ROWS, OperatorVerb};
use crate::{App, now, problem};
use moorage_domain::operation::OperationView;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{OperationId, Problem, ProblemCode};
use moorage_store::Operations;

fn not_found() -> Problem {
    Problem::new(ProblemCode::OperationNotFound, "There is no such operation.").hint("List the operations to see which there are.")
}

impl App {
    /// One operation with its timeline.
    pub async fn operation(&self, actor: &Actor, id: &str) -> Result<OperationView, Problem> {
        let id = OperationId::parse(id).map_err(|_| not_found())?;
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        look.operation_view(&actor.project, &id).await.map_err(problem::store)?.ok_or_else(not_found)
    }

    /// Operations of the caller's clusters, newest first, without their timelines.
    pub async fn operations(&self, actor: &Actor, list: &ListOperations) -> Result<Vec<OperationView>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let limit = list.limit.min(MOST_ROWS);
        look.operation_views(&actor.project, list.cluster.as_ref(), list.status, list.offset, limit).await.map_err(problem::store)
    }

    /// Asks an operation to stop and clean up; past the point of no return it goes on and says so in its timeline.
    pub async fn cancel_operation(&self, actor: &Actor, id: &str) -> Result<OperationView, Problem> {
        at_least(actor, Role::Operator)?;
        let view = self.operation(actor, id).await?;
        if view.status.ended() {
            return Err(Problem::new(ProblemCode::WrongState, format!("The operation has ended: {}.", view.status.as_str())));
        }
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let why = format!("{} asked to call it off.", actor.user_name);
        uow.request_cancel(&view.id, &why, now()).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        self.operation(actor, id).await
    }

    /// Decides about an operation that needs an operator.
    pub async fn decide_operation(&self, actor: &Actor, id: &str, verb: OperatorVerb) -> Result<OperationView, Problem> {
        at_least(actor, Role::Operator)?;
        let view = self.operation(actor, id).await?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let done = match verb {
            OperatorVerb::Retry => uow.retry_step(&view.id, now()).await,
            OperatorVerb::Resume => uow.resume(&view.id, now()).await,
            OperatorVerb::RollBack => uow.roll_back(&view.id, now()).await,
            OperatorVerb::Abandon => uow.abandon(&view.id, now()).await,
        };
        if !done.map_err(problem::store)? {
            return Err(Problem::new(ProblemCode::WrongState, "The operation does not wait for an operator."));
        }
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        self.operation(actor, id).await
    }
}
