//! Picks up operations that are due and lets a bounded number of them run side by side.

use crate::tamper::Tamper;
use crate::{Clock, Context, Registry, backoff, worker};
use moorage_domain::{HostId, OperationId};
use moorage_store::{OperationRow, Operations, Store, StoreResult};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument;

/// How a runner runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host whose operations it carries out.
    pub host: HostId,
    /// How many run at once.
    pub concurrency: usize,
    /// Nobody else works on this store (SQLite: the data directory's lock says so). Then nothing has to be claimed, and
    /// whatever a dead predecessor had claimed is taken over at once.
    pub sole_process: bool,
    /// Among several processes: how long a claim holds without being renewed.
    pub lease: Duration,
}

impl Settings {
    /// The only process on this store, sixteen operations at once.
    pub fn sole(host: HostId) -> Self {
        Self { host, concurrency: 16, sole_process: true, lease: Duration::from_secs(30) }
    }
    /// One of several processes.
    pub fn one_of_several(host: HostId) -> Self {
        Self { sole_process: false, ..Self::sole(host) }
    }
}

/// What workers share.
pub(crate) struct Inner<W> {
    pub(crate) store: Store,
    pub(crate) registry: Registry<W>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owner: String,
    /// How long a claim holds; none where nothing has to be claimed.
    pub(crate) lease: Option<Duration>,
    /// Rings when the dispatcher may find something to do.
    pub(crate) bell: Arc<Notify>,
    /// Changes when rows may have been nudged.
    pub(crate) woken: watch::Sender<u64>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) tamper: Option<Arc<dyn Tamper>>,
    world: Arc<W>,
    host: HostId,
    draining: watch::Receiver<bool>,
    carried: Mutex<HashSet<OperationId>>,
}

impl<W: Send + Sync + 'static> Inner<W> {
    pub(crate) fn draining(&self) -> bool {
        *self.draining.borrow()
    }
    pub(crate) fn context(&self, row: &OperationRow) -> Context<W> {
        Context::new(self.world.clone(), self.clock.clone(), row)
    }
    fn carried(&self) -> std::sync::MutexGuard<'_, HashSet<OperationId>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out operations until it is shut down. Dropping it is a crash: steps end where they are.
pub struct Runner {
    bell: Arc<Notify>,
    wake: Arc<dyn Fn() + Send + Sync>,
    drain: watch::Sender<bool>,
    dispatcher: JoinHandle<()>,
    release: Option<(Store, HostId, String)>,
}

impl Runner {
    /// Begins to carry out what is due.
    pub async fn start<W: Send + Sync + 'static>(
        store: Store,
        world: Arc<W>,
        registry: Registry<W>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> StoreResult<Self> {
        Self::start_with(store, world, registry, clock, settings, None).await
    }

    pub(crate) async fn start_with<W: Send + Sync + 'static>(
        store: Store,
        world: Arc<W>,
        registry: Registry<W>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        tamper: Option<Arc<dyn Tamper>>,
    ) -> StoreResult<Self> {
        if settings.sole_process {
            let mut uow = store.begin().await?;
            let freed = uow.free_leases(&settings.host).await?;
            // The clock may have been moved back since, and then rests that were short would seem long.
            uow.bring_forward(&settings.host, clock.now().plus(backoff::LONGEST)).await?;
            uow.commit().await?;
            if freed > 0 {
                tracing::info!(freed, "took over what a predecessor had begun");
            }
        }
        let (drain, draining) = watch::channel(false);
        let (woken, _) = watch::channel(0_u64);
        let bell = Arc::new(Notify::new());
        let owner = format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let lease = (!settings.sole_process).then_some(settings.lease);
        let wake = {
            let (woken, bell) = (woken.clone(), bell.clone());
            Arc::new(move || {
                woken.send_modify(|count| *count = count.wrapping_add(1));
                bell.notify_one();
            })
        };
        let release = (!settings.sole_process).then(|| (store.clone(), settings.host.clone(), owner.clone()));
        let inner = Arc::new(Inner {
            store,
            registry,
            clock,
            owner,
            lease,
            bell: bell.clone(),
            woken,
            places: Arc::new(Semaphore::new(settings.concurrency.max(1))),
            tamper,
            world,
            host: settings.host,
            draining,
            carried: Mutex::default(),
        });
        let dispatcher = tokio::spawn(dispatch(inner));
        Ok(Self { bell, wake, drain, dispatcher, release })
    }

    /// Says that something was submitted, nudged or called off; call it after the commit.
    pub fn wake(&self) {
        (self.wake)();
    }
    /// The same, to be handed to whoever submits.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.wake.clone()
    }

    /// Stops picking up operations, lets running steps end for at most `grace`, and gives back what it holds. Whatever is not
    /// at its end is carried on by the next start.
    pub async fn shutdown(mut self, grace: Duration) {
        self.drain.send_replace(true);
        self.wake();
        self.bell.notify_one();
        if tokio::time::timeout(grace, &mut self.dispatcher).await.is_err() {
            tracing::warn!("some steps did not end in time; they are run again by the next start");
            self.dispatcher.abort();
            let _cancelled = (&mut self.dispatcher).await;
        }
        if let Some((store, host, owner)) = self.release.take()
            && let Err(error) = release(&store, &host, &owner).await
        {
            tracing::warn!(%error, "leases could not be given back; they run out by themselves");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.dispatcher.abort();
    }
}

