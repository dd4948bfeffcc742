//! `cluster.stop`: from serving to stopped, data kept.

use crate::serving::{self, Lead};
use crate::world::World;
use async_trait::async_trait;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Close, Stop }
}

/// The operation. The cluster's wish says "stop" from the moment it was accepted, so there is no way back: start it again.
pub struct Stop;

#[async_trait]
impl Operation for Stop {
    const KIND: &'static str = "cluster.stop";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Close
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("its connections are already being closed; start it again afterwards")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, _request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Close => {
                close(context).await?;
                Ok(Next::Go(Step::Stop))
            }
            Step::Stop => {
                if !halted(context).await? {
                    return Ok(Next::Wait(Step::Stop, Duration::from_millis(100), "The engine is shutting down.".into()));
                }
                Ok(Next::Done)
            }
        }
    }
}

/// Makes true: clients are told that the database is not available. Repeating changes nothing. Way back: publish again.
pub(crate) async fn close(context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if loaded.endpoint.is_some() {
        serving::ensure_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::Nowhere, None).await?;
    }
    Ok(())
}

/// Makes true: the instance's group is empty, after a clean shutdown where the engine manages one within its grace. True once
/// it is so. Repeating asks again.
pub(crate) async fn halted(context: &mut Context<World>) -> Result<bool, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if !serving::ensure_stopped(world, &loaded).await? {
        return Ok(false);
    }
    if let Some(instance) = &loaded.instance {
        let write = Write::Observed(instance.id.clone(), serving::observed_stopped(instance));
        context.write(write);
    }
    Ok(true)
}
