//! Tasks: operations on databases, as those who asked for a database by a plan look at them.

use crate::cluster::unreadable;
use crate::operation::{number, read_view};
use crate::statement::statements;
use crate::{Rows, StoreResult, failed};
use moorage_domain::DatabaseId;
use moorage_domain::allocation::Sight;
use moorage_domain::operation::{OperationStatus, OperationView};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! tasks {
    () => {
        "FROM operation o JOIN cluster c ON c.id = o.cluster_id LEFT JOIN allocation a ON a.database_id = o.database_id
         LEFT JOIN database_history h ON h.id = o.database_id LEFT JOIN environment v ON v.id = a.environment_id
         WHERE o.database_id IS NOT NULL AND c.project_id = $1 AND (CAST($2 AS TEXT) IS NULL OR a.team_id IN
         (SELECT m.team_id FROM team_member m WHERE m.account_id = $2) OR o.requested_by = (SELECT n.name FROM account n WHERE n.id = $2))
         AND (CAST($3 AS TEXT) IS NULL OR o.id = $3) AND (CAST($4 AS TEXT) IS NULL OR o.status = $4 OR o.status = $6)
         AND (CAST($5 AS TEXT) IS NULL OR COALESCE(a.name, h.name) = $5) "
    };
}

statements! {
    TASKS = concat!("SELECT o.id, o.kind, o.cluster_id, c.engine, o.status, o.step, o.attempt, o.waiting_for, o.problem, o.requested_by, o.created_at,
        o.finished_at, o.database_id, COALESCE(a.name, h.name) AS database_name, COALESCE(v.name, h.environment) AS environment ", tasks!(),
        "ORDER BY o.created_at DESC, o.id DESC LIMIT $7 OFFSET $8");
    COUNT_TASKS = concat!("SELECT count(*) AS n ", tasks!());
}

/// Which operations on databases.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only this operation.
    pub operation: Option<String>,
    /// Only in one of these.
    pub status: Option<[OperationStatus; 2]>,
    /// Only of databases of this name.
    pub database_name: Option<String>,
}

/// An operation on a database.
#[derive(Clone, Debug)]
pub struct Task {
    /// The operation, without its timeline.
    pub operation: OperationView,
    /// The database it is about.
    pub database: DatabaseId,
    /// Its name and environment, where it was asked for by a plan.
    pub named: Option<(String, String)>,
}

/// Queries about tasks.
#[allow(async_fn_in_trait)]
pub trait Tasks: Rows {
    /// A page of the operations on databases that somebody may see, the newest first, and how many there are.
    async fn tasks(&mut self, sight: &Sight, filter: &TaskFilter, offset: u64, limit: u64) -> StoreResult<(Vec<Task>, u64)> {
        let bound = |text: &'static str| {
            sqlx::query(text)
                .bind(sight.project.as_str())
                .bind(sight.member.as_ref().map(|user| user.as_str()))
                .bind(&filter.operation)
                .bind(filter.status.map(|[one, _]| one.as_str()))
                .bind(&filter.database_name)
                .bind(filter.status.map(|[_, other]| other.as_str()))
        };
        let total = bound(COUNT_TASKS).fetch_one(self.connection()).await.map_err(failed("counting tasks"))?.get::<i64, _>("n");
        let query = bound(TASKS).bind(number(limit)).bind(number(offset));
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing tasks"))?;
        let task = |row: &AnyRow| {
            let database = DatabaseId::parse(row.get("database_id")).map_err(|e| unreadable("operation", e))?;
            let name: Option<String> = row.get("database_name");
            Ok(Task { operation: read_view(row)?, database, named: name.zip(row.get::<Option<String>, _>("environment")) })
        };
        Ok((rows.iter().map(task).collect::<StoreResult<_>>()?, u64::try_from(total).unwrap_or_default()))
    }
}
impl<R: Rows> Tasks for R {}
