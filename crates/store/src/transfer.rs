//! Rows as they are, on their way out of a store and into another one: copies, backups, and the manifests from which a lost store
//! is rebuilt.

use crate::cluster::unreadable;
use crate::{Rows, StoreError, StoreResult, UnitOfWork, failed};
use futures::TryStreamExt;
use moorage_domain::{ClusterId, HostId};
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef};
use std::collections::BTreeMap;

/// Every table whose rows a copy carries, in the order in which they refer to each other.
pub const TABLES: &[&str] = &[
    "installation",
    "project",
    "host",
    "account",
    "access_key",
    "token",
    "secret",
    "environment",
    "plan",
    "plan_environment",
    "team",
    "team_member",
    "application",
    "cluster",
    "database",
    "credential",
    "allocation",
    "plan_cluster",
    "database_history",
    "instance",
    "endpoint",
    "replication",
    "applied_parameters",
    "operation",
    "operation_event",
    "cluster_lock",
    "database_lock",
    "api_id",
    "action",
];

/// Tables that mean nothing elsewhere: the schema's own, claims of processes that run now, answers kept for a day.
pub const NOT_COPIED: &[&str] = &["schema_version", "lease", "idempotency_key"];

/// The tables of people and of the installation, and of what databases are asked for by: everything that is of no cluster and is not
/// history.
const PEOPLE: &[&str] = &[
    "installation",
    "project",
    "host",
    "account",
    "access_key",
    "token",
    "environment",
    "plan",
    "plan_environment",
    "team",
    "team_member",
    "application",
];

const SAVEPOINT: &str = "SAVEPOINT rows";
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT rows";
const RELEASE: &str = "RELEASE SAVEPOINT rows";

/// The kinds of numbered things that are inside clusters, or of the past.
const OF_CLUSTERS: &[&str] = &["database", "credential", "task"];

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredValue {
    /// TEXT.
    Text(String),
    /// BIGINT.
    Number(i64),
    /// Nothing.
    Null(()),
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRow {
    /// Its table.
    pub table: String,
    /// Its columns.
    pub columns: BTreeMap<String, StoredValue>,
}

impl StoredRow {
    /// A TEXT column.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.columns.get(column) {
            Some(StoredValue::Text(text)) => Some(text),
            _ => None,
        }
    }
    /// A BIGINT column.
    pub fn number(&self, column: &str) -> Option<i64> {
        match self.columns.get(column) {
            Some(StoredValue::Number(number)) => Some(*number),
            _ => None,
        }
    }
    /// Changes a column.
    pub fn set(&mut self, column: &str, value: StoredValue) {
        self.columns.insert(column.to_owned(), value);
    }
}

fn read(table: &str, row: &AnyRow) -> StoreResult<StoredRow> {
    let mut columns = BTreeMap::new();
    for column in row.columns() {
        let broken = |error| unreadable("row", format!("{table}.{}: {error}", column.name()));
        let raw = row.try_get_raw(column.ordinal()).map_err(broken)?;
        let value = match raw.type_info().kind() {
            _ if raw.is_null() => StoredValue::Null(()),
            AnyTypeInfoKind::Text => StoredValue::Text(row.try_get(column.ordinal()).map_err(broken)?),
            AnyTypeInfoKind::BigInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::SmallInt => {
                StoredValue::Number(row.try_get(column.ordinal()).map_err(broken)?)
            }
            _ => return Err(unreadable("row", format!("{table}.{} is a {}", column.name(), raw.type_info().name()))),
        };
        columns.insert(column.name().to_owned(), value);
    }
    Ok(StoredRow { table: table.to_owned(), columns })
}

/// Queries that read whole rows.
#[allow(async_fn_in_trait)]
pub trait Transfer: Rows {
    /// Hands over every row of a table.
    async fn each_row(&mut self, table: &'static str, mut take: impl FnMut(StoredRow) -> StoreResult<()>) -> StoreResult<()> {
        // The name is one of our own.
        let text = AssertSqlSafe(format!("SELECT * FROM {table}"));
        // Not kept prepared: a newer program on the same database may give the table another column meanwhile.
        let mut rows = sqlx::query(text).persistent(false).fetch(self.connection());
        while let Some(row) = rows.try_next().await.map_err(failed("reading rows"))? {
            take(read(table, &row)?)?;
        }
        Ok(())
    }

