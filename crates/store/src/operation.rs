//! Operations: their rows, timelines and locks.
//!
//! An operation holds its cluster's lock from the transaction that starts it to the one that ends it; the lock belongs to
//! the row and not to a process, so a crash releases nothing and needs nothing. What changes something inside a cluster holds another
//! lock, of the cluster's databases: it goes on beside whatever is done with the cluster, and after others of its own kind. `lease_epoch` grows with every claim and
//! every commit: whoever commits under an older one has been overtaken and is refused.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreError, StoreResult, UnitOfWork, Write, failed};
use moorage_domain::decide::status::Holder;
use moorage_domain::engine::EngineName;
use moorage_domain::operation::{OperationEvent, OperationStatus, OperationView};
use moorage_domain::{ClusterId, HostId, OperationId, Problem, ProblemCode, ProjectId, Timestamp};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row};

macro_rules! columns {
    () => {
        "id, kind, cluster_id, request, step, state, status, outcome, decision, attempt, failing_since, waiting_for, run_at, deadline_at, \
         lease_epoch, cancel_requested_at, problem, created_at "
    };
}
macro_rules! claimable {
    () => {
        "finished_at IS NULL AND status IN ('running', 'cleaning-up') "
    };
}
// A changed value, so that whoever holds the operation notices, and one that is due now.
macro_rules! nudged {
    () => {
        "CASE WHEN run_at <= $2 THEN run_at - 1 ELSE $2 END "
    };
}
macro_rules! select_view {
    ($rest:literal) => {
        concat!(
            "SELECT o.id, o.kind, o.cluster_id, c.engine, o.status, o.step, o.attempt, o.waiting_for, o.problem, o.requested_by, o.created_at, o.finished_at ",
            "FROM operation o JOIN cluster c ON c.id = o.cluster_id WHERE c.project_id = $1 ",
            $rest
        )
    };
}

