//! `database.delete`: a database goes with its credentials, its data and whoever is connected to it.

use crate::accounts::{self, persist};
use crate::database_create::remove_all;
use crate::world::World;
use async_trait::async_trait;
use moorage_domain::DatabaseId;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{DatabaseChange, Write};
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The database.
    pub database: DatabaseId,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Remove }
}

/// The operation. Data is gone after it; there is no way back.
pub struct DeleteDatabase;

#[async_trait]
impl Operation for DeleteDatabase {
    const KIND: &'static str = "database.delete";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Remove
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("its data is already being removed")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Remove => remove(request, context).await.map_err(|error| persist(error, context.attempt())),
        }
    }
}

/// Makes true: neither engine nor store have it, its credentials or a session of them. Repeating finds nothing.
async fn remove(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    match accounts::load(context.world(), context, &request.database).await {
        Ok(inside) => remove_all(context.world(), &inside).await?,
        Err(error) if accounts::is_gone(&error) => {}
        Err(error) => return Err(error),
    }
    context.write(Write::Database(request.database.clone(), DatabaseChange::Gone));
    Ok(Next::Done)
}
