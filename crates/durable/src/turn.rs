//! What follows from what a step did: the next row, decided without touching anything.

use crate::operation::StepError;
use crate::registry::{AnyOperation, Ran, Unreadable, chain, unreadable};
use crate::{Next, OnCancel, backoff};
use moorage_domain::operation::OperationStatus;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_store::{Decision, OperationRow, StepCommit, Write};

/// One change of an operation's row with everything committed beside it.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) step: String,
    pub(crate) state: String,
    pub(crate) status: OperationStatus,
    pub(crate) outcome: Option<OperationStatus>,
    pub(crate) attempt: u32,
    pub(crate) failing_since: Option<Timestamp>,
    pub(crate) waiting_for: Option<String>,
    pub(crate) run_at: Timestamp,
    pub(crate) deadline_at: Option<Timestamp>,
    pub(crate) answered_cancel: Option<Timestamp>,
    pub(crate) problem: Option<Problem>,
    pub(crate) events: Vec<(String, &'static str, String)>,
    pub(crate) writes: Vec<Write>,
}

impl Turn {
    fn of(row: &OperationRow, now: Timestamp) -> Self {
        Self {
            step: row.step.clone(),
            state: row.state.clone(),
            status: row.status,
            outcome: row.outcome,
            attempt: row.attempt,
            failing_since: row.failing_since,
            waiting_for: None,
            run_at: now,
            deadline_at: row.deadline_at,
            answered_cancel: None,
            problem: row.problem.clone(),
            events: Vec::new(),
            writes: Vec::new(),
        }
    }

    fn event(&mut self, step: &str, kind: &'static str, detail: impl Into<String>) {
        self.events.push((step.to_owned(), kind, detail.into()));
    }

    fn enter(&mut self, step: &str) {
        step.clone_into(&mut self.step);
        self.attempt = 1;
        self.failing_since = None;
    }

    fn end(&mut self, at: &str) {
        self.status = self.outcome.unwrap_or(OperationStatus::Succeeded);
        let words = match (self.status, &self.problem) {
            (OperationStatus::Succeeded, _) => "Succeeded.".to_owned(),
            (OperationStatus::Cancelled, _) => "Called off; what it had done is undone.".to_owned(),
            (_, Some(problem)) => format!("Failed: {}", problem.message),
            (_, None) => "Failed.".to_owned(),
        };
        self.event(at, "ended", words);
    }

    /// Turns towards failure: onto the clean-up path where there is one, to the end where there is none.
    fn clean_up(&mut self, at: &str, from: Option<&str>, outcome: OperationStatus, problem: Problem) {
        let words = problem.message.clone();
        self.outcome = Some(outcome);
        self.problem = Some(problem);
        match from {
            Some(step) => {
                self.status = OperationStatus::CleaningUp;
                self.event(at, "cleaning-up", words);
                self.enter(step);
            }
            None => self.end(at),
        }
    }

    /// Stops for an operator. Why an operation was cleaning up stays its problem; what is in the way now is said beside it.
    fn call_operator(&mut self, at: &str, problem: Problem) {
        self.status = OperationStatus::NeedsOperator;
        self.event(at, "needs-operator", problem.message.clone());
        if self.outcome.is_some() && self.problem.is_some() {
            self.waiting_for = Some(format!("Cleaning up needs an operator: {}", problem.message));
        } else {
            self.problem = Some(problem);
        }
    }

    /// The turn of a row that cannot be carried on by this build.
    pub(crate) fn for_operator(row: &OperationRow, problem: Problem, now: Timestamp) -> Self {
        let mut turn = Self::of(row, now);
        turn.call_operator(&row.step, problem);
        turn
    }

    /// Whether nothing would be remembered but when to look again.
    pub(crate) fn changes_nothing(&self, row: &OperationRow) -> bool {
        self.step == row.step
            && self.state == row.state
            && self.status == row.status
            && self.outcome == row.outcome
            && self.attempt == row.attempt
            && self.failing_since == row.failing_since
            && self.waiting_for == row.waiting_for
            && self.deadline_at == row.deadline_at
            && self.answered_cancel.is_none()
            && self.events.is_empty()
            && self.writes.is_empty()
    }

    /// Says that the operation is late when it is, and when to say so next.
    pub(crate) fn mind_deadline<W>(&mut self, row: &OperationRow, operation: &dyn AnyOperation<W>, now: Timestamp) {
        let due = row.deadline_at.unwrap_or_else(|| row.created_at.plus(operation.deadline()));
        if now <= due || self.status.ended() {
            return;
        }
        let seconds = now.since(row.created_at).as_secs();
        tracing::warn!(step = row.step, seconds, "an operation takes longer than expected");
        let waits = self.waiting_for.clone().unwrap_or_default();
        self.event(&row.step, "overdue", format!("It takes longer than expected: {seconds} s so far. {waits}").trim_end());
        self.deadline_at = Some(now.plus(operation.deadline()));
    }

    /// As the store takes it.
    pub(crate) fn commit<'a>(
        &'a self,
        row: &'a OperationRow,
        events: &'a [(&'a str, &'a str, String)],
        lease: Option<(&'a str, Timestamp)>,
    ) -> StepCommit<'a> {
        StepCommit {
            row,
            step: &self.step,
            state: &self.state,
            status: self.status,
            outcome: self.outcome,
            attempt: self.attempt,
            failing_since: self.failing_since,
            waiting_for: self.waiting_for.as_deref(),
            run_at: self.run_at,
            deadline_at: self.deadline_at,
            lease,
            answered_cancel: self.answered_cancel,
            problem: self.problem.as_ref(),
            events,
            writes: &self.writes,
        }
    }
}

