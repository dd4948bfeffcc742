//! `cluster.start`: from stopped to serving.

use crate::replication;
use crate::serving::{self, Answer, Lead};
use crate::stop;
use crate::world::{World, insist};
use async_trait::async_trait;
use moorage_domain::cluster::Wish;
use moorage_domain::instance::Observed;
use moorage_domain::parameter::AppliedParameters;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {}

/// What was learnt on the way; shared by every operation that waits for an engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// When the engine was first started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// A hash of the end of its log, and since when it has been that.
    #[serde(default)]
    pub log_end: Option<(u64, Timestamp)>,
}

steps! {
    /// The steps in their order; `Halt` is the clean-up path.
    pub enum Step { Start, Answer, Publish, Halt }
}

/// The operation.
pub struct Start;

#[async_trait]
impl Operation for Start {
    const KIND: &'static str = "cluster.start";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Start
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::Start | Step::Answer => OnCancel::CleanUpFrom(Step::Halt),
            Step::Publish => OnCancel::FinishFirst("the engine already runs"),
            Step::Halt => OnCancel::FinishFirst("it is already being stopped"),
        }
    }
    fn on_give_up(&self, at: Step) -> Option<Step> {
        (at != Step::Halt).then_some(Step::Halt)
    }

    async fn run(&self, step: Step, _request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Start => {
                begin(state, context).await?;
                Ok(Next::Go(Step::Answer))
            }
            Step::Answer => match answer(state, context).await? {
                Answer::Yes(_) => Ok(Next::Go(Step::Publish)),
                Answer::NotYet(doing) => Ok(Next::Wait(Step::Answer, Duration::from_millis(100), doing)),
            },
            Step::Publish => {
                publish(context).await?;
                let cluster = context.cluster_id().clone();
                context.write(Write::Wish(cluster, Wish::Run));
                Ok(Next::Done)
            }
            Step::Halt => halt(context).await,
        }
    }
}

/// Makes true: a shim keeps the engine's process. Repeating leaves a running one alone. Way back: stop it.
pub(crate) async fn begin(state: &mut State, context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    state.started_at.get_or_insert(context.now());
    serving::ensure_instance_revived(world, &loaded, loaded.instance()?).await?;
    let installed = world.installation(loaded.cluster.engine, &loaded.cluster.version).await?.version;
    if let Some(write) = replication::nobody_else(&loaded, "The primary was started again.") {
        context.write(write);
    }
    // It is read-only until it is promoted; where that fails, nobody is to believe that users reach it.
    if let (Some(_), Some(instance)) = (&loaded.replication, &loaded.instance) {
        context.write(Write::Observed(instance.id.clone(), Observed { published: false, ..instance.observed.clone() }));
    }
    if installed != loaded.cluster.version {
        context.note(format!("version {} is not installed any more; it runs on {installed}", loaded.cluster.version));
        context.write(Write::Version(loaded.cluster.id, installed));
    }
    Ok(())
}

/// Makes true: the engine answers. Only looks, so repeating is free. Crash recovery of a large database takes as long as it
/// takes, and both engines log how far it is; one that neither answers nor logs for long is shown to an operator, so that
/// the operation does not hold its cluster for ever.
pub(crate) async fn answer(state: &mut State, context: &mut Context<World>) -> Result<Answer, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let now = context.now();
    let since = state.started_at.unwrap_or(now);
    let mut answer = serving::answers(world, &loaded, since, now.since(since)).await?;
    if let Answer::Yes(session) = &mut answer {
        replication::promote(world, &loaded, session.as_mut()).await?;
    }
    if let Answer::NotYet(doing) = &answer {
        let tail = world.host.log_tail(&loaded.instance()?.id, LOG_END).await.unwrap_or_default();
        let end = world.engine(loaded.cluster.engine)?.without_refusals(&tail);
        let hash = std::hash::BuildHasher::hash_one(&std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default(), &end);
        match &state.log_end {
            Some((known, since)) if *known == hash => {
                if now.since(*since) > serving::STARTING_LIMIT {
                    // Whoever lets it go on gives it as long again.
                    state.log_end = None;
                    return Err(StepError::NeedsOperator(stuck(doing, &end)));
                }
            }
            _ => state.log_end = Some((hash, now)),
        }
    }
    Ok(answer)
}

/// Bytes of the log's end by which progress is seen: more than an engine that logs every question fills in [`STARTING_LIMIT`].
///
/// [`STARTING_LIMIT`]: serving::STARTING_LIMIT
const LOG_END: u64 = 256 << 10;

/// What fits into a problem: the last lines, whole ones.
fn last_part(log: &str) -> &str {
    let start = log.floor_char_boundary(log.len().saturating_sub(500));
    match log[start..].split_once('\n') {
        Some((_, lines)) if start > 0 => lines,
        _ => &log[start..],
    }
}

fn stuck(doing: &str, log_end: &str) -> Problem {
    let minutes = serving::STARTING_LIMIT.as_secs() / 60;
    Problem::new(
        ProblemCode::EngineStartFailed,
        format!("The engine runs, but for {minutes} minutes it has neither answered nor written to its log."),
    )
    .detail(format!("{doing} The end of its log: {}", last_part(log_end)))
    .hint("Retry to wait as long again, roll back to stop waiting, or terminate the cluster.")
}

/// Makes true: connections reach the engine. Repeating changes nothing. The engine runs by now, so nothing is undone: what is
/// in the way is shown to an operator after a while.
pub(crate) async fn publish(context: &mut Context<World>) -> Result<(), StepError> {
    lead_to_instance(context).await.map_err(|error| insist(error, context.attempt()))
}

async fn lead_to_instance(context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let lead = serving::keep_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::ToInstance);
    let (led, applied) = tokio::join!(lead, serving::parameters(world, &loaded));
    led?;
    let instance = loaded.instance()?;
    let observed = serving::observed_running(world, instance).await;
    let id = instance.id.clone();
    context.write(Write::Observed(id, observed));
    // A service to those who look; one that could not be had stays as it was last read.
    if let Ok(parameters) = applied {
        let applied = AppliedParameters { read_at: context.now(), parameters };
        context.write(Write::Parameters(context.cluster_id().clone(), applied));
    }
    Ok(())
}

/// Makes true: the endpoint leads nowhere and the engine does not run; the cluster is STOPPED as before.
async fn halt(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    stop::close(context).await?;
    match stop::halted(context).await? {
        true => Ok(Next::Done),
        false => Ok(Next::Wait(Step::Halt, Duration::from_millis(200), "The engine is being stopped again.".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_the_last_lines_only() {
        assert_eq!(last_part("one\ntwo"), "one\ntwo");
        let long = format!("{}\nlast line", "é".repeat(100_000));
        assert_eq!(last_part(&long), "last line");
        assert!(last_part(&"é".repeat(100_000)).len() <= 501);
    }
}
