//! `cluster.rolling-restart`: the standby is restarted first, then takes the primary's place, which follows it when it is back.

use crate::replication;
use crate::standby::{self, Progress};
use crate::switchover::{self, Patience};
use crate::takeover::{self, Course, Phase, Takeover};
use crate::world::{World, host_failed, insist};
use async_trait::async_trait;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_host::StopState;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {}

/// What was learnt on the way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// How far the standby is with coming back.
    #[serde(default)]
    pub standby: standby::State,
    /// Who takes whose place, once the standby is in sync again.
    #[serde(default)]
    pub takeover: Option<Takeover>,
    /// Since when the standby has been waited for, which applies what it has received.
    #[serde(default)]
    pub behind_since: Option<Timestamp>,
    /// Since when new connections have been waiting.
    #[serde(default)]
    pub held_at: Option<Timestamp>,
    /// When the last session of the former primary had ended.
    #[serde(default)]
    pub drained_at: Option<Timestamp>,
    /// When the former primary was started again, because the one who was to take over had ended before it could.
    #[serde(default)]
    pub returned_at: Option<Timestamp>,
}

steps! {
    /// The steps in their order.
    pub enum Step { Forget, Release, Stop, Prepare, Start, Synchronise, Hold, Drain, Decide, Fence, Promote, Return, Revive, Publish, Settle, CallOff }
}

/// The operation. Users notice the moment of a switchover.
pub struct RollingRestart;

/// A restart was asked for: transactions that take longer are cut, as by any restart.
const PATIENCE: Patience = Patience { seconds: 10, force: true };
const REASON: &str = "The cluster is restarted.";

#[async_trait]
impl Operation for RollingRestart {
    const KIND: &'static str = "cluster.rolling-restart";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Forget
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::Hold | Step::Drain | Step::Decide | Step::CallOff => OnCancel::CleanUpFrom(Step::CallOff),
            Step::Forget | Step::Release | Step::Stop | Step::Prepare | Step::Start | Step::Synchronise => {
                OnCancel::FinishFirst("the standby is being restarted")
            }
            _ => OnCancel::FinishFirst("the standby is already taking over"),
        }
    }
    fn on_give_up(&self, at: Step) -> Option<Step> {
        matches!(at, Step::Hold | Step::Drain | Step::Decide).then_some(Step::CallOff)
    }
    fn after(&self, step: Step) -> Option<Step> {
        match step {
            Step::Forget => Some(Step::Release),
            Step::Release => Some(Step::Stop),
            Step::Stop => Some(Step::Prepare),
            Step::Prepare => Some(Step::Start),
            Step::Start => Some(Step::Synchronise),
            Step::Synchronise => Some(Step::Hold),
            Step::Hold => Some(Step::Drain),
            Step::Drain => Some(Step::Decide),
            Step::CallOff => None,
            step => Phase::of(step).and_then(Phase::after),
        }
    }
    fn patience(&self, step: Step) -> Option<Duration> {
        matches!(step, Step::Release | Step::Synchronise | Step::Hold | Step::Drain).then_some(Duration::from_secs(5))
    }

    async fn run(&self, step: Step, _request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        if let Some(phase) = Phase::of(step) {
            let takeover = chosen(state)?;
            let course = Course { takeover: &takeover, reason: REASON, struck_at: state.drained_at, returned_at: &mut state.returned_at };
            return phase.run(course, context).await;
        }
        if matches!(step, Step::Prepare | Step::Start | Step::Synchronise) {
            standby::heed_strictness(&mut state.standby, context).await?;
        }
        Ok(match step {
            Step::Forget => forget(context).await?,
            Step::Release => release(&mut state.standby, context).await?,
            Step::Stop => stop(context).await?,
            Step::Prepare => match standby::prepare(&mut state.standby, context).await? {
                Progress::Waits(doing) => Next::Wait(Step::Prepare, Duration::from_millis(100), doing.into()),
                _ => Next::Go(Step::Start),
            },
            Step::Start => match standby::start(&mut state.standby, context).await? {
                Progress::Done => Next::Go(Step::Synchronise),
                Progress::Waits(doing) => Next::Wait(Step::Start, Duration::from_millis(50), doing.into()),
                Progress::DoesNotFit => make_anew(state),
            },
            Step::Synchronise => match standby::synchronise(&mut state.standby, context).await? {
                Progress::Done => Next::Go(Step::Hold),
                Progress::Waits(doing) => Next::Wait(Step::Synchronise, Duration::from_millis(20), doing.into()),
                Progress::DoesNotFit => make_anew(state),
            },
            Step::Hold => hold(state, context).await?,
            Step::Drain => match switchover::drain(&chosen(state)?, PATIENCE, &mut state.held_at, context).await? {
                None => {
                    state.drained_at.get_or_insert(context.now());
                    Next::Go(Step::Decide)
                }
                Some(doing) => Next::Wait(Step::Drain, Duration::from_millis(1), doing),
            },
            _ => {
                switchover::call_off(context).await.map_err(|error| insist(error, context.attempt()))?;
                Next::Done
            }
        })
    }
}

fn make_anew(state: &mut State) -> Next<Step> {
    standby::anew(&mut state.standby);
    // Commits may have begun to wait for it.
    Next::Go(Step::Release)
}

fn chosen(state: &State) -> Result<Takeover, StepError> {
    state.takeover.clone().ok_or_else(|| {
        StepError::NeedsOperator(
            Problem::new(ProblemCode::OperationUnreadable, "It is not known who was to take over.").hint("Abandon it, and restart again."),
        )
    })
}

/// Makes true: the record says that nobody may be promoted. Repeating says the same.
async fn forget(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let loaded = context.world().load(context.cluster_id()).await?;
    if let Some(write) = replication::nobody_else(&loaded, &format!("{} is being restarted.", loaded.standby()?.name)) {
        context.write(write);
    }
    Ok(Next::Go(Step::Release))
}

/// Makes true: no commit waits for the standby, but in a strict cluster. Repeating finds none.
async fn release(state: &mut standby::State, context: &Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    state.strict = loaded.cluster.spec.strict;
    standby::settle_commits(world, &loaded).await?;
    Ok(Next::Go(Step::Stop))
}

/// Makes true: no process of the standby is left, after a clean shutdown where it manages one. Repeating asks again.
async fn stop(context: &Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let standby = loaded.standby()?;
    let stopped = world.host.ensure_stopped(&standby.id, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
    Ok(match stopped {
        StopState::Stopped => Next::Go(Step::Prepare),
        _ => Next::Wait(Step::Stop, Duration::from_millis(50), "The standby is shutting down.".into()),
    })
}

/// Makes true: the standby has little left to apply, it is known who takes over, and new connections wait at the gateway. Repeating
/// changes nothing. Way back: calling it off.
async fn hold(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let replication = loaded.replication()?;
    let Some(to) = replication.promotable.clone() else {
        return Err(StepError::GiveUp(
            Problem::new(ProblemCode::NoStandbyInSync, "The standby was lost again before it could take over.")
                .hint("It is brought back by itself; then restart again."),
        ));
    };
    if state.behind_since.is_none() {
        takeover::checkpoint(world, &loaded, loaded.instance()?).await?;
    }
    if let Some(doing) = switchover::catch_up(&loaded, PATIENCE, &mut state.behind_since, context).await? {
        return Ok(Next::Wait(Step::Hold, Duration::from_millis(5), doing));
    }
    state.takeover = Some(Takeover { from: replication.primary.clone(), to });
    switchover::hold(&mut state.held_at, context).await?;
    Ok(Next::Go(Step::Drain))
}
