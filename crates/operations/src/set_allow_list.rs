//! `cluster.set-allow-list`: who may connect.

use crate::serving::{self, Lead};
use crate::world::{World, insist};
use async_trait::async_trait;
use moorage_domain::cluster::Wish;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The whole new list, checked.
    pub allow_list: Vec<String>,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Apply }
}

/// The operation.
pub struct SetAllowList;

#[async_trait]
impl Operation for SetAllowList {
    const KIND: &'static str = "cluster.set-allow-list";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Apply
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the gateway may already enforce the new list")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Apply => apply(request, context).await.map_err(|error| insist(error, context.attempt())),
        }
    }
}

/// Makes true: the gateway enforces the list, and connections it does not admit are cut. Repeating changes nothing.
async fn apply(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let lead = if loaded.cluster.wish == Wish::Run { Lead::ToInstance } else { Lead::Nowhere };
    serving::keep_endpoint(world, &loaded, &request.allow_list, lead).await?;
    let mut spec = loaded.cluster.spec.clone();
    spec.allow_list.clone_from(&request.allow_list);
    let cluster = loaded.cluster.id;
    context.write(Write::Spec(cluster, Box::new(spec)));
    Ok(Next::Done)
}
