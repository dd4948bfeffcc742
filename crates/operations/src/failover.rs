//! `cluster.failover`: the standby, which has everything that was acknowledged, takes the primary's place (decisions 10).

use crate::manifest;
use crate::serving::{self, Lead};
use crate::world::{Loaded, World, engine_failed, host_failed, insist};
use async_trait::async_trait;
use moorage_domain::instance::{Instance, Observed, ProcessState};
use moorage_domain::replication::{Promotable, Replication};
use moorage_domain::{InstanceId, Problem, ProblemCode};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::Write;
use serde::{Deserialize, Serialize};

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

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Decide, Fence, Promote, Publish }
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

    async fn run(&self, step: Step, request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Decide => decide(request, context).await,
            Step::Fence => fence(request, context).await.map_err(|error| insist(error, context.attempt())),
            Step::Promote => promote(context).await.map_err(|error| insist(error, context.attempt())),
            Step::Publish => publish(request, context).await.map_err(|error| insist(error, context.attempt())),
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
    let process = world.host.process(&new.id).await.map_err(host_failed)?;
    let lives = matches!(process, ProcessState::Running { incarnation, .. } if incarnation == request.to.incarnation);
    if replication.promotable.as_ref() != Some(&request.to) || replication.primary != request.from || !lives {
        return Err(StepError::GiveUp(
            Problem::new(ProblemCode::NoStandbyInSync, "Meanwhile nobody may take the primary's place any more.")
                .detail(replication.reason.clone())
                .hint("What is possible now is decided anew by itself."),
        ));
    }
    let term = loaded.cluster.term + 1;
    let changed = Replication {
        primary: new.id.clone(),
        promotable: None,
        rewind: Some(old.id.clone()),
        reason: request.reason.clone(),
        ..replication.clone()
    };
    let roles = [with_role(old, "STANDBY"), with_role(new, "ACTIVE")];
    let (cluster, words) =
        (loaded.cluster.id.clone(), format!("term {term}: {} takes over from {}. {}", new.name, old.name, request.reason));
    context.note(words);
    context.write(Write::Term(cluster, term));
    context.write(Write::Replication(changed));
    roles.into_iter().for_each(|instance| context.write(Write::Instance(instance)));
    Ok(Next::Go(Step::Fence))
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

/// Makes true: the one who takes over is writable. Everything it had received is applied first. Repeating finds it so.
async fn promote(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    promote_primary(world, &loaded).await?;
    Ok(Next::Go(Step::Publish))
}

async fn promote_primary(world: &World, loaded: &Loaded) -> Result<(), StepError> {
    // The host is told the new term, and refuses where it has seen a later one.
    serving::ensure_started(world, loaded).await?;
    let socket = serving::socket(world, &loaded.cluster, loaded.instance()?).await?;
    let mut session = world.engine(loaded.cluster.engine)?.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
    session.promote().await.map_err(engine_failed)
}

/// Makes true: users reach the new primary. Repeating changes nothing.
async fn publish(request: &Request, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    serving::keep_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::ToInstance).await?;
    let instance = loaded.instance()?;
    let (id, observed) = (instance.id.clone(), serving::observed_running(world, instance).await);
    // From which a lost store learns who wrote last.
    manifest::keep_in_step(world, context.cluster_id()).await?;
    context.write(Write::Observed(id, observed));
    context.note(format!("users reach {} now; nothing that was acknowledged is lost. {}", instance.name, request.reason));
    Ok(Next::Done)
}
