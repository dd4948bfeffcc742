//! Where the test harness reaches into the runner. A product build has nobody there.

use async_trait::async_trait;
use moorage_domain::Problem;
use moorage_store::OperationRow;

/// What happens to a step instead of running once.
#[allow(dead_code)]
pub(crate) enum Meddling {
    /// Nothing: it runs once.
    None,
    /// The row was changed: read it again first.
    LookAgain,
    /// It runs twice; what the first run leaves behind is lost.
    Twice,
    /// It runs beside a twin whose result is lost.
    Beside,
    /// It gives up without having run.
    GiveUpBefore(Problem),
    /// It runs and gives up all the same.
    GiveUpAfter(Problem),
}

/// Somebody who tampers with operations on their way.
#[async_trait]
pub(crate) trait Tamper: Send + Sync {
    /// Asked before a step runs.
    async fn before_step(&self, row: &OperationRow, step: &str) -> Meddling;
    /// Asked before every commit of the runner; true kills the process, as far as the operation can tell.
    fn crash_before_commit(&self) -> bool;
}
