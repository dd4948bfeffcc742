//! `database.quarantine`: nobody gets into a database any more; its data and its name stay.

use crate::accounts::{self, persist};
use crate::world::{World, engine_failed};
use async_trait::async_trait;
use moorage_domain::DatabaseId;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{CredentialChange, Write};
use serde::{Deserialize, Serialize};

/// What was asked for. That it is in quarantine, and the passwords nobody is told, are rows already.
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
    pub enum Step { LockOut }
}

/// The operation.
pub struct QuarantineDatabase;

#[async_trait]
impl Operation for QuarantineDatabase {
    const KIND: &'static str = "database.quarantine";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::LockOut
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("some of its credentials may be locked out already; it can be restored from quarantine afterwards")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::LockOut => lock_out(request, context).await.map_err(|error| persist(error, context.attempt())),
        }
    }
}

/// Makes true: every credential has a password that nobody was told, and no session is left. Repeating sets the same ones again. Way
/// back: new passwords.
async fn lock_out(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let inside = match accounts::load(world, context, &request.database).await {
        Ok(inside) => inside,
        Err(error) if accounts::is_gone(&error) => return Ok(Next::Done),
        Err(error) => return Err(error),
    };
    let mut session = inside.session(world).await?;
    let mut writes = Vec::new();
    for credential in &inside.credentials {
        let Some(verifier) = inside.next_verifier(world, credential).await? else { continue };
        session.replace_password(&credential.user, &verifier).await.map_err(engine_failed)?;
        writes.push(Write::Credential(credential.id.clone(), CredentialChange::PasswordTaken));
    }
    let own: Vec<String> = inside.credentials.iter().map(|credential| credential.user.clone()).collect();
    session.shut_out_others(&inside.database.name, &own).await.map_err(engine_failed)?;
    writes.into_iter().for_each(|write| context.write(write));
    Ok(Next::Done)
}
