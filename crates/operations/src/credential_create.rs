//! `credential.create`: one more account for a database.

use crate::accounts::{self, PATIENCE, persist};
use crate::world::{World, engine_failed};
use async_trait::async_trait;
use moorage_domain::CredentialId;
use moorage_domain::database::Stage;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{CredentialChange, Write};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for. Name, privileges and password are rows already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The credential.
    pub credential: CredentialId,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order; `Remove` and `Forget` are the clean-up path.
    pub enum Step { Look, Make, Remove, Forget }
}

/// The operation.
pub struct CreateCredential;

#[async_trait]
impl Operation for CreateCredential {
    const KIND: &'static str = "credential.create";
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
            Step::Remove => match remove(context.world(), context, &request.credential).await {
                Ok(()) => Ok(Next::Go(Step::Forget)),
                Err(error) => Err(persist(error, context.attempt())),
            },
            Step::Forget => {
                context.write(Write::Credential(request.credential.clone(), CredentialChange::Gone));
                Ok(Next::Done)
            }
        }
    }
}

/// Makes true: the engine answers and has nothing of that name, so that the one found there later was made by this operation and may
/// be removed again. Repeating looks again. Way back: `Forget`.
async fn look(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let (inside, credential) = accounts::load_credential(context.world(), context, &request.credential).await?;
    let mut session = inside.session(context.world()).await?;
    accounts::check_is_free(session.as_mut(), &credential.user).await?;
    Ok(Next::Go(Step::Make))
}

/// Makes true: the account logs in and may do what it is for. Repeating makes the same. Way back: `Remove`.
async fn make(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let (inside, credential) = accounts::load_credential(world, context, &request.credential).await?;
    if let Some(verifier) = inside.next_verifier(world, &credential).await? {
        let mut session = inside.session(world).await?;
        session.ensure_account(&inside.account(&credential), &verifier).await.map_err(engine_failed)?;
    }
    context.write(Write::Credential(credential.id.clone(), CredentialChange::PasswordTaken));
    context.write(Write::Credential(credential.id, CredentialChange::Stage(Stage::Made)));
    Ok(Next::Done)
}

/// No account and no session of it is left; what it made stays its database's.
pub(crate) async fn remove<W>(world: &World, context: &Context<W>, credential: &CredentialId) -> Result<(), StepError> {
    match accounts::load_credential(world, context, credential).await {
        Ok((inside, credential)) => {
            let mut session = inside.session(world).await?;
            session.ensure_account_absent(&inside.account(&credential)).await.map_err(engine_failed)
        }
        Err(error) if accounts::is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}