async fn release(store: &Store, host: &HostId, owner: &str) -> StoreResult<()> {
    let mut uow = store.begin().await?;
    uow.release(host, owner).await?;
    uow.commit().await
}

/// The longest sleep between two looks: a machine's clock may be set while it sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(1);

async fn dispatch<W: Send + Sync + 'static>(inner: Arc<Inner<W>>) {
    let mut workers = JoinSet::new();
    while !inner.draining() {
        while workers.try_join_next().is_some() {}
        let sleep = match pick_up(&inner, &mut workers).await {
            Ok(sleep) => sleep,
            Err(error) => {
                tracing::error!(%error, "the store could not be asked for due operations");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = inner.bell.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
    while workers.join_next().await.is_some() {}
}

/// Starts what is due as far as there are places; how long to sleep if nothing rings.
async fn pick_up<W: Send + Sync + 'static>(inner: &Arc<Inner<W>>, workers: &mut JoinSet<()>) -> StoreResult<Duration> {
    // Taken before the rows are read: what was carried then may have moved on since, and rings when it ends.
    let carried = inner.carried().clone();
    if inner.places.available_permits() == 0 {
        return Ok(LONGEST_SLEEP);
    }
    if inner.lease.is_none() {
        let now = inner.clock.now();
        let mut look = inner.store.look().await?;
        let most = carried.len() + inner.places.available_permits();
        let due = look.due_operations(&inner.host, most as u64, now).await?;
        let next = look.next_due(&inner.host, now).await?;
        drop(look);
        for row in due.into_iter().filter(|row| !carried.contains(&row.id)) {
            let Ok(place) = inner.places.clone().try_acquire_owned() else { break };
            spawn(inner, workers, row, place);
        }
        return Ok(next.map_or(LONGEST_SLEEP, |at| at.since(now)).min(LONGEST_SLEEP));
    }
    while let Ok(place) = inner.places.clone().try_acquire_owned() {
        match claim(inner).await? {
            Some(row) => spawn(inner, workers, row, place),
            None => break,
        }
    }
    let now = inner.clock.now();
    let next = inner.store.look().await?.next_due(&inner.host, now).await?;
    Ok(next.map_or(LONGEST_SLEEP, |at| at.since(now)).min(LONGEST_SLEEP))
}

async fn claim<W>(inner: &Inner<W>) -> StoreResult<Option<OperationRow>> {
    let now = inner.clock.now();
    if inner.store.look().await?.due_operations(&inner.host, 1, now).await?.is_empty() {
        return Ok(None);
    }
    let until = now.plus(inner.lease.unwrap_or_default());
    let mut uow = inner.store.begin().await?;
    let row = uow.claim(&inner.host, &inner.owner, until, now).await?;
    uow.commit().await?;
    Ok(row)
}

fn spawn<W: Send + Sync + 'static>(inner: &Arc<Inner<W>>, workers: &mut JoinSet<()>, row: OperationRow, place: OwnedSemaphorePermit) {
    let span = tracing::info_span!("operation", id = %row.id, kind = row.kind, cluster = %row.cluster);
    let (id, inner) = (row.id.clone(), inner.clone());
    inner.carried().insert(id.clone());
    workers.spawn(
        async move {
            let _carried = Carried { inner: &inner, id };
            worker::carry(inner.clone(), row, place).await;
        }
        .instrument(span),
    );
}

/// Marks an operation as carried by a worker, for as long as the worker lives.
struct Carried<'a, W: Send + Sync + 'static> {
    inner: &'a Inner<W>,
    id: OperationId,
}

impl<W: Send + Sync + 'static> Drop for Carried<'_, W> {
    fn drop(&mut self) {
        self.inner.carried().remove(&self.id);
        self.inner.bell.notify_one();
    }
}
