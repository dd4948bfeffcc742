//! `cluster.synchronize-state`: what the cluster is doing is looked at now.

use crate::serving;
use crate::world::{World, host_failed};
use async_trait::async_trait;
use moorage_domain::decide::health::Probe;
use moorage_domain::instance::ProcessState;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the engine's answer may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

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
pub struct SynchronizeState;

#[async_trait]
impl Operation for SynchronizeState {
    const KIND: &'static str = "cluster.synchronize-state";
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

    async fn run(&self, step: Step, _request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Read => read(context).await,
        }
    }
}

/// Makes true: the instance is written as its host and its engine see it now. Repeating looks again; there is nothing to take back.
async fn read(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let Some(instance) = &loaded.instance else { return Ok(Next::Done) };
    let process = world.host.process(&instance.id).await.map_err(host_failed)?;
    let mut observed = instance.observed.clone();
    observed.note_process(process);
    if let ProcessState::Running { incarnation, .. } = observed.process {
        let (layout, _) = serving::describe(world, &loaded.cluster, instance).await?;
        let probe = world.engine(loaded.cluster.engine)?.probe(&layout.socket, &world.host.administrator(), PROBE_LIMIT).await;
        observed.answering = probe == Probe::Answered;
        if observed.answering {
            observed.silent_since = None;
            observed.answered = Some(incarnation);
        }
    } else {
        observed.answering = false;
        observed.silent_since = None;
    }
    let id = instance.id.clone();
    context.write(Write::Observed(id, observed));
    Ok(Next::Done)
}
