//! One operation on its way: step, commit, step, commit.

use crate::operation::StepError;
use crate::registry::{AnyOperation, Ran, unreadable};
use crate::runner::Inner;
use crate::tamper::Meddling;
use crate::turn::{self, Turn};
use crate::{Context, backoff};
use futures::FutureExt;
use moorage_domain::operation::OperationStatus;
use moorage_domain::{Problem, Timestamp};
use moorage_store::{OperationRow, Operations, StoreError, StoreResult};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// A shorter rest is slept through beside the row; after a longer one the operation is picked up anew.
const HELD_REST: Duration = Duration::from_secs(1);
/// How often a step is run again at once because another operation took what it had chosen.
const MOST_COLLISIONS: u32 = 100;
/// Tries after which a step that panics is shown to an operator.
const MOST_PANICS: u32 = 5;

/// What comes after a turn.
enum Followup {
    /// The next one.
    AtOnce,
    /// The next one, but not before.
    RestUntil(Timestamp),
    /// Nothing here: it ended, or an operator has to decide.
    Nothing,
}

/// Carries an operation on until it ends, rests for long, is lost to somebody else, or the runner is drained.
pub(crate) async fn carry<W: Send + Sync + 'static>(inner: Arc<Inner<W>>, mut row: OperationRow, permit: OwnedSemaphorePermit) {
    let mut woken = inner.woken.subscribe();
    let mut permit = Some(permit);
    let mut collisions = 0;
    let mut refusals = 0;
    while !inner.draining() {
        woken.borrow_and_update();
        let followup = match take_turn(&inner, &mut row).await {
            Ok(followup) => {
                (collisions, refusals) = (0, 0);
                followup
            }
            Err(StoreError::LeaseLost) => {
                tracing::info!("the operation was changed or taken over by somebody else; it is looked at again");
                return;
            }
            Err(StoreError::Taken { what }) if collisions < MOST_COLLISIONS => {
                collisions += 1;
                tracing::debug!(what, "another operation took what this step had chosen; the step chooses again");
                Followup::AtOnce
            }
            Err(error) => {
                refusals += 1;
                after_refusal(&inner, &mut row, &error, refusals).await
            }
        };
        match followup {
            Followup::AtOnce => {}
            Followup::Nothing => return,
            Followup::RestUntil(at) if at.since(inner.clock.now()) > HELD_REST => return,
            Followup::RestUntil(at) => {
                drop(permit.take());
                inner.bell.notify_one();
                match rest(&inner, &row, at, &mut woken).await {
                    Some(fresh) => row = fresh,
                    None => return,
                }
                match inner.places.clone().acquire_owned().await {
                    Ok(place) => permit = Some(place),
                    Err(_) => return,
                }
            }
        }
    }
}

/// Sleeps until then, a nudge or the end; the row as it is now, or none when it is not ours to carry on.
async fn rest<W: Send + Sync + 'static>(
    inner: &Inner<W>,
    row: &OperationRow,
    until: Timestamp,
    woken: &mut watch::Receiver<u64>,
) -> Option<OperationRow> {
    loop {
        let left = until.since(inner.clock.now());
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            changed = woken.changed() => changed.ok()?,
        }
        if inner.draining() {
            return None;
        }
        let fresh = match read(inner, row).await {
            Ok(fresh) => fresh?,
            Err(error) => {
                tracing::warn!(%error, "the store could not be read; the operation goes on with what is known");
                row.clone()
            }
        };
        if fresh.epoch != row.epoch || !matches!(fresh.status, OperationStatus::Running | OperationStatus::CleaningUp) {
            return None;
        }
        if fresh.run_at != row.run_at || until <= inner.clock.now() {
            return Some(fresh);
        }
    }
}

async fn read<W>(inner: &Inner<W>, row: &OperationRow) -> StoreResult<Option<OperationRow>> {
    inner.store.look().await?.operation_row(&row.id).await
}

/// The store did not take a commit. The step is tried again, and that is shown if the store takes at least so much.
async fn after_refusal<W: Send + Sync + 'static>(inner: &Inner<W>, row: &mut OperationRow, error: &StoreError, refusals: u32) -> Followup {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, cause, "the store did not take the result of a step; it is tried again");
    let now = inner.clock.now();
    let step = inner.registry.find(&row.kind).and_then(|operation| operation.step(&row.step).ok()).unwrap_or_default();
    let at = if step.is_empty() { row.step.clone() } else { step.to_owned() };
    let turn = turn::uncommitted(row, &at, now);
    match commit(inner, row, &turn).await {
        Ok(followup) => followup,
        Err(StoreError::LeaseLost) => Followup::Nothing,
        Err(_) => {
            tokio::time::sleep(backoff::rest(row.id.as_str(), refusals).min(Duration::from_secs(5))).await;
            Followup::AtOnce
        }
    }
}

