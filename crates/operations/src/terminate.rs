//! `cluster.terminate`: a cluster goes with everything that belongs to it.

use crate::world::{World, host_failed, insist};
use async_trait::async_trait;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Close, Remove }
}

/// The operation. Data is gone after it; there is no way back.
pub struct Terminate;

#[async_trait]
impl Operation for Terminate {
    const KIND: &'static str = "cluster.terminate";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Close
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("its data is already being removed")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, _request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        // A cluster must not be half gone silently.
        let done = match step {
            Step::Close => close(context).await,
            Step::Remove => remove(context).await,
        };
        done.map_err(|error| insist(error, context.attempt()))
    }
}

/// Makes true: the host refuses whatever was decided before this, no process of it runs, nobody can connect and the address
/// is not listened on. Repeating finds it so.
async fn close(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    for instance in loaded.instances() {
        world.host.fence(&instance.id, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
    }
    world.host.ensure_endpoint_absent(&loaded.cluster.id).await.map_err(host_failed)?;
    Ok(Next::Go(Step::Remove))
}

/// Makes true: no process, directory, group or row of it is left but the cluster's own, marked gone. Repeating finds nothing.
async fn remove(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    for instance in loaded.instances() {
        world.host.ensure_instance_absent(&instance.id).await.map_err(host_failed)?;
    }
    let cluster = loaded.cluster.id.clone();
    context.write(Write::RemoveEndpoint(cluster.clone()));
    context.write(Write::RemoveInstances(cluster.clone()));
    context.write(Write::RemoveReplication(cluster.clone()));
    context.write(Write::Gone(cluster));
    Ok(Next::Done)
}
