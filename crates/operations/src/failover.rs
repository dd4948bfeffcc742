//! `cluster.failover`: the standby, which has everything that was acknowledged, takes the primary's place at once (decisions 10).

use crate::takeover::{Course, Phase, Takeover};
use crate::world::World;
use async_trait::async_trait;
use moorage_domain::{Problem, Timestamp};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use serde::{Deserialize, Serialize};

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
        Phase::of(step).and_then(Phase::after)
    }

    async fn run(&self, step: Step, request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        let Some(phase) = Phase::of(step) else { return Err(StepError::NeedsOperator(Problem::internal())) };
        if let (Phase::Decide, Some((position, at))) = (phase, &request.last_position) {
            let ago = context.now().since(*at).as_secs_f64();
            context.note(format!("the former primary had written up to {position} when it was last asked, {ago:.1} s before"));
        }
        let Request { reason, takeover, struck_at, .. } = request;
        let course = Course { takeover, reason, struck_at: *struck_at, returned_at: &mut state.returned_at };
        phase.run(course, context).await
    }
}
