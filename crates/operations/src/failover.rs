//! `cluster.failover`: the standby, which has everything that was acknowledged, takes the primary's place (decisions 10).

use crate::manifest;
use crate::serving::{self, Answer, Lead};
use crate::world::{Loaded, World, engine_failed, host_failed, insist};
use async_trait::async_trait;
use moorage_domain::instance::{Instance, Observed, ProcessState};
use moorage_domain::replication::{Promotable, Replication};
use moorage_domain::{InstanceId, Problem, ProblemCode, Timestamp};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Why, in one sentence.
    pub reason: String,
    /// Whose place is taken.
    pub from: InstanceId,
    /// Who takes it, and in which life it was seen to have everything.
    pub to: Promotable,
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
    pub enum Step { Decide, Fence, Promote, Return, Revive, Publish }
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

    async fn run(&self, step: Step, request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Decide => decide(request, context).await,
            Step::Fence => fence(request, context).await.map_err(|error| insist(error, context.attempt())),
            Step::Promote => promote(request, context).await.map_err(|error| insist(error, context.attempt())),
            Step::Return => go_back(request, context).await.map_err(|error| insist(error, context.attempt())),
            Step::Revive => revive(state, context).await.map_err(|error| insist(error, context.attempt())),
            Step::Publish => publish(context).await.map_err(|error| insist(error, context.attempt())),
        }
    }
}

/// Makes true: a new term with another primary is recorded, and nobody may take its place yet. Who is to take over is looked at once
/// more: it must still be recorded as promotable, in the life it lives. Repeating finds the term decided.
async fn decide(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let replication = loaded.replication()?;
    let (old, new) = (loaded.instance()?, loaded.standby()?);
    let lives = lives(world, &request.to).await?;
    if replication.promotable.as_ref() != Some(&request.to) || replication.primary != request.from || !lives {
        return Err(StepError::GiveUp(
            Problem::new(ProblemCode::NoStandbyInSync, "Meanwhile nobody may take the primary's place any more.")
                .detail(replication.reason.clone())
                .hint("What is possible now is decided anew by itself."),
        ));
    }
    let words = format!("term {}: {} takes over from {}. {}", loaded.cluster.term + 1, new.name, old.name, request.reason);
    let writes = change_places(&loaded, replication, old, new, &request.reason);
    context.note(words);
    writes.into_iter().for_each(|write| context.write(write));
    Ok(Next::Go(Step::Fence))
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

/// Makes true: the gateway leads nobody to the former primary, and no process of it is left, whatever it was doing. Repeating finds
/// it so.
async fn fence(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let cluster = &loaded.cluster;
    let closed = serving::ensure_endpoint(world, &loaded, &cluster.spec.allow_list, Lead::Nowhere, None);
    let ended = async { world.host.fence(&request.from, &cluster.id, cluster.term).await.map_err(host_failed) };
    let (closed, ended) = tokio::join!(closed, ended);
    closed?;
    ended?;
    if let Some(old) = &loaded.standby {
        let observed = Observed { answering: false, published: false, silent_since: None, ..old.observed.clone() };
        let write = Write::Observed(old.id.clone(), observed);
        context.write(write);
    }
    Ok(Next::Go(Step::Promote))
}

/// Makes true: the one who takes over is writable. Everything it had received is applied first. Repeating finds it so. A later life of it
/// may lack what was acknowledged: then the former primary, which has everything, comes back.
async fn promote(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    if !lives(world, &request.to).await? {
        return Ok(Next::Go(Step::Return));
    }
    let promoted = promote_primary(world, &loaded).await;
    // What was promoted may have been another life, or nobody.
    if !lives(world, &request.to).await? {
        return Ok(Next::Go(Step::Return));
    }
    match promoted {
        Ok(()) => Ok(Next::Go(Step::Publish)),
        // It lives and cannot: the other one has everything, too.
        Err(StepError::GiveUp(problem)) => {
            context.note(format!("it cannot take over: {}", problem.message));
            Ok(Next::Go(Step::Return))
        }
        Err(error) => Err(error),
    }
}

async fn lives(world: &World, promotable: &Promotable) -> Result<bool, StepError> {
    let process = world.host.process(&promotable.instance).await.map_err(host_failed)?;
    Ok(matches!(process, ProcessState::Running { incarnation, .. } if incarnation == promotable.incarnation))
}

/// Makes true: the former primary is the primary again, in a term of its own; no user has reached the other one. Repeating finds it so.
async fn go_back(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let replication = loaded.replication()?;
    if replication.primary == request.from {
        return Ok(Next::Go(Step::Revive));
    }
    world.host.fence(&request.to.instance, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
    let (failed, back) = (loaded.instance()?, loaded.standby()?);
    let reason = format!("{} could not take over; {} has everything and is started again.", failed.name, back.name);
    let writes = change_places(&loaded, replication, failed, back, &reason);
    context.note(format!("term {}: {reason}", loaded.cluster.term + 1));
    writes.into_iter().for_each(|write| context.write(write));
    Ok(Next::Go(Step::Revive))
}

/// Makes true: the former primary runs and is writable again. Repeating finds it so.
async fn revive(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let since = *state.returned_at.get_or_insert(context.now());
    serving::ensure_instance_revived(world, &loaded, loaded.instance()?).await?;
    match serving::answers(world, &loaded, since, context.now().since(since)).await? {
        Answer::Yes(mut session) => {
            session.promote().await.map_err(engine_failed)?;
            Ok(Next::Go(Step::Publish))
        }
        Answer::NotYet(doing) => Ok(Next::Wait(Step::Revive, Duration::from_millis(100), doing)),
    }
}

async fn promote_primary(world: &World, loaded: &Loaded) -> Result<(), StepError> {
    // The host is told the new term, and refuses where it has seen a later one.
    serving::ensure_started(world, loaded).await?;
    let socket = serving::socket(world, &loaded.cluster, loaded.instance()?).await?;
    let mut session = world.engine(loaded.cluster.engine)?.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
    session.promote().await.map_err(engine_failed)
}

/// Makes true: users reach the new primary. Repeating changes nothing.
async fn publish(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    serving::keep_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::ToInstance).await?;
    let instance = loaded.instance()?;
    let (id, observed) = (instance.id.clone(), serving::observed_running(world, instance).await);
    // From which a lost store learns who wrote last.
    manifest::keep_in_step(world, context.cluster_id()).await?;
    context.write(Write::Observed(id, observed));
    context.note(format!("users reach {} now; nothing that was acknowledged is lost", instance.name));
    Ok(Next::Done)
}
