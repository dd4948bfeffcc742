//! `cluster.recover`: a cluster that should serve and has no process gets one again, after a reboot for instance.

use crate::serving::Answer;
use crate::start;
use crate::world::World;
use async_trait::async_trait;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Why, in one sentence, where it is not the usual: that it does not run.
    #[serde(default)]
    pub reason: Option<String>,
}

steps! {
    /// The steps in their order.
    pub enum Step { Start, Answer, Publish }
}

/// The operation. It only brings back what was wished for, so it neither undoes anything nor can be called off.
pub struct Recover;

#[async_trait]
impl Operation for Recover {
    const KIND: &'static str = "cluster.recover";
    type World = World;
    type Request = Request;
    type State = start::State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Start
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the cluster is meant to run; stop it afterwards")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(
        &self,
        step: Step,
        request: &Request,
        state: &mut start::State,
        context: &mut Context<World>,
    ) -> Result<Next<Step>, StepError> {
        match step {
            Step::Start => {
                if let Some(reason) = &request.reason {
                    context.note(reason.clone());
                }
                start::begin(state, context).await?;
                Ok(Next::Go(Step::Answer))
            }
            Step::Answer => match start::answer(state, context).await? {
                Answer::Yes(_) => Ok(Next::Go(Step::Publish)),
                Answer::NotYet(doing) => Ok(Next::Wait(Step::Answer, Duration::from_millis(100), doing)),
            },
            Step::Publish => {
                start::publish(context).await?;
                Ok(Next::Done)
            }
        }
    }
}
