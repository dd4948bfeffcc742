//! How failures of the operating system become problems that people can act on.

use moorage_domain::{Problem, ProblemCode};
use moorage_host::{HostError, HostResult};
use std::io;

/// The host could not do something. A full file system is named as such.
pub(crate) fn failed(what: &str, error: io::Error) -> HostError {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) {
        let problem = Problem::new(ProblemCode::NotEnoughSpace, format!("The host has no space left and could not {what}."))
            .hint("Free some space on the file system of the data directory, then try again.");
        return HostError { problem, passing: false, cause: Some(error.into()) };
    }
    let problem = Problem::new(ProblemCode::HostFailed, format!("The host could not {what}.")).detail(error.to_string());
    HostError { problem, passing: false, cause: Some(error.into()) }
}

/// What follows `failed` in a chain of calls.
pub(crate) trait Doing<T> {
    /// Says what was being done when it went wrong.
    fn doing(self, what: &str) -> HostResult<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &str) -> HostResult<T> {
        self.map_err(|error| failed(what, error))
    }
}

/// Runs file work on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> HostResult<T> + Send + 'static) -> HostResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(HostError::new(ProblemCode::HostFailed, "The host stopped in the middle of its work.", error).passing()),
    }
}
