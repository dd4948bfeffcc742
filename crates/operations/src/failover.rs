//! `cluster.failover`: the standby, which has everything that was acknowledged, takes the primary's place at once (decisions 10).

use crate::takeover::{self, Takeover};
use crate::world::{World, insist};
use async_trait::async_trait;
use moorage_domain::Timestamp;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Why, in one sentence.
    pub reason: String,
    /// Who takes whose place.
    #[serde(flatten)]
    pub takeover: Takeover,
    /// When the primary ended, or was last heard of.
    #[serde(default)]
    pub struck_at: Option<Timestamp>,
    /// What the primary had written when it was last asked, and when that was.
    #[serde(default)]
    pub last_position: Option<(String, Timestamp)>,
}

/// What was learnt on the way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// When the former primary was started again, because the one who was to take over had ended before it could.
    #[serde(default)]
    pub returned_at: Option<Timestamp>,
}

steps! {
    /// The steps in their order.
    pub enum Step { Decide, Fence, Promote, Return, Revive, Publish, Settle }
}

/// The operation. From the first commit on there is no way back: the former primary must not write in the new term.
pub struct Failover;

#[async_trait]
impl Operation for Failover {
    const KIND: &'static str = "cluster.failover";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Decide
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the standby is already taking over")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }
    fn after(&self, step: Step) -> Option<Step> {
        match step {
            Step::Decide => Some(Step::Fence),
            Step::Fence => Some(Step::Promote),
            Step::Return => Some(Step::Revive),
            Step::Promote | Step::Revive => Some(Step::Publish),
            Step::Publish => Some(Step::Settle),
            Step::Settle => None,
        }
    }

    async fn run(&self, step: Step, request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        let done = match step {
            Step::Decide => {
                takeover::decide(&request.takeover, &request.reason, context).await?;
                if let Some((position, at)) = &request.last_position {
                    let ago = context.now().since(*at).as_secs_f64();
                    context.note(format!("the former primary had written up to {position} when it was last asked, {ago:.1} s before"));
                }
                return Ok(Next::Go(Step::Fence));
            }
            Step::Fence => takeover::fence(&request.takeover, context).await.map(|()| Next::Go(Step::Promote)),
            Step::Promote => takeover::promote(&request.takeover, context).await.map(|promoted| match promoted {
                true => Next::Go(Step::Publish),
                false => Next::Go(Step::Return),
            }),
            Step::Return => takeover::go_back(&request.takeover, context).await.map(|()| Next::Go(Step::Revive)),
            Step::Revive => takeover::revive(&mut state.returned_at, context).await.map(|doing| match doing {
                None => Next::Go(Step::Publish),
                Some(doing) => Next::Wait(Step::Revive, Duration::from_millis(100), doing),
            }),
            Step::Publish => takeover::publish(request.struck_at, context).await.map(|()| Next::Go(Step::Settle)),
            Step::Settle => takeover::settle(context).await.map(|()| Next::Done),
        };
        done.map_err(|error| insist(error, context.attempt()))
    }
}
