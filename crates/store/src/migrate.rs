//! Migrations: each file runs once, in order, in one transaction; a store from a newer build is refused.

use crate::connect::Dialect;
use crate::{StoreError, StoreResult, cluster, failed};
use sqlx::{AnyPool, AssertSqlSafe, Row};

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_people.sql"),
    include_str!("../migrations/0003_parameters.sql"),
    include_str!("../migrations/0004_idempotency.sql"),
    include_str!("../migrations/0005_lists.sql"),
    include_str!("../migrations/0006_public_addresses.sql"),
    include_str!("../migrations/0007_replication.sql"),
    include_str!("../migrations/0008_takeovers.sql"),
    include_str!("../migrations/0009_service_addresses.sql"),
    include_str!("../migrations/0010_databases.sql"),
    include_str!("../migrations/0011_plans.sql"),
    include_str!("../migrations/0012_enforcement.sql"),
];

/// The version since which databases are rows of their own.
const WITH_DATABASES: i64 = 10;

/// The schema version this build writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the store to [`SCHEMA_VERSION`].
pub(crate) async fn up(pool: &AnyPool, dialect: &Dialect) -> StoreResult<()> {
    up_to(pool, dialect, SCHEMA_VERSION).await
}

/// Brings the store to a version this build knows.
pub(crate) async fn up_to(pool: &AnyPool, dialect: &Dialect, version: i64) -> StoreResult<()> {
    let mut transaction = pool.begin_with(dialect.begin).await.map_err(failed("migrating the store"))?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await
        .map_err(failed("migrating the store"))?;
    let found = sqlx::query(FOUND).fetch_one(&mut *transaction).await.map_err(failed("reading the schema version"))?.get("version");
    if found > SCHEMA_VERSION || version > SCHEMA_VERSION {
        return Err(StoreError::TooNew { found: version.max(found), known: SCHEMA_VERSION });
    }
    for (text, number) in MIGRATIONS.iter().zip(1_i64..) {
        if number <= found || number > version {
            continue;
        }
        sqlx::raw_sql(AssertSqlSafe(*text)).execute(&mut *transaction).await.map_err(failed("migrating the store"))?;
        if number == WITH_DATABASES {
            cluster::insert_first_databases(&mut transaction).await?;
        }
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *transaction)
            .await
            .map_err(failed("migrating the store"))?;
    }
    transaction.commit().await.map_err(failed("migrating the store"))
}

/// Refuses a store that is not at [`SCHEMA_VERSION`].
pub(crate) async fn check(pool: &AnyPool) -> StoreResult<()> {
    let found = sqlx::query(FOUND).fetch_one(pool).await.map_err(failed("reading the schema version"))?.get("version");
    if found == SCHEMA_VERSION { Ok(()) } else { Err(StoreError::OtherVersion { found, known: SCHEMA_VERSION }) }
}

const FOUND: &str = "SELECT coalesce(max(version), 0) AS version FROM schema_version";