statements! {
    INSERT_EVENT = "INSERT INTO operation_event (operation_id, seq, at, step, kind, detail)
        SELECT CAST($1 AS TEXT), coalesce(max(seq), 0) + 1, CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT)
        FROM operation_event WHERE operation_id = $1";
    LOCK = "INSERT INTO cluster_lock (cluster_id, operation_id) VALUES ($1, $2) ON CONFLICT (cluster_id) DO NOTHING";
    UNLOCK = "DELETE FROM cluster_lock WHERE cluster_id = $1 AND operation_id = $2";
    LOCK_DATABASES = "INSERT INTO database_lock (cluster_id, operation_id) VALUES ($1, $2) ON CONFLICT (cluster_id) DO NOTHING";
    UNLOCK_DATABASES = "DELETE FROM database_lock WHERE cluster_id = $1 AND operation_id = $2";
    DATABASES_HOLDER = "SELECT o.kind, o.status, o.requested_by FROM database_lock l JOIN operation o ON o.id = l.operation_id WHERE l.cluster_id = $1";
    HOLDER = "SELECT o.kind, o.status, o.requested_by FROM cluster_lock l JOIN operation o ON o.id = l.operation_id WHERE l.cluster_id = $1";
    START_QUEUED = "UPDATE operation SET status = 'running', run_at = $2 WHERE id =
        (SELECT id FROM operation WHERE cluster_id = $1 AND status = 'queued' ORDER BY created_at, id LIMIT 1) RETURNING id, step";
    GET = concat!("SELECT ", columns!(), "FROM operation WHERE id = $1");
    DUE = concat!("SELECT ", columns!(), "FROM operation WHERE host_id = $1 AND run_at <= $2 AND ", claimable!(), "ORDER BY run_at LIMIT $3");
    CLAIM = concat!("UPDATE operation SET lease_owner = $3, lease_until = $4, lease_epoch = lease_epoch + 1 WHERE id = (SELECT id FROM operation
        WHERE host_id = $1 AND run_at <= $2 AND lease_until <= $2 AND ", claimable!(), "ORDER BY run_at LIMIT 1) AND lease_until <= $2 RETURNING ",
        columns!());
    RENEW = "UPDATE operation SET lease_until = $3 WHERE id = $1 AND lease_epoch = $2 AND finished_at IS NULL";
    RELEASE = "UPDATE operation SET lease_owner = NULL, lease_until = 0 WHERE host_id = $1 AND lease_owner = $2 AND finished_at IS NULL";
    FREE_LEASES = "UPDATE operation SET lease_owner = NULL, lease_until = 0 WHERE host_id = $1 AND lease_until > 0 AND finished_at IS NULL";
    BRING_FORWARD = "UPDATE operation SET run_at = $2 WHERE host_id = $1 AND run_at > $2 AND finished_at IS NULL";
    NEXT_DUE = concat!("SELECT min(CASE WHEN lease_until > run_at THEN lease_until ELSE run_at END) AS due FROM operation
        WHERE host_id = $1 AND (run_at > $2 OR lease_until > $2) AND ", claimable!());
    COMMIT_STEP = "UPDATE operation SET step = $3, state = $4, status = $5, outcome = $6, decision = NULL, attempt = $7, failing_since = $8,
        waiting_for = $9, run_at = CASE WHEN run_at = $10 THEN $11 ELSE run_at END, deadline_at = $12, lease_owner = $13, lease_until = $14,
        cancel_requested_at = CASE WHEN cancel_requested_at = $15 THEN NULL ELSE cancel_requested_at END, problem = $16, finished_at = $17,
        lease_epoch = lease_epoch + 1 WHERE id = $1 AND lease_epoch = $2 AND finished_at IS NULL
        RETURNING run_at, lease_epoch, cancel_requested_at, secret_ids";
    NUDGE = concat!("UPDATE operation SET run_at = ", nudged!(), "WHERE cluster_id = $1 AND ", claimable!());
    REQUEST_CANCEL = concat!("UPDATE operation SET cancel_requested_at = coalesce(cancel_requested_at, $2), run_at = ", nudged!(),
        "WHERE id = $1 AND finished_at IS NULL AND outcome IS NULL RETURNING step");
    GO_ON = "UPDATE operation SET status = CASE WHEN outcome IS NULL THEN 'running' ELSE 'cleaning-up' END, decision = $3, run_at = $2, attempt = 1,
        failing_since = NULL, waiting_for = NULL, problem = CASE WHEN outcome IS NULL THEN NULL ELSE problem END, lease_epoch = lease_epoch + 1
        WHERE id = $1 AND status = 'needs-operator' RETURNING step, cluster_id";
    WAITING_INSIDE = "SELECT id FROM operation WHERE cluster_id = $1 AND database_id IS NOT NULL AND status = 'needs-operator'";
    ROLL_BACK = "UPDATE operation SET decision = CASE WHEN outcome IS NULL THEN 'roll-back' ELSE NULL END, outcome = coalesce(outcome, 'failed'),
        status = 'cleaning-up', run_at = $2, attempt = 1, failing_since = NULL, waiting_for = NULL, lease_epoch = lease_epoch + 1
        WHERE id = $1 AND status = 'needs-operator' RETURNING step, cluster_id";
    END = "UPDATE operation SET status = $3, finished_at = $2, problem = coalesce(problem, $4), decision = NULL, lease_owner = NULL, lease_until = 0,
        lease_epoch = lease_epoch + 1 WHERE id = $1 AND status = $5 RETURNING step, cluster_id, secret_ids";
    REWRITE_STATE = "UPDATE operation SET state = $2, lease_epoch = lease_epoch + 1 WHERE id = $1 AND finished_at IS NULL";
    FORGET = "DELETE FROM secret WHERE id = $1";
    VIEW = select_view!("AND o.id = $2");
    VIEWS = select_view!("AND (CAST($2 AS TEXT) IS NULL OR o.cluster_id = $2) AND (CAST($3 AS TEXT) IS NULL OR o.status = $3)
        ORDER BY o.created_at DESC, o.id DESC LIMIT $4 OFFSET $5");
    EVENTS = "SELECT at, step, kind, detail FROM operation_event WHERE operation_id = $1 ORDER BY seq";
}

/// The step of an operation that has not begun its first one.
pub const NOT_BEGUN: &str = "not-begun";

/// What an operator decided about the step an operation is at; the runner carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on after the step as if it had succeeded.
    Resume,
    /// Take the clean-up path.
    RollBack,
}