/// What has to be settled before the step is run: an operator's decision, a wish to call the operation off.
pub(crate) fn before_step<W>(row: &OperationRow, operation: &dyn AnyOperation<W>, now: Timestamp) -> Option<Turn> {
    settle(row, operation, now).unwrap_or_else(|Unreadable(why)| Some(Turn::for_operator(row, unreadable(why), now)))
}

fn settle<W>(row: &OperationRow, operation: &dyn AnyOperation<W>, now: Timestamp) -> Result<Option<Turn>, Unreadable> {
    let mut turn = Turn::of(row, now);
    let at = operation.step(&row.step)?;
    match row.decision {
        Some(Decision::Resume) => {
            match operation.after(at)? {
                Some(next) => turn.enter(next),
                None => turn.end(at),
            }
            return Ok(Some(turn));
        }
        Some(Decision::RollBack) => {
            let problem = row.problem.clone().unwrap_or_else(Problem::internal);
            turn.clean_up(at, operation.on_give_up(at)?, OperationStatus::Failed, problem);
            return Ok(Some(turn));
        }
        None => {}
    }
    let (Some(asked_at), None) = (row.cancel_requested_at, row.outcome) else { return Ok(None) };
    turn.answered_cancel = Some(asked_at);
    match operation.on_cancel(at)? {
        OnCancel::CleanUpFrom(step) => {
            let problem = Problem::new(ProblemCode::OperationCancelled, "The operation was called off.");
            turn.clean_up(at, Some(step), OperationStatus::Cancelled, problem);
        }
        OnCancel::FinishFirst(why) => turn.event(at, "note", format!("It cannot be called off any more: {why}.")),
    }
    Ok(Some(turn))
}

/// What follows from what the step at `row` did; `at` is the step's name.
pub(crate) fn after_step<W>(
    row: &OperationRow,
    at: &str,
    ran: Ran,
    (writes, notes): (Vec<Write>, Vec<String>),
    operation: &dyn AnyOperation<W>,
    now: Timestamp,
) -> Turn {
    let mut turn = Turn::of(row, now);
    if let Some(state) = ran.state {
        turn.state = state;
    }
    for note in notes {
        turn.event(at, "note", note);
    }
    match ran.result {
        Ok(next) => {
            turn.writes = writes;
            go_on(&mut turn, row, at, next, now);
        }
        Err(StepError::Retry { problem, cause }) => {
            let since = row.failing_since.unwrap_or(now);
            let cause = cause.as_ref().map(chain).unwrap_or_default();
            if operation.patience(at).is_some_and(|patience| now.since(since) >= patience) {
                tracing::warn!(step = at, attempt = row.attempt, %problem, cause, "a step was tried for as long as it may be");
                give_up(&mut turn, at, problem, operation);
            } else {
                tracing::warn!(step = at, attempt = row.attempt, %problem, cause, "a step has to be tried again");
                retry(&mut turn, row, at, &problem, since, now);
            }
        }
        Err(StepError::GiveUp(problem)) => give_up(&mut turn, at, problem, operation),
        Err(StepError::NeedsOperator(problem)) => {
            at.clone_into(&mut turn.step);
            turn.call_operator(at, problem);
        }
    }
    turn.mind_deadline(row, operation, now);
    turn
}

/// The turn of a step whose commit the store did not take: the step is tried again and nothing of it is kept.
pub(crate) fn uncommitted(row: &OperationRow, at: &str, now: Timestamp) -> Turn {
    let mut turn = Turn::of(row, now);
    let problem = Problem::new(ProblemCode::Internal, "The control plane's store did not take the result of this step.");
    retry(&mut turn, row, at, &problem, row.failing_since.unwrap_or(now), now);
    turn
}

fn go_on(turn: &mut Turn, row: &OperationRow, at: &str, next: Next<&'static str>, now: Timestamp) {
    match next {
        Next::Go(step) => {
            turn.event(at, "step-done", "");
            turn.enter(step);
        }
        Next::Wait(step, rest, why) => {
            if step != at {
                turn.event(at, "step-done", "");
            } else if row.waiting_for.as_ref() != Some(&why) {
                turn.event(at, "note", why.clone());
            }
            turn.enter(step);
            turn.waiting_for = Some(why);
            turn.run_at = now.plus(rest);
        }
        Next::Done => {
            at.clone_into(&mut turn.step);
            turn.event(at, "step-done", "");
            turn.end(at);
        }
    }
}

fn retry(turn: &mut Turn, row: &OperationRow, at: &str, problem: &Problem, since: Timestamp, now: Timestamp) {
    at.clone_into(&mut turn.step);
    turn.failing_since = Some(since);
    turn.attempt = row.attempt.saturating_add(1);
    turn.run_at = now.plus(backoff::rest(row.id.as_str(), row.attempt));
    if row.waiting_for.as_deref() != Some(&problem.message) {
        turn.event(at, "retrying", problem.message.clone());
    }
    turn.waiting_for = Some(problem.message.clone());
}

fn give_up<W>(turn: &mut Turn, at: &str, problem: Problem, operation: &dyn AnyOperation<W>) {
    at.clone_into(&mut turn.step);
    if turn.outcome.is_some() {
        return turn.call_operator(at, problem);
    }
    match operation.on_give_up(at) {
        Ok(from) => turn.clean_up(at, from, OperationStatus::Failed, problem),
        Err(Unreadable(why)) => turn.call_operator(at, unreadable(why)),
    }
}