async fn take_turn<W: Send + Sync + 'static>(inner: &Inner<W>, row: &mut OperationRow) -> StoreResult<Followup> {
    let Some(operation) = inner.registry.find(&row.kind) else {
        let problem = unreadable(format!("It knows no operation '{}'.", row.kind));
        return commit(inner, row, &Turn::for_operator(row, problem, inner.clock.now())).await;
    };
    if let Some(turn) = turn::before_step(row, operation.as_ref(), inner.clock.now()) {
        return commit(inner, row, &turn).await;
    }
    let at = match operation.step(&row.step) {
        Ok(at) => at,
        Err(unread) => return commit(inner, row, &Turn::for_operator(row, unreadable(unread.0), inner.clock.now())).await,
    };
    let meddling = match &inner.tamper {
        Some(tamper) => tamper.before_step(row, at).await,
        None => Meddling::None,
    };
    let mut context = inner.context(row);
    let ran = match meddling {
        Meddling::LookAgain => {
            if let Some(fresh) = read(inner, row).await? {
                *row = fresh;
            }
            return Ok(Followup::AtOnce);
        }
        Meddling::GiveUpBefore(problem) => Ran { state: None, result: Err(StepError::GiveUp(problem)) },
        Meddling::None => run_leased(inner, row, operation.as_ref(), &mut context).await?,
        Meddling::Twice => {
            run(operation.as_ref(), row, &mut inner.context(row)).await;
            run(operation.as_ref(), row, &mut context).await
        }
        Meddling::Beside => {
            let mut twin = inner.context(row);
            let (_, ran) = tokio::join!(run(operation.as_ref(), row, &mut twin), run(operation.as_ref(), row, &mut context));
            ran
        }
        Meddling::GiveUpAfter(problem) => {
            let ran = run(operation.as_ref(), row, &mut context).await;
            Ran { state: ran.state, result: Err(StepError::GiveUp(problem)) }
        }
    };
    let turn = turn::after_step(row, at, ran, context.into_left_behind(), operation.as_ref(), inner.clock.now());
    // A lease that others respect is renewed by commits, so there none is left out.
    if inner.lease.is_none() && turn.changes_nothing(row) && turn.run_at.since(inner.clock.now()) <= HELD_REST {
        return Ok(Followup::RestUntil(turn.run_at));
    }
    commit(inner, row, &turn).await
}

/// Runs the step; while it runs, a lease that others respect is renewed.
async fn run_leased<W: Send + Sync + 'static>(
    inner: &Inner<W>,
    row: &OperationRow,
    operation: &dyn AnyOperation<W>,
    context: &mut Context<W>,
) -> StoreResult<Ran> {
    let running = run(operation, row, context);
    let Some(lease) = inner.lease else { return Ok(running.await) };
    tokio::pin!(running);
    loop {
        tokio::select! {
            ran = &mut running => return Ok(ran),
            () = tokio::time::sleep(lease / 3) => {}
        }
        let mut uow = inner.store.begin().await?;
        uow.renew(row, inner.clock.now().plus(lease)).await?;
        uow.commit().await?;
    }
}

async fn run<W: Send + Sync + 'static>(operation: &dyn AnyOperation<W>, row: &OperationRow, context: &mut Context<W>) -> Ran {
    match AssertUnwindSafe(operation.run(row, context)).catch_unwind().await {
        Ok(ran) => ran,
        Err(payload) => Ran { state: None, result: Err(panicked(payload.as_ref(), row.attempt)) },
    }
}

fn panicked(payload: &(dyn Any + Send), attempt: u32) -> StepError {
    let words = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let cause = words.unwrap_or("it did not say why").to_owned();
    if attempt >= MOST_PANICS {
        tracing::error!(cause, attempt, "a step keeps panicking");
        return StepError::NeedsOperator(Problem::internal());
    }
    StepError::retry_problem(format!("panic: {cause}"), Problem::internal())
}

/// Commits a turn and brings `row` up to date with it.
async fn commit<W: Send + Sync + 'static>(inner: &Inner<W>, row: &mut OperationRow, turn: &Turn) -> StoreResult<Followup> {
    if inner.tamper.as_ref().is_some_and(|tamper| tamper.crash_before_commit()) {
        std::future::pending::<()>().await;
    }
    let now = inner.clock.now();
    let stays = !turn.status.ended() && turn.status != OperationStatus::NeedsOperator;
    let short = turn.run_at.since(now) <= HELD_REST;
    let lease = inner.lease.filter(|_| stays && short).map(|lease| (inner.owner.as_str(), now.plus(lease)));
    let events: Vec<_> = turn.events.iter().map(|(step, kind, detail)| (step.as_str(), *kind, detail.clone())).collect();
    let mut uow = inner.store.begin().await?;
    let committed = uow.commit_step(&turn.commit(row, &events, lease), now).await?;
    uow.commit().await?;
    tell(turn);
    row.step.clone_from(&turn.step);
    row.state.clone_from(&turn.state);
    row.status = turn.status;
    row.outcome = turn.outcome;
    row.decision = None;
    row.attempt = turn.attempt;
    row.failing_since = turn.failing_since;
    row.waiting_for.clone_from(&turn.waiting_for);
    row.deadline_at = turn.deadline_at;
    row.problem.clone_from(&turn.problem);
    row.run_at = committed.run_at;
    row.epoch = committed.epoch;
    row.cancel_requested_at = committed.cancel_requested_at;
    if !stays {
        inner.bell.notify_one();
        return Ok(Followup::Nothing);
    }
    Ok(if row.run_at <= inner.clock.now() { Followup::AtOnce } else { Followup::RestUntil(row.run_at) })
}

fn tell(turn: &Turn) {
    let problem = turn.problem.as_ref().map(|problem| problem.message.as_str()).unwrap_or_default();
    let detail = turn.problem.as_ref().and_then(|problem| problem.detail.as_deref()).unwrap_or_default();
    match turn.status {
        OperationStatus::Succeeded => tracing::info!("an operation succeeded"),
        OperationStatus::Cancelled => tracing::info!(step = turn.step, "an operation was called off"),
        OperationStatus::Failed => tracing::warn!(step = turn.step, problem, detail, "an operation failed"),
        OperationStatus::NeedsOperator => tracing::error!(step = turn.step, problem, detail, "an operation needs an operator"),
        OperationStatus::CleaningUp => tracing::info!(step = turn.step, problem, "an operation is cleaning up"),
        OperationStatus::Running | OperationStatus::Queued => {}
    }
}