/// What the runner needs of an operation.
#[derive(Clone, Debug)]
pub struct OperationRow {
    /// Identifier.
    pub id: OperationId,
    /// Kind.
    pub kind: String,
    /// Cluster.
    pub cluster: ClusterId,
    /// The request as JSON.
    pub request: String,
    /// The step it is at.
    pub step: String,
    /// The state as JSON.
    pub state: String,
    /// Where it stands.
    pub status: OperationStatus,
    /// What it will end as once it has cleaned up; none while it goes forward.
    pub outcome: Option<OperationStatus>,
    /// What an operator decided and nobody carried out yet.
    pub decision: Option<Decision>,
    /// Which try of the step comes next, from 1.
    pub attempt: u32,
    /// Since when the step has been failing.
    pub failing_since: Option<Timestamp>,
    /// Why it waits, in public words.
    pub waiting_for: Option<String>,
    /// When it is due.
    pub run_at: Timestamp,
    /// When it is next said to be late.
    pub deadline_at: Option<Timestamp>,
    /// The epoch under which the next commit is accepted.
    pub epoch: i64,
    /// When somebody asked to call it off.
    pub cancel_requested_at: Option<Timestamp>,
    /// Why it is cleaning up or needs an operator.
    pub problem: Option<Problem>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// What a step leaves behind; everything in it is committed together or not at all.
#[derive(Clone, Debug)]
pub struct StepCommit<'a> {
    /// The row as it was read, claimed or last committed.
    pub row: &'a OperationRow,
    /// The step it is at now.
    pub step: &'a str,
    /// Its state.
    pub state: &'a str,
    /// Where it stands; an ended one gives the cluster's lock to the next in the queue.
    pub status: OperationStatus,
    /// What it will end as.
    pub outcome: Option<OperationStatus>,
    /// Which try comes next.
    pub attempt: u32,
    /// Since when the step has been failing.
    pub failing_since: Option<Timestamp>,
    /// Why it waits.
    pub waiting_for: Option<&'a str>,
    /// When it is due, unless it was nudged since the row was read: then it stays due.
    pub run_at: Timestamp,
    /// When it is next said to be late.
    pub deadline_at: Option<Timestamp>,
    /// Keeps the lease: its owner and how long.
    pub lease: Option<(&'a str, Timestamp)>,
    /// The wish to call it off that was answered, whatever the answer.
    pub answered_cancel: Option<Timestamp>,
    /// Why it is cleaning up, needs an operator or failed.
    pub problem: Option<&'a Problem>,
    /// Lines of the timeline: step, kind, detail.
    pub events: &'a [(&'a str, &'a str, String)],
    /// Domain rows.
    pub writes: &'a [Write],
}

/// What a committed row now says.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// When it is due.
    pub run_at: Timestamp,
    /// The epoch of the next commit.
    pub epoch: i64,
    /// When somebody asked to call it off.
    pub cancel_requested_at: Option<Timestamp>,
}

pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
fn time(row: &AnyRow, name: &str) -> Option<Timestamp> {
    row.get::<Option<i64>, _>(name).map(Timestamp)
}
fn cluster_of(row: &AnyRow) -> StoreResult<ClusterId> {
    ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("operation", e))
}
fn id_of(row: &AnyRow) -> StoreResult<OperationId> {
    OperationId::parse(row.get("id")).map_err(|e| unreadable("operation", e))
}
fn status_of(row: &AnyRow) -> StoreResult<OperationStatus> {
    OperationStatus::parse(row.get("status")).ok_or_else(|| unreadable("operation", "unknown status"))
}
fn count(row: &AnyRow, name: &str) -> u32 {
    u32::try_from(row.get::<i64, _>(name)).unwrap_or(1)
}
// An operation whose problem cannot be read still has to be shown and brought to its end.
fn problem_of(row: &AnyRow) -> Option<Problem> {
    let text: String = row.get::<Option<String>, _>("problem")?;
    Some(
        serde_json::from_str(&text)
            .unwrap_or_else(|_| Problem::new(ProblemCode::OperationUnreadable, "Its problem was stored by another version.")),
    )
}
fn problem_text(problem: Option<&Problem>) -> StoreResult<Option<String>> {
    problem.map(|problem| serde_json::to_string(problem).map_err(|e| unreadable("problem", e))).transpose()
}

