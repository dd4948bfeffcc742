//! `cluster.switchover`: primary and standby change places while both are well. New connections wait, transactions end first.

use crate::serving::{self, Lead};
use crate::takeover::{self, Course, Phase, Takeover};
use crate::world::{Loaded, World, engine_failed, host_failed, insist};
use async_trait::async_trait;
use moorage_domain::instance::Observed;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_host::EndpointState;
use moorage_store::Write;
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
    /// How long transactions may take to end, in seconds.
    pub grace_seconds: u32,
    /// Those that do not end in that time are cut, instead of the switchover being called off.
    pub force: bool,
}

impl Request {
    fn patience(&self) -> Patience {
        Patience { seconds: self.grace_seconds, force: self.force }
    }
}

/// What was learnt on the way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
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
    pub enum Step { Prepare, Hold, Drain, Decide, Fence, Promote, Return, Revive, Publish, Settle, CallOff }
}

/// The operation. Until the decision is committed it can be called off, and nobody has lost more than a moment.
pub struct Switchover;

/// How long one run of a step looks.
const LOOK: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What a standby needs to apply what it has received when new connections begin to wait: users wait for that.
const NEXT_TO_NOTHING: Duration = Duration::from_millis(25);
/// How long such a moment is hoped for where the standby is kept busy.
const HOPE: Duration = Duration::from_secs(3);
/// What it may be behind when new connections begin to wait after that. MariaDB says it in whole seconds.
const LITTLE: Duration = Duration::from_secs(1);
/// How long the standby may take to get the last of what was written.
const SHIP_LIMIT: Duration = Duration::from_secs(2);

#[async_trait]
impl Operation for Switchover {
    const KIND: &'static str = "cluster.switchover";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Prepare
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::Prepare | Step::Hold | Step::Drain | Step::CallOff => OnCancel::CleanUpFrom(Step::CallOff),
            _ => OnCancel::FinishFirst("the standby is already taking over"),
        }
    }
    fn on_give_up(&self, at: Step) -> Option<Step> {
        matches!(at, Step::Prepare | Step::Hold | Step::Drain | Step::Decide).then_some(Step::CallOff)
    }
    fn after(&self, step: Step) -> Option<Step> {
        match step {
            Step::Prepare => Some(Step::Hold),
            Step::Hold => Some(Step::Drain),
            Step::Drain => Some(Step::Decide),
            Step::CallOff => None,
            step => Phase::of(step).and_then(Phase::after),
        }
    }
    fn patience(&self, step: Step) -> Option<Duration> {
        matches!(step, Step::Prepare | Step::Hold | Step::Drain).then_some(Duration::from_secs(5))
    }

    async fn run(&self, step: Step, request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        if let Some(phase) = Phase::of(step) {
            let Request { reason, takeover, .. } = request;
            let course = Course { takeover, reason, struck_at: state.drained_at, returned_at: &mut state.returned_at };
            return phase.run(course, context).await;
        }
        match step {
            Step::Prepare => prepare(request, &mut state.behind_since, context).await,
            Step::Hold => {
                hold(&mut state.held_at, context).await?;
                Ok(Next::Go(Step::Drain))
            }
            Step::Drain => Ok(match drain(&request.takeover, request.patience(), &mut state.held_at, context).await? {
                None => {
                    state.drained_at.get_or_insert(context.now());
                    Next::Go(Step::Decide)
                }
                Some(doing) => Next::Wait(Step::Drain, Duration::from_millis(1), doing),
            }),
            _ => call_off(context).await.map(|()| Next::Done).map_err(|error| insist(error, context.attempt())),
        }
    }
}

/// Makes true: nothing is in the way, the standby has little left to apply, and the primary little to recover. Repeating looks again.
/// Nobody notices it.
async fn prepare(request: &Request, behind_since: &mut Option<Timestamp>, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    takeover::check(world, loaded.replication()?, &request.takeover).await?;
    if behind_since.is_none() {
        takeover::checkpoint(world, &loaded, loaded.instance()?).await?;
    }
    if let Some(doing) = catch_up(&loaded, request.patience(), behind_since, context).await? {
        return Ok(Next::Wait(Step::Prepare, LOOK_EVERY, doing));
    }
    context.note(request.reason.clone());
    Ok(Next::Go(Step::Hold))
}

