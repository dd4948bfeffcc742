//! Time that runs fifty times faster than it is.

use crate::Clock;
use moorage_domain::Timestamp;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A clock that follows the runtime's timers, paused and advanced time included.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    began: Instant,
}

impl FastClock {
    /// Begins on 2024-05-17.
    pub fn begin() -> Self {
        Self { began: Instant::now() }
    }
}
impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_715_905_397_000_000).plus(self.began.elapsed())
    }
}

const TICK: Duration = Duration::from_millis(1);
const TICK_IS: Duration = Duration::from_millis(50);

/// Runs a test on one thread with the runtime's time going fifty times faster.
///
/// The runtime would jump to the next timer whenever it has nothing to do, and to it a wait for the database's own thread is
/// nothing to do: time limits would strike while a commit is on its way. So time is advanced steadily instead.
pub fn in_fast_time<F: Future>(test: F) -> F::Output {
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap_or_else(|error| panic!("no runtime for a test: {error}"));
    let stop = Stop(Arc::default());
    runtime.block_on(async {
        let (tick, mut ticks) = tokio::sync::mpsc::channel(1);
        let stopped = stop.0.clone();
        // As long as a blocking task runs, the runtime does not jump.
        tokio::task::spawn_blocking(move || {
            while !stopped.load(Ordering::Relaxed) && tick.blocking_send(()).is_ok() {
                std::thread::sleep(TICK);
            }
        });
        tokio::spawn(async move {
            while ticks.recv().await.is_some() {
                tokio::time::advance(TICK_IS).await;
            }
        });
        let stop = stop;
        let output = test.await;
        drop(stop);
        output
    })
}

/// A directory for a store that lives as long as one test; in memory where there is such a place, so that a commit is fast.
pub fn temporary_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()) } else { tempfile::tempdir() };
    made.unwrap_or_else(|error| panic!("no temporary directory: {error}"))
}
