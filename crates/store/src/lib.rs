//! The one store. Whatever a user was promised is a row here before anything is done about it.
//!
//! SQLite with a write-ahead log and `synchronous=FULL` (a lost commit could hand out a term twice, decisions 5 and 10), one
//! writer. Every statement is a constant whose text also prepares on PostgreSQL: TEXT and BIGINT only, times in
//! microseconds, documents as JSON text, booleans as 0 and 1.

mod account;
mod action;
mod apply;
mod cluster;
mod credential;
mod endpoint;
mod figures;
mod instance;
mod lease;
mod migrate;
mod operation;
mod project;
mod secret;
mod statement;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

pub use account::{Accounts, NewAccount, SigningIn};
pub use action::Actions;
pub use apply::Write;
pub use cluster::{ClusterFilter, ClusterPage, ClusterSort, Clusters, NewCluster};
pub use credential::{AccessKeyRow, Credentials, NewCredential};
pub use endpoint::Endpoints;
pub use figures::Figures;
pub use instance::Instances;
pub use migrate::{SCHEMA_VERSION, schema};
pub use operation::*;
pub use project::Projects;
pub use secret::Secrets;
pub use statement::all as all_statements;

/// What went wrong with the store; never shown to users as it is.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not do it.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// A uniqueness rule was hit: somebody else has it already.
    #[error("{what} is taken")]
    Taken {
        /// The rule (`cluster_name`, `endpoint_address`, `instance_uid`, `instance_number`, `account_name`, `project_name`).
        what: &'static str,
    },
    /// The lease under which the work was done belongs to somebody else by now.
    #[error("the operation was taken over by somebody else")]
    LeaseLost,
    /// The disk under the store is full; nothing was written.
    #[error("the disk under the store is full while {doing}")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// A row holds something this build cannot read.
    #[error("a stored {what} cannot be read: {why}")]
    Unreadable {
        /// Which noun.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The store was written by a newer build.
    #[error("the store has schema version {found}, this build knows {known}")]
    TooNew {
        /// In the store.
        found: i64,
        /// In this build.
        known: i64,
    },
}

/// Shorthand.
pub type StoreResult<T> = Result<T, StoreError>;

/// SQLite's result code for a full disk.
const SQLITE_FULL: &str = "13";

/// Turns a database error into ours, recognising uniqueness rules.
pub(crate) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| {
        if let sqlx::Error::Database(database) = &source
            && database.is_unique_violation()
        {
            return StoreError::Taken { what: taken(database.message()) };
        }
        if let sqlx::Error::Database(database) = &source
            && database.code().is_some_and(|code| code == SQLITE_FULL)
        {
            return StoreError::Full { doing };
        }
        StoreError::Database { doing, source }
    }
}

fn taken(message: &str) -> &'static str {
    let rules = [
        ("cluster.project_id, cluster.name", "cluster_name"),
        ("cluster_name", "cluster_name"),
        ("endpoint.host_id, endpoint.address", "endpoint_address"),
        ("endpoint_address", "endpoint_address"),
        ("instance.host_id, instance.uid", "instance_uid"),
        ("instance_uid", "instance_uid"),
        ("instance.host_id, instance.number", "instance_number"),
        ("instance_number", "instance_number"),
        ("cluster_lock", "cluster_lock"),
        ("account.name", "account_name"),
        ("account_name", "account_name"),
        ("project.name", "project_name"),
        ("project_name", "project_name"),
    ];
    rules.iter().find(|(mark, _)| message.contains(mark)).map_or("a name", |(_, what)| what)
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the store at this path, making it or bringing it up to date; refuses one written by a newer build.
    pub async fn open(path: &Path) -> StoreResult<Self> {
        // SQLite gives its log and shared memory the permissions of the file: nobody else on the machine reads any of them.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(sqlx::Error::Io).map_err(failed("making the store's file"))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .pragma("temp_store", "memory");
        let opened = failed("opening the store");
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(opened)?;
        migrate::up(&writer).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(8).connect_with(options.read_only(true)).await.map_err(failed("opening the store"))?;
        Ok(Self { writer, readers })
    }

    /// Begins a unit of work; nothing of it is there until it is committed. Units of work run one after another.
    pub async fn begin(&self) -> StoreResult<UnitOfWork> {
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed("beginning a unit of work"))?;
        Ok(UnitOfWork { transaction })
    }

    /// A consistent look at the store.
    pub async fn look(&self) -> StoreResult<Look> {
        let transaction = self.readers.begin().await.map_err(failed("looking at the store"))?;
        Ok(Look { transaction })
    }

    /// Ends all connections; the write-ahead log is folded in.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// One transaction that may change things.
#[derive(Debug)]
pub struct UnitOfWork {
    transaction: Transaction<'static, Sqlite>,
}

impl UnitOfWork {
    /// Makes everything done in it durable.
    pub async fn commit(self) -> StoreResult<()> {
        self.transaction.commit().await.map_err(failed("committing"))
    }
}

/// One consistent look that changes nothing.
#[derive(Debug)]
pub struct Look {
    transaction: Transaction<'static, Sqlite>,
}

/// Something rows can be read from: a look, or a unit of work that then sees its own changes. Every noun's queries are
/// written against it once.
pub trait Rows: Send {
    /// The connection underneath.
    #[doc(hidden)]
    fn connection(&mut self) -> &mut SqliteConnection;
}
impl Rows for Look {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}
impl Rows for UnitOfWork {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}
