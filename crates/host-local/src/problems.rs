//! How failures of the operating system become problems that people can act on.

use moorage_domain::{Problem, ProblemCode};
use moorage_host::{HostError, HostResult};
use rustix::io::Errno;
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

/// Whether trying the same again later may go well: a lack of room, descriptors or time.
fn may_pass(error: &HostError) -> bool {
    let Some(error) = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>()) else { return false };
    let lacks = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::INTR, Errno::TIMEDOUT];
    match error.raw_os_error() {
        Some(number) => lacks.contains(&Errno::from_raw_os_error(number)),
        None => matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::TimedOut
        ),
    }
}

/// Work that has to be done sooner or later, such as a stop or a removal: a lack of something is a reason to try again and
/// never to give up.
pub(crate) async fn until_done<T>(work: impl Future<Output = HostResult<T>>) -> HostResult<T> {
    work.await.map_err(|error| HostError { passing: error.passing || may_pass(&error), ..error })
}

/// Runs file work on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> HostResult<T> + Send + 'static) -> HostResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(HostError::new(ProblemCode::HostFailed, "The host stopped in the middle of its work.", error).passing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lack_is_a_reason_to_try_a_stop_again_but_not_the_start_of_an_engine() {
        let fails = |error: io::Error| -> HostResult<()> { Err(error).doing("test") };
        for lack in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::INTR, Errno::TIMEDOUT] {
            assert!(!fails(lack.into()).expect_err("it failed").passing, "{lack}");
            assert!(until_done(async { fails(lack.into()) }).await.expect_err("it failed").passing, "{lack}");
        }
        let gate = || io::Error::new(io::ErrorKind::TimedOut, "the gate is held");
        assert!(until_done(async { fails(gate()) }).await.expect_err("it failed").passing);
        assert!(!until_done(async { fails(Errno::ACCESS.into()) }).await.expect_err("it failed").passing);
        let full = until_done(async { fails(Errno::NOSPC.into()) }).await.expect_err("it failed");
        assert_eq!(full.problem.code, ProblemCode::NotEnoughSpace);
    }
}
