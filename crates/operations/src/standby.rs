//! From an instance that may be anything to one that follows and is in sync: steps shared by operations that bring a standby in.

use crate::replication::{self, Joined};
use crate::serving::{self, Answer};
use crate::world::{Loaded, World, engine_failed, host_failed};
use moorage_domain::decide::health::Probe;
use moorage_domain::instance::{Instance, ProcessState};
use moorage_domain::layout::JobStep;
use moorage_domain::replication::Replication;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_durable::{Context, StepError};
use moorage_host::{JobState, JobWish};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was learnt on the way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// What only it had was taken back, or could not be.
    #[serde(default)]
    pub rewound: bool,
    /// Only a copy of its primary's directory helps.
    #[serde(default)]
    pub needs_copy: bool,
    /// It was made a copy.
    #[serde(default)]
    pub copied: bool,
    /// Nothing of it ran any more when the work on its directory began.
    #[serde(default)]
    pub fenced: bool,
    /// When its engine was first started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Since when it has been getting what it missed, or last got on with that.
    #[serde(default)]
    pub follows_since: Option<Timestamp>,
    /// How far it was then.
    #[serde(default)]
    pub progress: String,
    /// Whether the cluster was strict when commits were last let go on or made to wait.
    #[serde(default)]
    pub strict: bool,
}

/// How far a step is.
pub(crate) enum Progress {
    /// It is done.
    Done,
    /// It goes on; in words with what.
    Waits(&'static str),
    /// The directory does not fit: it has to be made anew.
    DoesNotFit,
}

/// How long one run of the last step looks.
const LOOK: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A standby that does not get on with following for so long is made anew.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(45);
/// One that was made anew and does not get on for so long is tried again from the beginning.
const GIVES_UP_AFTER: Duration = Duration::from_secs(600);
/// How long the primary may take to answer; a silent one is somebody else's to look at.
const PRIMARY_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

fn lost(what: &str) -> StepError {
    let problem = Problem::new(ProblemCode::EngineUnreachable, format!("{what} It is looked at again."));
    StepError::GiveUp(problem)
}

/// Makes true: the standby's directory fits its primary's, as far as is known. Its engine does not run where that needed work. Repeating
/// asks how far the work is, or begins it anew.
pub(crate) async fn prepare(state: &mut State, context: &mut Context<World>) -> Result<Progress, StepError> {
    if state.needs_copy && !state.copied && !lets_be_copied(state, context).await? {
        return Ok(Progress::Waits("The primary cannot be copied while its commits wait."));
    }
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let (standby, replication) = (loaded.standby()?, loaded.replication()?);
    check_primary(world, &loaded).await?;
    let engine = world.engine(loaded.cluster.engine)?;
    let part = replication::part(world, &loaded, standby)?;
    let (spec, _) = serving::specify(world, &loaded.cluster, standby, part).await?;
    let place = world.host.place(&standby.id);
    if replication.rewind.as_ref() == Some(&standby.id) && !state.rewound && !state.needs_copy {
        fence_once(state, world, &loaded).await?;
        let steps = engine.rewind(&spec, &place);
        if !steps.is_empty() {
            match work(world, &loaded, format!("rewind-{}", context.operation_id()), steps).await? {
                JobState::Running => return Ok(Progress::Waits("What only it has is taken back.")),
                JobState::Done => {}
                JobState::Failed(problem) => {
                    tracing::warn!(cluster = %loaded.cluster.id, %problem, "a former primary could not be rewound and is made anew");
                    state.needs_copy = true;
                }
            }
        }
        state.rewound = true;
    }
    if state.needs_copy && !state.copied {
        fence_once(state, world, &loaded).await?;
        match work(world, &loaded, format!("copy-{}", context.operation_id()), engine.copy(&spec, &place)).await? {
            JobState::Running => return Ok(Progress::Waits("A copy of the primary is made.")),
            JobState::Done => state.copied = true,
            JobState::Failed(problem) => return Err(StepError::GiveUp(problem)),
        }
    }
    Ok(Progress::Done)
}

/// Whether the primary can be copied now. In a strict cluster some engines cannot as long as commits wait, and those wait for the copy:
/// somebody has to decide, and is told so in the cluster's state.
async fn lets_be_copied(state: &mut State, context: &mut Context<World>) -> Result<bool, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if !state.strict || world.engine(loaded.cluster.engine)?.copies_while_commits_wait() {
        return Ok(true);
    }
    let reason = format!(
        "{} has to be copied anew, which {} cannot do while commits wait. Let them go on meanwhile: `moorage cluster change {} --strict off`.",
        loaded.standby()?.name,
        loaded.cluster.engine.display(),
        loaded.cluster.name
    );
    match replication::nobody_else(&loaded, &reason) {
        Some(write) => {
            context.write(write);
            Ok(false)
        }
        // It is written where people look. The cluster is not held meanwhile: its primary may need help.
        None => Err(StepError::GiveUp(Problem::new(ProblemCode::NoStandbyInSync, reason))),
    }
}

/// Acts on a cluster's having become strict, or not being so any more: a user may change it at any moment.
pub(crate) async fn heed_strictness(state: &mut State, context: &Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if loaded.cluster.spec.strict != state.strict {
        settle_commits(world, &loaded).await?;
        state.strict = loaded.cluster.spec.strict;
    }
    Ok(())
}

