//! `credential.reset-password`: a credential has another password from now on.

use crate::accounts::{self, PATIENCE, persist};
use crate::world::{World, engine_failed};
use async_trait::async_trait;
use moorage_domain::database::AccountName;
use moorage_domain::{CredentialId, Problem, ProblemCode};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{CredentialChange, Write};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for. The password is a row already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The credential.
    pub credential: CredentialId,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order; `Forget` is the clean-up path.
    pub enum Step { Reach, Apply, Forget }
}

/// The operation. From the first attempt to apply the new password on, nobody knows which one the engine has but the engine: it goes on
/// until that is certain.
pub struct ResetPassword;

#[async_trait]
impl Operation for ResetPassword {
    const KIND: &'static str = "credential.reset-password";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Reach
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::Reach => OnCancel::CleanUpFrom(Step::Forget),
            Step::Apply => OnCancel::FinishFirst("the engine may already know the new password"),
            Step::Forget => OnCancel::FinishFirst("it is already being called off"),
        }
    }
    fn on_give_up(&self, at: Step) -> Option<Step> {
        (at == Step::Reach).then_some(Step::Forget)
    }
    fn patience(&self, step: Step) -> Option<Duration> {
        (step == Step::Reach).then_some(PATIENCE)
    }

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Reach => reach(request, context).await,
            Step::Apply => apply(request, context).await.map_err(|error| persist(error, context.attempt())),
            Step::Forget => {
                context.write(Write::Credential(request.credential.clone(), CredentialChange::NextPassword(None)));
                Ok(Next::Done)
            }
        }
    }
}

/// Makes true: the engine answers and has the account. Repeating asks again. Way back: `Forget`.
async fn reach(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let (inside, credential) = accounts::load_credential(context.world(), context, &request.credential).await?;
    let mut session = inside.session(context.world()).await?;
    if session.account_name(&credential.user).await.map_err(engine_failed)? == AccountName::Account {
        return Ok(Next::Go(Step::Apply));
    }
    Err(StepError::GiveUp(
        Problem::new(ProblemCode::EngineRefused, format!("The engine has no account '{}' any more.", credential.user))
            .detail("It was dropped by somebody inside the database.")
            .hint("Delete the credential and make another one."),
    ))
}

/// Makes true: the new password works, the former one does not, and no session that was opened with it is left. Repeating sets it again.
/// Way back: another password.
async fn apply(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let (inside, credential) = match accounts::load_credential(world, context, &request.credential).await {
        Ok(found) => found,
        Err(error) if accounts::is_gone(&error) => return Ok(Next::Done),
        Err(error) => return Err(error),
    };
    if let Some(verifier) = inside.next_verifier(world, &credential).await? {
        let mut session = inside.session(world).await?;
        session.replace_password(&credential.user, &verifier).await.map_err(engine_failed)?;
    }
    context.write(Write::Credential(credential.id, CredentialChange::PasswordTaken));
    Ok(Next::Done)
}
