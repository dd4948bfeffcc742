//! `cluster.synchronize-parameters`: what the engine applies is read from it now.

use crate::serving;
use crate::world::World;
use async_trait::async_trait;
use moorage_domain::parameter::AppliedParameters;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Nothing has to be said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Read }
}

/// The operation. Nothing of the cluster changes.
pub struct SynchronizeParameters;

#[async_trait]
impl Operation for SynchronizeParameters {
    const KIND: &'static str = "cluster.synchronize-parameters";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Read
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("it is a single step")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }
    /// An engine that does not answer may be about to be replaced by its standby, which waits for this to end.
    fn patience(&self, _step: Step) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }

    async fn run(&self, step: Step, _request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Read => read(context).await,
        }
    }
}

/// Makes true: the parameters are written as the engine applies them. Repeating reads them again; there is nothing to take back.
async fn read(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let parameters = serving::parameters(world, &loaded).await?;
    let applied = AppliedParameters { read_at: context.now(), parameters };
    context.write(Write::Parameters(loaded.cluster.id, applied));
    Ok(Next::Done)
}
