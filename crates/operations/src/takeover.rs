//! One instance takes the place of another that writes: steps shared by operations that change the primary (decisions 10).

use crate::manifest;
use crate::replication;
use crate::serving::{self, Answer, Lead};
use crate::world::{Loaded, World, engine_failed, host_failed, insist};
use moorage_domain::instance::{Instance, Observed, ProcessState};
use moorage_domain::replication::{Promotable, Replication};
use moorage_domain::{InstanceId, Problem, ProblemCode, Timestamp};
use moorage_durable::{Context, Next, StepError, StepName, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Who takes whose place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// Whose place is taken.
    pub from: InstanceId,
    /// Who takes it, and in which life it was seen to have everything.
    pub to: Promotable,
}

steps! {
    /// The steps of a takeover in their order; each operation that changes the primary has them under the same names.
    pub enum Phase { Decide, Fence, Promote, Return, Revive, Publish, Settle }
}

/// What the steps of a takeover need to know.
pub(crate) struct Course<'a> {
    /// Who takes whose place.
    pub(crate) takeover: &'a Takeover,
    /// Why, in one sentence.
    pub(crate) reason: &'a str,
    /// Since when nobody could write.
    pub(crate) struck_at: Option<Timestamp>,
    /// When the former primary was started again, because the one who was to take over had ended before it could.
    pub(crate) returned_at: &'a mut Option<Timestamp>,
}

/// How long those who waited have the new primary to themselves.
const LET_IN: Duration = Duration::from_millis(150);

impl Phase {
    /// Which of these an operation's step is.
    pub(crate) fn of(step: impl StepName) -> Option<Self> {
        Self::parse(step.name())
    }

    /// What comes after a step whose work an operator did by hand.
    pub(crate) fn after<S: StepName>(self) -> Option<S> {
        let next = match self {
            Self::Decide => Self::Fence,
            Self::Fence => Self::Promote,
            Self::Return => Self::Revive,
            Self::Promote | Self::Revive => Self::Publish,
            Self::Publish => Self::Settle,
            Self::Settle => return None,
        };
        S::parse(next.name())
    }

    /// Carries the step out. Until it is decided a failure ends the operation; afterwards it is insisted on, for nobody may be left half
    /// way between two primaries.
    pub(crate) async fn run<S: StepName>(self, course: Course<'_>, context: &mut Context<World>) -> Result<Next<S>, StepError> {
        let next = match self.carry_out(course, context).await {
            Err(error) if self != Self::Decide => return Err(insist(error, context.attempt())),
            next => next?,
        };
        let step = |phase: Phase| S::parse(phase.name()).ok_or_else(|| StepError::NeedsOperator(Problem::internal()));
        Ok(match next {
            Next::Go(phase) => Next::Go(step(phase)?),
            Next::Wait(phase, rest, why) => Next::Wait(step(phase)?, rest, why),
            _ => Next::Done,
        })
    }

    async fn carry_out(self, course: Course<'_>, context: &mut Context<World>) -> Result<Next<Self>, StepError> {
        let Course { takeover, reason, struck_at, returned_at } = course;
        Ok(match self {
            Self::Decide => {
                decide(takeover, reason, context).await?;
                Next::Go(Self::Fence)
            }
            Self::Fence => {
                fence(takeover, context).await?;
                Next::Go(Self::Promote)
            }
            Self::Promote if promote(takeover, context).await? => Next::Go(Self::Publish),
            Self::Promote => Next::Go(Self::Return),
            Self::Return => {
                go_back(takeover, context).await?;
                Next::Go(Self::Revive)
            }
            Self::Revive => match revive(returned_at, context).await? {
                None => Next::Go(Self::Publish),
                Some(doing) => Next::Wait(Self::Revive, Duration::from_millis(100), doing),
            },
            Self::Publish => {
                publish(struck_at, context).await?;
                // Not while everybody logs in again: flushes of a checkpoint are what their first commits wait for.
                Next::Wait(Self::Settle, LET_IN, "Users are let in.".to_owned())
            }
            Self::Settle => {
                settle(context).await?;
                Next::Done
            }
        })
    }
}