/// Before the work begins, and not again: where processes are found by where they work, it would end that work itself.
async fn fence_once(state: &mut State, world: &World, loaded: &Loaded) -> Result<(), StepError> {
    if !state.fenced {
        world.host.fence(&loaded.standby()?.id, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
        state.fenced = true;
    }
    Ok(())
}

async fn work(world: &World, loaded: &Loaded, name: String, steps: Vec<JobStep>) -> Result<JobState, StepError> {
    let standby = loaded.standby()?;
    let wish = JobWish {
        instance: standby.id.clone(),
        cluster: loaded.cluster.id.clone(),
        name,
        steps,
        uid: standby.uid,
        term: loaded.cluster.term,
    };
    world.host.ensure_job(&wish).await.map_err(host_failed)
}

/// Makes true: the standby's engine answers. Repeating leaves a running one alone.
pub(crate) async fn start(state: &mut State, context: &Context<World>) -> Result<Progress, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    check_primary(world, &loaded).await?;
    let standby = loaded.standby()?;
    let since = *state.started_at.get_or_insert(context.now());
    serving::ensure_instance_revived(world, &loaded, standby).await?;
    match serving::instance_answers(world, &loaded, standby, since, context.now().since(since)).await {
        Ok(Answer::Yes(_)) => Ok(Progress::Done),
        Ok(Answer::NotYet(_)) => Ok(Progress::Waits("The standby's engine starts up.")),
        Err(StepError::GiveUp(problem)) if !state.copied => {
            tracing::warn!(cluster = %loaded.cluster.id, %problem, "a standby does not start and is made anew");
            Ok(Progress::DoesNotFit)
        }
        Err(error) => Err(error),
    }
}

/// Makes true: the standby has everything that is acknowledged, and the record says so. Repeating looks again.
pub(crate) async fn synchronise(state: &mut State, context: &mut Context<World>) -> Result<Progress, StepError> {
    let since = follows_since(state, context).await?;
    let begun = tokio::time::Instant::now();
    loop {
        let world = context.world();
        let loaded = world.load(context.cluster_id()).await?;
        check_primary(world, &loaded).await?;
        match replication::join(world, &loaded).await {
            Ok(Joined::Yes(promotable)) => {
                let reason = format!("{} is in sync.", loaded.standby()?.name);
                let replication = Replication { promotable: Some(promotable), rewind: None, reason, ..loaded.replication()?.clone() };
                let standby = loaded.standby()?;
                let observed = serving::observed_running(world, standby).await;
                let id = standby.id.clone();
                context.write(Write::Observed(id, observed));
                context.write(Write::Replication(replication));
                return Ok(Progress::Done);
            }
            Ok(Joined::NotYet(doing)) if context.now().since(since) > FOLLOWS_WITHIN && !state.copied => {
                tracing::warn!(cluster = %loaded.cluster.id, doing, "a standby does not get in sync and is made anew");
                return Ok(Progress::DoesNotFit);
            }
            Ok(Joined::NotYet(doing)) if context.now().since(since) > GIVES_UP_AFTER => {
                return Err(lost(&format!("For {} minutes it did not get on. {doing}", GIVES_UP_AFTER.as_secs() / 60)));
            }
            Ok(Joined::NotYet(doing)) if begun.elapsed() >= LOOK => return Ok(Progress::Waits(doing)),
            Ok(Joined::NotYet(_)) => {}
            Err(StepError::GiveUp(problem)) if !state.copied => {
                tracing::warn!(cluster = %loaded.cluster.id, %problem, "a standby cannot follow and is made anew");
                return Ok(Progress::DoesNotFit);
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Since when it has not got on. One that catches up is let to, however long that takes.
async fn follows_since(state: &mut State, context: &Context<World>) -> Result<Timestamp, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let socket = serving::socket(world, &loaded.cluster, loaded.standby()?).await?;
    let asked = async {
        let mut session =
            world.engine(loaded.cluster.engine)?.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
        session.progress().await.map_err(engine_failed)
    };
    // One that does not answer does not get on.
    if let Ok(progress) = asked.await
        && progress != state.progress
    {
        (state.progress, state.follows_since) = (progress, Some(context.now()));
    }
    Ok(*state.follows_since.get_or_insert(context.now()))
}

/// Ends the operation when the primary has ended or does not answer: nobody else looks at the cluster while this one holds it.
async fn check_primary(world: &World, loaded: &Loaded) -> Result<(), StepError> {
    let primary = loaded.instance()?;
    check_process(world, primary).await?;
    let socket = serving::socket(world, &loaded.cluster, primary).await?;
    let engine = world.engine(loaded.cluster.engine)?;
    match engine.probe(&socket, &world.host.administrator(), PRIMARY_ANSWERS_WITHIN).await {
        Probe::Silent => Err(lost("The primary does not answer.")),
        Probe::Answered | Probe::Busy => Ok(()),
    }
}

/// Has the primary's commits wait for nobody, or go on waiting in a strict cluster. One that has ended is about to be started again.
pub(crate) async fn settle_commits(world: &World, loaded: &Loaded) -> Result<(), StepError> {
    check_process(world, loaded.instance()?).await?;
    let socket = serving::socket(world, &loaded.cluster, loaded.instance()?).await?;
    let mut session = world.engine(loaded.cluster.engine)?.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
    replication::settle(loaded, session.as_mut()).await
}

/// Ends the operation when the primary's process has ended.
async fn check_process(world: &World, primary: &Instance) -> Result<(), StepError> {
    match world.host.process(&primary.id).await.map_err(host_failed)? {
        ProcessState::Running { .. } => Ok(()),
        _ => Err(lost("The primary has ended meanwhile.")),
    }
}

/// Notes that the directory has to be made anew.
pub(crate) fn anew(state: &mut State) {
    *state = State { needs_copy: true, rewound: true, ..State::default() };
}