fn read(row: &AnyRow) -> StoreResult<OperationRow> {
    Ok(OperationRow {
        id: id_of(row)?,
        kind: row.get("kind"),
        cluster: cluster_of(row)?,
        request: row.get("request"),
        step: row.get("step"),
        state: row.get("state"),
        status: status_of(row)?,
        outcome: row.get::<Option<&str>, _>("outcome").map(|text| OperationStatus::parse(text).unwrap_or(OperationStatus::Failed)),
        decision: match row.get::<Option<&str>, _>("decision") {
            Some("resume") => Some(Decision::Resume),
            Some("roll-back") => Some(Decision::RollBack),
            _ => None,
        },
        attempt: count(row, "attempt"),
        failing_since: time(row, "failing_since"),
        waiting_for: row.get("waiting_for"),
        run_at: Timestamp(row.get("run_at")),
        deadline_at: time(row, "deadline_at"),
        epoch: row.get("lease_epoch"),
        cancel_requested_at: time(row, "cancel_requested_at"),
        problem: problem_of(row),
        created_at: Timestamp(row.get("created_at")),
    })
}

pub(crate) fn read_view(row: &AnyRow) -> StoreResult<OperationView> {
    Ok(OperationView {
        id: id_of(row)?,
        kind: row.get("kind"),
        cluster: cluster_of(row)?,
        engine: EngineName::parse(row.get("engine")).ok_or_else(|| unreadable("cluster", "unknown engine"))?,
        status: status_of(row)?,
        step: row.get("step"),
        attempt: count(row, "attempt"),
        waiting_for: row.get("waiting_for"),
        problem: problem_of(row),
        requested_by: row.get("requested_by"),
        created_at: Timestamp(row.get("created_at")),
        finished_at: time(row, "finished_at"),
        events: Vec::new(),
    })
}