/// Makes true: what the standby has received it has applied, but for little: users would wait for the rest. In words how far it is, until
/// then. Where it takes too long it is false, unless it is forced.
pub(crate) async fn catch_up(
    loaded: &Loaded,
    patience: Patience,
    behind_since: &mut Option<Timestamp>,
    context: &Context<World>,
) -> Result<Option<String>, StepError> {
    let world = context.world();
    let engine = world.engine(loaded.cluster.engine)?;
    let standby = loaded.standby()?;
    let socket = serving::socket(world, &loaded.cluster, standby).await?;
    let mut session = engine.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)?;
    let since = *behind_since.get_or_insert(context.now());
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < LOOK {
        if session.applies_within(NEXT_TO_NOTHING).await.map_err(engine_failed)? {
            return Ok(None);
        }
    }
    let waited = context.now().since(since);
    let behind = session.lag().await.map_err(engine_failed)?.unwrap_or_default();
    let grace = Duration::from_secs(patience.seconds.into());
    if behind < LITTLE && waited >= HOPE.min(grace) {
        return Ok(None);
    }
    let late = waited >= grace;
    let words = format!("{} still applies what it has received; it is {} s behind.", standby.name, behind.as_secs());
    match (late, patience.force) {
        (true, true) => Ok(None),
        (true, false) => Err(StepError::GiveUp(
            Problem::new(ProblemCode::NoStandbyInSync, format!("{words} The primary stays the primary."))
                .hint("Try again when less is written, give it longer (`--grace`), or have users wait for it (`--force`)."),
        )),
        (false, _) => Ok(Some(words)),
    }
}

/// Makes true: new connections wait at the gateway. Repeating changes nothing. Way back: calling it off.
pub(crate) async fn hold(held_at: &mut Option<Timestamp>, context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    held_at.get_or_insert(context.now());
    let lead = Lead::ToInstanceAsLongAsItMust;
    if serving::ensure_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, lead, None).await? == EndpointState::AddressInUse {
        return Err(serving::address_in_use(loaded.endpoint()?, "then this goes on"));
    }
    // Whoever ends the operation half way leaves behind that users have to be led there again.
    let instance = loaded.instance()?;
    context.write(Write::Observed(instance.id.clone(), Observed { published: false, ..instance.observed.clone() }));
    Ok(())
}

/// How transactions, and a standby that is behind, are waited for.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// How long.
    pub(crate) seconds: u32,
    /// Those that take longer are cut, or what is left is waited for by users.
    pub(crate) force: bool,
}

/// Makes true: no session is left that the primary serves. Those between two transactions are ended, the others waited for; in words how
/// many, while there are any. Repeating looks again.
pub(crate) async fn drain(
    takeover: &Takeover,
    patience: Patience,
    held_at: &mut Option<Timestamp>,
    context: &mut Context<World>,
) -> Result<Option<String>, StepError> {
    let since = *held_at.get_or_insert(context.now());
    let begun = tokio::time::Instant::now();
    loop {
        let world = context.world();
        let loaded = world.load(context.cluster_id()).await?;
        takeover::check(world, loaded.replication()?, takeover).await?;
        let left = world.host.drain_endpoint(&loaded.cluster.id).await.map_err(host_failed)?;
        if left == 0 {
            ship(world, &loaded).await?;
            return Ok(None);
        }
        let late = context.now().since(since) >= Duration::from_secs(patience.seconds.into());
        if late && patience.force {
            context.note(format!("sessions whose transactions did not end within {} s are cut: {left}", patience.seconds));
            return Ok(None);
        }
        if late {
            return Err(StepError::GiveUp(transactions_go_on(left, patience.seconds)));
        }
        if begun.elapsed() >= LOOK {
            return Ok(Some(format!("Sessions in a transaction are waited for: {left}.")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Makes true: the standby has everything that was written, also what was acknowledged without waiting for it.
async fn ship(world: &World, loaded: &Loaded) -> Result<(), StepError> {
    let engine = world.engine(loaded.cluster.engine)?;
    let administrator = world.host.administrator();
    let (writes, follows) = (loaded.instance()?, loaded.standby()?);
    let asked = async {
        let mut writes =
            engine.connect(&serving::socket(world, &loaded.cluster, writes).await?, &administrator).await.map_err(engine_failed)?;
        let mut follows =
            engine.connect(&serving::socket(world, &loaded.cluster, follows).await?, &administrator).await.map_err(engine_failed)?;
        writes.ship().await.map_err(engine_failed)?;
        let position = writes.position().await.map_err(engine_failed)?;
        while !follows.has(&position).await.map_err(engine_failed)? {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(SHIP_LIMIT, asked).await {
        Ok(shipped) => shipped,
        Err(_) => Err(StepError::GiveUp(
            Problem::new(
                ProblemCode::NoStandbyInSync,
                "The standby did not get the last of what was written in time; the primary stays the primary.",
            )
            .hint("Try again later."),
        )),
    }
}

fn transactions_go_on(left: u32, grace_seconds: u32) -> Problem {
    let one = if left == 1 { "One transaction" } else { "Transactions" };
    Problem::new(ProblemCode::TransactionsGoOn, format!("{one} did not end within {grace_seconds} s; the primary stays the primary."))
        .detail(format!("Sessions in a transaction: {left}."))
        .hint("Try again later, give them longer, or cut them off with `--force`.")
}

/// Makes true: connections are led to the primary again. Repeating changes nothing.
pub(crate) async fn call_off(context: &mut Context<World>) -> Result<(), StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    serving::keep_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::ToInstance).await?;
    let instance = loaded.instance()?;
    context.write(Write::Observed(instance.id.clone(), Observed { published: true, ..instance.observed.clone() }));
    Ok(())
}
