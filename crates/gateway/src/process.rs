//! The gateway as a process: start, signals, drain, end.

use crate::accept::Services;
use crate::connection::LoginRules;
use crate::control::{ControlError, ControlSocket};
use crate::endpoint::{Capacity, Endpoint};
use crate::endpoint_directory::EndpointDirectory;
use crate::endpoints::Endpoints;
use crate::log_limit::LogLimit;
use crate::turning_away::TurningAway;
use crate::workers::Workers;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// What may be set; the defaults are right for production.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a client may take to say what it wants, TLS included.
    pub handshake: Duration,
    /// How long a client may take until it is logged in.
    pub login: Duration,
    /// How long open connections may go on after SIGTERM.
    pub drain: Duration,
    /// How often to look for files that changed although nobody said so.
    pub look_every: Duration,
    /// Threads for connections; none: one per two processors, at most eight.
    pub workers: Option<usize>,
    /// The account of the operating system that administers the engines, beside those nobody may use anywhere.
    pub administrator: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            login: Duration::from_secs(30),
            drain: Duration::from_secs(3),
            look_every: Duration::from_secs(2),
            workers: None,
            administrator: None,
        }
    }
}

/// Why a gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its threads cannot be started.
    #[error("cannot start the threads for connections")]
    Threads(#[source] io::Error),
    /// Its control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Its signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// Runs the gateway until SIGTERM (or SIGINT): serves `directory`, answers at the socket `control`. A second signal ends
/// the drain at once.
pub fn main(directory: &Path, control: &Path, options: Options) -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Threads)
        .and_then(|runtime| runtime.block_on(serve_until_signal(directory, control, options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the gateway cannot serve");
            ExitCode::FAILURE
        }
    }
}

async fn serve_until_signal(directory: &Path, control: &Path, options: Options) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let serving = serve_with(directory, control, options, async {
        // The sender lives as long as this function.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    let mut stop = Some(stop);
    loop {
        tokio::select! {
            served = &mut serving => return served,
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
        }
        match stop.take() {
            Some(stop) => {
                let _ = stop.send(());
            }
            None => return Ok(()),
        }
    }
}

/// Serves `directory` until `shutdown`, then drains.
pub async fn serve(directory: &Path, control: &Path, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    serve_with(directory, control, Options::default(), shutdown).await
}

/// Like [`serve`], with other times than the usual ones.
pub async fn serve_with(directory: &Path, control: &Path, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let control = ControlSocket::open(control, directory)?;
    let capacity = Arc::new(Capacity::new(most_connections(raise_descriptor_limit())));
    let services = Arc::new(Services {
        workers: Workers::start(options.workers).map_err(ServeError::Threads)?,
        turning_away: TurningAway::new(),
        rules: Arc::new(LoginRules { handshake: options.handshake, login: options.login, administrator: options.administrator }),
        resources_log: LogLimit::new(Duration::from_secs(10)),
    });
    let endpoints = Endpoints::new(EndpointDirectory::new(directory), services, Arc::clone(&capacity));
    let endpoints = Arc::new(Mutex::new(endpoints));
    endpoints.lock().await.start().await;
    let answering = tokio::spawn(control.answer(Arc::clone(&endpoints)));
    let looking = tokio::spawn(look_now_and_then(Arc::clone(&endpoints), options.look_every));

    shutdown.await;
    for task in [looking, answering] {
        task.abort();
        let _ = task.await;
    }
    let open = endpoints.lock().await.stop_listening().await;
    drain(&open, &capacity, options.drain).await;
    Ok(())
}

async fn look_now_and_then(endpoints: Arc<Mutex<Endpoints>>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        endpoints.lock().await.look().await;
    }
}

async fn drain(endpoints: &[Arc<Endpoint>], capacity: &Capacity, limit: Duration) {
    let end = Instant::now() + limit;
    tracing::info!(connections = capacity.open(), "stopping: no new connections; open ones may finish");
    while capacity.open() > 0 && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
    let cut: usize = endpoints.iter().map(|endpoint| endpoint.cut_all().len()).sum();
    tracing::info!(cut, "stopped");
}

/// Raises the soft limit of descriptors to the hard one and returns it.
fn raise_descriptor_limit() -> u64 {
    let now = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }) {
        tracing::warn!(%error, "the limit of open descriptors could not be raised");
        return now.current.unwrap_or(u64::MAX);
    }
    now.maximum.unwrap_or(u64::MAX)
}

/// Two descriptors per connection, an eighth (at least 256) kept for listeners, files and those turned away.
fn most_connections(descriptors: u64) -> usize {
    let kept = (descriptors / 8).max(256).min(descriptors / 2);
    usize::try_from((descriptors - kept) / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_other_things_than_connections() {
        assert_eq!(most_connections(20_000), 8_750);
        assert_eq!(most_connections(1_024), 384);
        assert_eq!(most_connections(100), 25);
    }
}