/// Queries about operations.
#[allow(async_fn_in_trait)]
pub trait Operations: Rows {
    /// The operation that holds a cluster.
    async fn holder(&mut self, cluster: &ClusterId) -> StoreResult<Option<Holder>> {
        let query = sqlx::query(HOLDER).bind(cluster.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading who holds a cluster"))?;
        row.map(|row| Ok(Holder { kind: row.get("kind"), status: status_of(&row)?, requested_by: row.get("requested_by") })).transpose()
    }
    /// The operation that changes something inside a cluster just now.
    async fn holder_of_databases(&mut self, cluster: &ClusterId) -> StoreResult<Option<Holder>> {
        let query = sqlx::query(DATABASES_HOLDER).bind(cluster.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading who changes databases"))?;
        row.map(|row| Ok(Holder { kind: row.get("kind"), status: status_of(&row)?, requested_by: row.get("requested_by") })).transpose()
    }
    /// An operation as the runner sees it.
    async fn operation_row(&mut self, id: &OperationId) -> StoreResult<Option<OperationRow>> {
        let row = sqlx::query(GET).bind(id.as_str()).fetch_optional(self.connection()).await.map_err(failed("reading an operation"))?;
        row.as_ref().map(read).transpose()
    }
    /// Operations of a host that are due, the longest due first, whoever may have claimed them.
    async fn due_operations(&mut self, host: &HostId, most: u64, now: Timestamp) -> StoreResult<Vec<OperationRow>> {
        let query = sqlx::query(DUE).bind(host.as_str()).bind(now.0).bind(number(most));
        let rows = query.fetch_all(self.connection()).await.map_err(failed("looking for due operations"))?;
        rows.iter().map(read).collect()
    }
    /// When the next operation of a host that is not due yet, or due and claimed, can be taken.
    async fn next_due(&mut self, host: &HostId, now: Timestamp) -> StoreResult<Option<Timestamp>> {
        let query = sqlx::query(NEXT_DUE).bind(host.as_str()).bind(now.0);
        let row = query.fetch_one(self.connection()).await.map_err(failed("looking for the next due operation"))?;
        Ok(time(&row, "due"))
    }
    /// An operation on one of the project's clusters (gone ones too), with its timeline.
    async fn operation_view(&mut self, project: &ProjectId, id: &OperationId) -> StoreResult<Option<OperationView>> {
        let query = sqlx::query(VIEW).bind(project.as_str()).bind(id.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading an operation"))?;
        let Some(mut view) = row.as_ref().map(read_view).transpose()? else { return Ok(None) };
        view.events = self.operation_events(id).await?;
        Ok(Some(view))
    }
    /// Operations on the project's clusters, newest first, without their timelines.
    async fn operation_views(
        &mut self,
        project: &ProjectId,
        cluster: Option<&ClusterId>,
        status: Option<OperationStatus>,
        offset: u64,
        limit: u64,
    ) -> StoreResult<Vec<OperationView>> {
        let query = sqlx::query(VIEWS)
            .bind(project.as_str())
            .bind(cluster.map(ClusterId::as_str))
            .bind(status.map(OperationStatus::as_str))
            .bind(number(limit))
            .bind(number(offset));
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing operations"))?;
        rows.iter().map(read_view).collect()
    }
    /// An operation's timeline, oldest first.
    async fn operation_events(&mut self, id: &OperationId) -> StoreResult<Vec<OperationEvent>> {
        let rows = sqlx::query(EVENTS).bind(id.as_str()).fetch_all(self.connection()).await.map_err(failed("reading a timeline"))?;
        let event = |row: &AnyRow| OperationEvent {
            at: Timestamp(row.get("at")),
            step: row.get("step"),
            kind: row.get("kind"),
            detail: row.get("detail"),
        };
        Ok(rows.iter().map(event).collect())
    }
}
impl<R: Rows> Operations for R {}

impl UnitOfWork {
    async fn done(&mut self, doing: &'static str, query: Query<'_, Any, AnyArguments>) -> StoreResult<u64> {
        Ok(query.execute(self.connection()).await.map_err(failed(doing))?.rows_affected())
    }
    async fn found(&mut self, doing: &'static str, query: Query<'_, Any, AnyArguments>) -> StoreResult<Option<AnyRow>> {
        query.fetch_optional(self.connection()).await.map_err(failed(doing))
    }

    pub(crate) async fn lock(&mut self, cluster: &ClusterId, operation: &OperationId) -> StoreResult<()> {
        let query = sqlx::query(LOCK).bind(cluster.as_str()).bind(operation.as_str());
        if self.done("locking a cluster", query).await? == 0 { Err(StoreError::Taken { what: "cluster_lock" }) } else { Ok(()) }
    }

    pub(crate) async fn lock_databases(&mut self, cluster: &ClusterId, operation: &OperationId) -> StoreResult<()> {
        let query = sqlx::query(LOCK_DATABASES).bind(cluster.as_str()).bind(operation.as_str());
        if self.done("locking a cluster's databases", query).await? == 0 {
            Err(StoreError::Taken { what: "database_lock" })
        } else {
            Ok(())
        }
    }

    pub(crate) async fn event(&mut self, id: &OperationId, step: &str, kind: &str, detail: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT_EVENT).bind(id.as_str()).bind(now.0).bind(step).bind(kind).bind(detail);
        self.done("writing a timeline", query).await.map(|_| ())
    }

    /// Claims the operation of a host that has been due longest and that nobody holds, until `until`.
    pub async fn claim(&mut self, host: &HostId, owner: &str, until: Timestamp, now: Timestamp) -> StoreResult<Option<OperationRow>> {
        let query = sqlx::query(CLAIM).bind(host.as_str()).bind(now.0).bind(owner).bind(until.0);
        let row = self.found("claiming an operation", query).await?;
        row.as_ref().map(read).transpose()
    }

    /// Holds a claimed operation for longer; `LeaseLost` when somebody else has it by now.
    pub async fn renew(&mut self, row: &OperationRow, until: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(RENEW).bind(row.id.as_str()).bind(row.epoch).bind(until.0);
        if self.done("renewing a lease", query).await? == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
    }

    /// Gives back every operation of a host that `owner` holds.
    pub async fn release(&mut self, host: &HostId, owner: &str) -> StoreResult<()> {
        self.done("releasing leases", sqlx::query(RELEASE).bind(host.as_str()).bind(owner)).await.map(|_| ())
    }

    /// Frees every claim on a host's operations: for a process that knows itself to be the only one.
    pub async fn free_leases(&mut self, host: &HostId) -> StoreResult<u64> {
        self.done("freeing leases", sqlx::query(FREE_LEASES).bind(host.as_str())).await
    }

    /// Lets no operation of a host rest for longer than until then.
    pub async fn bring_forward(&mut self, host: &HostId, until: Timestamp) -> StoreResult<u64> {
        self.done("bringing operations forward", sqlx::query(BRING_FORWARD).bind(host.as_str()).bind(until.0)).await
    }

    /// Commits what a step leaves behind; `LeaseLost` when another commit or claim came in between. An operation that ends
    /// releases its lock, erases its secrets and starts the next one in the queue. The cluster's state is projected where
    /// its inputs changed.
    pub async fn commit_step(&mut self, step: &StepCommit<'_>, now: Timestamp) -> StoreResult<Committed> {
        let row = step.row;
        let (owner, until) = step.lease.unzip();
        let updated = sqlx::query(COMMIT_STEP)
            .bind(row.id.as_str())
            .bind(row.epoch)
            .bind(step.step)
            .bind(step.state)
            .bind(step.status.as_str())
            .bind(step.outcome.map(OperationStatus::as_str))
            .bind(i64::from(step.attempt))
            .bind(step.failing_since.map(|at| at.0))
            .bind(step.waiting_for)
            .bind(row.run_at.0)
            .bind(step.run_at.0)
            .bind(step.deadline_at.map(|at| at.0))
            .bind(owner)
            .bind(until.map_or(0, |until| until.0))
            .bind(step.answered_cancel.map(|at| at.0))
            .bind(problem_text(step.problem)?)
            .bind(step.status.ended().then_some(now.0))
            .fetch_optional(self.connection())
            .await
            .map_err(failed("committing a step"))?
            .ok_or(StoreError::LeaseLost)?;
        for (at, kind, detail) in step.events {
            self.event(&row.id, at, kind, detail, now).await?;
        }
        for write in step.writes {
            self.apply(write, now).await?;
        }
        if step.status.ended() {
            self.ended(&row.id, &row.cluster, updated.get("secret_ids"), now).await?;
        } else if step.status != row.status || !step.writes.is_empty() {
            self.project_state(&row.cluster).await?;
        }
        Ok(Committed {
            run_at: Timestamp(updated.get("run_at")),
            epoch: updated.get("lease_epoch"),
            cancel_requested_at: time(&updated, "cancel_requested_at"),
        })
    }

    async fn ended(&mut self, id: &OperationId, cluster: &ClusterId, secrets: &str, now: Timestamp) -> StoreResult<()> {
        for secret in serde_json::from_str::<Vec<String>>(secrets).map_err(|e| unreadable("list of secrets", e))? {
            self.done("forgetting a secret", sqlx::query(FORGET).bind(secret)).await?;
        }
        let unlock = sqlx::query(UNLOCK).bind(cluster.as_str()).bind(id.as_str());
        if self.done("unlocking a cluster", unlock).await? > 0 {
            return self.project_state(cluster).await;
        }
        let unlock = sqlx::query(UNLOCK_DATABASES).bind(cluster.as_str()).bind(id.as_str());
        if self.done("unlocking a cluster's databases", unlock).await? > 0 {
            let next = self.found("starting the next operation", sqlx::query(START_QUEUED).bind(cluster.as_str()).bind(now.0)).await?;
            if let Some(next) = next {
                let id = id_of(&next)?;
                self.lock_databases(cluster, &id).await?;
                self.event(&id, next.get("step"), "started", "It is its turn.", now).await?;
            }
        }
        Ok(())
    }

    /// Makes a cluster's operation due now, so that it looks at the world again. The caller wakes the runner after its commit.
    pub async fn nudge(&mut self, cluster: &ClusterId, now: Timestamp) -> StoreResult<()> {
        self.wake_others();
        self.done("nudging an operation", sqlx::query(NUDGE).bind(cluster.as_str()).bind(now.0)).await.map(|_| ())
    }

    /// Asks an operation to stop and clean up: it is asked before its next step, and one in the queue when it is its turn, for what it
    /// is about may be a row already. `why` is a sentence for its timeline. False when it has ended or is already cleaning up.
    pub async fn request_cancel(&mut self, id: &OperationId, why: &str, now: Timestamp) -> StoreResult<bool> {
        let row = self.found("calling off an operation", sqlx::query(REQUEST_CANCEL).bind(id.as_str()).bind(now.0)).await?;
        let Some(row) = row else { return Ok(false) };
        self.wake_others();
        self.event(id, row.get("step"), "note", why, now).await?;
        Ok(true)
    }

    /// An operator's decision: the step is tried again. False when the operation does not wait for an operator.
    pub async fn retry_step(&mut self, id: &OperationId, now: Timestamp) -> StoreResult<bool> {
        let row = self.found("retrying a step", sqlx::query(GO_ON).bind(id.as_str()).bind(now.0).bind(None::<&str>)).await?;
        self.decided(id, row, "An operator lets the step be tried again.", now).await
    }

    /// What waits for an operator inside a cluster that is gone goes on, and ends: there is nothing left that it could be about.
    pub(crate) async fn go_on_inside(&mut self, cluster: &ClusterId, now: Timestamp) -> StoreResult<()> {
        let rows =
            sqlx::query(WAITING_INSIDE).bind(cluster.as_str()).fetch_all(self.connection()).await.map_err(failed("listing operations"))?;
        for waiting in &rows {
            let id = OperationId::parse(waiting.get("id")).map_err(|e| unreadable("operation", e))?;
            let row = self.found("letting it go on", sqlx::query(GO_ON).bind(id.as_str()).bind(now.0).bind(None::<&str>)).await?;
            self.decided(&id, row, "Its cluster is gone: it goes on without an operator, and ends.", now).await?;
        }
        Ok(())
    }

    /// An operator's decision: the operation goes on after the step, whose work was done by hand. False when it does not
    /// wait for an operator.
    pub async fn resume(&mut self, id: &OperationId, now: Timestamp) -> StoreResult<bool> {
        let row = self.found("resuming an operation", sqlx::query(GO_ON).bind(id.as_str()).bind(now.0).bind(Some("resume"))).await?;
        self.decided(id, row, "An operator lets it go on after this step.", now).await
    }

    /// An operator's decision: the operation takes its clean-up path. False when it does not wait for an operator.
    pub async fn roll_back(&mut self, id: &OperationId, now: Timestamp) -> StoreResult<bool> {
        let row = self.found("rolling an operation back", sqlx::query(ROLL_BACK).bind(id.as_str()).bind(now.0)).await?;
        self.decided(id, row, "An operator lets it be rolled back.", now).await
    }

    async fn decided(&mut self, id: &OperationId, row: Option<AnyRow>, words: &str, now: Timestamp) -> StoreResult<bool> {
        let Some(row) = row else { return Ok(false) };
        self.wake_others();
        self.event(id, row.get("step"), "note", words, now).await?;
        self.project_state(&cluster_of(&row)?).await?;
        Ok(true)
    }

    /// An operator's decision: the operation ends as failed where it stands, nothing is cleaned up. False when it does not
    /// wait for an operator.
    pub async fn abandon(&mut self, id: &OperationId, now: Timestamp) -> StoreResult<bool> {
        let problem = Problem::new(ProblemCode::OperationCancelled, "An operator abandoned the operation.");
        self.end(id, OperationStatus::NeedsOperator, OperationStatus::Failed, &problem, now).await
    }

    pub(crate) async fn end(
        &mut self,
        id: &OperationId,
        from: OperationStatus,
        to: OperationStatus,
        problem: &Problem,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let query = sqlx::query(END).bind(id.as_str()).bind(now.0).bind(to.as_str()).bind(problem_text(Some(problem))?).bind(from.as_str());
        let row = self.found("ending an operation", query).await?;
        let Some(row) = row else { return Ok(false) };
        self.wake_others();
        self.event(id, row.get("step"), "ended", &problem.message, now).await?;
        self.ended(id, &cluster_of(&row)?, row.get("secret_ids"), now).await?;
        Ok(true)
    }

    /// Replaces an operation's state by hand: a repair of last resort, and how tests put rows of older builds in place.
    pub async fn rewrite_state(&mut self, id: &OperationId, state: &str) -> StoreResult<()> {
        self.done("rewriting a state", sqlx::query(REWRITE_STATE).bind(id.as_str()).bind(state)).await.map(|_| ())
    }
}
