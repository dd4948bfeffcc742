//! `cluster.restart`: a clean stop and a start.

use crate::serving::Answer;
use crate::world::World;
use crate::{start, stop};
use async_trait::async_trait;
use moorage_domain::cluster::Wish;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {}

steps! {
    /// The steps in their order.
    pub enum Step { Close, Stop, Start, Answer, Publish }
}

/// The operation. When the engine does not come back, the cluster shows ERROR with the engine's own words; there is
/// nothing to undo.
pub struct Restart;

#[async_trait]
impl Operation for Restart {
    const KIND: &'static str = "cluster.restart";
    type World = World;
    type Request = Request;
    type State = start::State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Close
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the engine is already being restarted")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(
        &self,
        step: Step,
        _request: &Request,
        state: &mut start::State,
        context: &mut Context<World>,
    ) -> Result<Next<Step>, StepError> {
        match step {
            Step::Close => {
                stop::close(context).await?;
                Ok(Next::Go(Step::Stop))
            }
            Step::Stop => match stop::halted(context).await? {
                true => Ok(Next::Go(Step::Start)),
                false => Ok(Next::Wait(Step::Stop, Duration::from_millis(100), "The engine is shutting down.".into())),
            },
            Step::Start => {
                start::begin(state, context).await?;
                Ok(Next::Go(Step::Answer))
            }
            Step::Answer => match start::answer(state, context).await? {
                Answer::Yes(_) => Ok(Next::Go(Step::Publish)),
                Answer::NotYet(doing) => Ok(Next::Wait(Step::Answer, Duration::from_millis(100), doing)),
            },
            Step::Publish => {
                start::publish(context).await?;
                let cluster = context.cluster_id().clone();
                context.write(Write::Wish(cluster, Wish::Run));
                Ok(Next::Done)
            }
        }
    }
}
