//! Migrations: each file runs once, in order, in one transaction; a store from a newer build is refused.

use crate::{StoreError, StoreResult, failed};
use sqlx::{AssertSqlSafe, Row, SqlitePool};

const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_first.sql"), include_str!("../migrations/0002_people.sql")];

/// The schema version this build writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the store to [`SCHEMA_VERSION`].
pub(crate) async fn up(pool: &SqlitePool) -> StoreResult<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed("migrating the store"))?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await
        .map_err(failed("migrating the store"))?;
    let found: i64 = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM schema_version")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed("reading the schema version"))?
        .get("version");
    if found > SCHEMA_VERSION {
        return Err(StoreError::TooNew { found, known: SCHEMA_VERSION });
    }
    for (index, text) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        sqlx::raw_sql(AssertSqlSafe(*text)).execute(&mut *transaction).await.map_err(failed("migrating the store"))?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(index as i64 + 1)
            .execute(&mut *transaction)
            .await
            .map_err(failed("migrating the store"))?;
    }
    transaction.commit().await.map_err(failed("migrating the store"))
}

/// The schema's text, for the test that prepares every statement on PostgreSQL.
#[doc(hidden)]
pub fn schema() -> Vec<&'static str> {
    MIGRATIONS.to_vec()
}
