//! The threads that carry connections, one runtime each: a connection never moves between processors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Most threads.
const MOST_WORKERS: usize = 8;
/// Processors per thread: a gateway shares its machine with the engines it serves, and a thread that finds several
/// connections ready at once costs each of them less.
const PROCESSORS_PER_WORKER: usize = 2;
/// Enough for a TLS handshake; connections keep their state on the heap.
const STACK: usize = 512 * 1024;

struct Worker {
    runtime: Handle,
    load: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The threads that carry connections.
pub struct Workers {
    workers: Vec<Worker>,
}

impl Workers {
    /// Starts `count` threads; none given: one per two processors, at most eight.
    pub fn start(count: Option<usize>) -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let count = count.unwrap_or(processors.div_ceil(PROCESSORS_PER_WORKER)).clamp(1, MOST_WORKERS);
        let workers = (0..count).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Gives a connection to the least busy thread.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let worker = self.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed))?;
        let load = Load::one_more(&worker.load);
        let task = worker.runtime.spawn(async move {
            connection.await;
            drop(load);
        });
        Some(task.abort_handle())
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("connections-{number}")).stack_size(STACK).spawn(move || {
            // Ends when told or when the sender is gone.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        Ok(Self { runtime: handle, load: Arc::default(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.stop.take();
        }
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a thread that carried connections had panicked");
            }
        }
    }
}

/// Counts one connection of a worker for as long as it lives, also when it is cut.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn one_more(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
