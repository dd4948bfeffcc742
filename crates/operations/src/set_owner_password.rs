//! `cluster.set-owner-password`: the owner of the database logs in with another password from now on.

use crate::owner;
use crate::serving::describe;
use crate::world::{World, engine_failed, insist};
use async_trait::async_trait;
use moorage_domain::{CredentialId, SecretId};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{CredentialChange, Write};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The sealed verifier.
    #[serde(default)]
    pub verifier: Option<SecretId>,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Apply }
}

/// The operation. Sessions that are open stay open.
pub struct SetOwnerPassword;

#[async_trait]
impl Operation for SetOwnerPassword {
    const KIND: &'static str = "cluster.set-owner-password";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Apply
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the engine may already know the new password")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }
    /// An engine that does not answer may be about to be replaced by its standby, which waits for this to end.
    fn patience(&self, _step: Step) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Apply => apply(request, context).await.map_err(|error| match error {
                // What the engine refuses it would refuse again; nothing was changed.
                refused @ StepError::GiveUp(_) => refused,
                other => insist(other, context.attempt()),
            }),
        }
    }
}

/// Makes true: the engine knows the new verifier. Repeating sets it again. Way back: set the former password again.
async fn apply(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let verifier = owner::verifier(world, request.verifier.as_ref()).await?;
    let (layout, _) = describe(world, &loaded.cluster, loaded.instance()?).await?;
    let engine = world.engine(loaded.cluster.engine)?;
    let mut session = engine.connect(&layout.socket, &world.host.administrator()).await.map_err(engine_failed)?;
    session.ensure_password(&loaded.cluster.spec.database.owner, &verifier).await.map_err(engine_failed)?;
    let owner = CredentialId::first_of(&loaded.cluster.id);
    context.write(Write::Credential(owner, CredentialChange::PasswordUnknown));
    Ok(Next::Done)
}
