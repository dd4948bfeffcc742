//! `database.create`: a database beside others in a cluster that runs, with its credentials.

use crate::accounts::{self, Inside, PATIENCE, persist};
use crate::world::{World, engine_failed};
use async_trait::async_trait;
use moorage_domain::database::Stage;
use moorage_domain::{DatabaseId, Problem, ProblemCode};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{CredentialChange, DatabaseChange, Write};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for. Name, credentials and their passwords are rows already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The database.
    pub database: DatabaseId,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order; `Remove` and `Forget` are the clean-up path.
    pub enum Step { Look, Make, Remove, Forget }
}

/// The operation.
pub struct CreateDatabase;

#[async_trait]
impl Operation for CreateDatabase {
    const KIND: &'static str = "database.create";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Look
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::Look => OnCancel::CleanUpFrom(Step::Forget),
            Step::Make => OnCancel::CleanUpFrom(Step::Remove),
            Step::Remove | Step::Forget => OnCancel::FinishFirst("it is already being removed"),
        }
    }
    fn on_give_up(&self, at: Step) -> Option<Step> {
        match at {
            Step::Look => Some(Step::Forget),
            Step::Make => Some(Step::Remove),
            Step::Remove | Step::Forget => None,
        }
    }
    fn patience(&self, step: Step) -> Option<Duration> {
        matches!(step, Step::Look | Step::Make).then_some(PATIENCE)
    }

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Look => look(request, context).await,
            Step::Make => make(request, context).await,
            Step::Remove => remove(request, context).await.map_err(|error| persist(error, context.attempt())),
            Step::Forget => {
                context.write(Write::Database(request.database.clone(), DatabaseChange::Gone));
                Ok(Next::Done)
            }
        }
    }
}

/// Makes true: the engine answers, and nothing in it has these names, so that all that is found there later was made by this operation
/// and may be removed again. Repeating looks again. Way back: `Forget`.
async fn look(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let inside = accounts::load(context.world(), context, &request.database).await?;
    let mut session = inside.session(context.world()).await?;
    let there = session.observe().await.map_err(engine_failed)?.databases;
    if there.contains(&inside.database.name) {
        return Err(StepError::GiveUp(
            Problem::new(ProblemCode::NameTaken, format!("The engine has a database '{}' already.", inside.database.name))
                .hint("It was not made here. Choose another name.")
                .field("name"),
        ));
    }
    for credential in &inside.credentials {
        accounts::check_is_free(session.as_mut(), &credential.user).await?;
    }
    Ok(Next::Go(Step::Make))
}

/// Makes true: database and accounts are there, and users log in. Repeating makes nothing twice. Way back: `Remove`.
async fn make(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let inside = accounts::load(world, context, &request.database).await?;
    let mut session = inside.session(world).await?;
    session.ensure_database(&inside.database.spec(inside.owner())).await.map_err(engine_failed)?;
    let mut writes = vec![Write::Database(inside.database.id.clone(), DatabaseChange::Stage(Stage::Made))];
    for credential in &inside.credentials {
        let Some(verifier) = inside.next_verifier(world, credential).await? else { continue };
        session.ensure_account(&inside.account(credential), &verifier).await.map_err(engine_failed)?;
        writes.push(Write::Credential(credential.id.clone(), CredentialChange::PasswordTaken));
        writes.push(Write::Credential(credential.id.clone(), CredentialChange::Stage(Stage::Made)));
    }
    writes.into_iter().for_each(|write| context.write(write));
    Ok(Next::Done)
}

/// Makes true: nothing of it is in the engine. Nobody uses it: its creation never ended.
async fn remove(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    match accounts::load(context.world(), context, &request.database).await {
        Ok(inside) => remove_all(context.world(), &inside).await?,
        Err(error) if accounts::is_gone(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(Next::Go(Step::Forget))
}

/// Accounts go first, so that nobody comes back in.
pub(crate) async fn remove_all(world: &World, inside: &Inside) -> Result<(), StepError> {
    let mut session = inside.session(world).await?;
    for credential in &inside.credentials {
        session.ensure_account_absent(&inside.account(credential)).await.map_err(engine_failed)?;
    }
    session.ensure_database_absent(&inside.database.name).await.map_err(engine_failed)
}