/// Makes true: a new term with another primary is recorded, and nobody may take its place yet. Who is to take over is looked at once
/// more: it must still be recorded as promotable, in the life it lives. Repeating finds the term decided.
async fn decide(takeover: &Takeover, reason: &str, context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let replication = loaded.replication()?;
    let (old, new) = (loaded.instance()?, loaded.standby()?);
    check(world, replication, takeover).await?;
    world.host.ensure_term(&loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
    let words = format!("term {}: {} takes over from {}. {reason}", loaded.cluster.term + 1, new.name, old.name);
    let mut writes = change_places(&loaded, replication, old, new, reason);
    // Users are not led there yet: whoever ends the operation half way finds that it has to be done.
    writes.push(Write::Observed(new.id.clone(), Observed { published: false, ..new.observed.clone() }));
    context.note(words);
    writes.into_iter().for_each(|write| context.write(write));
    Ok(())
}

/// Ends the operation where the record does not say (any more) that this one may take that one's place, in the life it lives.
pub(crate) async fn check(world: &World, replication: &Replication, takeover: &Takeover) -> Result<(), StepError> {
    let recorded = replication.promotable.as_ref() == Some(&takeover.to) && replication.primary == takeover.from;
    if recorded && lives(world, &takeover.to).await? {
        return Ok(());
    }
    Err(StepError::GiveUp(
        Problem::new(ProblemCode::NoStandbyInSync, "Meanwhile nobody may take the primary's place any more.")
            .detail(replication.reason.clone())
            .hint("What is possible now is decided anew by itself."),
    ))
}

/// A new term, in which the second writes, the first does not, and nobody may take the second's place yet.
fn change_places(loaded: &Loaded, replication: &Replication, old: &Instance, new: &Instance, reason: &str) -> Vec<Write> {
    let changed = Replication {
        primary: new.id.clone(),
        promotable: None,
        rewind: Some(old.id.clone()),
        reason: reason.to_owned(),
        ..replication.clone()
    };
    vec![
        Write::Term(loaded.cluster.id.clone(), loaded.cluster.term + 1),
        Write::Replication(changed),
        Write::Instance(with_role(old, "STANDBY")),
        Write::Instance(with_role(new, "ACTIVE")),
    ]
}

fn with_role(instance: &Instance, role: &str) -> Instance {
    Instance { role: role.to_owned(), ..instance.clone() }
}

/// Makes true: the gateway leads nobody to the former primary (who comes new waits for the next one), and no process of it is left,
/// whatever it was doing. Repeating finds it so.
async fn fence(takeover: &Takeover, context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let cluster = &loaded.cluster;
    let closed = serving::ensure_endpoint(world, &loaded, &cluster.spec.allow_list, Lead::NowhereYet, None);
    let ended = async { world.host.fence(&takeover.from, &cluster.id, cluster.term).await.map_err(host_failed) };
    let (closed, ended) = tokio::join!(closed, ended);
    closed?;
    ended?;
    if let Some(old) = &loaded.standby {
        let observed = Observed { answering: false, published: false, silent_since: None, ..old.observed.clone() };
        let write = Write::Observed(old.id.clone(), observed);
        context.write(write);
    }
    Ok(())
}

/// Makes true: the one who takes over is writable. Everything it had received is applied first. Repeating finds it so. A later life of it
/// may lack what was acknowledged: then it is false, and the former primary, which has everything, has to come back.
async fn promote(takeover: &Takeover, context: &mut Context<World>) -> Result<bool, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if !lives(world, &takeover.to).await? {
        return Ok(false);
    }
    let promoted = promote_primary(world, &loaded).await;
    let name = loaded.instance()?.name.clone();
    // What was promoted may have been another life, or nobody.
    if !lives(world, &takeover.to).await? {
        return Ok(false);
    }
    match promoted {
        Ok(position) => {
            context.note(format!("{name} writes, from position {position} on"));
            Ok(true)
        }
        // It lives and cannot: the other one has everything, too.
        Err(StepError::GiveUp(problem)) => {
            context.note(format!("it cannot take over: {}", problem.message));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn lives(world: &World, promotable: &Promotable) -> Result<bool, StepError> {
    let process = world.host.process(&promotable.instance).await.map_err(host_failed)?;
    Ok(matches!(process, ProcessState::Running { incarnation, .. } if incarnation == promotable.incarnation))
}

/// Makes true: the former primary is the primary again, in a term of its own; no user has reached the other one. Repeating finds it so.
async fn go_back(takeover: &Takeover, context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let replication = loaded.replication()?;
    if replication.primary == takeover.from {
        return Ok(());
    }
    world.host.fence(&takeover.to.instance, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
    let (failed, back) = (loaded.instance()?, loaded.standby()?);
    let reason = format!("{} could not take over; {} has everything and is started again.", failed.name, back.name);
    let writes = change_places(&loaded, replication, failed, back, &reason);
    context.note(format!("term {}: {reason}", loaded.cluster.term + 1));
    writes.into_iter().for_each(|write| context.write(write));
    Ok(())
}

/// Makes true: the former primary runs and is writable again; until it is so, in words what it does. Repeating finds it so.
async fn revive(returned_at: &mut Option<Timestamp>, context: &Context<World>) -> Result<Option<String>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let since = *returned_at.get_or_insert(context.now());
    serving::ensure_instance_revived(world, &loaded, loaded.instance()?).await?;
    match serving::answers(world, &loaded, since, context.now().since(since)).await? {
        Answer::Yes(mut session) => {
            replication::promote(world, &loaded, session.as_mut()).await?;
            Ok(None)
        }
        Answer::NotYet(doing) => Ok(Some(doing)),
    }
}

/// Where the one that writes now goes on.
async fn promote_primary(world: &World, loaded: &Loaded) -> Result<String, StepError> {
    let socket = serving::socket(world, &loaded.cluster, loaded.instance()?).await?;
    let mut session = world.engine(loaded.cluster.engine)?.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
    // The host is told the new term, and refuses where it has seen a later one.
    replication::promote(world, loaded, session.as_mut()).await?;
    // It is the primary, whether it says where or not.
    Ok(session.position().await.map_or_else(|_| "unknown".to_owned(), |position| position.0))
}

/// Makes true: users reach the new primary. Repeating changes nothing.
async fn publish(struck_at: Option<Timestamp>, context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    serving::keep_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::ToInstance).await?;
    let instance = loaded.instance()?;
    let (id, observed) = (instance.id.clone(), serving::observed_running(world, instance).await);
    // From which a lost store learns who wrote last.
    manifest::keep_in_step(world, context.cluster_id()).await?;
    context.write(Write::Observed(id, observed));
    let gap = struck_at.map(|at| format!(", after a gap of {:.2} s", context.now().since(at).as_secs_f64())).unwrap_or_default();
    let then = if loaded.cluster.spec.strict { "; commits wait until its standby is in sync, for the cluster is strict" } else { "" };
    context.note(format!("users reach {} now{gap}; nothing that was acknowledged is lost{then}", instance.name));
    Ok(())
}

/// Makes true: what the new primary did first is on disk, also for whoever has to rewind it one day. It is only better so: a failure is
/// noted. Repeating does it again.
async fn settle(context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if let Err(error) = checkpoint(world, &loaded, loaded.instance()?).await {
        tracing::warn!(cluster = %loaded.cluster.id, ?error, "a new primary could not be told to write to disk what it holds");
    }
    Ok(())
}

/// How long a checkpoint is waited for; one that was asked for goes on without us, and a hung primary must not keep a failover waiting.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(3);

/// Has an instance write to disk what a recovery would have to do again, as far as that is quick.
pub(crate) async fn checkpoint(world: &World, loaded: &Loaded, instance: &Instance) -> Result<(), StepError> {
    let asked = async {
        let socket = serving::socket(world, &loaded.cluster, instance).await?;
        let engine = world.engine(loaded.cluster.engine)?;
        let mut session = engine.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
        session.checkpoint().await.map_err(engine_failed)
    };
    tokio::time::timeout(CHECKPOINT_LIMIT, asked).await.unwrap_or(Ok(()))
}
