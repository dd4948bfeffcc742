//! The host's side of shims: starts them, watches them, and puts a new one in the place of one that died. The new one
//! adopts what runs.

use crate::identity::boot;
use crate::problems::{Doing, blocking};
use crate::shim::protocol::{ShimDirectory, Want};
use moorage_domain::instance::ProcessState;
use moorage_host::{Change, HostResult};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// A shim that lived this long did not die of its own start.
const LIVED: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Keeps the shims of one host.
pub(crate) struct Shims {
    program: Vec<String>,
    changes: broadcast::Sender<Change>,
    watched: Mutex<HashSet<ShimDirectory>>,
    tasks: Mutex<HashMap<ShimDirectory, AbortHandle>>,
}

/// Whether a wish of this boot still needs a shim.
fn needs_shim(directory: &ShimDirectory) -> io::Result<bool> {
    let Some(wanted) = directory.wanted()? else { return Ok(false) };
    let status = directory.status()?.unwrap_or_default();
    let heard = status.sequence >= wanted.sequence;
    Ok(wanted.boot == boot()
        && match wanted.want {
            Want::Run => !(heard && matches!(status.state, ProcessState::GaveUp { .. })),
            Want::Stop | Want::Fenced => !(heard && status.state == ProcessState::Stopped),
        })
}

impl Shims {
    pub fn new(program: Vec<String>, changes: broadcast::Sender<Change>) -> Arc<Self> {
        Arc::new(Self { program, changes, watched: Mutex::default(), tasks: Mutex::default() })
    }

    fn watched(&self) -> MutexGuard<'_, HashSet<ShimDirectory>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure a shim lives and looks at the wish.
    pub async fn ensure(self: &Arc<Self>, directory: &ShimDirectory, change: Change) -> HostResult<()> {
        let here = directory.clone();
        if !blocking(move || here.shim().map(|shim| shim.is_some() && here.kick()).doing("look for a shim")).await? {
            self.spawn(directory).await?;
        }
        self.watch(directory, change);
        Ok(())
    }

    /// Has the shim record what holds already, without waiting for it.
    pub fn record_meanwhile(self: &Arc<Self>, directory: ShimDirectory, change: Change) {
        let shims = Arc::clone(self);
        tokio::spawn(async move {
            let here = directory.clone();
            if !blocking(move || needs_shim(&here).doing("look for a shim")).await.unwrap_or(true) {
                return;
            }
            if let Err(error) = shims.ensure(&directory, change).await {
                tracing::warn!(directory = %directory.path().display(), problem = %error.problem, cause = ?error.cause, "a shim does not record an end that is certain");
            }
        });
    }

    /// Starts a shim and waits until it is in its place, or gone again because another one is.
    async fn spawn(&self, directory: &ShimDirectory) -> HostResult<()> {
        let own_log = directory.file("shim.log");
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&own_log);
        let log = log.map_or_else(|_| Stdio::null(), Stdio::from);
        let Some((program, arguments)) = self.program.split_first() else {
            return Err(io::Error::other("no program is configured")).doing("start a shim");
        };
        let mut command = tokio::process::Command::new(program);
        // A process group of its own from the first moment: what is typed at a terminal does not reach it.
        command.args(arguments).arg("shim").arg(directory.path()).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().doing("start a shim")?;
        let own = child.id();
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let ended = child.try_wait().doing("look after a shim")?.is_some();
            let shim = directory.shim().doing("look for a shim")?;
            if ended || shim.is_some_and(|shim| u32::try_from(shim.as_raw_nonzero().get()).ok() == own) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // It outlives this process; while this process lives, somebody has to reap it.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    /// Watches a directory's shim for as long as the wish needs one.
    pub fn watch(self: &Arc<Self>, directory: &ShimDirectory, change: Change) {
        let mut watched = self.watched();
        if !watched.insert(directory.clone()) {
            return;
        }
        let (own, watched_directory) = (Arc::downgrade(self), directory.clone());
        let task = tokio::spawn(async move {
            let mut quick_deaths = 0_u32;
            loop {
                let began = Instant::now();
                let shim = watched_directory.shim().ok().flatten();
                if let Some(shim) = shim {
                    wait_for_end(&watched_directory, shim).await;
                }
                let Some(shims) = own.upgrade() else { return };
                let _ = shims.changes.send(change.clone());
                {
                    let mut watched = shims.watched();
                    if !needs_shim(&watched_directory).unwrap_or(true) || !watched_directory.path().is_dir() {
                        watched.remove(&watched_directory);
                        return;
                    }
                }
                quick_deaths = if shim.is_some() && began.elapsed() >= LIVED { 0 } else { quick_deaths + 1 };
                if quick_deaths > 2 {
                    let wait = (Duration::from_millis(50) * 2_u32.pow((quick_deaths - 3).min(10))).min(LONGEST_WAIT);
                    tokio::time::sleep(wait).await;
                }
                if shim.is_some() {
                    tracing::warn!(directory = %watched_directory.path().display(), "a shim died; a new one takes over what it kept");
                }
                if let Err(error) = shims.spawn(&watched_directory).await {
                    tracing::error!(directory = %watched_directory.path().display(), problem = %error.problem, cause = ?error.cause, "a shim cannot be started: its process is not looked after");
                    tokio::time::sleep(LONGEST_WAIT).await;
                }
            }
        });
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.clone(), task.abort_handle());
    }

    /// Stops watching one directory.
    pub fn forget(&self, directory: &ShimDirectory) {
        if let Some(task) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(directory) {
            task.abort();
        }
        self.watched().remove(directory);
    }
}

impl Drop for Shims {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            task.abort();
        }
    }
}

/// Returns when this shim does not live any more.
async fn wait_for_end(directory: &ShimDirectory, shim: Pid) {
    let Ok(descriptor) = pidfd_open(shim, PidfdFlags::empty()) else { return };
    // The lock is asked again after the descriptor is held: the pid was the shim's then.
    if !directory.shim().is_ok_and(|now| now == Some(shim)) {
        return;
    }
    #[allow(deprecated, reason = "the hazard is a descriptor closed while it is registered; this one is owned by the registration")]
    let Ok(descriptor) = AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE) else {
        tokio::time::sleep(Duration::from_millis(100)).await;
        return;
    };
    let _ = descriptor.readable().await;
}
