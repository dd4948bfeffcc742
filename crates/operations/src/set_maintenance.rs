//! `cluster.set-maintenance`: when a cluster may be worked on.

use crate::world::{World, insist};
use async_trait::async_trait;
use moorage_domain::cluster::MaintenanceWindow;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The window; none takes it away.
    #[serde(default)]
    pub window: Option<MaintenanceWindow>,
}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Apply }
}

/// The operation. Only a row changes; it is an operation because those who ask follow it as one.
pub struct SetMaintenance;

#[async_trait]
impl Operation for SetMaintenance {
    const KIND: &'static str = "cluster.set-maintenance";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Apply
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("it is a single step")
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

/// Makes true: the window is written. Repeating writes it again. Way back: set the former one.
async fn apply(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let loaded = context.world().load(context.cluster_id()).await?;
    let mut spec = loaded.cluster.spec;
    spec.maintenance.clone_from(&request.window);
    context.write(Write::Spec(loaded.cluster.id, Box::new(spec)));
    Ok(Next::Done)
}
