//! One operation on one store file, through as many crashes as it takes.

use super::saboteur::Saboteur;
use super::{FastClock, Fixture, expect, temporary_directory};
use crate::{Clock, Registry, Runner, Settings};
use moorage_domain::operation::{OperationEvent, OperationStatus};
use moorage_domain::{OperationId, Problem};
use moorage_store::{Clusters, Operations, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How an operation ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Its status.
    pub status: OperationStatus,
    /// Its problem.
    pub problem: Option<Problem>,
    /// Its timeline.
    pub events: Vec<OperationEvent>,
}

impl Ending {
    /// The timeline as text, for a failing assertion.
    pub fn story(&self) -> String {
        let lines = self.events.iter().map(|event| format!("  {:12} {:14} {}", event.step, event.kind, event.detail));
        format!("{:?} {:?}\n{}", self.status, self.problem, lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Longest time, in the operation's own hours, until it has come to rest.
const LIMIT: Duration = Duration::from_secs(2 * 3600);

/// One operation on one store file.
pub struct Trial<F: Fixture> {
    fixture: F,
    store: Store,
    path: PathBuf,
    clock: FastClock,
    saboteur: Arc<Saboteur>,
    operation: OperationId,
    before: String,
    crashes: u32,
    _directory: tempfile::TempDir,
}

impl<F: Fixture> Trial<F> {
    pub(super) async fn begin(saboteur: Arc<Saboteur>) -> Self {
        let directory = temporary_directory();
        let path = directory.path().join("store.db");
        let store = expect("opening the store", Store::open(&path).await);
        let clock = FastClock::begin();
        let fixture = F::prepare(&store, clock).await;
        let before = fixture.inventory(&store).await;
        let operation = fixture.submit(&store, clock.now()).await;
        Self { fixture, store, path, clock, saboteur, operation, before, crashes: 0, _directory: directory }
    }

    /// The fixture.
    pub fn fixture(&self) -> &F {
        &self.fixture
    }
    /// The store as the last process left it.
    pub fn store(&self) -> &Store {
        &self.store
    }
    pub(super) fn inventory_before(&self) -> &str {
        &self.before
    }
    pub(super) fn crashes(&self) -> u32 {
        self.crashes
    }

    async fn start(&self) -> Runner {
        self.saboteur.work_on(&self.store);
        let registry = self.fixture.others(Registry::new()).with(self.fixture.operation());
        let world = Arc::new(self.fixture.world(&self.store));
        let settings = Settings::sole(self.fixture.host());
        let started = Runner::start_with(self.store.clone(), world, registry, Arc::new(self.clock), settings, Some(self.saboteur.clone()));
        expect("starting a runner", started.await)
    }

    /// Drops the process with everything that lives only in its memory and opens the store again.
    async fn crash(&mut self, runner: Runner) {
        drop(runner);
        self.saboteur.let_go();
        tokio::task::yield_now().await;
        self.crashes += 1;
        self.store = expect("opening the store again", Store::open(&self.path).await);
    }

    pub(super) async fn until_stopped(&mut self) {
        let runner = self.start().await;
        let stopped = tokio::time::timeout(LIMIT, self.saboteur.crashed.notified()).await;
        assert!(stopped.is_ok(), "the step to stop at was not reached");
        self.crash(runner).await;
    }

    pub(super) async fn rewrite_state(&self, state: &str) {
        let mut uow = expect("rewriting a state", self.store.begin().await);
        expect("rewriting a state", uow.rewrite_state(&self.operation, state).await);
        expect("rewriting a state", uow.commit().await);
    }

    /// Carries the operation on, starting anew after every crash, until it has ended or needs an operator.
    pub(super) async fn run_to_the_end(&mut self) -> Ending {
        let began = tokio::time::Instant::now();
        let mut runner = self.start().await;
        let ending = loop {
            assert!(began.elapsed() < LIMIT, "it does not come to rest\n{}", self.look().await.story());
            tokio::select! {
                biased;
                () = self.saboteur.crashed.notified() => {
                    self.crash(runner).await;
                    runner = self.start().await;
                    continue;
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            let ending = self.look().await;
            if ending.status.ended() || ending.status == OperationStatus::NeedsOperator {
                break ending;
            }
        };
        runner.shutdown(Duration::from_secs(60)).await;
        self.check_invariants(&ending).await;
        ending
    }

    async fn look(&self) -> Ending {
        let mut look = expect("looking", self.store.look().await);
        let row = expect("looking", look.operation_row(&self.operation).await);
        let events = expect("looking", look.operation_events(&self.operation).await);
        let row = row.unwrap_or_else(|| panic!("the operation's row is gone"));
        Ending { status: row.status, problem: row.problem, events }
    }

    /// What holds after every operation, however it ended.
    async fn check_invariants(&self, ending: &Ending) {
        let cluster = self.fixture.cluster();
        let mut uow = expect("checking", self.store.begin().await);
        let holder = expect("checking", uow.holder(&cluster).await);
        assert_eq!(holder.is_none(), ending.status.ended(), "a lock has a living owner: {holder:?}\n{}", ending.story());
        if ending.status == OperationStatus::Failed {
            assert!(ending.problem.is_some(), "a failure has a reason\n{}", ending.story());
        }
        let projected = |cluster: Option<moorage_domain::cluster::Cluster>| cluster.map(|cluster| (cluster.state, cluster.state_reason));
        let stored = projected(expect("checking", uow.cluster(&cluster).await));
        expect("checking", uow.project_state(&cluster).await);
        let computed = projected(expect("checking", uow.cluster(&cluster).await));
        assert_eq!(stored, computed, "the stored state is the computed one\n{}", ending.story());
    }
}
