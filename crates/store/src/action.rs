//! The record of changes that were asked for: who, what, from where, and what became of it.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::tenant::Action;
use moorage_domain::{ActionId, ProjectId, Timestamp, UserId};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    INSERT = "INSERT INTO action (id, at, project_id, account_id, account_name, source, request_id, family, method, path, status, problem)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    LIST = "SELECT id, at, project_id, account_id, account_name, source, request_id, family, method, path, status, problem FROM action
        WHERE (CAST($1 AS TEXT) IS NULL OR project_id = $1) AND (CAST($2 AS TEXT) IS NULL OR account_name = $2) ORDER BY id DESC LIMIT $3 OFFSET $4";
    FORGET = "DELETE FROM action WHERE at < $1";
}

fn read(row: &AnyRow) -> StoreResult<Action> {
    Ok(Action {
        id: ActionId::parse(row.get("id")).map_err(|e| unreadable("action", e))?,
        at: Timestamp(row.get("at")),
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("action", e))?,
        user: UserId::parse(row.get("account_id")).map_err(|e| unreadable("action", e))?,
        user_name: row.get("account_name"),
        source: row.get("source"),
        request_id: row.get("request_id"),
        family: row.get("family"),
        method: row.get("method"),
        path: row.get("path"),
        status: u16::try_from(row.get::<i64, _>("status")).map_err(|e| unreadable("action", e))?,
        problem: row.get("problem"),
    })
}

/// Queries about what was asked for.
#[allow(async_fn_in_trait)]
pub trait Actions: Rows {
    /// Actions of a project (or of all) and of a user (or of all), the newest first.
    async fn actions(&mut self, project: Option<&ProjectId>, user_name: Option<&str>, offset: u64, limit: u64) -> StoreResult<Vec<Action>> {
        let query = sqlx::query(LIST).bind(project.map(ProjectId::as_str)).bind(user_name);
        let query = query.bind(limit.cast_signed()).bind(offset.cast_signed());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing actions"))?;
        rows.iter().map(read).collect()
    }
}
impl<R: Rows> Actions for R {}

impl UnitOfWork {
    /// Writes an action down.
    pub async fn insert_action(&mut self, action: &Action) -> StoreResult<()> {
        sqlx::query(INSERT)
            .bind(action.id.as_str())
            .bind(action.at.0)
            .bind(action.project.as_str())
            .bind(action.user.as_str())
            .bind(&action.user_name)
            .bind(&action.source)
            .bind(&action.request_id)
            .bind(&action.family)
            .bind(&action.method)
            .bind(&action.path)
            .bind(i64::from(action.status))
            .bind(&action.problem)
            .execute(self.connection())
            .await
            .map_err(failed("writing an action down"))?;
        Ok(())
    }
    /// Forgets actions from before; how many.
    pub async fn forget_actions(&mut self, before: Timestamp) -> StoreResult<u64> {
        let query = sqlx::query(FORGET).bind(before.0);
        let done = query.execute(self.connection()).await.map_err(failed("forgetting actions"))?;
        Ok(done.rows_affected())
    }
}
