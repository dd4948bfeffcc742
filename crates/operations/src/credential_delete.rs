//! `credential.delete`: an account of a database goes, and whoever is connected by it.

use crate::accounts::persist;
use crate::credential_create::remove;
use crate::world::World;
use async_trait::async_trait;
use moorage_domain::CredentialId;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{CredentialChange, Write};
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The credential.
    pub credential: CredentialId,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Remove }
}

/// The operation.
pub struct DeleteCredential;

#[async_trait]
impl Operation for DeleteCredential {
    const KIND: &'static str = "credential.delete";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Remove
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("its sessions may have ended already")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    /// Makes true: neither engine nor store have it, nor is there a session of it. Repeating finds nothing.
    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Remove => {
                remove(context.world(), context, &request.credential).await.map_err(|error| persist(error, context.attempt()))?;
                context.write(Write::Credential(request.credential.clone(), CredentialChange::Gone));
                Ok(Next::Done)
            }
        }
    }
}
