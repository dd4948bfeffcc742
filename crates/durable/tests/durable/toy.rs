//! A toy world: things in a cupboard, and an operation that makes one. Each defect is a mistake that real operations make.

use async_trait::async_trait;
use moorage_domain::cluster::Cluster;
use moorage_domain::{ClusterId, HostId, OperationId, Problem, ProblemCode, Timestamp};
use moorage_durable::harness::{FastClock, Fixture};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_store::{NewOperation, Operations, Store, Submitted, Write};
use moorage_testkit::a_cluster;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What survives a crash of the control plane.
#[derive(Default)]
pub struct Cupboard {
    /// Things and how often each was painted.
    pub things: BTreeMap<String, u32>,
    /// How often somebody looked whether the paint is dry.
    pub looks: u32,
}

#[derive(Clone, Default)]
pub struct World(pub Arc<Mutex<Cupboard>>);

impl World {
    pub fn open(&self) -> std::sync::MutexGuard<'_, Cupboard> {
        self.0.lock().expect("nobody panics with the cupboard open")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    None,
    /// Chooses a name and uses it in the same step.
    ChoosesAndUsesAtOnce,
    /// Paints again whenever it runs.
    PaintsTwice,
    /// Its clean-up forgets what it made.
    LeavesItThere,
    /// Says that there is nothing to clean up although there is.
    ForgetsWhenCalledOff,
    /// Panics when its step runs.
    Panics,
    /// Fails its first two tries.
    Stumbles,
    /// Cannot go on without an operator.
    CallsOperator,
    /// Its clean-up fails for good.
    CannotCleanUp,
    /// Always to be tried again, with a limit to its patience.
    LosesPatience,
    /// Waits for a nudge.
    WaitsForLong,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub colour: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub tries: u32,
}

steps! {
    /// In their order; `ThrowAway` is the clean-up path.
    pub enum Step { ChooseName, Make, Paint, LetDry, ThrowAway }
}

pub struct MakeThing(pub Defect);

fn name_of(state: &State) -> Result<String, StepError> {
    state.name.clone().ok_or_else(|| StepError::GiveUp(Problem::new(ProblemCode::Internal, "It has no name.")))
}

#[async_trait]
impl Operation for MakeThing {
    const KIND: &'static str = "thing.make";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::ChooseName
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::LetDry if self.0 != Defect::ForgetsWhenCalledOff => OnCancel::FinishFirst("it only has to dry"),
            _ => OnCancel::CleanUpFrom(Step::ThrowAway),
        }
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        Some(Step::ThrowAway)
    }
    fn patience(&self, _step: Step) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
    fn deadline(&self) -> Duration {
        Duration::from_secs(20)
    }

    async fn run(&self, step: Step, request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        let world = context.world();
        match step {
            Step::ChooseName => {
                let name = format!("{}-{:x}", request.colour, context.fresh_id());
                if self.0 == Defect::ChoosesAndUsesAtOnce {
                    world.open().things.insert(name.clone(), 0);
                }
                state.name = Some(name);
                Ok(Next::Go(Step::Make))
            }
            Step::Make => {
                world.open().things.entry(name_of(state)?).or_default();
                context.note("made it");
                Ok(Next::Go(Step::Paint))
            }
            Step::Paint => self.paint(state, context),
            Step::LetDry => {
                let mut cupboard = world.open();
                cupboard.looks += 1;
                if cupboard.looks < 4 {
                    return Ok(Next::Wait(Step::LetDry, Duration::from_millis(300), "The paint is wet.".into()));
                }
                Ok(Next::Done)
            }
            Step::ThrowAway => {
                if self.0 == Defect::CannotCleanUp {
                    return Err(StepError::GiveUp(Problem::new(ProblemCode::HostFailed, "The bin is full.")));
                }
                let calledoff = context.problem().is_some_and(|problem| problem.code == ProblemCode::OperationCancelled);
                let forgets = self.0 == Defect::LeavesItThere || (self.0 == Defect::ForgetsWhenCalledOff && calledoff);
                if let (Some(name), false) = (&state.name, forgets) {
                    world.open().things.remove(name);
                }
                let why = context.problem().map(|problem| problem.message.clone()).unwrap_or_default();
                context.write(Write::CreationFailed(context.cluster_id().clone(), why));
                Ok(Next::Done)
            }
        }
    }
}

