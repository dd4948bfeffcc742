//! The one store. Whatever a user was promised is a row here before anything is done about it.
//!
//! A SQLite file, or a PostgreSQL database that several servers share. Every statement is a constant with one text for both:
//! TEXT and BIGINT only, times in microseconds, documents as JSON text, booleans as 0 and 1. A lost commit could hand out a term
//! twice (decisions 5 and 10): both are told to make every commit durable.

mod account;
mod action;
mod allocation;
mod api_id;
mod apply;
mod cluster;
mod connect;
mod credential;
mod database;
mod endpoint;
mod figures;
mod idempotency;
mod instance;
mod lease;
mod migrate;
mod operation;
mod parameter;
mod plan;
mod project;
mod replication;
mod secret;
mod statement;
mod submission;
mod task;
mod transfer;
mod wakes;

use connect::{Dialect, Pools};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Transaction};
use std::path::Path;

pub use account::{Accounts, NewAccount, SigningIn};
pub use action::Actions;
pub use allocation::{AllocationFilter, AllocationSort, Allocations};
pub use api_id::{ApiIds, NUMBERING_FAMILY};
pub use apply::Write;
pub use cluster::{ClusterFilter, ClusterPage, ClusterSort, Clusters, NewCluster};
pub use connect::StoreAddress;
pub use credential::{AccessKeyRow, Credentials, NewCredential};
pub use database::{CredentialChange, DatabaseChange, Databases};
pub use endpoint::Endpoints;
pub use figures::Figures;
pub use idempotency::{IdempotencyKeys, KeyedRequest};
pub use instance::Instances;
pub use migrate::SCHEMA_VERSION;
pub use operation::*;
pub use parameter::Parameters;
pub use plan::Plans;
pub use project::Projects;
pub use replication::Replications;
pub use secret::Secrets;
pub use statement::all as all_statements;
pub use submission::{NewOperation, Submitted};
pub use task::{Task, TaskFilter, Tasks};
pub use transfer::{NOT_COPIED, StoredRow, StoredValue, TABLES, Transfer};
pub use wakes::Wakes;

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
        /// The rule (`cluster_name`, `endpoint_address`, `instance_uid`, `instance_number`, `account_name`, `project_name`,
        /// `database_name`, `credential_user_name`, `allocation_name`, `environment_name`, `plan_name`, `team_name`,
        /// `application_name`).
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
    /// The database does not answer; whether the last commit was made is not known.
    #[error("the store does not answer while {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The store was written by an older build and is to be read as it is.
    #[error("the store has schema version {found}, this build reads {known}")]
    OtherVersion {
        /// In the store.
        found: i64,
        /// In this build.
        known: i64,
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

/// Full disks: SQLite's result code, PostgreSQL's SQLSTATE.
const FULL: [&str; 2] = ["13", "53100"];
/// What PostgreSQL says while it ends, is being started, has no connection left, or cut off a statement or a transaction that took
/// too long.
const UNAVAILABLE: [&str; 9] = ["57P01", "57P02", "57P03", "57P05", "57014", "53300", "25P03", "08006", "08003"];

/// Turns a database error into ours, recognising uniqueness rules.
pub(crate) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    use sqlx::Error;
    move |source| match &source {
        Error::Database(database) if database.is_unique_violation() => StoreError::Taken { what: taken(database.message()) },
        Error::Database(database) => match database.code() {
            Some(code) if FULL.contains(&&*code) => StoreError::Full { doing },
            Some(code) if UNAVAILABLE.contains(&&*code) => StoreError::Unavailable { doing, source },
            _ => StoreError::Database { doing, source },
        },
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::Protocol(_) | Error::BeginFailed => {
            StoreError::Unavailable { doing, source }
        }
        _ => StoreError::Database { doing, source },
    }
}

fn taken(message: &str) -> &'static str {
    let rules = [
        ("cluster.project_id, cluster.name", "cluster_name"),
        ("cluster_name", "cluster_name"),
        ("endpoint.host_id, endpoint.address", "endpoint_address"),
        ("endpoint_address", "endpoint_address"),
        ("instance.host_id, instance.uid, instance.slot", "instance_uid"),
        ("instance_uid", "instance_uid"),
        ("instance.host_id, instance.number", "instance_number"),
        ("instance_number", "instance_number"),
        ("cluster_lock", "cluster_lock"),
        ("database_lock", "database_lock"),
        ("account.name", "account_name"),
        ("account_name", "account_name"),
        ("database.cluster_id, database.name", "database_name"),
        ("database_name", "database_name"),
        ("credential.cluster_id, credential.user_name", "credential_user_name"),
        ("credential_user_name", "credential_user_name"),
        ("allocation.environment_id, allocation.name", "allocation_name"),
        ("allocation_name", "allocation_name"),
        ("environment.project_id, environment.name", "environment_name"),
        ("environment_name", "environment_name"),
        ("plan.project_id, plan.name", "plan_name"),
        ("plan_name", "plan_name"),
        ("team.project_id, team.name", "team_name"),
        ("team_name", "team_name"),
        ("application.project_id, application.name", "application_name"),
        ("application_name", "application_name"),
        ("project.name", "project_name"),
        ("project_name", "project_name"),
    ];
    rules.iter().find(|(mark, _)| message.contains(mark)).map_or("a name", |(_, what)| what)
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Pools,
}

