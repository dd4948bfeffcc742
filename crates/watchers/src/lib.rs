//! Watchers: no input, a period and a nudge, idempotent, no inner retries. They look, write what they saw, and where wish and
//! world differ they submit an operation. The world itself they touch only where no operation could be in the way: spares that
//! nobody uses yet, a hung engine, a log that has grown too long, leftovers.

mod actions;
mod attempts;
mod certificates;
mod convergence;
mod database_sizes;
mod health;
mod leftovers;
mod logs;
mod manifests;
mod public_addresses;
mod quarantine;
mod ready_databases;
mod replication;
mod spares;
mod volume_rooms;
mod volume_sizes;

use moorage_domain::cluster::Cluster;
use moorage_domain::operation::ITSELF;
use moorage_domain::{OperationId, Problem, ProblemCode, Timestamp};
use moorage_durable::{Clock, Operation, SteadyClock};
use moorage_operations::{WatcherBoard, World};
use moorage_store::{NewOperation, StoreError, Submitted};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What watchers need.
#[derive(Clone)]
pub struct Watch {
    /// The world operations act on.
    pub world: Arc<World>,
    /// Tells the runner that there is something to do.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Spare data directories kept ready for the newest version of each engine.
    pub spares: usize,
    /// Where watchers write what they last did.
    pub board: Arc<WatcherBoard>,
    /// How long a database of a plan stays in quarantine.
    pub quarantine: Duration,
}

impl Watch {
    /// Lets a watcher look, and notes on the board when, how long and with what result.
    async fn look<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        period: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (began_at, begun) = (now(), Instant::now());
        let looked = work.await;
        self.board.note(name, period, began_at, begun.elapsed(), looked.as_ref().err().map(ToString::to_string));
        looked
    }

    /// Submits an operation of a cluster; none where another one holds it. Begins when the runner is woken.
    async fn submit<O: Operation>(&self, cluster: &Cluster, request: &O::Request) -> Result<Option<OperationId>, StoreError> {
        self.submit_instead::<O>(cluster, request, None).await
    }

    /// The same, in the place of an operation that gives way.
    async fn submit_instead<O: Operation>(
        &self,
        cluster: &Cluster,
        request: &O::Request,
        holder: Option<&OperationId>,
    ) -> Result<Option<OperationId>, StoreError> {
        let id = OperationId::from_bits(uuid::Uuid::now_v7().as_u128());
        let new = NewOperation::new(&id, O::KIND, cluster, request, ITSELF, now());
        let mut uow = self.world.store.begin().await?;
        if let Some(holder) = holder {
            let words = format!("The operation gave way to {}, for which users wait.", O::KIND);
            let problem =
                Problem::new(ProblemCode::Superseded, words).hint("Ask for it again once the cluster is RUNNING; repeating it is safe.");
            uow.supersede(holder, &problem, now()).await?;
        }
        let Submitted::Started = uow.submit(&new).await? else { return Ok(None) };
        uow.commit().await?;
        (self.wake)();
        Ok(Some(id))
    }
}

/// Looks once at everything that should run here and begins what has to be done about it, before anybody is told how things are:
/// what the rows say dates from before this program was started.
pub async fn catch_up(watch: &Watch) {
    if let Err(error) = health::look_at_processes(watch).await {
        tracing::warn!(%error, "instances could not be observed");
    }
    convergence::once(watch).await;
}

/// Starts every watcher; they end when `stopping` turns true.
pub fn start(watch: Watch, stopping: watch::Receiver<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(until(stopping.clone(), replication::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), health::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), convergence::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), spares::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), certificates::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), logs::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), actions::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), manifests::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), volume_sizes::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), database_sizes::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), quarantine::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), ready_databases::run(watch.clone())));
    tasks.spawn(until(stopping.clone(), public_addresses::run(watch.clone())));
    tasks.spawn(until(stopping, leftovers::run(watch)));
    tasks
}

async fn until(mut stopping: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

fn now() -> Timestamp {
    SteadyClock.now()
}