impl MakeThing {
    fn paint(&self, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        state.tries += 1;
        match self.0 {
            Defect::Panics => panic!("out of paint"),
            Defect::Stumbles if context.attempt() <= 2 => {
                return Err(StepError::retry(std::io::Error::other("spilt"), "The paint was spilt."));
            }
            Defect::CallsOperator if state.tries < 2 => {
                return Err(StepError::NeedsOperator(Problem::new(ProblemCode::HostFailed, "Somebody has to choose the colour.")));
            }
            Defect::CannotCleanUp => return Err(StepError::GiveUp(Problem::new(ProblemCode::HostFailed, "No brush."))),
            Defect::LosesPatience => return Err(StepError::retry(std::io::Error::other("empty"), "The shop is closed.")),
            Defect::WaitsForLong if state.tries < 2 => {
                return Ok(Next::Wait(Step::Paint, Duration::from_secs(3600), "Waits for the painter.".into()));
            }
            _ => {}
        }
        let world = context.world();
        let mut cupboard = world.open();
        let coats = cupboard
            .things
            .get_mut(&name_of(state)?)
            .ok_or_else(|| StepError::GiveUp(Problem::new(ProblemCode::Internal, "It is gone.")))?;
        *coats = if self.0 == Defect::PaintsTwice { *coats + 1 } else { 1 };
        drop(cupboard);
        Ok(Next::Go(Step::LetDry))
    }
}

/// Submits an operation of this kind; its identifier is made of the number.
pub async fn submit(store: &Store, cluster: &Cluster, number: u128, now: Timestamp) -> OperationId {
    let id = OperationId::from_bits(number);
    let mut uow = store.begin().await.expect("a unit of work");
    let request = Request { colour: "red".into() };
    let submitted = uow.submit(&NewOperation::new(&id, MakeThing::KIND, cluster, &request, "somebody", now)).await.expect("a submission");
    assert_eq!(submitted, Submitted::Started);
    uow.commit().await.expect("a commit");
    id
}

/// The operation with the defect of this number.
pub struct ToyFixture<const DEFECT: usize> {
    pub world: World,
    pub cluster: Cluster,
}

pub const DEFECTS: [Defect; 5] =
    [Defect::None, Defect::ChoosesAndUsesAtOnce, Defect::PaintsTwice, Defect::LeavesItThere, Defect::ForgetsWhenCalledOff];

#[async_trait]
impl<const DEFECT: usize> Fixture for ToyFixture<DEFECT> {
    type Operation = MakeThing;

    async fn prepare(store: &Store, _clock: FastClock) -> Self {
        let cluster = a_cluster(1);
        moorage_testkit::insert(store, &cluster).await;
        Self { world: World::default(), cluster }
    }
    fn operation(&self) -> MakeThing {
        MakeThing(DEFECTS[DEFECT])
    }
    fn host(&self) -> HostId {
        self.cluster.host.clone()
    }
    fn cluster(&self) -> ClusterId {
        self.cluster.id.clone()
    }
    fn world(&self, _store: &Store) -> World {
        self.world.clone()
    }
    async fn submit(&self, store: &Store, now: Timestamp) -> OperationId {
        submit(store, &self.cluster, 7, now).await
    }
    async fn inventory(&self, _store: &Store) -> String {
        format!("{:?}", self.world.open().things)
    }
    async fn check_succeeded(&self, store: &Store) {
        let things = self.world.open().things.clone();
        assert_eq!(things.values().copied().collect::<Vec<_>>(), [1], "one thing, painted once: {things:?}");
        let holder = store.look().await.expect("a look").holder(&self.cluster.id).await.expect("a holder");
        assert!(holder.is_none());
    }
}