impl Store {
    /// Opens a store, making it or bringing it up to date; refuses one written by a newer build.
    pub async fn connect(address: &StoreAddress) -> StoreResult<Self> {
        let migrate = |writer, dialect| async move { migrate::up(&writer, dialect).await };
        let pools = match address {
            StoreAddress::File(path) => Pools::file(path, migrate).await?,
            StoreAddress::PostgreSql(url) => Pools::postgresql(url, migrate).await?,
        };
        Ok(Self { pools })
    }

    /// Opens a store as it is, to be read beside the server that may be using it: one of another schema version is refused.
    pub async fn connect_as_it_is(address: &StoreAddress) -> StoreResult<Self> {
        let check = |writer, _| async move { migrate::check(&writer).await };
        let pools = match address {
            StoreAddress::File(path) => Pools::file(path, check).await?,
            StoreAddress::PostgreSql(url) => Pools::postgresql(url, check).await?,
        };
        Ok(Self { pools })
    }

    /// Makes an empty store of an older schema version, to be filled with rows of that version; opening it again brings it up to date.
    pub async fn make_at_version(address: &StoreAddress, version: i64) -> StoreResult<Self> {
        let migrate = |writer, dialect| async move { migrate::up_to(&writer, dialect, version).await };
        let pools = match address {
            StoreAddress::File(path) => Pools::file(path, migrate).await?,
            StoreAddress::PostgreSql(url) => Pools::postgresql(url, migrate).await?,
        };
        Ok(Self { pools })
    }

    /// Opens the store in this file.
    pub async fn open(path: &Path) -> StoreResult<Self> {
        Self::connect(&StoreAddress::File(path.to_owned())).await
    }

    /// Begins a unit of work; nothing of it is there until it is committed. Units of work run one after another, those of other
    /// servers on the same store included.
    pub async fn begin(&self) -> StoreResult<UnitOfWork> {
        let dialect = self.pools.dialect;
        let transaction = self.pools.writer.begin_with(dialect.begin).await.map_err(failed("beginning a unit of work"))?;
        Ok(UnitOfWork { transaction, dialect, wakes: false })
    }

    /// A consistent look at the store.
    pub async fn look(&self) -> StoreResult<Look> {
        let transaction = self.pools.readers.begin_with(self.pools.dialect.look).await.map_err(failed("looking at the store"))?;
        Ok(Look { transaction })
    }

    /// A way to read with one statement, which sees one moment by itself; it spares what a look needs to begin and to end.
    pub async fn glance(&self) -> StoreResult<Glance> {
        Ok(Glance { connection: self.pools.readers.acquire().await.map_err(failed("looking at the store"))? })
    }

    /// Says when another server has submitted, nudged or called off an operation; none for a store of one server's own.
    pub fn wakes(&self) -> Option<Wakes> {
        Wakes::of(&self.pools.address)
    }

    /// Ends all connections; the write-ahead log is folded in.
    pub async fn close(&self) {
        self.pools.readers.close().await;
        self.pools.writer.close().await;
    }
}

/// One transaction that may change things.
#[derive(Debug)]
pub struct UnitOfWork {
    transaction: Transaction<'static, Any>,
    dialect: &'static Dialect,
    wakes: bool,
}

impl UnitOfWork {
    /// Makes everything done in it durable.
    pub async fn commit(mut self) -> StoreResult<()> {
        if let Some(notify) = self.dialect.notify.filter(|_| self.wakes) {
            sqlx::query(notify).execute(self.connection()).await.map_err(failed("telling other servers"))?;
        }
        self.transaction.commit().await.map_err(failed("committing"))
    }
    /// Has the commit tell other servers that operations were changed: one of them may have to carry them out.
    pub(crate) fn wake_others(&mut self) {
        self.wakes = true;
    }
}

/// One consistent look that changes nothing.
#[derive(Debug)]
pub struct Look {
    transaction: Transaction<'static, Any>,
}

/// Reads that need not fit with each other.
#[derive(Debug)]
pub struct Glance {
    connection: PoolConnection<Any>,
}

/// Something rows can be read from: a look, or a unit of work that then sees its own changes. Every noun's queries are
/// written against it once.
pub trait Rows: Send {
    /// The connection underneath.
    #[doc(hidden)]
    fn connection(&mut self) -> &mut AnyConnection;
}
impl Rows for Look {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}
impl Rows for Glance {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}
impl Rows for UnitOfWork {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}