    /// The rows of people and of the installation.
    async fn rows_of_people(&mut self) -> StoreResult<Vec<StoredRow>> {
        let mut found = Vec::new();
        for table in PEOPLE {
            self.each_row(table, |row| {
                found.push(row);
                Ok(())
            })
            .await?;
        }
        self.each_row("api_id", |row| {
            if !row.text("kind").is_some_and(|kind| OF_CLUSTERS.contains(&kind)) {
                found.push(row);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// The rows that make a cluster: its own, its databases', its instances' and its endpoint's.
    async fn rows_of_cluster(&mut self, cluster: &ClusterId) -> StoreResult<Vec<StoredRow>> {
        let mut found = Vec::new();
        let of_cluster = ["database", "credential", "instance", "endpoint", "replication"].map(|table| (table, "cluster_id"));
        let inside = "database_id IN (SELECT id FROM database WHERE cluster_id = $1)";
        let numbered =
            "internal_id IN (SELECT id FROM database WHERE cluster_id = $1 UNION SELECT id FROM credential WHERE cluster_id = $1)";
        let of_cluster = of_cluster.map(|(table, column)| (table, format!("{column} = $1"))).into_iter();
        let others = [("allocation", inside.to_owned()), ("plan_cluster", "cluster_id = $1".to_owned()), ("api_id", numbered.to_owned())];
        for (table, condition) in [("cluster", "id = $1".to_owned())].into_iter().chain(of_cluster).chain(others) {
            let text = AssertSqlSafe(format!("SELECT * FROM {table} WHERE {condition}"));
            let rows = sqlx::query(text).bind(cluster.as_str()).fetch_all(self.connection()).await.map_err(failed("reading rows"))?;
            for row in &rows {
                found.push(read(table, row)?);
            }
        }
        Ok(found)
    }

    /// Whether nothing was ever kept in the store.
    async fn is_empty(&mut self) -> StoreResult<bool> {
        let mut rows = 0;
        for table in TABLES {
            let text = AssertSqlSafe(format!("SELECT count(*) AS count FROM {table}"));
            let row = sqlx::query(text).fetch_one(self.connection()).await.map_err(failed("counting rows"))?;
            rows += row.get::<i64, _>("count");
        }
        Ok(rows == 0)
    }
}
impl<R: Rows> Transfer for R {}

fn place_of(value: &StoredValue, bound: &mut u32) -> String {
    if *value == StoredValue::Null(()) {
        return "NULL".to_owned();
    }
    *bound += 1;
    format!("${bound}")
}

/// Whether a row was refused for what is in the store already, or is not.
fn contradicts(error: &StoreError) -> bool {
    match error {
        StoreError::Taken { .. } => true,
        StoreError::Database { source: sqlx::Error::Database(database), .. } => database.is_foreign_key_violation(),
        _ => false,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

impl UnitOfWork {
    /// Puts a row in as it was read from another store. Its table has to be one of [`TABLES`].
    pub async fn insert_row(&mut self, row: &StoredRow) -> StoreResult<()> {
        if !TABLES.contains(&row.table.as_str()) || !row.columns.keys().all(|name| is_name(name)) {
            return Err(unreadable("row", format!("a row of '{}' is not one of a store", row.table)));
        }
        let names: Vec<&str> = row.columns.keys().map(String::as_str).collect();
        // Names are letters and underscores; values are bound, but for nothing, which has no type that every column takes.
        let mut bound = 0;
        let places: Vec<String> = row.columns.values().map(|value| place_of(value, &mut bound)).collect();
        let text = format!("INSERT INTO {} ({}) VALUES ({})", row.table, names.join(", "), places.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for value in row.columns.values() {
            query = match value {
                StoredValue::Text(text) => query.bind(text),
                StoredValue::Number(number) => query.bind(number),
                StoredValue::Null(()) => query,
            };
        }
        query.execute(self.connection()).await.map_err(failed("putting a row in"))?;
        Ok(())
    }

    /// Puts rows in together, unless they contradict what is in the store, or refer to what is not: then nothing was put in, and it says
    /// false.
    pub async fn insert_rows_if_they_fit(&mut self, rows: &[StoredRow]) -> StoreResult<bool> {
        self.savepoint(SAVEPOINT).await?;
        for row in rows {
            match self.insert_row(row).await {
                Ok(()) => {}
                Err(error) if contradicts(&error) => {
                    self.savepoint(ROLL_BACK).await?;
                    self.savepoint(RELEASE).await?;
                    return Ok(false);
                }
                Err(other) => return Err(other),
            }
        }
        self.savepoint(RELEASE).await?;
        Ok(true)
    }

    async fn savepoint(&mut self, statement: &'static str) -> StoreResult<()> {
        sqlx::raw_sql(statement).execute(self.connection()).await.map_err(failed("keeping a point to come back to"))?;
        Ok(())
    }

    /// Projects the state of every cluster of a host anew.
    pub async fn project_states(&mut self, host: &HostId) -> StoreResult<()> {
        for cluster in crate::Clusters::clusters_of_host(self, host).await? {
            self.project_state(&cluster.id).await?;
        }
        Ok(())
    }
}
