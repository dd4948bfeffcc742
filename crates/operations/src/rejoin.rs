//! `cluster.rejoin`: a standby that was lost, or a former primary, is in sync again. Until then nobody waits for it.

use crate::replication;
use crate::standby::{self, Progress};
use crate::world::{World, host_failed};
use async_trait::async_trait;
use moorage_domain::decide::synchrony::{self, Known};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Why, in one sentence.
    pub reason: String,
    /// It runs and does not answer: it is ended first.
    pub hangs: bool,
}

steps! {
    /// The steps in their order.
    pub enum Step { Forget, Release, Prepare, Start, Synchronise }
}

/// The operation. The primary writes all the while. Commits wait for a standby only while its record says that it may be promoted, so
/// forgetting comes before releasing.
pub struct Rejoin;

/// A primary that does not answer for so long is somebody else's to look at.
const PATIENCE: Duration = Duration::from_secs(3);

#[async_trait]
impl Operation for Rejoin {
    const KIND: &'static str = "cluster.rejoin";
    type World = World;
    type Request = Request;
    type State = standby::State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Forget
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the cluster is meant to have a standby")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }
    fn patience(&self, step: Step) -> Option<Duration> {
        matches!(step, Step::Release | Step::Synchronise).then_some(PATIENCE)
    }

    async fn run(
        &self,
        step: Step,
        request: &Request,
        state: &mut standby::State,
        context: &mut Context<World>,
    ) -> Result<Next<Step>, StepError> {
        if matches!(step, Step::Prepare | Step::Start | Step::Synchronise) {
            standby::heed_strictness(state, context).await?;
        }
        match step {
            Step::Forget => forget(request, context).await,
            Step::Release => release(state, context).await,
            Step::Prepare => {
                if request.hangs && !state.fenced && state.started_at.is_none() {
                    end(context).await?;
                    state.fenced = true;
                }
                Ok(match standby::prepare(state, context).await? {
                    Progress::Waits(doing) => Next::Wait(Step::Prepare, Duration::from_millis(500), doing.into()),
                    _ => Next::Go(Step::Start),
                })
            }
            Step::Start => Ok(match standby::start(state, context).await? {
                Progress::Done => Next::Go(Step::Synchronise),
                Progress::Waits(doing) => Next::Wait(Step::Start, Duration::from_millis(100), doing.into()),
                Progress::DoesNotFit => make_anew(state),
            }),
            Step::Synchronise => Ok(match synchronise(state, context).await? {
                Progress::Done => Next::Done,
                Progress::Waits(doing) => Next::Wait(Step::Synchronise, Duration::from_millis(50), doing.into()),
                Progress::DoesNotFit => make_anew(state),
            }),
        }
    }
}

fn make_anew(state: &mut standby::State) -> Next<Step> {
    standby::anew(state);
    // Commits may have begun to wait for it.
    Next::Go(Step::Release)
}

/// Makes true: the record says that nobody may be promoted. Repeating says the same. Way back: getting in sync again.
async fn forget(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let loaded = context.world().load(context.cluster_id()).await?;
    context.note(request.reason.clone());
    if let Some(write) = replication::nobody_else(&loaded, &request.reason) {
        context.write(write);
    }
    Ok(Next::Go(Step::Release))
}

/// Makes true: no commit waits for the standby, or in a strict cluster every one does. Repeating finds it so.
async fn release(state: &mut standby::State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let known = Known { promotable: loaded.replication()?.promotable.is_some(), acknowledging: true, has_everything: false };
    if synchrony::leave(known) == synchrony::Next::Forget {
        return Ok(Next::Go(Step::Forget));
    }
    state.strict = loaded.cluster.spec.strict;
    standby::settle_commits(world, &loaded).await?;
    Ok(Next::Go(Step::Prepare))
}

/// Makes true: no process of the standby is left.
async fn end(context: &Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    world.host.fence(&loaded.standby()?.id, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)
}

/// Makes true: the standby is in sync, and recorded as such. Repeating looks again. Where that fails, no commit is left waiting for it; a
/// primary that cannot be told is about to be replaced or started again, and then waits for nobody.
async fn synchronise(state: &mut standby::State, context: &mut Context<World>) -> Result<Progress, StepError> {
    let ended = standby::synchronise(state, context).await;
    if ended.is_err()
        && let Err(error) = release(state, context).await
    {
        tracing::warn!(cluster = %context.cluster_id(), ?error, "commits could not be let go on");
    }
    ended
}
