//! `cluster.stop`: from serving to stopped, data kept.

use crate::replication;
use crate::serving::{self, Lead};
use crate::world::{World, insist};
use async_trait::async_trait;
use moorage_domain::instance::Observed;
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
                if let Err(error) = close(context).await {
                    // A gateway that cannot be told must not keep the engine from being stopped; it finds nobody there then.
                    tracing::warn!(cluster = %context.cluster_id(), ?error, "an endpoint could not be closed before its engine is stopped");
                    context.note("the endpoint could not be closed first");
                }
                Ok(Next::Go(Step::Stop))
            }
            Step::Stop => match halted(context).await {
                Ok(true) => Ok(Next::Done),
                Ok(false) => Ok(Next::Wait(Step::Stop, Duration::from_millis(100), "The engine is shutting down.".into())),
                Err(error) => Err(insist(error, context.attempt())),
            },
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
    if let Some(write) = replication::nobody_else(&loaded, "The cluster was stopped.") {
        context.write(write);
    }
    if let Some(instance) = loaded.instance {
        context.write(Write::Observed(instance.id, Observed { published: false, ..instance.observed }));
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
    for instance in loaded.instances() {
        let write = Write::Observed(instance.id.clone(), serving::observed_stopped(instance));
        context.write(write);
    }
    Ok(true)
}
